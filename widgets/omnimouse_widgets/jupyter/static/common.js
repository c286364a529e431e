// What every part of the instrument does in the page: it tells the kernel that it looks,
// takes what is sent, sends strokes no faster than they are taken, and keeps its keys.

const FLUSH_MS = 33; // between two messages of one stroke
const LATE_MS = 250; // an acknowledgement that takes longer is not waited for

const WITHOUT_KERNEL = "The kernel of this view has ended: run its cells again.";

const bytes = (view) =>
  view instanceof DataView
    ? new Uint8Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength))
    : new Uint8Array(view);
const uint16 = (view) => new Uint16Array(bytes(view).buffer);
const uint32 = (view) => new Uint32Array(bytes(view).buffer);
const int32 = (view) => new Int32Array(bytes(view).buffer);
const float32 = (view) => new Float32Array(bytes(view).buffer);

// Measurements and tests listen here; nothing else does.
const probe = (what, fields) => globalThis.omnimouseProbe?.(what, fields);
const afterPaint = (then) =>
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = then;
    channel.port2.postMessage(0);
  });

// One view of one part: `handlers` by op of what the kernel sends, (message, buffers).
// Returns how to send, how to follow traits, and `close` for the end of the view;
// `onLeave` is for what must not outlast being looked at, such as a stroke.
function connect({ model, el }, name, handlers) {
  const view = crypto.randomUUID?.() ?? String(Math.random());
  const closers = [];
  el.classList.add("omnimouse", `omnimouse-${name}`);
  // A kernel that was restarted or ended takes nothing more, and knows no widget.
  const send = (op, fields = {}, buffers = []) => {
    try {
      model.send({ op, view, ...fields }, undefined, buffers);
    } catch {
      tell(WITHOUT_KERNEL);
    }
  };
  const listeners = new Set();
  const receive = (message, buffers) => {
    listeners.forEach((listener) => listener(message));
    let taken = 0;
    for (const one of message.op === "drawing" ? message.of : [message]) {
      const theirs = one.buffers === undefined ? buffers : buffers.slice(taken, (taken += one.buffers));
      if (handlers[one.op]) el.classList.add("omnimouse-live");
      try {
        handlers[one.op]?.(one, theirs ?? []);
      } catch (fault) {
        reportError(fault); // what came with it is drawn, and the kernel answered
      }
    }
    if (!message.answer) return;
    // A hidden page draws nothing and would be waited for: it answers at once.
    const drawn = () => send("drawn");
    if (document.hidden) drawn();
    else afterPaint(drawn);
  };
  model.on("msg:custom", receive);
  closers.push(() => model.off("msg:custom", receive));

  const follow = (trait, then) => {
    const changed = () => then(model.get(trait));
    model.on(`change:${trait}`, changed);
    closers.push(() => model.off(`change:${trait}`, changed));
    changed();
  };
  const set = (trait, value) => {
    model.set(trait, value);
    model.save_changes();
  };
  // At most one message a flush, the first at once, and the next only when the last was
  // taken: what is added meanwhile goes with it. `gather(seq)` gives [fields, buffers] or null; the
  // kernel tells in `done` which `seq` of this view it has acted on.
  let seq = 0;
  const queue = (op, gather) => {
    let awaited = 0, sentAt = 0, timer = 0;
    const flush = () => {
      timer = 0;
      const wait = awaited ? Math.max(0, sentAt + LATE_MS - performance.now()) : 0;
      if (wait > 0) { timer = setTimeout(flush, wait); return; }
      const found = gather(seq + 1);
      if (!found) return;
      awaited = ++seq;
      sentAt = performance.now();
      send(op, { seq, ...found[0] }, found[1] ?? []);
      probe("sent", { name, op, seq });
    };
    listeners.add((message) => {
      if (message.op !== "ack" || message.view !== view || message.seq !== awaited) return;
      awaited = 0;
      probe("ack", { name, op, seq: message.seq, took: performance.now() - sentAt });
      if (timer) { clearTimeout(timer); timer = setTimeout(flush, Math.max(0, sentAt + FLUSH_MS - performance.now())); }
    });
    closers.push(() => clearTimeout(timer));
    return {
      soon: () => {
        if (timer) return;
        const wait = sentAt + FLUSH_MS - performance.now();
        if (wait > 0) timer = setTimeout(flush, wait);
        else flush();
      },
      now: () => { clearTimeout(timer); awaited = 0; flush(); },
    };
  };
  // Strokes: `gather` as of a queue. The first message of one opens it and the last closes
  // it; a stroke that touched nothing is not told of.
  const strokes = (gather) => {
    let opening = null, isOpen = false, isLast = false;
    const paints = queue("paint", (seq) => {
      const found = gather(seq);
      if (!found) return null;
      const fields = { ...found[0], ...(opening && { begin: opening }), ...(isLast && { end: true }) };
      isOpen = !isLast;
      opening = null;
      return [fields, found[1]];
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

  // Why the last thing asked could not be done, read out by screen readers too.
  const problem = document.createElement("div");
  problem.className = "omnimouse-problem";
  problem.setAttribute("role", "alert");
  const tell = (words) => {
    problem.textContent = words;
    problem.hidden = !words;
  };
  // What is scrolled away, or in a tab behind another, is not drawn meanwhile.
  let isWatching = false;
  const leavers = [];
  const watch = (isSeen) => {
    if (isSeen === isWatching) return;
    isWatching = isSeen;
    if (!isSeen) leavers.forEach((leave) => leave());
    send(isSeen ? "ready" : "gone");
  };
  // Said at once where the front end says that the comm is gone, else when it is used.
  const ended = () => tell(WITHOUT_KERNEL);
  model.on("comm_live_update", ended);
  closers.push(() => model.off("comm_live_update", ended));
  // `keys` are the part's, for `bindKeys`: its buttons answer to them as well.
  const ready = (keys = commonKeys(send)) => {
    const { " ": _space, Enter: _enter, ...others } = keys; // these press the button
    bindKeys(el, others, ({ target }) => target.matches("button"));
    el.append(problem);
    follow("problem", tell);
    watch(true);
    const sight = new IntersectionObserver((entries) => watch(entries.at(-1).isIntersecting));
    sight.observe(el);
    closers.push(() => sight.disconnect());
    // A page that is closed or reloaded ends no view.
    const away = () => watch(false), back = (event) => { if (event.persisted) watch(true); };
    addEventListener("pagehide", away);
    addEventListener("pageshow", back);
    closers.push(() => { removeEventListener("pagehide", away); removeEventListener("pageshow", back); });
  };
  const close = () => {
    closers.forEach((closer) => closer());
    watch(false);
  };
  return { view, send, set, follow, queue, strokes, ready, close, onClose: (closer) => closers.push(closer), onLeave: (leave) => leavers.push(leave) };
}

// A canvas whose pixels are the screen's, redrawn by `draw(context, width, height)` in
// CSS pixels, at most once a frame. Its size is never taken from a hidden layout. While
// a hand is down on another canvas of the page that one comes first: what follows from
// the stroke is drawn ten times a second.
const ASIDE_MS = 100;
function canvasOf(parent, { className, label, keys, height, draw, onClose }) {
  const canvas = document.createElement("canvas");
  canvas.className = className;
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", label);
  if (keys) canvas.title = keys;
  parent.append(canvas);
  const context = canvas.getContext("2d");
  let asked = 0, later = 0, drawnAt = 0, width = 720, tall = height;
  const redraw = () => {
    asked = 0;
    drawnAt = performance.now();
    const ratio = globalThis.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * ratio), Math.round(tall * ratio)];
    if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    draw(context, width, tall);
  };
  const atOnce = () => { later = 0; asked ||= requestAnimationFrame(redraw); };
  const ask = () => {
    const held = globalThis.omnimouseHeld;
    const wait = held && held !== canvas ? drawnAt + ASIDE_MS - performance.now() : 0;
    if (wait <= 0) atOnce();
    else if (!asked) later ||= setTimeout(atOnce, wait);
  };
  const letGo = () => { if (globalThis.omnimouseHeld === canvas) globalThis.omnimouseHeld = null; };
  canvas.addEventListener("pointerdown", () => {
    globalThis.omnimouseHeld = canvas;
    // Wherever it is let go, also off the canvas.
    for (const end of ["pointerup", "pointercancel"]) addEventListener(end, letGo, { capture: true, once: true });
  });
  const observer = new ResizeObserver(([entry]) => {
    const box = entry.contentRect;
    if (box.width < 2 || box.height < 2) return;
    width = box.width; tall = box.height;
    ask();
  });
  observer.observe(canvas);
  onClose(() => { letGo(); observer.disconnect(); clearTimeout(later); cancelAnimationFrame(asked); });
  canvas.style.height = `${height}px`;
  const resize = (to) => { tall = to; canvas.style.height = `${to}px`; ask(); };
  ask();
  return { canvas, ask, resize, size: () => [width, tall] };
}

// Keys of a focused element: what is handled goes no further, so the notebook's own
// single-key commands never fire, while Ctrl+S and the like are still the notebook's.
// `keys` maps "Shift+ArrowLeft" and such; where `isFor` says no, a key is the target's.
function bindKeys(element, keys, isFor = () => true) {
  element.addEventListener("keydown", (event) => {
    const table = isFor(event) ? keys : {};
    if (event.ctrlKey || event.metaKey || event.altKey) {
      const name = `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.shiftKey ? "Shift+" : ""}${event.key.length === 1 ? event.key.toLowerCase() : event.key}`;
      if (!table[name]) return;
      table[name](event);
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    const named = event.shiftKey && event.key.length > 1 ? `Shift+${event.key}` : event.key;
    const act = table[named] ?? (event.key.length === 1 ? table[event.key.toLowerCase()] : undefined);
    if (act) { act(event); event.preventDefault(); }
    if (event.key !== "Tab" && event.key !== "Escape") event.stopPropagation();
  });
}

// The keys every part answers to, as the desktop's panels do; for `bindKeys`.
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

// Colours of the page's theme, with those of the plots where there is none.
const themed = (element, name, fallback) =>
  getComputedStyle(element).getPropertyValue(name).trim() || fallback;

// A part's plotly figure is its neighbour in a box, and comes when it likes: `then` is
// told it once, and what a screen reader shall be told of it can be said at any time.
function plotBeside({ onClose }, el, then = () => {}) {
  let plot = null, words = "";
  const look = () => {
    const found = el.parentElement?.querySelector(".js-plotly-plot");
    if (found?.on && found !== plot) { plot = found; then(plot); }
    plot?.setAttribute("role", "img");
    plot?.setAttribute("aria-label", words);
  };
  document.addEventListener("plotlywidget-after-render", look);
  onClose(() => document.removeEventListener("plotlywidget-after-render", look));
  return { name: (to) => { words = to; look(); } };
}

// A select's options, [value, words, tip], and the one that is chosen.
function fillSelect(box, rows, value = box.value) {
  box.replaceChildren(...rows.map(([name, words, tip]) => make("option", { value: name, textContent: words, title: tip ?? "" })));
  box.value = value;
}

// Where a sorted list reaches a value: the first place not below it.
function lowest(sorted, value) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Round distance of ticks, at least so far apart: 1, 2 or 5 times a power of ten.
function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= least);
}

// Hand the user a table as a file.
function download(name, content) {
  const address = URL.createObjectURL(new Blob([content], { type: "text/csv" }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

const make = (tag, fields = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), fields);
  element.append(...children);
  return element;
};
