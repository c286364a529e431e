// Code that all parts share in the page: communication with the kernel, flow control of
// strokes, keyboard shortcuts, controls and canvases.

const FLUSH_MS = 33; // between two messages of one stroke
const LATE_MS = 250; // longest wait for an acknowledgement

// Copies: a view of the message can begin at an address that other types cannot use.
const bytes = (view) =>
  view instanceof DataView
    ? new Uint8Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength))
    : new Uint8Array(view);
const uint16 = (view) => new Uint16Array(bytes(view).buffer);
const uint32 = (view) => new Uint32Array(bytes(view).buffer);
const float32 = (view) => new Float32Array(bytes(view).buffer);

// For measurements and tests only: reports an event if a listener is installed.
const probe = (event, fields) => globalThis.omnimouseProbe?.(event, fields);
// A message to itself arrives after the frame is painted; a second frame may never come.
const afterPaint = (then) =>
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = then;
    channel.port2.postMessage(0);
  });

// -- elements ---------------------------------------------------------------------------
// `fields` are properties of the element; `aria` contains attributes without "aria-".
function make(tag, { aria = {}, role, ...fields } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), fields);
  if (role) element.setAttribute("role", role);
  for (const [name, value] of Object.entries(aria)) element.setAttribute(`aria-${name}`, value);
  element.append(...children);
  return element;
}
const makeBar = (...children) => make("div", { className: "omnimouse-bar" }, ...children);
const makeGroup = (label, ...children) =>
  make("span", { className: "omnimouse-group", role: "group", aria: { label } }, ...children);
const makeButton = (content, title, onclick, fields = {}) =>
  make("button", { type: "button", title, onclick, ...fields }, ...[content].flat());
const makeSelect = (label, onchange, title = label) => {
  const box = make("select", { title, aria: { label } });
  box.onchange = () => onchange(box.value);
  return box;
};
const makeStatus = (className = "", role = "") =>
  make("div", { className: `omnimouse-status ${className}`, role });
const makeProblem = () =>
  make("div", { className: "omnimouse-problem", role: "alert", hidden: true });
// An error that nobody expects has details, which a button copies.
const showProblem = (element, text, { details, copy, tip, note } = {}) => {
  const copied = make("pre", { className: "omnimouse-details" });
  const button = () => makeButton(copy, tip, () => copyText(details, copied, note));
  element.replaceChildren(text, ...(details ? [makeBar(button(), copied)] : []));
  element.hidden = !text;
};
const noteEnds = new WeakMap(); // timers of notes, by their status
// For some seconds: the clipboard may have another content soon.
function showNote(status, note) {
  status.textContent = note;
  clearTimeout(noteEnds.get(status));
  noteEnds.set(status, setTimeout(() => { if (status.textContent === note) status.textContent = ""; }, 10_000));
}
// Pages without encryption have no clipboard: the text itself is shown, to be selected.
function copyText(text, status, note) {
  const show = () => { status.textContent = text; };
  if (!navigator.clipboard) show();
  else navigator.clipboard.writeText(text).then(() => showNote(status, note), show);
}
const makeSwatch = (colour) => {
  const swatch = make("span", { className: "omnimouse-swatch" });
  swatch.style.background = colour;
  return swatch;
};
const setPressed = (button, isOn) => button.setAttribute("aria-pressed", String(isOn));
// The options of a select, [value, text, tooltip], and the chosen value.
function fillSelect(box, rows, value = box.value) {
  box.replaceChildren(...rows.map(([name, text, title = ""]) =>
    make("option", { value: name, textContent: text, title })));
  box.value = value;
}

