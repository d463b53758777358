// The page: which view an address shows, and what leads from one view to another.

import * as api from "./api.js";
import { copies } from "./copy.js";
import { byId, loaded, setText } from "./dom.js";
import { hideFailure } from "./failure.js";
import { Pending } from "./idempotency.js";
import { Instance } from "./instance.js";
import { Mine, storageOf } from "./mine.js";
import { Shelf } from "./shelf.js";
import { showTotal, Start } from "./start.js";
import { Unlock } from "./unlock.js";
import { ended } from "./wording.js";

const CAPACITY_MS = 60_000;

const mine = new Mine(storageOf("localStorage"));
const pending = new Pending(storageOf("sessionStorage"), Date.now());
const shelf = new Shelf(mine);
const start = new Start(pending, started);
const unlock = new Unlock((id, token) => open(id, token));
const instance = new Instance({
  ended(id, reason) {
    mine.forget(id);
    const notice = ended(reason);
    clear();
    document.title = `${notice.title} · getaredis`;
    start.show(notice);
    shelf.refresh();
    refreshCapacity();
  },
  locked(id, failure) {
    mine.forget(id);
    clear();
    unlock.show(id, failure);
  },
});

function clear() {
  start.hide();
  unlock.hide();
  instance.hide();
  hideFailure();
  scrollTo(0, 0);
}

function started(body, at) {
  mine.remember(body.id, body.management_token, body.label);
  history.pushState(null, "", `/i/${body.id}`);
  clear();
  instance.open(body.id, body.management_token, body, at);
  refreshCapacity();
}

/** Opens an instance with a token that may be wrong: it is kept only if this browser has it already or the server takes it. */
async function open(id, token) {
  const answer = await api.readInstance(id, token);
  if (answer.ok) mine.remember(id, token, answer.body.label);
  clear();
  if (answer.ok && answer.body.state === "running") instance.open(id, token, answer.body, answer.at);
  else if (answer.status === 401) unlock.show(id, answer);
  else instance.open(id, token);
}

function route() {
  const [, id] = /^\/i\/([^/]+)\/?$/.exec(location.pathname) ?? [];
  clear();
  if (!id) {
    document.title = "getaredis: a Redis in one click";
    start.show();
    shelf.refresh();
    return;
  }
  const token = mine.tokenOf(id);
  if (token) instance.open(id, token);
  else unlock.show(id);
}

async function refreshCapacity() {
  const answer = await api.capacity();
  if (!answer.ok || !answer.body) return;
  showTotal(answer.body.instances_started_total);
  byId("isolation-warning").hidden = answer.body.isolated !== false;
  start.capacity(answer.body);
  instance.capacity(answer.body);
}

// Links between the views do not load the page again; everything else is left to the browser.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const to = new URL(link.href);
  if (to.origin !== location.origin || !(to.pathname === "/" || to.pathname.startsWith("/i/"))) return;
  event.preventDefault();
  if (to.pathname !== location.pathname) history.pushState(null, "", to.pathname);
  route();
});
addEventListener("popstate", route);
addEventListener("storage", () => shelf.refresh());
document.addEventListener("visibilitychange", () => { if (!document.hidden) refreshCapacity(); });
setInterval(() => { if (!document.hidden) refreshCapacity(); }, CAPACITY_MS);

loaded();
const curl = `curl -X POST ${location.origin}/v1/instances`;
setText(byId("curl"), curl);
copies(byId("copy-curl"), () => curl, byId("curl"), "the curl line");
route();
if (location.pathname === "/") start.resume();
refreshCapacity();
