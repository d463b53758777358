// The operator's page: asks for the token, follows the feed and draws pool, hosts, actors and live instances.

import * as api from "./api.js";
import { announce, byId, el, loaded, setText } from "./dom.js";
import { FeedSocket } from "./feed-socket.js";
import { FeedState } from "./feed.js";
import { coarse, count } from "./format.js";
import { hostRow } from "./host-row.js";
import { storageOf } from "./mine.js";
import { poolView } from "./pool-view.js";
import { Rows } from "./rows.js";
import { hostsInWords } from "./vitals.js";
import { reaperWords } from "./wording.js";

const NAME = "getaredis.operator.v1";
const session = storageOf("sessionStorage");

// From here on the browser may skip the layout of rows that are out of sight.
const MANY = 200;

let feed = null;
let token = null;
let state = new FeedState();
let ahead = 0; // server's wall clock minus our monotonic one, in ms
let drawAll = false;
let dirty = new Map();
let frame = 0;

// ---- rows ----

const hourAndMinute = (at) => new Date(at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
const cell = (name, ...children) => el("span", { role: "cell", "data-name": name }, ...children);

const hosts = new Rows(byId("hosts"), () => hostRow(cordon, () => serverNow()));
const pool = poolView(pause, () => serverNow());

const actors = new Rows(byId("actors"), () => {
  const name = el("strong");
  const status = el("span", { class: "state" });
  const restarts = cell("Restarts");
  const since = cell("Since");
  const cause = cell("Last cause");
  const node = el("div", { class: "row", role: "row" }, cell("Actor", name), cell("Status", status), restarts, since, cause);
  return {
    node,
    update(actor) {
      setText(name, actor.name);
      setText(status, actor.status.replaceAll("_", " "));
      status.dataset.state = actor.status;
      setText(restarts, String(actor.restarts));
      setText(since, new Date(actor.since).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }));
      setText(cause, actor.last_cause ?? "");
    },
  };
});

const instances = new Rows(byId("instances"), () => {
  const id = el("span", { class: "mono" });
  const label = el("span", { class: "quiet" });
  const host = cell("Host");
  const creator = cell("Creator");
  const status = el("span", { class: "state" });
  const left = cell("Time left");
  const node = el("div", { class: "row", role: "row" }, cell("Id", id, " ", label), host, creator, cell("State", status), left);
  let endsAt = 0;
  const tick = (now) => setText(left, coarse((endsAt - now) / 1000));
  return {
    node,
    tick,
    update(instance) {
      endsAt = Date.parse(instance.expires_at);
      setText(id, instance.id);
      setText(label, instance.label ?? "");
      setText(host, instance.port ? `${instance.host}:${instance.port}` : instance.host);
      setText(creator, instance.creator);
      setText(status, instance.unreachable_since ? `${instance.state} since ${hourAndMinute(instance.unreachable_since)}` : instance.state);
      status.dataset.state = instance.state;
      tick(serverNow());
    },
  };
});

// ---- drawing, at most once a frame ----

const serverNow = () => ahead + performance.now();

function draw() {
  frame = 0;
  byId("instances").classList.toggle("many", state.instances.size > MANY);
  if (drawAll) {
    hosts.replace(state.hosts);
    actors.replace(state.actors);
    instances.replace(state.instances);
  } else {
    for (const [kind, key] of dirty.values()) {
      if (kind === "hosts") hosts.set(key, state.hosts.get(key));
      else if (kind === "actors") actors.set(key, state.actors.get(key));
      else if (kind === "instances") instances.set(key, state.instances.get(key), true);
    }
  }
  drawAll = false;
  dirty = new Map();
  const { slots, used } = state.slots();
  setText(byId("live-count"), count(state.instances.size));
  setText(byId("slots-count"), `${count(used)} of ${count(slots)}`);
  setText(byId("total"), count(state.totals.started));
  setText(byId("seq"), state.seq === null ? "–" : String(state.seq));
  const reaper = state.reaper && reaperWords(state.reaper);
  setText(byId("reap-lag"), reaper?.lag ?? "–");
  setText(byId("orphans"), reaper?.orphans ?? "–");
  setText(byId("reaper-error"), reaper?.error ?? "");
  byId("reaper-error").hidden = !reaper?.error;
  setText(byId("hosts-states"), hostsInWords([...state.hosts.values()]));
  pool.update(state.scaling);
  for (const [kind, rows] of Object.entries({ hosts, actors, instances })) {
    byId(kind).parentElement.hidden = rows.size === 0;
    byId(`${kind}-empty`).hidden = rows.size > 0;
  }
  byId("live").hidden = state.seq === null;
}

