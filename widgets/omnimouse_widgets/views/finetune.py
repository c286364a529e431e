"""Fine-tuning of the model: settings, content and actions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.models.finetune import STEPS as STEPS
from omnimouse_model.live.models.finetune import Finetuning, Point
from omnimouse_model.live.models.finetuned_models import TrainedPart
from omnimouse_widgets import palette
from omnimouse_widgets.views.form import Form, setting

LOSS_COLOUR: Final = palette.RECORDED
SCORE_COLOUR: Final = palette.PREDICTED
MAX_STEPS: Final = 100_000
USE_MODEL: Final = "Use model"
TIPS: Final = {
    "open": "Fine-tune the model to this recording, for which it has no embeddings",
    "start": "Train in a separate process; you can work on, or quit and resume later",
    "stop": "Stop within a second; the current weights are saved",
    "use": "Select the fine-tuned model",
    "loss": "Loss of each step with its running mean; points: correlation, or bits per "
    "spike, on held-out windows",
    "dismiss": "Hide this run; its folder is not deleted",
}
SMOOTHED: Final = 20
"""Number of steps in the running mean of the loss."""


@dataclass(frozen=True, slots=True)
class FinetuneSettings:
    """Settings of a fine-tuning."""

    train: TrainedPart = setting(
        "Train",
        "Trained part of the model",
        "embeddings",
        options=(
            (
                "embeddings",
                "embeddings",
                "Train the vectors of the neurons of this recording (models of spikes: its "
                "linear layers);\nthe core is frozen, so predictions for other recordings "
                "do not change",
            ),
            (
                "all",
                "all weights",
                "Train the core as well; the result knows only this recording",
            ),
        ),
    )
    steps: int = setting(
        "Steps",
        "Maximum number; training ends if the held-out score no longer increases",
        STEPS,
        low=0,
        high=MAX_STEPS,
        step=50,
    )


@dataclass(frozen=True, slots=True)
class FinetuneView:
    """Content of the fine-tuning section.

    Attributes
    ----------
    is_shown
        Whether the section is visible.
    title
        Names of the model and the recording.
    text
        Progress, estimate or result.
    error
        Error message, "" without one.
    start, use
        Labels of these buttons, "" for a hidden button.
    has_choices
        Whether the number of steps and the trained part can still be chosen.
    folder
        Folder of the run, "" before it exists.
    """

    is_shown: bool = False
    title: str = ""
    text: str = ""
    error: str = ""
    start: str = ""
    use: str = ""
    is_busy: bool = False
    is_finished: bool = False
    has_choices: bool = False
    folder: str = ""


def finetune_view(controller: Controller, form: Form[FinetuneSettings]) -> FinetuneView:
    """Return the content of the section for the values of its form."""
    finetuning = controller.finetuning
    if _is_of_run(finetuning):
        return _of_run(finetuning)
    if not finetuning.is_offered:
        return FinetuneView()
    return _offered(controller, form.value("train"), form.value("steps"))


def _of_run(finetuning: Finetuning) -> FinetuneView:
    request, error = finetuning.request, finetuning.error
    assert request is not None
    if finetuning.is_busy:
        text = f"◌ {finetuning.message}…"
    elif finetuning.is_finished:
        score = gain_text(finetuning.start_score, finetuning.best_score)
        chosen = ", and the model is selected" if finetuning.is_chosen else ""
        text = f"✓ Finished{chosen}: {score}."
    elif error is None:
        text = (
            f"Stopped at step {finetuning.step} of {finetuning.n_steps}; the current "
            "weights are saved."
        )
    else:
        text = ""
    start, use = "", ""
    if finetuning.can_resume:
        # A folder that holds another run cannot be continued.
        start = "Start over" if finetuning.is_stale else "Resume"
        # A stopped run has a usable result once its start values were scored.
        use = "Use current weights" if finetuning.can_be_used else ""
    elif finetuning.is_finished and not finetuning.is_chosen:
        use = USE_MODEL
    return FinetuneView(
        is_shown=True,
        # The model and recording of the run, which may differ from those on screen.
        title=_title(request.model, request.session.id),
        text=text,
        error="" if error is None else str(error),
        start=start,
        use=use,
        is_busy=finetuning.is_busy,
        is_finished=finetuning.is_finished,
        folder=str(request.path),
    )


def _offered(controller: Controller, train: TrainedPart, steps: int) -> FinetuneView:
    state, finetuning = controller.state, controller.finetuning
    assert state.session is not None
    saved = finetuning.saved_result(train)
    start, use, text = "Start", "", _plan_text(finetuning, train, steps)
    if saved is not None and saved.is_finished:
        # With more steps than before, a finished run can continue.
        start, use = "Resume" if saved.step < steps else "", USE_MODEL
        gain = gain_text(saved.start_score, saved.best_score)
        text = f"A finished run of {saved.step} steps exists: {gain}."
    elif saved is not None:
        # A stopped run is continued in its own folder: starting again would lose its
        # steps.
        start = "Resume"
        use = "Use current weights" if saved.start_score is not None else ""
        text = f"A run stopped at step {saved.step} and can be resumed. {text}"
    error = finetuning.error
    return FinetuneView(
        is_shown=True,
        title=_title(state.predictor_name, state.session.id),
        text=text,
        error="" if error is None else str(error),
        start=start,
        use=use,
        has_choices=True,
        folder="" if saved is None else str(saved.path),
    )


def start(controller: Controller, form: Form[FinetuneSettings]) -> None:
    """Run the current action of the start button: start, start over or continue.

    Raises
    ------
    ValueError
        A field of the form is not valid.
    """
    finetuning = controller.finetuning
    if not _is_of_run(finetuning):
        settings = form.read()
        finetuning.start(train=settings.train, steps=settings.steps)
    elif finetuning.is_stale:
        finetuning.start_over()
    else:
        finetuning.resume()


def use(controller: Controller, train: TrainedPart) -> None:
    """Run the current action of the use button: choose the fine-tuned model."""
    finetuning = controller.finetuning
    saved = finetuning.saved_result(train)
    if _is_of_run(finetuning):
        finetuning.use()
    elif saved is not None:
        finetuning.use_saved(saved)


def _is_of_run(finetuning: Finetuning) -> bool:
    """Return whether the section shows a run instead of an offer to start one."""
    if finetuning.request is None:
        return False
    # A finished run of another recording gives way to an offer for this one.
    return finetuning.is_busy or not finetuning.is_offered or finetuning.is_of_screen


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


def gain_text(start: float | None, best: float | None, *, is_over: bool = True) -> str:
    """Return e.g. "held-out score 0.238 → 0.262"; at the end, that no step was better."""
    if start is None or best is None:
        return "held-out score unknown"
    if is_over and best <= start:
        return f"no step beat the start, whose held-out score is {start:z.3f}"
    return f"held-out score {start:z.3f} → {best:z.3f}"


def score_text(finetuning: Finetuning) -> str:
    """Return the held-out score of the run, or "" before the first one."""
    if finetuning.start_score is None:
        return ""
    return gain_text(finetuning.start_score, finetuning.best_score, is_over=not finetuning.is_busy)


def _plan_text(finetuning: Finetuning, train: TrainedPart, steps: int) -> str:
    part = "the embeddings" if train == "embeddings" else "all weights"
    time = finetuning.estimate(steps)
    return f"{steps} steps train {part}" + (f" · {time}" if time else "")


def _title(model: str, session: str) -> str:
    return f"Fine-tune {Path(model).name} to {session}"
