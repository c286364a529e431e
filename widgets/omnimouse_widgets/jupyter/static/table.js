// Table of all neurons. Only the rows in view exist, in the page and in its messages.

const ROW = 22; // pixels
const MARGIN_ROWS = 8; // rows drawn beyond each edge of the view
const PREFETCH_ROWS = 60; // rows requested beyond the missing ones
const TYPING_MS = 120;

function render({ model, el }) {
  const connection = connect({ model, el }, "table", {
    table: (message) => {
      table = message;
      body.style.height = `${table.n * ROW}px`;
      grid.setAttribute("aria-rowcount", String(table.n + 1));
      count.textContent = `${table.n.toLocaleString("en")} of ${table.total.toLocaleString("en")}`;
      active = Math.min(active, table.n - 1);
      requested = null;
      showColumns();
      showTitles();
      showPaint();
      redraw();
    },
    rows: ({ view, version, start, neurons, cells, states }) => {
      if (view !== connection.view || version !== table.version) return;
      if (requested?.version === version) requested = null;
      neurons.forEach((neuron, k) => rows.set(start + k, { version, neuron, cells: cells[k], state: states[k] }));
      redraw();
    },
    selected: ({ row, version }) => { if (version === table.version) scrollTo(row); },
    csv: ({ view, name }, buffers) => { if (view === connection.view) download(name, bytes(buffers[0])); },
  });
  const { send, set, follow, queue, ready, close, onClose } = connection;
  const constants = model.get("_constants");
  const rows = new Map(); // row number -> latest content
  let table = { version: 0, n: 0, total: 0, is_old: false, titles: constants.columns, tips: [], is_text: constants.columns.map(() => false) };
  // `requested`: rows of a request without reply. `active`: row of the keyboard.
  // `anchor`: row where a range begins. `pool`: elements, reused while scrolling.
  let requested = null, active = -1, anchor = null, drawing = 0, selected = new Set(), pool = [];
  let titles = []; // one for each column

  // -- elements ------------------------------------------------------------------------
  const filter = make("input", {
    type: "search", placeholder: "V1 target depth<250 score>0.3", title: constants.filter_tip,
    spellcheck: false, aria: { label: "Filter the neurons" },
  });
  const count = make("span", { title: "Neurons that pass the filter", role: "status" });
  const paints = constants.states.map(([code, name]) =>
    makeButton([makeSwatch(constants.colours[code]), name], `Paint the neurons in the table: ${name}`, () => send("paint", { code }),
      { aria: { label: `Paint the neurons in the table ${name}` } }));
  const csv = makeButton("CSV", "Download the table of all neurons, with its condition", () => send("csv"));
  const spring = make("span", { className: "omnimouse-spring" });
  const bar = makeBar(filter, count, spring, makeGroup("Paint the neurons in the table", "Paint", ...paints), csv);

  const head = make("div", { role: "row", className: "omnimouse-head", aria: { rowindex: 1 } });
  const body = make("div", { role: "rowgroup", className: "omnimouse-body" });
  const grid = make("div", {
    role: "grid", tabIndex: 0, className: "omnimouse-grid",
    aria: { label: "Neurons", multiselectable: "true" },
    title: `Select rows to see their traces (the latest ${constants.max_selected})\n` +
      "↑ ↓ select · Shift extends · Ctrl moves only · Space adds or removes\nClick a title to sort",
  }, make("div", { role: "rowgroup", className: "omnimouse-sticky" }, head), body);
  el.append(bar, grid);

  // -- drawing -------------------------------------------------------------------------
  const redraw = () => { drawing ||= requestAnimationFrame(draw); };
  const heightOfRows = () => grid.clientHeight - head.offsetHeight;
  const inView = () => {
    const first = Math.floor(grid.scrollTop / ROW);
    const count = Math.ceil(Math.max(heightOfRows(), ROW) / ROW) + 1;
    return [Math.max(first, 0), Math.min(first + count, table.n)];
  };
  // Properties of neurons follow the columns that every recording has.
  function showColumns() {
    const names = table.titles.map((title, column) => constants.columns[column] ?? title);
    const shown = names.map((name, column) => name + table.is_text[column]);
    if (titles.length === shown.length && titles.every(({ shows }, column) => shows === shown[column])) return;
    titles = names.map((name, column) => {
      const button = makeButton("", "", () => sort(name));
      const title = make("div", { role: "columnheader", aria: { colindex: column + 1 } }, button);
      return { name, title, button, shows: shown[column] };
    });
    head.replaceChildren(...titles.map(({ title }) => title));
    body.replaceChildren();
    pool = [];
    grid.setAttribute("aria-colcount", String(titles.length));
    const extra = titles.length - constants.columns.length;
    grid.style.setProperty("--om-properties", extra ? `repeat(${extra}, minmax(5em, 1fr))` : "");
    grid.style.setProperty("--om-least", extra ? `${30 + 5 * extra}em` : "0");
  }
  function makeRow() {
    const cells = titles.map((_, column) => make("div", {
      role: "gridcell", className: table.is_text[column] ? "" : "omnimouse-number", aria: { colindex: column + 1 },
    }));
    const element = make("div", { role: "row", className: "omnimouse-row" }, ...cells);
    body.append(element);
    return { element, cells, row: -1, content: null };
  }
  function draw() {
    drawing = 0;
    const since = performance.now(), [first, last] = inView();
    const from = Math.max(first - MARGIN_ROWS, 0), to = Math.min(last + MARGIN_ROWS, table.n);
    while (pool.length < to - from) pool.push(makeRow());
    // A row keeps its element while it stays in view.
    const used = new Set();
    for (let row = from; row < to; row++) { used.add(row % pool.length); place(pool[row % pool.length], row); }
    pool.forEach((item, k) => { item.element.hidden = !used.has(k); if (!used.has(k)) item.row = -1; });
    const isActiveDrawn = active >= from && active < to;
    if (isActiveDrawn) grid.setAttribute("aria-activedescendant", idOf(active));
    else grid.removeAttribute("aria-activedescendant");
    request(first, last);
    probe("drawn", { name: "table", rows: to - from, ms: performance.now() - since });
  }
  const idOf = (row) => `om-${connection.view}-${row}`;
  function place(item, row) {
    const content = rows.get(row), { element, cells } = item;
    if (item.row !== row) {
      item.row = row;
      element.id = idOf(row);
      element.style.transform = `translateY(${row * ROW}px)`;
      element.setAttribute("aria-rowindex", String(row + 2));
    }
    if (item.content !== content || !content) {
      item.content = content;
      cells.forEach((cell, column) => {
        cell.textContent = content ? content.cells[column] : "…";
        if (content && constants.columns[column] === "state") cell.prepend(makeSwatch(constants.colours[content.state]));
      });
    }
    element.setAttribute("aria-selected", String(Boolean(content && selected.has(content.neuron))));
    element.classList.toggle("omnimouse-active", row === active);
    element.classList.toggle("omnimouse-older", table.is_old);
  }
  const requests = queue("rows", () => {
    requested = missing();
    return requested && [requested];
  });
  // The rows to request if a row in view is missing or outdated; else null.
  function missing() {
    const [first, last] = inView();
    for (let row = first; row < last; row++)
      if (rows.get(row)?.version !== table.version)
        return { start: Math.max(first - PREFETCH_ROWS, 0), stop: Math.min(last + PREFETCH_ROWS, table.n), version: table.version };
    return null;
  }
  function request(first, last) {
    const isRequested = requested && requested.version === table.version && requested.start <= first && last <= requested.stop;
    if (!isRequested && missing()) requests.soon();
  }
  function scrollTo(row) {
    if (row < 0) return;
    const top = row * ROW;
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (top + ROW > grid.scrollTop + heightOfRows()) grid.scrollTop = top + ROW - heightOfRows();
    redraw();
  }
  function showTitles() {
    const sortedBy = model.get("sort_by"), isDescending = model.get("descending");
    titles.forEach(({ name, title, button }, column) => {
      const isSorted = name === sortedBy, isOld = name === "score" && table.is_old;
      title.setAttribute("aria-sort", isSorted ? (isDescending ? "descending" : "ascending") : "none");
      const arrow = isSorted ? (isDescending ? " ▾" : " ▴") : "";
      button.textContent = `${table.titles[column]}${isOld ? ` ${constants.older}` : ""}${arrow}`;
      title.title = `${table.tips[column] ?? ""}${isOld ? `\n${constants.older} Of an older request` : ""}`;
    });
  }

  // -- selection -----------------------------------------------------------------------
  function sort(name) {
    const isSame = model.get("sort_by") === name;
    grid.scrollTop = 0;
    model.set("sort_by", name);
    set("descending", isSame && !model.get("descending"));
  }
  let picks = [];
  const picking = queue("pick", () => {
    const sent = picks;
    picks = [];
    return sent.length ? [{ picks: sent }] : null;
  });
  function pick(row, mode) {
    if (row < 0) return;
    // The neuron that the user sees, if the row has arrived: the order may change.
    const picked = { row, neuron: rows.get(row)?.neuron };
    if (mode !== "range") anchor = picked;
    if (mode !== "toggle") picks = []; // it replaces the whole selection
    picks.push({ ...picked, mode, anchor: anchor ?? picked });
    picking.soon();
  }
  function go(row, mode) {
    if (!table.n) return;
    active = clamp(row, 0, table.n - 1);
    scrollTo(active);
    if (mode) pick(active, mode);
  }
  body.addEventListener("click", (event) => {
    const row = pool.find(({ element }) => element.contains(event.target))?.row;
    if (row === undefined) return;
    active = row;
    redraw();
    pick(row, event.shiftKey ? "range" : event.ctrlKey || event.metaKey ? "toggle" : "one");
  });
  const pageRows = () => Math.max(Math.floor(heightOfRows() / ROW) - 1, 1);
  const moves = {
    ArrowUp: () => active - 1, ArrowDown: () => active + 1,
    PageUp: () => active - pageRows(), PageDown: () => active + pageRows(),
    Home: () => 0, End: () => table.n - 1,
  };
  const toggle = () => pick(active, "toggle");
  const keys = { ...commonKeys(send), " ": toggle, "Ctrl+ ": toggle };
  for (const [key, target] of Object.entries(moves)) {
    keys[key] = () => go(target(), "one");
    keys[`Shift+${key}`] = () => go(target(), "range");
    keys[`Ctrl+${key}`] = () => go(target());
  }
  bindKeys(grid, keys);
  grid.addEventListener("scroll", redraw);
  const observer = new ResizeObserver(redraw);
  observer.observe(grid);

  let typing = 0;
  const sendFilter = () => { clearTimeout(typing); grid.scrollTop = 0; send("filter", { text: filter.value }); };
  filter.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(sendFilter, TYPING_MS); showPaint(); });
  filter.addEventListener("keydown", (event) => { if (event.key === "Enter") sendFilter(); });
  // While the typed filter is not the one of the table, painting would hit other neurons.
  function showPaint() {
    const isPending = filter.value.trim() !== model.get("filter");
    filter.setAttribute("aria-invalid", String(isPending && Boolean(model.get("problem"))));
    paints.forEach((button) => { button.disabled = isPending || !table.n; });
    csv.disabled = !table.total;
  }

  follow("filter", (text) => {
    // Not while the user types in it.
    if (filter !== filter.getRootNode().activeElement) filter.value = text;
    showPaint();
  });
  follow("problem", showPaint);
  follow("selection", (neurons) => { selected = new Set(neurons); redraw(); });
  follow("height", (height) => { grid.style.height = `${height}px`; redraw(); });
  for (const trait of ["sort_by", "descending"]) follow(trait, showTitles);
  onClose(() => { observer.disconnect(); cancelAnimationFrame(drawing); clearTimeout(typing); });
  showColumns();
  showTitles();
  ready(keys);
  return close;
}
export default { render };