// -- communication ----------------------------------------------------------------------
// One view of one part. `handlers` are functions (message, buffers) by the `op` of the
// messages from the kernel. Returns the texts of the part, functions to send and to
// follow traits, and `close` for the end of the view. `onLeave` registers functions for the moment when the part is
// no longer visible, for example to end a stroke.
function connect({ model, el }, name, handlers) {
  const texts = model.get("_texts");
  const view = crypto.randomUUID?.() ?? String(Math.random());
  const closers = [];
  el.classList.add("omnimouse", `omnimouse-${name}`);
  // A kernel that was restarted or ended has no widget that could receive messages.
  const send = (op, fields = {}, buffers = []) => {
    try {
      model.send({ op, view, ...fields }, undefined, buffers);
    } catch {
      setEnded(true);
    }
  };
  // Without a kernel nothing can be painted or pressed, and a stroke ends. Any message of
  // the kernel ends this state: a connection can be lost and restored.
  let isEnded = false;
  const setEnded = (isNow) => {
    if (isNow === isEnded) return;
    isEnded = isNow;
    if (isEnded) leavers.forEach((leave) => leave());
    el.classList.toggle("omnimouse-ended", isEnded);
    for (const child of el.children) if (child !== problem) child.inert = isEnded;
    tellProblem();
  };
  const tellProblem = () => {
    if (isEnded) showProblem(problem, texts.ended);
    else showProblem(problem, model.get("problem"), model.get("_fault"));
  };
  const listeners = new Set();
  const receive = (message, buffers) => {
    setEnded(false);
    listeners.forEach((listener) => listener(message));
    let first = 0;
    for (const part of message.op === "drawing" ? message.parts : [message]) {
      const own = part.buffers === undefined ? buffers : buffers.slice(first, (first += part.buffers));
      if (handlers[part.op]) el.classList.add("omnimouse-live");
      try {
        handlers[part.op]?.(part, own ?? []);
      } catch (error) {
        reportError(error); // the other parts are drawn, and the drawing is confirmed
      }
    }
    if (!message.confirm) return;
    // A hidden page paints no frame, so it confirms at once.
    const confirm = () => send("drawn");
    if (document.hidden) confirm();
    else afterPaint(confirm);
  };
  model.on("msg:custom", receive);
  closers.push(() => model.off("msg:custom", receive));

  const follow = (trait, then) => {
    const onChange = () => then(model.get(trait));
    model.on(`change:${trait}`, onChange);
    closers.push(() => model.off(`change:${trait}`, onChange));
    onChange();
  };
  const set = (trait, value) => {
    model.set(trait, value);
    model.save_changes();
  };
  // At most one message per `FLUSH_MS`: the first one at once, the next one only after the
  // acknowledgement of the last one. Changes in the meantime are part of the next message.
  // `gather(seq)` returns [fields, buffers] or null; the kernel sends in `handled` the
  // latest `seq` of this view that it has handled.
  let seq = 0;
  const queue = (op, gather) => {
    let awaited = 0, sentAt = 0, timer = 0;
    const flush = () => {
      timer = 0;
      const wait = awaited ? Math.max(0, sentAt + LATE_MS - performance.now()) : 0;
      if (wait > 0) { timer = setTimeout(flush, wait); return; }
      const content = gather(seq + 1);
      if (!content) return;
      awaited = ++seq;
      sentAt = performance.now();
      send(op, { seq, ...content[0] }, content[1] ?? []);
      probe("sent", { name, op, seq });
    };
    const untilFlush = () => sentAt + FLUSH_MS - performance.now();
    listeners.add((message) => {
      if (message.op !== "ack" || message.view !== view || message.seq !== awaited) return;
      awaited = 0;
      probe("ack", { name, op, seq: message.seq, took: performance.now() - sentAt });
      if (timer) { clearTimeout(timer); timer = setTimeout(flush, Math.max(0, untilFlush())); }
    });
    closers.push(() => clearTimeout(timer));
    return {
      soon: () => {
        if (timer) return;
        if (untilFlush() > 0) timer = setTimeout(flush, untilFlush());
        else flush();
      },
      now: () => { clearTimeout(timer); awaited = 0; flush(); },
    };
  };
  // Strokes: `gather` is as for `queue`. The first message of a stroke begins it and the
  // last one ends it; a stroke that touched nothing is not sent.
  const strokes = (gather) => {
    let opening = null, isOpen = false, isLast = false;
    const paints = queue("paint", (seq) => {
      const content = gather(seq);
      if (!content) return null;
      const fields = { ...content[0], ...(opening && { begin: opening }), ...(isLast && { end: true }) };
      isOpen = !isLast;
      opening = null;
      return [fields, content[1]];
    });
    return {
      ...paints,
      begin: (fields = {}) => { opening = fields; },
      end: () => {
        isLast = true;
        paints.now();
        isLast = false;
        if (isOpen) send("end");
        opening = null;
        isOpen = false;
      },
    };
  };

  // The error of the last user action; role "alert" makes screen readers read it.
  const problem = makeProblem();
  // A part that is scrolled out of view, or in a hidden tab, is not drawn.
  let isVisible = false;
  const leavers = [];
  const setVisible = (isNow) => {
    if (isNow === isVisible) return;
    isVisible = isNow;
    if (!isNow) leavers.forEach((leave) => leave());
    send(isNow ? "ready" : "gone");
  };
  // Some front ends report that the comm ends or is restored, without saying which: a
  // kernel that is there answers. With other front ends, the next message fails.
  const checkKernel = () => { setEnded(true); if (isVisible) send("ready"); };
  model.on("comm_live_update", checkKernel);
  closers.push(() => model.off("comm_live_update", checkKernel));
  // JupyterLab closes no comm when a kernel is shut down or dies, and messages wait for it.
  const kernelEnd = model.widget_manager?.kernel?.disposed;
  const noteEnd = () => setEnded(true);
  kernelEnd?.connect?.(noteEnd);
  closers.push(() => kernelEnd?.disconnect?.(noteEnd));
  // `keys` are the shortcuts of the part, for `bindKeys`: its buttons have them, too.
  const ready = (keys = commonKeys(send)) => {
    const { " ": _space, Enter: _enter, ...others } = keys; // these press the button
    bindKeys(el, others, ({ target }) => target.matches("button"));
    el.append(problem);
    follow("problem", tellProblem);
    follow("_fault", tellProblem);
    // On a page in view, the observer tells it within a frame: drawing what is in a hidden
    // tab would start its work, and take the time of the first drawings.
    if (document.hidden) setVisible(true);
    const observer = new IntersectionObserver((entries) => setVisible(entries.at(-1).isIntersecting));
    observer.observe(el);
    closers.push(() => observer.disconnect());
    // A page that is closed or reloaded does not end its views; it may come back.
    const leave = () => setVisible(false);
    const comeBack = (event) => { if (event.persisted) setVisible(true); };
    addEventListener("pagehide", leave);
    addEventListener("pageshow", comeBack);
    closers.push(() => { removeEventListener("pagehide", leave); removeEventListener("pageshow", comeBack); });
  };
  const close = () => {
    closers.forEach((closer) => closer());
    setVisible(false);
  };
  const onClose = (closer) => closers.push(closer);
  const onLeave = (leave) => leavers.push(leave);
  return { view, texts, send, set, follow, queue, strokes, ready, close, onClose, onLeave };
}

