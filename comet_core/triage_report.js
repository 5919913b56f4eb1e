(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const cards = [...document.querySelectorAll(".card")].sort((a, b) => rank(a) - rank(b));
  const lists = [...document.querySelectorAll("ol.cards")], last = lists.at(-1);
  const homes = new Map(cards.map(card => [card, card.parentElement]));
  const heading = last.previousElementSibling, title = heading.textContent;
  const dialog = document.querySelector("dialog");
  const said = document.getElementById("said");
  const store = `comet-triage-${data.key}`;
  let current = null;

  function rank(card) { return +card.dataset.rank; }
  const row = card => data.rows[rank(card) - 1];
  const file = card => data.files[rank(card) - 1];
  const isFlagged = card => card.classList.contains("flagged");
  const shown = () => lists.flatMap(list => [...list.children]).filter(card => !card.hidden);

  // Verdicts outlive the page where the browser allows it; where not, they last as long as it.
  let verdicts = {};
  try { verdicts = JSON.parse(localStorage.getItem(store)) || {}; } catch { /* not allowed */ }
  const keep = () => {
    try { localStorage.setItem(store, JSON.stringify(verdicts)); } catch { /* not allowed */ }
  };

  const tests = {
    all: () => true,
    flagged: isFlagged,
    open: card => isFlagged(card) && !verdicts[file(card)],
    defective: card => verdicts[file(card)] === "defective",
    fine: card => verdicts[file(card)] === "fine",
  };

  function press(box, verdict) {
    for (const button of box.querySelectorAll("[data-verdict]")) {
      button.setAttribute("aria-pressed", button.dataset.verdict === verdict);
    }
  }

  function paint(card) {
    const verdict = verdicts[file(card)] || "";
    if (verdict) card.dataset.marked = verdict; else delete card.dataset.marked;
    press(card, verdict);
    if (current === card && dialog.open) press(dialog, verdict);
  }

  function count() {
    for (const [name, test] of Object.entries(tests)) {
      document.getElementById(`n-${name}`).textContent = cards.filter(test).length;
    }
    const flagged = cards.filter(isFlagged), seen = flagged.filter(card => verdicts[file(card)]);
    const defective = cards.filter(tests.defective).length, fine = cards.filter(tests.fine).length;
    said.textContent = `${seen.length} of ${flagged.length} flagged images marked; in all, ` +
      `${defective} defective and ${fine} fine. Showing ${shown().length} of ${cards.length}.`;
  }

  function mark(card, verdict) {
    const name = file(card);
    if (!verdict || verdicts[name] === verdict) delete verdicts[name];
    else verdicts[name] = verdict;
    keep();
    paint(card);
    count();
  }

  function filter() {
    const test = tests[document.querySelector("[name=show]:checked").value];
    for (const card of cards) card.hidden = !test(card);
    for (const list of lists) {
      list.previousElementSibling.hidden = ![...list.children].some(card => !card.hidden);
    }
    document.getElementById("nothing").hidden = shown().length > 0;
    // Keys must not mark what is not seen.
    if (current && current.hidden) {
      current.classList.remove("current");
      current = null;
    }
    count();
  }

  const orders = {
    suspicious: (a, b) => rank(a) - rank(b),
    trusted: (a, b) => rank(b) - rank(a),
    name: (a, b) => (row(a)[1] < row(b)[1] ? -1 : 1),
  };
  function sort() {
    // By rank the images fall into two lists; in any other order there is one, of all.
    const name = document.getElementById("order").value, byRank = name === "suspicious";
    for (const card of [...cards].sort(orders[name])) (byRank ? homes.get(card) : last).append(card);
    heading.textContent = byRank ? title : "All images";
    filter();
  }

  function choose(card, focus = true) {
    if (current) current.classList.remove("current");
    current = card;
    card.classList.add("current");
    // Scrolling here would move a button away from under the pointer that presses it.
    if (focus) card.querySelector(".look").focus({ preventScroll: true });
    if (dialog.open) enlarge(card);
  }

  function step(by) {
    const list = shown();
    if (!list.length) return;
    const at = list.indexOf(current);
    choose(list[at < 0 ? 0 : Math.min(list.length - 1, Math.max(0, at + by))], !dialog.open);
    current.scrollIntoView({ block: "nearest" });
  }

  function enlarge(card) {
    const [number, path, score, weight] = row(card), t = score / data.threshold;
    const stage = card.querySelector(".stage");
    dialog.querySelector(".look").replaceChildren(stage ? stage.cloneNode(true) : "no picture here");
    dialog.querySelector(".rank").textContent = `Rank ${number} of ${cards.length}`;
    dialog.querySelector(".score").textContent = card.querySelector(".score").textContent;
    dialog.querySelector(".why").textContent = card.querySelector(".why")?.textContent ?? "";
    dialog.querySelector(".name").textContent = `${path} · weight ${weight.toPrecision(3)}` +
      (t > 1 ? " · above the cut" : " · below the cut");
    dialog.querySelector("a").href = card.dataset.file;
    dialog.classList.toggle("flagged", isFlagged(card));
    press(dialog, verdicts[file(card)] || "");
    if (!dialog.open) dialog.showModal();
  }

  function decide(verdict) {
    if (!current) return;
    verdicts[file(current)] = verdict;
    keep();
    paint(current);
    count();
    step(1);
  }

  function toggle(name) {
    const button = document.getElementById(name);
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", on);
    if (name === "lines") document.body.classList.toggle("lines-off", !on);
    else document.body.classList.toggle("heat-on", on);
  }

  function quoted(value) {
    const text = String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }
  function csv() {
    const lines = [[...data.columns, "verdict"]];
    data.rows.forEach((one, i) => lines.push([...one, verdicts[data.files[i]] || ""]));
    return lines.map(line => line.map(quoted).join(",")).join("\n") + "\n";
  }
  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = "reviewed.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  document.addEventListener("click", event => {
    const card = event.target.closest(".card");
    const button = event.target.closest("[data-verdict]");
    if (button) {
      const one = card || current;
      if (card) choose(card, false);
      mark(one, button.dataset.verdict);
    } else if (card && event.target.closest(".look")) {
      choose(card, false);
      enlarge(card);
    } else if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => current && choose(current));
  dialog.querySelector("[data-step='-1']").addEventListener("click", () => step(-1));
  dialog.querySelector("[data-step='1']").addEventListener("click", () => step(1));
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  document.addEventListener("focusin", event => {
    const card = event.target.closest?.(".card");
    if (card && card !== current) choose(card, false);
  });

  const keys = {
    ArrowRight: () => step(1), j: () => step(1), ArrowLeft: () => step(-1), k: () => step(-1),
    d: () => decide("defective"), f: () => decide("fine"),
    u: () => current && mark(current, ""), m: () => toggle("heat"), o: () => toggle("lines"),
  };
  document.addEventListener("keydown", event => {
    const busy = event.target.closest?.("input, select, summary");
    if (busy || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  document.querySelectorAll("[name=show]").forEach(one => one.addEventListener("change", filter));
  document.getElementById("order").addEventListener("change", sort);
  document.getElementById("heat").addEventListener("click", () => toggle("heat"));
  document.getElementById("lines").addEventListener("click", () => toggle("lines"));
  document.getElementById("export").addEventListener("click", save);
  document.querySelectorAll("[data-needs-script]").forEach(one => { one.hidden = false; });
  cards.forEach(paint);
  filter();
})();
