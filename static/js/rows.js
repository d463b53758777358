// Keyed table rows: one element for each key, changed in place, so that thousands of rows cost only what changed.

export class Rows {
  #body;
  #make;
  #rows = new Map();

  /** `make()` gives `{ node, update(value) }` for a new row. */
  constructor(body, make) {
    this.#body = body;
    this.#make = make;
  }

  get size() { return this.#rows.size; }

  /** Draws everything from a map, in its order; rows that are still there keep their elements. */
  replace(values) {
    const kept = new Map();
    const nodes = [];
    for (const [key, value] of values) {
      const row = this.#rows.get(key) ?? this.#make();
      row.update(value);
      kept.set(key, row);
      nodes.push(row.node);
    }
    this.#rows = kept;
    this.#body.replaceChildren(...nodes);
  }

  /** Draws one key: changes, adds (`first`: in front) or, without a value, removes it. */
  set(key, value, first = false) {
    const row = this.#rows.get(key);
    if (value === undefined) {
      row?.node.remove();
      this.#rows.delete(key);
    } else if (row) {
      row.update(value);
    } else {
      const made = this.#make();
      made.update(value);
      this.#rows.set(key, made);
      if (first) this.#body.prepend(made.node);
      else this.#body.append(made.node);
    }
  }

  each(visit) { for (const row of this.#rows.values()) visit(row); }
}