// -- canvases ---------------------------------------------------------------------------
// A canvas in pixels of the screen. `draw(context, width, height)` gets CSS pixels and is
// called at most once per frame. While the mouse button is down on another canvas of the
// page, that one has priority: this one is drawn only ten times per second.
const SECONDARY_MS = 100;
function canvasOf(parent, { className, label, keys, height, draw, onClose }) {
  const canvas = make("canvas", { className, tabIndex: 0, role: "application", aria: { label } });
  if (keys) canvas.title = keys;
  parent.append(canvas);
  const context = canvas.getContext("2d");
  // The size comes from the observer: a hidden layout has none.
  let frame = 0, timer = 0, drawnAt = 0, width = 720, tall = height;
  const redraw = () => {
    frame = 0;
    drawnAt = performance.now();
    const ratio = globalThis.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * ratio), Math.round(tall * ratio)];
    // Setting the size clears the canvas, so only if it differs.
    if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    draw(context, width, tall);
  };
  const requestFrame = () => { timer = 0; frame ||= requestAnimationFrame(redraw); };
  const request = () => {
    const pressed = globalThis.omnimousePressed;
    const wait = pressed && pressed !== canvas ? drawnAt + SECONDARY_MS - performance.now() : 0;
    if (wait <= 0) requestFrame();
    else if (!frame) timer ||= setTimeout(requestFrame, wait);
  };
  const release = () => { if (globalThis.omnimousePressed === canvas) globalThis.omnimousePressed = null; };
  canvas.addEventListener("pointerdown", () => {
    globalThis.omnimousePressed = canvas;
    // On the window: the button can be released outside the canvas.
    for (const end of ["pointerup", "pointercancel"]) addEventListener(end, release, { capture: true, once: true });
  });
  const observer = new ResizeObserver(([entry]) => {
    const box = entry.contentRect;
    if (box.width < 2 || box.height < 2) return;
    width = box.width; tall = box.height;
    request();
  });
  observer.observe(canvas);
  onClose(() => { release(); observer.disconnect(); clearTimeout(timer); cancelAnimationFrame(frame); });
  const resize = (to) => { tall = to; canvas.style.height = `${to}px`; request(); };
  resize(height);
  return { canvas, request, resize, size: () => [width, tall] };
}

