// The raster: neurons by samples, values under the tints of the mask. What is painted is
// drawn here at once; the kernel says later which cells that made.

const MIXED = 3, UNSEEN = 4, UNASKED = 5;
const LEFT = 66, BOTTOM = 20, TOP = 5, TITLE = 16, GAP = 8;
const TALL = 340;
const KEYS_TOLD =
  "Arrows move a cell, Shift by 5, Space paints it, Enter selects its neurons, Home shows all rows, " +
  "plus and minus zoom, V the next view, brackets change the brush, 1 visible, 2 hidden, 3 target, " +
  "comma and period move the cursor. Ctrl+wheel zooms the rows, the right button pans them.";

function render({ model, el }) {
  let look = null, layout = null, facts = { marks: [], span: [0, 0], words: "", done: {} };
  let pictures = []; // of the view: {picture, title, ends, values, canvas}
  let nSamples = 0; // of the window
  let codes = null; // uint8 (rows, nSamples) as they are drawn: the kernel's, and mine on top
  let told = null; // the kernel's alone
  let mine = null, mineCode = null; // the message that has a cell of mine; WAITS until sent
  const WAITS = 0xffffffff;
  let pending = false, stale = true;
  let low = 0, high = 1; // rows in view
  let stroke = null, pan = null, scrub = false, hover = null, cell = null, hatch = null;

  const { view, send, set, follow, strokes: strokesOf, ready, close, onClose, onLeave } = connect({ model, el }, "raster", {
    look: takeLook,
    raster: take,
    nothing: () => { layout = codes = told = null; pictures = []; say(); canvas.ask(); },
  });

  // -- controls ---------------------------------------------------------------------------
  const bar = make("div", { className: "omnimouse-bar" });
  const toolBox = make("span", { className: "omnimouse-group" });
  toolBox.setAttribute("role", "group");
  toolBox.setAttribute("aria-label", "Raster tool");
  const choice = (label, trait) => {
    const box = make("select", { title: label });
    box.setAttribute("aria-label", label);
    box.addEventListener("change", () => set(trait, trait === "code" ? +box.value : box.value));
    return box;
  };
  const orders = choice("Order of the rows, from top to bottom", "order");
  const views = choice("What the raster shows", "view");
  const paints = choice("What is painted (1 visible, 2 hidden, 3 target)", "code");
  const button = (words, label, act) => {
    const made = make("button", { type: "button", textContent: words, title: label });
    made.setAttribute("aria-label", label);
    made.addEventListener("click", act);
    return made;
  };
  const compare = button("", "Stop comparing neurons, or begin again", () => send("compare"));
  compare.hidden = true;
  const zooms = [
    button("−", "Show more rows", () => zoom(1.6)),
    button("+", "Show fewer rows", () => zoom(1 / 1.6)),
    button("All", "Show all rows (Home)", showAll),
  ];
  const swatch = make("span", { className: "omnimouse-swatch" });
  const zoomBox = make("span", { className: "omnimouse-group", role: "group", ariaLabel: "Rows in view" }, ...zooms);
  bar.append(toolBox, swatch, paints, orders, compare, views, zoomBox);
  const status = make("div", { className: "omnimouse-status" });
  const spoken = make("div", { className: "omnimouse-spoken" });
  spoken.setAttribute("aria-live", "polite");
  el.append(bar, status);
  const canvas = canvasOf(el, {
    className: "omnimouse-rows", label: `Raster, neurons by samples. ${KEYS_TOLD}`, height: TALL, draw, onClose,
  });
  el.append(spoken);

  function takeLook(message, buffers) {
    look = message;
    look.tables = { grey: bytes(buffers[0]), residual: bytes(buffers[1]) };
    look.tints = Object.fromEntries(message.pictures.map((name, k) => [name, bytes(buffers[2 + k])]));
    toolBox.replaceChildren(...message.tools.map(([name, words]) => {
      const made = button(name[0].toUpperCase() + name.slice(1), words, () => set("tool", name));
      made.dataset.tool = name;
      return made;
    }));
    fillSelect(orders, message.orders, model.get("order"));
    fillSelect(views, message.views, model.get("view"));
    views.title = message.view_tip;
    fillSelect(paints, [1, 0, 2].map((code) => [code, `paint ${message.states[code]}`]), model.get("code"));
    showTool();
    showCode();
  }
  function showTool() {
    for (const made of toolBox.children) made.setAttribute("aria-pressed", String(made.dataset.tool === model.get("tool")));
    canvas.canvas.style.cursor = model.get("tool") === "look" ? "default" : "crosshair";
  }
  function showCode() {
    paints.value = String(model.get("code"));
    if (look) swatch.style.background = look.colours[model.get("code")];
    canvas.ask();
  }

  // -- what the kernel says -----------------------------------------------------------------
  function take(message, buffers) {
    const at = performance.now();
    if (message.layout && pending && stroke) strokes.now(); // its cells are of the rows that go
    facts = message;
    if (message.layout) {
      const before = layout;
      layout = message.layout;
      layout.rows = Math.ceil((layout.stop - layout.start) / layout.size);
      nSamples = layout.samples;
      if (cell) cell.sample = within(cell.sample, 0, nSamples - 1);
      mine = new Uint32Array(layout.rows * nSamples);
      mineCode = new Uint8Array(mine.length);
      pending = false;
      if (!before || before.neurons !== layout.neurons) takeView();
    }
    if (!layout) return;
    if (message.codes !== undefined) told = bytes(buffers[message.codes]);
    codes = lay(told, message.done[view] ?? 0);
    if (message.values) {
      pictures = message.values.map((fields) => ({
        ...fields, values: bytes(buffers[fields.buffer]), image: document.createElement("canvas"),
      }));
    }
    stale = true;
    compare.hidden = !message.compare;
    compare.textContent = message.compare;
    say();
    canvas.ask();
    afterPaint(() => probe("drawn", { name: "raster", took: performance.now() - at }));
  }
  // The kernel's cells under those of mine that are not in them yet.
  function lay(under, done) {
    const found = under.slice();
    for (let k = 0; k < mine.length; k++) {
      if (!mine[k]) continue;
      if (mine[k] <= done) mine[k] = 0;
      else found[k] = mineCode[k];
    }
    return found;
  }
  function takeView() {
    if (!layout) return;
    const [first, last] = model.get("rows_shown");
    [low, high] = first < last ? [first, Math.min(last, layout.neurons)] : [0, layout.neurons];
    canvas.ask();
  }

  // -- places -------------------------------------------------------------------------------
  function boxes() {
    const [width, tall] = canvas.size();
    const count = Math.max(pictures.length, 1), isNamed = count > 1 || pictures[0]?.picture === "residual";
    const top = TOP + (isNamed ? TITLE : 0);
    const wide = (width - LEFT - 6 - GAP * (count - 1)) / count;
    return Array.from({ length: count }, (_, k) => ({
      x: LEFT + k * (wide + GAP), y: top, w: wide, h: tall - top - BOTTOM,
    }));
  }
  const xOf = (box, sample) => box.x + (sample / nSamples) * box.w;
  const yOf = (box, row) => box.y + ((row - low) / (high - low)) * box.h;
  const within = (value, least, most) => Math.min(Math.max(value, least), most);
  const binOf = (row) => Math.floor((row - layout.start) / layout.size);
  // {sample, row} as positions under the pointer; `box` keeps a drag in its picture.
  function place(event, held) {
    const rect = canvas.canvas.getBoundingClientRect();
    const [width, tall] = canvas.size();
    const x = ((event.clientX - rect.left) * width) / rect.width;
    const y = ((event.clientY - rect.top) * tall) / rect.height;
    const all = boxes();
    const box = held ?? all.find((b) => x >= b.x && x < b.x + b.w) ?? null;
    if (!box) return null;
    return {
      box, x, y,
      sample: ((x - box.x) / box.w) * nSamples,
      row: low + ((y - box.y) / box.h) * (high - low),
      isInside: y >= box.y && y < box.y + box.h,
      isOnAxis: y >= box.y + box.h,
    };
  }
  const sampleAt = (position) => within(Math.floor(position), 0, nSamples - 1);

  // -- drawing ------------------------------------------------------------------------------
  function paintImage(picture) {
    const table = picture.picture === "residual" ? look.tables.residual : look.tables.grey;
    const tints = look.tints[picture.picture];
    const dim = facts.old && picture.picture !== "truth" ? 0.5 : 1;
    const image = new ImageData(nSamples, layout.rows);
    const out = image.data, values = picture.values;
    for (let k = 0, p = 0; k < values.length; k++, p += 4) {
      const v = values[k] * 3, t = codes[k] * 4, share = tints[t + 3] / 255, kept = (1 - share) * dim;
      out[p] = table[v] * kept + tints[t] * share;
      out[p + 1] = table[v + 1] * kept + tints[t + 1] * share;
      out[p + 2] = table[v + 2] * kept + tints[t + 2] * share;
      out[p + 3] = 255;
    }
    picture.image.width = nSamples;
    picture.image.height = layout.rows;
    picture.image.getContext("2d").putImageData(image, 0, 0);
  }
  // Runs of cells left out; equal rows below each other become one.
  function hatched() {
    const found = [];
    const out = (k) => codes[k] === UNSEEN || codes[k] === UNASKED;
    for (let r = 0; r < layout.rows; ) {
      let last = r + 1;
      const at = r * nSamples;
      same: for (; last < layout.rows; last++)
        for (let s = 0; s < nSamples; s++)
          if (out(last * nSamples + s) !== out(at + s)) break same;
      for (let s = 0; s < nSamples; s++) {
        if (!out(at + s)) continue;
        const first = s;
        while (s < nSamples && out(at + s)) s++;
        found.push([first, s, layout.start + r * layout.size, layout.start + last * layout.size]);
      }
      r = last;
    }
    return found;
  }
  let hatches = [];
  function draw(context, width, tall) {
    context.clearRect(0, 0, width, tall);
    if (!layout || !codes || !look) {
      context.fillStyle = "#9aa0a8";
      context.font = "13px system-ui, sans-serif";
      context.textAlign = "center";
      context.fillText(look ? "No recording is open yet." : "Waiting for the kernel…", width / 2, tall / 2);
      return;
    }
    if (stale) {
      pictures.forEach(paintImage);
      hatches = hatched();
      stale = false;
    }
    const all = boxes();
    drawRowAxis(context, all[0]);
    pictures.forEach((picture, k) => drawPicture(context, picture, all[k]));
  }
  function drawPicture(context, picture, box) {
    context.save();
    context.beginPath();
    context.rect(box.x, box.y, box.w, box.h);
    context.clip();
    context.fillStyle = "#000";
    context.fillRect(box.x, box.y, box.w, box.h);
    context.imageSmoothingEnabled = false;
    const top = yOf(box, layout.start), last = yOf(box, layout.start + layout.rows * layout.size);
    context.drawImage(picture.image, box.x, top, box.w, last - top);
    drawHatches(context, box);
    drawSpan(context, box);
    drawMarks(context, box);
    context.fillStyle = look.cursor_colour;
    context.fillRect(xOf(box, model.get("cursor") + 0.5) - 0.75, box.y, 1.5, box.h);
    drawCell(context, box);
    context.restore();
    drawTimeAxis(context, box);
    if (box.y > TOP) drawTitle(context, picture, box);
  }
  function drawHatches(context, box) {
    if (!hatches.length) return;
    hatch ??= diagonal(context);
    context.fillStyle = hatch;
    for (const [s0, s1, r0, r1] of hatches)
      context.fillRect(xOf(box, s0), yOf(box, r0), xOf(box, s1) - xOf(box, s0), yOf(box, r1) - yOf(box, r0));
  }
  function diagonal(context) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 7;
    const g = tile.getContext("2d");
    g.strokeStyle = "rgba(255, 255, 255, 0.8)";
    g.lineWidth = 1;
    g.beginPath();
    for (const shift of [-7, 0, 7]) { g.moveTo(shift, 7); g.lineTo(shift + 7, 0); }
    g.stroke();
    return context.createPattern(tile, "repeat");
  }
  function drawSpan(context, box) {
    const [start, stop] = facts.span, code = model.get("code");
    const [a, b] = [xOf(box, start), xOf(box, stop)];
    context.fillStyle = code ? look.colours[code] : "#8b919a";
    context.fillRect(a, box.y, b - a, 4);
    context.fillRect(a, box.y, 2, box.h);
    context.fillRect(b - 2, box.y, 2, box.h);
  }
  function drawMarks(context, box) {
    context.fillStyle = "#fff";
    context.strokeStyle = "#000";
    for (const row of facts.marks) {
      const y = yOf(box, row + 0.5);
      context.beginPath();
      context.moveTo(box.x + 8, y);
      context.lineTo(box.x, y - 5);
      context.lineTo(box.x, y + 5);
      context.closePath();
      context.fill();
      context.stroke();
    }
  }
  function drawCell(context, box) {
    if (!cell || document.activeElement !== canvas.canvas) return;
    const bin = binOf(cell.row), row = layout.start + bin * layout.size;
    const [x, y] = [xOf(box, cell.sample), yOf(box, row)];
    context.strokeStyle = "#000";
    context.lineWidth = 3;
    const w = Math.max(xOf(box, cell.sample + 1) - x, 5), h = Math.max(yOf(box, row + layout.size) - y, 5);
    context.strokeRect(x - 1, y - 1, w + 2, h + 2);
    context.strokeStyle = look.cursor_colour;
    context.lineWidth = 1.5;
    context.strokeRect(x - 1, y - 1, w + 2, h + 2);
  }
  function drawTitle(context, picture, box) {
    const parts = picture.ends
      ? [[`■ ${picture.ends[0]} `, look.colours[1]], [picture.title, "#9aa0a8"], [` ${picture.ends[1]} ■`, look.colours[2]]]
      : [[picture.title, "#9aa0a8"]];
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "left";
    context.textBaseline = "alphabetic";
    let x = box.x + (box.w - parts.reduce((sum, [words]) => sum + context.measureText(words).width, 0)) / 2;
    for (const [words, colour] of parts) {
      context.fillStyle = colour;
      context.fillText(words, x, box.y - 5);
      x += context.measureText(words).width;
    }
  }
  function drawTimeAxis(context, box) {
    context.font = "10px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "top";
    const step = roundStep(nSamples / (box.w > 220 ? 6 : 3));
    for (let sample = 0; sample <= nSamples; sample += step) {
      const x = xOf(box, sample);
      context.fillStyle = "#565c66";
      context.fillRect(x - 0.5, box.y + box.h, 1, 4);
      context.fillStyle = "#9aa0a8";
      context.fillText(String(sample), within(x, box.x + 6, box.x + box.w - 6), box.y + box.h + 6);
    }
  }
  function drawRowAxis(context, box) {
    context.font = "10px system-ui, sans-serif";
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const [row, words] of layout.ticks) {
      const y = yOf(box, row);
      if (y < box.y || y > box.y + box.h) continue;
      context.fillStyle = "#565c66";
      context.fillRect(box.x - 5, y - 0.5, 4, 1);
      context.fillStyle = "#9aa0a8";
      const lines = words.split("\n");
      lines.forEach((line, k) => context.fillText(line, box.x - 8, y + (k - (lines.length - 1) / 2) * 11, LEFT - 10));
    }
  }

  // -- words --------------------------------------------------------------------------------
  function wordsAt(at) {
    const bin = binOf(at.row);
    if (bin < 0 || bin >= layout.rows) return "";
    const sample = sampleAt(at.sample), code = codes[bin * nSamples + sample];
    const state = look.states[code === UNSEEN ? 1 : code === UNASKED ? 2 : code];
    const why = look.hatched[code];
    return `${layout.names[bin]} · ${state} · sample ${sample}${why ? ` · ▨ ${why}` : ""}`;
  }
  function say() {
    const words = hover && layout && codes ? wordsAt(hover) : facts.words;
    status.textContent = layout ? words || " " : "no session";
    status.title = status.textContent;
  }

  // -- painting -----------------------------------------------------------------------------
  const strokes = strokesOf((seq) => {
    if (!pending || !stroke) return null;
    pending = false;
    const found = blocks();
    for (let k = 0; k < mine.length; k++) if (mine[k] === WAITS) mine[k] = seq;
    return [{ code: stroke.code, rows: stroke.rows, all: stroke.tool === "columns" }, [found.buffer]];
  });
  // Rectangles of cells that wait: runs down a column, and columns with the same runs.
  function blocks() {
    const found = [];
    let open = [];
    for (let s = 0; s < nSamples; s++) {
      const runs = [];
      for (let r = 0; r < layout.rows; r++) {
        if (mine[r * nSamples + s] !== WAITS) continue;
        const first = r;
        while (r < layout.rows && mine[r * nSamples + s] === WAITS) r++;
        runs.push([first, r, s, s + 1]);
      }
      const same = runs.length === open.length && runs.every(([a, b], k) => a === open[k][0] && b === open[k][1]);
      if (same) open.forEach((block) => { block[3] = s + 1; });
      else { found.push(...runs); open = runs; }
    }
    return Uint16Array.from(found.flat());
  }
  function touch(bin, sample) {
    if (bin < 0 || bin >= layout.rows || sample < 0 || sample >= nSamples) return;
    const k = bin * nSamples + sample;
    mine[k] = WAITS;
    mineCode[k] = codes[k] = stroke.code;
    pending = stale = true;
  }
  function fill(firstBin, lastBin, first, last) {
    for (let bin = Math.max(firstBin, 0); bin <= Math.min(lastBin, layout.rows - 1); bin++)
      for (let sample = first; sample <= last; sample++) touch(bin, sample);
  }
  function begin(tool) {
    stroke = { tool, code: model.get("code"), rows: facts.rows };
    strokes.begin({ code: stroke.code });
  }
  function end() {
    if (!stroke) return;
    strokes.end();
    stroke = null;
  }
  function paintTo(from, to, event) {
    stroke.rows = facts.rows; // other rows come where they are zoomed meanwhile
    const [a, b] = [sampleAt(Math.min(from.sample, to.sample)), sampleAt(Math.max(from.sample, to.sample))];
    if (stroke.tool === "columns") fill(0, layout.rows - 1, a, b);
    else if (stroke.tool === "rows") fill(binOf(Math.min(from.row, to.row)), binOf(Math.max(from.row, to.row)), 0, nSamples - 1);
    else brush(from, to);
    canvas.ask();
    strokes.soon();
    if (event) {
      const since = event.timeStamp;
      afterPaint(() => probe("painted", { name: "raster", took: performance.now() - since }));
    }
  }
  // Cells an elliptic brush touches on its way; stamps are half a radius apart.
  function brush(from, to) {
    const box = to.box, radius = model.get("radius");
    const across = (radius / box.w) * nSamples, down = (radius / box.h) * (high - low);
    const length = Math.hypot((to.sample - from.sample) / Math.max(across, 0.5), (to.row - from.row) / Math.max(down, 0.5));
    const steps = Math.max(1, Math.ceil(2 * length));
    for (let step = 0; step <= steps; step++) {
      const t = step / steps;
      const x = from.sample + t * (to.sample - from.sample), y = from.row + t * (to.row - from.row);
      for (let s = Math.max(0, Math.floor(x - across)); s <= Math.min(nSamples - 1, Math.floor(x + across)); s++) {
        const away = Math.max(0, s - x, x - s - 1) / across;
        const half = down * Math.sqrt(Math.max(0, 1 - away * away));
        const [top, last] = [y - half, y + half];
        if (last < layout.start || top >= layout.stop) continue;
        fill(binOf(Math.max(top, layout.start)), binOf(Math.min(last, layout.stop - 1e-6)), s, s);
      }
    }
  }

  // -- the pointer --------------------------------------------------------------------------
  const surface = canvas.canvas;
  surface.addEventListener("contextmenu", (event) => event.preventDefault());
  surface.addEventListener("pointerdown", (event) => {
    if (!layout || !codes) return;
    const at = place(event);
    if (!at) return;
    surface.setPointerCapture(event.pointerId);
    if (event.button === 2) { pan = at; return; }
    if (event.button !== 0) return;
    const tool = model.get("tool");
    if (at.isOnAxis || tool === "look") {
      scrub = at.box;
      set("cursor", sampleAt(at.sample));
      if (at.isInside) pick(at.row);
      return;
    }
    if (!at.isInside) return;
    begin(tool);
    stroke.last = at;
    paintTo(at, at, event);
  });
  surface.addEventListener("pointermove", (event) => {
    if (!layout || !codes) return;
    if (pan) {
      const at = place(event, pan.box);
      moveTo(low + pan.row - at.row, high + pan.row - at.row);
    } else if (scrub) set("cursor", sampleAt(place(event, scrub).sample));
    else if (stroke?.last) {
      const moves = event.getCoalescedEvents?.() ?? [];
      for (const move of moves.length ? moves : [event]) {
        const at = place(move, stroke.last.box);
        paintTo(stroke.last, at, event);
        stroke.last = at;
      }
    }
    const at = place(event);
    hover = at?.isInside ? at : null;
    say();
  });
  const up = () => { end(); pan = null; scrub = false; };
  surface.addEventListener("pointerup", up);
  surface.addEventListener("pointercancel", up);
  surface.addEventListener("lostpointercapture", up);
  onLeave(up);
  surface.addEventListener("pointerleave", () => { hover = null; say(); });
  surface.addEventListener("wheel", (event) => {
    if (!layout || !(event.ctrlKey || event.metaKey)) return; // the page scrolls
    event.preventDefault();
    const at = place(event);
    zoom(Math.exp(within(event.deltaY, -100, 100) / 250), at ? at.row : undefined);
  }, { passive: false });

  // -- rows in view -------------------------------------------------------------------------
  function moveTo(first, last) {
    const span = within(last - first, Math.min(4, layout.neurons), layout.neurons);
    low = within(first, 0, layout.neurons - span);
    high = low + span;
    if (cell) cell.row = within(cell.row, low, high - 1e-6); // the keyboard's cell stays in view
    set("rows_shown", span >= layout.neurons ? [0, 0] : [low, high]);
    canvas.ask();
  }
  function zoom(factor, around = cell ? cell.row : (low + high) / 2) {
    if (!layout || stroke) return;
    moveTo(around + (low - around) * factor, around + (high - around) * factor);
  }
  function showAll() { if (layout) moveTo(0, layout.neurons); }

  // -- the keyboard -------------------------------------------------------------------------
  function move(samples, bins) {
    if (!layout) return;
    cell ??= { sample: model.get("cursor"), row: low };
    cell.sample = within(cell.sample + samples, 0, nSamples - 1);
    cell.row = within(cell.row + bins * layout.size, 0, layout.neurons - 1);
    if (cell.row < low) moveTo(cell.row, cell.row + high - low);
    if (cell.row + layout.size > high) moveTo(cell.row + layout.size - (high - low), cell.row + layout.size);
    tellCell();
  }
  function tellCell() {
    spoken.textContent = codes ? wordsAt(cell) : "";
    status.textContent = spoken.textContent;
    canvas.ask();
  }
  function press() {
    if (!layout || !codes) return;
    move(0, 0);
    const tool = model.get("tool");
    if (tool === "look") { set("cursor", cell.sample); pick(); return; }
    const bin = binOf(cell.row);
    begin(tool);
    fill(tool === "columns" ? 0 : bin, tool === "columns" ? layout.rows - 1 : bin, tool === "rows" ? 0 : cell.sample, tool === "rows" ? nSamples - 1 : cell.sample);
    canvas.ask();
    end();
    tellCell();
  }
  const pick = (row = cell?.row) => {
    const bin = row === undefined || !layout ? -1 : binOf(row);
    if (bin >= 0 && bin < layout.rows) send("select", { rows: facts.rows, row: bin });
  };
  const resize = (by) => set("radius", within(model.get("radius") + by, 1, 60));
  const nextView = () => {
    const names = look.views.map(([name]) => name);
    set("view", names[(names.indexOf(model.get("view")) + 1) % names.length]);
  };
  const keys = {
    ...commonKeys(send),
    ArrowLeft: () => move(-1, 0), ArrowRight: () => move(1, 0), ArrowUp: () => move(0, -1), ArrowDown: () => move(0, 1),
    "Shift+ArrowLeft": () => move(-5, 0), "Shift+ArrowRight": () => move(5, 0),
    "Shift+ArrowUp": () => move(0, -5), "Shift+ArrowDown": () => move(0, 5),
    " ": press, Enter: () => pick(), Home: showAll, v: nextView,
    "[": () => resize(-2), "]": () => resize(2), "+": () => zoom(1 / 1.6), "=": () => zoom(1 / 1.6), "-": () => zoom(1.6),
  };
  bindKeys(surface, keys);
  surface.addEventListener("focus", canvas.ask);
  surface.addEventListener("blur", canvas.ask);

  follow("tool", showTool);
  follow("code", showCode);
  follow("cursor", canvas.ask);
  follow("rows_shown", () => { if (!pan) takeView(); });
  follow("order", (order) => { orders.value = order; });
  follow("view", (name) => { views.value = name; });
  ready(keys);
  return close;
}

export default { render };
