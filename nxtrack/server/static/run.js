// The page of one run: what changes while it runs, and folding all of a document at once. Without it all is there.
"use strict";

(() => {
  const quick = 1000;
  const slow = 5000;

  function active() {
    return document.getElementById("head")?.dataset.active === "yes";
  }

  // Puts the new parts in place of the old ones. Logs whose end was in sight stay at their end.
  function replace(fresh) {
    const lines = document.getElementById("log-lines");
    const atEnd = !lines || lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
    const from = lines ? lines.scrollTop : 0;
    const held = document.activeElement?.id;
    for (const part of fresh.querySelectorAll("[data-live]")) {
      const old = document.getElementById(part.id);
      if (old && old.outerHTML !== part.outerHTML) old.replaceWith(document.adoptNode(part));
    }
    const now = document.getElementById("log-lines");
    if (now) now.scrollTop = atEnd ? now.scrollHeight : from;
    if (held && document.activeElement === document.body) document.getElementById(held)?.focus({ preventScroll: true });
  }

  async function look() {
    let wait = quick;
    if (!document.hidden) {
      try {
        const answer = await fetch(`${location.pathname}/live`, { credentials: "same-origin", cache: "no-store" });
        if (answer.status === 404) return location.reload();
        if (!answer.ok) throw new Error(answer.statusText);
        // A document of its own: scripts in it, had a run smuggled one in, would not run.
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        // The end has brought an output, metrics and assets, which only the whole page shows.
        if (fresh.getElementById("head")?.dataset.active === "no") return location.reload();
        replace(fresh);
      } catch {
        wait = slow;
      }
    }
    setTimeout(look, wait);
  }

  function addFolding(tree) {
    const inner = tree.querySelectorAll("details");
    if (inner.length < 2) return;
    const tools = tree.parentElement.querySelector(".tools");
    for (const [words, open] of [["Unfold all", true], ["Fold all", false]]) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "button";
      button.textContent = words;
      button.addEventListener("click", () => {
        for (const part of inner) part.open = open || part === inner[0];
      });
      tools.append(" ", button);
    }
  }

  document.documentElement.classList.add("scripted");
  document.querySelectorAll(".tree").forEach(addFolding);
  const lines = document.getElementById("log-lines");
  if (active()) {
    if (lines) lines.scrollTop = lines.scrollHeight;
    setTimeout(look, quick);
  }
})();
