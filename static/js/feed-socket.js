// Keeps a connection to the operator's feed: asks first over HTTP whether the token is good (a refused
// websocket tells no reason), connects, and connects again with back-off when the connection is lost.

import * as api from "./api.js";
import { backoff } from "./backoff.js";

const PROTOCOL = "getaredis.feed.v1";
// Only a connection that lived this long shows that the trouble is over.
const HEALTHY_MS = 5000;

/** The subprotocols that carry the token: a websocket of a browser has no headers of its own. */
export function protocols(token) {
  const base64 = btoa(String.fromCharCode(...new TextEncoder().encode(token)));
  return [PROTOCOL, `bearer.${base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`];
}

export class FeedSocket {
  #token;
  #on;
  #socket = null;
  #timer = 0;
  #attempt = 0;
  #closed = false;

  /** `on.frame(json)`, `on.state(name, detail)` with connecting | open | waiting, `on.refused(failure)`. */
  constructor(token, on) {
    this.#token = token;
    this.#on = on;
    this.#connect();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
  }

  /** Gives this connection up and makes a new one. */
  restart(reason) {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#again(reason);
  }

  async #connect() {
    this.#on.state("connecting", "");
    const answer = await api.readActors(this.#token);
    if (this.#closed) return;
    if (!answer.ok) {
      if (answer.status === 401 || answer.status === 403) {
        this.close();
        this.#on.refused(answer);
      } else {
        this.#again(answer.status ? `the server answered ${answer.status}` : "the server cannot be reached", answer.retryAfter);
      }
      return;
    }
    const address = new URL("/v1/admin/feed", location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address, protocols(this.#token));
    let openedAt = Infinity;
    this.#socket = socket;
    socket.addEventListener("open", () => {
      if (socket !== this.#socket || this.#closed) return;
      openedAt = performance.now();
      this.#on.state("open", "");
    });
    socket.addEventListener("message", (event) => {
      if (socket !== this.#socket || this.#closed) return;
      let frame = null;
      try { frame = JSON.parse(event.data); } catch { frame = null; }
      this.#on.frame(frame);
    });
    socket.addEventListener("close", () => {
      if (socket !== this.#socket || this.#closed) return;
      if (performance.now() - openedAt > HEALTHY_MS) this.#attempt = 0;
      this.restart("the connection was lost");
    });
  }

  #again(reason, atLeastS = 0) {
    if (this.#closed) return;
    const ms = Math.max(backoff(this.#attempt, Math.random()), (atLeastS ?? 0) * 1000);
    this.#attempt += 1;
    this.#on.state("waiting", `${reason}; trying again in ${Math.max(1, Math.round(ms / 1000))} s`);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), ms);
  }
}
