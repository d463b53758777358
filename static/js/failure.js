// The one error box of the page: it moves to the view that failed and says what happened and when to try again.

import { alarm, byId, el } from "./dom.js";
import { again, words } from "./wording.js";

const box = byId("error");

/** Shows a failure in the error slot of `view`, or below everything without one. Returns the paragraph that says when to try again, if there is one. */
export function showFailure(view, failure) {
  const { title, text } = words(failure);
  const when = again(failure.retryAfter);
  const whenLine = when ? el("p", { class: "when", text: when }) : null;
  (view?.querySelector("[data-error-slot]") ?? byId("main")).append(box);
  box.replaceChildren(el("h2", { text: title }), el("p", { text }), ...(whenLine ? [whenLine] : []));
  box.hidden = false;
  alarm([`${title}.`, text, when ?? ""].join(" ").trim());
  return whenLine;
}

export function hideFailure() {
  box.hidden = true;
  box.replaceChildren();
  alarm("");
}
