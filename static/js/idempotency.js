// One idempotency key per click. The key outlives a failure whose outcome is unknown, and a reload of
// the page, so that asking again can never start a second Redis.

/** A random key. `randomUUID` exists in secure contexts only, and a self-hosted page may be plain http. */
export function newKey(crypto = globalThis.crypto) {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  const random = crypto.getRandomValues(new Uint8Array(16));
  random[6] = (random[6] & 0x0f) | 0x40;
  random[8] = (random[8] & 0x3f) | 0x80;
  const hex = Array.from(random, (b) => b.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

const NAME = "getaredis.pending.v1";
// After a reload: a create is decided within its deadline of half a minute, so what is much older is forgotten.
const FRESH_MS = 120_000;

/** The request that is not settled yet: `{ key, body, at }`, in this tab's session storage. */
export class Pending {
  #storage;
  #value = null;

  constructor(storage, wallNow) {
    this.#storage = storage;
    try { this.#value = JSON.parse(storage?.getItem(NAME) ?? "null"); } catch { this.#value = null; }
    const age = wallNow - this.#value?.at;
    if (typeof this.#value?.key !== "string" || !(age >= 0 && age < FRESH_MS)) this.#value = null;
  }

  /** The request whose outcome is not known, or null. */
  get unsettled() { return this.#value; }

  /** The request to send for this click: the unsettled one if it asks for the same, else a new one. */
  begin(body, wallNow, key = newKey()) {
    if (this.#value && JSON.stringify(this.#value.body) === JSON.stringify(body)) return this.#value;
    this.#value = { key, body, at: wallNow };
    this.#write();
    return this.#value;
  }

  /** The outcome is known: the next click is a new intention. */
  settle() {
    this.#value = null;
    this.#write();
  }

  #write() {
    try {
      if (this.#value) this.#storage?.setItem(NAME, JSON.stringify(this.#value));
      else this.#storage?.removeItem(NAME);
    } catch { /* no storage: the key still lives as long as the page */ }
  }
}
