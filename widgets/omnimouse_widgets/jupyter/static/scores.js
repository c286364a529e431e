// Scores: the axis of the scatter plot, and selection without a mouse. plotly draws bars
// and points; its messages arrive before those of this part.

function render({ model, el }) {
  const page = connect({ model, el }, "scores", {
    scores: (message) => takeScores(message),
    figure: ({ points }) => plot.expect(points),
    summary: ({ text, tip }) => { status.textContent = text; status.title = tip; },
  });
  const { send, set, follow } = page;
  const constants = model.get("_constants");

  const against = makeSelect("Scores against", (value) => set("against", value), "Horizontal axis of the scatter plot");
  follow("_choices", (choices) => fillSelect(against, choices, model.get("against")));
  follow("against", (value) => { against.value = value; });
  const tools = [
    ["rectangle", "Box", "R: a drag selects the marks inside a rectangle"],
    ["lasso", "Lasso", "L: a drag selects the marks inside an outline"],
  ].map(([value, label, title]) => makeButton(label, title, () => set("tool", value), { value }));
  follow("tool", (tool) => tools.forEach((button) => setPressed(button, button.value === tool)));
  const ranks = constants.ranks.map(([rank, label, title]) => makeButton(label, title, () => send("rank", { rank })));

  // Each step of the slider selects the neurons of one bar.
  const slider = make("input", {
    type: "range", min: 0, step: 1, value: 0,
    title: "← →: select the neurons of a bar of the histogram", aria: { label: "Bar of the histogram" },
  });
  const barText = make("span", { className: "omnimouse-quiet" });
  let bars = [], text = "";
  const showBar = () => {
    text = bars[slider.value] ?? "";
    slider.setAttribute("aria-valuetext", text);
    barText.textContent = text;
  };
  const picking = page.queue("bar", () => [{ bar: Number(slider.value) }]);
  slider.oninput = () => { showBar(); picking.soon(); };
  function takeScores(message) {
    bars = message.bars;
    slider.max = Math.max(bars.length - 1, 0);
    slider.disabled = !bars.length;
    ranks.forEach((button) => { button.disabled = !bars.length; });
    // The slider stays at its score, also if the number of bars below it has changed.
    const same = bars.findIndex((bar) => bar.split(":")[0] === text.split(":")[0]);
    slider.value = same < 0 ? Math.floor(bars.length / 2) : same;
    showBar();
    drawing = message.drawing;
    plot.name(message.label);
  }

  // Own messages: plotly's messages to the kernel can be lost among those of the pointer.
  let drawing = 0; // number of the drawing that the positions refer to
  const plot = plotBeside(page, el, (plot) => {
    const sendPicked = (event, add) => constants.selectable.forEach((trace) => {
      const points = (event?.points ?? []).filter((point) => point.curveNumber === trace);
      const places = Uint32Array.from(points, (point) => point.pointNumber);
      if (places.length) send("pick", { trace, drawing, add }, [places.buffer]);
    });
    plot.on("plotly_click", (event) => {
      const { shiftKey, ctrlKey, metaKey } = event.event;
      sendPicked(event, shiftKey || ctrlKey || metaKey);
    });
    plot.on("plotly_selected", (event) => sendPicked(event, false));
    plot.on("plotly_deselect", () => set("selection", []));
  });

  const status = makeStatus("", "status"), message = makeStatus("", "status");
  follow("message", (text) => { message.textContent = text; });
  el.append(
    makeBar(make("label", {}, "Score against ", against), makeGroup("Drag", "Drag", ...tools),
      makeGroup("Select by score", "Select", ...ranks)),
    makeBar(make("label", {}, "bar ", slider), barText),
    status, message, plot.waiting,
  );
  const keys = { ...commonKeys(send), r: () => set("tool", "rectangle"), l: () => set("tool", "lasso") };
  bindKeys(slider, keys);
  page.ready(keys);
  return page.close;
}
export default { render };
