// The view with the one button: asks for a Redis, shows that it is under way, and says plainly when it did not work.

import * as api from "./api.js";
import { announce, byId, isBusy, lead, setBusy, setText } from "./dom.js";
import { lightDial, turnDial } from "./dial.js";
import { hideFailure, showFailure } from "./failure.js";
import { count, clock, durationChoices, durationWords, elapsed, limitWords } from "./format.js";
import { isUncertain, unanswered } from "./problem.js";
import { waiting } from "./wording.js";

// Pauses before the same request is sent again after the connection broke.
const RETRY_MS = [800, 2000, 4000];
// A wait longer than this is told, not enforced: the person may free a place sooner.
const LONGEST_HOLD_S = 600;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Start {
  #view = byId("start");
  #dial = this.#view.querySelector("[data-dial]");
  #button = byId("get");
  #duration = byId("duration");
  #title = byId("start-title");
  #lead = byId("start-lead");
  #first = { title: this.#title.textContent, lead: this.#lead.textContent };
  #scale = 86_400;
  #default = 43_200;
  #hold = 0;
  #changed = false; // another duration was chosen since the last click
  #pending;
  #started;

  /** `started(body, at)` is told when a Redis is there. */
  constructor(pending, started) {
    this.#pending = pending;
    this.#started = started;
    this.#button.disabled = false;
    this.#button.addEventListener("click", () => { if (!isBusy(this.#button)) this.#go(this.#wanted()); });
    this.#duration.addEventListener("change", () => { this.#changed = true; this.#rest(); });
    addEventListener("online", () => { if (!isBusy(this.#button)) hideFailure(); });
  }

  /** Shows the view; with `notice` (`{ title, text }`) it says first what became of the last one. */
  show(notice = null) {
    this.#view.hidden = false;
    this.#view.classList.toggle("after", notice !== null);
    setText(this.#title, notice?.title ?? this.#first.title);
    setText(this.#lead, notice?.text ?? this.#first.lead);
    if (!isBusy(this.#button)) this.#rest();
    if (notice) lead(this.#title);
  }

  hide() { this.#view.hidden = true; }

  /** Takes up the request whose outcome was unknown when the page was left, if there is one. */
  resume() { if (this.#pending.unsettled) this.#go(this.#pending.unsettled.body); }

  capacity({ defaults, accepting, reason, slots_free: free }) {
    this.#scale = defaults.max_ttl_s;
    this.#default = defaults.ttl_s;
    this.#offer(durationChoices(defaults), this.#duration.value || String(defaults.ttl_s));
    setText(byId("start-limits"), `${limitWords(defaults)}.`);
    const line = byId("availability");
    line.hidden = accepting;
    if (!accepting) setText(line, free > 0 ? `Not starting new ones right now${reason ? `: ${reason}` : ""}.` : `No room right now${reason ? `: ${reason}` : ""}.`);
    if (!isBusy(this.#button)) this.#rest();
  }

  /** The durations to choose from. Left alone while they are the same: a screen reader goes to a list that changes. */
  #offer(seconds, chosen) {
    const offered = [...this.#duration.options].map((option) => option.value);
    if (offered.join() === seconds.join()) return;
    this.#duration.replaceChildren(...seconds.map((s) => {
      const option = new Option(durationWords(s), s);
      option.selected = option.value === chosen;
      return option;
    }));
  }

  /** The body to send: a request of unknown outcome is repeated to the letter unless the person now asks for something else. */
  #wanted() {
    if (this.#pending.unsettled && !this.#changed) return this.#pending.unsettled.body;
    const ttl = Number(this.#duration.value);
    return ttl > 0 ? { ttl } : {};
  }

  /** The button at rest: the arc shows the time that would be asked for. */
  #rest() {
    lightDial(this.#dial, (Number(this.#duration.value) || this.#default) / this.#scale);
    setText(byId("get-label"), this.#view.classList.contains("after") ? "Get a new one" : "Get a Redis");
    byId("get-time").hidden = true;
  }

  async #go(body) {
    clearInterval(this.#hold);
    hideFailure();
    this.#changed = false;
    const request = this.#pending.begin(body, Date.now());
    const done = this.#working();
    const answer = await this.#ask(request, done.attempt);
    done.stop();
    if (answer.ok) {
      this.#pending.settle();
      this.#rest();
      this.#started(answer.body, answer.at);
      return;
    }
    if (!isUncertain(answer)) this.#pending.settle();
    this.#rest();
    document.title = "It did not work · getaredis";
    const when = showFailure(this.#view, answer);
    const mayHold = answer.slug !== "quota-exceeded" && answer.retryAfter > 0 && answer.retryAfter <= LONGEST_HOLD_S;
    if (mayHold) this.#wait(answer.retryAfter, when);
  }

  /** Sends the request, again with the same key while the connection breaks. */
  async #ask(request, attempt) {
    for (let n = 0; ; n += 1) {
      attempt(n + 1);
      let answer = await api.createInstance(request.body, request.key);
      if (answer.ok && !answer.body?.id) answer = unanswered("network");
      if (answer.ok || answer.kind !== "network" || n >= RETRY_MS.length) return answer;
      await pause(RETRY_MS[n]);
    }
  }

  /** The progress state, until `stop` is called. */
  #working() {
    const from = performance.now();
    const time = byId("get-time");
    const progress = byId("progress");
    let attempt = 1;
    setBusy(this.#button, true);
    this.#duration.disabled = true;
    this.#view.classList.add("working");
    turnDial(this.#dial, true);
    lightDial(this.#dial, 0.22);
    document.title = "Starting… · getaredis";
    setText(byId("get-label"), "Starting");
    time.hidden = false;
    const tick = () => {
      const ms = performance.now() - from;
      setText(time, elapsed(ms));
      setText(progress, waiting(ms, attempt));
    };
    tick();
    const timer = setInterval(tick, 100);
    return {
      attempt: (n) => { attempt = n; },
      stop: () => {
        clearInterval(timer);
        setText(progress, "");
        turnDial(this.#dial, false);
        this.#view.classList.remove("working");
        this.#duration.disabled = false;
        setBusy(this.#button, false);
      },
    };
  }

  /** Keeps the button back until it makes sense to try again. */
  #wait(seconds, when) {
    const until = performance.now() + seconds * 1000;
    const time = byId("get-time");
    setBusy(this.#button, true);
    setText(byId("get-label"), "Try again in");
    time.hidden = false;
    const tick = () => {
      const left = (until - performance.now()) / 1000;
      if (left > 0) {
        setText(time, clock(left));
        lightDial(this.#dial, left / seconds);
        return;
      }
      clearInterval(this.#hold);
      setBusy(this.#button, false);
      this.#rest();
      setText(byId("get-label"), "Try again");
      if (when) setText(when, "You can try again now.");
      announce("You can try again now.");
    };
    tick();
    this.#hold = setInterval(tick, 250);
  }
}

/** The number of instances started so far, at the foot of the page. */
export function showTotal(total) {
  setText(byId("total"), count(total));
  byId("total-line").hidden = false;
}
