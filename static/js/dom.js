// The few DOM helpers every view shares. Text goes in through textContent only, so nothing that
// a server or a visitor wrote can ever become markup.

export const byId = (id) => document.getElementById(id);

/** Makes an element with properties (`class`, `aria-…` and `data-…` become attributes) and children. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** Writes text only when it differs: an unchanged write would make a live region speak again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Says that the page has come whole: what stands on it for the other case goes. See loading.js. */
export function loaded() {
  byId("not-loaded")?.remove();
  if (history.state?.loading) history.replaceState(null, "");
}

/** Says one sentence to a screen reader, politely. */
export const announce = (text) => say(byId("announce"), text);

/** Says what went wrong to a screen reader, at once. In one piece: of several that appear together one is said, the others when something else changes. */
export const alarm = (text) => say(byId("alarm"), text);

function say(region, text) {
  if (!region) return;
  region.textContent = "";
  // Emptied first and filled in a later frame, so that the same sentence is spoken twice if it happens twice.
  requestAnimationFrame(() => { region.textContent = text; });
}

/** Moves the focus to a heading. Only for as long as it stays there, as a screen reader calls what can have it clickable. */
export function lead(heading) {
  heading.tabIndex = -1;
  heading.addEventListener("blur", () => heading.removeAttribute("tabindex"), { once: true });
  heading.focus();
}

/** Shows a button as not available while it keeps the focus (a `disabled` one would lose it). */
export function setBusy(button, busy) {
  if (busy) button.setAttribute("aria-disabled", "true");
  else button.removeAttribute("aria-disabled");
}

export const isBusy = (button) => button.getAttribute("aria-disabled") === "true";
