"""Fine-tuning of the chosen model to the recording on screen, or a fit, in the background.

A fit trains a model of a family without weights on this recording alone (`analysis.fit`).

It runs in its own process (`analysis.finetune_process`) and saves to a folder that depends
on the model and the recording, so that a stopped fine-tuning continues from its last
save.
The result is chosen as predictor when it is finished.

The file is long because a fine-tuning is followed from its form to its result.
"""

import hashlib
import logging
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal, get_args, get_type_hints

from psygnal import Signal

from omnimouse_model.analysis.finetune_process import Arguments, spawn_finetune
from omnimouse_model.data.session import Session, require_events
from omnimouse_model.display import and_text
from omnimouse_model.errors import FinetuneError
from omnimouse_model.evaluation.tier_windows import scored_starts
from omnimouse_model.inference.families import (
    TrainingPlan,
    family_of_name,
    fit_names,
    small_config,
    training_plan,
)
from omnimouse_model.inference.registry import predictor_names
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
)
from omnimouse_model.live.inference.client import LiveClient
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.models.choice import Loaded
from omnimouse_model.masks import Mask
from omnimouse_model.metrics.named import METRICS, Metric
from omnimouse_model.predict.compatibility import check_compatibility
from omnimouse_model.predict.predictor import Needs
from omnimouse_model.progress import (
    RESUMING,
    TRAINING,
    CallbackJob,
    TimeLeft,
    duration_text,
    is_processor_busy,
    step_text,
)
from omnimouse_model.storage.files import exists, newest_first
from omnimouse_model.storage.trees import decode, read_json
from omnimouse_model.storage.write import config_dir
from omnimouse_model.training.config import TransferOptions
from omnimouse_model.training.metrics_log import (
    FILE,
    GAIN_ENDS,
    SCORE_ENDS,
    SCORED_NEURONS,
    SCORED_WINDOWS,
    log_rows,
)

# -- fine-tunings on disk: model, session, progress and score of each folder ----------
# Only small JSON files and the log are read, not the weights, so listing is fast.
TrainedPart = Literal["embeddings", "all"]
logger = logging.getLogger(__name__)

ABOUT: Final = "finetune.json"
CARD: Final = "finetuned.json"
WEIGHTS: Final = "finetuned.safetensors"
SCORE: Final = "validation"
LAST_STEPS: Final = 50
"""Steps from which a pace is taken."""


@dataclass(frozen=True, slots=True)
class FinetunedModel:
    """One fine-tuning, as described by its folder.

    Attributes
    ----------
    model, session, train
        Model, session id, and whether only embeddings or all weights are trained.
    step
        Number of finished steps.
    n_steps
        Number of steps that it was last asked for; 0 if not known, and for all of a fit.
    is_finished
        Whether the result exists, for `load_predictor(path)`.
    start_score, best_score, best_step
        Held-out score of the start values, and the best one so far with its step, whose weights
        the result has; None if not known.
    scored
        Numbers of windows and neurons over which these scores are; 0 if not known.
    step_s
        Seconds of a step, of a run that is not finished; None if not known.
    minutes, other_minutes
        Duration of all steps, and of what precedes and follows them; None and 0 before the
        end.
    is_fit
        Whether it is a model that was trained on this recording alone.
    options
        Options of its family, by name, with which alone it can be resumed.
    """

    path: Path
    model: str
    session: str
    train: TrainedPart
    step: int = 0
    is_finished: bool = False
    start_score: float | None = None
    best_score: float | None = None
    best_step: int | None = None
    minutes: float | None = None
    other_minutes: float = 0.0
    is_fit: bool = False
    n_steps: int = 0
    scored: tuple[int, int] = (0, 0)
    step_s: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def text(self) -> str:
        """Text such as "demo, fine-tuned to 90009-1-1"."""
        how = "fitted" if self.is_fit else "fine-tuned"
        return f"{Path(self.model).name.partition('@')[0]}, {how} to {self.session}"


@dataclass(frozen=True, slots=True)
class _About:
    """The settings of a fine-tuning that are shown."""

    model: str
    session: str
    train: TrainedPart = "embeddings"
    is_finished: bool = False
    """Of a family that writes no card, or of a fit."""
    is_fit: bool = False
    steps: int = 0
    """0 if not known, as of an older version, and for all of a fit."""


@dataclass(frozen=True, slots=True)
class _Result:
    """The part of a card that a finished fine-tuning adds."""

    steps: int = 0
    before: float | None = None
    validation: float | None = None
    best_step: int | None = None
    minutes: float | None = None
    other_minutes: float = 0.0
    scored_windows: int = 0
    scored_neurons: int = 0


