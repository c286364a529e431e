// Fine-tuning: what it would take, how far it is, its two curves, and what came of it.

const PLOT_HEIGHT = 150, LEFT = 52, BELOW = 22, ABOVE = 16, RIGHT = 10;
const LEAST_SPAN = 0.02; // of a score that is shown at least

function render({ model, el }) {
  const page = connect({ model, el }, "finetune", {
    view: (message) => take(message),
    curves: (message, buffers) => takeCurves(message, buffers),
  });
  const { send, set, follow } = page;
  const { trained, tips, colours } = model.get("_look");

  const title = make("strong", {});
  const words = make("span", { className: "omnimouse-fresh" });
  words.setAttribute("role", "status");
  const train = make("select", { title: tips.train },
    ...trained.map(([value, textContent]) => make("option", { value, textContent })));
  train.setAttribute("aria-label", "What is learned");
  train.onchange = () => set("train", train.value);
  follow("train", (value) => { train.value = value; });
  const steps = make("input", { type: "number", min: 0, step: 50, title: tips.steps });
  steps.onchange = () => set("steps", Math.max(0, Math.round(Number(steps.value) || 0)));
  follow("steps", (value) => { steps.value = value; });
  const labelled = make("label", { className: "omnimouse-group" }, steps, "steps");
  const button = (op, textContent, tip) =>
    make("button", { type: "button", textContent, title: tip, onclick: () => send(op) });
  const start = button("start", "Start", tips.start);
  const stop = button("stop", "Stop", tips.stop);
  const use = button("use", "Use it", tips.use);
  const dismiss = button("dismiss", "✕", tips.dismiss);
  dismiss.setAttribute("aria-label", "Dismiss");
  const progress = make("progress", { max: 1, value: 0 });
  progress.setAttribute("aria-label", "Fine-tuned");
  const score = make("span", { className: "omnimouse-quiet" });
  const fault = make("div", { className: "omnimouse-problem", hidden: true });
  fault.setAttribute("role", "alert");
  const plots = make("div", { hidden: true });
  const bar = make("div", { className: "omnimouse-bar" },
    title, train, labelled, words, progress, score, start, stop, use, dismiss);
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", "Fine-tuning");
  el.append(bar, fault, plots);
  // A part with nothing to say takes no room; it is heard of again by its trait.
  follow("is_shown", (is) => { el.hidden = !is; });

  function take(message) {
    const holder = document.activeElement;
    title.textContent = message.title;
    title.title = message.folder ? `It lies in ${message.folder}` : "";
    words.textContent = message.words;
    start.textContent = message.start;
    use.textContent = message.use;
    score.textContent = message.score;
    if (message.share === null) progress.removeAttribute("value"); // it works, uncounted
    else progress.value = message.share;
    fault.textContent = message.fault;
    for (const [element, isShown] of [
      [train, message.has_choices], [labelled, message.has_choices], [fault, message.fault],
      [start, message.start], [use, message.use], [stop, message.is_busy],
      [progress, message.is_busy], [dismiss, !message.is_busy && !message.has_choices],
      [plots, !message.has_choices],
    ]) element.hidden = !isShown;
    // The key that started it stops it, and the other way round.
    if (holder === start && start.hidden) stop.focus();
    if (holder === stop && stop.hidden) (use.hidden ? start : use).focus();
  }

  let curves = { losses: [], mean: [], scores: [], of: 1 };
  const points = (view) => {
    const flat = float32(view), n = flat.length / 2;
    return Array.from({ length: n }, (_, i) => [flat[i], flat[n + i]]);
  };
  function takeCurves(message, buffers) {
    const [losses, mean, scores] = buffers.map(points);
    curves = { losses, mean, scores, of: Math.max(message.of, 1) };
    plot.ask();
  }
  const plot = canvasOf(plots, {
    label: "Loss and held-out correlation over steps",
    keys: tips.loss,
    height: PLOT_HEIGHT,
    onClose: page.onClose,
    draw: (context, width, height) => {
      context.clearRect(0, 0, width, height);
      const half = width / 2;
      drawPlot(context, [0, half, height], "loss", [[curves.losses, "#8b919a", 1], [curves.mean, colours.loss, 2]], 0);
      drawPlot(context, [half, half, height], "held-out correlation", [[curves.scores, colours.score, 1, true]], LEAST_SPAN);
    },
  });

  function drawPlot(context, [x0, width, height], name, lines, least) {
    const all = lines.flatMap(([line]) => line.map(([, y]) => y)).filter(Number.isFinite);
    let [low, high] = all.length ? [Math.min(...all), Math.max(...all)] : [0, 1];
    const more = Math.max(least - (high - low), (high - low) * 0.1, 1e-6) / 2;
    [low, high] = [low - more, high + more];
    const across = (step) => x0 + LEFT + (step / curves.of) * (width - LEFT - RIGHT);
    const up = (value) => ABOVE + (1 - (value - low) / (high - low)) * (height - ABOVE - BELOW);
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = "#c9cdd3";
    context.textAlign = "left";
    context.fillText(name, x0 + LEFT, 11);
    context.strokeStyle = "#3a3e47";
    context.lineWidth = 1;
    context.textAlign = "right";
    // What is too close to be told apart in writing has the ends of the axis for ticks.
    const inner = [low + more, high - more];
    for (const value of up(inner[0]) - up(inner[1]) > 14 ? inner : [low, high]) {
      context.fillText(value.toFixed(3), x0 + LEFT - 4, up(value) + 4);
      context.beginPath();
      context.moveTo(x0 + LEFT, up(value));
      context.lineTo(x0 + width - RIGHT, up(value));
      context.stroke();
    }
    for (const [align, words, step] of [["left", 0, 0], ["center", "step", curves.of / 2], ["right", curves.of, curves.of]]) {
      context.textAlign = align;
      context.fillText(words, across(step), height - 7);
    }
    for (const [line, colour, thick, hasDots] of lines) {
      context.strokeStyle = context.fillStyle = colour;
      context.lineWidth = thick;
      context.beginPath();
      line.forEach(([step, value], i) => context[i ? "lineTo" : "moveTo"](across(step), up(value)));
      context.stroke();
      if (!hasDots) continue;
      for (const [step, value] of line) {
        context.beginPath();
        context.arc(across(step), up(value), 3, 0, 7);
        context.fill();
      }
    }
  }
  page.ready();
  return page.close;
}
export default { render };
