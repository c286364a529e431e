// Record of a panel: draws items of the kernel, and tells it what is pressed and chosen.
// Elements are kept by the names of their items, so that the focus stays.

let WIDE = 520, TALL = 300; // of the drawing that is made now; smaller in a row
const TICKED = 52, RIGHT = 12, ABOVE = 12, BELOW = 42;
const RIM = 1.12; // of the largest value: where the colours of directions are
const HEAD = 16; // height of a title
const ROWS = 360; // height of rows of traces
const ABOVE_CELLS = 24, CELL = 40; // height of the names of the columns, and of a row of a matrix
const SHORT = 12; // letters of a label for which narrow columns of a form have room
const IN_ROW = 220; // width and height of a drawing in a row; frames of video alone are as high as they need
const LISTED = 8; // rows of a list
const TYPING_MS = 120; // after the last letter, a text is sent
const GROUND = "#16181d", INK = "#c9cdd3", RULE = "#3a3e47", ROOM = 11, LETTER = 6; // size and width of a letter
const PITCH = 13; // distance of two lines of text

function shape(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
const words = (text, x, y, { anchor = "middle", fill = INK, size = ROOM, ...more } = {}) =>
  shape("text", { x, y, fill, "text-anchor": anchor, "font-size": size, "font-family": "system-ui, sans-serif", ...more }, text);
const path = (points, stroke, more = {}) =>
  shape("polyline", { points: points.map((at) => at.join()).join(" "), stroke, fill: "none", "stroke-width": 1.5, ...more });
// A point that tells its numbers to the pointer, to the keyboard and to screen readers.
const STAR = Array.from({ length: 10 }, (_, k) => [k % 2 ? 0.4 : 1, Math.PI * (k / 5 - 0.5)]);
const outlines = { // of a mark of size 1
  s: [[-0.8, -0.8], [0.8, -0.8], [0.8, 0.8], [-0.8, 0.8]],
  d: [[0, -1.1], [1.1, 0], [0, 1.1], [-1.1, 0]],
  t1: [[0, -1], [1, 0.8], [-1, 0.8]],
  star: STAR.map(([r, angle]) => [1.7 * r * Math.cos(angle), 1.7 * r * Math.sin(angle)]),
};
function mark([x, y], colour, tip, symbol = "o", isOpen = false, r = tip ? 5 : 3) {
  const told = tip ? { tabindex: 0, role: "img", "aria-label": tip } : {};
  const points = outlines[symbol]?.map(([dx, dy]) => [x + r * dx, y + r * dy].join()).join(" ");
  const look = { fill: isOpen ? GROUND : colour, stroke: isOpen ? colour : "none", "stroke-width": 1.5 };
  return shape(points ? "polygon" : "circle", { ...(points ? { points } : { cx: x, cy: y, r }), ...look, ...told }, ...(tip ? [shape("title", {}, tip)] : []));
}
const rgb = ([red, green, blue]) => `rgb(${red}, ${green}, ${blue})`;
const BAND = 0.18; // opacity of the band around a line
const PALE = 0.45; // opacity of what is preliminary or of an older mask
const DASHES = {
  solid: {}, dashed: { "stroke-dasharray": "5 3" }, dotted: { "stroke-dasharray": "2 3" }, "dash-dot": { "stroke-dasharray": "7 3 2 3" },
  "long-dash": { "stroke-dasharray": "12 4" }, "long-dash-dot": { "stroke-dasharray": "12 3 2 3" }, none: { stroke: "none" },
};
// Many points without tips are one path of dots: a page is slow with thousands of elements.
const dots = (points, colour, size) => shape("path", { d: points.map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`).join(""),
  stroke: colour, fill: "none", "stroke-width": size, "stroke-linecap": "round" });
const bars = (points, width, ground, colour) => points.map(([x, y]) =>
  shape("rect", { x: x - width / 2, y: Math.min(y, ground), width, height: Math.abs(ground - y), fill: colour }));
// The numbers of the points of a line between its gaps; lines with marks have no gaps.
function runsOf({ y, symbol }) {
  const known = [...y.keys()].filter((k) => Number.isFinite(y[k]));
  if (symbol) return [known];
  return known.reduce((runs, k) => { if (runs.at(-1)?.at(-1) === k - 1) runs.at(-1).push(k); else runs.push([k]); return runs; }, []);
}
// Address of an image of pixels, with or without opacity.
function pictureOf(pixels) {
  const [height, width, depth] = pixels.shape, canvas = make("canvas", { width, height });
  const image = new ImageData(width, height);
  for (let k = 0; k < width * height; k++) {
    for (let part = 0; part < 3; part++) image.data[4 * k + part] = pixels[depth * k + part];
    image.data[4 * k + 3] = depth === 4 ? pixels[4 * k + 3] : 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas.toDataURL();
}
// The lines of a text, each of at most so many letters where words allow it.
function wrapped(text, most) {
  const lines = [""];
  for (const word of text.split(" ")) {
    if (lines.at(-1) && lines.at(-1).length + word.length >= most) lines.push("");
    lines[lines.length - 1] += `${lines.at(-1) ? " " : ""}${word}`;
  }
  return lines;
}
const finite = (values) => values.filter(Number.isFinite);
// Ticks as [place, text, row], of which no two texts touch in a row. Nothing tells a name that is
// left out: names take further rows. Numbers take a second row where that is enough for all of them,
// else they are the last tick, which tells the range, and those from the first on for which there is
// room.
function apart(ticks, xOf) {
  const halfOf = (text) => text.length * LETTER / 2 + 2;
  const placed = (some, mostRows) => {
    const kept = [];
    const isFree = (tick, row) => kept.every(([x, text, of]) => of !== row || Math.abs(xOf(x) - xOf(tick[0])) >= halfOf(text) + halfOf(tick[1]));
    for (const tick of some) {
      let row = 0;
      while (row < mostRows && !isFree(tick, row)) row++;
      if (row < mostRows) kept.push([...tick, row]);
    }
    return kept;
  };
  const isNamed = ticks.some(([, text]) => /^\p{L}/u.test(text)), two = placed(ticks, 2);
  if (isNamed) return placed(ticks, ticks.length);
  return two.length === ticks.length ? two : placed([...ticks.slice(-1), ...ticks], 1);
}

// Each returns the shapes of a content in WIDE x TALL.
const drawings = {
  message: (item) => item.text.split("\n").flatMap((line) => wrapped(line, WIDE / 7)).map((line, k) => words(line, WIDE / 2, TALL / 2 + 16 * k, { size: 13 })),
  curves(item, _colours, element) {
    const width = WIDE, height = TALL;
    const place = item.is_log ? Math.log10 : Number;
    const places = item.lines.flatMap((line) => [...line.x].map(place));
    const heights = finite(item.lines.flatMap((line) => [...[...line.y].flatMap((y, k) => {
      const sd = line.sd[k] || 0;
      return [y - sd, y + sd];
    }), ...line.fit_y]).concat(item.baseline ? [item.baseline[0]] : [], item.in_view));
    const [left, right, bottom, above] = item.limits ?? [Math.min(...places, places.length ? Infinity : 0),
      Math.max(...places, places.length ? -Infinity : 1),
      Math.min(...heights, heights.length ? Infinity : 0), Math.max(...heights, heights.length ? -Infinity : 1)];
    // Intervals are in view, too; much longer ones reach beyond the plot.
    const intervals = item.limits ? [] : finite(item.lines.flatMap((line) => [...line.ends]));
    const low = Math.max(Math.min(bottom, ...intervals), 2 * bottom - above), high = Math.min(Math.max(above, ...intervals), 2 * above - bottom);
    const margin = item.limits ? 0 : 14; // within given limits, nothing is added
    const first = item.limits ? place(left) : left, span = Math.max((item.limits ? place(right) : right) - first, 0.01);
    const tall = Math.max(high - low, 1e-12);
    const LEFT = item.up || !item.up_ticks || item.up_ticks.length ? TICKED : RIGHT; // room for texts, if there are any
    const xOf = (x) => LEFT + margin + (place(x) - first) / span * (width - LEFT - RIGHT - 2 * margin);
    const names = item.lines.filter((line) => line.label).map((line) => [line.label, line.colour]);
    if (item.baseline) names.push([item.baseline[1], INK]);
    const across = roundStep(span / 5), round = Array.from({ length: item.ticks ? 0 : Math.floor((first + span) / across) - Math.ceil(first / across) + 1 },
      (_, k) => (Math.ceil(first / across) + k) * across);
    const ticks = apart(item.ticks ?? round.map((x) => [x, numberText(x)]), xOf);
    const below = BELOW + PITCH * Math.max(0, ...ticks.map(([, , row]) => row));
    const top = ABOVE + 10 + HEAD * Boolean(item.title) + 12 * names.length; // the names of the lines stand above them
    const yOf = (y) => top + (high - y) / tall * (height - top - below - 6);
    element.places = { xOf, yOf, at: (x, y) => [ // without a logarithm: only such plots are pressed
      first + (x - LEFT - margin) / (width - LEFT - RIGHT - 2 * margin) * span, high - (y - top) / (height - top - below - 6) * tall] };
    const shapes = [];
    if (item.raster) {
      const { pixels, place: [from, to, under, over] } = item.raster, href = pictureOf(pixels);
      shapes.push(shape("image", { href, x: xOf(from), y: yOf(over), width: xOf(to) - xOf(from), height: yOf(under) - yOf(over),
        preserveAspectRatio: "none", style: "image-rendering: pixelated" }));
    }
    const step = roundStep(tall / 5);
    for (let y = Math.ceil(low / step) * step; y <= high && !item.up_ticks; y += step) {
      shapes.push(path([[LEFT, yOf(y)], [width - RIGHT, yOf(y)]], RULE, { "stroke-width": 1 }));
      shapes.push(words(numberText(y), LEFT - 6, yOf(y) + 4, { anchor: "end" }));
    }
    for (const [y, text] of item.up_ticks ?? [])
      text.split("\n").forEach((line, k) => shapes.push(words(line, LEFT - 6, yOf(y) + 4 + PITCH * k, { anchor: "end" })));
    for (const [x, text, row] of ticks) shapes.push(words(text, xOf(x), height - below + 16 + PITCH * row));
    shapes.push(words(item.across, (LEFT + width) / 2, height - 8));
    shapes.push(words(item.up, 12, height / 2, { transform: `rotate(-90 12 ${height / 2})` }));
    if (item.baseline) shapes.push(path([LEFT, width - RIGHT].map((x) => [x, yOf(item.baseline[0])]), INK, { "stroke-dasharray": "4 3" }));
    for (const line of item.lines) {
      const at = [...line.y].map((y, k) => [xOf(line.x[k]), yOf(y)]), drawn = shapes.length;
      at.slice(0, line.ends.length / 2).forEach(([x], k) => shapes.push(path([0, 1].map((end) => [x, yOf(clamp(line.ends[2 * k + end], low, high))]), line.colour)));
      const runs = runsOf(line); // between gaps
      for (const run of runs) {
        const banded = run.filter((k) => Number.isFinite(line.error[k]));
        const edge = (sign) => banded.map((k) => [xOf(line.x[k]), yOf(line.y[k] + sign * line.error[k])]);
        if (banded.length) shapes.push(shape("polygon", { points: [...edge(1), ...edge(-1).reverse()].map((one) => one.join()).join(" "), fill: line.colour, opacity: BAND }));
      }
      line.sd.forEach((sd, k) => { if (sd > 0) shapes.push(path([-sd, sd].map((by) => [at[k][0], yOf(line.y[k] + by)]), line.colour)); });
      shapes.push(path([...line.fit_x].map((x, k) => [xOf(x), yOf(line.fit_y[k])]), line.colour, { "stroke-dasharray": "1 3" }));
      if (line.bar) shapes.push(...bars(at, xOf(line.bar) - xOf(0), yOf(0), line.colour));
      else if (line.dash !== "none") shapes.push(...runs.map((run) => path(run.map((k) => at[k]), line.colour, DASHES[line.dash])));
      if (line.symbol && !line.tips.length && line.dash === "none") shapes.push(dots(at, line.colour, 4));
      else if (line.symbol) shapes.push(...runs.flat().map((k) => mark(at[k], line.colour, line.tips[k], line.symbol, line.is_open, line.dash === "none" ? 2 : undefined)));
      if (line.is_pale) shapes.slice(drawn).forEach((one) => one.setAttribute("opacity", PALE));
    }
    names.forEach(([text, fill], k) => shapes.push(words(text, width - RIGHT, ABOVE + 4 + HEAD * Boolean(item.title) + 14 * k, { anchor: "end", fill })));
    return shapes;
  },
  polar(item, colours) {
    const ends = [...item.values].map((value, k) => value + (item.error[k] || 0)), head = HEAD * Boolean(item.title);
    const most = Math.max(...finite(ends), 1e-12), radius = (TALL - head) / 2 - 12, middle = (TALL + head) / 2;
    const at = (degrees, value) => {
      const angle = degrees * Math.PI / 180, r = radius * value / (RIM * most);
      return [WIDE / 2 + r * Math.cos(angle), middle - r * Math.sin(angle)];
    };
    const edge = RIM * most, n = colours.cycle.length;
    const points = [...item.values].map((value, k) => at(item.degrees[k], value));
    return [
      ...colours.cycle.map((colour, k) => shape("circle", { cx: at(360 * k / n, edge)[0], cy: at(360 * k / n, edge)[1], r: 4, fill: rgb(colour) })),
      words("0°", at(0, edge)[0] + 16, middle + 4), words("90°", WIDE / 2, at(90, edge)[1] + 20),
      path([...points, points[0]], item.colour), ...points.map((point) => mark(point, item.colour)),
      ...[...item.error].map((error, k) => path([-1, 1].map((sign) => at(item.degrees[k], item.values[k] + sign * error)), item.colour)),
      ...(item.level === null ? [] : [path(Array.from({ length: 73 }, (_, k) => at(5 * k, item.level)), RULE, DASHES.dotted)]),
      ...item.spokes.map(([degrees, colour, isDotted]) =>
        path([at(0, 0), at(degrees, most)], colour, isDotted ? { "stroke-dasharray": "2 3" } : {})),
    ];
  },
  image(item) {
    const [height, width] = item.pixels.shape;
    const head = HEAD * Boolean(item.title), tall = TALL - head;
    const scale = Math.min(WIDE / width, tall / height), x0 = (WIDE - scale * width) / 2, y0 = head + (tall - scale * height) / 2;
    const at = (x, y) => [x0 + scale * x, y0 + scale * y];
    const outline = Array.from({ length: item.outline.length / 2 }, (_, k) => at(item.outline[2 * k], item.outline[2 * k + 1]));
    const shapes = [shape("image", { href: pictureOf(item.pixels), x: x0, y: y0, width: scale * width, height: scale * height, style: "image-rendering: pixelated" })];
    if (outline.length) shapes.push(path(outline, item.colour));
    if (item.place) {
      const [x, y] = at(...item.place);
      shapes.push(path([[x - 7, y], [x + 7, y]], item.colour), path([[x, y - 7], [x, y + 7]], item.colour));
    }
    if (item.circle) {
      const [cx, cy] = at(...item.circle);
      shapes.push(shape("circle", { cx, cy, r: 6, fill: "none", stroke: item.circle[2], "stroke-width": 1.5 }));
    }
    return shapes;
  },
  matrix(item, colours) {
    const [n, across] = item.values.shape, left = 110;
    const wide = (WIDE - left - RIGHT) / across, tall = (TALL - ABOVE_CELLS) / n, above = ABOVE_CELLS, shapes = [];
    item.columns.forEach((name, k) => shapes.push(words(name, left + (k + 0.5) * wide, above - 8)));
    item.rows.forEach((name, row) => {
      const middle = above + (row + 0.5) * tall;
      shapes.push(words(name, left - 6, middle + 4, { anchor: "end" }));
      for (let column = 0; column < across; column++) {
        const share = (item.values[row * across + column] - item.low) / Math.max(item.high - item.low, 1e-12);
        const fill = Number.isFinite(share) ? rgb(colours.shares[Math.round(share * (colours.shares.length - 1))]) : "none";
        const tip = item.tips[row][column], text = item.texts[row][column];
        shapes.push(shape("g", { role: "img", "aria-label": tip }, shape("title", {}, tip),
          shape("rect", { x: left + column * wide, y: above + row * tall, width: wide - 1, height: tall - 1, fill }),
          words(text, left + (column + 0.5) * wide, middle + 4, { fill: Number.isFinite(share) && share > colours.bright ? "#101010" : "#f0f0f0" })));
      }
    });
    return shapes;
  },
};
const ground = (wide = WIDE, tall = TALL) => shape("rect", { width: wide, height: tall, fill: GROUND, rx: 3 });

function render({ model, el }) {
  const { name, columns: columnOf, colours } = model.get("_constants");
  const handlers = {
    clipboard: ({ text, note }) => copyText(text, copied, note),
    file: (message, buffers) => save(message.name, bytes(buffers[0])),
    picture: savePicture,
    rows: (message) => { if (message.view === page.view) longTables.get(message.name)?.take(message); },
    open_file: ({ label, near }) => ask(label, near && `${near}/`, (path) => { if (path) send("read", { path }); }),
    settings: (message) => showSettings(message),
    ask_text: ({ label, value }) => ask(label, value, (text) => send("take", { text })),
  };
  const columns = Array.from({ length: 1 + Math.max(...columnOf) }, () => make("div"));
  columnOf.forEach((place, k) => {
    const block = make("div");
    columns[place].append(block);
    handlers[`block${k}`] = ({ items }, buffers) => drawEntries(block, items, [...buffers]);
  });
  const longTables = new Map();
  const page = connect({ model, el }, name, handlers);
  const { send } = page;
  const copied = makeStatus("omnimouse-quiet", "status");
  const save = (fileName, content) => { // only the browser knows the folder
    download(fileName, content);
    showNote(copied, page.texts.saved.replace("{}", fileName));
  };
  const press = (action) => send("press", { name: action });
  const pick = (content, ...place) => send("pick", { name: content, place });
  const keys = commonKeys(send); // and those of the actions, while they are drawn
  const choose = (field, value) => send("choose", { name: field, value });

  // A field for a path or a name that an action asks for.
  let take = () => {};
  const field = make("input", { type: "search" });
  const answer = () => { asked.hidden = true; take(field.value); };
  field.onkeydown = (event) => {
    if (event.key === "Enter") answer();
    if (event.key === "Escape") asked.hidden = true;
    event.stopPropagation();
  };
  const done = makeButton("", "", answer);
  const asked = makeBar(field, done);
  asked.hidden = true;
  const ask = (label, value, then) => {
    field.ariaLabel = field.title = done.textContent = label;
    field.value = value;
    take = then;
    asked.hidden = false;
    field.focus();
    field.select();
  };
  // A form that an action opens. Its fields are drawn as those of a record.
  const opened = make("div"), apply = makeButton("", "", () => send("apply", {})), close = makeButton("✕", "", () => { opened.hidden = true; });
  let settings = null;
  opened.hidden = true;
  const showSettings = ({ label, help, fields }) => {
    opened.hidden = !fields.length;
    if (!fields.length) return;
    if (!settings || apply.textContent !== label) {
      settings = makers.settings({ name: "asked", apply: "asked" });
      opened.replaceChildren(settings[0], makeBar(apply, close));
    }
    const wrong = fields.find((each) => each.reason);
    settings[1]({ form: fields });
    apply.textContent = apply.ariaLabel = label;
    apply.title = wrong ? `${wrong.label}: ${wrong.reason}` : help;
    apply.disabled = Boolean(wrong);
  };
  const beside = make("div", { className: "omnimouse-columns" }, ...columns);
  el.append(asked, opened, columns.length > 1 ? beside : columns[0], copied);
  bindKeys(el, keys, ({ target }) => target.matches("button"));

  const tones = { plain: "", quiet: "omnimouse-quiet", warning: "omnimouse-tone-waiting", problem: "omnimouse-problem" };
  // Elements of an item, and the function that draws the item in them.
  const makers = {
    text: (item) => {
      const element = makeStatus(`omnimouse-lines ${tones[item.tone]}`, item.tone === "problem" ? "alert" : "status");
      return [element, ({ text, tip }) => { element.textContent = element.ownText = text; element.title = tip; element.hidden = !text; }];
    },
    progress: (item) => {
      const element = make("progress", { max: 1, aria: { label: item.label } });
      return [element, ({ share }) => { if (share === null) element.removeAttribute("value"); else element.value = share; }];
    },
    action: (item) => {
      const element = makeButton(item.label, item.help, () => press(item.name));
      if (item.over) element.classList.add("omnimouse-over");
      // A letter with Shift is a capital one.
      const letter = (_, shift, key) => (shift ? key : key.toLowerCase());
      if (item.key) keys[item.key.replace(/(Left|Right)$/, "Arrow$1").replace(/^(Shift\+)?([A-Z])$/, letter).replace(/\+[A-Z]$/, (key) => key.toLowerCase())] = () => press(item.name);
      return [element, (now) => {
        element.textContent = now.label;
        element.disabled = Boolean(now.refusal);
        element.title = now.refusal || now.help;
      }];
    },
    menu: (item) => {
      const list = make("div"), summary = make("summary", { role: "button" });
      const element = make("details", { className: "omnimouse-more omnimouse-chip" }, summary, list);
      summary.addEventListener("click", (event) => {
        event.preventDefault();
        element.open = !element.open;
        list.className = "";
        let cut = element.parentElement;
        while (cut && getComputedStyle(cut).overflowY === "visible") cut = cut.parentElement;
        const [shown, within] = [list, cut ?? document.body].map((one) => one.getBoundingClientRect());
        // A tab cuts what reaches below it.
        if (shown.bottom > within.bottom && element.getBoundingClientRect().top - shown.height > within.top) list.className = "omnimouse-above";
      });
      element.addEventListener("keydown", (event) => {
        if (event.key !== "Escape" || !element.open) return;
        element.open = false;
        summary.focus();
        event.stopPropagation(); // otherwise the notebook takes the focus
      });
      element.addEventListener("focusout", (event) => { if (!element.contains(event.relatedTarget)) element.open = false; });
      return [element, (now) => {
        summary.textContent = `${now.label} ▾`;
        summary.title = now.refusal || now.help;
        summary.ariaDisabled = element.inert = Boolean(now.refusal);
        list.replaceChildren(...now.actions.map((action) => makeButton(action.label, action.refusal || action.help,
          () => { element.open = false; press(action.name); }, { disabled: Boolean(action.refusal) })));
      }];
    },
    choice: (item) => {
      if (item.is_row) {
        const group = makeGroup(item.label);
        let offered = "";
        return [makeBar(group), (now) => {
          // New ones for the same options would take the focus from the pressed one.
          if (offered !== JSON.stringify(now.options)) {
            group.replaceChildren(...now.options.map(([value, label]) => makeButton(label, "", () => choose(item.name, value), { value })));
          }
          offered = JSON.stringify(now.options);
          [...group.children].forEach((one, k) => {
            setPressed(one, one.value === now.value);
            one.disabled = Boolean(now.refusal);
            one.title = now.refusal || now.options[k][2];
          });
        }];
      }
      const element = makeSelect(item.label, (value) => choose(item.name, value), item.help);
      if (item.key) keys[item.key.toLowerCase()] = () => send("choose_next", { name: item.name });
      let options = "";
      return [element, (now) => {
        // Filling an open select would close it.
        if (options !== JSON.stringify(now.options)) fillSelect(element, now.options, now.value);
        options = JSON.stringify(now.options);
        element.value = now.value;
        element.disabled = Boolean(now.refusal);
        element.title = now.refusal || now.help;
      }];
    },
    number: (item) => {
      const box = make("input", { type: "number", title: item.help, aria: { label: item.label } });
      const unit = make("span");
      let isTyping = false;
      box.oninput = () => { isTyping = true; };
      box.onblur = () => { isTyping = false; };
      box.onchange = () => {
        isTyping = false;
        // An empty box stands for the least number: 0 of those that have a word for it.
        choose(item.name, clamp(Math.round(Number(box.value) || item.low), item.low, item.high));
      };
      return [make("label", { className: "omnimouse-group" }, box, unit), (now) => {
        // The unit stands beside the box: "all windows" is "all" in it.
        Object.assign(box, { min: now.low, max: now.high, placeholder: now.none.replace(now.unit, "") });
        const isNone = now.none !== "" && now.value === 0;
        // The panel is told again while something runs.
        if (!isTyping) box.value = isNone ? "" : now.value;
        unit.textContent = now.unit;
      }];
    },
    switch: (item) => {
      const button = makeButton("", "", () => choose(item.name, button.ariaPressed !== "true"));
      const more = item.actions.length ? makers.menu(item) : null;
      const element = more ? make("span", { className: "omnimouse-chip" }, button, more[0]) : button;
      return [element, ({ label, help, is_on: isOn, sign, actions }) => {
        button.replaceChildren(label);
        if (sign) {
          const glyph = make("span", { textContent: `${sign[0]} `, className: "omnimouse-sample" });
          glyph.style.color = sign[1];
          button.prepend(glyph);
        }
        button.title = help;
        setPressed(button, isOn);
        more?.[1]({ label: "", help, actions });
      }];
    },
    // Numbers are text fields: the page would drop what is not a number, and the form says
    // why it is refused.
    settings: (item) => {
      const element = make("div", { className: "omnimouse-settings" }), cells = new Map();
      let made = "";
      const makeCell = ({ name: field, kind, empty, stroke }) => {
        const type = stroke ? "range" : kind === "switch" ? "checkbox" : "text";
        const control = kind === "choice" ? make("select") : make("input", { type, placeholder: empty });
        const value = () => (kind === "choice" ? control.selectedIndex : kind === "switch" ? control.checked : control.value);
        let typing = 0;
        const of = item.name === "asked" ? { asked: true } : {};
        control.onchange = () => { clearTimeout(typing); typing = 0; send("fill", { ...of, name: item.name, field, typed: value() }); };
        if (control.type === "text") control.oninput = () => { clearTimeout(typing); typing = setTimeout(control.onchange, TYPING_MS); };
        if (stroke) bindSlider(control, stroke, { name: item.name, field });
        control.addEventListener("keydown", (event) => {
          event.stopPropagation(); // letters and digits are typed
          if (event.key === "Enter" && item.apply) { control.onchange(); if (item.name === "asked") send("apply"); else press(item.apply); }
        });
        const reason = makeProblem(), name = make("span");
        element.append(make("div", {}, make("label", { className: "omnimouse-field" }, name, control), reason));
        return { control, reason, name, options: "", isTyping: () => typing !== 0 };
      };
      return [element, ({ form }) => {
        // A form may show other settings: those of another family of models.
        const named = JSON.stringify(form.map(({ name, kind }) => [name, kind]));
        if (named !== made) {
          cells.clear();
          element.replaceChildren();
        }
        made = named;
        form.forEach((each) => {
          if (!cells.has(each.name)) cells.set(each.name, makeCell(each));
          const cell = cells.get(each.name), { control } = cell, options = JSON.stringify(each.options);
          if (each.kind === "choice") {
            const same = JSON.stringify(each.value), at = each.options.findIndex(([value]) => JSON.stringify(value) === same);
            // Filling an open select would close it.
            if (cell.options !== options) fillSelect(control, each.options.map(([, text, tip], k) => [k, text, tip]));
            cell.options = options;
            control.selectedIndex = at;
          } else if (each.kind === "switch") control.checked = each.value;
          else if (each.stroke) {
            [control.min, control.max] = each.ends;
            if (!control.isDragged) control.value = each.value; // the page is ahead of the kernel
          }
          // Not while the user goes on typing.
          else if (!cell.isTyping() && (control !== control.getRootNode().activeElement || !control.value)) control.value = each.value;
          cell.name.textContent = each.unit && !each.stroke ? `${each.label} (${each.unit})` : each.label;
          control.disabled = Boolean(each.refusal);
          control.title = each.refusal || (each.stroke ? `${each.help}: ${each.value} ${each.unit}` : each.help);
          control.setAttribute("aria-invalid", String(Boolean(each.reason)));
          // A sign as well as a colour; a value that waits has its own sign.
          const waits = each.reason.startsWith("◌");
          cell.reason.className = waits ? "omnimouse-status" : "omnimouse-problem";
          showProblem(cell.reason, each.reason && !waits ? `✕ ${each.reason}` : each.reason);
        });
        const isShort = [...cells.values()].every(({ name }) => name.textContent.length <= SHORT);
        element.classList.toggle("omnimouse-short", isShort);
      }];
    },
    legend: makeSigns,
    table: (item) => {
      if (!("pick" in item)) return makeList(item);
      const table = make("table", { className: "omnimouse-rows" });
      const cells = (kind, texts) => make("tr", {}, ...texts.map((text) => make(kind, {}, text)));
      // Its own scroll bars: a table of many or wide rows would make the whole panel as long.
      return [make("div", { className: "omnimouse-table", tabIndex: 0 }, table), (now) => {
        table.ariaLabel = now.label;
        table.replaceChildren(cells("th", now.titles), ...now.rows.map((row) => cells("td", row)));
        now.colours.forEach((colour, row) => { table.rows[row + 1].cells[0].style.color = colour; });
      }];
    },
    longtable: (item) => {
      const table = makeLongTable(item, page, keys, model.get("height") ?? 320);
      longTables.set(item.name, table);
      table.element.mark = table.mark;
      return [table.element, table.show];
    },
    traces: (item) => makeTraces(item),
    cells: (item) => rasterCells(item, { model, page, handlers, keys, statusOf: () => elements.get("status")?.[0] }),
    row: () => {
      const element = makeBar();
      return [element, (now, arrays) => {
        const plots = now.items.filter((item) => item.kind in drawings);
        const place = now.items.length < 2 ? "" : plots.every((item) => item.kind === "image") ? "frames" : "row";
        drawEntries(element, now.items, arrays, place);
        element.hidden = !now.items.length;
      }];
    },
  };
  // A drag of a slider is one undo step: its first message begins it, and its last ends it.
  const bindSlider = (control, stroke, field) => {
    let isBegun = false, isOver = false;
    const filling = page.queue("fill", () => {
      const fields = { ...field, typed: control.value, ...(isBegun ? {} : { begin: { stroke } }), ...(isOver && { end: true }) };
      isBegun = !isOver;
      return [fields];
    });
    control.addEventListener("pointerdown", () => { control.isDragged = true; });
    control.oninput = () => { if (control.isDragged) filling.soon(); };
    const changed = control.onchange; // by keys
    control.onchange = () => { if (!control.isDragged) changed(); };
    const release = () => {
      if (!control.isDragged) return;
      control.isDragged = false;
      isOver = true;
      if (isBegun) filling.now();
      isOver = isBegun = false;
    };
    control.addEventListener("pointerup", release);
    control.addEventListener("pointercancel", release);
  };
  // Rows of curves are pixels: they have too many points for shapes.
  const makeTraces = (item) => {
    const element = make("div", { className: "omnimouse-traces" });
    let target = null;
    const moving = page.queue("pick", () => {
      const place = target;
      target = null;
      return place === null ? null : [{ name: item.name, place: [place] }];
    });
    const stack = traceStack(element, {
      name, label: item.label, texts: page.texts, keys, onClose: page.onClose, height: ROWS,
      colours: { ...colours.traces, text: INK, ground: GROUND, truth: item.colours[0], predicted: item.colours[1] },
      onMove: (time_s) => { target = time_s; moving.soon(); },
      onStep: (by) => send("steps", by),
    });
    page.follow("height", (height) => { if (height) stack.setHeight(height); });
    element.mark = ({ x }) => stack.moveTo(x.length ? x[0] : null);
    element.picture = stack.picture;
    return [element, (now) => { stack.show(now, now.buffers); if (now.tip) stack.canvas.title = now.tip; }];
  };
  // Rows that are pressed: a list, which the keyboard knows. Texts of a column are as wide.
  const makeList = (item) => {
    const titles = make("div", { className: "omnimouse-quiet omnimouse-list" });
    const list = make("select", { size: LISTED, className: "omnimouse-list", aria: { label: item.label }, title: item.label });
    list.onchange = () => pick(item.name, list.selectedIndex);
    const element = make("div", { className: "omnimouse-listed" }, titles, list);
    element.mark = ({ row }) => { list.selectedIndex = row ?? -1; };
    return [element, ({ titles: names, rows }) => {
      const widths = names.map((title, k) => Math.max(title.length, ...rows.map((row) => row[k].length)) + 2);
      const line = (cells) => cells.map((cell, k) => cell.padEnd(widths[k])).join("");
      titles.textContent = line(names);
      // Spaces of an option would be merged.
      list.replaceChildren(...rows.map((row) => make("option", { textContent: line(row).replaceAll(" ", "\u00a0") })));
    }];
  };
  // All other contents are drawings.
  const makeDrawing = (item) => {
    const element = shape("svg", { viewBox: `0 0 ${WIDE} ${TALL}`, role: "group", tabindex: 0 });
    const over = shape("g"), overlays = new Map();
    bindKeys(element, keys);
    let isPressed = false;
    const placeOf = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(element.getScreenCTM().inverse());
    let outline = "", drag = []; // in units of the drawing
    const sketch = shape("polygon", { fill: "none", stroke: INK, "stroke-dasharray": "4 3" });
    const corners = () => {
      const [[x0, y0], [x1, y1]] = [drag[0], drag.at(-1)];
      return drag.length === 1 || outline === "lasso" ? drag : [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
    };
    element.addEventListener("pointerdown", (event) => {
      if (!element.places || event.button) return;
      const { x, y } = placeOf(event);
      if (isPressed) pick(item.name, ...element.places.at(x, y));
      if (!outline) return;
      drag = [[x, y]];
      element.setPointerCapture(event.pointerId);
    });
    element.addEventListener("pointermove", (event) => {
      if (!drag.length) return;
      const { x, y } = placeOf(event);
      drag.push([x, y]);
      sketch.setAttribute("points", corners().map((at) => at.join()).join(" "));
      element.append(sketch);
    });
    element.addEventListener("pointerup", (event) => {
      if (!drag.length || !element.places) return;
      const places = Float32Array.from(corners().flatMap((at) => element.places.at(...at)));
      drag = [];
      sketch.remove();
      send("select", { name: item.name, add: event.shiftKey || event.ctrlKey || event.metaKey }, [places.buffer]);
    });
    element.mark = (moved) => {
      overlays.set(moved.name, moved);
      const { xOf, yOf } = element.places ?? {};
      over.replaceChildren(...(xOf ? [...overlays.values()] : []).flatMap((one) => {
        const at = [...one.x].map((x, k) => [xOf(x), yOf(one.y[k])]);
        if (one.bar) return bars(at, xOf(one.bar) - xOf(0), yOf(0), one.colour);
        if (one.symbol === "o") return [dots(at, one.colour, 6)];
        if (!one.symbol) return [path(at, one.colour, { ...DASHES[one.dash], "stroke-width": 2 })];
        return at.map((place) => shape("g", { opacity: one.is_pale ? PALE : 1 }, mark(place, one.colour, one.tip, one.symbol)));
      }));
    };
    return [element, (now, _, place) => {
      [WIDE, TALL] = place ? [IN_ROW, IN_ROW] : [520, 300];
      // Not higher than its cells.
      if (now.kind === "matrix") TALL = Math.min(TALL, ABOVE_CELLS + CELL * now.values.shape[0]);
      if (place === "frames") TALL = HEAD * Boolean(now.title) + IN_ROW * now.pixels.shape[0] / now.pixels.shape[1];
      element.setAttribute("viewBox", `0 0 ${WIDE} ${TALL}`);
      isPressed = now.kind === "curves" && !("pick" in now);
      outline = now.outline ?? "";
      element.places = null;
      if (now.tip) element.setAttribute("aria-description", now.tip);
      const keepsColours = ["image", "matrix", "polar"].includes(now.kind) || now.raster || now.keeps_colours;
      element.setAttribute("class", `omnimouse-drawing ${keepsColours ? "" : "omnimouse-curves"}`);
      element.setAttribute("aria-label", now.label);
      const title = now.title ? [words(now.title, WIDE / 2, 13)] : [];
      element.replaceChildren(ground(), ...drawings[now.kind](now, colours, element), ...title, over);
      if (now.tip && (isPressed || outline)) element.prepend(shape("title", {}, now.tip));
    }];
  };

  // Replace the descriptions of arrays by the arrays, in the order of the buffers.
  function revived(value, arrays) {
    if (Array.isArray(value)) return value.map((one) => revived(one, arrays));
    if (!value || typeof value !== "object") return value;
    if (!value.array) return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, revived(one, arrays)]));
    const raw = arrays.shift(), array = value.type === "uint8" ? bytes(raw) : float32(raw);
    return Object.assign(array, { shape: value.array });
  }
  const CONTENTS = ["plot", "table", "longtable", "traces", "cells"];
  const elements = new Map(), marks = new Map();
  const contentOf = (content) => CONTENTS.map((kind) => elements.get(`${content}:${kind}`)?.[0]).find((element) => element?.isConnected);
  function drawEntries(parent, items, arrays, place = "") {
    const focused = document.activeElement, isMark = (item) => ["overlay", "currentrow", "chosenrows"].includes(item.kind);
    const kept = [], marked = [], over = [];
    for (const item of items) {
      if (isMark(item)) { marked.push(revived(item, arrays)); continue; }
      // The plots of a name share an element; a table has one of its own.
      const kind = item.kind in drawings ? "plot" : item.kind;
      const key = CONTENTS.includes(kind) ? `${item.name}:${kind}` : item.name;
      if (!elements.has(key)) elements.set(key, (makers[item.kind] ?? makeDrawing)(item));
      const [element, draw] = elements.get(key);
      element.hidden = false;
      draw(item.kind === "row" ? item : revived(item, arrays), arrays, place);
      for (const mark of marks.values()) if (mark.content === item.name) element.mark?.(mark);
      if (!item.over) { kept.push(element); continue; }
      contentOf(item.over)?.append(element);
      over.push(element);
    }
    for (const element of parent.over ?? []) if (!over.includes(element)) element.remove();
    parent.over = over;
    for (const mark of marked) {
      marks.set(mark.name, mark);
      for (const kind of CONTENTS) elements.get(`${mark.content}:${kind}`)?.[0].mark?.(mark);
    }
    if (kept.length !== parent.children.length || kept.some((element, k) => element !== parent.children[k])) parent.replaceChildren(...kept);
    // A button that is gone or disabled passes the focus to its neighbour.
    if (focused && (!focused.isConnected || focused.disabled)) {
      if (kept.some((one) => one === focused) || elements.size && [...elements.values()].some(([one]) => one === focused))
        parent.querySelector("button:enabled")?.focus();
    } else if (focused !== document.activeElement && el.contains(focused)) focused.focus();
  }

  // Drawings as they are on screen, one below the other, with a text below them, as SVG or
  // PNG for slides. Without the name of a content, all drawings.
  function savePicture({ name: fileName, content, description }) {
    const one = contentOf(content);
    const shown = content ? [one.picture?.() ?? one.querySelector("canvas") ?? one] : [...el.querySelectorAll("svg.omnimouse-drawing")].filter((each) => each.checkVisibility());
    const sizes = shown.map((each) => each.viewBox?.baseVal ?? { width: each.clientWidth || each.width, height: each.clientHeight || each.height });
    const wide = Math.max(...sizes.map((size) => size.width)), under = sizes.reduce((sum, size) => sum + size.height, 0);
    const lines = description.split("\n").flatMap((line) => wrapped(line, (wide - 12) / LETTER)), tall = under + 18 * lines.length;
    let y = 0;
    const parts = shown.map((each, k) => {
      const drawn = each.viewBox ? [...each.children].map((child) => child.cloneNode(true))
        : [shape("image", { href: each.toDataURL(), width: sizes[k].width, height: sizes[k].height })];
      const part = shape("g", { transform: `translate(0 ${y})` }, ...drawn);
      y += sizes[k].height;
      return part;
    });
    const copy = shape("svg", { xmlns: "http://www.w3.org/2000/svg", width: wide, height: tall, viewBox: `0 0 ${wide} ${tall}` }, ground(wide, tall),
      ...parts, ...lines.map((line, k) => words(line, 6, under + 12 + 18 * k, { anchor: "start" })));
    const text = new XMLSerializer().serializeToString(copy);
    if (fileName.endsWith(".svg")) { save(fileName, text); return; }
    const image = new Image(), picture = make("canvas", { width: 2 * wide, height: 2 * tall });
    image.onload = () => {
      picture.getContext("2d").drawImage(image, 0, 0, picture.width, picture.height);
      picture.toBlob((blob) => save(fileName, blob), "image/png");
    };
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  }
  if (model.get("height")) page.follow("height", (height) => longTables.forEach((table) => table.resize(height)));
  page.ready({});
  return page.close;
}
export default { render };
