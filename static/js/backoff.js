// How long to wait before connecting again: doubles up to a cap, with jitter so that many pages that lost
// the same server do not come back in one moment. Pure.

const FIRST_MS = 500;
const CAP_MS = 30_000;

/** Milliseconds before attempt `n` (0, 1, 2 …); `random` is in [0, 1). */
export function backoff(n, random) {
  const ceiling = Math.min(CAP_MS, FIRST_MS * 2 ** Math.min(n, 16));
  return Math.round(ceiling / 2 + (ceiling / 2) * random);
}
