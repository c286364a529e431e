// Control bar: choice of model and task, and the state of the prediction.

function render({ model, el }) {
  const page = connect({ model, el }, "control", {
    choices: (message) => takeChoices(message),
    text: (message) => takeText(message),
    progress: (message) => takeProgress(message),
    actions: (message) => takeActions(message),
  });
  const { send, set, follow, texts } = page;

  const title = make("strong", { className: "omnimouse-session" });
  const labelled = (text, control) =>
    make("label", { className: "omnimouse-group" }, make("span", { textContent: text }), control);
  const choiceOf = (name, choose) => makeSelect(texts[name][0], choose, texts[name][1]);
  const buttonOf = (name) => makeButton(...texts[name], () => send(name));
  const base = () => model.get("preset").split("/")[0];
  const preset = choiceOf("preset", (value) => set("preset", value));
  const region = choiceOf("region", (value) => set("preset", `${base()}/${value}`));
  const predictor = choiceOf("model", (value) => set("predictor", value));
  const switches = (trait) => {
    const [text, entries] = texts[trait];
    const buttons = entries.map(([value, word]) => makeButton(word, "", () => set(trait, value), { value }));
    follow(trait, (value) => buttons.forEach((button) => setPressed(button, button.value === value)));
    return [makeGroup(text, make("span", { textContent: text }), ...buttons), buttons];
  };
  const [video, videoButtons] = switches("video");
  const [behavior, behaviorButtons] = switches("behavior");
  const [stop, repeat, connection] = ["stop", "repeat", "connect"].map(buttonOf);
  const [wait, restart, fileMask] = ["wait", "restart", "file_mask"].map(buttonOf);
  const refine = makeButton("", "", () => send("refine"));
  const offer = makeButton("", "", () => send("offer"));
  follow("_offer", (text) => { offer.textContent = text; offer.hidden = !text; });
  const notesTitle = make("summary", { className: "omnimouse-note", title: texts.notes }), notesText = make("div", { className: "omnimouse-notes" });
  const notes = make("details", { className: "omnimouse-more omnimouse-chip", hidden: true }, notesTitle, notesText);
  const known = make("span", { className: "omnimouse-known" });
  const sign = make("span", { aria: { hidden: "true" } });
  const fresh = make("span", { className: "omnimouse-fresh", role: "status" });
  const progress = make("progress", { hidden: true, max: 1, aria: { label: texts.progress } });
  const guide = makeStatus(), meaning = makeStatus(), score = makeStatus(), error = makeProblem(), silent = makeProblem();
  const silence = makeBar(silent, wait, restart);
  const standIn = makeStatus("", "status");
  el.append(
    makeBar(title, notes, labelled(texts.model[0], predictor), known, sign, fresh, progress, stop, repeat, connection, refine, fileMask, offer),
    makeBar(labelled(texts.preset[0], preset), region, video, behavior),
    standIn, guide, meaning, score, error, silence,
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
    const explain = (buttons, { tips, refusal }) =>
      buttons.forEach((button, k) => {
        button.disabled = Boolean(refusal);
        button.title = refusal || tips[k];
      });
    explain(videoButtons, message.video);
    explain(behaviorButtons, message.behavior);
  }
  follow("preset", showPreset);
  follow("predictor", (value) => { predictor.value = value; });
  function takeText(message) {
    title.textContent = message.title;
    [notesTitle.textContent, notesText.textContent] = message.notes;
    notes.hidden = !message.notes[0];
    known.textContent = message.known;
    meaning.textContent = [message.meaning, ...message.warnings].join(" ");
  }
  function takeActions(message) {
    refine.hidden = !message.can_refine && message.is_refining;
    [refine.textContent, refine.title] = texts.refine[Number(message.is_refining)];
    score.textContent = texts.score.replace("{}", () => message.score);
    score.title = message.score_tip;
    guide.textContent = message.guide.replaceAll("\n", " ");
    guide.hidden = !message.guide;
    fileMask.hidden = !message.has_file_mask;
  }
  // What a request waits for is shown after a delay: a fast prediction would make it flicker.
  let timer = 0;
  function takeProgress(message) {
    clearTimeout(timer);
    const isWorking = Boolean(message.text);
    sign.textContent = message.sign;
    sign.className = `omnimouse-sign omnimouse-tone-${message.tone}`;
    const show = () => {
      fresh.textContent = message.text || (message.is_awaited ? message.waiting : message.freshness);
      stop.hidden = !(isWorking || message.is_awaited);
    };
    if (message.is_awaited && !isWorking) timer = setTimeout(show, message.delay_ms);
    else show();
    progress.hidden = message.share === null;
    if (message.share !== null) progress.value = message.share;
    repeat.hidden = !message.can_repeat;
    showProblem(error, message.error);
    connection.textContent = texts.connect[0].replace("{}", () => message.host);
    connection.hidden = !message.host;
    showProblem(silent, message.silent);
    silence.hidden = !message.silent;
    standIn.textContent = message.stand_in;
    standIn.hidden = !message.stand_in;
  }
  // Its texts change with the first stroke: the canvas under the pointer must not move then.
  const holdHeight = ({ target }) => {
    if (!(target instanceof HTMLCanvasElement)) return;
    el.style.minHeight = el.style.maxHeight = `${el.getBoundingClientRect().height}px`;
    el.style.overflow = "hidden";
  };
  const releaseHeight = () => { el.style.minHeight = el.style.maxHeight = el.style.overflow = ""; };
  const ends = ["pointerup", "pointercancel"];
  addEventListener("pointerdown", holdHeight, true);
  ends.forEach((end) => addEventListener(end, releaseHeight, true));
  page.ready();
  return () => {
    clearTimeout(timer);
    removeEventListener("pointerdown", holdHeight, true);
    ends.forEach((end) => removeEventListener(end, releaseHeight, true));
    page.close();
  };
}
export default { render };
