// Selected neurons: recorded against predicted, pinned conditions, and the span shown.

// A pin: shown or hidden by its button, the rest in what its arrow opens.
function pinChip({ slot, letter, name, colour, is_shown, words }, act) {
  const swatch = make("span", { className: "omnimouse-swatch" });
  swatch.style.background = colour;
  const button = make("button", { type: "button", title: `${words}\nClick to show or hide it; the arrow has more` }, swatch, letter);
  button.setAttribute("aria-pressed", String(is_shown));
  button.setAttribute("aria-label", `${letter}: ${name}, ${is_shown ? "shown" : "hidden"}`);
  button.onclick = () => act("show", { slot, is_shown: !is_shown });
  const more = make("details", { className: "omnimouse-more" });
  const arrow = make("summary", { textContent: "▾", title: `More of ${letter}` });
  arrow.setAttribute("aria-label", `More of ${letter}: ${name}`);
  const field = make("input", { value: name, size: 16 });
  field.setAttribute("aria-label", `Name of ${letter}`);
  const renamed = () => act("rename", { slot, name: field.value });
  field.onkeydown = (event) => { if (event.key === "Enter") renamed(); };
  const verb = (label, then) => make("button", { type: "button", textContent: label, onclick: () => { more.open = false; then(); } });
  more.append(arrow, make("div", {},
    verb("Make it current again", () => act("make_current", { slot })),
    make("span", {}, field, verb("Rename", renamed)),
    verb("Unpin", () => act("unpin", { slot }))));
  more.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !more.open) return;
    more.open = false;
    arrow.focus();
    event.stopPropagation();
  });
  more.addEventListener("focusout", (event) => { if (!more.contains(event.relatedTarget)) more.open = false; });
  return make("span", { className: "omnimouse-chip" }, button, more);
}

function render({ model, el }) {
  const connection = connect({ model, el }, "traces", {
    rows: (message, buffers) => stack.show(message, buffers),
    cursor: ({ time_s }) => stack.moveTo(time_s),
    status: ({ words }) => stack.showStatus(words),
    bar: (message) => showBar(message),
  });
  const { send, set, follow, ready, close } = connection;
  const words = model.get("_words");
  const act = (verb, fields = {}) => send("pin", { verb, ...fields });

  const bar = make("div", { className: "omnimouse-bar", role: "toolbar", ariaLabel: "Traces" });
  const pin = make("button", { type: "button", textContent: "Pin", onclick: () => act("pin") });
  const chips = make("span", { className: "omnimouse-chips" });
  const stop = make("button", { type: "button", hidden: true, title: "Stop predicting the span and the pins", onclick: () => act("stop") });
  const told = make("span", { role: "status" });
  const span = make("select", { onchange: () => set("span", span.value) });
  span.setAttribute("aria-label", "Span of the traces");
  const toggle = (trait, [word, tip]) => {
    const button = make("button", { type: "button", textContent: word, title: tip });
    button.onclick = () => set(trait, !model.get(trait));
    follow(trait, (isOn) => button.setAttribute("aria-pressed", String(isOn)));
    return button;
  };
  bar.append(pin, chips, told, make("span", { className: "omnimouse-spring" }), stop, span,
    toggle("common_scale", words.common), toggle("as_large", words.shape));
  el.append(bar);
  const keys = { ...commonKeys(send), P: () => act("pin") };
  const showLegend = legendOf(el), showPinned = legendOf(el);
  const stack = connectStack(connection, model, {
    name: "traces", label: "Responses of the selected neurons, recorded and predicted", keys,
  })(el);
  const showSpan = () => {
    const choice = model.get("span"), spans = model.get("_spans");
    span.value = choice;
    span.title = `How much is shown: ${spans.find(([, value]) => value === choice)?.[2] ?? ""}`;
  };
  follow("_spans", (spans) => {
    span.replaceChildren(...spans.map(([textContent, value]) => make("option", { textContent, value })));
    showSpan();
  });
  follow("span", showSpan);
  follow("progress", (far) => { stop.hidden = !far; stop.textContent = `${far} ✕`; });

  function showBar({ legend, pinned, told: why, can_pin, pin_tip, pins }) {
    showLegend(legend);
    showPinned(pinned);
    told.textContent = why && `⚠ ${why}`;
    pin.disabled = !can_pin;
    pin.title = pin_tip;
    const drawn = JSON.stringify(pins);
    if (chips.dataset.drawn === drawn) return; // an open menu stays open
    chips.dataset.drawn = drawn;
    chips.replaceChildren(...pins.map((each) => pinChip(each, act)));
  }
  ready(keys);
  return close;
}
export default { render };
