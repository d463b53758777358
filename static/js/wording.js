// Every failure in plain words: what happened, what to do, and when to try again. Pure.

import { durationWords } from "./format.js";

const NOTHING_TWICE = "If the first try did work after all, trying again gives you that same Redis, not a second one.";

const BY_SLUG = {
  "rate-limited": () => ["That was a little fast", "You have asked many times in a short while. Wait a moment, then it works again."],
  "quota-exceeded": ({ limit }) => [
    limit ? `You already have ${limit} running` : "You have reached your limit",
    "Delete one that you no longer need, or wait until the first of them ends.",
  ],
  "fleet-full": ({ reason }) => ["No room right now", `There is no place for another Redis${reason ? ` (${reason})` : ""}. Places become free all the time.`],
  busy: () => ["A lot is going on right now", "Too many people are asking at this moment."],
  restarting: () => ["A part of the server is restarting", "This takes some seconds."],
  "store-unavailable": () => ["The server cannot reach its records", "Nothing is lost. It usually comes back within seconds."],
  "host-failed": () => ["The machine did not manage to start it", "Nothing was left behind. Another try goes to a machine that works."],
  unauthorized: () => ["That token does not open this Redis", "Check that all of it was copied. It starts with “gar_”."],
  forbidden: ({ detail }) => ["Not allowed", detail || "The server refused this."],
  "not-found": () => ["There is no such Redis", "The link may be incomplete, or it ended long ago."],
  "idempotency-conflict": () => ["An earlier request is in the way", "Try once more; it starts afresh."],
  "invalid-request": ({ detail }) => ["The server did not accept this", detail || "Something in the request is not allowed."],
  internal: () => ["Something broke on our side", "This is a fault of the server, not yours."],
};

/** `{ title, text }` for a failure as problem.js describes it. */
export function words(failure) {
  const { kind, status, slug, problem } = failure;
  if (kind === "offline") return { title: "You are offline", text: "Nothing was started as far as we know. As soon as you are online again, try once more." };
  if (kind === "timeout") return { title: "No answer came", text: `The server took too long. ${NOTHING_TWICE}` };
  if (kind === "network") return { title: "The server cannot be reached", text: `Check your connection. ${NOTHING_TWICE}` };
  const known = BY_SLUG[slug];
  if (known) {
    const [title, text] = known(problem);
    return { title, text };
  }
  if (status === 401) return { title: "That token is not accepted", text: "Check that all of it was copied." };
  if (status === 404) return { title: "Not found", text: "The server does not know this address." };
  if (status >= 500) return { title: "The server cannot answer right now", text: `It may be restarting. ${NOTHING_TWICE}` };
  return { title: problem.title || "The server did not accept this", text: problem.detail || `It answered with status ${status}.` };
}

/** When to try again, or null when nothing is known about that. */
export function again(seconds) {
  if (seconds === null || seconds === undefined) return null;
  return seconds > 0 ? `You can try again in ${durationWords(seconds)}.` : "You can try again now.";
}

const ENDED = {
  expired: ["Its time is up", "This Redis lived as long as it was asked to and was removed with all its data."],
  deleted: ["Deleted", "This Redis was removed with all its data."],
  exited: ["It stopped by itself", "The Redis process ended, so what was left of it was removed. Its data is gone."],
  lost: ["Its machine went away", "The host of this Redis was away for so long that it was given up with its data. We are sorry."],
  failed: ["It did not start", "This Redis could not be started. Nothing was left behind."],
  stopping: ["It is being removed", "Its machine does not answer at the moment. The server goes on until it is gone; you need not wait."],
  unknown: ["There is no such Redis", "The link may be incomplete, or it ended long ago."],
};

/** How an instance ended, in words. */
export function ended(reason) {
  const [title, text] = ENDED[reason] ?? ["It has ended", "This Redis was removed with all its data."];
  return { title, text };
}

/** What its owner is told of a Redis whose machine is silent since `since` (in words). */
export const silence = (since) =>
  `Its machine has not answered the server since ${since}. This Redis may work all the same. If the machine comes back, nothing is lost; if it stays away for long, this Redis is given up with its data.`;

/** What its owner is told when it ends soon, or null. `button` is the label of the button that extends it, if it can be. */
export function endsSoon(left, button) {
  if (left <= 0 || left >= 600) return null;
  const end = "This Redis ends soon, and its data with it.";
  return button ? `${end} If you need it for longer, press “${button}”.` : `${end} It cannot be extended any more, so save what you need.`;
}

/** How the reaper is, for operators: what is overdue, what has no counterpart, and what went wrong last. */
export function reaperWords({ reap_lag_s: lag, orphans, last_error: error }) {
  const many = (count, one, more) => `${count} ${count === 1 ? one : more}`;
  const alone = [
    orphans.container && many(orphans.container, "container without a record", "containers without a record"),
    orphans.unknown && many(orphans.unknown, "container that this database has never heard of", "containers that this database has never heard of"),
    orphans.row && many(orphans.row, "record without a container", "records without a container"),
  ].filter(Boolean);
  return {
    lag: lag > 0 ? durationWords(lag) : "none",
    orphans: alone.length > 0 ? alone.join(", ") : "none",
    error: error ? `Last trouble while cleaning up: ${error}` : "",
  };
}

/** What to say while a create is under way. Only what this page can know: that it asked, and for how long. */
export function waiting(ms, attempt) {
  if (attempt > 1) return "The connection broke. Asking again, for the same Redis…";
  if (ms < 3000) return "Starting your Redis…";
  if (ms < 10_000) return "Still starting. The first one on a machine takes a little longer…";
  return "This takes longer than usual. You need not do anything; the server says so if it gives up…";
}
