// Rows of recorded and predicted values on one time axis, with the cursor.

const FILL = 0.78; // share of a row's height for its curves; the label has the rest
const LOW = 44; // lower rows have their labels in a column on the left
const LABEL = 17; // height of a label above its curves
const MIN_ROW = 15; // height of a label; more rows than fit can be scrolled
const LABELS = 104, MARK = 26, MAX_LABELS_SHARE = 0.55; // widths of that column
const BAR_PLACE = 0.985, PREDICTED_BAR_PLACE = 0.975; // of scale bars on the time axis
const AXIS_HEIGHT = 18, STACK_RIGHT = 8;
const SHADES = [0, 0.18, 0.09, 0]; // opacity by state
const CURVE_DASHES = { predicted: [3, 2], baseline: [1, 2] };
const LIMITS = ["low", "high"]; // of a band, among the curves
const FONT = "11px system-ui, sans-serif";

// Colours are those of a dark page. On a light one dark and light are exchanged and hues stay: the
// numbers are those of `invert(1) hue-rotate(180deg)`. The page would apply a filter of the
// style sheet again in each of its frames, also while another part is painted.
const IS_LIGHT = '[data-jp-theme-light="true"]';
const EXCHANGE = [[-0.574, 1.43, 0.144], [0.426, 0.43, 0.144], [0.426, 1.43, -0.856]];
function exchanged(hex) {
  const inverse = [1, 3, 5].map((k) => 255 - parseInt(hex.slice(k, k + 2), 16));
  const parts = EXCHANGE.map((row) => Math.round(clamp(row.reduce((sum, each, k) => sum + each * inverse[k], 0), 0, 255)));
  return `#${parts.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}

function traceStack(parent, { name, label, texts, colours, height, onMove, onStep, keys = {}, onClose }) {
  const pane = make("div", { className: "omnimouse-pane" });
  const sizer = make("div", {}, pane);
  const box = make("div", { className: "omnimouse-stack" }, sizer);
  const cursor = make("div", { className: "omnimouse-cursor", hidden: true });
  const empty = make("div", { className: "omnimouse-empty", role: "status", hidden: true });
  // For screen readers: all rows, and an announcement of changes.
  const list = make("ul", { className: "omnimouse-unseen", aria: { label } });
  const live = make("div", { className: "omnimouse-unseen", aria: { live: "polite" } });
  parent.append(box, list, live);
  let isDark = true;
  const coloured = (colour) => (isDark ? colour : exchanged(colour));

  let content = null; // the latest message, with its curves and shades
  let layout = { left: 0, row: MIN_ROW, x: () => 0, time: () => 0 };
  let tall = height, cursorAt = null, isDragged = false, liveTimer = 0;
  const { canvas, request, resize, size } = canvasOf(pane, {
    className: "omnimouse-rows", label, keys: texts.trace_keys, height, draw, onClose,
  });
  pane.append(cursor, empty);
  box.addEventListener("scroll", request);
  const theme = new MutationObserver(request);
  theme.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
  onClose(() => theme.disconnect());

  // -- layout --------------------------------------------------------------------------
  function measure(width) {
    const n = Math.max(content.rows.length, 1);
    const row = Math.max((tall - AXIS_HEIGHT) / n, MIN_ROW);
    const marks = Math.max(0, ...content.rows.map((each) => each.marks.length));
    const left = row < LOW ? Math.min(LABELS + MARK * marks, MAX_LABELS_SHARE * width) : 0;
    const { start_s, stop_s } = content, inner = width - left - STACK_RIGHT;
    sizer.style.height = `${Math.max(Math.round(row * n) + AXIS_HEIGHT, tall)}px`;
    layout = {
      left, row, isLow: row < LOW,
      x: (time_s) => left + (time_s - start_s) / (stop_s - start_s) * inner,
      time: (x) => start_s + clamp((x - left) / inner, 0, 1) * (stop_s - start_s),
    };
  }
  function placeCursor() {
    const x = content?.rows.length && cursorAt !== null ? layout.x(cursorAt) : -1;
    cursor.hidden = x < layout.left || x > size()[0];
    cursor.style.transform = `translateX(${x}px)`;
  }

  // -- drawing -------------------------------------------------------------------------
  function draw(context, width, height) {
    const since = performance.now();
    isDark = !parent.closest(IS_LIGHT);
    drawRows(context, width, height);
    drawCursor(isDark ? colours.cursor : colours.cursor_on_light);
    placeCursor();
    if (!content?.rows.length || !globalThis.omnimouseProbe) return;
    const drawn = { name, request: content.request, rows: content.rows.length, ms: performance.now() - since };
    afterPaint(() => probe("drawn", drawn));
  }
  // The line leaves out the labels above the curves, whose letters it would cross.
  function drawCursor(colour) {
    const { row, isLow } = layout;
    cursor.style.background = isLow ? colour
      : `repeating-linear-gradient(transparent 0 ${LABEL}px, ${colour} ${LABEL}px ${row}px) 0 ${-(box.scrollTop % row)}px / 100% ${row}px`;
  }
  // The rows in view as a picture, in the colours of a dark page.
  function picture() {
    const [width, height] = size(), copy = make("canvas", { width, height });
    isDark = true;
    drawRows(copy.getContext("2d"), width, height);
    return copy;
  }
  function drawRows(context, width, height) {
    context.clearRect(0, 0, width, height);
    if (!content?.rows.length) return;
    measure(width);
    // Only the rows in view.
    const { row } = layout, scrolled = box.scrollTop, inner = height - AXIS_HEIGHT;
    const first = Math.max(Math.floor(scrolled / row), 0);
    const last = Math.min(Math.ceil((scrolled + inner) / row), content.rows.length);
    const rows = [];
    for (let at = first; at < last; at++) rows.push({ ...content.rows[at], at, top: at * row - scrolled });
    context.font = FONT;
    drawAxis(context, width, height);
    context.save();
    context.beginPath();
    context.rect(0, 0, width, inner);
    context.clip();
    drawShades(context, rows);
    drawBars(context, rows);
    drawBand(context, rows);
    content.curves.forEach((curve, number) => {
      if (!LIMITS.includes(curve)) drawCurve(context, rows, curve, number);
    });
    drawLabels(context, rows, width);
    context.restore();
  }
  function drawAxis(context, width, height) {
    // Labels at least 80 pixels apart.
    const { start_s, stop_s } = content;
    const step = roundStep((stop_s - start_s) * 80 / (width - layout.left));
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    context.strokeStyle = coloured(colours.axis);
    context.lineWidth = 1;
    context.beginPath();
    for (let k = Math.ceil(start_s / step); k * step <= stop_s; k++) {
      const x = Math.round(layout.x(k * step)) + 0.5, label = `${(k * step).toFixed(digits).replace("-", "−")} s`;
      const half = context.measureText(label).width / 2;
      context.moveTo(x, height - AXIS_HEIGHT);
      context.lineTo(x, height - AXIS_HEIGHT + 3);
      if (x - half >= 0 && x + half <= width) drawText(context, label, x, height - 2, coloured(colours.axis), { size: 11, baseline: "bottom" });
    }
    context.stroke();
  }
  function drawShades(context, rows) {
    const [from, to] = content.shade_s, n = content.n_shades, x0 = layout.x(from);
    const step = (layout.x(to) - x0) / n, gap = Math.max(layout.row / 24, 1);
    for (const { at, top } of rows)
      for (let a = 0, b; a < n; a = b) {
        const code = content.shades[at * n + a]; // a run of samples in one state
        for (b = a + 1; b < n && content.shades[at * n + b] === code;) b++;
        if (!SHADES[code]) continue;
        context.globalAlpha = SHADES[code];
        context.fillStyle = coloured(colours.states[code]);
        context.fillRect(x0 + a * step, top, (b - a) * step, layout.row - gap);
      }
    context.globalAlpha = 1;
  }
  function drawBars(context, rows) {
    const place = (share) => layout.x(content.start_s + share * (content.stop_s - content.start_s));
    const drawBar = (share, colour, { top, span }, bar) => {
      const high = bar * FILL / span * layout.row;
      context.fillStyle = coloured(colour);
      context.fillRect(place(share) - 1.5, top + (1 - FILL / 2) * layout.row - high / 2, 3, high);
    };
    for (const row of rows) {
      drawBar(BAR_PLACE, colours.axis, row, row.bar);
      drawBar(PREDICTED_BAR_PLACE, colours.predicted, row, row.predicted_bar);
    }
  }
  // The area between the limits of a band, clipped to its row.
  function drawBand(context, rows) {
    const [low, high] = LIMITS.map((name) => content.curves.indexOf(name));
    if (low < 0) return;
    const x0 = layout.x(content.start_s), step = layout.x(content.start_s + 1) - x0;
    context.fillStyle = coloured(colours.band);
    context.globalAlpha = 0.4;
    for (const { at, axis, low: least, span, top } of rows) {
      const { begin, length } = content.axes[axis], scale = FILL * layout.row / span;
      const value = (number, k) => content.numbers[content.starts[at] + number * length + k];
      const point = (number, k) => [
        x0 + content.numbers[begin + k] * step,
        clamp(top + layout.row - (value(number, k) - least) * scale, top, top + layout.row),
      ];
      const isKnown = (k) => value(low, k) === value(low, k); // not NaN
      for (let a = 0, b; a < length; a = b) {
        for (b = a; b < length && isKnown(b);) b++;
        if (b === a) { b++; continue; }
        context.beginPath();
        for (let k = a; k < b; k++) context.lineTo(...point(high, k));
        for (let k = b - 1; k >= a; k--) context.lineTo(...point(low, k));
        context.fill();
      }
    }
    context.globalAlpha = 1;
  }
  // All rows of a curve are one path: a stroke call per row would cost more than the lines.
  function drawCurve(context, rows, curve, number) {
    const isStale = curve === "predicted" ? content.is_stale : curve === "baseline" && content.is_baseline_stale;
    context.strokeStyle = coloured(colours[curve] ?? colours.pins[Number(curve)]);
    context.globalAlpha = isStale ? 0.5 : 1;
    context.lineWidth = 1;
    context.lineJoin = "bevel";
    context.setLineDash(CURVE_DASHES[curve] ?? []);
    context.beginPath();
    for (const { at, axis, low, span, top } of rows) {
      const { begin, length } = content.axes[axis], values = content.starts[at] + number * length;
      const bottom = top + layout.row, scale = FILL * layout.row / span;
      const x0 = layout.x(content.start_s), step = layout.x(content.start_s + 1) - x0;
      let isOn = false;
      for (let k = 0; k < length; k++) {
        const value = content.numbers[values + k];
        if (value !== value) { isOn = false; continue; } // NaN: a gap
        const x = x0 + content.numbers[begin + k] * step, y = bottom - (value - low) * scale;
        if (isOn) context.lineTo(x, y);
        else context.moveTo(x, y);
        isOn = true;
      }
    }
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
  }
  // All rows have the same form: the longest that fits in each of them.
  function drawLabels(context, rows, width) {
    const maxWidth = layout.isLow ? layout.left - 6 : width - 12;
    const forms = [[false, true], [true, true], [true, false]].slice(layout.isLow ? 2 : 0);
    const textsOf = ({ label: long, short, predicted_bar_text: bar, marks }, [isShort, hasLetters]) => [
      [isShort ? short : long, colours.text],
      ...(bar && !isShort ? [[` ${bar}`, colours.predicted]] : []),
      ...marks.map(([letter, score, colour]) => [hasLetters ? ` · ${letter} ${score}` : ` ${score}`, colour])];
    context.font = FONT;
    const lengthOf = (texts) => context.measureText(texts.map(([text]) => text).join("")).width;
    const form = forms.find((each) => rows.every((row) => lengthOf(textsOf(row, each)) <= maxWidth)) ?? forms.at(-1);
    for (const row of rows) drawLabel(context, textsOf(row, form), row.top, maxWidth);
  }
  function drawLabel(context, texts, top, maxWidth) {
    const y = top + (layout.isLow ? Math.min(layout.row, LOW) / 2 : 9);
    const widths = texts.map(([text]) => context.measureText(text).width);
    const total = widths.reduce((sum, each) => sum + each, 0);
    context.fillStyle = coloured(colours.ground);
    context.globalAlpha = 0.55;
    context.fillRect(2, y - 7, Math.min(total, maxWidth) + 6, 14);
    context.globalAlpha = 1;
    context.save();
    context.beginPath();
    context.rect(4, y - 8, maxWidth, 16);
    context.clip();
    let x = 5;
    texts.forEach(([text, colour], k) => {
      drawText(context, text, x, y, coloured(colour), { size: 11, align: "left", baseline: "middle" });
      x += widths[k];
    });
    context.restore();
  }

  // -- pointer and keys ----------------------------------------------------------------
  const moveCursor = (event) => {
    const time_s = layout.time(event.clientX - canvas.getBoundingClientRect().left);
    cursorAt = time_s;
    placeCursor();
    onMove(time_s);
  };
  canvas.addEventListener("pointerdown", (event) => {
    const x = event.clientX - canvas.getBoundingClientRect().left;
    if (event.button || !content?.rows.length || x < layout.left) return;
    isDragged = true;
    canvas.setPointerCapture(event.pointerId);
    moveCursor(event);
  });
  canvas.addEventListener("pointermove", (event) => { if (isDragged) moveCursor(event); });
  const release = () => { isDragged = false; };
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(end, release);
  const scroll = (by) => () => { box.scrollTop += by * layout.row; };
  const scrollTo = (to) => () => { box.scrollTop = to; };
  bindKeys(canvas, {
    ArrowLeft: () => onStep({ samples: -1 }), ArrowRight: () => onStep({ samples: 1 }),
    "Shift+ArrowLeft": () => onStep({ windows: -1 }), "Shift+ArrowRight": () => onStep({ windows: 1 }),
    ArrowUp: scroll(-1), ArrowDown: scroll(1),
    Home: scrollTo(0), End: scrollTo(Number.MAX_SAFE_INTEGER),
    ...keys,
  });

  // -- messages of the kernel ----------------------------------------------------------
  // `buffers` are the numbers (float32) and the shades (uint8).
  function show(message, buffers) {
    content = message;
    if (message.rows.length) {
      [content.numbers, content.shades] = buffers;
      // The numbers are the time axes, then all curves of each row: see `rows_message`.
      let place = 0;
      const take = (length) => { place += length; return place - length; };
      content.axes = message.lengths.map((length) => ({ begin: take(length), length }));
      content.starts = message.rows.map(({ axis }) => take(content.axes[axis].length * message.curves.length));
      measure(size()[0]);
    } else sizer.style.height = `${tall}px`;
    empty.textContent = message.missing;
    empty.hidden = !message.missing;
    const told = message.rows.map(({ label: long, predicted_bar_text: bar, marks }) =>
      [bar ? `${long} ${bar}` : long, ...marks.map(([letter, score]) => `${letter} ${score}`)].join(" · "));
    list.replaceChildren(...told.map((text) => make("li", { textContent: text })));
    // After a pause: a screen reader would read every step of a stroke.
    clearTimeout(liveTimer);
    liveTimer = setTimeout(() => {
      const summary = told.length > 4 ? texts.rows.replace("{}", told.length) : told.join("; ");
      if (live.textContent !== summary) live.textContent = summary;
    }, 800);
    request();
  }
  function moveTo(time_s) {
    if (isDragged) return; // the page is ahead of the kernel
    cursorAt = time_s;
    placeCursor();
  }
  function setHeight(to) {
    tall = to;
    box.style.height = `${to}px`;
    resize(to);
  }
  onClose(() => clearTimeout(liveTimer));
  return { canvas, show, moveTo, setHeight, picture };
}
