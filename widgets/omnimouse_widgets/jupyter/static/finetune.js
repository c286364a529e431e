// Fine-tuning: cost before it, progress with two curves, and the result.

const PLOT_HEIGHT = 150, LEFT = 52, BELOW = 22, ABOVE = 16, RIGHT = 10;
const MIN_RANGE = 0.02; // of the scores: a smaller range would show noise

function render({ model, el }) {
  const page = connect({ model, el }, "finetune", {
    view: (message) => takeView(message),
    curves: (message, buffers) => takeCurves(message, buffers),
  });
  const { send, follow } = page;
  const { tips, colours } = model.get("_constants");

  const title = make("strong", {});
  const text = make("span", { className: "omnimouse-fresh", role: "status" });
  const start = makeButton("Start", tips.start, () => send("start"));
  const stop = makeButton("Stop", tips.stop, () => send("stop"));
  const use = makeButton("Use model", tips.use, () => send("use"));
  const dismiss = makeButton("✕", tips.dismiss, () => send("dismiss"), { aria: { label: "Dismiss" } });
  const progress = make("progress", { max: 1, value: 0, aria: { label: "Progress of fine-tuning" } });
  const score = make("span", { className: "omnimouse-quiet" });
  const error = makeProblem();
  const plots = make("div", { hidden: true });
  const bar = makeBar(title, text, progress, score, start, stop, use, dismiss);
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", "Fine-tuning");
  el.append(bar, error, plots);
  // Without content, the part takes no space; a trait, because it is then not visible and
  // receives no drawings.
  follow("is_shown", (isShown) => { el.hidden = !isShown; });

  function takeView(message) {
    const focused = document.activeElement;
    title.textContent = message.title;
    title.title = message.folder ? `Folder: ${message.folder}` : "";
    text.textContent = message.text;
    start.textContent = message.start;
    start.disabled = !message.can_start;
    use.textContent = message.use;
    score.textContent = message.score;
    // Without a value, the bar shows work of unknown length.
    if (message.share === null) progress.removeAttribute("value");
    else progress.value = message.share;
    showProblem(error, message.error);
    for (const [element, isShown] of [
      [start, message.start], [use, message.use], [stop, message.is_busy],
      [progress, message.is_busy], [dismiss, !message.is_busy && !message.has_choices],
      [plots, !message.has_choices],
    ]) element.hidden = !isShown;
    // The key that started the fine-tuning also stops it, and the reverse.
    if (focused === start && start.hidden) stop.focus();
    if (focused === stop && stop.hidden) (use.hidden ? start : use).focus();
  }

  let curves = { losses: [], mean: [], scores: [], lastStep: 1 };
  const pointsOf = (view) => {
    const flat = float32(view), n = flat.length / 2;
    return Array.from({ length: n }, (_, k) => [flat[k], flat[n + k]]);
  };
  function takeCurves(message, buffers) {
    const [losses, mean, scores] = buffers.map(pointsOf);
    curves = { losses, mean, scores, lastStep: Math.max(message.last_step, 1) };
    plot.request();
  }
  const plot = canvasOf(plots, {
    className: "omnimouse-curves",
    label: "Loss and held-out score over steps",
    keys: tips.loss,
    height: PLOT_HEIGHT,
    onClose: page.onClose,
    draw: (context, width, height) => {
      context.clearRect(0, 0, width, height);
      const half = width / 2;
      drawPlot(context, [0, half, height], "loss", [[curves.losses, "#8b919a", 1], [curves.mean, colours.loss, 2]], 0);
      drawPlot(context, [half, half, height], "held-out score", [[curves.scores, colours.score, 1, true]], MIN_RANGE);
    },
  });

  function drawPlot(context, [x0, width, height], name, lines, minRange) {
    const values = lines.flatMap(([line]) => line.map(([, y]) => y)).filter(Number.isFinite);
    let [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
    const margin = Math.max(minRange - (high - low), (high - low) * 0.1, 1e-6) / 2;
    [low, high] = [low - margin, high + margin];
    const xOf = (step) => x0 + LEFT + (step / curves.lastStep) * (width - LEFT - RIGHT);
    const yOf = (value) => ABOVE + (1 - (value - low) / (high - low)) * (height - ABOVE - BELOW);
    drawText(context, name, x0 + LEFT, 11, "#c9cdd3", { size: 11, align: "left" });
    context.strokeStyle = "#3a3e47";
    context.lineWidth = 1;
    // Ticks at the smallest and largest value; if their labels would overlap, at the ends
    // of the axis.
    const extremes = [low + margin, high - margin];
    for (const value of yOf(extremes[0]) - yOf(extremes[1]) > 14 ? extremes : [low, high]) {
      drawText(context, Number(value.toFixed(3)).toFixed(3), x0 + LEFT - 4, yOf(value) + 4, "#c9cdd3", { size: 11, align: "right" });
      context.beginPath();
      context.moveTo(x0 + LEFT, yOf(value));
      context.lineTo(x0 + width - RIGHT, yOf(value));
      context.stroke();
    }
    const last = curves.lastStep;
    for (const [align, label, step] of [["left", 0, 0], ["center", "step", last / 2], ["right", last, last]])
      drawText(context, label, xOf(step), height - 7, "#c9cdd3", { size: 11, align });
    for (const [line, colour, thickness, hasDots] of lines) {
      context.strokeStyle = context.fillStyle = colour;
      context.lineWidth = thickness;
      context.beginPath();
      line.forEach(([step, value], k) => context[k ? "lineTo" : "moveTo"](xOf(step), yOf(value)));
      context.stroke();
      // Scores are few: dots show where they were computed.
      if (hasDots) drawDots(context, line.map(([step, value]) => [xOf(step), yOf(value)]));
    }
  }
  page.ready();
  return page.close;
}
export default { render };
