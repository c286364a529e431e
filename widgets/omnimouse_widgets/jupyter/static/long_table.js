// Table of many rows. Only the rows in view exist, in the page and in its messages.

const ROW = 22; // pixels
const MARGIN_ROWS = 8; // rows drawn beyond each edge of the view
const PREFETCH_ROWS = 60; // rows requested beyond the missing ones
const SIGNED = 10.8; // em: a sign and "hidden → target"

// Element of a long table of a record, and functions: `show` its content, `mark` the chosen
// rows, `take` rows of the kernel. `connection` is that of the part.
function makeLongTable(item, connection, sharedKeys, tall) {
  const { send, queue, onClose } = connection;
  const rows = new Map(); // row number -> latest content
  let table = { version: -1, n_rows: 0, columns: [] };
  // `requested`: rows of a request without reply. `active`: row of the keyboard.
  // `anchor`: row where a range begins. `pool`: elements, reused while scrolling.
  // `isMoved`: other rows are listed, of which the chosen one is not in view yet.
  let requested = null, active = -1, anchor = null, drawing = 0, chosen = new Set(), pool = [], isMoved = false, marked = null;
  let titles = []; // one for each column

  const head = make("div", { role: "row", className: "omnimouse-head", aria: { rowindex: 1 } });
  const body = make("div", { role: "rowgroup", className: "omnimouse-body" });
  const grid = make("div", {
    role: "grid", tabIndex: 0, className: "omnimouse-grid", aria: { label: item.name, multiselectable: "true" },
    title: `${item.label}\n${connection.texts.table_keys}`,
  }, make("div", { role: "rowgroup", className: "omnimouse-sticky" }, head), body);
  grid.style.height = `${tall}px`;

  // -- drawing -------------------------------------------------------------------------
  const redraw = () => { drawing ||= requestAnimationFrame(draw); };
  const heightOfRows = () => grid.clientHeight - head.offsetHeight;
  const inView = () => {
    const first = Math.floor(grid.scrollTop / ROW);
    const count = Math.ceil(Math.max(heightOfRows(), ROW) / ROW) + 1;
    return [Math.max(first, 0), Math.min(first + count, table.n_rows)];
  };
  function showColumns() {
    const shown = table.columns.map(({ name, is_text: isText }) => name + isText);
    if (titles.length === shown.length && titles.every(({ shows }, column) => shows === shown[column])) return;
    titles = table.columns.map(({ name }, column) => {
      const button = makeButton("", "", () => { grid.scrollTop = 0; send("sort", { name: item.name, column: name }); });
      const title = make("div", { role: "columnheader", aria: { colindex: column + 1 } }, button);
      return { title, button, shows: shown[column] };
    });
    head.replaceChildren(...titles.map(({ title }) => title));
    body.replaceChildren();
    pool = [];
    grid.setAttribute("aria-colcount", String(titles.length));
    // A title is whole beside its arrow; a column has room for a number, or a sign and a text.
    const least = table.columns.map(({ name, title }) => Math.max(name === table.signed ? SIGNED : 4.4, 0.62 * title.length + 2.6));
    const widths = least.map((em) => `minmax(${em}em, ${em < SIGNED ? 1 : 2}fr)`);
    grid.style.setProperty("--om-columns", widths.join(" "));
    grid.style.setProperty("--om-least", `${least.reduce((sum, em) => sum + em)}em`);
  }
  function makeRow() {
    const cells = titles.map((_, column) => make("div", {
      role: "gridcell", className: table.columns[column].is_text ? "" : "omnimouse-number", aria: { colindex: column + 1 },
    }));
    const element = make("div", { role: "row", className: "omnimouse-row" }, ...cells);
    body.append(element);
    return { element, cells, row: -1, content: null };
  }
  function draw() {
    drawing = 0;
    const since = performance.now(), [first, last] = inView();
    const from = Math.max(first - MARGIN_ROWS, 0), to = Math.min(last + MARGIN_ROWS, table.n_rows);
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
        if (content && table.columns[column].name === table.signed) cell.prepend(makeSwatch(content.colour));
        cell.style.opacity = table.columns[column].is_pale ? 0.6 : "";
      });
    }
    element.setAttribute("aria-selected", String(Boolean(content && chosen.has(content.key))));
    element.classList.toggle("omnimouse-active", row === active);
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
        return { start: Math.max(first - PREFETCH_ROWS, 0), stop: Math.min(last + PREFETCH_ROWS, table.n_rows), version: table.version, name: item.name };
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
    titles.forEach(({ title, button }, column) => {
      const { name, title: text, tip } = table.columns[column], isSorted = name === table.sorted_by;
      title.setAttribute("aria-sort", isSorted ? (table.is_descending ? "descending" : "ascending") : "none");
      const arrow = isSorted ? (table.is_descending ? " ▾" : " ▴") : "";
      button.textContent = `${text}${arrow}`;
      title.title = tip;
    });
  }

  // -- selection -----------------------------------------------------------------------
  let picks = [];
  const picking = queue("pick_rows", () => {
    const sent = picks;
    picks = [];
    return sent.length ? [{ name: item.name, picks: sent }] : null;
  });
  function pick(row, mode) {
    if (row < 0) return;
    // The row that the user sees, if the row has arrived: the order may change.
    const picked = { row, key: rows.get(row)?.key };
    if (mode !== "range") anchor = picked;
    if (mode !== "toggle") picks = []; // it replaces the whole selection
    picks.push({ ...picked, mode, anchor: anchor ?? picked });
    picking.soon();
  }
  function go(row, mode) {
    if (!table.n_rows) return;
    active = clamp(row, 0, table.n_rows - 1);
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
    Home: () => 0, End: () => table.n_rows - 1,
  };
  const toggle = () => pick(active, "toggle");
  const keys = { ...sharedKeys, " ": toggle, "Ctrl+ ": toggle };
  for (const [key, target] of Object.entries(moves)) {
    keys[key] = () => go(target(), "one");
    keys[`Shift+${key}`] = () => go(target(), "range");
    keys[`Ctrl+${key}`] = () => go(target());
  }
  bindKeys(grid, keys);
  grid.addEventListener("scroll", redraw);
  const observer = new ResizeObserver(redraw);
  observer.observe(grid);
  onClose(() => { observer.disconnect(); cancelAnimationFrame(drawing); });

  return {
    element: grid,
    show: (now) => {
      const isOther = now.n_rows !== table.n_rows;
      table = now;
      body.style.height = `${table.n_rows * ROW}px`;
      // Of another filter: what was in view says nothing of these rows.
      if (isOther) { grid.scrollTop = 0; isMoved = true; }
      grid.setAttribute("aria-rowcount", String(table.n_rows + 1));
      active = Math.min(active, table.n_rows - 1);
      requested = null;
      showColumns();
      showTitles();
      redraw();
    },
    mark: ({ keys: chosenKeys, row }) => {
      const isOther = chosenKeys.length !== chosen.size || chosenKeys.some((key) => !chosen.has(key));
      chosen = new Set(chosenKeys);
      if ((isOther || (isMoved && row !== marked)) && row !== null) scrollTo(row);
      if (row !== marked) isMoved = false;
      marked = row;
      redraw();
    },
    take: ({ version, start, keys: found, cells, colours }) => {
      if (version !== table.version) return;
      if (requested?.version === version) requested = null;
      found.forEach((key, k) => rows.set(start + k, { version, key, cells: cells[k], colour: colours[k] }));
      redraw();
    },
    resize: (height) => { grid.style.height = `${height}px`; redraw(); },
  };
}
