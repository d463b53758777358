// The instances this browser started: id and management token, in localStorage and nowhere else.
// The Redis password is never kept; the token fetches it when it is needed.

const NAME = "getaredis.mine.v1";
// More than a browser can have alive at once; older ones have long ended.
const MOST = 50;

export class Mine {
  #storage;
  #memory = [];

  constructor(storage) { this.#storage = storage; }

  /** All remembered instances, newest first. */
  all() {
    try {
      const text = this.#storage?.getItem(NAME);
      if (text) this.#memory = JSON.parse(text);
      else if (this.#storage) this.#memory = [];
    } catch { /* unreadable or forbidden: what this page itself remembers is all there is */ }
    if (!Array.isArray(this.#memory)) this.#memory = [];
    return this.#memory.filter((m) => typeof m?.id === "string" && typeof m?.token === "string");
  }

  tokenOf(id) { return this.all().find((m) => m.id === id)?.token ?? null; }

  remember(id, token, label = null) {
    this.#save([{ id, token, label }, ...this.all().filter((m) => m.id !== id)].slice(0, MOST));
  }

  forget(id) { this.#save(this.all().filter((m) => m.id !== id)); }

  #save(list) {
    this.#memory = list;
    try {
      this.#storage?.setItem(NAME, JSON.stringify(list));
    } catch {
      this.#storage = null; // full or forbidden: go on in memory
    }
  }
}

/** A storage of the browser, or null where it is switched off (the mere access may throw). */
export function storageOf(name) {
  try { return globalThis[name] ?? null; } catch { return null; }
}
