// The video: frames are kept here, so scrubbing and playing wait for nobody; the kernel
// hears where the playhead is and moves the window along.

const MOST_BYTES = 64e6;
const INSET = 8; // of a range's track: half of its thumb
const GROUND_TEXT = "#9aa0a8";
const NO_VIDEO = "This model reads no video.";

function render({ model, el }) {
  // `window` is the number of frames of a window, without video that of its samples.
  let film = { film: null, frames: 0, bars: [], kinds: [], window: 0, height: 1, width: 1, rate_hz: 1, reads_video: true };
  let trials = new Float32Array(0);
  const chunks = new Map(); // number -> {frames, valid}; the least lately used first
  let at = 0; // the playhead on the session's grid of frames
  let start = 0; // of the window
  let place = null, jumps = null, lastGo = 0, going = null, isHeld = false;
  let told = [], visible = [], mine = new Uint32Array(0), mineShown = new Uint8Array(0);
  let stroke = null, edited = null, clock = null, ticking = 0;
  const WAITS = 0xffffffff;

  const { view, send, set, follow, queue, strokes: strokesOf, ready, close, onClose, onLeave } = connect({ model, el }, "video", {
    film: takeFilm,
    place: takePlace,
    frames: takeFrames,
    edited: (message, buffers) => {
      edited = message.start < 0 ? null : { ...message, frames: bytes(buffers[0]) };
      picture.ask();
    },
    chunk: takeChunk,
  });

  // -- controls ---------------------------------------------------------------------------
  const button = (words, label, act, className = "") => {
    const made = make("button", { type: "button", textContent: words, title: label, className });
    made.setAttribute("aria-label", label);
    made.addEventListener("click", act);
    return made;
  };
  const choice = (label, trait) => {
    const box = make("select", { title: label });
    box.setAttribute("aria-label", label);
    box.addEventListener("change", () => set(trait, +box.value));
    return box;
  };
  const range = (label) => {
    const made = make("input", { type: "range", min: 0, max: 1, step: 1, value: 0, title: label });
    made.setAttribute("aria-label", label);
    return made;
  };
  const picture = canvasOf(el, {
    className: "omnimouse-frame", height: 230, draw: drawPicture, onClose,
    label: "Video frame at the playhead",
  });
  const strip = canvasOf(el, {
    className: "omnimouse-strip", height: 20, draw: drawStrip, onClose,
    label: "The frames of the window",
  });
  const fine = range("Frame in the window");
  const session = canvasOf(el, { className: "omnimouse-session-strip", height: 26, draw: drawSession, label: "", onClose });
  session.canvas.removeAttribute("tabindex");
  session.canvas.setAttribute("role", "presentation");
  session.canvas.removeAttribute("aria-label");
  session.canvas.title =
    "The whole session. Bars: trials by tier, T test, V validation, O oracle, low grey: train\n" +
    "Above: what was shown, blue video, yellow image, dark blank. Click or drag: move there";
  const coarse = range("Time in the session");
  const play = button("▶", "Play (K)", () => set("playing", !model.get("playing")), "omnimouse-play");
  const rate = choice("Session seconds per second", "rate");
  const stride = choice("How the window moves where the cursor passes its end", "stride");
  const give = button("Give / hide", "Drag over the frames of the window to give them to the model or hide them", () =>
    give.setAttribute("aria-pressed", String(give.getAttribute("aria-pressed") !== "true")));
  give.setAttribute("aria-pressed", "false");
  const steps = [
    button("◂ trial", "The trial before (PgUp)", () => trial(-1)),
    button("◂ window", "One window back (Shift+←)", () => step(-film.window)),
    button("‹", "One frame back (←)", () => step(-film.step)),
    play,
    button("›", "One frame on (→)", () => step(film.step)),
    button("window ▸", "One window on (Shift+→)", () => step(film.window)),
    button("trial ▸", "The next trial (PgDown)", () => trial(1)),
  ];
  const bar = make("div", { className: "omnimouse-bar" }, ...steps, rate, stride, give);
  const words = make("div", { className: "omnimouse-status omnimouse-clock" });
  const letters = make("div", { className: "omnimouse-status" });
  strip.canvas.after(fine);
  el.append(coarse, words, bar, letters);
  const controls = [fine, coarse, rate, stride, give, ...steps];

  // What depends on the size of a window and of its frames.
  function takeSizes() {
    const long = `${+film.window_s.toPrecision(6)} s`;
    if (mine.length !== film.window) {
      mine = new Uint32Array(film.window);
      mineShown = new Uint8Array(film.window);
    }
    small.width = film.width;
    small.height = film.height;
    image = new ImageData(film.width, film.height);
    fine.max = film.window - 1;
    steps[1].textContent = `◂ ${long}`;
    steps[5].textContent = `${long} ▸`;
    picture.canvas.setAttribute("aria-label",
      `Video frame at the playhead. Arrows step a frame, Shift+arrows a window of ${long}, Page keys a trial, K plays.`);
    strip.canvas.setAttribute("aria-label", !film.reads_video ? NO_VIDEO :
      `The ${film.window} frames of the window: tall if given to the model, low if hidden. Arrows move, Space gives or hides the frame.`);
    strip.canvas.title = !film.reads_video ? NO_VIDEO :
      `The ${film.window} frames of the window: filled = given to the model, hollow = hidden.\n` +
      "Drag: move the cursor · Shift+drag, or with Give / hide on: give or hide frames (the first decides)";
  }

  // -- what the kernel says -----------------------------------------------------------------
  function takeFilm(message, buffers) {
    if (message.film !== film.film) {
      chunks.clear();
      jumps = null;
      going = null;
    }
    asked = ""; // what was wanted is forgotten there
    film = { bars: [], kinds: [], letters: "", ...message };
    takeSizes();
    trials = buffers.length ? float32(buffers[0]) : new Float32Array(0);
    coarse.max = Math.max(film.frames - 1, 1);
    controls.forEach((control) => { control.disabled = !film.frames; });
    give.disabled ||= !film.reads_video;
    steps[0].hidden = steps.at(-1).hidden = !film.has_trials;
    letters.textContent = film.letters;
    if (film.speeds) {
      fillSelect(rate, film.speeds.map((speed) => [speed, `×${speed}`]), model.get("rate"));
      fillSelect(stride, film.strides, model.get("stride"));
    }
    if (!film.frames) set("playing", false);
    want();
    show();
  }
  // The page leads while it plays or is scrubbed; a jump made elsewhere is followed.
  function takePlace(message) {
    place = message;
    start = message.start;
    const isJump = message.jumps !== jumps;
    jumps = message.jumps;
    const plays = model.get("playing");
    const isLed = plays && message.driver && message.driver !== view; // by another page
    if (isLed) clock = null;
    const isMine = plays || isHeld || going || (message.done[view] ?? 0) < lastGo;
    if (isJump || isLed || !isMine) {
      at = message.start + message.cursor;
      going = null;
      if (clock) restart();
      want();
    }
    show();
  }
  function takeFrames(message) {
    told = message.visible;
    visible = told.slice();
    const done = message.done[view] ?? 0;
    for (let k = 0; k < mine.length; k++) {
      if (!mine[k]) continue;
      if (mine[k] <= done) mine[k] = 0;
      else visible[k] = mineShown[k];
    }
    picture.ask();
    strip.ask();
  }
  function takeChunk(message, buffers) {
    if (message.film !== film.film) return;
    chunks.set(message.chunk, { frames: bytes(buffers[0]), valid: bytes(buffers[1]) });
    let size = 0;
    for (const chunk of chunks.values()) size += chunk.frames.length;
    for (const [number, chunk] of chunks) {
      if (size <= MOST_BYTES) break;
      if (number === chunkAt()) continue;
      chunks.delete(number);
      size -= chunk.frames.length;
    }
    probe("chunk", { name: "video", chunk: message.chunk, kept: chunks.size });
    picture.ask();
    want();
  }

  // -- frames -------------------------------------------------------------------------------
  const chunkAt = (place = at) => Math.floor(place / film.chunk);
  let asked = "", askedAt = 0;
  const wants = queue("want", () => {
    const missing = wanted();
    const key = missing.join();
    if (!missing.length || (key === asked && performance.now() - askedAt < 1000)) return null;
    asked = key;
    askedAt = performance.now();
    return [{ film: film.film, chunks: missing }];
  });
  // The chunk under the playhead, then those about it: more of them ahead.
  function wanted() {
    const here = chunkAt(), last = Math.floor((film.frames - 1) / film.chunk);
    return [here, here + 1, here - 1, here + 2].filter((n) => n >= 0 && n <= last && !chunks.has(n));
  }
  function want() {
    if (film.frames && film.has_video && wanted().length) wants.soon();
  }
  function frameAt(place) {
    const number = chunkAt(place), chunk = chunks.get(number);
    if (!chunk) return null;
    chunks.delete(number); // used now: the last to be dropped
    chunks.set(number, chunk);
    const k = place - number * film.chunk, size = film.height * film.width;
    return { pixels: chunk.frames.subarray(k * size, (k + 1) * size), isValid: chunk.valid[k] === 1 };
  }

  // -- the playhead -------------------------------------------------------------------------
  const goes = queue("go", (seq) => {
    if (!going) return null;
    const fields = { film: film.film, ...going };
    going = null;
    lastGo = seq;
    return [fields];
  });
  function goTo(to, event) {
    if (!film.frames) return;
    const before = at;
    at = Math.min(Math.max(Math.round(to), 0), film.frames - 1);
    if (at === before) return;
    going = { at, plays: Boolean(clock) };
    goes.soon();
    want();
    show();
    const since = event?.timeStamp ?? performance.now();
    afterPaint(() => probe("frame", { name: "video", frame: at, took: performance.now() - since }));
  }
  const step = (by) => { goTo(at + by); if (clock) restart(); };
  const trial = (n) => send("trial", { n });
  function restart() { clock = { at, since: performance.now() }; }
  function tick(now) {
    ticking = 0;
    if (!clock) return;
    const due = Math.floor(Math.max(0, now - clock.since) / 1000 * film.rate_hz * model.get("rate"));
    goTo(clock.at + due);
    if (at >= film.frames - 1) set("playing", false);
    else ticking = requestAnimationFrame(tick);
  }
  function showPlaying(plays) {
    const word = plays ? "Pause" : "Play";
    play.textContent = plays ? "❚❚" : "▶";
    play.title = `${word} (K)`;
    play.setAttribute("aria-label", word);
    if (plays && !clock && film.frames) {
      restart();
      ticking ||= requestAnimationFrame(tick);
    } else if (!plays && clock) {
      clock = null;
      goes.now();
      if (place && !going && (place.done[view] ?? 0) >= lastGo) takePlace(place);
    }
  }
  const pauseHidden = () => { if (document.hidden && model.get("playing")) set("playing", false); };
  document.addEventListener("visibilitychange", pauseHidden);
  onClose(() => {
    document.removeEventListener("visibilitychange", pauseHidden);
    cancelAnimationFrame(ticking);
    if (clock) set("playing", false);
    clock = null;
  });

  // -- words --------------------------------------------------------------------------------
  const secondsAt = (place) => film.start_s + place / film.rate_hz;
  function within(bars, time) {
    return bars.find(([from, to]) => from <= time && time < to);
  }
  function trialAt(time) {
    return lowest(trials, time + 1e-3);
  }
  function show() {
    picture.ask(); strip.ask(); session.ask();
    if (!film.frames) { words.textContent = "No session is open"; return; }
    const time = secondsAt(at), k = at - start;
    const tier = within(film.bars, time)?.[2] ?? (film.has_trials ? "between trials" : "");
    const kind = within(film.kinds, time)?.[2] ?? "";
    const number = trialAt(time);
    const isInside = k >= 0 && k < film.window, here = `${film.reads_video ? "frame" : "sample"} ${k}`;
    const parts = [
      `${time.toFixed(2)} s`, isInside ? here : "", tier,
      film.has_trials && number ? `trial ${number} / ${trials.length}` : "", kind === tier ? "" : kind,
    ];
    words.textContent = parts.filter(Boolean).join(" · ");
    coarse.value = at;
    coarse.setAttribute("aria-valuetext", words.textContent);
    if (isInside) {
      fine.value = k;
      const use = visible[k] ? "given to the model" : "hidden from the model";
      fine.setAttribute("aria-valuetext", film.reads_video ? `${here}, ${use}` : here);
    }
  }

  // -- drawing ------------------------------------------------------------------------------
  const small = document.createElement("canvas");
  let image = null; // of one frame
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
  function note(context, words, x, y, colour = GROUND_TEXT) {
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    const wide = context.measureText(words).width + 12;
    context.fillStyle = "rgba(22, 24, 29, 0.85)";
    context.fillRect(x - wide / 2, y - 14, wide, 20);
    context.fillStyle = colour;
    context.fillText(words, x, y);
  }
  function drawPicture(context, width, tall) {
    context.clearRect(0, 0, width, tall);
    if (!film.frames || !film.has_video) {
      const why = film.film === null ? "Waiting for the kernel…" : !film.frames ? "No session is open" : film.reads_video ? "This session has no video" : NO_VIDEO;
      note(context, why, width / 2, tall / 2);
      return;
    }
    const k = at - start, isInside = k >= 0 && k < film.window, { width: wide, height: high } = film;
    const isEdited = edited && isInside && edited.start === start;
    const count = isEdited ? 2 : 1, head = isEdited ? 20 : 6;
    // Two frames beside or below each other: as they are larger.
    const fit = (across, down) => Math.min((width - 10) / across / wide - 10 / wide, ((tall - 4) / down - head - 6) / high);
    const isStacked = fit(1, count) > fit(count, 1);
    const [across, down] = isStacked ? [1, count] : [count, 1];
    const scale = fit(across, down);
    const [w, h] = [wide * scale, high * scale];
    const left = (width - across * w - (across - 1) * 12) / 2, top = (tall - down * (h + head + 6)) / 2 + head;
    const found = frameAt(at);
    const isHidden = isInside && visible.length && !visible[k];
    const boxes = Array.from({ length: count }, (_, n) => ({
      x: left + (isStacked ? 0 : n * (w + 12)), y: top + (isStacked ? n * (h + head + 6) : 0), w, h,
    }));
    if (!found) {
      note(context, "loading…", boxes[0].x + w / 2, boxes[0].y + h / 2);
    } else {
      drawFrame(context, found.pixels, boxes[0], isHidden || !found.isValid ? 0.45 : 1);
    }
    const frame = !found ? GROUND_TEXT : !found.isValid ? film.colours.problem : isHidden ? "#8b919a" : film.colours.visible;
    border(context, boxes[0], frame, isHidden || (found && !found.isValid));
    if (isEdited) {
      drawFrame(context, edited.frames.subarray(k * wide * high, (k + 1) * wide * high), boxes[1], isHidden ? 0.45 : 1);
      border(context, boxes[1], film.colours.edited, isHidden);
      note(context, "recorded", boxes[0].x + w / 2, boxes[0].y - 6, "#d6d9df");
      note(context, `edited: ${edited.words}`, boxes[1].x + w / 2, boxes[1].y - 6, film.colours.edited);
    }
    const foot = boxes[0].y + h - 8;
    if (found && !found.isValid) note(context, "no valid frame here", boxes[0].x + w / 2, foot, film.colours.problem);
    else if (isHidden) note(context, "hidden from the model", boxes[0].x + w / 2, foot, "#d6d9df");
  }
  function border(context, box, colour, isDashed) {
    context.strokeStyle = colour;
    context.lineWidth = 3;
    context.setLineDash(isDashed ? [6, 5] : []);
    context.strokeRect(box.x - 1.5, box.y - 1.5, box.w + 3, box.h + 3);
    context.setLineDash([]);
  }
  function drawStrip(context, width, tall) {
    context.clearRect(0, 0, width, tall);
    if (!film.frames || !visible.length) return;
    const pace = (width - 2 * INSET) / (film.window - 1), k = at - start;
    for (let frame = 0; frame < film.window; frame++) {
      const x = INSET + (frame - 0.5) * pace;
      if (visible[frame]) {
        context.fillStyle = film.colours.visible;
        context.fillRect(x + 0.5, 4, pace - 1, tall - 8);
      } else {
        context.fillStyle = "#8b919a";
        context.fillRect(x + 0.5, tall / 2 - 1, pace - 1, 2);
      }
    }
    if (k < 0 || k >= film.window) return;
    context.fillStyle = film.colours.cursor;
    context.fillRect(INSET + k * pace - 1, 0, 2, tall);
  }
  const xOf = (place, width) => INSET + (place / Math.max(film.frames - 1, 1)) * (width - 2 * INSET);
  function drawSession(context, width, tall) {
    context.clearRect(0, 0, width, tall);
    if (!film.frames) return;
    const x = (time) => xOf((time - film.start_s) * film.rate_hz, width);
    const low = film.kinds.length ? 8 : 0, room = tall - low - 2;
    for (const [from, to, , colour, height] of film.kinds) {
      context.fillStyle = colour;
      context.fillRect(x(from), 7 - 6 * height, Math.max(x(to) - x(from), 0.5), 6 * height);
    }
    context.font = "10px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (const [from, to, , colour, height, letter] of film.bars) {
      const [a, b] = [x(from), x(to)];
      context.fillStyle = colour;
      context.fillRect(a, tall - 1 - room * height, Math.max(b - a, 0.5), room * height);
      if (letter && b - a > 10) { context.fillStyle = "#000"; context.fillText(letter, (a + b) / 2, tall - room / 2 - 1); }
    }
    context.fillStyle = "rgba(240, 228, 66, 0.35)";
    const wide = Math.max(xOf(start + film.window, width) - xOf(start, width), 3);
    context.fillRect(xOf(start, width), 0, wide, tall);
    context.fillStyle = film.colours.cursor;
    context.fillRect(xOf(at, width) - 1, 0, 2, tall);
  }

  // -- scrubbing ----------------------------------------------------------------------------
  const held = (input, go) => {
    input.addEventListener("input", (event) => { isHeld = true; go(+input.value, event); if (clock) restart(); });
    input.addEventListener("change", () => { isHeld = false; });
    input.addEventListener("blur", () => { isHeld = false; });
  };
  held(fine, (k, event) => goTo(start + k, event));
  held(coarse, (to, event) => goTo(to, event));
  const xIn = (canvas, event) => {
    const rect = canvas.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - rect.left - INSET) / (rect.width - 2 * INSET), 0), 1);
  };
  const drag = (surface, moved, ended) => {
    let isDown = false;
    surface.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !film.frames) return;
      surface.setPointerCapture(event.pointerId);
      isDown = isHeld = true;
      moved(event, true);
    });
    surface.addEventListener("pointermove", (event) => { if (isDown) moved(event, false); });
    const up = () => { if (isDown) { isDown = isHeld = false; ended?.(); } };
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) surface.addEventListener(name, up);
  };
  drag(session.canvas, (event) => {
    goTo(xIn(session.canvas, event) * (film.frames - 1), event);
    if (clock) restart();
  });
  drag(strip.canvas, (event, isFirst) => {
    const k = Math.round(xIn(strip.canvas, event) * (film.window - 1));
    if (isFirst && film.reads_video && (event.shiftKey || give.getAttribute("aria-pressed") === "true")) begin(k);
    if (stroke) paintTo(k);
    else { goTo(start + k, event); if (clock) restart(); }
  }, end);

  // -- giving and hiding frames -------------------------------------------------------------
  const strokes = strokesOf((seq) => {
    const runs = [];
    for (let k = 0; k < mine.length; k++) {
      if (mine[k] !== WAITS) continue;
      const first = k;
      while (k < mine.length && mine[k] === WAITS) mine[k++] = seq;
      runs.push([first, k]);
    }
    return runs.length && stroke ? [{ runs, visible: stroke.visible }] : null;
  });
  function begin(k) {
    stroke = { visible: !visible[k], last: k };
    strokes.begin();
  }
  function paintTo(k) {
    const [first, last] = [Math.min(k, stroke.last), Math.max(k, stroke.last)];
    for (let n = first; n <= last; n++) {
      mine[n] = WAITS;
      mineShown[n] = visible[n] = Number(stroke.visible);
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
    ",": () => step(-film.step), ".": () => step(film.step),
    k: () => set("playing", !model.get("playing")),
    "Shift+ArrowLeft": () => step(-film.window), "Shift+ArrowRight": () => step(film.window),
  };
  const arrows = { ArrowLeft: () => step(-film.step), ArrowRight: () => step(film.step) };
  bindKeys(picture.canvas, { ...keys, ...arrows, " ": keys.k });
  bindKeys(strip.canvas, { ...keys, ...arrows, " ": toggleFrame });
  bindKeys(fine, keys);
  bindKeys(coarse, keys);

  follow("rate", (value) => { rate.value = value; if (clock) restart(); });
  follow("stride", (value) => { stride.value = value; });
  follow("playing", showPlaying);
  show();
  ready(keys);
  return close;
}

export default { render };