def finetuned_in(path: Path) -> FinetunedModel | None:
    """Return the fine-tuning in a folder; None if there is none or it is damaged."""
    try:
        # A folder of a newer version is skipped with a warning, not shown with wrong
        # options.
        saved = read_json(path / ABOUT)
        about = decode(_About, saved, path / ABOUT, is_open=True)
        result: _Result | None = None
        rows: list[dict[str, float]] = []
        # The weights, written after their card, exist only for a finished fine-tuning;
        # before, the log is read.
        if about.is_finished and not about.is_fit:
            result = _Result()
        elif (path / WEIGHTS).exists():
            card = read_json(path / CARD)["card"]["finetuned"]
            result = decode(_Result, card, path / CARD, "card.finetuned", is_open=True)
        elif (path / FILE).exists():
            rows = list(log_rows(path / FILE))
        scores = {int(row["step"]): row[SCORE] for row in rows if SCORE in row}
        found = FinetunedModel(
            path,
            about.model,
            about.session,
            about.train,
            is_fit=about.is_fit,
            n_steps=about.steps,
            # A run can be resumed with other numbers of steps.
            options={name: value for name, value in saved.items() if name != "steps"},
        )
        if about.is_fit and rows:
            seconds = rows[-1].get("seconds")
            minutes = None if seconds is None else round(seconds / 60, 1)
            found = replace(found, is_finished=about.is_finished, minutes=minutes)
        if result is not None:
            return replace(
                found,
                step=result.steps,
                is_finished=True,
                start_score=result.before,
                best_score=result.validation,
                best_step=result.best_step,
                minutes=result.minutes,
                other_minutes=result.other_minutes,
                scored=(result.scored_windows, result.scored_neurons),
            )
        return replace(
            found,
            scored=next((scored_of(row) for row in rows if SCORED_WINDOWS in row), (0, 0)),
            step=int(rows[-1]["step"]) if rows else 0,
            start_score=scores.get(0),
            best_score=max(scores.values(), default=None),
            best_step=best_step_of(tuple(scores.items())),
            step_s=seconds_of_step(rows),
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        if getattr(error, "code", "") == "missing_file":
            return None
        logger.warning("%s is not read as a fine-tuning: %s", path, error)
        return None


@lru_cache(maxsize=16)
def model_name(name: str) -> str:
    """Return what a model is called on screen: a folder, by what was fine-tuned to what."""
    found = finetuned_in(Path(name)) if name else None
    return Path(name).name if found is None else found.text


def best_step_of(scores: Sequence["Point"]) -> int | None:
    """Return the step of the best held-out score, the first of equal ones; None without any."""
    return max(scores, key=itemgetter(1))[0] if scores else None


def seconds_of_step(rows: Iterable[Mapping[str, float]]) -> float | None:
    """Return the median time of the last steps of a log without validations, None if unknown."""
    # The time of a row ends before its validation, which the next one then contains.
    took = [
        after["seconds"] - before["seconds"]
        for before, after in pairwise(rows)
        if SCORE not in before and "seconds" in before and "seconds" in after
    ]
    return median(took[-LAST_STEPS:]) if took else None


def step_name(step: int | None) -> str:
    """Return the name of the step whose weights a result has, e.g. "step 90"."""
    if step is None:
        return "the best step"
    return f"step {step}" if step else "the start"


def scored_of(row: Mapping[str, float]) -> tuple[int, int]:
    """Return over how many windows and neurons the score of a row is, 0 if it is older."""
    return int(row.get(SCORED_WINDOWS, 0)), int(row.get(SCORED_NEURONS, 0))


def finetuned_under(folder: Path) -> tuple[FinetunedModel, ...]:
    """Return all fine-tunings in the sub-folders of a folder, newest first."""
    try:
        # The time of the folder changes with every save.
        paths = newest_first(about.parent for about in folder.glob(f"*/{ABOUT}"))
    except OSError:
        return ()
    models = (finetuned_in(path) for path in paths)
    return tuple(model for model in models if model is not None)


def folder_for(
    folder: Path, model: str, session: Session, train: TrainedPart, *, is_fresh: bool = False
) -> Path:
    """Return the folder of the fine-tuning of a model to a recording.

    The same arguments give the same folder, so that a stopped fine-tuning continues, also
    with a copy of the recording. `is_fresh` starts a new numbered folder; later calls return
    the newest one.
    """
    plain = [re.sub(r"[^\w.-]+", "-", name) for name in (Path(model).name, session.id)]

    def name_by(recording: str) -> str:
        # The hash distinguishes models and recordings whose names, without special
        # characters, are the same.
        key = "\n".join((model, recording, train)).encode()
        return "_".join((*plain, hashlib.sha256(key).hexdigest()[:6]))

    # Older folders are named by the fingerprint, which a copy does not share.
    older = name_by(session.fingerprint)
    name = older if (folder / older).exists() else name_by(session.contents)
    # The last folder of the unbroken sequence name, name-2, name-3, ... is in use.
    path, following, number = folder / name, folder / f"{name}-2", 2
    while following.exists():
        number += 1
        path, following = following, folder / f"{name}-{number}"
    return following if is_fresh and path.exists() else path


# -- fine-tuning of the chosen model to the recording on screen, in the background ----
FIT_STEPS_HELP: Final = "Steps of the whole training; 0 for as many as its config has"
Point = tuple[int, float]
STEPS: Final = 300
LOADING_S: Final = 5.0
"""Seconds in which the process starts and loads PyTorch, the model and the recording."""
LIKE_DEMO: Final = " for a recording like the demo's"
FREE: Final = "on this processor if nothing else runs"
BUSY: Final = "other work on this processor can make it ten times as long or more"
BY_STEPS: Final = " at the pace of the last steps"
BEGINNING: Final = "starting its process"
FINISHING: Final = "finishing with the weights of"
FIRST_GUESS: Final = ", a first guess"
"""Of a time left before a tenth of the work is done: other work changes the pace."""


@dataclass(frozen=True, slots=True)
class FinetuneRequest:
    """Request of a fine-tuning: model, session, folder and options."""

    model: str
    session: Session
    path: Path
    train: TrainedPart = "embeddings"
    steps: int = STEPS
    device: str = "auto"
    stop: threading.Event = field(default_factory=threading.Event)
    others: Mapping[str, Any] = field(default_factory=dict)
    is_fit: bool = False
    expected: str = ""
    """How long it takes in all, as said before the start; "" if not known, or if it goes on."""
    is_reached: bool = False
    """Whether it only writes the result of the steps that are saved; no fit can be asked for it."""
    planned: int = 0
    """Steps that it was to have, if the result of those so far is asked for; else 0."""
    unsaid: str = ""
    """What its folder, from which it was read, does not say for going on; "" if nothing."""


@lru_cache
def fit_options(name: str) -> type:
    """Return the options of a fit: the number of its steps, by default all of its config.

    That is 0 for a config of epochs, whose steps depend on the recording.
    """
    n_steps = int(getattr(_fit_plan(name).config, "total_steps", 0))
    steps = field(default=n_steps, metadata={"help": FIT_STEPS_HELP})
    return make_dataclass("FitOptions", [("steps", int, steps)], frozen=True)


@lru_cache
def _fit_plan(name: str) -> TrainingPlan:
    return training_plan(small_config(name) or name)


def _roughly(seconds: float, recording: str = "") -> str:
    """Return a time that holds if nothing else runs; beside other work, it is the least one."""
    # A low priority leaves a tenth of a core beside a busy program, and less beside several;
    # nobody knows for how long they run. The time left is measured once the training has begun.
    time = f"{duration_text(seconds)}{recording}"
    return f"at least {time}: {BUSY}" if is_processor_busy() else f"roughly {time} {FREE}"


def _fit_estimate(name: str, steps: int) -> str:
    """Return how long a fit takes, from the time that its config states for the demo."""
    plan, n_steps = _fit_plan(name), fit_options(name)().steps
    minutes = plan.settings.notes.get("core_minutes")
    if minutes is None:
        return ""
    share = min(steps / n_steps, 1.0) if n_steps and steps else 1.0
    seconds = LOADING_S + 60 * float(minutes) * share / max(os.cpu_count() or 1, 1)
    return _roughly(seconds, LIKE_DEMO)


class Finetuning(HasBackgroundTask):
    """Start, stop and continue one fine-tuning, and choose its result.

    Parameters
    ----------
    choose
        Chooses the result by its folder; called on the drawing thread.
    stand_in
        Chooses another model in place of the one on screen while that is trained.
    replaced
        Returns the name of the model in whose place another one is on screen, or "", and
        what was known of it.

    Attributes
    ----------
    finished
        Emitted when a result is finished.
    folder
        Folder of all fine-tunings, by default in the user's config folder.
    request
        Running or latest fine-tuning; None before, and after `clear`.
    stage
        What the fine-tuning does, in words.
    step, n_steps
        Finished and total steps; training may stop early.
    losses, validations
        (step, loss) of every step, and (step, held-out score) of scored steps; with
        those before the interruption, if it was continued.
    scored
        Numbers of windows and neurons over which the held-out scores are; 0 if not known.
    intervals, gains
        Ends of the 95 % intervals of held-out scores by step, and of their differences from
        that of the start, where they are known.
    is_finished
        Whether the result exists.
    """

    finished = Signal()

    def __init__(
        self,
        client: LiveClient,
        choose: Callable[[str], None],
        stand_in: Callable[[], None],
        replaced: Callable[[], tuple[str, Loaded]],
        execution: Execution = IN_THREADS,
    ) -> None:
        self.folder = config_dir() / "models"
        self._client, self._choose, self._post = client, choose, execution.post
        self._stand_in, self._replaced = stand_in, replaced
        self._is_closing = False
        self._running: FinetuneRequest | None = None
        self._start_from(None)
        self._task = BackgroundTask(self._run, self._take, execution)
        # Request of a chosen result whose log was read: made by a command, or before a restart.
        self._read: FinetuneRequest | None = None
        self._reader = BackgroundTask(_read_log, self._take_log, execution)
        for event in (client.state.events.session, client.state.events.predictor_name):
            event.connect(self._on_model)

    # -- reading ----------------------------------------------------------------------
    @property
    def model(self) -> str:
        """Name of the chosen model, also while another one is on screen in its place."""
        return self._replaced()[0] or self._client.state.predictor_name

    @property
    def needs(self) -> Needs | None:
        """What `model` needs; None before it was loaded."""
        return self._loaded[0]

    @property
    def _loaded(self) -> Loaded:
        name, known = self._replaced()
        results = self._client.results
        return known if name else (results.needs, results.residence)

    @property
    def is_fit(self) -> bool:
        """Whether the chosen model is the name of one that is to be fitted."""
        return self.model in fit_names()

    @property
    def is_offered(self) -> bool:
        """Whether the chosen model can be fine-tuned, or fitted, to the recording on screen."""
        state, needs = self._client.state, self.needs
        if state.session is not None and self.is_fit:
            return True
        if state.session is None:
            return False
        # A model that knows the session has learned its neurons already. After a restart, one
        # that is replaced was not loaded: it was new before.
        is_new = bool(self._replaced()[0])
        if needs is not None:
            is_new = check_compatibility(needs, state.session).is_new
        is_named = isinstance(self._client.predictor, str)
        return is_new and is_named and self.options is not None

    @property
    def refusal(self) -> str:
        """Why the chosen model cannot be fitted to the recording on screen; "" if it can."""
        session = self._client.state.session
        if session is None or not self.is_fit:
            return ""
        spec = _fit_plan(self.model).spec
        try:
            require_events(session, spec)
            scored_starts(session, "train", 1, spec)
        except ValueError as error:
            return str(error)
        return ""

    @property
    def options(self) -> type | None:
        """Options of a fine-tuning of the chosen model, as its family states them.

        None for a model whose family has no fine-tuning.
        """
        if self.is_fit:
            return fit_options(self.model)
        family = family_of_name(self.model)
        return None if family is None or family.transfer is None else family.transfer.options

    def after_steps(self, model: str) -> str:
        """Return what is done after the last step of a model's fine-tuning; "" if nothing."""
        family = family_of_name(model)
        transfer = None if family is None else family.transfer
        return "" if transfer is None else transfer.after_steps(model)

    def unchanged(self, model: str, mask: Mask) -> str:
        """Return why a model's fine-tuning cannot change the predictions for a mask, or ""."""
        family = family_of_name(model)
        transfer = None if family is None else family.transfer
        return "" if transfer is None else transfer.unchanged(model, mask)

    def scored_tasks(self, model: str) -> tuple[str, ...]:
        """Return the tasks over which the held-out score of a model's fine-tuning is a mean."""
        family = family_of_name(model)
        if family is None or family.transfer is None or model in fit_names():
            return ()
        return family.transfer.scored

    def scored_part(self, request: "FinetuneRequest") -> tuple[str, Metric]:
        """Return of which part the held-out windows of a run are, and the metric of its score."""
        family = fit_names().get(request.model) or family_of_name(request.model)
        if family is None:  # the model with which it began may be gone
            family = family_of_name(str(request.path))
        metric = METRICS["correlation" if family is None else family.held_out_metric]
        if request.is_fit:
            return "the validation part", metric
        transfer = None if family is None else family.transfer
        return "some of the recording" if transfer is None else transfer.held_out, metric

    def saved_result(self, train: TrainedPart = "embeddings") -> FinetunedModel | None:
        """Return the saved fine-tuning of `model` to the recording on screen, or None."""
        session = self._client.state.session
        if not self.is_offered or session is None:
            return None
        return finetuned_in(self.folder_for(self.model, session, train))

    @property
    def is_of_screen(self) -> bool:
        """Whether the running or latest fine-tuning is of the recording on screen."""
        session, request = self._client.state.session, self.request
        if session is None or request is None:
            return False
        return session.contents == request.session.contents

    @property
    def has_place(self) -> bool:
        """Whether the latest run is of the recording and the model on screen.

        A model that knows all neurons needs no run, unless it is that of the run.
        """
        state, needs, request = self._client.state, self._client.results.needs, self.request
        if state.session is None or request is None or not self.is_of_screen:
            return False
        if needs is None or state.predictor_name in (request.model, str(request.path)):
            return True
        return check_compatibility(needs, state.session).n_known != state.session.n_neurons

    @property
    def is_chosen(self) -> bool:
        """Whether the latest result is the chosen predictor."""
        request, name = self.request, self._client.state.predictor_name
        return self.is_finished and request is not None and name == str(request.path)

    @property
    def replaced(self) -> str:
        """Model that is trained, while another one is on screen in its place; else ""."""
        request = self.request
        if request is None or not self.is_busy or not self.is_of_screen:
            return ""
        return request.model if self._replaced()[0] == request.model else ""

    @property
    def results(self) -> tuple[FinetunedModel, ...]:
        """Finished fine-tunings, newest first."""
        return tuple(m for m in finetuned_under(self.folder) if m.is_finished)

    @property
    def start_score(self) -> float | None:
        """Held-out score of the start values, None if not known yet."""
        first = self.validations[:1]
        return first[0][1] if first and first[0][0] == 0 else None

    @property
    def best_score(self) -> float | None:
        """Best held-out score so far."""
        return max((score for _, score in self.validations), default=None)

    @property
    def best_step(self) -> int | None:
        """Step of the best held-out score so far, whose weights the result has."""
        return best_step_of(self.validations)

    @property
    def share(self) -> float:
        """Finished share of all parts, from 0 to 1."""
        return self._task.share or 0.0

    @property
    def is_stale(self) -> bool:
        """Whether the folder has another run, so that a new folder is necessary."""
        error = self.error
        return isinstance(error, FinetuneError) and error.code == "other_run"

    @property
    def message(self) -> str:
        """Progress: "step 120 of 300 · about 2 min left"; "" if idle.

        Before a pace is known, while it loads and finds start values, the time that was
        expected for all of it.
        """
        if not self.is_busy:
            return ""
        stage, expected = self.stage, ""
        if self.request is not None and not self._has_pace:
            expected = self.request.expected
        if self.request is not None and self.request.is_reached:
            of_steps = stage == RESUMING or stage.startswith("step ")
            best = self.best_step
            finishing = f"{FINISHING} {step_name(best)}, without a further step"
            stage = finishing if of_steps else f"{finishing}: {stage}"
        if self._left_s is not None:
            guess = FIRST_GUESS if self._time_left.is_guess else ""
            return f"{stage} · about {duration_text(self._left_s)} left{guess}"
        return f"{stage} · in all {expected}" if expected else stage

    @property
    def is_ending(self) -> bool:
        """Whether the process of a stopped run still finishes, and scores, a step and saves it."""
        return not self.is_busy and self.request is not None and self._running is self.request

    @property
    def can_resume(self) -> bool:
        """Whether a stopped or failed fine-tuning can be continued."""
        request = self.request
        if request is None or self.is_busy or self.is_finished:
            return False
        return not request.unsaid

    @property
    def can_be_used(self) -> bool:
        """Whether a stopped fine-tuning has start values, and so makes a model."""
        return self.can_resume and self.start_score is not None

    def folder_for(
        self,
        model: str,
        session: Session,
        train: TrainedPart = "embeddings",
        *,
        is_fresh: bool = False,
    ) -> Path:
        """Return the folder of the fine-tuning of a model to a recording; see `folder_for`."""
        return folder_for(self.folder, model, session, train, is_fresh=is_fresh)

    def estimate(self, steps: int = STEPS) -> str:
        """Return the estimated duration as text, "" if not known.

        It is based on the latest fine-tuning of the same model, if there is one, else
        on what its family has measured on a CPU.
        """
        session, name, residence = self._client.state.session, self.model, self._loaded[1]
        if session is None:
            return ""
        prefix = f"{Path(name).name}_"
        for result in self.results:
            if result.path.name.startswith(prefix) and result.minutes and result.step:
                # Of a fit, 0 steps are all that its config has.
                share = steps / result.step if steps else 1.0
                seconds = 60 * (result.other_minutes + result.minutes * share)
                but = f", but {BUSY}" if is_processor_busy() else ""
                return f"about {duration_text(seconds)}, estimated from the last one{but}"
        if self.is_fit:
            return _fit_estimate(name, steps)
        family = family_of_name(name)
        transfer = None if family is None else family.transfer
        # Measured on a CPU; it says nothing about a GPU.
        if residence is None or not residence.hardware.startswith("CPU"):
            return ""
        if transfer is None or transfer.seconds is None:
            return ""
        cores = transfer.seconds(name, residence.n_bytes, session, steps)
        seconds = LOADING_S + cores / max(os.cpu_count() or 1, 1)
        return _roughly(seconds)

    def finish_estimate(self, saved: FinetunedModel | None = None) -> str:
        """Return how long a result of the steps so far takes, "" if not known or nothing is done.

        Of a saved run of `model`, or of the latest one. Its own steps tell the pace, if it made
        some.
        """
        request, residence = self.request, self._loaded[1]
        model, session, step_s, batch = self.model, self._client.state.session, None, None
        if saved is not None:
            step_s = saved.step_s
        elif request is not None:
            model, session = request.model, request.session
            step_s, batch = seconds_of_step(self._last_rows), request.others.get("batch")
        family = None if model in fit_names() else family_of_name(model)
        transfer = None if family is None else family.transfer
        if transfer is None or transfer.after_seconds is None or session is None:
            return ""
        # Measured on a CPU; it says nothing about a GPU.
        if residence is None or not residence.hardware.startswith("CPU"):
            return ""
        # With a pace, the size of the model does not matter.
        n_bytes = residence.n_bytes if model == self.model else 0
        about = model, n_bytes, session
        cores = transfer.after_seconds(*about)
        if not cores:
            return ""
        if step_s is not None and transfer.seconds is not None:
            # Of many steps, each has the same time. It is that of the usual batch.
            usual = transfer.seconds(*about, 1001) - transfer.seconds(*about, 1000)
            usual *= 1.0 if batch is None else batch / TransferOptions().batch
            return f"about {duration_text(LOADING_S + cores * step_s / usual)}{BY_STEPS}"
        return _roughly(LOADING_S + cores / max(os.cpu_count() or 1, 1)) if n_bytes else ""

    # -- actions ----------------------------------------------------------------------
    def start(
        self,
        predictor_name: str = "",
        session: Session | None = None,
        out: str | Path | None = None,
        *,
        train: TrainedPart = "embeddings",
        steps: int = STEPS,
        planned: int = 0,
        is_reached: bool = False,
        **others: Any,
    ) -> None:
        """Start a fine-tuning, or continue the one in its folder from its last save.

        `planned` and `is_reached` are as in a `FinetuneRequest`, `others` further options of
        the family.

        Model and recording are those on screen by default, and where another model stands in
        for one, that one; `out` is `folder_for` by default. If it cannot start, `error` says
        why.
        """
        state = self._client.state
        if self.is_busy:
            return self._fail("A fine-tuning runs already: stop it, or wait.")
        session = session or state.session
        if not predictor_name and isinstance(self._client.predictor, str):
            predictor_name = self._replaced()[0] or self._client.predictor
        if session is None or not predictor_name:
            return self._fail(
                "Open a recording and choose a model by its name, file or folder first."
            )
        path = self.folder_for(predictor_name, session, train) if out is None else Path(out)
        # The process of the fine-tuning may have another working folder.
        path = path.absolute()
        saved, is_on_screen = finetuned_in(path), session is state.session
        # The estimate is of a whole run, not of what is left of one.
        is_known = saved is None and is_on_screen and predictor_name == self.model
        expected = self.estimate(steps) if is_known else ""
        if is_reached:
            expected = self.finish_estimate(saved)
        request = FinetuneRequest(
            predictor_name,
            session,
            path,
            train,
            steps,
            state.device,
            others=others,
            is_fit=predictor_name in fit_names(),
            expected=expected,
            is_reached=is_reached,
            planned=planned,
        )
        self._begin(request)

    def resume(self) -> None:
        """Continue a stopped or failed fine-tuning from its last save."""
        # A new event: the old one stays set, so that its run cannot continue.
        if self.can_resume and (request := self.request) is not None:
            expected = "" if self.step else request.expected
            self._begin(replace(request, stop=threading.Event(), expected=expected))

    def start_over(self) -> None:
        """Restart in a new folder, if the existing one cannot be continued."""
        if self.can_resume and (request := self.request) is not None:
            path = folder_for(
                self.folder, request.model, request.session, request.train, is_fresh=True
            )
            self._begin(replace(request, path=path, stop=threading.Event()))

    def use(self) -> None:
        """Choose the result; of a stopped fine-tuning, the state it reached."""
        if self.request is None:
            return
        if self.is_finished:
            self._choose(str(self.request.path))
        elif self.can_be_used:
            reached = replace(
                self.request,
                steps=self.step,
                stop=threading.Event(),
                expected=self.finish_estimate(),
                is_reached=True,
                planned=self.request.planned or self.n_steps,
            )
            self._begin(reached)

    def use_saved(self, saved: FinetunedModel) -> None:
        """Choose a saved fine-tuning; see `saved_result` and `results`."""
        if saved.is_finished:
            self._choose(str(saved.path))
        elif saved.start_score is not None:
            self.start(
                out=saved.path,
                train=saved.train,
                steps=saved.step,
                planned=saved.n_steps,
                is_reached=True,
            )

    def stop(self) -> None:
        """Stop the fine-tuning; its process saves the reached state."""
        if self.request is not None:
            # The event reaches the process between two steps; `stop` of the task ends
            # only its messages.
            self.request.stop.set()
        self._task.stop()

    def clear(self) -> None:
        """Stop the fine-tuning, and clear its progress and error."""
        self.stop()
        self._start_from(None)
        self._task.clear_error()
        self.changed.emit()

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop the fine-tuning at the end of the program; it can be continued later."""
        self._is_closing = True
        self.stop()
        self._reader.close(timeout_s)
        self._task.close(timeout_s)

    # -- on the drawing thread --------------------------------------------------------
    def _start_from(self, request: FinetuneRequest | None) -> None:
        self.request = request
        self.stage = BEGINNING
        self.step, self.n_steps = 0, 0 if request is None else request.steps
        self.losses: list[Point] = []
        self.validations: list[Point] = []
        self.scored = (0, 0)
        self.intervals: dict[int, tuple[float, float]] = {}
        self.gains: dict[int, tuple[float, float]] = {}
        self._last_rows: deque[Mapping[str, float]] = deque(maxlen=LAST_STEPS + 1)
        self._left_s: float | None = None
        self._has_pace = False
        self._time_left = TimeLeft()
        self._begin_share = 0.0
        self.is_finished = False

    def _begin(self, request: FinetuneRequest) -> None:
        before = self.request
        known = self.step, self.losses, self.validations, self.scored, self._last_rows
        ends = self.intervals, self.gains
        self._start_from(request)
        # Until its process sends them again, which may take a minute.
        if before is not None and before.path == request.path:
            self.step, self.losses, self.validations, self.scored, self._last_rows = known
            self.intervals, self.gains = ends
        # Without a prediction until the end, the model leaves the screen. First: a run that
        # only writes its result, which is then chosen, may end at once.
        if self.is_of_screen and request.model == self._client.state.predictor_name:
            self._stand_in()
        self._task.start(request, BEGINNING)

    def _fail(self, message: str) -> None:
        code = "busy" if self.is_busy else "no_model_or_session"
        self._task.fail(FinetuneError(code, message))

    def _take_rows(self, request: FinetuneRequest, rows: Sequence[dict[str, float]]) -> None:
        if request is not self.request:
            return
        for row in rows:
            step = self.step = int(row["step"])
            self._last_rows.append(row)
            if SCORED_WINDOWS in row:
                self.scored = scored_of(row)
            for ends, (low, high) in ((self.intervals, SCORE_ENDS), (self.gains, GAIN_ENDS)):
                if low in row:
                    ends[step] = row[low], row[high]
            for points, value in (
                (self.losses, row.get("loss")),
                (self.validations, row.get(SCORE)),
            ):
                # After a kill, steps since the last save are repeated: the new values
                # replace the old ones.
                while points and points[-1][0] >= step:
                    points.pop()
                if value is not None:
                    points.append((step, value))
        # Of the step during which it was stopped; else a report follows.
        if request.stop.is_set():
            self.changed.emit()

    def _take_progress(
        self, request: FinetuneRequest, done: int | float, total: int | float, stage: str
    ) -> None:
        # Messages that arrive after a stop or a new start are dropped.
        if request is not self.request or request.stop.is_set():
            return
        if stage in ("", TRAINING):
            self.step, self.n_steps = int(done), int(total)
        self.stage, share = step_text(done, total, stage), done / total if total else 0.0
        # The bar of a run that only writes its result is of that alone, not of its steps, too.
        if self.request.is_reached and share < 1:
            self._begin_share = self._begin_share or share
            share = max(share - self._begin_share, 0.0) / (1 - self._begin_share)
        self._task.share, self._left_s = share, self._time_left.seconds(share)
        self._has_pace |= self._left_s is not None
        self.changed.emit()

    def _take(self, request: FinetuneRequest) -> None:
        """Take the result; choose it if its recording is still on screen."""
        if request is not self.request:
            return
        self.is_finished = True
        # Before the choice, so that lists of models contain the result when it is
        # chosen.
        self.finished.emit()
        if self.is_of_screen:
            self._choose(str(request.path))

    def _on_model(self) -> None:
        """Read the log of a fine-tuning that was chosen, for its curves."""
        state = self._client.state
        session, name = state.session, state.predictor_name
        if self._read is not None and self._read is self.request:
            if self.is_of_screen and name == str(self._read.path):
                return
            self.clear()
        is_other = self.request is None or str(self.request.path) != name
        # A stopped run, which can go on, stays.
        is_free = not (self.is_busy or self.can_resume)
        if session is not None and name and is_other and is_free:
            self._reader.start((name, session), "Reading its log")

    def _take_log(self, found: tuple[FinetuneRequest, bool, Sequence[dict[str, float]]]) -> None:
        request, is_finished, rows = found
        state = self._client.state
        is_chosen = state.predictor_name == str(request.path) and state.session is request.session
        if is_chosen and not (self.is_busy or self.can_resume):
            self._start_from(request)
            self._task.clear_error()
            self._take_rows(request, rows)
            self._read, self.is_finished = request, is_finished
            self.n_steps = self.step if is_finished else request.steps
            self.changed.emit()

    # -- on a thread of its own -------------------------------------------------------
    def _run(self, request: FinetuneRequest, _: ReportProgress) -> Iterator[FinetuneRequest]:
        def post(take: Callable[..., None], *told: Any) -> None:
            self._post(partial(take, request, *told))

        options: dict[str, Any] = {"train": request.train, "steps": request.steps, **request.others}
        if request.is_fit:
            options = {"steps": request.steps}
        family = family_of_name(request.model)
        if family is not None and family.transfer is not None:
            known = {one.name for one in fields(family.transfer.options)}
            options = {name: value for name, value in options.items() if name in known}
        arguments = Arguments(
            request.model,
            request.session,
            request.path,
            request.device,
            options,
            request.is_fit,
            request.is_reached,
        )
        job = CallbackJob(partial(post, self._take_progress), request.stop.is_set)
        rows = partial(post, self._take_rows)
        self._running = request
        try:
            spawn_finetune(arguments, job, rows, lambda: self._is_closing)
        finally:
            self._running = None
            if request.stop.is_set() and not self._is_closing:
                self._post(self.changed.emit)
        yield request


def _read_log(
    chosen: tuple[str, Session], _: ReportProgress
) -> Iterator[tuple[FinetuneRequest, bool, list[dict[str, float]]]]:
    """Yield the run in a chosen folder, whether it is finished, and its log, if it has one.

    Only a run of this recording. The name of a model can be anything; a registered one is
    that of no folder.
    """
    (name, session), path = chosen, Path(chosen[0])
    if not exists(path / ABOUT) or name in predictor_names():
        return
    found = finetuned_in(path)
    if found is None or found.session != session.id:
        return
    rows = list(log_rows(path / FILE)) if (path / FILE).exists() else []
    if not rows:
        return
    model, steps = found.model.partition("@")[0], found.n_steps
    if not steps and model in fit_names():
        steps = fit_options(model)().steps
    others, unsaid = ({}, "") if found.is_fit else _other_options(path, model)
    request = FinetuneRequest(
        model,
        session,
        path,
        found.train,
        steps,
        others=others,
        is_fit=found.is_fit,
        unsaid=unsaid,
    )
    yield request, found.is_finished, rows


def _other_options(path: Path, model: str) -> tuple[dict[str, Any], str]:
    """Return the options of a run that differ from the defaults, and what of them is not said.

    A folder names a model of a file and the recording of an option, but not where they are.
    """
    family = family_of_name(model)
    if family is None or family.transfer is None:
        return {}, f"where the model {model} is"
    types = get_type_hints(family.transfer.options)
    own = {one.name: one.default for one in fields(family.transfer.options)}
    about = decode(dict[str, Any], read_json(path / ABOUT), path / ABOUT)
    others = {
        name: value
        for name, value in about.items()
        if name in own and name not in ("train", "steps") and value != own[name]
    }
    recordings = [name for name in others if Session in (types[name], *get_args(types[name]))]
    unsaid = [f"where the recording {others[name]} of {name} is" for name in recordings]
    if "steps" in own and "steps" not in about:  # of an older version
        unsaid.append("how many steps the run was to have")
    return others, and_text(unsaid)
