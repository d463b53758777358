// Loads the page again when one of its modules was lost on the way, as happens when the network changes meanwhile: a
// browser does not ask for a lost module twice. No module itself, because it must not be lost with them.
"use strict";

(() => {
  const MOST = 3;
  const FIRST_PAUSE_MS = 400;
  // Kept with the entry of the history, which survives loading it again.
  const tries = () => history.state?.loading ?? 0;

  addEventListener("error", ({ target }) => {
    if (target.tagName !== "SCRIPT") return;
    const before = tries();
    if (before >= MOST) {
      document.getElementById("not-loaded").classList.add("now");
      return;
    }
    history.replaceState({ loading: before + 1 }, "");
    document.documentElement.dataset.loading = "again";
    setTimeout(() => location.reload(), FIRST_PAUSE_MS * 2 ** before);
  }, true);

  // Who asks for it again by hand gets all of the tries: a browser keeps the entry of the history then, too.
  addEventListener("click", ({ target }) => {
    if (target.closest("#not-loaded a")) history.replaceState(null, "");
  });
})();
