import assert from "node:assert/strict";
import test from "node:test";
import { answered, isUncertain, retryAfter, slugOf, unanswered } from "../../static/js/problem.js";
import { again, ended, endsSoon, reaperWords, silence, waiting, words } from "../../static/js/wording.js";

const problem = (status, slug, more = {}) => answered(status, null, { type: `/problems/${slug}`, status, ...more }, 0);
const SLUGS = {
  "invalid-request": 400, unauthorized: 401, forbidden: 403, "not-found": 404, "idempotency-conflict": 409, "rate-limited": 429,
  "quota-exceeded": 429, "fleet-full": 503, busy: 503, restarting: 503, "store-unavailable": 503, "host-failed": 503, internal: 500,
};

test("the slug is the last part of a problem's type, absolute or relative", () => {
  assert.equal(slugOf({ type: "/problems/fleet-full" }), "fleet-full");
  assert.equal(slugOf({ type: "https://getaredis.dev/problems/busy" }), "busy");
  assert.equal(slugOf(null), "");
});

test("when to try again comes from the body, else from the header as seconds or as a date", () => {
  const now = Date.parse("2025-11-22T12:00:00Z");
  assert.equal(retryAfter("9", { retry_after_s: 4 }, now), 4);
  assert.equal(retryAfter("9", {}, now), 9);
  assert.equal(retryAfter("Sat, 22 Nov 2025 12:00:30 GMT", null, now), 30);
  assert.equal(retryAfter("Sat, 22 Nov 2025 11:00:00 GMT", null, now), 0);
  assert.equal(retryAfter("soon", null, now), null);
  assert.equal(retryAfter(null, null, now), null);
});

test("every problem of the contract has words of its own", () => {
  const titles = new Set();
  for (const [slug, status] of Object.entries(SLUGS)) {
    const { title, text } = words(problem(status, slug));
    assert.ok(title && text, slug);
    assert.ok(!/undefined|null|NaN/.test(title + text), slug);
    titles.add(title);
  }
  assert.equal(titles.size, Object.keys(SLUGS).length);
});

test("what the server explains is told", () => {
  assert.match(words(problem(503, "fleet-full", { reason: "2 hosts full, 1 cordoned" })).text, /2 hosts full, 1 cordoned/);
  assert.match(words(problem(429, "quota-exceeded", { limit: 6 })).title, /6/);
  assert.match(words(problem(400, "invalid-request", { detail: "ttl is too long" })).text, /ttl is too long/);
});

test("an answer of a proxy, without a problem, still has words", () => {
  assert.match(words(answered(502, null, null, 0)).title, /cannot answer/);
  assert.match(words(answered(418, null, { title: "Teapot", detail: "short and stout" }, 0)).text, /stout/);
});

test("only a failure that may have taken effect keeps the idempotency key", () => {
  for (const kind of ["offline", "timeout", "network"]) assert.equal(isUncertain(unanswered(kind)), true, kind);
  for (const slug of ["restarting", "busy", "internal", "store-unavailable"]) assert.equal(isUncertain(problem(SLUGS[slug], slug)), true, slug);
  for (const slug of ["fleet-full", "quota-exceeded", "rate-limited", "host-failed", "idempotency-conflict", "invalid-request"]) assert.equal(isUncertain(problem(SLUGS[slug], slug)), false, slug);
  assert.equal(isUncertain(answered(502, null, null, 0)), true);
  assert.equal(isUncertain(answered(404, null, null, 0)), false);
});

test("the time to try again is told in words", () => {
  assert.equal(again(null), null);
  assert.equal(again(0), "You can try again now.");
  assert.equal(again(90), "You can try again in 2 minutes.");
});

test("each way to end has its own words, and an unknown one still has some", () => {
  const titles = ["expired", "deleted", "exited", "lost", "failed", "stopping", "unknown", "something-new"].map((reason) => ended(reason).title);
  assert.equal(new Set(titles).size, titles.length);
});

test("the words while waiting change with time and say when the connection broke", () => {
  const said = [waiting(0, 1), waiting(4000, 1), waiting(20_000, 1), waiting(0, 2)];
  assert.equal(new Set(said).size, 4);
});

test("an owner whose machine is silent is told since when, and what may happen", () => {
  assert.match(silence("today at 21:40"), /since today at 21:40.*given up with its data/s);
});

test("an owner is warned in the last ten minutes, with the button that helps while there is one", () => {
  assert.equal(endsSoon(600, "Add 12 hours"), null);
  assert.equal(endsSoon(0, "Add 12 hours"), null);
  assert.match(endsSoon(599, "Add 12 hours"), /ends soon.*press “Add 12 hours”/);
  assert.match(endsSoon(1, null), /cannot be extended/);
});

test("the reaper's state is said in words, and nothing is said of what is well", () => {
  const well = { reap_lag_s: 0, orphans: { container: 0, unknown: 0, row: 0 }, last_error: null };
  assert.deepEqual(reaperWords(well), { lag: "none", orphans: "none", error: "" });
  const late = reaperWords({ reap_lag_s: 120, orphans: { container: 1, unknown: 1, row: 2 }, last_error: "no route to host" });
  assert.equal(late.lag, "2 minutes");
  assert.equal(late.orphans, "1 container without a record, 1 container that this database has never heard of, 2 records without a container");
  assert.match(late.error, /no route to host/);
});
