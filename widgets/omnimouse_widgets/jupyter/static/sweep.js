// Context curves: which conditions are drawn, a sweep in the background, those kept.
// The curves themselves are plotly's; they were sent before what is heard here.

const MARKS = {
  o: "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
  s: "M-3.5,-3.5h7v7h-7z",
  t1: "M0,-4.5L4.5,3.5H-4.5z",
  d: "M0,-5L5,0L0,5L-5,0z",
};
// plotly's names of dashes, as a line of the page has them.
const DASHES = { solid: "", dash: "6 4", dot: "2 3", dashdot: "7 3 2 3", longdash: "11 4" };
const svg = (width, viewBox, body) =>
  make("span", { className: "omnimouse-sample", innerHTML:
    `<svg width="${width}" height="12" viewBox="${viewBox}" aria-hidden="true">${body}</svg>` });

function render({ model, el }) {
  const page = connect({ model, el }, "sweep", {
    curves: () => {},
    running: (message) => takeRunning(message),
    kept: (message) => takeKept(message.entries),
    offered: (message) => takeOffered(message),
    estimate: (message) => takeEstimate(message),
    csv: (message, buffers) => download(message.name, bytes(buffers[0])),
  });
  const { send, set, follow } = page;
  const look = model.get("_look");

  // Pressed out, a condition is not drawn.
  const conditions = make("div", { className: "omnimouse-bar" });
  conditions.setAttribute("role", "group");
  conditions.setAttribute("aria-label", "Conditions that are drawn");
  const toggles = look.conditions.map(([label, colour, symbol]) => {
    const mark = svg(12, "-6 -6 12 12", `<path d="${MARKS[symbol]}" fill="${colour}" stroke="#7a808b" stroke-width="0.6"/>`);
    const button = make("button", { type: "button", title: `Draw the curves with ${label} given, or not` }, mark, label);
    button.onclick = () => {
      const hidden = model.get("hidden");
      set("hidden", hidden.includes(label) ? hidden.filter((one) => one !== label) : [...hidden, label]);
    };
    conditions.append(button);
    return [label, button];
  });
  follow("hidden", (hidden) =>
    toggles.forEach(([label, button]) => button.setAttribute("aria-pressed", String(!hidden.includes(label)))));

  const press = (textContent, title, onclick) => make("button", { type: "button", textContent, title, onclick });
  const live = press("Live", "Draw the live curves of the selected neurons", () => set("is_live", !model.get("is_live")));
  follow("is_live", (is) => live.setAttribute("aria-pressed", String(is)));
  const pages = [];
  const turner = (word, title, box, opened = () => {}) => {
    const button = press(word, title, () => {
      const isOpen = box.hidden;
      pages.forEach(([other, its]) => { other.hidden = true; its.setAttribute("aria-expanded", "false"); });
      box.hidden = !isOpen;
      button.setAttribute("aria-expanded", String(isOpen));
      if (isOpen) opened();
    });
    button.setAttribute("aria-expanded", "false");
    box.hidden = true;
    pages.push([box, button]);
    return button;
  };

  // -- the form ---------------------------------------------------------------------
  const form = make("form", { className: "omnimouse-form" });
  const field = (name, word, control) => {
    control.name = name;
    if (look.tips[name]) control.title = look.tips[name];
    form.append(make("label", {}, make("span", { textContent: word }), control));
    return control;
  };
  const select = (entries) => make("select", {}, ...entries.map(([value, textContent]) => make("option", { value, textContent })));
  const choice = () => select([["both", "with and without"], ["with", "with"], ["no", "without"]]);
  const number = (min, max, value) => make("input", { type: "number", min, max, value });
  const neurons = field("neurons", "Neurons", make("input", { type: "text" }));
  const history = field("history", "History", make("input", { type: "text", value: look.history }));
  const video = field("video", "Video", choice());
  const behavior = field("behavior", "Behaviour", choice());
  field("draws", "Draws", number(1, 50, look.draws));
  field("windows", "Windows", number(0, 9999, look.windows));
  const tier = field("tier", "Tier", select([["test", "test"]]));
  field("name", "Name", make("input", { type: "text", placeholder: "recording and model" }));
  const estimate = make("span", { className: "omnimouse-quiet" });
  estimate.setAttribute("role", "status");
  const begin = make("button", { type: "submit", textContent: "Start", title: "Begin the sweep in the background" });
  form.append(make("div", { className: "omnimouse-wide" }, begin, estimate));
  const asked = () => Object.fromEntries(["neurons", "history", "video", "behavior", "draws", "windows", "tier", "name"]
    .map((name) => [name, form.elements[name].value]));
  const estimates = page.queue("form", () => [asked()]);
  form.oninput = () => estimates.soon();
  form.onsubmit = (event) => {
    event.preventDefault();
    if (begin.disabled) return;
    send("start", asked());
    sweep.click(); // back to the curves, where it grows
  };
  function takeOffered(message) {
    neurons.value = message.neurons;
    [[video, message.has_video], [behavior, message.has_behavior]].forEach(([control, has]) => {
      control.disabled = !has;
      control.value = has ? "both" : "no";
    });
    const before = tier.value;
    fillSelect(tier, message.tiers.map((name) => [name, name]), message.tiers.includes(before) ? before : message.tiers[0]);
    estimates.soon();
  }
  function takeEstimate(message) {
    estimate.textContent = message.words;
    begin.disabled = !message.is_possible;
  }

  // -- those kept -------------------------------------------------------------------
  const kept = make("div", { className: "omnimouse-kept" });
  let sure = "";
  function takeKept(entries) {
    const focused = kept.contains(document.activeElement) ? document.activeElement.dataset.key : "";
    const rows = entries.map((entry) => {
      const { file, line } = entry;
      const tick = make("input", { type: "checkbox", checked: line > 0, onchange: () => send("compare", { file, is_drawn: tick.checked }) });
      const sample = line ? svg(36, "0 0 36 12", `<path d="M0,6H36" stroke="currentColor" stroke-width="2" stroke-dasharray="${DASHES[look.dashes[line]]}"/>`) : "";
      const words = make("span", { textContent: entry.words.replace("\n", " · "), title: entry.problem });
      const on = press("Go on", "Compute what it lacks, with its own model and recording", () => send("go_on", { file }));
      on.hidden = !entry.can_go_on;
      const away = press(sure === file ? "Really?" : "Delete", sure === file ? "Press again to delete its file" : "Delete its file", () => {
        if (sure === file) { sure = ""; send("delete", { file }); return; }
        sure = file;
        takeKept(entries);
      });
      away.disabled = entry.is_running;
      [[tick, "tick"], [on, "on"], [away, "away"]].forEach(([control, what]) => { control.dataset.key = `${what} ${file}`; });
      return make("div", { className: "omnimouse-bar" }, make("label", {}, tick, sample, words), on, away);
    });
    kept.replaceChildren(...(rows.length ? rows : [make("span", { textContent: "None yet: start one under Sweep…" })]));
    if (focused) kept.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  // -- what runs --------------------------------------------------------------------
  const words = make("span", {});
  const bar = make("progress", { max: 1, value: 0 });
  bar.setAttribute("aria-label", "Sweep in the background");
  const pause = press("Pause", "Hold it after this window", () => send("pause"));
  const cancel = press("Cancel", "End the sweep; its points are kept, and it can go on", () => send("cancel"));
  const running = make("div", { className: "omnimouse-bar", hidden: true }, words, bar, pause, cancel);
  const fault = make("div", { className: "omnimouse-problem", hidden: true });
  fault.setAttribute("role", "alert");
  function takeRunning(message) {
    running.hidden = !message.is_busy;
    words.textContent = message.words;
    bar.value = message.share;
    pause.textContent = message.is_paused ? "Resume" : "Pause";
    pause.title = message.is_paused ? "Go on with it" : "Hold it after this window";
    fault.textContent = message.fault;
    fault.hidden = !message.fault;
  }

  const sweep = turner("Sweep…", "A sweep over many windows, in the background", form, () => estimates.now());
  const keep = turner("Kept…", "Sweeps that were kept: compare, go on, delete", kept, () => send("look"));
  const save = press("Export CSV", "Save what is drawn as a table", () => send("export"));
  const buttons = make("div", { className: "omnimouse-bar" }, live, sweep, keep, save);
  const status = make("div", { className: "omnimouse-status" });
  status.setAttribute("role", "status");
  const mark = make("div", { className: "omnimouse-status" });
  follow("status", (said) => { status.textContent = said; });
  follow("mark", (said) => { mark.textContent = said; });
  el.append(conditions, buttons, form, kept, running, fault, status, mark);

  plotBeside(page, el).name("Correlation against how many neurons and how much history are given");
  page.ready();
  return page.close;
}
export default { render };
