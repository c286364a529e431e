// The bar: what is asked of whom, and how fresh the answer is. Controls of the page.

const videoChoices = (half) => [
  ["all", "all", "The model sees every frame"],
  ["none", "none", "The model sees no frame"],
  ["first", "start", "The model sees the first " + half],
  ["last", "end", "The model sees the last " + half],
];
const BEHAVIOR = [
  ["visible", "visible", "Running and pupil are given"],
  ["target", "target", "Running and pupil are to be decoded"],
  ["hidden", "hidden", "Neither given nor asked"],
];

function render({ model, el }) {
  const page = connect({ model, el }, "asked", {
    choices: (message) => takeChoices(message),
    words: (message) => takeWords(message),
    progress: (message) => takeProgress(message),
  });
  const { send, set, follow } = page;

  const title = make("strong", { className: "omnimouse-session" });
  const labelled = (word, control) => {
    control.setAttribute("aria-label", word);
    return make("label", { className: "omnimouse-group" }, make("span", { textContent: word }), control);
  };
  const preset = make("select", { title: "A ready-made question; painting makes it your own" });
  preset.onchange = () => set("preset", preset.value);
  const predictor = make("select", { title: "Whose predictions are shown" });
  predictor.onchange = () => set("predictor", predictor.value);
  const switches = (word, entries, trait) => {
    const buttons = entries.map(([value, text, about]) => {
      const button = make("button", { type: "button", value, title: about, textContent: text });
      button.onclick = () => set(trait, value);
      return button;
    });
    const box = make("span", { className: "omnimouse-group" }, make("span", { textContent: word }), ...buttons);
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", word);
    follow(trait, (value) =>
      buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.value === value))));
    return [box, buttons];
  };
  const [video, videoButtons] = switches("Video", videoChoices("second"), "video");
  const [behavior, behaviorButtons] = switches("Behaviour", BEHAVIOR, "behavior");
  const button = (textContent, op) => {
    const made = make("button", { type: "button", textContent });
    made.onclick = () => send(op);
    return made;
  };
  const stop = button("Stop", "stop"), again = button("Ask again", "again");
  const sign = make("span", { className: "omnimouse-sign" });
  sign.setAttribute("aria-hidden", "true");
  const fresh = make("span", { className: "omnimouse-fresh" });
  fresh.setAttribute("role", "status");
  const progress = make("progress", { hidden: true, max: 1 });
  progress.setAttribute("aria-label", "Progress");
  const meaning = make("div", { className: "omnimouse-status" });
  const error = make("div", { className: "omnimouse-problem", hidden: true });
  error.setAttribute("role", "alert");

  const first = make("div", { className: "omnimouse-bar" }, title,
    labelled("Model", predictor), sign, fresh, progress, stop, again);
  const second = make("div", { className: "omnimouse-bar" },
    labelled("Preset", preset), video, behavior);
  const offer = button("", "offered");
  first.append(offer);
  follow("_offer", (words) => { offer.textContent = words; offer.hidden = !words; });
  el.append(first, second, meaning, error);

  const showPreset = () => { preset.value = model.get("preset"); };
  function takeChoices(message) {
    fillSelect(preset, [["", message.by_hand], ...message.presets]);
    preset.firstElementChild.disabled = true;
    fillSelect(predictor, message.models);
    showPreset();
    predictor.value = model.get("predictor");
    const off = (buttons, entries, why) =>
      buttons.forEach((one, at) => {
        one.disabled = Boolean(why);
        one.title = why || entries[at][2];
      });
    off(videoButtons, videoChoices(message.half), !message.reads_video ? "This model reads no video." :
      message.has_video ? "" : "This session has no video");
    off(behaviorButtons, BEHAVIOR, !message.reads_behavior ? "This model reads no behaviour." :
      message.has_behavior ? "" : "This session has no behaviour");
  }
  follow("preset", showPreset);
  follow("predictor", (value) => { predictor.value = value; });
  function takeWords(message) {
    title.textContent = message.title;
    meaning.textContent = [message.meaning, ...message.warnings].join(" ");
  }
  // "predicting…" only where it takes long: anything faster would flicker.
  let patience = 0;
  function takeProgress(message) {
    clearTimeout(patience);
    const isWork = Boolean(message.words);
    sign.textContent = message.sign;
    sign.className = `omnimouse-sign omnimouse-tone-${message.tone}`;
    const long = () => {
      fresh.textContent = message.words || (message.awaited ? "predicting…" : message.fresh);
      stop.hidden = !(isWork || message.awaited);
    };
    if (message.awaited && !isWork) patience = setTimeout(long, message.patience_ms);
    else long();
    progress.hidden = message.share === null;
    if (message.share !== null) progress.value = message.share;
    again.hidden = !message.again;
    error.textContent = message.error;
    error.hidden = !message.error;
  }
  page.ready();
  return () => { clearTimeout(patience); page.close(); };
}
export default { render };
