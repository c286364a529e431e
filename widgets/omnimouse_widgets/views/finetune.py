"""Panel *Fine-tuning*: settings, progress, curves and actions of a fine-tuning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import nan
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from omnimouse_model.data.recording import cached
from omnimouse_model.display import count, difference_text, interval_text, number_text
from omnimouse_model.evaluation.tier_score import scored_tier
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.models.finetune import (
    STEPS,
    FinetunedModel,
    FinetuneRequest,
    Finetuning,
    Point,
    TrainedPart,
    model_name,
    step_name,
)
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.metrics.named import Metric
from omnimouse_model.predict.compatibility import unused_text
from omnimouse_widgets import palette
from omnimouse_widgets.views import record
from omnimouse_widgets.views.form import Form, setting, settings_of
from omnimouse_widgets.views.text.tier_score import no_score_text, tier_score_lines, tier_score_tip

LOSS_COLOUR: Final = palette.RECORDED
SCORE_COLOUR: Final = palette.PREDICTED
MAX_STEPS: Final = 100_000
USE_MODEL, USE_BEST = "Use model", "Use best weights"
TUNE, FIT = "Fine-tune {} to {}", "Fit {} to {}"
NOT_OFFERED: Final = (
    "Choose a model by its name, file or folder, and a recording that it does not know: it "
    "can then be fine-tuned to the recording. A model without weights, such as latent-zig, can "
    "be fitted to any recording."
)
OPEN_TIP: Final = "Fine-tune the model to this recording, which it does not know"
FIT_TIP: Final = "Train the model, which has no weights yet, on this recording"
TIPS: Final = {
    "start": "Train in a separate process; you can work on, or quit and resume later",
    "stop": "Stop within a second; the run is saved",
    "use": "Select the fine-tuned model",
    "finish": "Finish with the weights that scored best so far, and select the model",
    "loss": (
        "Loss of each step, and its mean over the last 20 steps, or as many as there are. Each "
        "step draws other windows and, where the model has several, another task; some are "
        "harder. So the loss can rise although the model gets better, which the held-out score "
        "shows."
    ),
    "held-out score": (
        "Score on held-out windows, which no step trains on: always the same windows and tasks, "
        "so that steps can be compared. The result has the weights of the highest point."
    ),
    "copy": "Copy the path of the folder, for om.load_predictor and for commands",
    "dismiss": "Hide this run; its folder is not deleted",
}
FINISH: Final = "Use best weights takes those of {}, which scored best, and makes no further step"
FINISH_AFTER: Final = ", but first {}, as at the end of a whole run: {}"
FINISH_UNKNOWN: Final = "minutes, and longer on a busy machine"
LESS_IS_BETTER: Final = " (less is better)"
LOSS_TITLE: Final = f"loss{LESS_IS_BETTER}"
LOSS_COMES: Final = "from the first step on"
SCORES_COME: Final = ("scores", "held-out score", "from the first scored step on")
LOSS_RISES: Final = (
    "The loss can rise meanwhile: each step draws another task, and some are harder."
)
OTHER_OPTIONS: Final = (
    "with {}. With its own settings, it can be resumed; Start over trains in a new folder."
)
GO_ON: Final = " To train on, choose {} as the model again, and Resume."
COMPARED: Final = (
    "Only steps of this run have it: compare them with the start. At the end, the score over "
    "the test part is beside that of {}."
)
NOT_THE_BASELINE: Final = (
    "Other models have no score there: those on screen, such as {}, were fitted to these windows."
)
ENDING: Final = "◌ Stopping: the step in progress is finished, scored if it is due, and saved…"
INTERVALS: Final = (
    "Intervals are of 95 %, for these neurons in further windows; that of a difference is of "
    "the same windows at both steps."
)
MASK_SCORE: Final = "Mask on screen"
PRELIMINARY: Final = "This gain is a little too high: the same held-out windows chose the step."
GAIN_ELSEWHERE: Final = (
    " What the model gains shows in the score over the test part, beside that of other models."
)
GAIN_BELOW: Final = " That with the mask on screen is not: its windows chose nothing."
PARTS: Final = {"embeddings": " train the embeddings", "all": " train all weights"}
Ends = tuple[float, float]
UNKNOWN: Final = (nan, nan)
MIN_SPAN: Final = 0.02
"""Minimum range of the vertical axis; smaller differences are noise."""
MOST_POINTS: Final = 1000
"""Number of drawn points above which some are left out."""
SMOOTHED: Final = 20
"""Number of steps in the running mean of the loss."""


@dataclass(frozen=True, slots=True)
class FinetuneSettings:
    """Settings of a fine-tuning."""

    train: TrainedPart = setting(
        "Train",
        "What is trained: embeddings, the numbers by which the model knows each neuron of this "
        "recording, while all that recordings share (the core) stays as it is; or all weights, "
        "the core too",
        "embeddings",
        options=(
            (
                "embeddings",
                "embeddings",
                "Train the vectors of the neurons of this recording (models of spikes: its "
                "linear layers);\nthe core is frozen, so predictions for other recordings "
                "do not change",
            ),
            ("all", "all weights", "Train the core as well; the result knows only this recording"),
        ),
    )
    steps: int = setting(
        "Steps",
        "Largest number; training ends sooner if the held-out score stops rising",
        STEPS,
        low=0,
        high=MAX_STEPS,
        step=50,
    )


class FinetuneView(OfController):
    """Offer of a fine-tuning with its form, and the latest run with its curves."""

    name = "finetune"

    def __init__(
        self, finetuning: Finetuning, state: LiveState, results: Results, baseline: Results
    ) -> None:
        self._finetuning, self._state = finetuning, state
        self._results, self._baseline = results, baseline
        self._form: Form[Any] = Form(FinetuneSettings)
        self._options: type | None = None

    @property
    def form(self) -> Form[Any]:
        """Settings of the next run: the options of the chosen model's family."""
        options = self._finetuning.options
        if options is not None and options is not self._options:
            self._options = options
            self._form.show(settings_of(options, FinetuneSettings))
        return self._form

    def blocks(self) -> Sequence[record.Block]:
        """Return the record: title, form or progress, curves, and actions."""
        return [record.Block(self._items, self.signals, grows=True)]

    @property
    def signals(self) -> list[Any]:
        """Signals after which the record may be another one."""
        events = self._state.events
        offered = [events.session, events.predictor_name, self._results.changed]
        scored = [events.mask, events.scores_tier, events.baseline_name, self._baseline.changed]
        return [*offered, *scored, self._finetuning.changed, self.form.changed]

    @property
    def is_shown(self) -> bool:
        """Whether there is a run, or the chosen model can be fine-tuned."""
        return self._shows_run or self._finetuning.is_offered

    @property
    def status(self) -> str:
        """Model and recording, with progress, estimated cost, or outcome."""
        if not self.is_shown:
            return ""
        text = self._run_text() if self._shows_run else self._offer_text()
        return f"{self._title}: {text}"

    @property
    def _shows_run(self) -> bool:
        finetuning, name = self._finetuning, self._finetuning.model
        if finetuning.is_busy:
            return True
        # A run that has ended leaves with its recording, and while another model is
        # offered, and comes back with them.
        request = finetuning.request if finetuning.is_of_screen else None
        return request is not None and (request.model == name or not finetuning.is_offered)

    def value(self, name: str) -> Any:
        """Return an option of the form; None if the model's family has no such option."""
        names = {one.name for one in self.form.fields()}
        return self.form.value(name) if name in names else None

    @property
    def _saved(self) -> FinetunedModel | None:
        train: TrainedPart = self.value("train") or "embeddings"
        return self._finetuning.saved_result(train)

    # -- actions ----------------------------------------------------------------------
    def start(self) -> None:
        """Start, start over or continue a run.

        Raises
        ------
        ValueError
            A field of the form is not valid.
        """
        finetuning = self._finetuning
        if not self._shows_run:
            settings, session = self.form.read(), self._state.session
            asked = {one.name: getattr(settings, one.name) for one in fields(settings)}
            if self._differing(self._saved) and session is not None:
                train = asked.get("train", "embeddings")
                model = finetuning.model
                asked["out"] = finetuning.folder_for(model, session, train, is_fresh=True)
            finetuning.start(**asked)
        elif finetuning.is_stale:
            finetuning.start_over()
        else:
            finetuning.resume()

    def use(self) -> None:
        """Choose the fine-tuned model; after a stop, with its best weights."""
        saved = self._saved
        if self._shows_run:
            self._finetuning.use()
        elif saved is not None:
            self._finetuning.use_saved(saved)

    # -- content ----------------------------------------------------------------------
    def _items(self) -> Sequence[record.Item | record.Row]:
        finetuning = self._finetuning
        if self._shows_run:
            return self._run()
        if not finetuning.is_offered:
            name, results = self._state.predictor_name, self._results
            loads = self._state.session and name and results.needs is None and not results.error
            message = f"Loading {name}…" if loads else NOT_OFFERED
            return [record.Text("ended", self._ended), record.Text("message", message, "quiet")]
        saved = self._saved
        start, use = "Start", ""
        if saved is not None:
            is_longer = not saved.is_finished or saved.step < (self.value("steps") or 0)
            # A stopped run is continued in its own folder: starting again would lose its
            # steps. With more steps than before, a finished run can continue.
            start = "Resume" if is_longer else ""
            if start and self._differing(saved):
                start = "Start over"
            if saved.is_finished:
                use = USE_MODEL
            else:
                use = USE_BEST if saved.start_score is not None else ""
        return [
            record.Text("ended", self._ended),
            self._head(None if saved is None else saved.path),
            # A training may take hours: Enter takes a value, and only the button begins it.
            record.Settings("settings", self.form),
            record.Text("message", self._offer_text()),
            record.Text("unused", self._unused, "warning"),
            *(self._problem() if finetuning.request is None else ()),  # else `ended` has it
            self._finish(use),
            record.Row(
                "actions", self._buttons(start, use, self.form.refusal or finetuning.refusal)
            ),
        ]

    @property
    def _ended(self) -> str:
        """What became of a run of another recording or model, which chose none at its end."""
        finetuning = self._finetuning
        if finetuning.request is None:
            return ""
        title = _title_of(finetuning.request)
        if finetuning.is_finished:
            return f"✓ {title}: finished, and in the list of models."
        error = finetuning.error
        return f"{title}: {self._run_text()}" if error is None else f"✕ {title}: {error}"

    @property
    def _unused(self) -> str:
        """What the model cannot use of the recording: it is said before the start."""
        session, needs = self._state.session, self._finetuning.needs
        return "" if session is None or needs is None else unused_text(needs, session)

    def _offer_text(self) -> str:
        saved = self._saved
        if saved is not None and saved.is_finished:
            over = over_text(saved.scored, self._finetuning.scored_tasks(self._finetuning.model))
            gain = gain_text(saved.start_score, saved.best_score, over)
            # A family that writes no card does not say how many.
            steps = f" of {saved.step} steps" if saved.step else ""
            told = weights_text(saved.best_step, saved.step)
            # Only a run of more steps could be resumed.
            n_steps = self.value("steps") or 0
            if saved.step < n_steps:
                other = self._differing(saved)
                more = f"Resume goes on to step {n_steps}."
                told += f" It ran {OTHER_OPTIONS.format(other)}" if other else f" {more}"
            return f"A finished run{steps} exists: {gain}.{told}"
        # The family of the model may have neither option.
        n_steps, part = self.value("steps"), PARTS.get(self.value("train"), "")
        # The time is that of a whole run, not of what is left of one.
        is_whole = saved is None and n_steps is not None
        time = self._finetuning.estimate(n_steps) if is_whole else ""
        count = f"{n_steps} steps" if n_steps else "all steps"
        after = self._finetuning.after_steps(self._finetuning.model)
        done = f"{count}{part}" + (f", then {after}" if after else "")
        plan = "" if n_steps is None else " · ".join(filter(None, (done, time)))
        if saved is None:
            return plan
        stopped = f"A run stopped at step {saved.step}"
        if other := self._differing(saved):
            return f"{stopped}, {OTHER_OPTIONS.format(other)} {plan}".strip()
        return f"{stopped} and can be resumed. {plan}".strip()

    def _differing(self, saved: FinetunedModel | None) -> str:
        """Return the options of a saved run that the form has otherwise: "Batch 4, not 8"."""
        if saved is None or self.form.refusal:
            return ""
        asked = self.form.read()
        return ", ".join(
            f"{one.label} {saved.options[one.name]}, not {getattr(asked, one.name)}"
            for one in self.form.fields()
            if saved.options.get(one.name, getattr(asked, one.name)) != getattr(asked, one.name)
        )

    def _run(self) -> Sequence[record.Item | record.Row]:
        finetuning = self._finetuning
        request = finetuning.request
        assert request is not None
        tasks, baseline = finetuning.scored_tasks(request.model), self._baseline_name
        part, metric = finetuning.scored_part(request)
        held_out = held_out_text(tasks, part, metric)
        if part.startswith("some of the train part"):
            held_out += f" {NOT_THE_BASELINE.format(baseline)}"
        if finetuning.intervals:
            held_out += f" {INTERVALS}"
        start = use = ""
        if finetuning.can_resume and not finetuning.is_ending:
            # A folder that holds another run cannot be continued.
            start = "Start over" if finetuning.is_stale else "Resume"
            if not finetuning.is_stale and self._is_unsaved:
                start = "Start"
            # A stopped run has a usable result once its start values were scored.
            use = USE_BEST if finetuning.can_be_used else ""
        elif finetuning.is_finished and not finetuning.is_chosen:
            use = USE_MODEL
        items: list[record.Item | record.Row] = [self._head(request.path)]
        if finetuning.is_busy:
            # Above the texts, whose numbers of lines change: Stop stays in its place.
            stop = record.Action("stop", "Stop", TIPS["stop"], finetuning.stop)
            bar = record.Progress("bar", "Fine-tuned", finetuning.share or None)
            items.append(record.Row("progress", (bar, stop), "bar"))
        items += [
            record.Text(
                "message", self._run_text(), tip=held_out if finetuning.validations else ""
            ),
            record.Text("gain", self._gain, tip=tier_score_tip(self._results.tier_score)),
        ]
        begin, best = finetuning.start_score, finetuning.best_score
        if finetuning.is_finished and is_gain(begin, best):
            # Before the score of the mask on screen, whose windows chose nothing.
            text = PRELIMINARY + (GAIN_BELOW if finetuning.is_chosen else GAIN_ELSEWHERE)
            items.insert(2, record.Text("score", text, "quiet", held_out))
        # While it runs, both plots have their places from the start: the page does not jump.
        if finetuning.validations or finetuning.is_busy:
            items.append(record.Row("curves", self._curves()))
        if finetuning.validations and not finetuning.is_finished:
            over = over_text(finetuning.scored, tasks)
            last = finetuning.validations[-1][0]
            step, ends = finetuning.best_step, (finetuning.intervals, self._gain_ends)
            so_far = so_far_text(begin, best, step, over, last, *ends)
            # A fit begins at random: its score is compared with nothing of its own.
            if begin is not None:
                so_far += f" {COMPARED.format(baseline)}"
            so_far += f" {LOSS_RISES}" if tasks and finetuning.losses else ""
            items.append(record.Text("score", so_far, "quiet", held_out))
        if finetuning.replaced:
            names = [model_name(name) for name in (self._state.predictor_name, request.model)]
            text = "Until it ends, {} predicts on screen in place of {}.".format(*names)
            items.append(record.Text("stand_in", text, "quiet"))
        copy: tuple[record.Action, ...] = ()
        # Before its first save, and of a run that could not start, there is none.
        if finetuning.validations:
            items.append(record.Text("folder", f"Weights in the folder {request.path}", "quiet"))
            copied = record.Clipboard(f"{request.path}", "The path is on the clipboard")
            copy = (record.Action("copy_path", "Copy path", TIPS["copy"], lambda: copied),)
        return [
            *items,
            *self._problem(),
            self._finish(use),
            record.Row("actions", (*self._buttons(start, use), *copy)),
        ]

    def _finish(self, use: str) -> record.Text:
        """Return the text that explains the button *Use best weights*; "" without the button."""
        finetuning, text = self._finetuning, ""
        if use == USE_BEST:
            request = finetuning.request if self._shows_run else None
            after = finetuning.after_steps(finetuning.model if request is None else request.model)
            saved = None if self._shows_run else self._saved
            step = finetuning.best_step if saved is None else saved.best_step
            text = FINISH.format(step_name(step))
            time = finetuning.finish_estimate(saved) or FINISH_UNKNOWN
            text += f"{FINISH_AFTER.format(after, time)}." if after else "."
        return record.Text("finish", text, "quiet")

    def _run_text(self) -> str:
        finetuning = self._finetuning
        if finetuning.is_busy:
            # What is being done, and how long it takes, where that is known.
            stage, dot, time = finetuning.message.partition(" · ")
            return f"◌ {stage}…{dot}{time}"
        if finetuning.is_finished:
            chosen = ", and the model is selected" if finetuning.is_chosen else ""
            assert finetuning.request is not None
            over = over_text(finetuning.scored, finetuning.scored_tasks(finetuning.request.model))
            scores = finetuning.start_score, finetuning.best_score
            score = gain_text(*scores, over, self._gain_ends)
            weights = weights_text(finetuning.best_step, finetuning.step)
            step, planned = finetuning.step, finetuning.request.planned
            at = f" after a stop at step {step} of {planned}" if step < planned else ""
            model = model_name(finetuning.request.model)
            further = GO_ON.format(model) if at else ""
            return f"✓ Finished{at}{chosen}: {score}.{weights}{self._of_mask}{further}"
        if finetuning.error is not None:
            return ""
        if finetuning.is_ending:
            return ENDING
        if self._is_unsaved:
            return "Stopped before the first step; nothing is saved."
        # Of a fit of epochs, the number of steps is known once it runs; older folders lack it.
        at = f"{finetuning.step}" + (f" of {n_steps}" if (n_steps := finetuning.n_steps) else "")
        return f"Stopped at step {at}; the run is saved.{self._way_on}"

    @property
    def _is_unsaved(self) -> bool:
        """Whether a run that ended has saved nothing with which it could go on."""
        return not self._finetuning.step and not self._finetuning.can_be_used

    @property
    def _baseline_name(self) -> str:
        return model_name(self._state.baseline_name) or "another model"

    @property
    def _gain_ends(self) -> Ends:
        """Ends of the interval of the best held-out score's difference from the start."""
        return self._finetuning.gains.get(self._finetuning.best_step or 0, UNKNOWN)

    @property
    def _gain(self) -> str:
        """Score of the result with the mask on screen, and its gain over the baseline."""
        if not self._finetuning.is_chosen:
            return ""
        state, name = self._state, self._baseline_name
        scores = self._results.tier_score, state.metric, self._baseline.tier_score
        lines = tier_score_lines(*scores, name)
        found = self._results.tier_score
        is_partial = found is not None and found.score is not None and not found.is_complete
        told = " · ".join(lines or [no_score_text(state, self._results)])
        text = f"{MASK_SCORE}{', so far' * is_partial}: {told}"
        request, mask = self._finetuning.request, state.mask
        if not lines or request is None or mask is None or request.is_fit:
            return text
        return f"{text}. {self._finetuning.unchanged(request.model, mask)}".removesuffix(". ")

    @property
    def _of_mask(self) -> str:
        """Of what the score of the mask on screen is, unlike the held-out score."""
        session, spec = self._state.session, self._state.spec
        # Of a chosen result, `_gain` says it.
        if session is None or not self._finetuning.is_of_screen or self._finetuning.is_chosen:
            return ""
        # Each redraw asks, and lists the windows of a part.
        tier = cached(session, ("scored_tier", spec), lambda: scored_tier(session, spec))
        return f" The score of the mask on screen is over the {tier} part." if tier else ""

    @property
    def _way_on(self) -> str:
        """How a run goes on whose folder does not say enough for *Resume*."""
        request = self._finetuning.request
        if request is None or not request.unsaid:
            return ""
        way = f"repeat the command omnimouse finetune … --out {request.path.name}"
        if request.path.parent == self._finetuning.folder:
            way = f"choose the model {model_name(request.model)}"
        return f" Its folder does not say {request.unsaid}. To go on, {way}."

    @property
    def _title(self) -> str:
        """Model and recording: those of the run may differ from those on screen."""
        request = self._finetuning.request if self._shows_run else None
        if request is not None:
            return _title_of(request)
        session = self._state.session
        assert session is not None
        what = FIT if self._finetuning.is_fit else TUNE
        return what.format(model_name(self._finetuning.model), session.id)

    def _head(self, folder: Path | None) -> record.Row:
        tip = self._title if folder is None else f"{self._title}\nFolder: {folder}"
        title = record.Text("title", self._title, is_line=True, tip=tip)
        if not self._shows_run or self._finetuning.is_busy:
            return record.Row("head", (title,), "title")
        dismiss = record.Action("dismiss", "✕", TIPS["dismiss"], self._finetuning.clear)
        return record.Row("head", (title, dismiss), "title")

    def _problem(self) -> Sequence[record.Text]:
        error = self._finetuning.error
        remedy = " Start over takes a new one." if self._finetuning.is_stale else ""
        return [] if error is None else [record.Text("problem", f"✕ {error}{remedy}", "problem")]

    def _buttons(self, start: str, use: str, refusal: str = "") -> tuple[record.Action, ...]:
        # Start and use have several labels, for one action each.
        actions = (
            record.Action("start", start, TIPS["start"], self.start, refusal),
            record.Action("use", use, TIPS["finish" if use == USE_BEST else "use"], self.use),
        )
        return tuple(action for action in actions if action.label)

    def _curves(self) -> tuple[record.Plot, ...]:
        finetuning = self._finetuning
        comes = [
            record.Message(name, f"{title} over steps", text, title)
            for name, title, text in (("loss", LOSS_TITLE, LOSS_COMES), SCORES_COME)
        ]
        if not finetuning.validations:
            return tuple(comes)
        # A run can end early; the axis then ends at its last step. Its full length from
        # the start, so that curves do not shrink while they grow.
        planned = 0 if finetuning.is_finished else finetuning.n_steps
        last = max(finetuning.step, planned, 1)
        losses, scores = finetuning.losses, finetuning.validations
        # The loss of single steps is noisy: it is grey, behind its running mean.
        raw = _line(palette.AXIS, losses, label="each step")
        # At first, there are fewer.
        mean = _line(LOSS_COLOUR, smoothed(losses), label=f"mean of ≤ {SMOOTHED}")
        loss = _plot("loss", "loss", (raw, mean), losses, last)
        line = _line(SCORE_COLOUR, scores, "o")
        held_out = _plot("scores", "held-out score", (line,), scores, last)
        # One score is no course: its number stands below.
        if len(scores) > 1:
            return loss, held_out
        return (loss, comes[1]) if finetuning.is_busy else (loss,)


