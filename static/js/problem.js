// Turns what `fetch` gives back into one plain shape: an answer, or a failure with a slug and a retry time.

/** The last part of a problem's type: "/problems/fleet-full" → "fleet-full". */
export const slugOf = (problem) => String(problem?.type ?? "").split("/").pop();

/** Retry-After in seconds: the header may be a number or a date. */
export function retryAfter(header, problem, wallNow) {
  if (Number.isFinite(problem?.retry_after_s)) return Math.max(0, problem.retry_after_s);
  if (!header) return null;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, seconds);
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(0, Math.ceil((date - wallNow) / 1000));
}

/** A failure answered by a server (or by a proxy in front of it, then without a problem body). */
export function answered(status, header, body, wallNow) {
  const problem = body && typeof body === "object" ? body : null;
  return { ok: false, kind: "answered", status, slug: slugOf(problem), problem: problem ?? {}, retryAfter: retryAfter(header, problem, wallNow) };
}

/** A failure where no answer came: "offline", "timeout" or "network". What happened on the server is unknown. */
export const unanswered = (kind) => ({ ok: false, kind, status: 0, slug: "", problem: {}, retryAfter: null });

/** True when the request may have taken effect, so that a repeat must carry the same idempotency key. */
export function isUncertain(failure) {
  if (failure.kind !== "answered") return true;
  if (["busy", "restarting", "store-unavailable", "internal"].includes(failure.slug)) return true;
  return failure.slug === "" && failure.status >= 500;
}
