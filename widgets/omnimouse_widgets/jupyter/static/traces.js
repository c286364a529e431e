// Traces: selected neurons, recorded and predicted; pinned conditions; length of the span.

// A pin: its button shows and hides it; the arrow opens a menu with the other actions.
function pinChip({ slot, letter, name, colour, is_shown, text }, act) {
  const button = makeButton(
    [makeSwatch(colour), letter],
    `${text}\nClick to show or hide it; the arrow opens more actions`,
    () => act("show", { slot, is_shown: !is_shown }),
    { aria: { label: `${letter}: ${name}, ${is_shown ? "shown" : "hidden"}`, pressed: String(is_shown) } },
  );
  const menu = make("details", { className: "omnimouse-more" });
  const arrow = make("summary", { textContent: "▾", title: `More actions for ${letter}`, aria: { label: `More actions for ${letter}: ${name}` } });
  const field = make("input", { value: name, size: 16, aria: { label: `Name of ${letter}` } });
  const rename = () => act("rename", { slot, name: field.value });
  field.onkeydown = (event) => { if (event.key === "Enter") rename(); };
  const action = (label, then) => makeButton(label, "", () => { menu.open = false; then(); });
  menu.append(arrow, make("div", {},
    action("Make it current again", () => act("make_current", { slot })),
    make("span", {}, field, action("Rename", rename)),
    action("Unpin", () => act("unpin", { slot }))));
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    arrow.focus();
    event.stopPropagation(); // otherwise the notebook takes the focus
  });
  menu.addEventListener("focusout", (event) => { if (!menu.contains(event.relatedTarget)) menu.open = false; });
  return make("span", { className: "omnimouse-chip" }, button, menu);
}

function render({ model, el }) {
  const connection = connect({ model, el }, "traces", {
    rows: (message, [numbers, shades]) => stack.show(message, numbers ? [float32(numbers), bytes(shades)] : []),
    cursor: ({ time_s }) => stack.moveTo(time_s),
    status: ({ text }) => stack.showStatus(text),
    bar: (message) => showBar(message),
  });
  const { send, set, follow, ready, close } = connection;
  const texts = model.get("_texts");
  const act = (action, fields = {}) => send("pin", { action, ...fields });

  const pin = makeButton("Pin", "", () => act("pin"));
  const chips = make("span", { className: "omnimouse-chips" });
  const stop = makeButton("", "Stop predicting the span and the pins", () => act("stop"), { hidden: true });
  const notice = make("span", { role: "status" });
  const span = makeSelect("Span of the traces", (value) => set("span", value));
  const toggle = (trait, [word, tip]) => {
    const button = makeButton(word, tip, () => set(trait, !model.get(trait)));
    follow(trait, (isOn) => setPressed(button, isOn));
    return button;
  };
  const bar = makeBar(pin, chips, notice, make("span", { className: "omnimouse-spring" }), stop, span,
    toggle("common_scale", texts.common), toggle("as_large", texts.shape));
  bar.setAttribute("role", "toolbar");
  bar.setAttribute("aria-label", "Traces");
  el.append(bar);
  const keys = { ...commonKeys(send), P: () => act("pin") };
  const showLegend = legendOf(el), showPinned = legendOf(el);
  const stack = connectStack(connection, model, {
    name: "traces", label: "Responses of the selected neurons, recorded and predicted", keys,
  })(el);
  const showSpan = () => {
    const choice = model.get("span"), spans = model.get("_spans");
    span.value = choice;
    span.title = `Displayed span: ${spans.find(([, value]) => value === choice)?.[2] ?? ""}`;
  };
  follow("_spans", (spans) => {
    fillSelect(span, spans.map(([text, value]) => [value, text]));
    showSpan();
  });
  follow("span", showSpan);
  follow("progress", (text) => { stop.hidden = !text; stop.textContent = `${text} ✕`; });

  function showBar({ legend, pinned, notice: text, can_pin, pin_tip, pins }) {
    showLegend(legend);
    showPinned(pinned);
    notice.textContent = text && `⚠ ${text}`;
    pin.disabled = !can_pin;
    pin.title = pin_tip;
    // New elements would close an open menu, so only if the pins differ.
    const drawn = JSON.stringify(pins);
    if (chips.dataset.drawn === drawn) return;
    chips.dataset.drawn = drawn;
    chips.replaceChildren(...pins.map((entry) => pinChip(entry, act)));
  }
  ready(keys);
  return close;
}
export default { render };
