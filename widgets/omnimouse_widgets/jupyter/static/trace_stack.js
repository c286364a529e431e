// Rows of recorded against predicted values on one time axis, with the shared cursor.
// It draws the rows it is given; the parts that use it know what a row means.

const FILL = 0.78; // share of a row's height for its curves; the label has the rest
const LOW = 44; // rows lower than this have their labels in a gutter
const LEAST = 15; // a label's height: where there are more rows than fit, they scroll
const GUTTER = 104, MARK = 26, GUTTER_SHARE = 0.55;
const BAR_AT = 0.985, AXIS_HEIGHT = 18, RIGHT = 8;
const SHADES = [0, 0.18, 0.09, 0]; // opacity by state
const DASHES = { predicted: [3, 2], baseline: [1, 2] };
const FONT = "11px system-ui, sans-serif";
const STACK_KEYS = "← → move the cursor (Shift: the window) · ↑ ↓ scroll the rows";

function traceStack(parent, { name, label, colours, height, moved, stepped, keys = {}, onClose }) {
  const pane = make("div", { className: "omnimouse-pane" });
  const sizer = make("div", {}, pane);
  const box = make("div", { className: "omnimouse-stack" }, sizer);
  const cursor = make("div", { className: "omnimouse-cursor", hidden: true });
  const empty = make("div", { className: "omnimouse-empty", hidden: true });
  const list = make("ul", { className: "omnimouse-unseen" });
  const live = make("div", { className: "omnimouse-unseen" });
  empty.setAttribute("role", "status");
  list.setAttribute("aria-label", label);
  live.setAttribute("aria-live", "polite");
  cursor.style.background = colours.cursor;
  parent.append(box, list, live);

  let shown = null; // the latest message, with its curves and shades
  let place = { left: 0, row: LEAST, x: () => 0, time: () => 0 };
  let tall = height, cursorAt = null, isDragged = false, liveTimer = 0;
  const { canvas, ask, resize, size } = canvasOf(pane, {
    className: "omnimouse-rows", label, keys: STACK_KEYS, height, draw, onClose,
  });
  pane.append(cursor, empty);
  box.addEventListener("scroll", ask);

  // -- where things stand --------------------------------------------------------------
  function measure(width) {
    const n = Math.max(shown.rows.length, 1), room = tall - AXIS_HEIGHT;
    const row = Math.max(room / n, LEAST);
    const marks = Math.max(0, ...shown.rows.map((each) => each.marks.length));
    const left = row < LOW ? Math.min(GUTTER + MARK * marks, GUTTER_SHARE * width) : 0;
    const { start_s, stop_s } = shown, wide = width - left - RIGHT;
    sizer.style.height = `${Math.max(Math.round(row * n) + AXIS_HEIGHT, tall)}px`;
    place = {
      left, row, isLow: row < LOW,
      x: (time_s) => left + (time_s - start_s) / (stop_s - start_s) * wide,
      time: (x) => start_s + Math.min(Math.max((x - left) / wide, 0), 1) * (stop_s - start_s),
    };
  }
  function placeCursor() {
    const x = shown?.rows.length && cursorAt !== null ? place.x(cursorAt) : -1;
    cursor.hidden = x < place.left || x > size()[0];
    cursor.style.transform = `translateX(${x}px)`;
  }

  // -- drawing -------------------------------------------------------------------------
  function draw(context, width, height) {
    const since = performance.now();
    context.clearRect(0, 0, width, height);
    if (!shown?.rows.length) { placeCursor(); return; }
    measure(width);
    const { row } = place, scrolled = box.scrollTop, room = height - AXIS_HEIGHT;
    const first = Math.max(Math.floor(scrolled / row), 0);
    const last = Math.min(Math.ceil((scrolled + room) / row), shown.rows.length);
    const rows = [];
    for (let at = first; at < last; at++) rows.push({ ...shown.rows[at], at, top: at * row - scrolled });
    context.font = FONT;
    drawAxis(context, width, height);
    context.save();
    context.beginPath();
    context.rect(0, 0, width, room);
    context.clip();
    drawShades(context, rows);
    drawBars(context, rows);
    shown.curves.forEach((curve, number) => drawCurve(context, rows, curve, number));
    rows.forEach((each) => drawLabel(context, each, width));
    context.restore();
    placeCursor();
    const told = { name, answered: shown.answered, rows: rows.length, ms: performance.now() - since };
    if (globalThis.omnimouseProbe) afterPaint(() => probe("drawn", told));
  }
  function drawAxis(context, width, height) {
    const { start_s, stop_s } = shown, wide = width - place.left;
    const step = roundStep((stop_s - start_s) * 80 / wide);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    context.fillStyle = context.strokeStyle = colours.axis;
    context.lineWidth = 1;
    context.textAlign = "center";
    context.textBaseline = "bottom";
    context.beginPath();
    for (let k = Math.ceil(start_s / step); k * step <= stop_s; k++) {
      const x = Math.round(place.x(k * step)) + 0.5, words = `${(k * step).toFixed(digits)} s`;
      const half = context.measureText(words).width / 2;
      context.moveTo(x, height - AXIS_HEIGHT);
      context.lineTo(x, height - AXIS_HEIGHT + 3);
      if (x - half >= 0 && x + half <= width) context.fillText(words, x, height - 2);
    }
    context.stroke();
  }
  function drawShades(context, rows) {
    const [from, to] = shown.shade_s, n = shown.n_shades, x0 = place.x(from);
    const step = (place.x(to) - x0) / n, gap = Math.max(place.row / 24, 1);
    for (const { at, top } of rows)
      for (let a = 0, b; a < n; a = b) {
        const code = shown.shades[at * n + a];
        for (b = a + 1; b < n && shown.shades[at * n + b] === code;) b++;
        if (!SHADES[code]) continue;
        context.globalAlpha = SHADES[code];
        context.fillStyle = colours.states[code];
        context.fillRect(x0 + a * step, top, (b - a) * step, place.row - gap);
      }
    context.globalAlpha = 1;
  }
  function drawBars(context, rows) {
    const x = place.x(shown.start_s + BAR_AT * (shown.stop_s - shown.start_s));
    context.fillStyle = colours.axis;
    for (const { top, span, bar } of rows) {
      const high = bar * FILL / span * place.row;
      context.fillRect(x - 1.5, top + (1 - FILL / 2) * place.row - high / 2, 3, high);
    }
  }
  function drawCurve(context, rows, curve, number) {
    const isStale = curve === "predicted" ? shown.is_stale : curve === "baseline" && shown.is_baseline_stale;
    context.strokeStyle = colours[curve] ?? colours.pins[Number(curve)];
    context.globalAlpha = isStale ? 0.5 : 1;
    context.lineWidth = 1;
    context.lineJoin = "bevel";
    context.setLineDash(DASHES[curve] ?? []);
    context.beginPath();
    for (const { at, axis, low, span, top } of rows) {
      const { begin, length } = shown.axes[axis], values = shown.starts[at] + number * length;
      const bottom = top + place.row, scale = FILL * place.row / span;
      const x0 = place.x(shown.start_s), step = place.x(shown.start_s + 1) - x0;
      let isOn = false;
      for (let k = 0; k < length; k++) {
        const value = shown.numbers[values + k];
        if (value !== value) { isOn = false; continue; }
        const x = x0 + shown.numbers[begin + k] * step, y = bottom - (value - low) * scale;
        if (isOn) context.lineTo(x, y);
        else context.moveTo(x, y);
        isOn = true;
      }
    }
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
  }
  function drawLabel(context, { label: long, short, marks, top }, width) {
    const texts = [[place.isLow ? short : long, colours.text]];
    for (const [letter, score, colour] of marks)
      texts.push([place.isLow ? ` ${score}` : ` · ${letter} ${score}`, colour]);
    const room = place.isLow ? place.left - 6 : width - 12;
    const y = top + (place.isLow ? Math.min(place.row, LOW) / 2 : 9);
    context.textAlign = "left";
    context.textBaseline = "middle";
    const widths = texts.map(([words]) => context.measureText(words).width);
    const wide = Math.min(widths.reduce((sum, each) => sum + each, 0), room);
    context.fillStyle = "rgba(22, 24, 29, 0.55)";
    context.fillRect(2, y - 7, wide + 6, 14);
    context.save();
    context.beginPath();
    context.rect(4, y - 8, room, 16);
    context.clip();
    let x = 5;
    texts.forEach(([words, colour], at) => {
      context.fillStyle = colour;
      context.fillText(words, x, y);
      x += widths[at];
    });
    context.restore();
  }

  // -- the hand ------------------------------------------------------------------------
  const pressed = (event) => {
    const time_s = place.time(event.clientX - canvas.getBoundingClientRect().left);
    cursorAt = time_s;
    placeCursor();
    moved(time_s);
  };
  canvas.addEventListener("pointerdown", (event) => {
    const x = event.clientX - canvas.getBoundingClientRect().left;
    if (event.button || !shown?.rows.length || x < place.left) return;
    isDragged = true;
    canvas.setPointerCapture(event.pointerId);
    pressed(event);
  });
  canvas.addEventListener("pointermove", (event) => { if (isDragged) pressed(event); });
  const released = () => { isDragged = false; };
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(end, released);
  const scroll = (by) => () => { box.scrollTop += by * place.row; };
  const end = (to) => () => { box.scrollTop = to; };
  bindKeys(canvas, {
    ArrowLeft: () => stepped({ samples: -1 }), ArrowRight: () => stepped({ samples: 1 }),
    "Shift+ArrowLeft": () => stepped({ windows: -1 }), "Shift+ArrowRight": () => stepped({ windows: 1 }),
    ArrowUp: scroll(-1), ArrowDown: scroll(1),
    Home: end(0), End: end(Number.MAX_SAFE_INTEGER),
    ...keys,
  });

  // -- what is told --------------------------------------------------------------------
  function show(message, buffers) {
    shown = message;
    if (message.rows.length) {
      shown.numbers = float32(buffers[0]);
      shown.shades = bytes(buffers[1]);
      let at = 0;
      shown.axes = message.lengths.map((length) => { const begin = at; at += length; return { begin, length }; });
      shown.starts = message.rows.map(({ axis }) => {
        const begin = at;
        at += shown.axes[axis].length * message.curves.length;
        return begin;
      });
      measure(size()[0]);
    } else sizer.style.height = `${tall}px`;
    empty.textContent = message.missing;
    empty.hidden = !message.missing;
    const words = message.rows.map(({ label: long, marks }) =>
      [long, ...marks.map(([letter, score]) => `${letter} ${score}`)].join(" · "));
    list.replaceChildren(...words.map((each) => make("li", { textContent: each })));
    clearTimeout(liveTimer);
    liveTimer = setTimeout(() => {
      const said = words.length > 4 ? `${words.length} rows` : words.join("; ");
      if (live.textContent !== said) live.textContent = said;
    }, 800);
    ask();
  }
  function moveTo(time_s) {
    if (isDragged) return;
    cursorAt = time_s;
    placeCursor();
  }
  function setHeight(to) {
    tall = to;
    box.style.height = `${to}px`;
    resize(to);
  }
  onClose(() => clearTimeout(liveTimer));
  return { canvas, show, moveTo, setHeight };
}

