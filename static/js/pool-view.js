// The pool on the operator's page: whether it runs, what is on its way, what was decided and what went wrong.

import { announce, byId, el, isBusy, setBusy, setText } from "./dom.js";
import { poolInWords } from "./pool.js";

/** `press(paused)` pauses or resumes and tells whether it did; `now()` is the server's time. */
export function poolView(press, now) {
  const section = byId("pool");
  const button = byId("pool-switch");
  let scaling = null;

  button.addEventListener("click", async () => {
    if (isBusy(button)) return;
    setBusy(button, true);
    const paused = !scaling.paused;
    if (await press(paused)) announce(paused ? "The pool is paused." : "The pool runs again.");
    setBusy(button, false);
  });

  function lines(list, texts) {
    list.hidden = texts.length === 0;
    const nodes = [...list.children];
    if (nodes.length !== texts.length) list.replaceChildren(...texts.map((text) => el("li", { text })));
    else texts.forEach((text, n) => setText(nodes[n], text));
  }

  function draw() {
    const words = poolInWords(scaling, now());
    section.hidden = words === null;
    if (words === null) return;
    const status = byId("pool-state");
    status.dataset.state = words.state;
    setText(status, words.state);
    setText(byId("pool-numbers"), words.numbers);
    setText(byId("pool-totals"), words.totals);
    setText(byId("pool-hint"), words.hint);
    byId("pool-hint").hidden = !words.hint;
    setText(button, words.button);
    button.setAttribute("aria-description", "the pool");
    const moving = byId("pool-moving");
    moving.hidden = words.moving.length === 0;
    moving.replaceChildren(...words.moving.map(({ name, stage, age }) => el("li", {},
      el("span", { class: "state", "data-state": stage, text: stage }), " ", el("strong", { text: name }), " ", el("span", { class: "quiet", text: age }))));
    byId("pool-trouble").hidden = words.errors.length === 0;
    lines(byId("pool-errors"), words.errors);
    lines(byId("pool-why"), words.explanation);
  }

  return {
    tick() { if (scaling?.enabled) draw(); },
    update(next) { scaling = next; draw(); },
  };
}
