// All neurons as a grid of which only the rows in view exist, here and on the way.

const ROW = 22; // pixels
const AROUND = 8; // rows kept beyond each edge of the view
const AHEAD = 60; // rows asked for beyond what is missing
const TYPING_MS = 120;

function render({ model, el }) {
  const connection = connect({ model, el }, "table", {
    table: (message) => {
      table = message;
      body.style.height = `${table.n * ROW}px`;
      grid.setAttribute("aria-rowcount", String(table.n + 1));
      count.textContent = `${table.n.toLocaleString("en")} of ${table.total.toLocaleString("en")}`;
      active = Math.min(active, table.n - 1);
      asked = null;
      showTitles();
      showPaint();
      soon();
    },
    rows: ({ view, version, start, neurons, cells, states }) => {
      if (view !== connection.view || version !== table.version) return;
      if (asked?.version === version) asked = null;
      neurons.forEach((neuron, k) => rows.set(start + k, { version, neuron, cells: cells[k], state: states[k] }));
      soon();
    },
    selected: ({ row, version }) => { if (version === table.version) intoView(row); },
    csv: ({ view, name }, buffers) => { if (view === connection.view) download(name, bytes(buffers[0])); },
  });
  const { send, set, follow, queue, ready, close, onClose } = connection;
  const looks = model.get("_looks");
  const rows = new Map(); // by place: what was told of it last
  let table = { version: 0, n: 0, total: 0, is_old: false };
  let asked = null, active = -1, anchor = null, drawing = 0, chosen = new Set(), pool = [];

  // -- what there is -------------------------------------------------------------------
  const bar = make("div", { className: "omnimouse-bar" });
  const filter = make("input", { type: "search", placeholder: "V1 target depth<250 score>0.3", title: looks.filter_tip, spellcheck: false });
  filter.setAttribute("aria-label", "Filter the neurons");
  const count = make("span", { title: "Neurons that the filter keeps", role: "status" });
  const paints = looks.states.map(([code, word]) => {
    const swatch = make("span", { className: "omnimouse-swatch" });
    swatch.style.background = looks.colours[code];
    return make("button", {
      type: "button", title: `Paint the neurons listed below: ${word}`, ariaLabel: `Paint the listed neurons ${word}`,
      onclick: () => send("paint", { code }),
    }, swatch, word);
  });
  const csv = make("button", {
    type: "button", textContent: "CSV", title: "Download the table of all neurons, with its condition",
    onclick: () => send("csv"),
  });
  bar.append(filter, count, make("span", { className: "omnimouse-spring" }),
    make("span", { role: "group", ariaLabel: "Paint the listed neurons", className: "omnimouse-chips" }, "Paint", ...paints), csv);

  const titles = looks.columns.map((name, column) => {
    const button = make("button", { type: "button", onclick: () => sort(name) });
    const title = make("div", { role: "columnheader", title: looks.tips[column] }, button);
    title.setAttribute("aria-colindex", String(column + 1));
    return { name, title, button };
  });
  const head = make("div", { role: "row", className: "omnimouse-head" }, ...titles.map(({ title }) => title));
  head.setAttribute("aria-rowindex", "1");
  const body = make("div", { role: "rowgroup", className: "omnimouse-body" });
  const grid = make("div", {
    role: "grid", tabIndex: 0, className: "omnimouse-grid",
    title: `Select rows to see their traces (the latest ${looks.most})\n↑ ↓ select · Shift extends · Ctrl moves only · Space adds or takes away\nClick a title to sort`,
  }, make("div", { role: "rowgroup", className: "omnimouse-sticky" }, head), body);
  grid.setAttribute("aria-label", "Neurons");
  grid.setAttribute("aria-multiselectable", "true");
  grid.setAttribute("aria-colcount", String(looks.columns.length));
  el.append(bar, grid);

  // -- drawing -------------------------------------------------------------------------
  const soon = () => { drawing ||= requestAnimationFrame(draw); };
  const inView = () => {
    const room = Math.max(grid.clientHeight - head.offsetHeight, ROW);
    const first = Math.floor(grid.scrollTop / ROW);
    return [Math.max(first, 0), Math.min(first + Math.ceil(room / ROW) + 1, table.n)];
  };
  function rowElement() {
    const cells = looks.columns.map((_, column) => {
      const cell = make("div", { role: "gridcell", className: looks.words[column] ? "" : "omnimouse-number" });
      cell.setAttribute("aria-colindex", String(column + 1));
      return cell;
    });
    const element = make("div", { role: "row", className: "omnimouse-row" }, ...cells);
    body.append(element);
    return { element, cells, row: -1, told: null };
  }
  function draw() {
    drawing = 0;
    const since = performance.now(), [first, last] = inView();
    const from = Math.max(first - AROUND, 0), to = Math.min(last + AROUND, table.n);
    while (pool.length < to - from) pool.push(rowElement());
    const used = new Set();
    for (let row = from; row < to; row++) { used.add(row % pool.length); place(pool[row % pool.length], row); }
    pool.forEach((each, k) => { each.element.hidden = !used.has(k); if (!used.has(k)) each.row = -1; });
    const isThere = active >= from && active < to;
    if (isThere) grid.setAttribute("aria-activedescendant", idOf(active));
    else grid.removeAttribute("aria-activedescendant");
    ask(first, last);
    probe("drawn", { name: "table", rows: to - from, ms: performance.now() - since });
  }
  const idOf = (row) => `om-${connection.view}-${row}`;
  function place(each, row) {
    const told = rows.get(row), { element, cells } = each;
    if (each.row !== row) {
      each.row = row;
      element.id = idOf(row);
      element.style.transform = `translateY(${row * ROW}px)`;
      element.setAttribute("aria-rowindex", String(row + 2));
    }
    if (each.told !== told || !told) {
      each.told = told;
      cells.forEach((cell, column) => {
        cell.textContent = told ? told.cells[column] : "…";
        if (told && looks.columns[column] === "state") {
          const swatch = make("span", { className: "omnimouse-swatch" });
          swatch.style.background = looks.colours[told.state];
          cell.prepend(swatch);
        }
      });
    }
    element.setAttribute("aria-selected", String(Boolean(told && chosen.has(told.neuron))));
    element.classList.toggle("omnimouse-active", row === active);
    element.classList.toggle("omnimouse-older", table.is_old);
  }
  const asking = queue("rows", () => {
    asked = wanted();
    return asked && [asked];
  });
  // What is missing in view, and some around it; null where nothing is.
  function wanted() {
    const [first, last] = inView();
    for (let row = first; row < last; row++)
      if (rows.get(row)?.version !== table.version)
        return { start: Math.max(first - AHEAD, 0), stop: Math.min(last + AHEAD, table.n), version: table.version };
    return null;
  }
  function ask(first, last) {
    const isAsked = asked && asked.version === table.version && asked.start <= first && last <= asked.stop;
    if (!isAsked && wanted()) asking.soon();
  }
  function intoView(row) {
    if (row < 0) return;
    const room = grid.clientHeight - head.offsetHeight, top = row * ROW;
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (top + ROW > grid.scrollTop + room) grid.scrollTop = top + ROW - room;
    soon();
  }
  function showTitles() {
    const by = model.get("sort_by"), isDown = model.get("descending");
    titles.forEach(({ name, title, button }, column) => {
      const isSorted = name === by, isOld = name === "score" && table.is_old;
      title.setAttribute("aria-sort", isSorted ? (isDown ? "descending" : "ascending") : "none");
      button.textContent = `${looks.titles[column]}${isOld ? ` ${looks.older}` : ""}${isSorted ? (isDown ? " ▾" : " ▴") : ""}`;
      title.title = `${looks.tips[column]}${isOld ? `\n${looks.older} Of an older question` : ""}`;
    });
  }

  // -- the hand ------------------------------------------------------------------------
  function sort(name) {
    const isSame = model.get("sort_by") === name;
    grid.scrollTop = 0;
    model.set("sort_by", name);
    set("descending", isSame && !model.get("descending"));
  }
  let picks = [];
  const picking = queue("pick", () => {
    const found = picks;
    picks = [];
    return found.length ? [{ picks: found }] : null;
  });
  function pick(row, how) {
    if (row < 0) return;
    const picked = { row, neuron: rows.get(row)?.neuron }; // what is seen, if it is there
    if (how !== "range") anchor = picked;
    if (how !== "toggle") picks = []; // it says all that is selected
    picks.push({ ...picked, how, anchor: anchor ?? picked });
    picking.soon();
  }
  function go(row, how) {
    if (!table.n) return;
    active = Math.min(Math.max(row, 0), table.n - 1);
    intoView(active);
    if (how) pick(active, how);
  }
  body.addEventListener("click", (event) => {
    const row = pool.find(({ element }) => element.contains(event.target))?.row;
    if (row === undefined) return;
    active = row;
    soon();
    pick(row, event.shiftKey ? "range" : event.ctrlKey || event.metaKey ? "toggle" : "one");
  });
  const page = () => Math.max(Math.floor((grid.clientHeight - head.offsetHeight) / ROW) - 1, 1);
  const moves = {
    ArrowUp: () => active - 1, ArrowDown: () => active + 1,
    PageUp: () => active - page(), PageDown: () => active + page(),
    Home: () => 0, End: () => table.n - 1,
  };
  const keys = { ...commonKeys(send), " ": () => pick(active, "toggle"), "Ctrl+ ": () => pick(active, "toggle") };
  for (const [key, to] of Object.entries(moves)) {
    keys[key] = () => go(to(), "one");
    keys[`Shift+${key}`] = () => go(to(), "range");
    keys[`Ctrl+${key}`] = () => go(to());
  }
  bindKeys(grid, keys);
  grid.addEventListener("scroll", soon);
  const observer = new ResizeObserver(soon);
  observer.observe(grid);

  let typing = 0;
  const typed = () => { clearTimeout(typing); grid.scrollTop = 0; send("filter", { text: filter.value }); };
  filter.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(typed, TYPING_MS); showPaint(); });
  filter.addEventListener("keydown", (event) => { if (event.key === "Enter") typed(); });
  // What is typed and not understood is not what is listed: nothing is painted then.
  function showPaint() {
    const isRefused = filter.value.trim() !== model.get("filter");
    filter.setAttribute("aria-invalid", String(isRefused && Boolean(model.get("problem"))));
    paints.forEach((button) => { button.disabled = isRefused || !table.n; });
    csv.disabled = !table.total;
  }

  follow("filter", (text) => {
    if (filter !== filter.getRootNode().activeElement) filter.value = text;
    showPaint();
  });
  follow("problem", showPaint);
  follow("selection", (neurons) => { chosen = new Set(neurons); soon(); });
  follow("height", (height) => { grid.style.height = `${height}px`; soon(); });
  for (const trait of ["sort_by", "descending"]) follow(trait, showTitles);
  onClose(() => { observer.disconnect(); cancelAnimationFrame(drawing); clearTimeout(typing); });
  ready(keys);
  return close;
}
export default { render };
