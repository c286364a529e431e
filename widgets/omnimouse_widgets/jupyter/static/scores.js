// Scores: what they are drawn against, and how bars are selected without a mouse.
// Bars and points themselves are plotly's; they were sent before what is heard here.

function render({ model, el }) {
  const page = connect({ model, el }, "scores", {
    scores: (message) => takeScores(message),
    selected: () => {},
    summary: (message) => { status.textContent = message.words; },
  });
  const { send, set, follow } = page;
  const look = model.get("_look");
  const press = (textContent, title, onclick) => make("button", { type: "button", textContent, title, onclick });
  const group = (label, ...children) => make("span", { role: "group", ariaLabel: label, className: "omnimouse-group" }, ...children);

  const against = make("select", { title: "What the scores are drawn against", ariaLabel: "Scores against" });
  against.onchange = () => set("against", against.value);
  follow("_choices", (choices) => {
    fillSelect(against, choices, model.get("against"));
  });
  follow("against", (value) => { against.value = value; });

  const tools = [["rectangle", "Box", "R: a drag selects what is inside a rectangle"], ["lasso", "Lasso", "L: a drag selects what is inside an outline"]]
    .map(([value, word, title]) => [value, press(word, title, () => set("tool", value))]);
  follow("tool", (tool) => tools.forEach(([value, button]) => button.setAttribute("aria-pressed", String(value === tool))));
  const ranks = look.ranks.map(([rank, word, title]) => press(word, title, () => send("rank", { rank })));

  // Each step of the slider selects the neurons of one bar.
  const bar = make("input", { type: "range", min: 0, step: 1, value: 0, title: "← →: select the neurons of a bar of the histogram" });
  bar.setAttribute("aria-label", "Bar of the histogram");
  const barWords = make("span", { className: "omnimouse-quiet" });
  let bars = [], words = "";
  const sayBar = () => {
    words = bars[bar.value] ?? "";
    bar.setAttribute("aria-valuetext", words);
    barWords.textContent = words;
  };
  const picking = page.queue("bar", () => [{ bar: Number(bar.value) }]);
  bar.oninput = () => { sayBar(); picking.soon(); };
  // It stays at its score, where bars have come or gone below it.
  function takeScores(message) {
    bars = message.bars;
    bar.max = Math.max(bars.length - 1, 0);
    bar.disabled = !bars.length;
    ranks.forEach((button) => { button.disabled = !bars.length; });
    const at = bars.findIndex((one) => one.split(":")[0] === words.split(":")[0]);
    bar.value = at < 0 ? Math.floor(bars.length / 2) : at;
    sayBar();
    drawing = message.drawing;
    plot.name(message.label);
  }

  // What plotly itself tells the kernel may be lost under what it tells of the pointer.
  let drawing = 0;
  const plot = plotBeside(page, el, (plot) => {
    const picked = (event, add) => look.picked.forEach((trace) => {
      const places = Uint32Array.from((event?.points ?? []).filter((point) => point.curveNumber === trace), (point) => point.pointNumber);
      if (places.length) send("pick", { trace, drawing, add }, [places.buffer]);
    });
    plot.on("plotly_click", (event) => picked(event, event.event.shiftKey || event.event.ctrlKey || event.event.metaKey));
    plot.on("plotly_selected", (event) => picked(event, false));
    plot.on("plotly_deselect", () => set("selection", []));
  });

  const status = make("div", { className: "omnimouse-status", role: "status" });
  const told = make("div", { className: "omnimouse-status", role: "status" });
  follow("told", (said) => { told.textContent = said; });
  el.append(
    make("div", { className: "omnimouse-bar" }, make("label", {}, "r against ", against), group("Drag", ...tools.map(([, button]) => button)),
      group("Select by score", "Select", ...ranks)),
    make("div", { className: "omnimouse-bar" }, make("label", {}, "bar ", bar), barWords),
    status, told,
  );
  const keys = { ...commonKeys(send), r: () => set("tool", "rectangle"), l: () => set("tool", "lasso") };
  bindKeys(bar, keys);
  page.ready(keys);
  return page.close;
}
export default { render };