def held_out_text(tasks: Sequence[str], part: str, metric: Metric) -> str:
    """Return which windows are held out, and what the score over them is."""
    of = f"it is the mean over {count(len(tasks), 'task')}: {'; '.join(tasks)}"
    is_correlation = metric.name == "correlation"
    score = "mean correlation of what is predicted" if is_correlation else metric.unit
    return (
        f"Held-out windows: {part}, on which no step trains. The score is the {score}; "
        f"{of if tasks else 'of several tasks, their mean'}."
    )


def _title_of(request: FinetuneRequest) -> str:
    what = FIT if request.is_fit else TUNE
    return what.format(model_name(request.model), request.session.id)


def open_label(finetuning: Finetuning) -> str:
    """Return the label of the button that shows the panel; "" if it has no content."""
    if finetuning.is_busy:
        is_fit = finetuning.request is not None and finetuning.request.is_fit
        return f"{'Fit' if is_fit else 'Fine-tuning'}: {100 * finetuning.share:z.0f} %…"
    if finetuning.is_fit:
        return "Fit to this recording…"
    return "Fine-tune…" if finetuning.has_place or finetuning.is_offered else ""


def open_tip(finetuning: Finetuning) -> str:
    """Return the help of the button that shows the panel."""
    return FIT_TIP if finetuning.is_fit else OPEN_TIP