// Return an element for the signs of a legend, and the function that shows them.
function makeSigns() {
  const element = make("div", { className: "omnimouse-signs" });
  return [element, ({ signs }) => {
    element.hidden = !signs.length;
    element.replaceChildren(...signs.map(([glyph, colour, text]) => {
      const sign = make("span", { textContent: glyph });
      sign.style.color = colour;
      return make("span", {}, sign, ` ${text} `);
    }));
  }];
}

// Text on a canvas, with the font and alignment that it needs.
function drawText(context, text, x, y, colour, { size = 10, align = "center", baseline = "alphabetic", maxWidth } = {}) {
  context.font = `${size}px system-ui, sans-serif`;
  context.textAlign = align;
  context.textBaseline = baseline;
  context.fillStyle = colour;
  context.fillText(text, x, y, maxWidth);
}

// -- keyboard ---------------------------------------------------------------------------
// Shortcuts of a focused element. A handled key is not passed on, so the notebook's own
// single-key commands are not called; Ctrl+S and the like remain the notebook's. `keys`
// has names such as "Shift+ArrowLeft"; if `isFor` is false, the key is for the target.
function bindKeys(element, keys, isFor = () => true) {
  element.addEventListener("keydown", (event) => {
    const table = isFor(event) ? keys : {};
    const letter = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey || event.altKey) {
      const modifiers = `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.shiftKey ? "Shift+" : ""}`;
      const act = table[modifiers + letter];
      if (!act) return;
      act(event);
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    const named = event.shiftKey && event.key.length > 1 ? `Shift+${event.key}` : event.key;
    const act = table[named] ?? table[letter];
    if (act) { act(event); event.preventDefault(); }
    // Tab leaves the element, and Escape returns to the notebook.
    if (event.key !== "Tab" && event.key !== "Escape") event.stopPropagation();
  });
}

// Shortcuts of all parts, the same as those of the napari panels; for `bindKeys`.
const commonKeys = (send) => ({
  "1": () => send("code", { code: 1 }),
  "2": () => send("code", { code: 0 }),
  "3": () => send("code", { code: 2 }),
  ",": () => send("step", { n: -1 }),
  ".": () => send("step", { n: 1 }),
  PageUp: () => send("trial", { n: -1 }),
  PageDown: () => send("trial", { n: 1 }),
  "Ctrl+z": () => send("undo"),
  "Ctrl+Shift+z": () => send("redo"),
});

// -- numbers and files ------------------------------------------------------------------
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// Index of the first element of a sorted list that is not below a value.
function lowerBound(sorted, value) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Smallest round distance of ticks, at least `minimum`: 1, 2 or 5 times a power of ten.
function roundStep(minimum) {
  const power = 10 ** Math.floor(Math.log10(minimum));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= minimum);
}

// A number as in the texts of Python: with a minus sign.
const numberText = (value, digits = 3) => String(Number(value.toPrecision(digits))).replace("-", "−");

// Draw a dot of the fill colour at each point.
function drawDots(context, points) {
  for (const [x, y] of points) {
    context.beginPath();
    context.arc(x, y, 3, 0, 7);
    context.fill();
  }
}

// Offer a table or a picture to the user as a file.
function download(name, content) {
  const kinds = { png: "image/png", csv: "text/csv", mp4: "video/mp4" };
  const type = kinds[name.split(".").pop()] ?? "application/octet-stream";
  const address = URL.createObjectURL(new Blob([content], { type }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