// What the colours and lines mean, on the plots' own ground in every theme.
function legendOf(parent) {
  const line = make("div", { className: "omnimouse-signs" });
  parent.append(line);
  const entry = ([glyph, colour, words]) => {
    const sign = make("span", { textContent: glyph });
    sign.style.color = colour;
    sign.setAttribute("aria-hidden", "true");
    return make("span", {}, sign, ` ${words}`);
  };
  return (...signs) => line.replaceChildren(...signs.flat().map(entry));
}

// What both parts do: the stack, its cursor, its height, and how fresh it is.
function connectStack(connection, model, { name, label, keys }) {
  const { send, queue, follow, onClose } = connection;
  const colours = { ...model.get("_colours"), text: "#c9cdd3" };
  let wanted = null, steps = {};
  const moving = queue("move", () => {
    const found = wanted;
    wanted = null;
    return found === null ? null : [{ time_s: found }];
  });
  const stepping = queue("steps", () => {
    const found = steps;
    steps = {};
    return Object.keys(found).length ? [found] : null;
  });
  return (parent) => {
    const stack = traceStack(parent, {
      name, label, colours, keys: { ...commonKeys(send), ...keys }, onClose, height: model.get("height"),
      moved: (time_s) => { wanted = time_s; moving.soon(); },
      stepped: (by) => {
        for (const [what, n] of Object.entries(by)) steps[what] = (steps[what] ?? 0) + n;
        stepping.soon();
      },
    });
    const status = make("div", { className: "omnimouse-status" });
    parent.append(status);
    follow("height", stack.setHeight);
    return { ...stack, showStatus: (words) => { status.textContent = words; } };
  };
}
