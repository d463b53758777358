// Copying text. `navigator.clipboard` exists in secure contexts only, and a self-hosted page may be plain http.

import { announce, setText } from "./dom.js";

async function copyText(text, near) {
  if (navigator.clipboard?.writeText) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch { /* refused: try the old way */ }
  }
  const field = document.createElement("textarea");
  field.value = text;
  field.readOnly = true;
  field.className = "offscreen";
  // Beside the button, so that the page does not scroll and the focus comes back to it.
  near.after(field);
  field.select();
  let copied = false;
  try { copied = document.execCommand("copy"); } catch { copied = false; }
  field.remove();
  near.focus();
  return copied;
}

function select(node) {
  const range = document.createRange();
  range.selectNodeContents(node);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

/** Makes a button copy what `text()` gives; where copying is impossible, it selects `shown` for the person's own keys. */
export function copies(button, text, shown, what) {
  const label = button.textContent;
  let timer = 0;
  button.setAttribute("aria-label", `${label} ${what}`);
  button.addEventListener("click", async () => {
    const copied = await copyText(text(), button);
    if (!copied && shown) select(shown);
    setText(button, copied ? "Copied" : "Press Ctrl+C");
    button.dataset.copied = copied;
    announce(copied ? `Copied ${what}.` : `Selected ${what}. Press Control C to copy it.`);
    clearTimeout(timer);
    timer = setTimeout(() => { setText(button, label); delete button.dataset.copied; }, 2000);
  });
  return button;
}
