// The painter: the field's pixels, who owns them, and what a stroke touches. Painting is
// local: the pixels change in the page at once, and the kernel hears of it in deltas.

const HOVER_MS = 60;
const STILL = 6; // pixels a finger moves before it paints: a second may follow
const TALLEST = 560; // pixels of the screen
const WAITS = Infinity; // of what was painted here and the kernel has not been told
const STATES = ["hidden", "visible", "target", "mixed"];
const TOOLS = [
  ["brush", "Brush", "P: a drag paints the neurons it touches"],
  ["lasso", "Lasso", "L: paints the neurons inside an outline"],
  ["rectangle", "Box", "R: paints the neurons inside a rectangle"],
  ["select", "Select", "S: a click selects, with Shift adds; a drag pans"],
];

function render({ model, el }) {
  let field = null; // what stays while a recording is open
  const page = connect({ model, el }, "painter", {
    nothing: () => { field = null; surface.ask(); say(); },
    field: (message, buffers) => takeField(message, buffers),
    codes: (message, buffers) => takeCodes(message, buffers),
    patch: (message, buffers) => takePatch(message, buffers),
    steps: (message) => takeSteps(message),
    hovered: (message) => { if (message.to === page.view) hovered.textContent = message.words; },
  });
  const { send, set, follow } = page;
  const SWATCHES = model.get("_colours"); // of the states, by code

  // -- controls -----------------------------------------------------------------------
  const bar = make("div", { className: "omnimouse-bar" });
  bar.setAttribute("role", "toolbar");
  bar.setAttribute("aria-label", "Painting");
  const pressed = (buttons, value) =>
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.value === String(value))));
  const group = (label, entries, trait, read = (value) => value) => {
    const buttons = entries.map(([value, word, title, colour]) => {
      const button = make("button", { type: "button", value: String(value), title });
      if (colour) {
        const swatch = make("span", { className: "omnimouse-swatch" });
        swatch.style.background = colour;
        button.append(swatch);
      }
      button.append(word);
      button.onclick = () => set(trait, read(button.value));
      return button;
    });
    const box = make("span", { className: "omnimouse-group" }, ...buttons);
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", label);
    follow(trait, (value) => pressed(buttons, value));
    bar.append(box);
  };
  group("Tool", TOOLS, "tool");
  group(
    "Paint",
    [
      [1, "Visible", "1: given to the model", SWATCHES[1]],
      [0, "Hidden", "2: neither given nor asked", SWATCHES[0]],
      [2, "Target", "3: to be predicted", SWATCHES[2]],
    ],
    "code",
    Number,
  );
  const number = (label, title, min) => {
    const input = make("input", { type: "number", min, step: 1, title });
    input.setAttribute("aria-label", label);
    input.style.width = "4.2em";
    return input;
  };
  const from = number("First sample a stroke sets", "First sample a stroke sets", 0);
  const to = number("Sample a stroke ends before", "Sample a stroke ends before", 1);
  const setSpan = () => {
    const [a, b] = [Number(from.value), Number(to.value)];
    if (a >= 0 && b <= model.get("_n_samples") && a < b) set("span", [a, b]);
    else [from.value, to.value] = model.get("span");
  };
  from.onchange = to.onchange = setSpan;
  follow("_n_samples", (n) => { from.max = n - 1; to.max = n; });
  follow("span", ([a, b]) => { from.value = a; to.value = b; });
  bar.append(make("span", { className: "omnimouse-group" }, make("span", { textContent: "samples" }), from, "–", to));
  const select = (label, title) => {
    const box = make("select", { title });
    box.setAttribute("aria-label", label);
    bar.append(box);
    return box;
  };
  const colour = select("Colour neurons by", "Colour neurons by their state, or a number of theirs");
  follow("_choices", (choices) => {
    fillSelect(colour, choices, model.get("colour_by"));
  });
  follow("colour_by", (value) => { colour.value = value; });
  colour.onchange = () => set("colour_by", colour.value);
  const area = select("Paint a brain area", "Paint every neuron of a brain area");
  follow("areas", (areas) => {
    fillSelect(area, [["", "area…"], ...areas.map((name) => [name, name])], "");
    area.hidden = !areas.length;
  });
  area.onchange = () => {
    if (area.value) send("area", { name: area.value, code: model.get("code") });
    area.value = "";
  };
  const acts = make("span", { className: "omnimouse-group" });
  bar.append(acts);
  const act = (word, title, then) => {
    const button = make("button", { type: "button", textContent: word, title });
    button.onclick = then;
    acts.append(button);
    return button;
  };
  const undo = act("Undo", "", () => send("undo")), redo = act("Redo", "", () => send("redo"));
  const takeSteps = (message) =>
    [[undo, "undo", "Ctrl+Z"], [redo, "redo", "Ctrl+Shift+Z"]].forEach(([button, word, key]) => {
      button.disabled = !message[word];
      button.title = message[word] ? `${key}: ${word} “${message[word]}”` : `Nothing to ${word}`;
    });
  act("Fit", "Home: the whole field", () => fit());

  const counts = make("div", { className: "omnimouse-status omnimouse-counts" });
  counts.setAttribute("aria-live", "polite");
  const legend = make("div", { className: "omnimouse-status omnimouse-legend" });
  const hovered = make("div", { className: "omnimouse-status omnimouse-hovered" });
  const stage = make("div", { className: "omnimouse-stage" });
  el.append(bar, stage, counts, legend, hovered);

  // -- pixels -------------------------------------------------------------------------
  // `labels` holds 0, n + 1 for the core of neuron n, P + n + 1 for its rim.
  function takeField(message, buffers) {
    if (field?.number === message.number) return; // another page has begun to look
    stroke?.pending.clear();
    const [height, width] = message.shape;
    const labels = uint16(buffers[0]);
    const n = message.neurons, rows = message.rims ? 2 * n : n;
    const start = new Uint32Array(rows + 2);
    for (const label of labels) start[label + 1] += label > 0;
    for (let at = 1; at < rows + 2; at++) start[at] += start[at - 1];
    const fill = start.slice(), pixels = new Uint32Array(start[rows + 1]);
    labels.forEach((label, at) => { if (label) pixels[fill[label]++] = at; });
    const canvas = make("canvas", { width, height });
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    field = {
      n, height, width, labels, start, pixels, canvas, context, image, number: message.number,
      rims: message.rims, note: message.note,
      grey: bytes(buffers[1]), centres: float32(buffers[2]),
      coveredAt: uint32(buffers[3]), coveredBy: uint32(buffers[4]),
      argb: new Uint32Array(image.data.buffer),
      codes: new Uint8Array(n), truth: new Uint8Array(n),
      rows: null, brush: null, by: "state", dirty: null, mine: new Map(),
    };
    shape();
    fit();
    say();
  }
  const neuronOf = (label) => (label > field.n ? label - field.n - 1 : label - 1);
  const blend = (grey, row) => {
    const part = row[3] / 255, rest = grey * (1 - part);
    const red = row[0] * part + rest, green = row[1] * part + rest, blue = row[2] * part + rest;
    return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
  };
  const rowOf = (neuron, isRim) => {
    const { codes, rows, brush, by, mine, n } = field;
    if (selected.has(neuron) && (isRim || !field.rims)) return WHITE;
    const own = mine.has(neuron);
    if (rows && !(own && (by === "score" || isRim))) {
      const at = ((isRim ? n : 0) + neuron) * 4;
      return rows.subarray(at, at + 4);
    }
    const at = ((isRim ? 5 : 0) + codes[neuron]) * 4;
    return brush.subarray(at, at + 4);
  };
  const WHITE = [255, 255, 255, 255];
  const touch = (x0, y0, x1, y1) => {
    const box = (field.dirty ??= [x0, y0, x1, y1]);
    box[0] = Math.min(box[0], x0); box[1] = Math.min(box[1], y0);
    box[2] = Math.max(box[2], x1); box[3] = Math.max(box[3], y1);
  };
  const paintLabel = (label, row) => {
    const { start, pixels, argb, grey, width } = field;
    for (let at = start[label]; at < start[label + 1]; at++) {
      const pixel = pixels[at], x = pixel % width, y = (pixel / width) | 0;
      argb[pixel] = blend(grey[pixel], row);
      touch(x, y, x, y);
    }
  };
  const paintNeuron = (neuron) => {
    paintLabel(neuron + 1, rowOf(neuron, false));
    if (field.rims) paintLabel(field.n + neuron + 1, rowOf(neuron, true));
  };
  const paintAll = () => {
    const { labels, argb, grey, n } = field;
    for (let pixel = 0; pixel < labels.length; pixel++)
      if (!labels[pixel]) argb[pixel] = (0xff000000 | (grey[pixel] * 0x10101)) >>> 0;
    for (let neuron = 0; neuron < n; neuron++) paintNeuron(neuron);
    touch(0, 0, field.width - 1, field.height - 1);
    surface.ask();
  };
  function takeCodes(message, buffers) {
    if (!field) return;
    field.truth = bytes(buffers[0]);
    field.brush = bytes(buffers[1]);
    field.rows = buffers[2] ? bytes(buffers[2]) : null;
    field.by = message.by;
    letGo(message);
    field.truth.forEach((code, neuron) => { if (!field.mine.has(neuron)) field.codes[neuron] = code; });
    paintAll();
    say();
    probe("codes", { view: page.view });
  }
  function takePatch(message, buffers) {
    if (!field) return;
    const neurons = uint32(buffers[0]), codes = bytes(buffers[1]);
    neurons.forEach((neuron, at) => { field.truth[neuron] = codes[at]; });
    for (const neuron of new Set([...neurons, ...letGo(message)])) {
      if (field.mine.has(neuron) || field.codes[neuron] === field.truth[neuron]) continue;
      field.codes[neuron] = field.truth[neuron];
      paintNeuron(neuron);
    }
    surface.ask();
    say();
    probe("patch", { view: page.view, n: neurons.length });
  }
  // What was painted here and the kernel has taken, or refused, is the kernel's again.
  const letGo = (message) => {
    const done = message.done[page.view] ?? 0;
    const found = [...field.mine].filter(([, seq]) => seq <= done).map(([neuron]) => neuron);
    found.forEach((neuron) => field.mine.delete(neuron));
    return found;
  };
  const selected = new Set();
  follow("selection", (neurons) => {
    const before = [...selected];
    selected.clear();
    neurons.forEach((neuron) => selected.add(neuron));
    if (!field?.brush) return;
    new Set([...before, ...neurons]).forEach((neuron) => { if (neuron < field.n) paintNeuron(neuron); });
    surface.ask();
  });

  // -- view: pixels of the field to pixels of the screen ---------------------------------
  const view = { zoom: 1, x: 0, y: 0 };
  const fit = () => {
    if (!field) return;
    const [width, height] = surface.size();
    view.zoom = Math.min(width / field.width, height / field.height);
    view.x = (width - field.width * view.zoom) / 2;
    view.y = (height - field.height * view.zoom) / 2;
    view.fitted = [width, height];
    surface.ask();
  };
  const zoomAt = (factor, x, y) => {
    const zoom = Math.min(40, Math.max(0.2, view.zoom * factor));
    view.x = x - ((x - view.x) * zoom) / view.zoom;
    view.y = y - ((y - view.y) * zoom) / view.zoom;
    view.zoom = zoom;
    view.fitted = null;
    surface.ask();
  };
  const toField = ([x, y]) => [(x - view.x) / view.zoom, (y - view.y) / view.zoom];

  let pointer = null; // where the brush is, in pixels of the screen
  let outline = null; // of a lasso or a box, likewise
  const draw = (context, width, height) => {
    context.fillStyle = "#16181d";
    context.fillRect(0, 0, width, height);
    if (!field) {
      context.fillStyle = "#d6d9df";
      context.font = "13px system-ui";
      context.fillText("No recording is open yet.", 12, 24);
      return;
    }
    if (view.fitted && view.fitted[0] !== width) shape();
    if (view.fitted && (view.fitted[0] !== width || view.fitted[1] !== height)) fit();
    if (field.dirty) {
      const [x0, y0, x1, y1] = field.dirty;
      field.context.putImageData(field.image, 0, 0, x0, y0, x1 - x0 + 1, y1 - y0 + 1);
      field.dirty = null;
    }
    context.imageSmoothingEnabled = view.zoom < 2;
    context.drawImage(field.canvas, view.x, view.y, field.width * view.zoom, field.height * view.zoom);
    context.lineWidth = 1.5;
    context.strokeStyle = model.get("code") ? SWATCHES[model.get("code")] : "#ffffff";
    if (outline) {
      context.beginPath();
      outline.forEach(([x, y], at) => (at ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.closePath();
      context.stroke();
    } else if (pointer && model.get("tool") === "brush") {
      context.beginPath();
      context.arc(...pointer, model.get("radius"), 0, 2 * Math.PI);
      context.stroke();
      context.strokeStyle = "rgba(0,0,0,0.6)";
      context.lineWidth = 0.5;
      context.stroke();
    }
  };
  const surface = canvasOf(stage, {
    className: "omnimouse-field",
    label:
      "Imaged field. Arrow keys move the brush, space paints, brackets change its size, " +
      "1, 2 and 3 choose what is painted, P L R S the tool, Control Z undoes.",
    keys: "Drag paints · Ctrl-click selects · Ctrl-wheel zooms · middle-drag pans",
    height: 480,
    draw,
    onClose: page.onClose,
  });
  // As high as the field is at this width, and never higher than a screen.
  const shape = () => {
    const tall = Math.min(TALLEST, Math.round((surface.size()[0] * field.height) / field.width));
    if (tall !== surface.size()[1]) surface.resize(tall);
  };
  const canvas = surface.canvas;
  canvas.style.cursor = "crosshair";

  // -- who is touched -------------------------------------------------------------------
  const hit = (neuron, found) => { if (neuron >= 0 && field.codes[neuron] !== model.get("code")) found.add(neuron); };
  const under = (x, y, radius, found) => {
    const { width, height, labels, coveredAt, coveredBy } = field;
    const top = Math.max(0, Math.ceil(y - radius)), bottom = Math.min(height - 1, Math.floor(y + radius));
    for (let row = top; row <= bottom; row++) {
      const half = Math.sqrt(radius * radius - (row - y) ** 2);
      const first = Math.max(0, Math.ceil(x - half)), last = Math.min(width - 1, Math.floor(x + half));
      for (let column = first; column <= last; column++) {
        const label = labels[row * width + column];
        if (label) hit(neuronOf(label), found);
      }
      if (!coveredAt.length || last < first) continue;
      for (let at = lowest(coveredAt, row * width + first); coveredAt[at] <= row * width + last; at++) hit(coveredBy[at], found);
    }
  };
  const dab = (a, b) => {
    const found = new Set(), radius = Math.max(0.71, model.get("radius") / view.zoom);
    const [x0, y0] = toField(a), [x1, y1] = toField(b);
    const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / Math.max(0.5, radius / 2)));
    for (let step = 1; step <= steps; step++)
      under(x0 + ((x1 - x0) * step) / steps, y0 + ((y1 - y0) * step) / steps, radius, found);
    return found;
  };
  const inside = (corners) => {
    const points = corners.map(toField), found = new Set();
    for (let neuron = 0; neuron < field.n; neuron++) {
      const y = field.centres[2 * neuron], x = field.centres[2 * neuron + 1];
      let isIn = false;
      for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
        const [xi, yi] = points[i], [xj, yj] = points[j];
        if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) isIn = !isIn;
      }
      if (isIn) hit(neuron, found);
    }
    return found;
  };

  // -- strokes --------------------------------------------------------------------------
  let stroke = null; // the neurons that the kernel has not heard of, and what they become
  const queue = page.strokes((seq) => {
    if (!stroke?.pending.size) return null;
    const neurons = Uint32Array.from(stroke.pending);
    neurons.forEach((neuron) => field.mine.set(neuron, seq));
    stroke.pending.clear();
    return [{ code: stroke.code }, [neurons.buffer]];
  });
  const begin = () => {
    stroke = { code: model.get("code"), pending: new Set() };
    queue.begin({ code: stroke.code });
  };
  const paint = (found, since) => {
    found.forEach((neuron) => {
      field.codes[neuron] = stroke.code;
      field.mine.set(neuron, WAITS);
      stroke.pending.add(neuron);
      paintNeuron(neuron);
    });
    surface.ask();
    if (!found.size) return;
    queue.soon();
    say();
    if (globalThis.omnimouseProbe) afterPaint(() => probe("painted", { n: found.size, took: performance.now() - since }));
  };
  const end = () => {
    if (!stroke) return;
    queue.end();
    stroke = null;
  };
  const drop = () => { outline = null; drag = null; end(); surface.ask(); };
  page.onLeave(drop);

  // -- pointers -------------------------------------------------------------------------
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const fingers = new Map();
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (!field?.brush || event.button > 1) return;
    clearTimeout(hovering); // who paints does not ask who is there
    hovering = 0;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    const at = place(event);
    fingers.set(event.pointerId, at);
    if (fingers.size === 2) { end(); outline = null; drag = { kind: "pinch", ...spread() }; return; }
    const tool = model.get("tool");
    if (event.button === 1) drag = { kind: "pan", last: at };
    else if (event.ctrlKey || event.metaKey) drag = { kind: "pick", at, add: event.shiftKey };
    else if (tool === "select") drag = { kind: "pan", last: at, at, add: event.shiftKey, picks: true };
    else if (tool === "brush") {
      drag = { kind: "brush", last: at, waits: event.pointerType === "touch" };
      if (!drag.waits) press(event);
    } else {
      drag = { kind: tool, at };
      outline = [at];
    }
  });
  const press = (event) => {
    drag.waits = false;
    begin();
    paint(dab(drag.last, drag.last), event.timeStamp);
  };
  const spread = () => {
    const [[ax, ay], [bx, by]] = [...fingers.values()];
    return { apart: Math.hypot(ax - bx, ay - by), middle: [(ax + bx) / 2, (ay + by) / 2] };
  };
  canvas.addEventListener("pointermove", (event) => {
    pointer = place(event);
    if (!drag) { hover(); surface.ask(); return; }
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, pointer);
    if (drag.kind === "pinch" && fingers.size === 2) {
      const now = spread();
      view.x += now.middle[0] - drag.middle[0];
      view.y += now.middle[1] - drag.middle[1];
      zoomAt(now.apart / Math.max(1, drag.apart), ...now.middle);
      Object.assign(drag, now);
    } else if (drag.kind === "pan") {
      if (drag.at && Math.hypot(pointer[0] - drag.at[0], pointer[1] - drag.at[1]) > 4) drag.picks = false;
      view.x += pointer[0] - drag.last[0];
      view.y += pointer[1] - drag.last[1];
      view.fitted = null;
      drag.last = pointer;
    } else if (drag.kind === "brush") {
      if (drag.waits && Math.hypot(pointer[0] - drag.last[0], pointer[1] - drag.last[1]) < STILL) return;
      if (drag.waits) press(event);
      const moves = event.getCoalescedEvents?.() ?? [];
      for (const move of moves.length ? moves : [event]) {
        const at = place(move);
        paint(dab(drag.last, at), move.timeStamp);
        drag.last = at;
      }
    } else if (drag.kind === "lasso") outline.push(pointer);
    else if (drag.kind === "rectangle") {
      const [[x0, y0], [x1, y1]] = [drag.at, pointer];
      outline = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
    }
    surface.ask();
  });
  const release = (event) => {
    fingers.delete(event.pointerId);
    if (drag?.waits && event.type === "pointerup") press(event);
    const done = drag;
    drag = null;
    if (!done) return;
    if (done.kind === "brush") end();
    if (done.kind === "pick" || done.picks) pick(done.at, done.add);
    if ((done.kind === "lasso" || done.kind === "rectangle") && event.type === "pointerup") {
      begin();
      paint(inside(outline), event.timeStamp);
      end();
    }
    outline = null;
    surface.ask();
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => { if (!drag) { pointer = null; hovered.textContent = ""; surface.ask(); } });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the notebook
    event.preventDefault();
    zoomAt(Math.exp(-event.deltaY / 300), ...place(event));
  }, { passive: false });
  const at = (place) => { const [x, y] = toField(place); return { x: x - 0.5, y: y - 0.5 }; };
  const pick = (where, add) => send("pick", { ...at(where), add: Boolean(add) });
  let hovering = 0;
  const hover = () => {
    hovering ||= setTimeout(() => {
      hovering = 0;
      if (!field || !pointer) return;
      const [x, y] = toField(pointer).map(Math.floor);
      const isOn = x >= 0 && y >= 0 && x < field.width && y < field.height && field.labels[y * field.width + x];
      if (isOn) send("hover", at(pointer));
      else hovered.textContent = "";
    }, HOVER_MS);
  };

  // -- keys -----------------------------------------------------------------------------
  const move = (dx, dy) => () => {
    const [width, height] = surface.size(), step = model.get("radius");
    pointer ??= [width / 2, height / 2];
    pointer = [Math.min(width, Math.max(0, pointer[0] + dx * step)), Math.min(height, Math.max(0, pointer[1] + dy * step))];
    hover();
    surface.ask();
  };
  const grow = (factor) => () => set("radius", Math.min(200, Math.max(2, model.get("radius") * factor)));
  const choose = (trait, value) => () => set(trait, value);
  const stamp = (event) => {
    if (!field?.brush || event.repeat) return;
    const where = pointer ?? [surface.size()[0] / 2, surface.size()[1] / 2];
    if (model.get("tool") === "select") { pick(where, event.shiftKey); return; }
    begin();
    paint(dab(where, where), event.timeStamp);
    end();
  };
  const keys = {
    ...commonKeys(send),
    ArrowLeft: move(-1, 0), ArrowRight: move(1, 0), ArrowUp: move(0, -1), ArrowDown: move(0, 1),
    " ": stamp, Enter: stamp, "[": grow(0.8), "]": grow(1.25), 1: choose("code", 1), 2: choose("code", 0), 3: choose("code", 2), c: () => send("toggle_colours"),
    p: choose("tool", "brush"), l: choose("tool", "lasso"), r: choose("tool", "rectangle"), s: choose("tool", "select"),
    "+": () => zoomAt(1.25, ...surface.size().map((x) => x / 2)), "-": () => zoomAt(0.8, ...surface.size().map((x) => x / 2)),
    Home: fit, "Ctrl+y": () => send("redo"),
    Escape: drop,
  };
  bindKeys(canvas, keys);
  follow("radius", () => surface.ask());
  follow("code", () => surface.ask());
  follow("tool", (tool) => { canvas.style.cursor = tool === "select" ? "grab" : "crosshair"; surface.ask(); });

  // -- words ----------------------------------------------------------------------------
  let saying = 0;
  function say() {
    saying ||= setTimeout(() => {
      saying = 0;
      const n = [0, 0, 0, 0];
      field?.codes.forEach((code) => { n[Math.min(code, 3)]++; });
      const [a, b] = model.get("span");
      counts.textContent = field
        ? `hidden ${n[0].toLocaleString("en")} · visible ${n[1].toLocaleString("en")} · target ${n[2].toLocaleString("en")}` +
          (n[3] ? ` · mixed ${n[3].toLocaleString("en")}` : "") + ` · samples ${a}–${b}`
        : "";
    }, 100);
  }
  follow("_legend", (told) => {
    legend.replaceChildren();
    const swatch = (colour, word, shape) => {
      const mark = make("span", { className: `omnimouse-swatch omnimouse-${shape}` });
      mark.style.background = shape === "ring" ? "transparent" : colour;
      mark.style.borderColor = colour;
      legend.append(make("span", { className: "omnimouse-entry" }, mark, word));
    };
    if (told.label === undefined)
      STATES.forEach((word, at) => swatch(SWATCHES[at], word, word === "target" ? "ring" : "disk"));
    else if (told.entries) told.entries.forEach(([word, colour]) => swatch(colour, word, "disk"));
    else legend.append(make("span", { className: "omnimouse-entry" },
      `${told.label} ${told.low}`, make("span", { className: "omnimouse-viridis" }),
      told.middle ? `${told.high} · ${told.middle}` : told.high,
    ));
    swatch("#ffffff", "selected", "ring");
    if (told.words) legend.append(make("span", { textContent: ` ${told.words}` }));
  });

  page.ready(keys);
  return () => { clearTimeout(saying); clearTimeout(hovering); page.close(); };
}
export default { render };
