// Trials: the list of trials, and averages around their onsets, one colour per condition.

const AVERAGES_HEIGHT = 260, AVERAGES_LEFT = 46, AVERAGES_BELOW = 36, AVERAGES_ABOVE = 8;
const RECORDED_ALPHA = 0.22, PREDICTED_ALPHA = 0.12; // of the standard errors
const ROWS = 8; // of the list

function render({ model, el }) {
  const page = connect({ model, el }, "trials", {
    list: (message) => takeList(message),
    trial: ({ number, text }) => { list.selectedIndex = number ?? -1; current.textContent = text; },
    averages: (message, buffers) => {
      drawn = message;
      [drawn.time, ...drawn.lines] = buffers.map(float32);
      status.textContent = message.text;
      plot.request();
    },
  });
  const { send, set, follow } = page;
  const tips = model.get("_tips"), axis = model.get("_axis");
  const condition = makeSelect("Condition", (value) => set("condition", value), "Column of the trials whose labels are compared");
  follow("condition", (value) => { condition.value = value; });
  const tier = makeSelect("Tier", (value) => set("tier", value), tips.tier);
  follow("tier", (value) => { tier.value = value; });
  const current = makeStatus("", "status"), status = makeStatus("omnimouse-quiet", "status");
  const titles = make("div", { className: "omnimouse-quiet", style: "white-space: pre; font: 12px monospace; padding-left: 6px" });
  const list = make("select", { size: ROWS, title: tips.list, style: "width: 100%; font: 12px monospace", aria: { label: "Trials" } });
  list.onchange = () => send("go", { trial: list.selectedIndex });
  const plots = make("div", {});
  el.append(make("div", {}, titles, list), current, makeBar(condition, tier, status), plots);

  function takeList({ titles: names, rows, conditions, tiers }) {
    const widths = names.map((name, k) => Math.max(name.length, ...rows.map((row) => row[k].length)) + 2);
    const line = (cells) => cells.map((cell, k) => cell.padEnd(widths[k])).join("");
    titles.textContent = line(names);
    const at = list.selectedIndex;
    // Spaces of an option would be merged.
    list.replaceChildren(...rows.map((row) => make("option", { textContent: line(row).replaceAll(" ", "\u00a0") })));
    list.selectedIndex = at;
    fillSelect(condition, conditions.map((name) => [name, name]), model.get("condition"));
    fillSelect(tier, tiers.map((name) => [name, name]), model.get("tier"));
    condition.hidden = tier.hidden = !conditions.length;
  }

  let drawn = { text: "", labels: [], lines: [], time: [] };
  const plot = canvasOf(plots, {
    label: "Averages around the onsets of trials", keys: tips.plot, height: AVERAGES_HEIGHT, onClose: page.onClose,
    draw: (context, width, height) => {
      context.clearRect(0, 0, width, height);
      context.fillStyle = "#16181d";
      context.fillRect(0, 0, width, height);
      if (drawn.labels.length) drawAverages(context, width, height);
      else drawText(context, drawn.text, width / 2, height / 2, "#c9cdd3", { size: 13 });
    },
  });
  function drawAverages(context, width, height) {
    const { time, limits: [low, high] } = drawn, n = time.length;
    const [first, last] = [time[0], time[n - 1]];
    const xOf = (t) => AVERAGES_LEFT + ((t - first) / (last - first)) * (width - AVERAGES_LEFT - 8);
    const yOf = (value) => AVERAGES_ABOVE + ((high - value) / (high - low)) * (height - AVERAGES_ABOVE - AVERAGES_BELOW);
    const style = { size: 11 };
    const step = roundStep((high - low) / 4);
    for (let value = Math.ceil(low / step) * step; value <= high; value += step)
      drawText(context, String(Number(value.toPrecision(3))), AVERAGES_LEFT - 6, yOf(value) + 4, axis, { ...style, align: "right" });
    for (let t = Math.ceil(first / 0.5) * 0.5; t <= last; t += 0.5)
      drawText(context, String(t), xOf(t), height - 21, axis, style);
    drawText(context, `time from the onset (s) · ${drawn.unit}`, width / 2, height - 6, axis, style);
    context.strokeStyle = axis;
    context.setLineDash([2, 3]);
    trace(context, [[xOf(0), AVERAGES_ABOVE], [xOf(0), height - AVERAGES_BELOW]]);
    drawn.lines.forEach((values, rank) => {
      const part = (k) => values.subarray(k * n, (k + 1) * n), colour = drawn.colours[rank];
      for (const [mean, error, alpha, dash] of [
        [part(0), part(1), RECORDED_ALPHA, []], [part(2), part(3), PREDICTED_ALPHA, [6, 4]],
      ]) {
        const known = [...mean.keys()].filter((k) => Number.isFinite(mean[k]));
        const withError = known.filter((k) => Number.isFinite(error[k]));
        const edge = (sign) => withError.map((k) => [xOf(time[k]), yOf(mean[k] + sign * error[k])]);
        context.fillStyle = colour;
        context.globalAlpha = alpha;
        context.beginPath();
        [...edge(1), ...edge(-1).reverse()].forEach(([x, y], k) => context[k ? "lineTo" : "moveTo"](x, y));
        context.fill();
        context.globalAlpha = 1;
        context.strokeStyle = colour;
        context.lineWidth = 1.5;
        context.setLineDash(dash);
        trace(context, known.map((k) => [xOf(time[k]), yOf(mean[k])]));
      }
      drawText(context, drawn.labels[rank], width - 10, AVERAGES_ABOVE + 14 + 15 * rank, colour, { ...style, align: "right" });
    });
    context.setLineDash([]);
  }
  function trace(context, points) {
    context.beginPath();
    points.forEach(([x, y], k) => context[k ? "lineTo" : "moveTo"](x, y));
    context.stroke();
  }
  bindKeys(plot.canvas, commonKeys(send));
  page.ready();
  return page.close;
}
export default { render };
