// The list of this browser's own instances on the front page. Only those that the server says are alive are shown.

import * as api from "./api.js";
import { copies } from "./copy.js";
import { leaseOf, remaining } from "./countdown.js";
import { byId, el, setText } from "./dom.js";
import { coarse } from "./format.js";

export class Shelf {
  #mine;
  #section = byId("mine");
  #list = byId("mine-list");
  #rows = [];
  #turn = 0;

  constructor(mine) {
    this.#mine = mine;
    setInterval(() => this.#tick(), 1000);
  }

  /** Asks about every remembered instance; forgets those that have ended. */
  async refresh() {
    const turn = ++this.#turn;
    const answers = await Promise.all(this.#mine.all().map(async (m) => [m, await api.readInstance(m.id, m.token)]));
    if (turn !== this.#turn) return;
    this.#rows = [];
    const items = [];
    for (const [{ id }, answer] of answers) {
      if (!answer.ok) {
        if (answer.status === 404 || answer.status === 410) this.#mine.forget(id);
        continue;
      }
      if (answer.body.state !== "running") continue;
      items.push(this.#item(answer.body, answer.at));
    }
    this.#list.replaceChildren(...items);
    this.#section.hidden = items.length === 0;
    this.#tick();
  }

  #item(body, at) {
    const time = el("span", { class: "quiet" });
    this.#rows.push([leaseOf(body, at), time]);
    const address = `${body.host}:${body.port}`;
    const button = el("button", { class: "copy", type: "button", text: "Copy" });
    copies(button, () => body.redis_url, null, `the connection string of ${address}`);
    return el("li", {},
      el("a", { href: `/i/${body.id}` }, el("span", { class: "mono", text: address }), ...(body.label ? [` ${body.label}`] : [])),
      time, button);
  }

  #tick() {
    if (this.#section.hidden) return;
    const now = performance.now();
    for (const [lease, node] of this.#rows) {
      const left = remaining(lease, now);
      setText(node, left > 0 ? `${coarse(left)} left` : "ended");
    }
  }
}
