// Makes a report answer to pointer and keys: neurons tell who they are, tables sort,
// curves and conditions come and go. Nothing is fetched; without it the page is whole.
(() => {
  "use strict";
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (name, fields = {}, ...children) => {
    const element = Object.assign(document.createElement(name), fields);
    element.append(...children);
    return element;
  };
  const onKey = (element, keys) =>
    element.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });

  // -- tables: by a click on a head, the other way round, and as they were -------------
  const wordsOf = (row, at) => row.cells[at].textContent.trim();
  const numberOf = (words) =>
    words === "" || words === "–" ? NaN : Number(words.replaceAll(",", "").replace("−", "-"));

  function sorted(rows, at, direction) {
    const words = new Map(rows.map((row) => [row, wordsOf(row, at)]));
    const unknown = (row) => words.get(row) === "–" || words.get(row) === "";
    const isNumber = rows.every((row) => unknown(row) || !isNaN(numberOf(words.get(row))));
    const compared = (a, b) =>
      isNumber
        ? numberOf(words.get(a)) - numberOf(words.get(b))
        : words.get(a).localeCompare(words.get(b), undefined, { numeric: true });
    return [...rows].sort(
      (a, b) => unknown(a) - unknown(b) || (unknown(a) ? 0 : direction * compared(a, b)),
    );
  }

  function makeSortable(table) {
    const heads = all("thead th", table), body = table.tBodies[0];
    const before = [...body.rows];
    if (before.length < 2) return;
    heads.forEach((head, at) => {
      const button = make("button", { type: "button", title: "Sort" }, ...head.childNodes);
      head.append(button);
      const ways = head.classList.contains("number")
        ? ["descending", "ascending", null]
        : ["ascending", "descending", null];
      button.addEventListener("click", () => {
        const way = ways[(ways.indexOf(head.getAttribute("aria-sort")) + 1) % 3];
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (way) head.setAttribute("aria-sort", way);
        const direction = way === "ascending" ? 1 : -1;
        body.append(...(way ? sorted(before, at, direction) : before));
      });
    });
  }
  all("table").forEach(makeSortable);

  // -- curves and conditions that come and go -------------------------------------------
  const hidden = new Map(); // by button: what it hides
  const redraw = () => {
    all("[data-off]").forEach((element) => element.removeAttribute("data-off"));
    for (const find of hidden.values())
      find().forEach((element) => element.setAttribute("data-off", ""));
  };
  function toggles(button, find) {
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      if (!hidden.delete(button)) hidden.set(button, find);
      button.setAttribute("aria-pressed", String(!hidden.has(button)));
      redraw();
    });
  }
  for (const entry of all(".legend [data-toggles]")) {
    const { toggles: selector, condition } = entry.dataset;
    const section = entry.closest("section");
    const button = make("button", { type: "button" }, ...entry.childNodes);
    if (condition) button.dataset.condition = condition;
    entry.replaceWith(button);
    toggles(button, () => all(selector, section).filter((found) => !found.closest(".legend")));
  }

  const data = JSON.parse(document.getElementById("page-data").textContent);
  if (data.conditions.length) {
    const bar = make("div", { className: "show" }, make("span", { textContent: "Show" }));
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", "Conditions shown");
    for (const { key, name } of data.conditions) {
      const button = make("button", { type: "button", textContent: name });
      toggles(button, () => all(`[data-condition="${key}"], .line.${key}`));
      bar.append(button);
    }
    document.querySelector(".lead").after(bar);
  }

  // -- the field --------------------------------------------------------------------------
  const REACH = 14; // of the pointer around a neuron, in units of the picture
  const { words, places } = data.neurons;
  const known = words.map((_, neuron) => neuron).filter((neuron) => places[2 * neuron] !== null);
  const fields = all("svg[data-field]");
  const rowsOf = (neuron) => all(`[data-neuron="${neuron}"]`);
  const told = make("p", { className: "told", id: "told" });
  told.setAttribute("role", "status");
  let looked = -1, picked = -1;

  const ringOf = (field, name) => {
    const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    ring.setAttribute("class", `ring ${name}`);
    ring.setAttribute("r", name === "picked" ? 8 : 6);
    field.append(ring);
    return (neuron) => {
      ring.toggleAttribute("data-off", neuron < 0);
      if (neuron < 0 || places[2 * neuron] === null) { ring.setAttribute("data-off", ""); return; }
      ring.setAttribute("cx", places[2 * neuron]);
      ring.setAttribute("cy", places[2 * neuron + 1]);
    };
  };
  const rings = fields.map((field) => [ringOf(field, "looked"), ringOf(field, "picked")]);

  function tell() {
    rings.forEach(([ofLooked, ofPicked]) => { ofLooked(looked); ofPicked(picked); });
    const neuron = looked >= 0 ? looked : picked;
    if (neuron < 0) {
      told.replaceChildren("Point at a neuron, or go there with the arrow keys; click or Enter marks it.");
      return;
    }
    told.replaceChildren(make("b", { textContent: words[neuron] }));
    if (neuron !== picked) return;
    const rows = rowsOf(neuron);
    if (!rows.length) { told.append(" · marked; not selected, so it has no traces here"); return; }
    const figure = rows.find((row) => row.id);
    told.append(" · marked below");
    if (figure) told.append(" · ", make("a", { href: `#${figure.id}`, textContent: "to its traces" }));
  }
  const look = (neuron) => { if (neuron !== looked) { looked = neuron; tell(); } };
  const pick = (neuron) => {
    picked = neuron === picked ? -1 : neuron;
    all(".marked").forEach((row) => { row.classList.remove("marked"); row.removeAttribute("aria-current"); });
    if (picked >= 0) rowsOf(picked).forEach((row) => {
      row.classList.add("marked");
      row.setAttribute("aria-current", "true");
    });
    tell();
  };

  const nearest = (x, y, cost) => {
    let best = -1, least = Infinity;
    for (const neuron of known) {
      const far = cost(places[2 * neuron] - x, places[2 * neuron + 1] - y);
      if (far < least) { least = far; best = neuron; }
    }
    return [best, least];
  };
  const at = (field, event) => {
    const box = field.getBoundingClientRect(), view = field.viewBox.baseVal;
    const scale = view.width / box.width;
    const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
    const [neuron, far] = nearest(x, y, Math.hypot);
    return far <= REACH ? neuron : -1;
  };
  const step = (dx, dy) => () => {
    const from = looked >= 0 ? looked : picked >= 0 ? picked : known[0];
    // Along the arrow, and rather ahead than beside it.
    const [next] = nearest(places[2 * from], places[2 * from + 1], (x, y) => {
      const ahead = x * dx + y * dy, beside = Math.abs(x * dy) + Math.abs(y * dx);
      return ahead > 0 && ahead >= beside / 2 ? ahead + 2 * beside : Infinity;
    });
    if (next >= 0) look(next);
  };
  for (const field of known.length ? fields : []) {
    field.tabIndex = 0;
    field.setAttribute("role", "application");
    field.setAttribute("aria-describedby", "told");
    field.addEventListener("pointermove", (event) => look(at(field, event)));
    field.addEventListener("pointerleave", () => { if (document.activeElement !== field) look(-1); });
    field.addEventListener("click", (event) => {
      const neuron = at(field, event);
      if (neuron >= 0 || picked >= 0) pick(neuron >= 0 ? neuron : picked);
    });
    field.addEventListener("focus", () => { if (looked < 0) look(picked >= 0 ? picked : known[0]); });
    field.addEventListener("blur", () => look(-1));
    onKey(field, {
      ArrowLeft: step(-1, 0), ArrowRight: step(1, 0), ArrowUp: step(0, -1), ArrowDown: step(0, 1),
      Home: () => look(known[0]), End: () => look(known.at(-1)),
      Enter: () => { if (looked >= 0) pick(looked); }, " ": () => { if (looked >= 0) pick(looked); },
      Escape: () => { if (picked >= 0) pick(picked); },
    });
  }
  if (known.length && fields.length) {
    fields[0].closest(".pair").after(told);
    tell();
    for (const row of all("[data-neuron]")) {
      const neuron = Number(row.dataset.neuron);
      row.tabIndex = 0;
      row.addEventListener("pointerenter", () => look(neuron));
      row.addEventListener("pointerleave", () => look(-1));
      row.addEventListener("focus", () => look(neuron));
      row.addEventListener("blur", () => look(-1));
      row.addEventListener("click", () => pick(neuron));
      onKey(row, { Enter: () => pick(neuron), " ": () => pick(neuron) });
    }
  }
})();
