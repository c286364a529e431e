// Behaviour: recorded and decoded channels, and the use of behaviour in the mask.

const MODES = [
  ["visible", "Running and pupil are visible to the model"],
  ["target", "Running and pupil are decoded"],
  ["hidden", "Running and pupil are hidden"],
];
const CODES = { hidden: 0, visible: 1, target: 2 }; // of the colours of the states

function render({ model, el }) {
  const connection = connect({ model, el }, "behavior", {
    rows: (message, buffers) => stack.show(message, buffers),
    cursor: ({ time_s }) => stack.moveTo(time_s),
    status: ({ text }) => stack.showStatus(text),
    legend: ({ legend }) => showLegend(legend),
  });
  const { set, follow, ready, close } = connection;
  const colours = model.get("_colours").states;
  const buttons = MODES.map(([mode, tip]) =>
    makeButton([makeSwatch(colours[CODES[mode]]), mode], tip, () => set("mode", mode), { value: mode }));
  const description = make("span", { className: "omnimouse-quiet", role: "status" });
  el.append(makeBar("Behaviour", makeGroup("Behaviour", ...buttons), description));
  const showLegend = legendOf(el);
  const stack = connectStack(connection, model, { name: "behavior", label: "Behaviour, recorded and decoded" })(el);
  follow("mode", (mode) => buttons.forEach((button) => setPressed(button, button.value === mode)));
  follow("has_behavior", (has) => buttons.forEach((button) => { button.disabled = !has; }));
  follow("description", (text) => { description.textContent = text; });
  ready();
  return close;
}
export default { render };
