// Context curves: conditions that are drawn, background sweeps, and saved sweeps. plotly
// draws the curves; its messages arrive before those of this part.

const MARKS = { // SVG paths by the symbol names of the palette
  o: "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
  s: "M-3.5,-3.5h7v7h-7z",
  t1: "M0,-4.5L4.5,3.5H-4.5z",
  d: "M0,-5L5,0L0,5L-5,0z",
};
// plotly's dash names as dash patterns of SVG.
const DASHES = { solid: "", dash: "6 4", dot: "2 3", dashdot: "7 3 2 3", longdash: "11 4" };
const svg = (width, viewBox, body) =>
  make("span", { className: "omnimouse-sample", innerHTML:
    `<svg width="${width}" height="12" viewBox="${viewBox}" aria-hidden="true">${body}</svg>` });

function render({ model, el }) {
  const page = connect({ model, el }, "sweep", {
    figure: ({ points }) => plot.expect(points),
    running: (message) => takeRunning(message),
    saved: (message) => takeSaved(message.entries),
    csv: (message, buffers) => download(message.name, bytes(buffers[0])),
  });
  const { send, set, follow } = page;
  const constants = model.get("_constants");

  const toggles = constants.conditions.map(([label, colour, symbol]) => {
    const mark = svg(12, "-6 -6 12 12", `<path d="${MARKS[symbol]}" fill="${colour}" stroke="#7a808b" stroke-width="0.6"/>`);
    return makeButton([mark, label], `Show or hide the curves with ${label} as input`, () => {
      const hidden = model.get("hidden");
      set("hidden", hidden.includes(label) ? hidden.filter((other) => other !== label) : [...hidden, label]);
    }, { value: label });
  });
  const conditions = makeBar(...toggles);
  conditions.setAttribute("role", "group");
  conditions.setAttribute("aria-label", "Conditions that are drawn");
  follow("hidden", (hidden) => toggles.forEach((button) => setPressed(button, !hidden.includes(button.value))));

  const live = makeButton("Live", "Draw the live curves of held-out and of selected neurons", () => set("is_live", !model.get("is_live")));
  follow("is_live", (isLive) => setPressed(live, isLive));
  // Form and list share one place: a button opens its box and closes the other one.
  const boxes = [];
  const makeOpener = (text, title, box, onOpen) => {
    const button = makeButton(text, title, () => {
      const isOpening = box.hidden;
      for (const [other, opener] of boxes) { other.hidden = true; opener.setAttribute("aria-expanded", "false"); }
      box.hidden = !isOpening;
      button.setAttribute("aria-expanded", String(isOpening));
      if (isOpening) onOpen();
      set("_is_form_open", !form.hidden);
    }, { aria: { expanded: "false" } });
    box.hidden = true;
    boxes.push([box, button]);
    return button;
  };

  // The fields are ipywidgets below this part; this stands for them.
  const form = make("div");

  // -- saved sweeps -----------------------------------------------------------------
  const saved = make("div", { className: "omnimouse-kept" });
  let deleting = ""; // file that the next press of its button deletes
  function takeSaved(entries) {
    const focused = saved.contains(document.activeElement) ? document.activeElement.dataset.key : "";
    const rows = entries.map((entry) => {
      const { file, line } = entry;
      const tick = make("input", { type: "checkbox", checked: line > 0, onchange: () => send("compare", { file, is_drawn: tick.checked }) });
      const sample = line ? svg(36, "0 0 36 12", `<path d="M0,6H36" stroke="currentColor" stroke-width="2" stroke-dasharray="${DASHES[constants.dashes[line]]}"/>`) : "";
      const text = make("span", { textContent: entry.text.replace("\n", " · "), title: entry.problem });
      const resume = makeButton("Continue", "Compute the missing points, with its own model and recording", () => send("resume", { file }));
      resume.hidden = !entry.can_resume;
      const isSure = deleting === file;
      const remove = makeButton(isSure ? "Really?" : "Delete", isSure ? "Press again to delete its file" : "Delete its file", () => {
        deleting = isSure ? "" : file;
        if (isSure) send("delete", { file });
        else takeSaved(entries);
      });
      remove.disabled = entry.is_running;
      [[tick, "tick"], [resume, "resume"], [remove, "delete"]].forEach(([control, name]) => { control.dataset.key = `${name} ${file}`; });
      return makeBar(make("label", {}, tick, sample, text), resume, remove);
    });
    saved.replaceChildren(...(rows.length ? rows : [make("span", { textContent: "No saved sweep: start one with Sweep…" })]));
    // The elements are new: return the focus to the one in the same place.
    if (focused) saved.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  // -- the background sweep ---------------------------------------------------------
  const text = make("span", {});
  const bar = make("progress", { max: 1, value: 0, aria: { label: "Sweep in the background" } });
  const pause = makeButton("Pause", "", () => send("pause"));
  const cancel = makeButton("Cancel", "Stop the sweep; its points are saved, and it can be continued", () => send("cancel"));
  const running = makeBar(text, bar, pause, cancel);
  running.hidden = true;
  const error = makeProblem();
  function takeRunning(message) {
    running.hidden = !message.is_busy;
    text.textContent = message.text;
    bar.value = message.share;
    pause.textContent = message.is_paused ? "Resume" : "Pause";
    pause.title = message.is_paused ? "Continue the sweep" : "Pause after this window";
    showProblem(error, message.error);
  }

  const sweep = makeOpener("Sweep…", "A sweep over many windows, in the background", form, () => {});
  follow("_is_form_open", (isOpen) => { if (isOpen === form.hidden) sweep.click(); });
  const list = makeOpener("Saved…", "Saved sweeps: compare, continue, delete", saved, () => send("reload"));
  const csv = makeButton("Export CSV", "Download the drawn points as a table", () => send("export"));
  const status = makeStatus("", "status"), mark = makeStatus();
  follow("status", (text) => { status.textContent = text; });
  follow("mark", (text) => { mark.textContent = text; });
  const plot = plotBeside(page, el);
  el.append(conditions, makeBar(live, sweep, list, csv), form, saved, running, error, status, mark, plot.waiting);
  plot.name("Correlation against the numbers of visible neurons and of samples of history");
  page.ready();
  return page.close;
}
export default { render };
