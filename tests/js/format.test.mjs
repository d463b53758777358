import assert from "node:assert/strict";
import test from "node:test";
import { bytes, clock, coarse, count, durationChoices, durationWords, elapsed, limitWords, manageLines, moment, shellQuote, snippets } from "../../static/js/format.js";

test("durations read as a person would say them", () => {
  const cases = [[1, "1 second"], [45, "45 seconds"], [59.6, "1 minute"], [60, "1 minute"], [5400, "1 hour 30 minutes"], [3600, "1 hour"], [43_200, "12 hours"], [3599, "1 hour"], [-3, "0 seconds"]];
  for (const [seconds, words] of cases) assert.equal(durationWords(seconds), words);
});

test("the clock shows a begun second as a whole one and never goes below zero", () => {
  const cases = [[43_200, "12:00:00"], [43_199.2, "12:00:00"], [3661, "1:01:01"], [598, "9:58"], [0.1, "0:01"], [0, "0:00"], [-5, "0:00"], [259_200, "72:00:00"]];
  for (const [seconds, text] of cases) assert.equal(clock(seconds), text);
});

test("time left in a table is coarse when far and exact when near", () => {
  const cases = [[0, "due"], [-1, "due"], [12, "12 s"], [75, "1 min 15 s"], [1800, "30 min"], [37_380, "10 h 23 min"]];
  for (const [seconds, text] of cases) assert.equal(coarse(seconds), text);
});

test("small numbers: elapsed time, counts, bytes and limits", () => {
  assert.equal(elapsed(0), "0.0 s");
  assert.equal(elapsed(1234), "1.2 s");
  assert.equal(elapsed(12_400), "12 s");
  assert.equal(count(1_234_567), "1,234,567");
  assert.equal(bytes(5_242_880), "5 MB");
  assert.equal(bytes(512), "512 B");
  assert.equal(bytes(1_572_864), "1.5 MB");
  assert.equal(limitWords({ memory_bytes: 5_242_880, connections: 5 }), "5 MB of data, 5 connections at a time");
  assert.equal(limitWords({ memory_bytes: 1_073_741_824, connections: 1 }), "1 GB of data, 1 connection at a time");
});

test("a moment is told from the server's day in the reader's time zone", () => {
  const now = Date.parse("2025-11-22T20:00:00Z");
  assert.equal(moment(Date.parse("2025-11-22T21:40:00Z"), now, "UTC"), "today at 21:40");
  assert.equal(moment(Date.parse("2025-11-22T23:30:00Z"), now, "Europe/Berlin"), "tomorrow at 00:30");
  assert.equal(moment(Date.parse("2025-11-23T08:00:00Z"), now, "UTC"), "tomorrow at 08:00");
  assert.match(moment(Date.parse("2025-11-25T09:05:00Z"), now, "UTC"), /^Tue,? 25 Nov at 09:05$/);
});

test("every snippet carries the whole url, quoted for where it goes", () => {
  const url = "redis://default:p'w\"x@203.0.113.7:32768/0";
  const [cli, env, python, node] = snippets(url);
  assert.equal(cli.text, "redis-cli -u 'redis://default:p'\\''w\"x@203.0.113.7:32768/0'");
  assert.equal(env.text, `REDIS_URL=${url}`);
  assert.ok(python.text.includes(JSON.stringify(url)));
  assert.ok(node.text.includes(JSON.stringify(url)));
  assert.equal(shellQuote("a b"), "'a b'");
});

test("the lines that manage an instance put the token in a header, never in the address", () => {
  for (const { name, text } of manageLines("https://redis.example", "0192ab", "gar_secret")) {
    if (name === "Token") continue;
    assert.ok(text.includes("'Authorization: Bearer gar_secret'"), text);
    assert.ok(text.includes("'https://redis.example/v1/instances/0192ab'"), text);
  }
});

test("durations on offer stay within the bounds and hold the default", () => {
  const of = (ttl_s, min_ttl_s, max_ttl_s) => durationChoices({ ttl_s, min_ttl_s, max_ttl_s });
  assert.deepEqual(of(43_200, 60, 86_400), [3600, 43_200, 86_400]);
  assert.deepEqual(of(3600, 60, 7200), [3600, 7200]);
  assert.deepEqual(of(1800, 60, 1800), [1800]);
  assert.deepEqual(of(43_200, 7200, 259_200), [43_200, 86_400]);
});
