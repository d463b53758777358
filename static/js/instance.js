// The view of one Redis: how to connect, how long it lives, extend and delete. It asks the server again
// now and then, because a Redis can also end by itself.

import * as api from "./api.js";
import { copies } from "./copy.js";
import { extension, leaseOf, remaining, serverNow, spoken } from "./countdown.js";
import { lightDial } from "./dial.js";
import { announce, byId, el, isBusy, lead, setBusy, setText } from "./dom.js";
import { hideFailure, showFailure } from "./failure.js";
import { clock, durationWords, limitWords, manageLines, moment, snippets } from "./format.js";
import { endsSoon, silence } from "./wording.js";

const CHECK_MS = 60_000;
const STARTING_CHECK_MS = 1000;
// The server removes what is due within a second or so; asking earlier would only hear "running".
const AFTER_END_MS = 1500;

export class Instance {
  #view = byId("instance");
  #title = byId("instance-title");
  #ended;
  #locked;
  #id = null;
  #token = null;
  #body = null;
  #lease = null;
  #before = Infinity;
  #ticker = 0;
  #check = 0;
  #scale = 86_400;
  #step = 43_200;
  #turn = 0; // an answer that belongs to an earlier instance is dropped

  /** `ended(id, reason)` and `locked(id, failure)` (the token does not open it) lead to other views. */
  constructor({ ended, locked }) {
    this.#ended = ended;
    this.#locked = locked;
    copies(byId("copy-url"), () => this.#body.redis_url, byId("redis-url"), "connection string");
    byId("reveal").addEventListener("click", () => this.#reveal(this.#view.classList.contains("masked")));
    byId("extend").addEventListener("click", () => this.#extend());
    byId("delete").addEventListener("click", () => this.#question(byId("delete-question").hidden));
    byId("keep").addEventListener("click", () => this.#question(false));
    byId("delete-question").addEventListener("keydown", (event) => { if (event.key === "Escape") this.#question(false); });
    byId("confirm-delete").addEventListener("click", () => this.#delete());
    document.addEventListener("visibilitychange", () => {
      // A machine that slept may not have counted the time: ask instead of trusting the clock.
      if (!document.hidden && this.#id) this.#read();
    });
  }

  capacity({ defaults }) {
    this.#scale = defaults.max_ttl_s;
    this.#step = defaults.ttl_s;
    if (this.#lease) { this.#describe(); this.#tick(); }
  }

  /** Opens an instance; with `body` (an answer that arrived at `at`) at once, else by asking for it. */
  open(id, token, body = null, at = 0) {
    this.hide();
    this.#id = id;
    this.#token = token;
    this.#view.hidden = false;
    this.#question(false, false);
    this.#reveal(false);
    byId("instance-body").hidden = true;
    byId("silence").hidden = true;
    setText(byId("lease-status"), "");
    setText(this.#title, "Looking for your Redis…");
    setText(byId("instance-lead"), "");
    if (body) this.#take(body, at);
    else this.#read();
    lead(this.#title);
  }

  hide() {
    this.#turn += 1;
    this.#view.hidden = true;
    this.#id = this.#token = this.#body = this.#lease = null;
    this.#before = Infinity;
    clearInterval(this.#ticker);
    clearTimeout(this.#check);
  }

  #later(ms) {
    clearTimeout(this.#check);
    this.#check = setTimeout(() => this.#read(), ms);
  }

  async #read() {
    const turn = this.#turn;
    const answer = await api.readInstance(this.#id, this.#token);
    if (turn !== this.#turn) return;
    if (answer.ok) this.#take(answer.body, answer.at);
    else this.#failed(answer, this.#body === null);
  }

  /** What a failure means for the view: the end, a locked door, or a hiccup to sit out. */
  #failed(failure, say) {
    if (failure.status === 410) return this.#ended(this.#id, failure.problem.reason);
    if (failure.status === 404) return this.#ended(this.#id, "unknown");
    if (failure.status === 401) return this.#locked(this.#id, failure);
    if (say) {
      showFailure(this.#body ? this.#view : null, failure);
      if (!this.#body) setText(this.#title, "Your Redis could not be looked up");
    }
    this.#later(Math.max(2, failure.retryAfter ?? 5) * 1000);
  }

  #take(body, at) {
    const known = this.#body !== null;
    if (body.state === "stopping") return this.#ended(this.#id, "stopping");
    this.#lease = leaseOf(body, at);
    if (body.state === "creating") {
      setText(this.#title, "Your Redis is starting…");
      this.#later(STARTING_CHECK_MS);
      return;
    }
    this.#body = body;
    const silent = body.state === "unreachable";
    const title = silent ? "The machine of your Redis does not answer" : "Your Redis is ready";
    setText(this.#title, title);
    document.title = `${title} · getaredis`;
    byId("silence").hidden = !silent;
    setText(byId("silence"), silent ? silence(moment(Date.parse(body.unreachable_since), serverNow(this.#lease, at))) : "");
    if (!known) { hideFailure(); this.#fill(); }
    this.#describe();
    this.#tick();
    clearInterval(this.#ticker);
    this.#ticker = setInterval(() => this.#tick(), 250);
    this.#later(CHECK_MS);
  }

  #fill() {
    const { id, label, host, port, username, password, redis_url: url, limits, isolated } = this.#body;
    setText(byId("instance-lead"), label ? `“${label}”` : "It answers now. Copy the line and go.");
    byId("redis-url").replaceChildren(...masked(url, password));
    byId("parts").replaceChildren(
      ...part("Host", host), ...part("Port", String(port)), ...part("Username", username), ...part("Password", password, true),
    );
    byId("snippets").replaceChildren(...snippets(url).map((line) => snippet(line, password)));
    const origin = location.origin;
    byId("manage-lines").replaceChildren(...manageLines(origin, id, this.#token).map((line) => snippet(line, this.#token)));
    byId("self-link").href = `/i/${id}`;
    setText(byId("limits"), `This Redis holds ${limitWords(limits)}. When it is full, it refuses writes and goes on answering reads.`);
    if (isolated === false) byId("isolation-warning").hidden = false;
    byId("instance-body").hidden = false;
    this.#reveal(false);
  }

  /** The texts that change only when the lease does. */
  #describe() {
    const now = performance.now();
    const wall = serverNow(this.#lease, now);
    setText(byId("ends"), `Ends ${moment(this.#lease.endsAt, wall)}.`);
    const button = byId("extend");
    const offer = extension(this.#lease, now, this.#step);
    const latest = moment(this.#lease.endsAt + this.#lease.room * 1000, wall);
    setBusy(button, offer === null);
    setText(button, offer === null || offer.toMaximum ? "Extend to the maximum" : `Add ${durationWords(this.#step)}`);
    setText(byId("extend-note"), offer === null ? "This is the longest it can live." : `It can be extended until ${latest}.`);
  }

  #tick() {
    const left = remaining(this.#lease, performance.now());
    setText(byId("countdown"), clock(left));
    lightDial(this.#view, left / this.#scale);
    this.#view.classList.toggle("ending", left < 600);
    const soon = endsSoon(left, isBusy(byId("extend")) ? null : byId("extend").textContent);
    byId("ends-soon").hidden = soon === null;
    setText(byId("ends-soon"), soon ?? "");
    const sentence = spoken(this.#before, left);
    if (sentence) announce(sentence);
    this.#before = left;
    if (left === 0) {
      clearInterval(this.#ticker);
      setText(byId("lease-status"), "Its time is up. It is being removed…");
      this.#later(AFTER_END_MS);
    }
  }

  #reveal(show) {
    this.#view.classList.toggle("masked", !show);
    const button = byId("reveal");
    button.setAttribute("aria-pressed", String(show));
    setText(button, show ? "Hide password" : "Show password");
    for (const node of this.#view.querySelectorAll("[data-own-secret]")) {
      node.toggleAttribute("aria-hidden", false);
      if (!show) node.setAttribute("aria-hidden", "true");
      node.nextElementSibling.hidden = show;
    }
  }

  #question(open, focus = true) {
    const group = byId("delete-question");
    group.hidden = !open;
    byId("delete").setAttribute("aria-expanded", String(open));
    // Not on the button that deletes: a second Enter by accident must not destroy anything.
    if (focus) (open ? group : byId("delete")).focus();
  }

  async #extend() {
    const button = byId("extend");
    if (isBusy(button)) return;
    const offer = extension(this.#lease, performance.now(), this.#step);
    if (!offer) return;
    const turn = this.#turn;
    hideFailure();
    setBusy(button, true);
    setText(byId("lease-status"), "Extending…");
    const answer = await api.extendInstance(this.#id, this.#token, offer.ttl);
    if (turn !== this.#turn) return;
    setBusy(button, false);
    setText(byId("lease-status"), "");
    if (!answer.ok) return this.#failed(answer, true);
    this.#before = Infinity;
    this.#take(answer.body, answer.at);
    setText(byId("lease-status"), `Extended. It now ends ${moment(this.#lease.endsAt, serverNow(this.#lease, performance.now()))}.`);
  }

  async #delete() {
    const button = byId("confirm-delete");
    if (isBusy(button)) return;
    const turn = this.#turn;
    hideFailure();
    setBusy(button, true);
    setText(byId("lease-status"), "Deleting…");
    const answer = await api.deleteInstance(this.#id, this.#token);
    setBusy(button, false);
    if (turn !== this.#turn) return;
    setText(byId("lease-status"), "");
    if (!answer.ok) return this.#failed(answer, true);
    this.#ended(this.#id, answer.status === 202 ? "stopping" : "deleted");
  }
}

/** Text in which each occurrence of the secret is wrapped, so that it can be covered without leaving the text. */
function masked(text, secret) {
  if (!secret) return [text];
  return text.split(secret).flatMap((piece, n) => (n === 0 ? [piece] : [el("span", { class: "secret", text: secret }), piece]));
}

function part(name, value, secret = false) {
  const shown = el("code", {}, secret ? el("span", { class: "secret", text: value, "data-own-secret": true }) : value);
  if (secret) shown.append(el("span", { class: "visually-hidden", text: "hidden" }));
  const button = el("button", { class: "copy", type: "button", text: "Copy" });
  copies(button, () => value, shown, name.toLowerCase());
  return [el("div", {}, el("dt", { text: name }), el("dd", {}, shown, button))];
}

function snippet({ name, text }, secret) {
  const code = el("code", {}, ...masked(text, secret));
  const button = el("button", { class: "copy", type: "button", text: "Copy" });
  copies(button, () => text, code, `the ${name} line`);
  return el("li", {}, el("span", { class: "where", text: name }), button, el("div", { class: "line" }, code));
}
