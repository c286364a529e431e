// Ranking: a stored ranking of pretraining sessions. plotly draws matrix and curves.

function render({ model, el }) {
  const page = connect({ model, el }, "ranking", {
    view: (message) => takeView(message),
    figure: ({ points }) => plot.expect(points),
    command: ({ text }) => copyText(text, copied),
  });
  const { send, set, follow } = page;
  const { views, axes, tips } = model.get("_constants");

  const file = make("input", { type: "search", placeholder: "mine.ranking.jsonl", title: tips.open, aria: { label: "Results file" } });
  const open = () => { if (file.value) set("file", file.value); };
  file.onkeydown = (event) => { if (event.key === "Enter") open(); event.stopPropagation(); };
  // The name is at the end of a long path.
  follow("file", (path) => { file.value = path; file.scrollLeft = file.scrollWidth; });
  const refresh = makeButton("Refresh", tips.refresh, () => send("refresh"));
  const copied = makeStatus("omnimouse-quiet", "status");
  const buttons = views.map(([value, label, title]) => makeButton(label, title, () => set("view", value), { value }));
  const heldout = makeSelect("Held-out session", (value) => set("heldout", value), tips.heldout);
  const axis = makeSelect("Horizontal axis", (value) => set("axis", value), tips.axis);
  fillSelect(axis, axes, model.get("axis"));
  follow("axis", (value) => { axis.value = value; });
  const error = makeProblem(), summary = makeStatus("", "status"), note = makeStatus("omnimouse-quiet");
  const warnings = make("div", { className: "omnimouse-tone-problem" });
  const table = make("table", { className: "omnimouse-rows" });
  // Every view has a figure of its own, which plotly makes in a default width.
  const plot = plotBeside(page, el, () => dispatchEvent(new Event("resize")));
  const choice = makeBar(makeGroup("View", ...buttons), heldout, axis);
  el.append(
    makeBar(file, makeButton("Open", tips.open, open), makeButton("Example", tips.example, () => send("example")), refresh,
      makeButton("Copy command", tips.command, () => send("command"))),
    copied, error, summary, warnings, choice, note, table, plot.waiting,
  );

  function takeView(message) {
    const view = message.view;
    showProblem(error, message.error);
    refresh.disabled = !message.can_refresh;
    summary.textContent = message.message || message.summary;
    warnings.replaceChildren(...message.warnings.map((text) => make("div", {}, `⚠ ${text}`)));
    note.textContent = message.note;
    choice.hidden = !message.names.length;
    buttons.forEach((button) => setPressed(button, button.value === view));
    fillSelect(heldout, message.names.map((name) => [name, name]), message.heldout);
    heldout.hidden = view === "matrix";
    axis.hidden = view !== "curves";
    const cells = (kind, texts) => make("tr", {}, ...texts.map((text) => make(kind, {}, text)));
    table.hidden = !message.rows.length;
    table.replaceChildren(cells("th", message.titles), ...message.rows.map((row) => cells("td", row)));
    plot.waiting.hidden = !message.has_figure;
    plot.name(message.has_figure ? `${message.summary}. ${message.note}` : "");
  }
  page.ready();
  return page.close;
}
export default { render };
