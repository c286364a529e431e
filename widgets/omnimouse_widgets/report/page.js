// Interaction of a report: neurons show their description, tables sort, curves and
// conditions can be hidden. Nothing is loaded, and the page is complete without the script.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const all = (selector, parent = document) => [...parent.querySelectorAll(selector)];
  const make = (name, fields = {}, ...children) => {
    const element = Object.assign(document.createElement(name), fields);
    element.append(...children);
    return element;
  };
  const onKey = (element, keys) =>
    element.addEventListener("keydown", (event) => {
      // With a modifier, a key is a command of the browser.
      if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });

  // -- tables: clicks on a head sort in one direction, in the other, and not at all ------
  const textOf = (row, column) => row.cells[column].textContent.trim();
  // Numbers have commas between thousands, and U+2212 as minus sign.
  const numberOf = (text) =>
    text === "" || text === "–" ? NaN : Number(text.replaceAll(",", "").replace("−", "-"));

  function sorted(rows, column, direction) {
    const text = new Map(rows.map((row) => [row, textOf(row, column)]));
    const unknown = (row) => text.get(row) === "–" || text.get(row) === "";
    const isNumber = rows.every((row) => unknown(row) || !isNaN(numberOf(text.get(row))));
    const compare = (a, b) =>
      isNumber
        ? numberOf(text.get(a)) - numberOf(text.get(b))
        : text.get(a).localeCompare(text.get(b), undefined, { numeric: true });
    // Unknown values are last in both directions.
    return [...rows].sort(
      (a, b) => unknown(a) - unknown(b) || (unknown(a) ? 0 : direction * compare(a, b)),
    );
  }

  function makeSortable(table) {
    const heads = all("thead th", table), body = table.tBodies[0];
    const original = [...body.rows];
    if (original.length < 2) return;
    heads.forEach((head, column) => {
      const button = make("button", { type: "button", title: data.texts.sort }, ...head.childNodes);
      head.append(button);
      // The best scores are the most interesting: numbers begin with the largest.
      const directions = head.classList.contains("number")
        ? ["descending", "ascending", null]
        : ["ascending", "descending", null];
      button.addEventListener("click", () => {
        const current = directions.indexOf(head.getAttribute("aria-sort"));
        const direction = directions[(current + 1) % 3];
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (direction) head.setAttribute("aria-sort", direction);
        const sign = direction === "ascending" ? 1 : -1;
        body.append(...(direction ? sorted(original, column, sign) : original));
      });
    });
  }
  all("table").forEach(makeSortable);

  // -- hiding curves and conditions -----------------------------------------------------
  const hidden = new Map(); // button -> function that finds the elements it hides
  // An element can be hidden by several buttons, so all are evaluated again.
  const applyHidden = () => {
    all("[data-off]").forEach((element) => element.removeAttribute("data-off"));
    for (const find of hidden.values())
      find().forEach((element) => element.setAttribute("data-off", ""));
  };
  function makeToggle(button, find) {
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      if (!hidden.delete(button)) hidden.set(button, find);
      button.setAttribute("aria-pressed", String(!hidden.has(button)));
      applyHidden();
    });
  }
  for (const entry of all(".legend [data-toggles]")) {
    const { toggles: selector, condition } = entry.dataset;
    const section = entry.closest("section");
    const button = make("button", { type: "button" }, ...entry.childNodes);
    if (condition) button.dataset.condition = condition;
    entry.replaceWith(button);
    makeToggle(button, () => all(selector, section).filter((mark) => !mark.closest(".legend")));
  }

  if (data.conditions.length) {
    const bar = make("div", { className: "show" }, make("span", { textContent: data.texts.show }));
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", data.texts.shown);
    for (const { key, name } of data.conditions) {
      const button = make("button", { type: "button", textContent: name });
      makeToggle(button, () => all(`[data-condition="${key}"], .line.${key}`));
      bar.append(button);
    }
    document.querySelector(".lead").after(bar);
  }

  // -- the field --------------------------------------------------------------------------
  const REACH = 14; // maximum distance of pointer and neuron, in units of the picture
  const { texts, places } = data.neurons;
  const drawn = texts.map((_, neuron) => neuron).filter((neuron) => places[2 * neuron] !== null);
  const fields = all("svg[data-field]");
  const rowsOf = (neuron) => all(`[data-neuron="${neuron}"]`);
  const info = make("p", { className: "neuron-info", id: "neuron-info" });
  info.setAttribute("role", "status");
  let pointed = -1, marked = -1; // neuron under the pointer, and marked neuron; -1 for none

  const makeRing = (field, name) => {
    const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    ring.setAttribute("class", `ring ${name}`);
    ring.setAttribute("r", name === "picked" ? 8 : 6);
    field.append(ring);
    return (neuron) => {
      const isDrawn = neuron >= 0 && places[2 * neuron] !== null;
      ring.toggleAttribute("data-off", !isDrawn);
      if (!isDrawn) return;
      ring.setAttribute("cx", places[2 * neuron]);
      ring.setAttribute("cy", places[2 * neuron + 1]);
    };
  };
  const rings = fields.map((field) => [makeRing(field, "pointed"), makeRing(field, "picked")]);

  function showInfo() {
    rings.forEach(([ofPointed, ofMarked]) => { ofPointed(pointed); ofMarked(marked); });
    const neuron = pointed >= 0 ? pointed : marked;
    if (neuron < 0) {
      info.replaceChildren(data.texts.point);
      return;
    }
    info.replaceChildren(make("b", { textContent: texts[neuron] }));
    if (neuron !== marked) return;
    const rows = rowsOf(neuron);
    if (!rows.length) { info.append(data.texts.untraced); return; }
    const figure = rows.find((row) => row.id);
    info.append(data.texts.marked);
    if (figure) info.append(" · ", make("a", { href: `#${figure.id}`, textContent: data.texts.to_traces }));
  }
  const point = (neuron) => { if (neuron !== pointed) { pointed = neuron; showInfo(); } };
  const mark = (neuron) => {
    marked = neuron === marked ? -1 : neuron;
    all(".marked").forEach((row) => { row.classList.remove("marked"); row.removeAttribute("aria-current"); });
    if (marked >= 0) rowsOf(marked).forEach((row) => {
      row.classList.add("marked");
      row.setAttribute("aria-current", "true");
    });
    showInfo();
  };

  const nearest = (x, y, cost) => {
    let best = -1, minimum = Infinity;
    for (const neuron of drawn) {
      const value = cost(places[2 * neuron] - x, places[2 * neuron + 1] - y);
      if (value < minimum) { minimum = value; best = neuron; }
    }
    return [best, minimum];
  };
  const neuronAt = (field, event) => {
    // The picture is scaled to the width of the page.
    const box = field.getBoundingClientRect(), view = field.viewBox.baseVal;
    const scale = view.width / box.width;
    const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
    const [neuron, distance] = nearest(x, y, Math.hypot);
    return distance <= REACH ? neuron : -1;
  };
  const step = (dx, dy) => () => {
    const from = pointed >= 0 ? pointed : marked >= 0 ? marked : drawn[0];
    // In the direction of the arrow; a distance across counts twice, up to about 63°.
    const [next] = nearest(places[2 * from], places[2 * from + 1], (x, y) => {
      const along = x * dx + y * dy, across = Math.abs(x * dy) + Math.abs(y * dx);
      return along > 0 && along >= across / 2 ? along + 2 * across : Infinity;
    });
    if (next >= 0) point(next);
  };
  for (const field of drawn.length ? fields : []) {
    field.tabIndex = 0;
    field.setAttribute("role", "application");
    field.setAttribute("aria-describedby", "neuron-info");
    field.addEventListener("pointermove", (event) => point(neuronAt(field, event)));
    field.addEventListener("pointerleave", () => { if (document.activeElement !== field) point(-1); });
    field.addEventListener("click", (event) => {
      const neuron = neuronAt(field, event);
      // A click beside all neurons removes the mark.
      if (neuron >= 0 || marked >= 0) mark(neuron >= 0 ? neuron : marked);
    });
    field.addEventListener("focus", () => { if (pointed < 0) point(marked >= 0 ? marked : drawn[0]); });
    field.addEventListener("blur", () => point(-1));
    const markPointed = () => { if (pointed >= 0) mark(pointed); };
    onKey(field, {
      ArrowLeft: step(-1, 0), ArrowRight: step(1, 0), ArrowUp: step(0, -1), ArrowDown: step(0, 1),
      Home: () => point(drawn[0]), End: () => point(drawn.at(-1)),
      Enter: markPointed, " ": markPointed,
      Escape: () => { if (marked >= 0) mark(marked); },
    });
  }
  if (drawn.length && fields.length) {
    fields[0].closest(".pair").after(info);
    showInfo();
    for (const row of all("[data-neuron]")) {
      const neuron = Number(row.dataset.neuron);
      row.tabIndex = 0;
      row.addEventListener("pointerenter", () => point(neuron));
      row.addEventListener("pointerleave", () => point(-1));
      row.addEventListener("focus", () => point(neuron));
      row.addEventListener("blur", () => point(-1));
      row.addEventListener("click", () => mark(neuron));
      onKey(row, { Enter: () => mark(neuron), " ": () => mark(neuron) });
    }
  }
})();
