// The HTTP calls when no answer comes.

import assert from "node:assert/strict";
import test from "node:test";
import { createInstance, extendInstance } from "../../static/js/api.js";

/** Calls with a `fetch` that gives these outcomes in turn; the answer, and what was sent. */
async function calling(call, outcomes, onLine = true) {
  const sent = [];
  const real = { fetch: globalThis.fetch, navigator: Object.getOwnPropertyDescriptor(globalThis, "navigator") };
  Object.defineProperty(globalThis, "navigator", { value: { onLine }, configurable: true });
  globalThis.fetch = async (path, { method, headers, body }) => {
    sent.push({ path, method, headers, body });
    const outcome = outcomes[sent.length - 1];
    if (outcome instanceof Error) throw outcome;
    return outcome;
  };
  try {
    return { answer: await call(), sent };
  } finally {
    globalThis.fetch = real.fetch;
    if (real.navigator) Object.defineProperty(globalThis, "navigator", real.navigator);
    else delete globalThis.navigator;
  }
}

const lost = () => new TypeError("Failed to fetch");
const answers = (status, body) => new Response(JSON.stringify(body), { status });

test("a request whose answer was lost is sent once more, with the same idempotency key", async () => {
  const { answer, sent } = await calling(() => createInstance({}, "k1"), [lost(), answers(201, { id: "x" })]);
  assert.deepEqual([answer.ok, answer.body.id, sent.length], [true, "x", 2]);
  assert.deepEqual(sent[0], sent[1]);
  assert.equal(sent[0].headers["Idempotency-Key"], "k1");
});

test("a network that stays away is told after the second try", async () => {
  const { answer, sent } = await calling(() => extendInstance("x", "t", 60), [lost(), lost()]);
  assert.deepEqual([answer.ok, answer.kind, sent.length], [false, "network", 2]);
});

test("neither an answer, whatever it says, nor a machine without a network is asked twice", async () => {
  const refused = await calling(() => extendInstance("x", "t", 60), [answers(503, { type: "/problems/busy" })]);
  assert.deepEqual([refused.answer.slug, refused.sent.length], ["busy", 1]);
  const offline = await calling(() => extendInstance("x", "t", 60), [lost()], false);
  assert.deepEqual([offline.answer.kind, offline.sent.length], ["offline", 1]);
});
