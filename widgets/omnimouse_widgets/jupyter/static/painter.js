// Painter: pixels of the field, the neurons that own them, and strokes. A stroke changes
// the pixels in the page at once; the kernel receives the neurons in small messages.

const HOVER_MS = 60;
const TOUCH_SLOP = 6; // pixels that a finger moves before it paints: a second may follow
const CLICK_SLOP = 4; // pixels that a click may move
const MAX_HEIGHT = 560; // CSS pixels
const UNSENT = Infinity; // instead of a `seq`: painted here, not sent yet
const WHITE = [255, 255, 255, 255];

function render({ model, el }) {
  let field = null; // pixels and neurons of the open recording
  let shown = { number: null, names: [], region: null }; // the imaging planes
  let outlines = []; // of the brain areas, if they are shown
  const page = connect({ model, el }, "painter", {
    planes: (message) => { shown = message; if (field) fit(); },
    areas: (message) => { outlines = message.outlines; surface.request(); },
    nothing: () => { field = null; surface.request(); showCounts(); },
    field: (message, buffers) => takeField(message, buffers),
    codes: (message, buffers) => takeCodes(message, buffers),
    patch: (message, buffers) => takePatch(message, buffers),
    steps: (message) => takeSteps(message),
    hovered: (message) => { if (message.to === page.view) hovered.textContent = message.text; },
  });
  const { send, set, follow, texts } = page;
  const COLOURS = model.get("_colours"); // of the states, by code

  // -- controls -----------------------------------------------------------------------
  const addSwitch = ([label, entries], trait, colours) => {
    const buttons = entries.map(([value, text, title]) =>
      makeButton(colours ? [makeSwatch(colours[value]), text] : text, title, () => set(trait, value)));
    follow(trait, (value) => buttons.forEach((button, k) => setPressed(button, entries[k][0] === value)));
    return makeGroup(label, ...buttons);
  };
  const makeNumber = (label, min) => {
    const input = make("input", { type: "number", min, step: 1, title: label, aria: { label } });
    input.style.width = "5em";
    return input;
  };
  const from = makeNumber(texts.span[0], 0);
  const to = makeNumber(texts.span[1], 1);
  from.onchange = to.onchange = () => {
    const [start, stop] = [Number(from.value), Number(to.value)];
    if (start >= 0 && stop <= model.get("_n_samples") && start < stop) set("span", [start, stop]);
    else [from.value, to.value] = model.get("span"); // invalid: show the span again
  };
  follow("_n_samples", (n) => { from.max = n - 1; to.max = n; });
  follow("span", (span) => { [from.value, to.value] = span; });
  const colour = makeSelect(texts.colour_by[0], (value) => set("colour_by", value), texts.colour_by[1]);
  follow("_choices", (choices) => fillSelect(colour, choices, model.get("colour_by")));
  follow("colour_by", (value) => { colour.value = value; });
  const makeGroupMenu = (kind, trait) => {
    const [head, label] = texts[kind];
    const menu = makeSelect(label, (name) => {
      if (name) send(kind, { name, code: model.get("code") });
      menu.value = ""; // the select is a menu of actions, not a choice
    }, label);
    follow(trait, (names) => {
      fillSelect(menu, [["", head], ...names.map((name) => [name, name])], "");
      menu.hidden = !names.length;
    });
    return menu;
  };
  const area = makeGroupMenu("area", "areas");
  const probes = makeGroupMenu("probe", "probes");
  const plane = makeSelect(texts.plane[0], (number) => set("plane", number === "" ? null : Number(number)), texts.plane[1]);
  const showPlane = () => { plane.value = model.get("plane") ?? ""; };
  follow("_planes", (planes) => {
    fillSelect(plane, planes, "");
    plane.hidden = !planes.length;
    showPlane();
  });
  follow("plane", showPlane);
  const outlined = makeButton(...texts.outlined, () => set("areas_shown", !model.get("areas_shown")));
  follow("areas_shown", (isShown) => setPressed(outlined, isShown));
  follow("areas", (areas) => { outlined.hidden = !areas.length; });
  const undo = makeButton(texts.undo[0], "", () => send("undo")), redo = makeButton(texts.redo[0], "", () => send("redo"));
  const takeSteps = (message) =>
    [[undo, "undo"], [redo, "redo"]].forEach(([button, name]) => {
      const [label, key, nothing] = texts[name];
      button.disabled = !message[name];
      button.title = message[name] ? `${label} ${message[name]} (${key})` : nothing;
    });
  const bar = makeBar(
    addSwitch(texts.tools, "tool"),
    addSwitch(texts.codes, "code", COLOURS),
    make("span", { className: "omnimouse-group" }, make("span", { textContent: texts.samples }), from, "–", to),
    colour, plane, outlined, area, probes,
    make("span", { className: "omnimouse-group" }, undo, redo, makeButton(...texts.fit, () => fit())),
  );
  bar.setAttribute("role", "toolbar");
  bar.setAttribute("aria-label", texts.bar);

  const counts = makeStatus("omnimouse-counts");
  counts.setAttribute("aria-live", "polite");
  const legend = makeStatus("omnimouse-legend"), hovered = makeStatus("omnimouse-hovered");
  const stage = make("div", { className: "omnimouse-stage" });
  el.append(bar, stage, counts, legend, hovered);

  // -- pixels -------------------------------------------------------------------------
  // `labels`: 0 background, n + 1 core of neuron n, P + n + 1 its rim. `pixels` lists the
  // pixels of all labels, sorted by label; those of a label begin at `starts[label]`.
  function takeField(message, buffers) {
    if (field?.number === message.number) return; // sent again for another view
    stroke?.pending.clear();
    const [height, width] = message.shape;
    const labels = uint16(buffers[0]);
    const n = message.neurons, nLabels = message.rims ? 2 * n : n;
    // Counting sort: `starts` holds the counts first, then their cumulative sum.
    const starts = new Uint32Array(nLabels + 2);
    for (const label of labels) starts[label + 1] += label > 0;
    for (let label = 1; label < nLabels + 2; label++) starts[label] += starts[label - 1];
    const next = starts.slice(), pixels = new Uint32Array(starts[nLabels + 1]);
    labels.forEach((label, pixel) => { if (label) pixels[next[label]++] = pixel; });
    const canvas = make("canvas", { width, height });
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    field = {
      n, height, width, labels, starts, pixels, canvas, context, image, number: message.number,
      hasRims: message.rims, texts: message.texts, outlines: message.outlines, grey: bytes(buffers[1]), centres: float32(buffers[2]),
      coveredAt: uint32(buffers[3]), coveredBy: uint32(buffers[4]), planes: uint16(buffers[5]),
      umPerPixel: message.um_per_pixel,
      argb: new Uint32Array(image.data.buffer),
      // `codes` is drawn: those of the kernel, with the own strokes over them. `own` maps
      // neurons painted here to the `seq` of their message.
      codes: new Uint8Array(n), kernelCodes: new Uint8Array(n), own: new Map(),
      colours: null, stateColours: null, colourBy: "state", changed: null,
    };
    adjustHeight();
    fit();
    showCounts();
  }
  const neuronOf = (label) => (label > field.n ? label - field.n - 1 : label - 1);
  // RGBA of the core or the rim of a neuron.
  const colourOf = (neuron, isRim) => {
    const { codes, colours, stateColours, colourBy, own, n } = field;
    if (selected.has(neuron) && (isRim || !field.hasRims)) return WHITE;
    // A neuron painted here has no score yet, and its rim shows the new state.
    const isPainted = own.has(neuron) && (colourBy === "score" || isRim);
    const [table, row] = colours && !isPainted
      ? [colours, (isRim ? n : 0) + neuron]
      : [stateColours, (isRim ? 5 : 0) + codes[neuron]];
    return table.subarray(4 * row, 4 * row + 4);
  };
  // Extends the rectangle of pixels that the next drawing copies to the canvas.
  const markChanged = (x0, y0, x1, y1) => {
    const box = (field.changed ??= [x0, y0, x1, y1]);
    box[0] = Math.min(box[0], x0); box[1] = Math.min(box[1], y0);
    box[2] = Math.max(box[2], x1); box[3] = Math.max(box[3], y1);
  };
  const paintLabel = (label, [red, green, blue, opacity]) => {
    const { starts, pixels, argb, grey, width } = field;
    const share = opacity / 255;
    for (let k = starts[label]; k < starts[label + 1]; k++) {
      const pixel = pixels[k], x = pixel % width, y = (pixel / width) | 0;
      const rest = grey[pixel] * (1 - share);
      // The bytes of a pixel are red, green, blue, opacity; a number has them reversed.
      argb[pixel] = (0xff000000 | ((blue * share + rest) << 16) | ((green * share + rest) << 8) | (red * share + rest)) >>> 0;
      markChanged(x, y, x, y);
    }
  };
  const paintNeuron = (neuron) => {
    paintLabel(neuron + 1, colourOf(neuron, false));
    if (field.hasRims) paintLabel(field.n + neuron + 1, colourOf(neuron, true));
  };
  const paintAll = () => {
    const { labels, argb, grey, n } = field;
    for (let pixel = 0; pixel < labels.length; pixel++)
      if (!labels[pixel]) argb[pixel] = (0xff000000 | (grey[pixel] * 0x10101)) >>> 0;
    for (let neuron = 0; neuron < n; neuron++) paintNeuron(neuron);
    markChanged(0, 0, field.width - 1, field.height - 1);
    surface.request();
  };
  function takeCodes(message, buffers) {
    if (!field) return;
    field.kernelCodes = bytes(buffers[0]);
    field.stateColours = bytes(buffers[1]);
    field.colours = buffers[2] ? bytes(buffers[2]) : null;
    field.colourBy = message.colour_by;
    releaseHandled(message);
    field.kernelCodes.forEach((code, neuron) => { if (!field.own.has(neuron)) field.codes[neuron] = code; });
    paintAll();
    showCounts();
    probe("codes", { view: page.view });
  }
  function takePatch(message, buffers) {
    if (!field) return;
    const neurons = uint32(buffers[0]), codes = bytes(buffers[1]);
    neurons.forEach((neuron, k) => { field.kernelCodes[neuron] = codes[k]; });
    for (const neuron of new Set([...neurons, ...releaseHandled(message)])) {
      if (field.own.has(neuron) || field.codes[neuron] === field.kernelCodes[neuron]) continue;
      field.codes[neuron] = field.kernelCodes[neuron];
      paintNeuron(neuron);
    }
    surface.request();
    showCounts();
    probe("patch", { view: page.view, n: neurons.length });
  }
  // Neurons whose message was handled, or rejected, show the kernel's state again.
  const releaseHandled = (message) => {
    const handled = message.handled[page.view] ?? 0;
    const neurons = [...field.own].filter(([, seq]) => seq <= handled).map(([neuron]) => neuron);
    neurons.forEach((neuron) => field.own.delete(neuron));
    return neurons;
  };
  const selected = new Set();
  follow("selection", (neurons) => {
    const before = [...selected];
    selected.clear();
    neurons.forEach((neuron) => selected.add(neuron));
    if (!field?.stateColours) return;
    // The selection is set after the session: it may be of another recording.
    new Set([...before, ...neurons]).forEach((neuron) => { if (neuron < field.n) paintNeuron(neuron); });
    surface.request();
  });

  // -- zoom: pixels of the field to CSS pixels ------------------------------------------
  const view = { zoom: 1, x: 0, y: 0, fitted: null }; // `fitted`: canvas size of the last fit
  const fit = () => {
    if (!field) return;
    const [width, height] = surface.size();
    const [top, left, bottom, right] = shown.region ?? [0, 0, field.height, field.width];
    view.zoom = Math.min(width / (right - left), height / (bottom - top));
    view.x = (width - (left + right) * view.zoom) / 2;
    view.y = (height - (top + bottom) * view.zoom) / 2;
    view.fitted = [width, height];
    surface.request();
  };
  const zoomAt = (factor, x, y) => {
    const zoom = clamp(view.zoom * factor, 0.2, 40);
    // The point under the pointer stays in its place.
    view.x = x - ((x - view.x) * zoom) / view.zoom;
    view.y = y - ((y - view.y) * zoom) / view.zoom;
    view.zoom = zoom;
    view.fitted = null;
    surface.request();
  };
  const centre = () => surface.size().map((length) => length / 2);
  const toField = ([x, y]) => [(x - view.x) / view.zoom, (y - view.y) / view.zoom];

  let pointer = null; // position of the brush, in CSS pixels
  let outline = null; // corners of a lasso or rectangle, in CSS pixels
  const draw = (context, width, height) => {
    context.fillStyle = "#16181d";
    context.fillRect(0, 0, width, height);
    if (!field) {
      drawText(context, texts.no_session, 12, 24, "#d6d9df", { size: 13, align: "left" });
      return;
    }
    if (view.fitted && view.fitted[0] !== width) adjustHeight();
    if (view.fitted && (view.fitted[0] !== width || view.fitted[1] !== height)) fit();
    if (field.changed) {
      const [x0, y0, x1, y1] = field.changed;
      field.context.putImageData(field.image, 0, 0, x0, y0, x1 - x0 + 1, y1 - y0 + 1);
      field.changed = null;
    }
    context.imageSmoothingEnabled = view.zoom < 2;
    context.save();
    if (shown.region) { // without the parts of the other planes
      const [top, left, bottom, right] = shown.region;
      context.beginPath();
      context.rect(view.x + left * view.zoom, view.y + top * view.zoom, (right - left) * view.zoom, (bottom - top) * view.zoom);
      context.clip();
    }
    context.drawImage(field.canvas, view.x, view.y, field.width * view.zoom, field.height * view.zoom);
    field.texts.forEach(([y, x, words]) => drawText(context, words, view.x + x * view.zoom, view.y + y * view.zoom, "#cccccc", { size: 12, baseline: "middle" }));
    field.outlines.forEach((path) => drawPath(context, view, path, "#8b919a"));
    drawOutlines(context, view, outlines, shown.number, field.outlines.length > 0);
    context.restore();
    shown.names.forEach(([y, x, words]) => { if (words) drawLabel(context, words, view.x + x * view.zoom + 6, view.y + y * view.zoom + 4); });
    drawScaleBar(context, view, field.umPerPixel, width, height);
    context.lineWidth = 1.5;
    context.strokeStyle = model.get("code") ? COLOURS[model.get("code")] : "#ffffff";
    if (outline) {
      context.beginPath();
      outline.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.closePath();
      context.stroke();
    } else if (pointer && model.get("tool") === "brush") {
      context.beginPath();
      context.arc(...pointer, model.get("radius"), 0, 2 * Math.PI);
      context.stroke();
      context.strokeStyle = "rgba(0,0,0,0.6)"; // a dark edge, for bright images
      context.lineWidth = 0.5;
      context.stroke();
    }
  };
  const surface = canvasOf(stage, {
    className: "omnimouse-field",
    label: texts.field,
    keys: texts.keys,
    height: 480,
    draw,
    onClose: page.onClose,
  });
  // The height of the field at this width, up to that of a screen.
  const adjustHeight = () => {
    const height = Math.min(MAX_HEIGHT, Math.round((surface.size()[0] * field.height) / field.width));
    if (height !== surface.size()[1]) surface.resize(height);
  };
  const canvas = surface.canvas;
  canvas.style.cursor = "crosshair";

  // -- touched neurons ------------------------------------------------------------------
  const addIfOther = (neuron, touched) => {
    if (shown.number !== null && field.planes[neuron] !== shown.number) return;
    if (neuron >= 0 && field.codes[neuron] !== model.get("code")) touched.add(neuron);
  };
  // Adds the neurons with a pixel in a disk; a pixel can belong to a second neuron.
  const addInDisk = (x, y, radius, touched) => {
    const { width, height, labels, coveredAt, coveredBy } = field;
    const top = Math.max(0, Math.ceil(y - radius)), bottom = Math.min(height - 1, Math.floor(y + radius));
    for (let row = top; row <= bottom; row++) {
      const half = Math.sqrt(radius * radius - (row - y) ** 2);
      const first = Math.max(0, Math.ceil(x - half)), last = Math.min(width - 1, Math.floor(x + half));
      for (let column = first; column <= last; column++) {
        const label = labels[row * width + column];
        if (label) addIfOther(neuronOf(label), touched);
      }
      if (!coveredAt.length || last < first) continue;
      const end = row * width + last;
      for (let k = lowerBound(coveredAt, row * width + first); coveredAt[k] <= end; k++) addIfOther(coveredBy[k], touched);
    }
  };
  // Neurons that the brush touches between two positions, in steps of half its radius.
  const touchedBetween = (a, b) => {
    // At least 0.71 pixels: every disk then contains the centre of a pixel.
    const touched = new Set(), radius = Math.max(0.71, model.get("radius") / view.zoom);
    const [x0, y0] = toField(a), [x1, y1] = toField(b);
    const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / Math.max(0.5, radius / 2)));
    for (let step = 1; step <= steps; step++)
      addInDisk(x0 + ((x1 - x0) * step) / steps, y0 + ((y1 - y0) * step) / steps, radius, touched);
    return touched;
  };
  // Neurons with their centre in a polygon: an odd number of edges to one side.
  const touchedInside = (corners) => {
    const points = corners.map(toField), touched = new Set();
    for (let neuron = 0; neuron < field.n; neuron++) {
      const y = field.centres[2 * neuron], x = field.centres[2 * neuron + 1];
      let isInside = false;
      for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
        const [xi, yi] = points[i], [xj, yj] = points[j];
        if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) isInside = !isInside;
      }
      if (isInside) addIfOther(neuron, touched);
    }
    return touched;
  };

  // -- strokes --------------------------------------------------------------------------
  let stroke = null; // code, and the neurons that are not sent yet
  const strokes = page.strokes((seq) => {
    if (!stroke?.pending.size) return null;
    const neurons = Uint32Array.from(stroke.pending);
    neurons.forEach((neuron) => field.own.set(neuron, seq));
    stroke.pending.clear();
    return [{ code: stroke.code, field: field.number }, [neurons.buffer]];
  });
  const begin = () => {
    stroke = { code: model.get("code"), pending: new Set() };
    strokes.begin({ code: stroke.code });
  };
  const paint = (touched, since) => {
    touched.forEach((neuron) => {
      field.codes[neuron] = stroke.code;
      field.own.set(neuron, UNSENT);
      stroke.pending.add(neuron);
      paintNeuron(neuron);
    });
    surface.request();
    if (!touched.size) return;
    strokes.soon();
    showCounts();
    if (globalThis.omnimouseProbe) afterPaint(() => probe("painted", { n: touched.size, took: performance.now() - since }));
  };
  const end = () => {
    if (!stroke) return;
    strokes.end();
    stroke = null;
  };
  const cancel = () => { outline = null; drag = null; end(); surface.request(); };
  page.onLeave(cancel);

  // -- pointers -------------------------------------------------------------------------
  const positionOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const fingers = new Map();
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (!field?.stateColours || event.button > 1) return;
    clearTimeout(hovering); // no hover text during a stroke
    hovering = 0;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    const at = positionOf(event);
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
    paint(touchedBetween(drag.last, drag.last), event.timeStamp);
  };
  const spread = () => {
    const [[ax, ay], [bx, by]] = [...fingers.values()];
    return { distance: Math.hypot(ax - bx, ay - by), middle: [(ax + bx) / 2, (ay + by) / 2] };
  };
  const isFar = ([x, y], slop) => Math.hypot(pointer[0] - x, pointer[1] - y) > slop;
  canvas.addEventListener("pointermove", (event) => {
    pointer = positionOf(event);
    if (!drag) { hover(); surface.request(); return; }
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, pointer);
    if (drag.kind === "pinch" && fingers.size === 2) {
      const now = spread();
      view.x += now.middle[0] - drag.middle[0];
      view.y += now.middle[1] - drag.middle[1];
      zoomAt(now.distance / Math.max(1, drag.distance), ...now.middle);
      Object.assign(drag, now);
    } else if (drag.kind === "pan") {
      if (drag.at && isFar(drag.at, CLICK_SLOP)) drag.picks = false;
      view.x += pointer[0] - drag.last[0];
      view.y += pointer[1] - drag.last[1];
      view.fitted = null;
      drag.last = pointer;
    } else if (drag.kind === "brush") {
      if (drag.waits && !isFar(drag.last, TOUCH_SLOP)) return;
      if (drag.waits) press(event);
      // The browser merges fast moves into one event; the path needs all of them.
      const moves = event.getCoalescedEvents?.() ?? [];
      for (const move of moves.length ? moves : [event]) {
        const at = positionOf(move);
        paint(touchedBetween(drag.last, at), move.timeStamp);
        drag.last = at;
      }
    } else if (drag.kind === "lasso") outline.push(pointer);
    else if (drag.kind === "rectangle") {
      const [[x0, y0], [x1, y1]] = [drag.at, pointer];
      outline = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
    }
    surface.request();
  });
  const release = (event) => {
    fingers.delete(event.pointerId);
    if (drag?.waits && event.type === "pointerup") press(event);
    const ended = drag;
    drag = null;
    if (!ended) return;
    if (ended.kind === "brush") end();
    if (ended.kind === "pick" || ended.picks) pick(ended.at, ended.add);
    // A cancelled pointer paints nothing: the browser took it for another gesture.
    if ((ended.kind === "lasso" || ended.kind === "rectangle") && event.type === "pointerup") {
      begin();
      paint(touchedInside(outline), event.timeStamp);
      end();
    }
    outline = null;
    surface.request();
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => { if (!drag) { pointer = null; hovered.textContent = ""; surface.request(); } });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the notebook
    event.preventDefault();
    zoomAt(Math.exp(-event.deltaY / 300), ...positionOf(event));
  }, { passive: false });
  // The kernel has integer coordinates at the centres of pixels.
  const kernelPosition = (at) => { const [x, y] = toField(at); return { x: x - 0.5, y: y - 0.5 }; };
  const pick = (at, add) => send("pick", { ...kernelPosition(at), add: Boolean(add) });
  let hovering = 0;
  const hover = () => {
    hovering ||= setTimeout(() => {
      hovering = 0;
      if (!field || !pointer) return;
      const [x, y] = toField(pointer).map(Math.floor);
      const isOnNeuron = x >= 0 && y >= 0 && x < field.width && y < field.height && field.labels[y * field.width + x];
      if (isOnNeuron) send("hover", kernelPosition(pointer));
      else hovered.textContent = "";
    }, HOVER_MS);
  };

  // -- keys -----------------------------------------------------------------------------
  const move = (dx, dy) => () => {
    const [width, height] = surface.size(), step = model.get("radius");
    pointer ??= centre();
    pointer = [clamp(pointer[0] + dx * step, 0, width), clamp(pointer[1] + dy * step, 0, height)];
    hover();
    surface.request();
  };
  const grow = (factor) => () => set("radius", clamp(model.get("radius") * factor, 2, 200));
  const choose = (trait, value) => () => set(trait, value);
  const stamp = (event) => {
    if (!field?.stateColours || event.repeat) return;
    const at = pointer ?? centre();
    if (model.get("tool") === "select") { pick(at, event.shiftKey); return; }
    begin();
    paint(touchedBetween(at, at), event.timeStamp);
    end();
  };
  const keys = {
    ...commonKeys(send),
    ArrowLeft: move(-1, 0), ArrowRight: move(1, 0), ArrowUp: move(0, -1), ArrowDown: move(0, 1),
    " ": stamp, Enter: stamp, "[": grow(0.8), "]": grow(1.25), c: () => send("toggle_colours"),
    // As traits: the button of the code is pressed without waiting for the kernel.
    1: choose("code", 1), 2: choose("code", 0), 3: choose("code", 2),
    p: choose("tool", "brush"), l: choose("tool", "lasso"), r: choose("tool", "rectangle"), s: choose("tool", "select"),
    "+": () => zoomAt(1.25, ...centre()), "-": () => zoomAt(0.8, ...centre()),
    Home: fit, "Ctrl+y": () => send("redo"),
    Escape: cancel,
  };
  bindKeys(canvas, keys);
  follow("radius", () => surface.request());
  follow("code", () => surface.request());
  follow("tool", (tool) => { canvas.style.cursor = tool === "select" ? "grab" : "crosshair"; surface.request(); });

  // -- texts ----------------------------------------------------------------------------
  let counting = 0;
  function showCounts() {
    // Ten times per second: a stroke changes the counts with every move.
    counting ||= setTimeout(() => {
      counting = 0;
      const n = [0, 0, 0, 0];
      field?.codes.forEach((code) => { n[Math.min(code, 3)]++; });
      const parts = texts.order.slice(0, 3).map((code) => `${texts.states[code]} ${n[code].toLocaleString("en")}`);
      if (model.get("changes")) parts.push(model.get("changes")); // the page does not know first and last states
      counts.textContent = field ? [...parts, texts.painted.replace("{}", model.get("span").join("–"))].join(" · ") : "";
    }, 100);
  }
  follow("changes", showCounts);
  follow("_legend", (message) => {
    legend.replaceChildren();
    const addEntry = (colour, label, shape, fill = shape === "ring" ? "transparent" : colour) => {
      const mark = make("span", { className: `omnimouse-swatch omnimouse-${shape}` });
      mark.style.background = fill;
      mark.style.borderColor = colour;
      legend.append(make("span", { className: "omnimouse-entry" }, mark, label));
    };
    if (message.label === undefined)
      texts.order.forEach((code) => addEntry(COLOURS[code], texts.states[code], code === 2 ? "ring" : "disk"));
    else if (message.entries) message.entries.forEach(([name, colour]) => addEntry(colour, name, "disk"));
    else {
      const bar = make("span", { className: "omnimouse-scale" });
      bar.style.background = message.bar;
      const [low, high] = [message.low, message.high].map((end) => end.replaceAll(" ", "\u00a0")); // no line ends after ≤
      legend.append(make("span", { className: "omnimouse-entry" },
        `${message.label} ${low}`, bar, message.middle ? `${high} · ${message.middle}` : high,
      ));
    }
    // Cores have the colours of the quantity; the rings of the states stay.
    message.outlines?.forEach(([code, colour]) => addEntry(colour, texts.states[code], "ring"));
    message.unmarked?.forEach(([label, fill, colour]) => addEntry(colour, label, "ring", fill));
    addEntry("#ffffff", texts.selected, "ring");
    if (message.text) legend.append(make("span", { textContent: ` ${message.text} ` }));
    if (message.action) {
      const button = makeButton(message.label_of_action, message.help, () => send("compute"));
      legend.append(button);
    }
  });

  page.ready(keys);
  return () => { clearTimeout(counting); clearTimeout(hovering); page.close(); };
}
export default { render };
