import assert from "node:assert/strict";
import test from "node:test";
import { details, hostsInWords, meters } from "../../static/js/vitals.js";

const GB = 1024 ** 3;
const now = Date.parse("2026-11-22T12:00:00Z");
const vitals = { memory_total_bytes: 2 * GB, memory_available_bytes: GB, disk_total_bytes: 50 * GB, disk_free_bytes: 2 * GB, load_percent: 29, cpus: 2 };

test("a disk that is nearly full says so in words, not in colour alone", () => {
  const [load, memory, disk] = meters(vitals);
  assert.deepEqual([load.text, load.note, load.level], ["0.29", "on 2 cores", "calm"]);
  assert.deepEqual([memory.text, memory.note, memory.level, memory.warning], ["50 %", "of 2 GB", "calm", ""]);
  assert.deepEqual([disk.text, disk.level, disk.warning], ["96 %", "full", "nearly full"]);
});

test("levels change where they should", () => {
  const memory = (part) => meters({ memory_total_bytes: 1000, memory_available_bytes: 1000 * (1 - part) })[1].level;
  assert.deepEqual([0, 0.74, 0.76, 0.89, 0.91, 1].map(memory), ["calm", "calm", "high", "high", "full", "full"]);
  const load = (load_percent, cpus) => meters({ load_percent, cpus })[0].level;
  assert.deepEqual([load(99, 1), load(100, 1), load(100, 2), load(400, 2), load(100, undefined)], ["calm", "high", "calm", "full", "high"]);
});

test("what a host does not say is a dash and no empty meter", () => {
  for (const unknown of [undefined, null, {}, { memory_total_bytes: 0, memory_available_bytes: 0, disk_total_bytes: 5 }]) {
    for (const meter of meters(unknown)) assert.deepEqual([meter.part, meter.text, meter.level], [null, "–", "unknown"]);
  }
});

test("details leave out what is not known, and say since when a heartbeat stays away", () => {
  const host = { vitals: { engine_version: "26.1.5", engine: "silent", setup_version: "0.1.0", booted_at: "2026-11-20T12:00:00Z", containers: 0 } };
  assert.deepEqual(Object.fromEntries(details(host, now)), {
    Heartbeat: "comes every few seconds", Engine: "26.1.5, does not answer its own host", "Set up by": "getaredis 0.1.0", Booted: "2 days ago", Containers: "0",
  });
  const [[, lost]] = details({ ...host, unannounced_since: "2026-11-22T11:57:00Z" }, now);
  assert.match(lost, /3 min ago/);
  assert.deepEqual(details({}, now), [["Heartbeat", "none: this host does not say how it fares"]]);
});

test("programs that had to be started again are named with how often", () => {
  const told = (restarts) => Object.fromEntries(details({ vitals: { restarts } }, now))["Started again"];
  assert.equal(told({ containerd: 0, dockerd: 1, nginx: 3 }), "dockerd once, nginx 3 times since it booted");
  assert.deepEqual([told({ dockerd: 0 }), told({}), told(undefined)], [undefined, undefined, undefined]);
});

test("hosts are counted by where they stand, the cordoned ones twice", () => {
  const hosts = [{ state: "up" }, { state: "up", cordon: "cordoned" }, { state: "unannounced", cordon: "draining" }, { state: "failing" }, { state: "joining" }];
  assert.equal(hostsInWords(hosts), "2 up, 1 joining, 1 unannounced, 1 failing, 1 cordoned, 1 draining");
  assert.equal(hostsInWords([]), "");
});
