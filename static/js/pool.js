// The pool of bought hosts in words. Pure: what the autoscaler said of its last pass goes in.

import { age } from "./format.js";

const ON_THE_WAY = ["ordered", "booting"];
// What the table of hosts does not show, or not for long.
const MOVING = [...ON_THE_WAY, "deleting", "failed", "gone", "stray"];

/** What the page says of the pool; `now` is the server's. Nothing where no hosts are bought. */
export function poolInWords(scaling, now) {
  if (!scaling?.enabled) return null;
  const { droplets, max_hosts: most, totals } = scaling;
  const coming = droplets.filter(({ stage }) => ON_THE_WAY.includes(stage)).length;
  const strays = droplets.filter(({ stage }) => stage === "stray").length;
  const more = strays > 0 ? `, ${strays} more without a record` : "";
  const ready = coming > 0 && typeof scaling.ready_in_s === "number" ? `; the first is ready in about ${age(scaling.ready_in_s)}` : "";
  const way = coming > 0 ? `, ${coming} on the way${ready}` : "";
  const hosts = `${most} host${most === 1 ? "" : "s"}`;
  // No pass has seen them yet, because something could not be read.
  const unseen = scaling.explanation.length === 0 && scaling.errors.length > 0;
  return {
    state: scaling.paused ? "paused" : "running",
    numbers: unseen ? `At most ${hosts}, not seen yet` : `${droplets.length - strays} of at most ${hosts}${more}${way}`,
    totals: `Since the start ${totals.ordered} ordered, ${totals.deleted} deleted, ${totals.failures} failure${totals.failures === 1 ? "" : "s"}`,
    button: scaling.paused ? "Resume" : "Pause",
    hint: scaling.paused ? "Nothing is bought or given back until you resume it." : "",
    moving: droplets.filter(({ stage }) => MOVING.includes(stage)).map(({ name, stage, since }) => ({
      name, stage, age: since ? age((now - Date.parse(since)) / 1000) : "",
    })),
    errors: scaling.errors,
    explanation: scaling.explanation,
  };
}
