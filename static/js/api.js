// The HTTP calls of the pages. Gives back an answer or a failure as problem.js describes it; never throws.

import { answered, unanswered } from "./problem.js";

// Longer than the server's own deadline for a create, so that its answer wins over our impatience.
const TIMEOUT_MS = 45_000;

// A browser drops what is under way when the machine's network changes.
const AGAIN_MS = 300;

/** Asks once more when no answer came. That is safe: a create carries its idempotency key, the others say how it shall be. */
async function request(method, path, wish) {
  const answer = await attempt(method, path, wish);
  if (answer.ok || answer.kind !== "network") return answer;
  await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  return attempt(method, path, wish);
}

async function attempt(method, path, { token, body, key } = {}) {
  const headers = { Accept: "application/json, application/problem+json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (key) headers["Idempotency-Key"] = key;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), TIMEOUT_MS);
  try {
    const response = await fetch(path, {
      method, headers, signal: abort.signal, cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    let json = null;
    try { json = text ? JSON.parse(text) : null; } catch { json = null; }
    if (!response.ok) return answered(response.status, response.headers.get("Retry-After"), json, Date.now());
    return { ok: true, status: response.status, body: json, at: performance.now() };
  } catch {
    if (abort.signal.aborted) return unanswered("timeout");
    return unanswered(navigator.onLine === false ? "offline" : "network");
  } finally {
    clearTimeout(timer);
  }
}

const instance = (id) => `/v1/instances/${encodeURIComponent(id)}`;

export const capacity = () => request("GET", "/v1/capacity");
export const createInstance = (body, key) => request("POST", "/v1/instances", { body, key });
export const readInstance = (id, token) => request("GET", instance(id), { token });
export const extendInstance = (id, token, ttl) => request("PATCH", instance(id), { token, body: { ttl } });
export const deleteInstance = (id, token) => request("DELETE", instance(id), { token });
export const cordonHost = (name, deed, token) => request("POST", `/v1/admin/hosts/${encodeURIComponent(name)}/${deed}`, { token });
export const pauseScaling = (paused, token) => request("POST", `/v1/admin/scaling/${paused ? "pause" : "resume"}`, { token });
export const readActors = (token) => request("GET", "/v1/admin/actors", { token });
