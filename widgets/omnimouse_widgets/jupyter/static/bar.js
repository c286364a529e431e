// Control bar: choice of model and task, and the state of the prediction.

const videoChoices = (half) => [
  ["all", "all", "The model sees every frame"],
  ["none", "none", "The model sees no frame"],
  ["first", "start", "The model sees the first " + half],
  ["last", "end", "The model sees the last " + half],
];
const BEHAVIOR = [
  ["visible", "visible", "Running and pupil are visible to the model"],
  ["target", "target", "Running and pupil are decoded"],
  ["hidden", "hidden", "Running and pupil are hidden"],
];

function render({ model, el }) {
  const page = connect({ model, el }, "control", {
    choices: (message) => takeChoices(message),
    text: (message) => takeText(message),
    progress: (message) => takeProgress(message),
    actions: (message) => takeActions(message),
  });
  const { send, set, follow } = page;

  const title = make("strong", { className: "omnimouse-session" });
  const labelled = (text, control) =>
    make("label", { className: "omnimouse-group" }, make("span", { textContent: text }), control);
  const preset = makeSelect("Preset", (value) => set("preset", value), "A prepared task; painting changes it");
  const region = makeSelect("Region", (value) => set("preset", `${base()}/${value}`), "The region that is predicted");
  const base = () => model.get("preset").split("/")[0];
  const predictor = makeSelect("Model", (value) => set("predictor", value), "The model whose predictions are shown");
  const switches = (text, entries, trait) => {
    const buttons = entries.map(([value, word, about]) =>
      makeButton(word, about, () => set(trait, value), { value }));
    follow(trait, (value) => buttons.forEach((button) => setPressed(button, button.value === value)));
    return [makeGroup(text, make("span", { textContent: text }), ...buttons), buttons];
  };
  const [video, videoButtons] = switches("Video", videoChoices("second"), "video");
  const [behavior, behaviorButtons] = switches("Behaviour", BEHAVIOR, "behavior");
  const stop = makeButton("Stop", "", () => send("stop"));
  const repeat = makeButton("Predict again", "", () => send("repeat"));
  const connection = makeButton("", "Connect to the server that the file of the model names", () => send("connect"));
  const wait = makeButton("Wait", "Go on waiting", () => send("wait"));
  const restart = makeButton("Restart", "End the process of the model and start it again", () => send("restart"));
  const refine = makeButton("", "", () => send("refine"));
  const fileMask = makeButton("Use the file's mask",
    "Show the mask under which the predictions of this file were made", () => send("file_mask"));
  const offer = makeButton("", "", () => send("offer"));
  follow("_offer", (text) => { offer.textContent = text; offer.hidden = !text; });
  const sign = make("span", { aria: { hidden: "true" } });
  const fresh = make("span", { className: "omnimouse-fresh", role: "status" });
  const progress = make("progress", { hidden: true, max: 1, aria: { label: "Progress" } });
  const guide = makeStatus(), meaning = makeStatus(), score = makeStatus(), error = makeProblem(), silent = makeProblem();
  const silence = makeBar(silent, wait, restart);
  el.append(
    makeBar(title, labelled("Model", predictor), sign, fresh, progress, stop, repeat, connection, refine, fileMask, offer),
    makeBar(labelled("Preset", preset), region, video, behavior),
    guide, meaning, score, error, silence,
  );

  const showPreset = () => {
    const [name, inside] = model.get("preset").split("/");
    preset.value = name;
    region.hidden = inside === undefined;
    if (inside !== undefined) region.value = inside;
  };
  function takeChoices(message) {
    fillSelect(preset, [["", message.by_hand], ...message.presets]);
    preset.firstElementChild.disabled = true; // "by hand" is a state, not a choice
    // A title of a preset states what of it the session lacks.
    for (const option of preset.options) option.disabled ||= option.title !== "";
    fillSelect(region, message.regions.map((name) => [name, name]));
    fillSelect(predictor, message.models);
    showPreset();
    predictor.value = model.get("predictor");
    const disable = (buttons, entries, reason) =>
      buttons.forEach((button, k) => {
        button.disabled = Boolean(reason);
        button.title = reason || entries[k][2];
      });
    disable(videoButtons, videoChoices(message.half), !message.reads_video ? "This model reads no video." :
      message.has_video ? "" : "This recording has no video");
    disable(behaviorButtons, BEHAVIOR, !message.reads_behavior ? "This model reads no behaviour." :
      message.has_behavior ? "" : "This recording has no behaviour");
  }
  follow("preset", showPreset);
  follow("predictor", (value) => { predictor.value = value; });
  function takeText(message) {
    title.textContent = message.title;
    meaning.textContent = [message.meaning, ...message.warnings].join(" ");
  }
  function takeActions(message) {
    refine.hidden = !message.can_refine && message.is_refining;
    refine.textContent = message.is_refining ? "Pause scores" : "Continue scores";
    score.textContent = `Score: ${message.score}`;
    guide.textContent = message.guide.replaceAll("\n", " ");
    guide.hidden = !message.guide;
    refine.title = `${message.is_refining ? "Stop" : "Continue"} to refine the scores over further windows`;
    fileMask.hidden = !message.has_file_mask;
  }
  // "predicting…" is shown after a delay: a fast prediction would make it flicker.
  let timer = 0;
  function takeProgress(message) {
    clearTimeout(timer);
    const isWorking = Boolean(message.text);
    sign.textContent = message.sign;
    sign.className = `omnimouse-sign omnimouse-tone-${message.tone}`;
    const show = () => {
      fresh.textContent = message.text || (message.is_awaited ? "predicting…" : message.freshness);
      stop.hidden = !(isWorking || message.is_awaited);
    };
    if (message.is_awaited && !isWorking) timer = setTimeout(show, message.delay_ms);
    else show();
    progress.hidden = message.share === null;
    if (message.share !== null) progress.value = message.share;
    repeat.hidden = !message.can_repeat;
    showProblem(error, message.error);
    connection.textContent = `Connect to ${message.host}`;
    connection.hidden = !message.host;
    showProblem(silent, message.silent);
    silence.hidden = !message.silent;
  }
  page.ready();
  return () => { clearTimeout(timer); page.close(); };
}
export default { render };
