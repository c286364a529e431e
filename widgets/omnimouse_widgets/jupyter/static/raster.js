// Raster: neurons by samples, values under the tints of the mask. A stroke is drawn here
// at once; the kernel sends later which states its cells have.

// Return the element of the cells. `panel` has the page of the part and its `model`, the
// `handlers` of its messages, the `keys` of its actions, and the element of the status.
function rasterCells(item, { model, page, handlers, keys: panelKeys, statusOf }) {
  const EXCLUDED_VISIBLE = 4, EXCLUDED_TARGET = 5; // codes of cells that the rules exclude
  const MISSING = 6; // code of cells without a recorded response
  const LEFT = 66, BOTTOM = 20, TOP = 5, TITLE = 16, GAP = 8;
  const HEIGHT = 340;
  const UNSENT = 0xffffffff; // instead of a `seq`: painted here, not sent yet
  const QUIET = "#9aa0a8", TICK = "#565c66";
  // `facts`: small fields of the latest drawing. `pictures`: those of the view, {picture,
  // title, ends, values, image}. `codes` (rows x samples) is drawn: the kernel's codes with
  // the own cells over them. `ownSeq` has the `seq` of the message of each own cell.
  let constants = null, layout = null, facts = { marks: [], span: [0, 0], handled: {} };
  let ticks = null; // spikes as pairs of sample and row, if the rows have one neuron each
  let pictures = [], nSamples = 0, codes = null, kernelCodes = null, ownSeq = null, ownCodes = null;
  let isPending = false, isStale = true; // cells to send; pixels to compute again
  let low = 0, high = 1; // rows in view
  let stroke = null, pan = null, scrub = null, hover = null, cell = null, hatching = null, hatches = [];

  const { view, texts, send, set, follow, strokes: strokesOf, onClose, onLeave } = page;
  Object.assign(handlers, {
    constants: takeConstants,
    raster: takeRaster,
    nothing: () => { ticks = layout = codes = kernelCodes = null; pictures = []; showText(); canvas.request(); },
  });
  const element = make("div");
  const spoken = make("div", { className: "omnimouse-spoken", aria: { live: "polite" } });
  const canvas = canvasOf(element, {
    className: "omnimouse-rows", label: `${item.label}. ${texts.raster_keys}`, height: HEIGHT, draw, onClose,
  });
  canvas.canvas.title = item.tip;
  element.append(spoken);

  function takeConstants(message, buffers) {
    constants = message;
    constants.tables = { grey: bytes(buffers[0]), residual: bytes(buffers[1]) };
    constants.tints = Object.fromEntries(message.pictures.map((name, k) => [name, bytes(buffers[2 + k])]));
    canvas.request();
  }
  const showTool = (tool) => { canvas.canvas.style.cursor = tool === "look" ? "default" : "crosshair"; };

  // -- messages of the kernel ---------------------------------------------------------------
  function takeRaster(message, buffers) {
    const since = performance.now();
    if (message.layout && isPending && stroke) strokes.now(); // its cells refer to the old rows
    facts = message;
    if (message.layout) takeLayout(message.layout);
    if (!layout) return;
    if (message.codes !== undefined) kernelCodes = bytes(buffers[message.codes]);
    codes = withOwnCells(kernelCodes, message.handled[view] ?? 0);
    if (message.values) {
      pictures = message.values.map((fields) => ({
        ...fields, values: bytes(buffers[fields.buffer]), image: document.createElement("canvas"),
      }));
    }
    if (message.ticks !== undefined) ticks = message.ticks === null ? null : float32(buffers[message.ticks]);
    isStale = true;
    showText();
    canvas.request();
    afterPaint(() => probe("drawn", { name: "raster", took: performance.now() - since }));
  }
  function takeLayout(next) {
    const isOther = layout?.neurons !== next.neurons;
    layout = next;
    layout.rows = Math.ceil((layout.stop - layout.start) / layout.size);
    nSamples = layout.samples;
    if (cell) cell.sample = clamp(cell.sample, 0, nSamples - 1);
    ownSeq = new Uint32Array(layout.rows * nSamples);
    ownCodes = new Uint8Array(ownSeq.length);
    isPending = false;
    if (isOther) takeView(); // another recording
  }
  function withOwnCells(kernel, handled) {
    const merged = kernel.slice();
    for (let k = 0; k < ownSeq.length; k++) {
      if (!ownSeq[k]) continue;
      if (ownSeq[k] <= handled) ownSeq[k] = 0;
      else merged[k] = ownCodes[k];
    }
    return merged;
  }
  function takeView() {
    if (!layout) return;
    const [first, last] = model.get("rows_shown");
    [low, high] = first < last ? [first, Math.min(last, layout.neurons)] : [0, layout.neurons];
    canvas.request();
  }

  // -- positions ----------------------------------------------------------------------------
  function boxes() {
    const [width, height] = canvas.size();
    const count = Math.max(pictures.length, 1), hasTitle = Boolean(pictures[0]?.title);
    const top = TOP + (hasTitle ? TITLE : 0);
    const each = (width - LEFT - 6 - GAP * (count - 1)) / count;
    return Array.from({ length: count }, (_, k) => ({ x: LEFT + k * (each + GAP), y: top, w: each, h: height - top - BOTTOM }));
  }
  const xOf = (box, sample) => box.x + (sample / nSamples) * box.w;
  const yOf = (box, row) => box.y + ((row - low) / (high - low)) * box.h;
  const binOf = (row) => Math.floor((row - layout.start) / layout.size);
  // Sample and row under the pointer; `dragBox` keeps a drag in its picture.
  function positionOf(event, dragBox) {
    const rect = canvas.canvas.getBoundingClientRect();
    const [width, height] = canvas.size();
    const x = ((event.clientX - rect.left) * width) / rect.width;
    const y = ((event.clientY - rect.top) * height) / rect.height;
    const box = dragBox ?? boxes().find((each) => x >= each.x && x < each.x + each.w) ?? null;
    return box && {
      box,
      sample: ((x - box.x) / box.w) * nSamples,
      row: low + ((y - box.y) / box.h) * (high - low),
      isInside: y >= box.y && y < box.y + box.h,
      isOnAxis: y >= box.y + box.h,
    };
  }
  const sampleAt = (position) => clamp(Math.floor(position), 0, nSamples - 1);

  // -- drawing ------------------------------------------------------------------------------
  function computeImage(picture) {
    const table = picture.picture === "residual" ? constants.tables.residual : constants.tables.grey;
    const tints = constants.tints[picture.picture];
    const brightness = facts.is_old && picture.picture !== "truth" ? 0.5 : 1;
    const image = new ImageData(nSamples, layout.rows); // ticks take the place of bright bins
    const out = image.data, values = picture.values;
    for (let k = 0, p = 0; k < values.length; k++, p += 4) {
      const v = picture.isTicked ? 0 : values[k] * 3, t = codes[k] * 4, tint = tints[t + 3] / 255, rest = (1 - tint) * brightness;
      out[p] = table[v] * rest + tints[t] * tint;
      out[p + 1] = table[v + 1] * rest + tints[t + 1] * tint;
      out[p + 2] = table[v + 2] * rest + tints[t + 2] * tint;
      out[p + 3] = 255;
    }
    picture.image.width = nSamples;
    picture.image.height = layout.rows;
    picture.image.getContext("2d").putImageData(image, 0, 0);
  }
  // Rectangles of excluded cells: runs along a row; equal rows below each other are one.
  function findHatches() {
    const found = [];
    const isExcluded = (k) => codes[k] >= EXCLUDED_VISIBLE;
    for (let row = 0; row < layout.rows; ) {
      let last = row + 1;
      const first = row * nSamples;
      same: for (; last < layout.rows; last++)
        for (let sample = 0; sample < nSamples; sample++)
          if (isExcluded(last * nSamples + sample) !== isExcluded(first + sample)) break same;
      for (let sample = 0; sample < nSamples; sample++) {
        if (!isExcluded(first + sample)) continue;
        const start = sample;
        while (sample < nSamples && isExcluded(first + sample)) sample++;
        found.push([start, sample, layout.start + row * layout.size, layout.start + last * layout.size]);
      }
      row = last;
    }
    return found;
  }
  function draw(context, width, height) {
    context.clearRect(0, 0, width, height);
    if (!layout || !codes || !constants) {
      const text = constants ? texts.no_session : texts.waiting;
      drawText(context, text, width / 2, height / 2, QUIET, { size: 13 });
      return;
    }
    const all = boxes();
    pictures.forEach((picture, k) => {
      isStale ||= picture.isTicked !== isTicked(picture, all[k]);
      picture.isTicked = isTicked(picture, all[k]);
    });
    if (isStale) {
      pictures.forEach(computeImage);
      hatches = findHatches();
      isStale = false;
    }
    drawRowAxis(context, all[0]);
    drawText(context, constants.columns, all[0].x - 8, all[0].y + all[0].h + 6, QUIET, { align: "right", baseline: "top" });
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
    if (picture.isTicked) drawTicks(context, box);
    drawHatches(context, box);
    drawSpan(context, box);
    drawMarks(context, box);
    context.fillStyle = constants.cursor_colour;
    context.fillRect(xOf(box, model.get("cursor") + 0.5) - 0.75, box.y, 1.5, box.h);
    drawCell(context, box);
    if (stroke?.start) {
      const [x, y] = [xOf(box, stroke.start.sample), yOf(box, stroke.start.row)];
      context.strokeStyle = constants.cursor_colour;
      context.lineWidth = 1;
      context.setLineDash([4, 3]);
      context.strokeRect(x, y, xOf(box, stroke.last.sample) - x, yOf(box, stroke.last.row) - y);
      context.setLineDash([]);
    }
    context.restore();
    drawTimeAxis(context, box);
    if (box.y > TOP) drawTitle(context, picture, box);
  }
  // Spikes of the recording, where cells have room for more than one bright or dark bin.
  function isTicked(picture, box) {
    if (!ticks || picture.picture !== "truth") return false;
    return box.w / nSamples >= constants.tick.bin && box.h / (high - low) >= constants.tick.row;
  }
  function drawTicks(context, box) {
    const margin = (1 - constants.tick.height) / 2;
    context.fillStyle = "#fff";
    for (let k = 0; k < ticks.length; k += 2) {
      const top = yOf(box, ticks[k + 1] + margin), bottom = yOf(box, ticks[k + 1] + 1 - margin);
      context.fillRect(xOf(box, ticks[k]) - 0.5, top, 1, bottom - top);
    }
  }
  function drawHatches(context, box) {
    if (!hatches.length) return;
    hatching ??= makeHatching(context);
    context.fillStyle = hatching;
    for (const [s0, s1, r0, r1] of hatches)
      context.fillRect(xOf(box, s0), yOf(box, r0), xOf(box, s1) - xOf(box, s0), yOf(box, r1) - yOf(box, r0));
  }
  function makeHatching(context) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 7;
    const pen = tile.getContext("2d");
    pen.strokeStyle = "rgba(255, 255, 255, 0.8)";
    pen.lineWidth = 1;
    pen.beginPath();
    // Three lines, so that they join at the edges of the tiles.
    for (const shift of [-7, 0, 7]) { pen.moveTo(shift, 7); pen.lineTo(shift + 7, 0); }
    pen.stroke();
    return context.createPattern(tile, "repeat");
  }
  function drawSpan(context, box) {
    const [start, stop] = facts.span;
    const [left, right] = [xOf(box, start), xOf(box, stop)];
    context.fillStyle = facts.span_colour;
    context.fillRect(left, box.y, right - left, 4);
    context.fillRect(left, box.y, 2, box.h);
    context.fillRect(right - 2, box.y, 2, box.h);
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
    const row = layout.start + binOf(cell.row) * layout.size;
    const [x, y] = [xOf(box, cell.sample), yOf(box, row)];
    // At least 5 pixels: a cell of a large recording would be invisible.
    const w = Math.max(xOf(box, cell.sample + 1) - x, 5), h = Math.max(yOf(box, row + layout.size) - y, 5);
    for (const [colour, thickness] of [["#000", 3], [constants.cursor_colour, 1.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = thickness;
      context.strokeRect(x - 1, y - 1, w + 2, h + 2);
    }
  }
  function drawTitle(context, picture, box) {
    const { title, ends } = picture, [, lower, upper] = constants.colours;
    const parts = ends.length ? [[`■ ${ends[0]} `, lower], [title, QUIET], [` ${ends[1]} ■`, upper]] : [[title, QUIET]];
    context.font = "11px system-ui, sans-serif";
    const widths = parts.map(([text]) => context.measureText(text).width);
    let x = box.x + (box.w - widths.reduce((sum, width) => sum + width, 0)) / 2;
    parts.forEach(([text, colour], k) => {
      drawText(context, text, x, box.y - 5, colour, { size: 11, align: "left" });
      x += widths[k];
    });
  }
  function drawTimeAxis(context, box) {
    const step = roundStep(nSamples / (box.w > 220 ? 6 : 3));
    for (let sample = 0; sample <= nSamples; sample += step) {
      const x = xOf(box, sample);
      context.fillStyle = TICK;
      context.fillRect(x - 0.5, box.y + box.h, 1, 4);
      drawText(context, String(sample), clamp(x, box.x + 6, box.x + box.w - 6), box.y + box.h + 6, QUIET, { baseline: "top" });
    }
  }
  function drawRowAxis(context, box) {
    for (const [row, text] of facts.labels) {
      const y = yOf(box, row);
      if (y < box.y || y > box.y + box.h) continue;
      context.fillStyle = TICK;
      context.fillRect(box.x - 5, y - 0.5, 4, 1);
      const lines = text.split("\n");
      lines.forEach((line, k) => drawText(context, line, box.x - 8, y + (k - (lines.length - 1) / 2) * 11, QUIET,
        { align: "right", baseline: "middle", maxWidth: LEFT - 10 }));
    }
  }

  // -- texts --------------------------------------------------------------------------------
  function describe(position) {
    const bin = binOf(position.row);
    if (bin < 0 || bin >= layout.rows) return "";
    const sample = sampleAt(position.sample), code = codes[bin * nSamples + sample], at = texts.sample.replace("{}", sample);
    if (code === MISSING) return `${layout.names[bin]} · ${at} · ▨ ${constants.hatch_texts[code]}`;
    // An excluded cell keeps the name of its state.
    const state = constants.states[code === EXCLUDED_VISIBLE ? 1 : code === EXCLUDED_TARGET ? 2 : code];
    const reason = constants.hatch_texts[code];
    return `${layout.names[bin]} · ${state} · ${at}${reason ? ` · ▨ ${reason}` : ""}`;
  }
  // The status line of the panel has the cell under the pointer at once.
  function showText(text = hover && layout && codes ? describe(hover) : "") {
    const status = statusOf();
    if (status) status.textContent = status.title = text || status.ownText || "";
  }

  // -- painting -----------------------------------------------------------------------------
  const strokes = strokesOf((seq) => {
    if (!isPending || !stroke) return null;
    isPending = false;
    const blocks = unsentBlocks();
    for (let k = 0; k < ownSeq.length; k++) if (ownSeq[k] === UNSENT) ownSeq[k] = seq;
    return [{ code: stroke.code, rows: stroke.rows, all: stroke.tool === "columns" }, [blocks.buffer]];
  });
  // Rectangles of unsent cells: runs down a column; columns with the same runs are one.
  function unsentBlocks() {
    const blocks = [];
    let open = [];
    for (let sample = 0; sample < nSamples; sample++) {
      const runs = [];
      for (let row = 0; row < layout.rows; row++) {
        if (ownSeq[row * nSamples + sample] !== UNSENT) continue;
        const first = row;
        while (row < layout.rows && ownSeq[row * nSamples + sample] === UNSENT) row++;
        runs.push([first, row, sample, sample + 1]);
      }
      const isSame = runs.length === open.length && runs.every(([a, b], k) => a === open[k][0] && b === open[k][1]);
      if (isSame) open.forEach((block) => { block[3] = sample + 1; });
      else { blocks.push(...runs); open = runs; }
    }
    return Uint16Array.from(blocks.flat());
  }
  function fill(firstBin, lastBin, first, last) {
    for (let bin = Math.max(firstBin, 0); bin <= Math.min(lastBin, layout.rows - 1); bin++)
      for (let sample = first; sample <= last; sample++) {
        const k = bin * nSamples + sample;
        ownSeq[k] = UNSENT;
        ownCodes[k] = codes[k] = stroke.code;
        isPending = isStale = true;
      }
  }
  function begin(tool) {
    stroke = { tool, code: model.get("code"), rows: facts.rows };
    strokes.begin({ code: stroke.code });
  }
  function end() {
    if (!stroke) return;
    if (stroke.start) {
      const [{ row: a, sample: s }, { row: b, sample: z }] = [stroke.start, stroke.last];
      fill(binOf(Math.min(a, b)), binOf(Math.max(a, b)), sampleAt(Math.min(s, z)), sampleAt(Math.max(s, z)));
    }
    strokes.end();
    stroke = null;
    canvas.request();
  }
  function paintTo(from, to, event) {
    stroke.rows = facts.rows; // zooming during a stroke changes the rows
    // A box is painted at its end.
    if (stroke.tool === "box") { stroke.start ??= from; stroke.last = to; canvas.request(); return; }
    const [first, last] = [sampleAt(Math.min(from.sample, to.sample)), sampleAt(Math.max(from.sample, to.sample))];
    if (stroke.tool === "columns") fill(0, layout.rows - 1, first, last);
    else if (stroke.tool === "rows") fill(binOf(Math.min(from.row, to.row)), binOf(Math.max(from.row, to.row)), 0, nSamples - 1);
    else brush(from, to);
    canvas.request();
    strokes.soon();
    const since = event.timeStamp;
    afterPaint(() => probe("painted", { name: "raster", took: performance.now() - since }));
  }
  // Cells that an elliptic brush touches on its way, in steps of half its radius.
  function brush(from, to) {
    const box = to.box, radius = model.get("radius");
    const across = (radius / box.w) * nSamples, down = (radius / box.h) * (high - low);
    const length = Math.hypot((to.sample - from.sample) / Math.max(across, 0.5), (to.row - from.row) / Math.max(down, 0.5));
    const steps = Math.max(1, Math.ceil(2 * length));
    for (let step = 0; step <= steps; step++) {
      const share = step / steps;
      const x = from.sample + share * (to.sample - from.sample), y = from.row + share * (to.row - from.row);
      for (let sample = Math.max(0, Math.floor(x - across)); sample <= Math.min(nSamples - 1, Math.floor(x + across)); sample++) {
        const distance = Math.max(0, sample - x, x - sample - 1) / across;
        const half = down * Math.sqrt(Math.max(0, 1 - distance * distance));
        const [top, bottom] = [y - half, y + half];
        if (bottom < layout.start || top >= layout.stop) continue;
        fill(binOf(Math.max(top, layout.start)), binOf(Math.min(bottom, layout.stop - 1e-6)), sample, sample);
      }
    }
  }

  // -- the pointer --------------------------------------------------------------------------
  const surface = canvas.canvas;
  surface.addEventListener("contextmenu", (event) => event.preventDefault());
  surface.addEventListener("pointerdown", (event) => {
    const at = layout && codes && positionOf(event);
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
      const at = positionOf(event, pan.box);
      moveTo(low + pan.row - at.row, high + pan.row - at.row);
    } else if (scrub) set("cursor", sampleAt(positionOf(event, scrub).sample));
    else if (stroke?.last) {
      // The browser merges fast moves into one event; the path needs all of them.
      const moves = event.getCoalescedEvents?.() ?? [];
      for (const move of moves.length ? moves : [event]) {
        const at = positionOf(move, stroke.last.box);
        paintTo(stroke.last, at, event);
        stroke.last = at;
      }
    }
    const at = positionOf(event);
    hover = at?.isInside ? at : null;
    showText();
  });
  const release = () => { end(); pan = scrub = null; };
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) surface.addEventListener(name, release);
  onLeave(release);
  surface.addEventListener("pointerleave", () => { hover = null; showText(); });
  surface.addEventListener("wheel", (event) => {
    if (!layout || !(event.ctrlKey || event.metaKey)) return; // a plain wheel scrolls the page
    event.preventDefault();
    zoom(Math.exp(clamp(event.deltaY, -100, 100) / 250), positionOf(event)?.row);
  }, { passive: false });

  // -- rows in view -------------------------------------------------------------------------
  function moveTo(first, last) {
    const count = clamp(last - first, Math.min(4, layout.neurons), layout.neurons);
    low = clamp(first, 0, layout.neurons - count);
    high = low + count;
    if (cell) cell.row = clamp(cell.row, low, high - 1e-6); // the keyboard's cell stays in view
    set("rows_shown", count >= layout.neurons ? [0, 0] : [low, high]);
    canvas.request();
  }
  function zoom(factor, around = (low + high) / 2) {
    if (!layout || stroke) return;
    moveTo(around + (low - around) * factor, around + (high - around) * factor);
  }

  // -- the keyboard -------------------------------------------------------------------------
  function move(samples, bins) {
    if (!layout) return;
    cell ??= { sample: model.get("cursor"), row: low };
    cell.sample = clamp(cell.sample + samples, 0, nSamples - 1);
    cell.row = clamp(cell.row + bins * layout.size, 0, layout.neurons - 1);
    if (cell.row < low) moveTo(cell.row, cell.row + high - low);
    if (cell.row + layout.size > high) moveTo(cell.row + layout.size - (high - low), cell.row + layout.size);
    showCell();
  }
  function showCell() {
    spoken.textContent = codes ? describe(cell) : "";
    showText(spoken.textContent);
    canvas.request();
  }
  function press() {
    if (!layout || !codes) return;
    move(0, 0);
    const tool = model.get("tool");
    if (tool === "look") { set("cursor", cell.sample); pick(); return; }
    const bin = binOf(cell.row);
    const [firstBin, lastBin] = tool === "columns" ? [0, layout.rows - 1] : [bin, bin];
    const [first, last] = tool === "rows" ? [0, nSamples - 1] : [cell.sample, cell.sample];
    begin(tool);
    fill(firstBin, lastBin, first, last);
    canvas.request();
    end();
    showCell();
  }
  const pick = (row = cell?.row) => {
    const bin = row === undefined || !layout ? -1 : binOf(row);
    if (bin >= 0 && bin < layout.rows) send("select", { rows: facts.rows, row: bin });
  };
  const changeRadius = (by) => set("radius", clamp(model.get("radius") + by, 1, 60));
  const keys = Object.assign(Object.create(panelKeys), {
    ArrowLeft: () => move(-1, 0), ArrowRight: () => move(1, 0), ArrowUp: () => move(0, -1), ArrowDown: () => move(0, 1),
    "Shift+ArrowLeft": () => move(-5, 0), "Shift+ArrowRight": () => move(5, 0),
    "Shift+ArrowUp": () => move(0, -5), "Shift+ArrowDown": () => move(0, 5),
    " ": press, Enter: () => pick(), "[": () => changeRadius(-2), "]": () => changeRadius(2),
  });
  bindKeys(surface, keys);
  surface.addEventListener("focus", canvas.request);
  surface.addEventListener("blur", canvas.request);

  follow("tool", showTool);
  follow("cursor", canvas.request);
  follow("rows_shown", () => { if (!pan) takeView(); }); // during a pan, the page is ahead
  return [element, () => {}];
}
