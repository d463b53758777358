// The view that asks for a management token, for a link opened in a browser that does not have it.

import { byId } from "./dom.js";
import { hideFailure, showFailure } from "./failure.js";

export class Unlock {
  #view = byId("unlock");
  #field = byId("unlock-token");
  #id = null;

  /** `opened(id, token)` tries the token that was pasted. */
  constructor(opened) {
    byId("unlock-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const token = this.#field.value.trim();
      if (token) { hideFailure(); opened(this.#id, token); }
    });
  }

  show(id, failure = null) {
    this.#id = id;
    this.#view.hidden = false;
    document.title = "Open a Redis · getaredis";
    if (failure) showFailure(this.#view, failure);
    this.#field.toggleAttribute("aria-invalid", false);
    if (failure) this.#field.setAttribute("aria-invalid", "true");
    this.#field.focus();
    this.#field.select();
  }

  hide() {
    this.#view.hidden = true;
    this.#field.value = "";
  }
}
