// Laboratory: choose and run an experiment on the model, and see what it found.

const LAB_HEIGHT = 300, LAB_LEFT = 56, LAB_BELOW = 40, LAB_ABOVE = 14, LAB_RIGHT = 14;
const RIM = 1.12; // of the largest response: where the colours of directions are

function render({ model, el }) {
  const page = connect({ model, el }, "laboratory", {
    view: (message) => takeView(message),
    plot: (message, buffers) => takePlot(message, buffers),
    file: (message, buffers) => download(message.name, bytes(buffers[0])),
    python: (message) => copyText(message.text, copied),
  });
  const { send, set, follow } = page;
  const { choices, tips, colours, max_repeats } = model.get("_constants");

  const experiment = makeSelect("Experiment", (value) => set("experiment", value), tips.experiment);
  fillSelect(experiment, choices, model.get("experiment"));
  follow("experiment", (value) => { experiment.value = value; });
  const repeats = make("input", { type: "number", min: 1, max: max_repeats, title: tips.repeats });
  repeats.onchange = () => set("repeats", clamp(Math.round(Number(repeats.value) || 1), 1, max_repeats));
  follow("repeats", (value) => { repeats.value = value; });
  const repeatsLabel = make("label", { className: "omnimouse-group" }, repeats, "repeats");
  const label = makeSelect("Label", (value) => set("label", value), tips.label);
  follow("label", (value) => { label.value = value; });
  const run = makeButton("Run", tips.run, () => send("start"));
  const stop = makeButton("Stop", tips.stop, () => send("stop"));
  const progress = make("progress", { max: 1, value: 0, aria: { label: "Progress of the experiment" } });
  const cost = makeStatus("omnimouse-quiet", "status");
  const explanation = make("div", { className: "omnimouse-quiet" });
  const error = makeProblem();
  const plots = make("div", {});
  const neuron = makeStatus("", "status"), found = makeStatus("omnimouse-quiet");
  const colour = makeButton("Colour field", tips.colour, () => send("colour"));
  const whatIf = makeButton("What if", tips.what_if, () => send("what_if"));
  const format = makeSelect("Format of the export", () => {}, tips.format);
  const exported = makeButton("Export", tips.export, () => {
    if (format.value === "png") savePicture();
    else send("export", { format: format.value === "files" ? "csv" : format.value });
  });
  const python = makeButton("Copy as Python", tips.python, () => send("python"));
  const copied = makeStatus("omnimouse-quiet", "status");
  el.append(
    makeBar(experiment, repeatsLabel, label, run, stop, progress, cost), explanation, error, plots, neuron, found,
    makeBar(colour, whatIf, format, exported, python, copied),
  );

  function takeView(message) {
    const focused = document.activeElement;
    explanation.textContent = message.explanation;
    cost.textContent = message.is_busy ? message.message : message.cost;
    if (message.share === null) progress.removeAttribute("value");
    else progress.value = message.share;
    showProblem(error, message.error);
    run.disabled = !message.can_run;
    colour.disabled = !message.has_columns;
    fillSelect(label, message.labels.map((name) => [name, name]), model.get("label"));
    const tables = message.is_search ? [["files", "Inputs (files)"]] : [["csv", "Table (CSV)"], ["parquet", "Table (Parquet)"]];
    const formats = [...tables, ["png", "Picture (PNG)"]];
    // A search has other formats than an experiment.
    const isOffered = formats.some(([name]) => name === format.value);
    fillSelect(format, formats, isOffered ? format.value : formats[0][0]);
    exported.disabled = !message.has_result;
    whatIf.disabled = !message.has_result && !message.is_shown;
    whatIf.textContent = message.is_shown ? "As recorded" : "What if";
    whatIf.title = message.is_shown ? tips.as_recorded : tips.what_if;
    for (const [element, isShown] of [
      [repeatsLabel, message.is_experiment], [label, message.labels.length > 0], [colour, message.is_experiment], [run, !message.is_busy], [stop, message.is_busy],
      [progress, message.is_busy], [whatIf, message.is_search],
    ]) element.hidden = !isShown;
    // The key that started the experiment also stops it, and the reverse.
    if (focused === run && run.hidden) stop.focus();
    if (focused === stop && stop.hidden) run.focus();
  }

  let drawn = { kind: "none", text: "" };
  function takePlot(message, buffers) {
    neuron.textContent = message.neuron;
    found.textContent = message.found;
    drawn = message;
    if (message.kind === "image") drawn.pixels = imageOf(bytes(buffers[0]), message.width, message.height);
    else if (message.kind === "confusion") drawn.shares = float32(buffers[0]);
    else if (message.kind !== "none") [drawn.levels, drawn.values] = buffers.map(float32);
    plot.request();
  }
  function imageOf(rgb, width, height) {
    const image = new ImageData(width, height);
    for (let k = 0; k < width * height; k++) image.data.set([rgb[3 * k], rgb[3 * k + 1], rgb[3 * k + 2], 255], 4 * k);
    const canvas = make("canvas", { width, height });
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }
  const plot = canvasOf(plots, {
    label: "Tuning, receptive field or exciting image of the selected neuron",
    keys: tips.experiment,
    height: LAB_HEIGHT,
    onClose: page.onClose,
    draw: (context, width, height) => {
      context.clearRect(0, 0, width, height);
      drawResult(context, width, height);
    },
  });
  function drawResult(context, width, height) {
    if (drawn.kind === "around") drawAround(context, width, height);
    else if (drawn.kind === "curve") drawCurve(context, width, height);
    else if (drawn.kind === "image") drawImage(context, width, height);
    else if (drawn.kind === "confusion") drawConfusion(context, width, height);
    else drawText(context, drawn.text, width / 2, height / 2, "#c9cdd3", { size: 13 });
  }
  // The plot as it is on screen, with its text below, as a picture for slides.
  function savePicture() {
    const [width, height] = plot.size(), scale = 2, below = 40;
    const picture = make("canvas", { width: scale * width, height: scale * (height + below) });
    const context = picture.getContext("2d");
    context.fillStyle = "#16181d";
    context.fillRect(0, 0, picture.width, picture.height);
    context.scale(scale, scale);
    drawResult(context, width, height);
    [neuron, found].map((line) => line.textContent).filter(Boolean).forEach((line, k) =>
      drawText(context, line, width / 2, height + 16 + 16 * k, "#c9cdd3", { size: 11, maxWidth: width - 8 }));
    picture.toBlob((blob) => download(`${experiment.value}.png`, blob), "image/png");
  }

  function drawAround(context, width, height) {
    const most = Math.max(...drawn.values, 1e-12), radius = height / 2 - 12;
    const at = (degrees, value) => {
      const angle = degrees * Math.PI / 180, r = radius * value / (RIM * most);
      return [width / 2 + r * Math.cos(angle), height / 2 - r * Math.sin(angle)];
    };
    colours.cycle.forEach(([red, green, blue], k) => {
      context.fillStyle = `rgb(${red}, ${green}, ${blue})`;
      context.beginPath();
      context.arc(...at(360 * k / colours.cycle.length, RIM * most), 4, 0, 7);
      context.fill();
    });
    drawText(context, "0°", at(0, RIM * most)[0] + 16, height / 2 + 4, "#c9cdd3", { size: 11 });
    drawText(context, "90°", width / 2 + 20, at(90, RIM * most)[1] + 4, "#c9cdd3", { size: 11 });
    const points = [...drawn.values].map((value, k) => at(drawn.levels[k], value));
    drawLine(context, [...points, points[0]], colours.curve, true);
    for (const [angle, tint, dash] of [[drawn.preferred, colours.preferred, []], [drawn.true, colours.true, [2, 3]]]) {
      if (angle === null || angle === undefined) continue;
      context.setLineDash(dash);
      drawLine(context, [at(0, 0), at(angle, most)], tint, false);
      context.setLineDash([]);
    }
  }
  function drawCurve(context, width, height) {
    const high = Math.max(...drawn.values, 1e-12) * 1.05, low = Math.min(...drawn.values, 0);
    const n = drawn.levels.length;
    const xOf = (k) => LAB_LEFT + (k + 0.5) / n * (width - LAB_LEFT - LAB_RIGHT);
    const yOf = (value) => LAB_ABOVE + (high - value) / (high - low) * (height - LAB_ABOVE - LAB_BELOW);
    for (const value of [low, high / 1.05]) {
      drawText(context, value.toPrecision(3), LAB_LEFT - 6, yOf(value) + 4, "#c9cdd3", { size: 11, align: "right" });
      drawLine(context, [[LAB_LEFT, yOf(value)], [width - LAB_RIGHT, yOf(value)]], "#3a3e47", false);
    }
    drawn.levels.forEach((level, k) => drawText(context, String(Number(level.toPrecision(4))), xOf(k), height - 24, "#c9cdd3", { size: 11 }));
    drawText(context, drawn.label, width / 2, height - 7, "#c9cdd3", { size: 11 });
    drawText(context, "response (s.d.)", 4, 11, "#c9cdd3", { size: 11, align: "left" });
    drawLine(context, [...drawn.values].map((value, k) => [xOf(k), yOf(value)]), colours.curve, true);
  }
  function drawImage(context, width, height) {
    const scale = Math.min(width / drawn.width, height / drawn.height);
    const x0 = (width - scale * drawn.width) / 2, y0 = (height - scale * drawn.height) / 2;
    context.imageSmoothingEnabled = false;
    context.drawImage(drawn.pixels, x0, y0, scale * drawn.width, scale * drawn.height);
    const at = ([x, y]) => [x0 + scale * x, y0 + scale * y];
    if (drawn.outline) {
      context.save();
      context.beginPath();
      context.rect(x0, y0, scale * drawn.width, scale * drawn.height);
      context.clip();
      drawLine(context, drawn.outline.map(at), colours.preferred, false);
      context.restore();
    }
    if (!drawn.place) return;
    const [x, y] = at(drawn.place);
    drawLine(context, [[x - 7, y], [x + 7, y]], colours.preferred, false);
    drawLine(context, [[x, y - 7], [x, y + 7]], colours.preferred, false);
  }
  function drawConfusion(context, width, height) {
    const n = drawn.classes.length;
    const side = Math.min((width - LAB_LEFT - LAB_RIGHT) / n, (height - LAB_ABOVE - LAB_BELOW) / n);
    const x0 = (width - side * n) / 2, style = { size: 11 };
    drawn.classes.forEach((name, row) => {
      const middle = LAB_ABOVE + (row + 0.5) * side;
      drawText(context, name, x0 - 6, middle + 4, "#c9cdd3", { ...style, align: "right" });
      drawText(context, name, x0 + (row + 0.5) * side, LAB_ABOVE + n * side + 14, "#c9cdd3", style);
      for (let column = 0; column < n; column++) {
        const share = drawn.shares[row * n + column];
        const [red, green, blue] = colours.shares[Math.round(share * (colours.shares.length - 1))];
        context.fillStyle = `rgb(${red}, ${green}, ${blue})`;
        context.fillRect(x0 + column * side, LAB_ABOVE + row * side, side, side);
        // The scale is bright where it is high.
        const tint = share > 0.55 ? "#101010" : "#f0f0f0";
        drawText(context, `${Math.round(100 * share)} %`, x0 + (column + 0.5) * side, middle + 4, tint, style);
      }
    });
    drawText(context, `rows: true ${drawn.label}; columns: predicted`, width / 2, height - 7, "#c9cdd3", style);
  }
  function drawLine(context, points, tint, hasDots) {
    context.strokeStyle = context.fillStyle = tint;
    context.lineWidth = tint === "#3a3e47" ? 1 : 2;
    context.beginPath();
    points.forEach(([x, y], k) => context[k ? "lineTo" : "moveTo"](x, y));
    context.stroke();
    if (hasDots) drawDots(context, points);
  }
  page.ready();
  return page.close;
}
export default { render };
