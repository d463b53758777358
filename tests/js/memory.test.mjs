import assert from "node:assert/strict";
import test from "node:test";
import { newKey, Pending } from "../../static/js/idempotency.js";
import { Mine } from "../../static/js/mine.js";

class Storage {
  #map = new Map();
  getItem(name) { return this.#map.get(name) ?? null; }
  setItem(name, value) { this.#map.set(name, String(value)); }
  removeItem(name) { this.#map.delete(name); }
  get text() { return [...this.#map.values()].join("\n"); }
}
const forbidden = { getItem() { throw new Error("denied"); }, setItem() { throw new Error("denied"); }, removeItem() { throw new Error("denied"); } };
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test("a key is a random uuid, also where randomUUID does not exist", () => {
  const plain = { getRandomValues: (array) => crypto.getRandomValues(array) };
  assert.match(newKey(), UUID);
  assert.match(newKey(plain), UUID);
  assert.notEqual(newKey(plain), newKey(plain));
});

test("a repeat of an unsettled request uses the same key, a settled one gives a new key", () => {
  const pending = new Pending(new Storage(), 0);
  const first = pending.begin({ ttl: 3600 }, 0).key;
  assert.equal(pending.begin({ ttl: 3600 }, 500_000).key, first);
  pending.settle();
  assert.equal(pending.unsettled, null);
  assert.notEqual(pending.begin({ ttl: 3600 }, 0).key, first);
});

test("another wish is another request: the same key with another body would be a conflict", () => {
  const pending = new Pending(new Storage(), 0);
  assert.notEqual(pending.begin({ ttl: 3600 }, 0).key, pending.begin({ ttl: 7200 }, 0).key);
});

test("an unsettled request survives a reload for a short while only", () => {
  const storage = new Storage();
  const { key } = new Pending(storage, 0).begin({}, 1000);
  assert.equal(new Pending(storage, 30_000).unsettled.key, key);
  assert.equal(new Pending(storage, 500_000).unsettled, null);
  assert.equal(new Pending(storage, -5000).unsettled, null);
});

test("a pending request works without storage and with nonsense in it", () => {
  const pending = new Pending(forbidden, 0);
  assert.equal(pending.begin({}, 0).key, pending.begin({}, 1).key);
  for (const nonsense of ["{", "7", "null", '{"key":3}', '{"key":"k"}']) {
    const storage = new Storage();
    storage.setItem("getaredis.pending.v1", nonsense);
    assert.equal(new Pending(storage, 0).unsettled, null, nonsense);
  }
});

test("instances are remembered newest first, once each, and can be forgotten", () => {
  const storage = new Storage();
  const mine = new Mine(storage);
  mine.remember("a", "gar_a");
  mine.remember("b", "gar_b", "ci");
  mine.remember("a", "gar_a2");
  assert.deepEqual(mine.all().map((m) => m.id), ["a", "b"]);
  assert.equal(new Mine(storage).tokenOf("a"), "gar_a2");
  mine.forget("a");
  assert.equal(mine.tokenOf("a"), null);
  assert.equal(mine.tokenOf("b"), "gar_b");
});

test("what another tab remembered is not overwritten", () => {
  const storage = new Storage();
  const [here, there] = [new Mine(storage), new Mine(storage)];
  here.remember("a", "gar_a");
  there.remember("b", "gar_b");
  assert.deepEqual(here.all().map((m) => m.id), ["b", "a"]);
});

test("the list stays bounded", () => {
  const mine = new Mine(new Storage());
  for (let n = 0; n < 80; n += 1) mine.remember(`i${n}`, "gar_x");
  assert.equal(mine.all().length, 50);
  assert.equal(mine.all()[0].id, "i79");
});

test("a browser without storage remembers for as long as the page lives", () => {
  for (const storage of [null, forbidden]) {
    const mine = new Mine(storage);
    mine.remember("a", "gar_a");
    assert.equal(mine.tokenOf("a"), "gar_a");
  }
});

test("nonsense in the storage is an empty list", () => {
  for (const nonsense of ["{", "7", "null", '[1,{"id":3}]']) {
    const storage = new Storage();
    storage.setItem("getaredis.mine.v1", nonsense);
    assert.deepEqual(new Mine(storage).all(), [], nonsense);
  }
});
