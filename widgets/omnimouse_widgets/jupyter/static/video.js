// Video: the page caches the frames, so scrubbing and playback do not wait for the kernel;
// the kernel receives the position of the playhead and moves the window.

const MAX_BYTES = 64e6; // of cached frames
const INSET = 8; // half of a slider's thumb: its track begins there
const LANES = 60, AXIS = 14; // heights of the lanes of a session, and of the times below them
const TICKS = 70; // least distance of two times
const UNSENT = 0xffffffff; // instead of a `seq`: changed here, not sent yet
const QUIET = "#9aa0a8", HIDDEN = "#8b919a", TEXT = "#d6d9df";

function render({ model, el }) {
  // `film.window`: frames of a window; for a model without video, its samples.
  let film = { film: null, frames: 0, pauses: [], window: 0, height: 1, width: 1, rate_hz: 1, reads_video: true };
  let times = [], lanes = [], extent = [0, 1], tiers = [], kinds = []; // of the session; bars of two of them
  const chunks = new Map(); // number -> {frames, valid}; the least recently used first
  let at = 0; // frame of the session at the playhead
  let start = 0; // first frame of the window
  let position = null, jumps = null, lastGo = 0, pendingGo = null, isPressed = false;
  // `visible` is drawn: the frames of the kernel's mask, with the own changes over them.
  let visible = [], ownSeq = new Uint32Array(0), ownVisible = new Uint8Array(0);
  let stroke = null, edited = null, clock = null, ticking = 0;

  const { view, texts, send, set, follow, queue, strokes: strokesOf, ready, close, onClose, onLeave } = connect({ model, el }, "video", {
    film: takeFilm,
    record: takeRecord,
    timeline: takeTimeline,
    position: takePosition,
    frames: takeFrames,
    edited: (message, buffers) => {
      edited = message.start < 0 ? null : { ...message, frames: bytes(buffers[0]) };
      picture.request();
    },
    chunk: takeChunk,
  });

  // -- controls ---------------------------------------------------------------------------
  const makeRange = (label) => make("input", { type: "range", min: 0, max: 1, step: 1, value: 0, title: label, aria: { label } });
  const picture = canvasOf(el, { className: "omnimouse-frame", height: 230, draw: drawPicture, label: "", onClose });
  const strip = canvasOf(el, { className: "omnimouse-strip", height: 20, draw: drawStrip, label: "", onClose });
  const fine = makeRange(texts.fine);
  const session = canvasOf(el, { className: "omnimouse-session-strip", height: LANES + AXIS, draw: drawSession, label: "", onClose });
  // The slider below it has the same function for keyboard and screen reader.
  session.canvas.removeAttribute("tabindex");
  session.canvas.setAttribute("role", "presentation");
  session.canvas.removeAttribute("aria-label");
  const coarse = makeRange(texts.coarse), names = make("div", { className: "omnimouse-lanes" });
  // The page plays, steps by windows, and steps frames within the window; all else is for the
  // kernel, which knows where the windows of trials begin. Labels come from the record.
  const own = {
    back: () => step("back", -film.step), next: () => step("next", film.step),
    window_back: () => stepWindow("window_back", -1), window_next: () => stepWindow("window_next", 1),
    playing: () => set("playing", !model.get("playing")),
  };
  const buttons = new Map(["window_back", "back", "playing", "next", "window_next"].map((name) => [name, makeButton("", "", own[name])]));
  buttons.get("playing").classList.add("omnimouse-play");
  const number = make("input", { type: "number" }), before = make("span"), among = make("span"), trialField = make("label", { className: "omnimouse-group" }, before, number, among);
  // The browser says which numbers there are; one beyond them goes nowhere.
  number.onchange = () => number.reportValidity() && send("choose", { name: "trial", value: clamp(Math.round(Number(number.value)) || 1, 1, Number(number.max)) });
  number.addEventListener("keydown", (event) => event.stopPropagation()); // digits are typed
  const rate = makeSelect("", (value) => set("rate", Number(value)));
  const stride = makeSelect(texts.stride, (value) => set("stride", Number(value)));
  const paint = makeButton(texts.paint, texts.paint_tip, () => setPressed(paint, !isPainting()));
  const isPainting = () => paint.getAttribute("aria-pressed") === "true";
  setPressed(paint, false);
  const text = makeStatus("omnimouse-clock"), [letters, showLetters] = makeSigns();
  strip.canvas.after(fine);
  const overview = make("div", { className: "omnimouse-overview" }, names, make("div", {}, session.canvas, coarse));
  el.append(overview, text, makeBar(trialField, ...buttons.values(), rate, stride, paint), letters);
  const controls = [fine, coarse, rate, stride, paint, number];

  function takeRecord({ items }) {
    for (const [name, button] of buttons) {
      const { label, help, refusal } = items[name], tip = refusal || (name === "playing" ? texts.play[Number(items[name].is_on)] : help);
      button.textContent = label;
      button.title = button.ariaLabel = tip;
      button.disabled = Boolean(refusal) || !film.frames;
    }
    rate.title = rate.ariaLabel = items.speed.help;
    trialField.hidden = !items.trial;
    if (items.trial) {
      const { label, help, value, high, prefix, unit, none } = items.trial;
      Object.assign(number, { title: help, ariaLabel: label, min: 1, max: high, value: none ? "" : value, placeholder: none && "–" });
      [before.textContent, among.textContent] = [prefix, unit];
    }
    showLetters(items.letters);
  }
  function takeTimeline({ item }, buffers) {
    const arrays = [...buffers].map(float32);
    session.canvas.title = item.tip;
    times = arrays.shift();
    lanes = item.lanes.map((lane) => ({ ...lane, curve: arrays.shift() }));
    extent = item.extent_s;
    isStill = false;
    names.replaceChildren(...shownLanes().map(({ name }) => make("span", { textContent: name })));
    // The lane of tiers is the second one, as in the record.
    [kinds, tiers] = [lanes[0]?.bars ?? [], lanes[1]?.bars ?? []];
    show();
  }

  // Controls and buffers that depend on the sizes of a window and of its frames.
  function takeSizes() {
    const length = `${+film.window_s.toPrecision(6)} s`;
    if (ownSeq.length !== film.window) {
      ownSeq = new Uint32Array(film.window);
      ownVisible = new Uint8Array(film.window);
    }
    small.width = film.width;
    small.height = film.height;
    image = new ImageData(film.width, film.height);
    fine.max = film.window - 1;
    picture.canvas.setAttribute("aria-label", texts.picture.replace("{}", length));
    const told = (words) => (film.reads_video ? words.replace("{}", film.window) : texts.no_video);
    strip.canvas.title = told(texts.strip_tip);
    strip.canvas.setAttribute("aria-label", told(texts.strip));
  }

  // -- messages of the kernel ---------------------------------------------------------------
  function takeFilm(message) {
    if (message.film !== film.film) {
      chunks.clear();
      jumps = null;
      pendingGo = null;
    }
    requested = ""; // the kernel has dropped the requests
    film = { pauses: [], ...message };
    isStill = false;
    takeSizes();
    coarse.max = Math.max(film.frames - 1, 1);
    [...controls, ...buttons.values()].forEach((control) => { control.disabled = !film.frames; });
    paint.disabled ||= !film.reads_video;
    if (film.speeds) {
      fillSelect(rate, film.speeds.map((speed) => [speed, `×${speed}`]), model.get("rate"));
      fillSelect(stride, film.strides, model.get("stride"));
    }
    if (!film.frames) set("playing", false);
    requestChunks();
    show();
  }
  // While this page plays or scrubs, it is ahead of the kernel and ignores positions, except
  // those that did not come from a page: their number of jumps is new.
  function takePosition(message) {
    position = message;
    start = message.start;
    const isJump = message.jumps !== jumps;
    jumps = message.jumps;
    const isPlaying = model.get("playing");
    const isLedByOther = isPlaying && message.driver && message.driver !== view;
    if (isLedByOther) clock = null;
    const isAhead = isPlaying || isPressed || pendingGo || (message.handled[view] ?? 0) < lastGo;
    if (isJump || isLedByOther || !isAhead) {
      const since = performance.now(), before = at;
      at = message.start + message.cursor;
      if (at !== before) reportShown(since);
      pendingGo = null;
      if (clock) restartClock();
      requestChunks();
    }
    show();
  }
  function takeFrames(message) {
    visible = message.visible.slice();
    const handled = message.handled[view] ?? 0;
    for (let k = 0; k < ownSeq.length; k++) {
      if (!ownSeq[k]) continue;
      if (ownSeq[k] <= handled) ownSeq[k] = 0;
      else visible[k] = ownVisible[k];
    }
    picture.request();
    strip.request();
  }
  function takeChunk(message, buffers) {
    if (message.film !== film.film) return;
    chunks.set(message.chunk, { frames: bytes(buffers[0]), valid: bytes(buffers[1]) });
    let size = 0;
    for (const chunk of chunks.values()) size += chunk.frames.length;
    for (const [number, chunk] of chunks) {
      if (size <= MAX_BYTES) break;
      if (number === chunkOf()) continue;
      chunks.delete(number);
      size -= chunk.frames.length;
    }
    probe("chunk", { name: "video", chunk: message.chunk, kept: chunks.size });
    picture.request();
    requestChunks();
  }

  // -- frames -------------------------------------------------------------------------------
  const chunkOf = (frame = at) => Math.floor(frame / film.chunk);
  let requested = "", requestedAt = 0;
  const requests = queue("chunks", () => {
    const missing = missingChunks();
    const key = missing.join();
    // The same request only once per second.
    if (!missing.length || (key === requested && performance.now() - requestedAt < 1000)) return null;
    requested = key;
    requestedAt = performance.now();
    return [{ film: film.film, chunks: missing }];
  });
  // The chunk under the playhead, then its neighbours: more of them ahead.
  function missingChunks() {
    const here = chunkOf(), last = Math.floor((film.frames - 1) / film.chunk);
    return [here, here + 1, here - 1, here + 2].filter((n) => n >= 0 && n <= last && !chunks.has(n));
  }
  function requestChunks() {
    if (film.frames && film.has_video && missingChunks().length) requests.soon();
  }
  function cachedFrame(frame) {
    const number = chunkOf(frame), chunk = chunks.get(number);
    if (!chunk) return null;
    chunks.delete(number); // inserted again as the most recently used
    chunks.set(number, chunk);
    const k = frame - number * film.chunk, size = film.height * film.width;
    return { pixels: chunk.frames.subarray(k * size, (k + 1) * size), isValid: chunk.valid[k] === 1 };
  }

  // -- the playhead -------------------------------------------------------------------------
  const goes = queue("go", (seq) => {
    if (!pendingGo) return null;
    const fields = { film: film.film, ...pendingGo };
    pendingGo = null;
    lastGo = seq;
    return [fields];
  });
  function goTo(target, event) {
    if (!film.frames) return;
    const before = at;
    at = clamp(Math.round(target), 0, film.frames - 1);
    if (at === before) return;
    pendingGo = { frame: at, is_playing: Boolean(clock) };
    goes.soon();
    requestChunks();
    show();
    reportShown(event?.timeStamp ?? performance.now());
  }
  function reportShown(since) {
    afterPaint(() => probe("frame", { name: "video", frame: at, took: performance.now() - since }));
  }
  // A move during playback continues from the new position.
  const jumpTo = (target, event) => { goTo(target, event); if (clock) restartClock(); };
  // The kernel steps from the place of this page.
  const press = (name) => { goes.now(); send("press", { name }); };
  const step = (name, by) => {
    const k = at - start + by;
    if (k >= 0 && k < film.window) jumpTo(at + by);
    else press(name);
  };
  const stepWindow = (name, by) => (film.by_trial ? press(name) : jumpTo(at + by * film.window));
  function restartClock() { clock = { at, since: performance.now() }; }
  function tick(now) {
    ticking = 0;
    if (!clock) return;
    // From the elapsed time, so that skipped frames do not slow the playback down.
    const elapsed = Math.floor(Math.max(0, now - clock.since) / 1000 * film.rate_hz * model.get("rate"));
    goTo(clock.at + elapsed);
    if (at >= film.frames - 1) set("playing", false);
    else ticking = requestAnimationFrame(tick);
  }
  function showPlaying(isPlaying) {
    if (isPlaying && !clock && film.frames) {
      restartClock();
      ticking ||= requestAnimationFrame(tick);
    } else if (!isPlaying && clock) {
      clock = null;
      goes.now();
      if (position && !pendingGo && (position.handled[view] ?? 0) >= lastGo) takePosition(position);
    }
  }
  // A hidden page has no animation frames, so playback would stop anyway.
  const pauseHidden = () => { if (document.hidden && model.get("playing")) set("playing", false); };
  document.addEventListener("visibilitychange", pauseHidden);
  onClose(() => {
    document.removeEventListener("visibilitychange", pauseHidden);
    cancelAnimationFrame(ticking);
    if (clock) set("playing", false);
    clock = null;
  });

  // -- texts --------------------------------------------------------------------------------
  // The frames skip pauses of the recording: [first frame after it, seconds of all so far].
  const secondsAt = (frame) => film.start_s + frame / film.rate_hz
    + (film.pauses.findLast(([first]) => first <= frame)?.[1] ?? 0);
  const frameAt = (time) => {
    const [first, lost] = film.pauses.findLast(([first]) => secondsAt(first) <= time) ?? [0, 0];
    const next = film.pauses.find(([after]) => after > first)?.[0] ?? Infinity;
    return Math.min((time - film.start_s - lost) * film.rate_hz, next);
  };
  const barAt = (bars, time) => bars.find((bar) => bar.start_s <= time && time < bar.stop_s);
  function show() {
    picture.request(); strip.request(); session.request();
    if (!film.frames) { text.textContent = texts.no_session; return; }
    const time = secondsAt(at), k = at - start;
    const tier = barAt(tiers, time)?.kind ?? (film.has_trials ? texts.between : "");
    const kind = barAt(kinds, time)?.kind ?? "";
    const isInside = k >= 0 && k < film.window, place = (film.reads_video ? texts.frame : texts.sample).replace("{}", k);
    const parts = [
      `${time.toFixed(2).replace("-", "−")} s`, isInside ? place : "", tier,
      [tier, "none"].includes(kind) ? "" : kind,
    ];
    text.textContent = parts.filter(Boolean).join(" · ");
    coarse.value = at;
    coarse.setAttribute("aria-valuetext", text.textContent);
    if (isInside) {
      fine.value = k;
      const use = visible[k] ? texts.visible : texts.hidden;
      fine.setAttribute("aria-valuetext", film.reads_video ? `${place}, ${use}` : place);
    }
  }

  // -- drawing ------------------------------------------------------------------------------
  const small = document.createElement("canvas"); // one frame in its own pixels
  let image = null;
  function drawFrame(context, pixels, box, opacity) {
    const out = image.data;
    for (let k = 0, p = 0; k < pixels.length; k++, p += 4) {
      out[p] = out[p + 1] = out[p + 2] = pixels[k];
      out[p + 3] = 255;
    }
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.globalAlpha = opacity;
    context.drawImage(small, box.x, box.y, box.w, box.h);
    context.globalAlpha = 1;
  }
  function drawNote(context, note, x, y, colour = QUIET) {
    context.font = "12px system-ui, sans-serif";
    const width = context.measureText(note).width + 12;
    context.fillStyle = "rgba(22, 24, 29, 0.85)";
    context.fillRect(x - width / 2, y - 14, width, 20);
    drawText(context, note, x, y, colour, { size: 12 });
  }
  function drawBorder(context, box, colour, isDashed) {
    context.strokeStyle = colour;
    context.lineWidth = 3;
    context.setLineDash(isDashed ? [6, 5] : []);
    context.strokeRect(box.x - 1.5, box.y - 1.5, box.w + 3, box.h + 3);
    context.setLineDash([]);
  }
  // Boxes of one or two frames, side by side or stacked: the way in which they are larger.
  function frameBoxes(width, height, count) {
    const head = count > 1 ? 20 : 6; // height of a title
    const scaleFor = (columns, rows) =>
      Math.min((width - 10) / columns / film.width - 10 / film.width, ((height - 4) / rows - head - 6) / film.height);
    const isStacked = scaleFor(1, count) > scaleFor(count, 1);
    const [columns, rows] = isStacked ? [1, count] : [count, 1];
    const [w, h] = [film.width, film.height].map((length) => length * scaleFor(columns, rows));
    const left = (width - columns * w - (columns - 1) * 12) / 2, top = (height - rows * (h + head + 6)) / 2 + head;
    return Array.from({ length: count }, (_, k) => ({
      x: left + (isStacked ? 0 : k * (w + 12)), y: top + (isStacked ? k * (h + head + 6) : 0), w, h,
    }));
  }
  function drawPicture(context, width, height) {
    context.clearRect(0, 0, width, height);
    if (!film.frames || !film.has_video) {
      const reason = film.film === null ? texts.waiting : !film.frames ? texts.no_session : film.has_stimulus ? texts.no_video : texts.has_no_video;
      drawNote(context, reason, width / 2, height / 2);
      return;
    }
    const k = at - start, isInside = k >= 0 && k < film.window;
    const isEdited = edited && isInside && edited.start === start;
    const boxes = frameBoxes(width, height, isEdited ? 2 : 1), [{ x, y, w, h }] = boxes;
    const frame = cachedFrame(at);
    const isHidden = isInside && visible.length && !visible[k];
    const isInvalid = frame && !frame.isValid;
    if (!frame) drawNote(context, texts.loading, x + w / 2, y + h / 2);
    else drawFrame(context, frame.pixels, boxes[0], isHidden || isInvalid ? 0.45 : 1);
    const colour = !frame ? QUIET : isInvalid ? film.colours.problem : isHidden ? HIDDEN : film.colours.visible;
    drawBorder(context, boxes[0], colour, isHidden || isInvalid);
    if (isEdited) {
      const size = film.width * film.height;
      drawFrame(context, edited.frames.subarray(k * size, (k + 1) * size), boxes[1], isHidden ? 0.45 : 1);
      drawBorder(context, boxes[1], film.colours.edited, isHidden);
      drawNote(context, texts.recorded, x + w / 2, y - 6, TEXT);
      drawNote(context, texts.edited.replace("{}", edited.text), boxes[1].x + w / 2, boxes[1].y - 6, film.colours.edited);
    }
    if (isInvalid) drawNote(context, texts.invalid, x + w / 2, y + h - 8, film.colours.problem);
    else if (isHidden) drawNote(context, texts.hidden, x + w / 2, y + h - 8, TEXT);
  }
  function drawStrip(context, width, height) {
    context.clearRect(0, 0, width, height);
    if (!film.frames || !visible.length) return;
    const pace = (width - 2 * INSET) / (film.window - 1), cursor = at - start;
    for (let k = 0; k < film.window; k++) {
      const x = INSET + (k - 0.5) * pace;
      context.fillStyle = visible[k] ? film.colours.visible : HIDDEN;
      if (visible[k]) context.fillRect(x + 0.5, 4, pace - 1, height - 8);
      else context.fillRect(x + 0.5, height / 2 - 1, pace - 1, 2);
    }
    if (cursor < 0 || cursor >= film.window) return;
    context.fillStyle = film.colours.cursor;
    context.fillRect(INSET + cursor * pace - 1, 0, 2, height);
  }
  const xOf = (frame, width) => INSET + (frame / Math.max(film.frames - 1, 1)) * (width - 2 * INSET);
  // A lane without content takes no place.
  const shownLanes = () => lanes.filter(({ bars, curve }) => bars.length || curve.some(Number.isFinite));
  // The lanes change with the session alone, the playhead with each frame.
  const still = document.createElement("canvas");
  let isStill = false;
  function drawLanes(context, width, height) {
    const xAt = (time) => xOf(frameAt(time), width);
    const shown = shownLanes(), tall = LANES / Math.max(shown.length, 1);
    const step = roundStep((extent[1] - extent[0]) * TICKS / width);
    for (let tick = Math.ceil(extent[0] / step) * step; tick <= extent[1]; tick += step) {
      const x = xAt(tick), label = `${numberText(tick, 6)} s`;
      if (x > TICKS / 4 && x < width - TICKS / 4) drawText(context, label, x, height - 3, QUIET);
    }
    shown.forEach(({ bars, curve, colour }, row) => {
      const low = (row + 1) * tall - 1, full = tall - 2;
      for (const bar of bars) {
        const [a, b] = [xAt(bar.start_s), xAt(bar.stop_s)];
        context.fillStyle = bar.colour;
        context.fillRect(a, low - full * bar.share, Math.max(b - a, 0.5), full * bar.share);
        if (bar.letter && b - a > 10) drawText(context, bar.letter, (a + b) / 2, low - full / 2, "#000", { baseline: "middle", size: 10 });
      }
      context.strokeStyle = colour || QUIET;
      context.beginPath();
      curve.forEach((value, bin) => {
        const x = xAt(times[bin]), y = low - full * value;
        if (Number.isFinite(value)) context.lineTo(x, y);
        else context.moveTo(x, low);
      });
      context.stroke();
    });
  }
  function drawSession(context, width, height) {
    context.clearRect(0, 0, width, height);
    if (!film.frames) return;
    const size = { width: context.canvas.width, height: context.canvas.height };
    if (!isStill || still.width !== size.width || still.height !== size.height) {
      Object.assign(still, size); // also clears it
      const lasting = still.getContext("2d");
      lasting.setTransform(context.getTransform());
      drawLanes(lasting, width, height);
      isStill = true;
    }
    context.drawImage(still, 0, 0, width, height);
    context.fillStyle = "rgba(240, 228, 66, 0.35)";
    const windowWidth = Math.max(xOf(start + film.window, width) - xOf(start, width), 3);
    context.fillRect(xOf(start, width), 0, windowWidth, LANES);
    context.fillStyle = film.colours.cursor;
    context.fillRect(xOf(at, width) - 1, 0, 2, LANES);
  }

  // -- scrubbing ----------------------------------------------------------------------------
  const bindRange = (input, go) => {
    input.addEventListener("input", (event) => { isPressed = true; go(+input.value, event); });
    input.addEventListener("change", () => { isPressed = false; });
    input.addEventListener("blur", () => { isPressed = false; });
  };
  bindRange(fine, (k, event) => jumpTo(start + k, event));
  bindRange(coarse, jumpTo);
  const shareAt = (canvas, event) => {
    const rect = canvas.getBoundingClientRect();
    return clamp((event.clientX - rect.left - INSET) / (rect.width - 2 * INSET), 0, 1);
  };
  const bindDrag = (canvas, onMove, onEnd = () => {}) => {
    let isDown = false;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !film.frames) return;
      canvas.setPointerCapture(event.pointerId);
      isDown = isPressed = true;
      onMove(event, true);
    });
    canvas.addEventListener("pointermove", (event) => { if (isDown) onMove(event, false); });
    const release = () => { if (isDown) { isDown = isPressed = false; onEnd(); } };
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(name, release);
  };
  bindDrag(session.canvas, (event) => jumpTo(shareAt(session.canvas, event) * (film.frames - 1), event));
  bindDrag(strip.canvas, (event, isFirst) => {
    const k = Math.round(shareAt(strip.canvas, event) * (film.window - 1));
    if (isFirst && film.reads_video && (event.shiftKey || isPainting())) begin(k);
    if (stroke) paintTo(k);
    else jumpTo(start + k, event);
  }, end);

  // -- showing and hiding frames ------------------------------------------------------------
  const strokes = strokesOf((seq) => {
    const runs = []; // of unsent frames: first, last + 1
    for (let k = 0; k < ownSeq.length; k++) {
      if (ownSeq[k] !== UNSENT) continue;
      const first = k;
      while (k < ownSeq.length && ownSeq[k] === UNSENT) ownSeq[k++] = seq;
      runs.push([first, k]);
    }
    return runs.length && stroke ? [{ runs, is_visible: stroke.isVisible }] : null;
  });
  function begin(k) {
    // The first frame decides whether the stroke shows or hides.
    stroke = { isVisible: !visible[k], last: k };
    strokes.begin();
  }
  function paintTo(k) {
    const [first, last] = [Math.min(k, stroke.last), Math.max(k, stroke.last)];
    for (let n = first; n <= last; n++) {
      ownSeq[n] = UNSENT;
      ownVisible[n] = visible[n] = Number(stroke.isVisible);
    }
    stroke.last = k;
    strokes.soon();
    show();
  }
  function end() {
    if (!stroke) return;
    strokes.end();
    stroke = null;
  }
  onLeave(end);
  function toggleFrame() {
    const k = at - start;
    if (!film.frames || !film.reads_video || k < 0 || k >= film.window) return;
    begin(k);
    paintTo(k);
    end();
  }

  // -- the keyboard -------------------------------------------------------------------------
  const keys = {
    ...commonKeys(send),
    ",": own.back, ".": own.next,
    k: own.playing,
    "Shift+ArrowLeft": own.window_back, "Shift+ArrowRight": own.window_next,
  };
  const arrows = { ArrowLeft: own.back, ArrowRight: own.next };
  bindKeys(picture.canvas, { ...keys, ...arrows, " ": keys.k });
  bindKeys(strip.canvas, { ...keys, ...arrows, " ": toggleFrame });
  bindKeys(fine, keys); // arrows move the slider
  bindKeys(coarse, keys);

  follow("rate", (value) => { rate.value = value; if (clock) restartClock(); });
  follow("stride", (value) => { stride.value = value; });
  follow("playing", showPlaying);
  show();
  ready(keys);
  return close;
}

export default { render };