def _line(
    colour: str, points: Sequence[Point], symbol: Literal["o", ""] = "", label: str = ""
) -> record.Line:
    # Every so many points: a page draws thousands of them slowly.
    thinned = points[:: 1 + len(points) // MOST_POINTS]
    x, y = np.array(thinned, float).reshape(-1, 2).T
    # A line of one point has no length.
    return record.Line(label, colour, x, y, "o" if len(x) == 1 else symbol)


def _plot(
    name: str, title: str, lines: tuple[record.Line, ...], points: Sequence[Point], last: int
) -> record.Curves:
    low, high = span_of([value for _, value in points])
    margin = 0.08 * (high - low)
    # The last number says what it is: a label below takes a fifth of a low plot.
    ticks = ((0.0, "0"), (float(last), f"step {last}"))
    return record.Curves(
        name,
        f"{title} over steps",
        lines,
        "",
        "",
        ticks,
        # Qt leaves out a number that is wider than its end of the axis.
        limits=(-0.06 * last, 1.25 * last, low - margin, high + margin),
        title=f"{title}{LESS_IS_BETTER if title == 'loss' else ''}",
        tip=TIPS[title],
    )


def span_of(values: Sequence[float]) -> tuple[float, float]:
    """Return the limits of an axis: the range of values, at least `MIN_SPAN` wide."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    missing = max(MIN_SPAN - (high - low), 0.0) / 2
    return low - missing, high + missing


def smoothed(losses: Sequence[Point]) -> list[Point]:
    """Return the running mean over the last `SMOOTHED` steps, at each step."""
    means: list[Point] = []
    total = 0.0
    for number, (step, loss) in enumerate(losses):
        total += loss
        if number >= SMOOTHED:
            # A running sum, so that the cost is linear in the number of steps.
            total -= losses[number - SMOOTHED][1]
        means.append((step, total / min(number + 1, SMOOTHED)))
    return means


def is_gain(start: float | None, best: float | None) -> bool:
    """Return whether a step of a fine-tuning was better than its start values."""
    return start is not None and best is not None and best > start


def over_text(scored: tuple[int, int], tasks: Sequence[str]) -> str:
    """Return over what a held-out score is, e.g. "the mean of 4 tasks over 22 windows …".

    With the numbers of windows and neurons, where they are known: a decoder has no neurons.
    """
    n_windows, n_neurons = scored
    if not n_windows:
        return ""
    mean = f"the mean of {count(len(tasks), 'task')} " if tasks else ""
    of = f", for {count(n_neurons, 'neuron')}" if n_neurons else ""
    return f"{mean}over {count(n_windows, 'window')} that no step trains on{of}"


def gain_text(start: float | None, best: float | None, over: str = "", gain: Ends = UNKNOWN) -> str:
    """Return e.g. "held-out score 0.238 → 0.262" of a whole run; or that no step was better.

    `gain` are the ends of the interval of the difference of the two.
    """
    end = f", {over}" if over else ""
    if best is None:
        return "held-out score unknown"
    if start is None:
        return f"held-out score {number_text(best, 3)}{end}"  # of a fit, which begins at random
    if not is_gain(start, best):
        return f"no step beat the start, whose held-out score is {number_text(start, 3)}{end}"
    difference = f" ({difference_text(best - start, *gain)})" if gain[0] == gain[0] else ""
    return f"held-out score {number_text(start, 3)} → {number_text(best, 3)}{difference}{end}"


def so_far_text(
    start: float | None,
    best: float | None,
    step: int | None,
    over: str = "",
    last: int = 1,
    intervals: Mapping[int, Ends] | None = None,
    gain: Ends = UNKNOWN,
) -> str:
    """Return the held-out score of a run that is not at its end, and of which step it is.

    `last` is the step that was scored last; `intervals` are those of scores by their step, and
    `gain` that of the difference of the best one from the start.
    """
    known = intervals or {}
    # A fit begins at random, and is not scored there.
    begin = (
        "" if start is None else f"{interval_text(start, *known.get(0, UNKNOWN))} at the start; "
    )
    found = "no step is better so far" if last else "no step is scored yet"
    if best is not None and (start is None or is_gain(start, best)):
        found = f"{interval_text(best, *known.get(step or 0, UNKNOWN))} at {step_name(step)}, "
        found += "the best so far"
        if start is not None and gain[0] == gain[0]:
            found += f": {difference_text(best - start, *gain)}"
    computed = "" if over.startswith("the mean") else "computed "
    return f"Held-out score: {begin}{found}." + (f" It is {computed}{over}." if over else "")


def weights_text(step: int | None, n_steps: int) -> str:
    """Return of which step the weights of a result are; "" if that is not known."""
    if step is None:
        return ""
    of = f" of {n_steps}" if step else ""
    return f" Its weights are those of {step_name(step)}{of}, which scored best."
