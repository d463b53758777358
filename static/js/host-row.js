// One host of the operator's table: where it stands, its meters, and behind a button what else there is and can be done.

import { el, isBusy, setBusy, setText } from "./dom.js";
import { details, meters } from "./vitals.js";

const cell = (name, ...children) => el("span", { role: "cell", "data-name": name }, ...children);
// How long a button that is to be pressed twice waits for the second time.
const SURE_MS = 5000;

let made = 0;

function meter(name) {
  const fill = el("span", { class: "bar-fill" });
  const bar = el("span", { class: "bar", "aria-hidden": "true" }, fill);
  const text = el("span", { class: "numbers" });
  const note = el("span", { class: "quiet" });
  const warning = el("span", { class: "warning" });
  const node = cell(name, bar, el("span", { class: "reading" }, text, " ", note, " ", warning));
  return {
    node,
    update(shown) {
      fill.style.width = `${100 * (shown.part ?? 0)}%`;
      bar.hidden = shown.part === null;
      node.dataset.level = shown.level;
      setText(text, shown.text);
      setText(note, shown.note);
      setText(warning, shown.warning);
    },
  };
}

/** `act(name, deed)` cordons, drains or uncordons; `now()` is the server's time. */
export function hostRow(act, now) {
  const id = `host-more-${(made += 1)}`;
  const name = el("strong");
  const address = el("span", { class: "quiet mono" });
  const status = el("span", { class: "state" });
  const fill = el("span", { class: "bar-fill" });
  const bar = el("span", { class: "bar", "aria-hidden": "true" }, fill);
  const numbers = el("span", { class: "numbers" });
  const vitals = ["Load", "Memory", "Disk"].map(meter);
  const reason = cell("Reason");
  reason.classList.add("wide", "why");
  const toggle = el("button", { class: "plain", type: "button", "aria-expanded": "false", "aria-controls": id, text: "Details" });
  const facts = el("dl", { class: "facts" });
  const buttons = { cordon: button("Cordon"), drain: button("Drain"), uncordon: button("Uncordon") };
  const more = cell("Details", facts, el("span", { class: "deeds" }, ...Object.values(buttons)));
  more.classList.add("wide", "more");
  more.id = id;
  more.hidden = true;
  const node = el("div", { class: "row", role: "row" }, cell("Host", name, " ", address), cell("State", status),
    cell("Slots", bar, numbers), ...vitals.map((one) => one.node), cell("", toggle), reason, more);
  let host = null;
  let sure = 0;

  toggle.addEventListener("click", () => {
    more.hidden = !more.hidden;
    toggle.setAttribute("aria-expanded", String(!more.hidden));
    if (!more.hidden) tick();
  });
  for (const [deed, one] of Object.entries(buttons)) {
    one.addEventListener("click", async () => {
      if (isBusy(one)) return;
      // A drained host that was bought is deleted, so this is asked twice.
      if (deed === "drain" && !sure) { ask(); return; }
      calm();
      setBusy(one, true);
      await act(host.name, deed);
      setBusy(one, false);
    });
  }

  function button(text) { return el("button", { class: "outline small", type: "button", text }); }

  function ask() {
    setText(buttons.drain, "Drain, and delete it once empty? Press again");
    sure = setTimeout(calm, SURE_MS);
  }

  function calm() {
    clearTimeout(sure);
    sure = 0;
    setText(buttons.drain, "Drain");
  }

  function tick() {
    if (more.hidden || !host) return;
    const shown = details(host, now());
    if (facts.children.length !== shown.length) facts.replaceChildren(...shown.map(() => el("div", {}, el("dt"), el("dd"))));
    shown.forEach(([title, words], n) => {
      setText(facts.children[n].firstChild, title);
      setText(facts.children[n].lastChild, words);
    });
  }

  return {
    node,
    tick,
    update(next) {
      host = next;
      setText(name, host.name);
      setText(address, host.address);
      setText(status, host.cordon ? `${host.state}, ${host.cordon}` : host.state);
      status.dataset.state = host.state === "up" && host.cordon ? host.cordon : host.state;
      fill.style.width = `${host.slots > 0 ? Math.min(100, (100 * host.used) / host.slots) : 0}%`;
      bar.classList.toggle("full", host.used >= host.slots);
      setText(numbers, `${host.used} of ${host.slots}`);
      // What was heard before a heartbeat went away is shown as such.
      node.classList.toggle("stale", Boolean(host.unannounced_since));
      meters(host.vitals).forEach((shown, n) => vitals[n].update(shown));
      setText(reason, host.reason ?? "");
      reason.hidden = !host.reason;
      toggle.setAttribute("aria-label", `Details of ${host.name}`);
      for (const [deed, one] of Object.entries(buttons)) one.setAttribute("aria-description", `${deed} ${host.name}`);
      // The button that was pressed goes away with what it did: the focus must not go with it.
      const focused = Object.values(buttons).find((one) => one === document.activeElement);
      buttons.cordon.hidden = Boolean(host.cordon);
      buttons.drain.hidden = host.cordon === "draining";
      buttons.uncordon.hidden = !host.cordon;
      if (focused?.hidden) toggle.focus();
      tick();
    },
  };
}
