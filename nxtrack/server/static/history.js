"use strict";
/* The history while runs arrive: asks for the parts that change and swaps them, row by row, so that focus, ticks,
   scroll position and selected text stay. Also: choosing two runs, keys, and times that go on. */
(() => {
  const POLL = 2000, SLOWEST = 30000, AGO = 15000;
  const byId = (id) => document.getElementById(id);
  const news = byId("news"), pause = byId("pause");

  // Times that go on

  const ago = (time, now) => {
    const seconds = Math.floor((now - Date.parse(time.dateTime)) / 1000);
    let text = seconds < -1 ? "in the future" : "just now";
    for (const [unit, each] of [["y", 31557600], ["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
      if (seconds >= each && (unit !== "s" || seconds > 9)) { text = `${Math.floor(seconds / each)} ${unit} ago`; break; }
    }
    if (time.textContent !== text) time.textContent = text;
  };
  const tell = () => {
    const now = Date.now();
    for (const time of document.querySelectorAll("#runs time, #applications time")) ago(time, now);
  };

  // Swapping what changed

  // What stands in an element, apart from how long ago things were, which goes on by itself.
  const content = (element) => {
    const copy = element.cloneNode(true);
    for (const time of copy.querySelectorAll("time")) { time.textContent = ""; time.removeAttribute("data-ago"); }
    return copy.innerHTML;
  };

  const following = (node, children) => {
    let next = node.nextElementSibling;
    while (next && !next.matches(children)) next = next.nextElementSibling;
    return next;
  };

  // Gives `old` the keyed children of `next`, but keeps those elements that say the same.
  const merge = (old, next, children) => {
    const kept = new Map(Array.from(old.querySelectorAll(children), (child) => [child.dataset.key, child]));
    const wanted = Array.from(next.querySelectorAll(children));
    if (!kept.size || !wanted.length) { old.replaceChildren(...next.childNodes); return; }
    const parent = old.querySelector(children).parentNode;
    const staying = new Set(wanted.map((child) => child.dataset.key));
    for (const [key, child] of kept) if (!staying.has(key)) child.remove();
    let at = parent.querySelector(children);
    for (const child of wanted) {
      const before = kept.get(child.dataset.key);
      if (before && before === at) at = following(at, children);
      if (before && content(before) === content(child)) {
        if (following(before, children) !== at) parent.insertBefore(before, at);
        continue;
      }
      const fresh = document.importNode(child, true);
      if (before) before.remove(); else fresh.classList.add("fresh");
      parent.insertBefore(fresh, at);
    }
  };

  // Where the focus is, in words that hold for a new element in its place.
  const remember = () => {
    const at = document.activeElement;
    if (!at || at === document.body) return null;
    const keyed = at.closest("[data-key]");
    return {
      at, id: at.id, tag: at.tagName, key: keyed && `${keyed.tagName}[data-key="${CSS.escape(keyed.dataset.key)}"]`,
      like: (one) => ["href", "name", "rel"].every((name) => one.getAttribute(name) === at.getAttribute(name)),
      rel: at.getAttribute("rel"),
    };
  };
  const refocus = (place) => {
    if (!place || document.activeElement === place.at) return;
    const inside = (root) => root && Array.from(root.querySelectorAll(place.tag));
    const found = (place.at.isConnected && place.at) || (place.id && byId(place.id))
      || (place.key && inside(document.querySelector(place.key))?.find(place.like))
      || inside(document).find((one) => place.rel ? one.rel === place.rel : !place.key && place.like(one));
    (found || document.querySelector("#runs .wide") || byId("content")).focus({ preventScroll: true });
  };

  const swap = (next) => {
    const place = remember();
    const runs = byId("runs"), coming = next.getElementById("runs");
    const head = (form) => form.querySelector("thead")?.innerHTML;
    if (head(runs) && head(runs) === head(coming)) merge(runs, coming, "tbody tr");
    else runs.replaceChildren(...coming.childNodes);
    merge(byId("applications"), next.getElementById("applications"), "li");
    for (const id of ["plots", "summary", "pages"]) {
      const old = byId(id), fresh = next.getElementById(id);
      if (old.innerHTML !== fresh.innerHTML) old.replaceChildren(...fresh.childNodes);
    }
    tell();
    show();
    refocus(place);
  };

  // Asking for news

  let since = Number(byId("runs").dataset.newest), arrived = 0;
  let tag = null, delay = POLL, timer = 0, paused = false, asking = false;

  const say = (text, lost) => {
    news.classList.toggle("lost", Boolean(lost));
    if (news.textContent !== text) news.textContent = text;
  };
  const selecting = () => {
    const selection = getSelection();
    return Boolean(selection) && !selection.isCollapsed && byId("runs").contains(selection.anchorNode);
  };
  const take = async (answer) => {
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    // What someone marks to copy is not pulled away: the next answer will do.
    if (paused || selecting()) { tag = null; return; }
    swap(next);
    tag = answer.headers.get("ETag");
    const newest = Number(next.getElementById("runs").dataset.newest);
    arrived += Number(next.body.dataset.new);
    // The next question is another one, so the tag of this answer does not hold for it.
    if (newest > since) { since = newest; tag = null; }
  };
  const poll = async () => {
    clearTimeout(timer);
    if (paused || document.hidden || asking) return;
    asking = true;
    try {
      const address = new URL("/history/live", location.origin);
      address.search = location.search;
      address.searchParams.set("since", since);
      const answer = await fetch(address, { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
      if (answer.status === 200) await take(answer);
      else if (answer.status !== 304) throw new Error(String(answer.status));
      delay = POLL;
      say(arrived ? `${arrived} new run${arrived === 1 ? "" : "s"}` : "");
    } catch {
      // Told to the reader, and tried again ever more slowly.
      delay = Math.min(delay * 2, SLOWEST);
      say("The platform does not answer; this list may be old.", true);
    } finally {
      asking = false;
      timer = setTimeout(poll, delay);
    }
  };

  // Choosing two runs, over several pages of the list; a third tick takes the place of the first

  const STORED = "nxtrack.compare";
  let chosen = [];
  try { chosen = JSON.parse(sessionStorage.getItem(STORED)) || []; } catch { /* Then the choice lasts for this page. */ }
  const boxes = () => Array.from(document.querySelectorAll("#runs input[name=run]"));
  const show = () => {
    for (const box of boxes()) box.checked = chosen.some((one) => one.value === box.value);
    const button = byId("compare");
    if (!button) return;
    button.disabled = chosen.length !== 2;
    byId("picked").textContent = chosen.length
      ? `${chosen.map((one) => one.name).join(" and ")}${chosen.length === 1 ? ": tick another run." : ""}`
      : "Tick two runs to see them side by side.";
    let clear = byId("clear");
    if (!clear) {
      clear = Object.assign(document.createElement("button"), { id: "clear", type: "button", className: "button", textContent: "Clear" });
      byId("picked").after(" ", clear);
      clear.addEventListener("click", () => choose([]));
    }
    clear.hidden = !chosen.length;
  };
  const choose = (runs) => {
    chosen = runs.slice(-2);
    try { sessionStorage.setItem(STORED, JSON.stringify(chosen)); } catch { /* As above. */ }
    show();
  };
  byId("runs").addEventListener("change", ({ target }) => {
    if (target.name !== "run") return;
    const others = chosen.filter((one) => one.value !== target.value);
    const name = target.closest("tr").querySelector("a.run").textContent;
    choose(target.checked ? [...others, { value: target.value, name }] : others);
  });
  byId("runs").addEventListener("submit", (event) => {
    event.preventDefault();
    if (chosen.length === 2) location.assign(`/compare?${new URLSearchParams({ a: chosen[0].value, b: chosen[1].value })}`);
  });

  // The rest

  byId("plots").addEventListener("click", ({ target }) => {
    const mark = target.closest("[data-run]");
    if (mark) location.assign(mark.dataset.run);
  });
  // What is empty has no business in the address.
  document.querySelector(".filters").addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of Array.from(formData)) if (value === "") formData.delete(name);
  });
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    if (!paused) poll();
  });
  document.addEventListener("visibilitychange", poll);
  // Single letters must be possible to turn off (WCAG 2.2, 2.1.4): who dictates, types them by accident.
  const KEYS = "nxtrack.keys", listening = byId("keys-on");
  try { listening.checked = localStorage.getItem(KEYS) !== "off"; } catch { /* Then this page's choice is not kept. */ }
  listening.addEventListener("change", () => {
    try { localStorage.setItem(KEYS, listening.checked ? "on" : "off"); } catch { /* As above. */ }
  });
  byId("keys").hidden = false;
  document.addEventListener("keydown", (event) => {
    if (!listening.checked) return;
    const typing = event.target.closest("input:not([type=checkbox]), select, textarea");
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || typing) return;
    if (event.key === "/") { event.preventDefault(); byId("q").focus(); byId("q").select(); return; }
    const rows = Array.from(document.querySelectorAll("#runs tbody tr"));
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    if (event.key === "j" || event.key === "k") {
      const next = event.key === "j" ? Math.min(at + 1, rows.length - 1) : Math.max(at - 1, 0);
      if (rows[next]) rows[next].querySelector("a.run").focus();
    } else if (event.key === "x" && at >= 0) rows[at].querySelector("input[name=run]").click();
  });

  show();
  tell();
  // A page that comes back out of the browser's memory has its old ticks.
  addEventListener("pageshow", show);
  setInterval(tell, AGO);
  timer = setTimeout(poll, POLL);
})();
