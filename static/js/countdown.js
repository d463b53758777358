// How much of a lease is left. Measured from `expires_in_s` on a monotonic clock, so that a wrong
// wall clock on this machine cannot make a Redis look dead or immortal. Pure: `now` is an argument (ms).

/** A lease as the server described it in an answer that arrived at `now`. */
export function leaseOf({ expires_in_s, expires_at, max_expires_at }, now) {
  const endsAt = Date.parse(expires_at);
  const room = max_expires_at ? Math.max(0, (Date.parse(max_expires_at) - endsAt) / 1000) : 0;
  return { deadline: now + expires_in_s * 1000, endsAt, room };
}

/** Seconds left, never below zero. */
export const remaining = (lease, now) => Math.max(0, (lease.deadline - now) / 1000);

/** The server's wall clock at this moment, by its own account. */
export const serverNow = (lease, now) => lease.endsAt - (lease.deadline - now);

// A request takes time and the server counts the new time from its own arrival: asking for the very
// last second would overshoot the maximum and be refused.
const SLACK_S = 5;
// Less than this is not worth a button.
const WORTH_S = 60;

/** What the extend button would ask for: `ttl` counted from now, and whether it reaches the maximum. */
export function extension(lease, now, step) {
  if (lease.room < WORTH_S) return null;
  const left = remaining(lease, now);
  if (lease.room - SLACK_S <= step) return { ttl: Math.floor(left + lease.room - SLACK_S), toMaximum: true };
  return { ttl: Math.ceil(left + step), toMaximum: false };
}

// A person who listens instead of looking hears these moments and no others.
const SPOKEN = [
  [3600, "One hour left."],
  [600, "Ten minutes left."],
  [60, "One minute left."],
];

/** The sentence to speak when the time left went from `before` to `after`, or null. */
export function spoken(before, after) {
  let sentence = null;
  for (const [at, text] of SPOKEN) if (before > at && after <= at && after > 0) sentence = text;
  return sentence;
}
