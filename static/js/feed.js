// The state behind the operator's page: a snapshot and the deltas after it. Pure: frames go in, state and
// the keys that changed come out. A gap in the sequence is never papered over.

const KINDS = ["hosts", "instances", "actors"];

export class FeedState {
  seq = null;
  hosts = new Map();
  instances = new Map();
  actors = new Map();
  totals = { started: 0 };
  reaper = null;
  scaling = null;
  at = null;
  #waiting = true;

  /**
   * Takes one frame. `outcome` is "snapshot", "delta", "resync" (a snapshot follows), "gap" or "malformed"
   * (both: this connection is of no use any more). `changed` lists the keys to draw again.
   */
  take(frame) {
    switch (frame?.type) {
      case "snapshot": return this.#snapshot(frame);
      case "delta": return this.#delta(frame);
      case "resync":
        this.#waiting = true;
        return { outcome: "resync", changed: [] };
      default:
        return { outcome: "malformed", changed: [] };
    }
  }

  #snapshot(frame) {
    if (!Number.isInteger(frame.seq) || !KINDS.every((kind) => Array.isArray(frame[kind]))) return { outcome: "malformed", changed: [] };
    this.seq = frame.seq;
    this.at = frame.at;
    this.totals = frame.totals ?? this.totals;
    this.reaper = frame.reaper ?? null;
    this.scaling = frame.scaling ?? null;
    this.hosts = new Map(frame.hosts.map((h) => [h.name, h]));
    this.actors = new Map(frame.actors.map((a) => [a.name, a]));
    // Newest first, as later ones are added in front.
    const newest = [...frame.instances].sort((a, b) => String(b.created_at).localeCompare(String(a.created_at)));
    this.instances = new Map(newest.map((i) => [i.id, i]));
    this.#waiting = false;
    return { outcome: "snapshot", changed: [] };
  }

  #delta(frame) {
    if (this.#waiting || frame.seq !== this.seq + 1) return { outcome: "gap", changed: [] };
    const changed = this.#fact(frame.fact);
    if (changed === null) return { outcome: "malformed", changed: [] };
    this.seq = frame.seq;
    this.at = frame.at;
    return { outcome: "delta", changed };
  }

  /** Applies a fact. One of a kind that this page does not know yet changes nothing, which is not an error. */
  #fact(fact) {
    switch (fact?.kind) {
      case "host_changed": return this.#set("hosts", fact.host?.name, fact.host);
      case "host_removed": return this.#drop("hosts", fact.name);
      case "actor_removed": return this.#drop("actors", fact.name);
      case "instance_changed": return this.#set("instances", fact.instance?.id, fact.instance);
      case "instance_ended": return this.#drop("instances", fact.id);
      case "actor_changed": return this.#set("actors", fact.actor?.name, fact.actor);
      case "totals_changed":
        this.totals = fact.totals ?? this.totals;
        return [["totals", null]];
      case "reaper_changed":
        this.reaper = fact.reaper ?? null;
        return [["reaper", null]];
      case "scaling_changed":
        this.scaling = fact.scaling ?? null;
        return [["scaling", null]];
      default: return typeof fact?.kind === "string" ? [] : null;
    }
  }

  #set(kind, key, value) {
    if (typeof key !== "string") return null;
    this[kind].set(key, value);
    return [[kind, key]];
  }

  #drop(kind, key) {
    if (typeof key !== "string") return null;
    this[kind].delete(key);
    return [[kind, key]];
  }

  /** Slots over all hosts. */
  slots() {
    let slots = 0;
    let used = 0;
    for (const host of this.hosts.values()) { slots += host.slots; used += host.used; }
    return { slots, used };
  }
}
