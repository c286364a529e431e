// Behaviour: recorded against the predictor's own decode, and what it is told of it.

const MODES = [
  ["visible", "Running and pupil are given"],
  ["target", "Running and pupil are to be decoded"],
  ["hidden", "Neither given nor asked"],
];

function render({ model, el }) {
  const connection = connect({ model, el }, "behavior", {
    rows: (message, buffers) => stack.show(message, buffers),
    cursor: ({ time_s }) => stack.moveTo(time_s),
    status: ({ words }) => stack.showStatus(words),
    legend: ({ legend }) => showLegend(legend),
  });
  const { set, follow, ready, close } = connection;
  const colours = model.get("_colours").states;
  const bar = make("div", { className: "omnimouse-bar", role: "group", ariaLabel: "Behaviour" }, "Behaviour");
  const buttons = MODES.map(([mode, tip]) => {
    const swatch = make("span", { className: "omnimouse-swatch" });
    swatch.style.background = colours[{ hidden: 0, visible: 1, target: 2 }[mode]];
    return make("button", { type: "button", title: tip, value: mode, onclick: () => set("mode", mode) }, swatch, mode);
  });
  const words = make("span", { className: "omnimouse-quiet", role: "status" });
  bar.append(...buttons, words);
  el.append(bar);
  const showLegend = legendOf(el);
  const stack = connectStack(connection, model, { name: "behavior", label: "Behaviour, recorded and decoded" })(el);
  follow("mode", (mode) => buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.value === mode))));
  follow("has_behavior", (is) => buttons.forEach((button) => { button.disabled = !is; }));
  follow("words", (said) => { words.textContent = said; });
  ready();
  return close;
}
export default { render };