function later() { if (!frame) frame = requestAnimationFrame(draw); }

setInterval(() => {
  if (document.hidden || !feed) return;
  const now = serverNow();
  instances.each((row) => row.tick(now));
  hosts.each((row) => row.tick());
  pool.tick();
}, 1000);

// ---- what the operator does; what came of it comes with the feed ----

async function done(answer, what) {
  const answered = await answer;
  if (answered.ok) showError(null);
  else showError(answered.problem?.title || `${what} did not work`, answered.problem?.detail || "The server did not answer.");
  return answered.ok;
}

async function cordon(name, deed) {
  const words = { cordon: "takes no new instances", drain: "drains", uncordon: "takes instances again" };
  if (await done(api.cordonHost(name, deed, token), `${name}: ${deed}`)) announce(`${name} ${words[deed]}.`);
}

function pause(paused) {
  return done(api.pauseScaling(paused, token), paused ? "The pause" : "The end of the pause");
}

// ---- the connection ----

function connection(name, text) {
  const node = byId("connection");
  node.dataset.state = name;
  setText(node, text);
}

function take(json) {
  const { outcome, changed } = state.take(json);
  if (outcome === "gap" || outcome === "malformed") {
    feed.restart(outcome === "gap" ? "a frame was missed" : "a frame was not understood");
    return;
  }
  if (outcome === "resync") connection("waiting", "Catching up…");
  if (outcome === "snapshot") {
    ahead = Date.parse(state.at) - performance.now();
    drawAll = true;
    connection("open", "Live");
  }
  for (const change of changed) dirty.set(`${change[0]} ${change[1]}`, change);
  later();
}

function connect(withToken) {
  feed?.close();
  token = withToken;
  showError(null);
  state = new FeedState();
  feed = new FeedSocket(token, {
    frame: take,
    state(name, detail) {
      if (name === "connecting") connection(name, "Connecting…");
      else if (name === "open") connection(name, "Connected");
      else connection(name, `Not live: ${detail}`);
    },
    refused(failure) {
      signOut();
      const title = failure.status === 401 ? "Wrong token" : failure.problem.title || "Not allowed";
      const text = failure.status === 401 ? "The server does not take this operator token." : failure.problem.detail || "The server refused this page.";
      showError(title, text);
    },
  });
  try { session?.setItem(NAME, token); } catch { /* no storage: ask again next time */ }
  byId("ask").hidden = true;
  byId("forget").hidden = false;
}

function signOut() {
  feed?.close();
  feed = null;
  token = null;
  state = new FeedState();
  drawAll = true;
  later();
  try { session?.removeItem(NAME); } catch { /* no storage, nothing kept */ }
  connection("idle", "Not connected");
  byId("ask").hidden = false;
  byId("forget").hidden = true;
  byId("token").focus();
  byId("token").select();
}

function showError(title, text = "") {
  const box = byId("error");
  box.hidden = title === null;
  box.replaceChildren(...(title === null ? [] : [el("h2", { text: title }), el("p", { text })]));
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = byId("token").value.trim();
  if (!typed) return;
  connect(typed);
  byId("admin-title").focus();
});
byId("forget").addEventListener("click", () => {
  byId("token").value = "";
  signOut();
});

loaded();
let kept = null;
try { kept = session?.getItem(NAME); } catch { kept = null; }
if (kept) connect(kept);
