import assert from "node:assert/strict";
import test from "node:test";
import { backoff } from "../../static/js/backoff.js";
import { FeedState } from "../../static/js/feed.js";
import { protocols } from "../../static/js/feed-socket.js";

const at = "2025-11-22T12:00:00Z";
const host = (name, used = 0) => ({ name, address: "203.0.113.7", state: "up", cordon: null, slots: 40, used, reason: null });
const instance = (id, created_at = at) => ({ id, host: "a", flavour: "redis", state: "running", creator: "198.51.100.1", label: null, created_at, expires_at: at, port: 32768 });
const actor = (name, restarts = 0) => ({ name, status: "up", restarts, since: at, last_cause: null });
const snapshot = (seq, more = {}) => ({ type: "snapshot", seq, at, hosts: [host("a", 1)], instances: [instance("i1")], actors: [actor("reaper")], totals: { started: 12 }, ...more });
const delta = (seq, fact) => ({ type: "delta", seq, at, fact });

function following(seq = 17) {
  const state = new FeedState();
  state.take(snapshot(seq));
  return state;
}

test("a snapshot replaces everything, newest instance first", () => {
  const state = following();
  state.take(snapshot(40, { hosts: [], instances: [instance("old", "2025-11-22T10:00:00Z"), instance("new", "2025-11-22T11:00:00Z")] }));
  assert.equal(state.seq, 40);
  assert.equal(state.hosts.size, 0);
  assert.deepEqual([...state.instances.keys()], ["new", "old"]);
});

test("every kind of fact is applied and names what it changed", () => {
  const state = following();
  const facts = [
    [{ kind: "host_changed", host: host("a", 2) }, ["hosts", "a"]],
    [{ kind: "host_changed", host: host("b") }, ["hosts", "b"]],
    [{ kind: "host_removed", name: "b" }, ["hosts", "b"]],
    [{ kind: "instance_changed", instance: instance("i2") }, ["instances", "i2"]],
    [{ kind: "instance_ended", id: "i1", reason: "expired" }, ["instances", "i1"]],
    [{ kind: "actor_changed", actor: actor("reaper", 1) }, ["actors", "reaper"]],
    [{ kind: "actor_changed", actor: actor("host:b", 0) }, ["actors", "host:b"]],
    [{ kind: "actor_removed", name: "host:b" }, ["actors", "host:b"]],
    [{ kind: "totals_changed", totals: { started: 13 } }, ["totals", null]],
  ];
  facts.forEach(([fact, change], n) => assert.deepEqual(state.take(delta(18 + n, fact)), { outcome: "delta", changed: [change] }));
  assert.equal(state.seq, 26);
  assert.equal(state.actors.has("host:b"), false);
  assert.deepEqual(state.slots(), { slots: 40, used: 2 });
  assert.deepEqual([...state.instances.keys()], ["i2"]);
  assert.equal(state.actors.get("reaper").restarts, 1);
  assert.equal(state.totals.started, 13);
});

test("a missing, repeated or early delta is a gap and changes nothing", () => {
  for (const seq of [17, 19, 16, undefined]) {
    const state = following();
    assert.equal(state.take(delta(seq, { kind: "host_removed", name: "a" })).outcome, "gap");
    assert.equal(state.hosts.size, 1);
    assert.equal(state.seq, 17);
  }
  assert.equal(new FeedState().take(delta(1, { kind: "host_removed", name: "a" })).outcome, "gap");
});

test("how the reaper is comes with the snapshot and changes with its fact", () => {
  const state = following();
  assert.equal(state.reaper, null);
  state.take(snapshot(40, { reaper: { reap_lag_s: 0 } }));
  assert.deepEqual(state.reaper, { reap_lag_s: 0 });
  assert.deepEqual(state.take(delta(41, { kind: "reaper_changed", reaper: { reap_lag_s: 7 } })).changed, [["reaper", null]]);
  assert.deepEqual(state.reaper, { reap_lag_s: 7 });
});

test("after a resync only a snapshot counts, also one with a lower sequence", () => {
  const state = following();
  assert.equal(state.take({ type: "resync" }).outcome, "resync");
  assert.equal(state.take(delta(18, { kind: "host_removed", name: "a" })).outcome, "gap");
  assert.equal(state.take(snapshot(2)).outcome, "snapshot");
  assert.equal(state.take(delta(3, { kind: "instance_ended", id: "i1", reason: "deleted" })).outcome, "delta");
});

test("a kind of fact from a newer server is passed over without losing the sequence", () => {
  const state = following();
  assert.deepEqual(state.take(delta(18, { kind: "droplet_bought" })), { outcome: "delta", changed: [] });
  assert.equal(state.take(delta(19, { kind: "host_removed", name: "a" })).outcome, "delta");
});

test("what is not a frame is malformed and changes nothing", () => {
  for (const frame of [null, {}, { type: "snapshot", seq: 3 }, delta(18, null), delta(18, {}), delta(18, { kind: "host_changed" })]) {
    const state = following();
    assert.equal(state.take(frame).outcome, "malformed");
    assert.equal(state.seq, 17);
  }
});

test("the end of an instance that was never seen is no error", () => {
  assert.equal(following().take(delta(18, { kind: "instance_ended", id: "i9", reason: "lost" })).outcome, "delta");
});

test("back-off doubles up to its cap and always leaves room for jitter", () => {
  assert.equal(backoff(0, 0), 250);
  assert.equal(backoff(0, 1), 500);
  assert.equal(backoff(3, 1), 4000);
  assert.equal(backoff(1000, 1), 30_000);
  assert.equal(backoff(1000, 0), 15_000);
});

test("the token travels as a subprotocol in unpadded base64url, whatever its characters", () => {
  for (const token of ["secret", "opëra-töken", "a?>~", "ÿÿ÷"]) {
    const [name, bearer] = protocols(token);
    assert.equal(name, "getaredis.feed.v1");
    assert.match(bearer, /^bearer\.[A-Za-z0-9_-]+$/);
    assert.equal(Buffer.from(bearer.slice(7), "base64url").toString(), token);
  }
});

test("how the pool is comes with the snapshot and changes with its fact", () => {
  const state = new FeedState();
  state.take(snapshot(1, { scaling: { enabled: true, paused: false } }));
  assert.equal(state.scaling.paused, false);
  const change = state.take(delta(2, { kind: "scaling_changed", scaling: { enabled: true, paused: true } }));
  assert.deepEqual(change, { outcome: "delta", changed: [["scaling", null]] });
  assert.equal(state.scaling.paused, true);
  state.take(snapshot(3));
  assert.equal(state.scaling, null);
});
