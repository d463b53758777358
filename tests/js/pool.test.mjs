import assert from "node:assert/strict";
import test from "node:test";
import { poolInWords } from "../../static/js/pool.js";

const now = Date.parse("2026-11-22T12:00:00Z");
const scaling = {
  enabled: true, passes: 3, paused: false, explanation: ["one more droplet"], errors: [], created: 1, deleted: 0, max_hosts: 5, ready_in_s: 40,
  totals: { ordered: 4, deleted: 1, failures: 1 },
  droplets: [{ name: "d1", stage: "up", since: null }, { name: "d2", stage: "booting", since: "2026-11-22T11:59:30Z" }, { name: "d3", stage: "draining", since: null }, { name: "d4", stage: "failed", since: null }],
};

test("where no hosts are bought there is no pool", () => {
  assert.equal(poolInWords(null, now), null);
  assert.equal(poolInWords({ ...scaling, enabled: false }, now), null);
});

test("what is on its way is counted, with its time, and what the table of hosts shows is left to it", () => {
  const words = poolInWords(scaling, now);
  assert.deepEqual([words.state, words.button, words.hint], ["running", "Pause", ""]);
  assert.equal(words.numbers, "4 of at most 5 hosts, 1 on the way; the first is ready in about 40 s");
  assert.deepEqual(words.moving, [{ name: "d2", stage: "booting", age: "30 s" }, { name: "d4", stage: "failed", age: "" }]);
  assert.equal(words.totals, "Since the start 4 ordered, 1 deleted, 1 failure");
});

test("what was not ordered here is counted for itself", () => {
  const stray = { name: "d5", stage: "stray", since: null };
  const words = poolInWords({ ...scaling, droplets: [scaling.droplets[0], stray] }, now);
  assert.equal(words.numbers, "1 of at most 5 hosts, 1 more without a record");
  assert.deepEqual(words.moving, [{ name: "d5", stage: "stray", age: "" }]);
});

test("a pause says what it means and how to end it", () => {
  const words = poolInWords({ ...scaling, paused: true, droplets: [], max_hosts: 1 }, now);
  assert.deepEqual([words.state, words.button, words.numbers], ["paused", "Resume", "0 of at most 1 host"]);
  assert.match(words.hint, /until/);
});

test("hosts that could not be seen yet are not told to be none", () => {
  const words = poolInWords({ ...scaling, droplets: [], explanation: [], errors: ["the token is wrong"] }, now);
  assert.equal(words.numbers, "At most 5 hosts, not seen yet");
});
