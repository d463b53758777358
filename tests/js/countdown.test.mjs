import assert from "node:assert/strict";
import test from "node:test";
import { extension, leaseOf, remaining, serverNow, spoken } from "../../static/js/countdown.js";

const HOUR = 3600;
const answer = (left, room) => ({
  expires_in_s: left,
  expires_at: "2025-11-22T12:00:00Z",
  max_expires_at: new Date(Date.parse("2025-11-22T12:00:00Z") + room * 1000).toISOString(),
});

test("time left follows the monotonic clock and not the dates in the answer", () => {
  const lease = leaseOf(answer(60, 0), 1000);
  assert.equal(remaining(lease, 1000), 60);
  assert.equal(remaining(lease, 31_000), 30);
  assert.equal(remaining(lease, 999_000), 0);
});

test("the server's clock is known without asking the clock of this machine", () => {
  const lease = leaseOf(answer(60, 0), 1000);
  assert.equal(new Date(serverNow(lease, 1000)).toISOString(), "2025-11-22T11:59:00.000Z");
  assert.equal(new Date(serverNow(lease, 11_000)).toISOString(), "2025-11-22T11:59:10.000Z");
});

test("an extension adds the step while there is room for it", () => {
  const lease = leaseOf(answer(10 * HOUR, 60 * HOUR), 0);
  assert.deepEqual(extension(lease, 0, 12 * HOUR), { ttl: 22 * HOUR, toMaximum: false });
});

test("the last extension stays a little under the maximum, so that a slow request is not refused", () => {
  const lease = leaseOf(answer(10 * HOUR, 5 * HOUR), 0);
  assert.deepEqual(extension(lease, 0, 12 * HOUR), { ttl: 15 * HOUR - 5, toMaximum: true });
});

test("an extension never shortens, and there is none when nothing worth it is left", () => {
  for (const room of [60, 90, 600, 12 * HOUR, 12 * HOUR + 4, 12 * HOUR + 6]) {
    const lease = leaseOf(answer(100, room), 0);
    const { ttl } = extension(lease, 0, 12 * HOUR);
    assert.ok(ttl > remaining(lease, 0) && ttl <= 100 + room, `room ${room}: ${ttl}`);
  }
  assert.equal(extension(leaseOf(answer(100, 59), 0), 0, HOUR), null);
  assert.equal(extension(leaseOf({ expires_in_s: 5, expires_at: "2025-11-22T12:00:00Z" }, 0), 0, HOUR), null);
});

test("only sensible moments are spoken, once, and the last of several that passed together", () => {
  assert.equal(spoken(3601, 3600), "One hour left.");
  assert.equal(spoken(3600, 3599), null);
  assert.equal(spoken(601, 599.5), "Ten minutes left.");
  assert.equal(spoken(5000, 30), "One minute left.");
  assert.equal(spoken(30, 0), null);
  assert.equal(spoken(Infinity, 43_200), null);
});
