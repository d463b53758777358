// How a host fares, in words and parts of a meter. Pure: what a heartbeat said goes in.

import { age, bytes, percent } from "./format.js";

// From here on somebody should look, and from there on something is about to fail.
const HIGH = 0.75;
const FULL = 0.9;

function share(name, total, left) {
  if (!(total > 0) || typeof left !== "number") return { name, part: null, level: "unknown", text: "–", note: "", warning: "" };
  const part = Math.min(1, Math.max(0, 1 - left / total));
  const level = part >= FULL ? "full" : part >= HIGH ? "high" : "calm";
  return { name, part, level, text: percent(part), note: `of ${bytes(total)}`, warning: level === "full" ? "nearly full" : "" };
}

function load({ load_percent: load, cpus }) {
  if (typeof load !== "number") return { name: "Load", part: null, level: "unknown", text: "–", note: "", warning: "" };
  const part = load / 100 / Math.max(1, cpus ?? 1);
  // Work that waits is no harm by itself, and much of it is.
  const level = part >= 2 ? "full" : part >= 1 ? "high" : "calm";
  const note = cpus ? `on ${cpus} core${cpus === 1 ? "" : "s"}` : "";
  return { name: "Load", part: Math.min(1, part), level, text: (load / 100).toFixed(2), note, warning: level === "full" ? "overloaded" : "" };
}

/** The three meters of a host, each `{ name, part, level, text, note, warning }`; `part` is null where it does not say. */
export function meters(vitals) {
  const v = vitals ?? {};
  return [
    load(v),
    share("Memory", v.memory_total_bytes, v.memory_available_bytes),
    share("Disk", v.disk_total_bytes, v.disk_free_bytes),
  ];
}

/** What else there is to say of a host, as pairs of a name and words; `now` is the server's. */
export function details(host, now) {
  const v = host.vitals ?? {};
  const since = (at) => age((now - Date.parse(at)) / 1000);
  const heartbeat = () => {
    if (host.unannounced_since) return `stays away; the last one was heard ${since(host.unannounced_since)} ago or a little earlier`;
    return host.vitals ? "comes every few seconds" : "none: this host does not say how it fares";
  };
  const engine = [v.engine_version, v.engine === "silent" ? "does not answer its own host" : ""].filter(Boolean).join(", ");
  const times = (n) => (n === 1 ? "once" : `${n} times`);
  const restarts = Object.entries(v.restarts ?? {}).filter(([, n]) => n > 0).map(([program, n]) => `${program} ${times(n)}`);
  return [
    ["Heartbeat", heartbeat()],
    ["Engine", engine],
    ["Set up by", v.setup_version ? `getaredis ${v.setup_version}` : ""],
    ["Kernel", v.kernel ?? ""],
    ["Booted", v.booted_at ? `${since(v.booted_at)} ago` : ""],
    ["Started again", restarts.length ? `${restarts.join(", ")} since it booted` : ""],
    ["Containers", typeof v.containers === "number" ? String(v.containers) : ""],
  ].filter(([, words]) => words);
}

/** Hosts by where they stand, such as "3 up, 1 unreachable". */
export function hostsInWords(hosts) {
  const counts = new Map();
  for (const host of hosts) for (const word of [host.state, host.cordon].filter(Boolean)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const order = ["up", "joining", "unreachable", "unannounced", "failing", "cordoned", "draining"];
  return order.filter((word) => counts.has(word)).map((word) => `${counts.get(word)} ${word}`).join(", ");
}
