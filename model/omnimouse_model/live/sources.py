"""What drives a neuron, on screen: sources, informants and areas, in the background.

Finished parts are kept in the cache: a stopped analysis goes on where it was.

The file is long because three questions share one run, its file and its estimate.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal, Union, cast

import numpy as np
from psygnal import Signal

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec, default_spec
from omnimouse_model.errors import ExportError, ResultsFileError, StoppedError
from omnimouse_model.evaluation.results_store import row_key
from omnimouse_model.evaluation.stored_fits import LINEAR_GAUSSIAN
from omnimouse_model.evaluation.tier_windows import scored_starts
from omnimouse_model.inference.families import fit_names
from omnimouse_model.inference.registry import load_line
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    PausableJob,
    ReportProgress,
    cost_text,
    loading_text,
)
from omnimouse_model.live.inference.client import LiveClient
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.inference.pinned_stages import Load
from omnimouse_model.live.inference.workers import background_predictor
from omnimouse_model.live.models.finetune import model_name
from omnimouse_model.live.results import NOT_FITTED
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import scored_cells
from omnimouse_model.masks.selection import NeuronGroup
from omnimouse_model.predict.compatibility import check_compatibility
from omnimouse_model.predict.predictor import Predictor, of_family
from omnimouse_model.progress import CallbackJob, Cancelled, TimeLeft
from omnimouse_model.simulate.demo import open_line
from omnimouse_model.storage.files import FileStamp, look, open_binary
from omnimouse_model.storage.tables import table_path
from omnimouse_model.storage.write import cache_dir

# Elsewhere, these modules are imported where they are used: a window needs them later.
if TYPE_CHECKING:
    from omnimouse_model.analysis.sources.areas import AreaMatrix
    from omnimouse_model.analysis.sources.informants import Informants
    from omnimouse_model.analysis.sources.sources import SourceScores

Question = Literal["sources", "informants", "areas"]
Finding = Union["SourceScores", "Informants", "AreaMatrix"]
QUICK: Final = "linear-gaussian"
"""The model that answers first: in seconds, for any recording."""
SELECTED, MASK, ALL, AREA, GROUP = "selected", "of the mask", "all", "area ", "group "
"""Targets; an area and a named group stand after their prefix."""
PAINTED: Final = "visible neurons"
"""Name of the source of the neurons that the mask shows, while they have no other."""
WINDOWS: Final = 60
"""Windows that are read by default: few, so that the answer comes in seconds."""
DRAWS: Final = 5
"""Draws of areas, as in `om.area_matrix`."""
KEPT: Final = "Kept here: Run reads it and computes the rest"
"""What stands beside Run, in place of a time, where this question was asked before."""
SUFFIXES: Final[dict[Question, str]] = {
    "sources": ".sources.jsonl",
    "informants": ".informants.jsonl",
    "areas": ".areas.jsonl",
}
"""Ends of the names of kept results."""


@dataclass(frozen=True, slots=True)
class SourcesJob:
    """One run: what is asked of which model, and where finished parts are kept.

    Without arguments, a kept result is read again.
    """

    question: Question
    session: Session
    source: str | Predictor
    device: str
    path: Path | None
    work: PausableJob = field(repr=False)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    n_groups: int = 1


class Sources(HasBackgroundTask):
    """Sources, informants and areas of the open recording, one analysis at a time.

    Attributes
    ----------
    question, targets, is_quick, windows
        What is asked next, of which neurons (`SELECTED`, `MASK`, `ALL`, an area or a
        named group), whether `linear-gaussian` answers or the chosen model, and in how
        many windows at most; None for all.
    has_group
        Whether the visible neurons of the mask are a source of their own, as the named
        groups (`state.groups`) are.
    is_lagged
        Whether only the past of an area tells the others.
    found
        Result of each question, also while it grows.
    kept_groups
        Groups that the kept results of an older analysis named; see `reopen`.
    measured
        Emitted when `found` has changed.
    """

    measured = Signal()

    def __init__(self, client: LiveClient, load: Load, execution: Execution = IN_THREADS) -> None:
        self.question: Question = "sources"
        self.targets = SELECTED
        self.is_quick, self.has_group, self.is_lagged = True, False, False
        self.windows: int | None = WINDOWS
        self.found: dict[Question, Finding] = {}
        self.folder = cache_dir() / "sources"
        self._client, self._load, self._post = client, load, execution.post
        # The quick model stays loaded: its next answer begins at once.
        self._held: tuple[Session, Predictor] | None = None
        self._holding = ExitStack()
        self._warmed: Session | None = None
        # Seconds of the quick model per mask and window, in this recording.
        self._quick_s: float | None = None
        # Seconds per target group, of one model and question: analyses alike take as long.
        self._pace: dict[tuple[Question, bool, int], float] = {}
        self._task = BackgroundTask(self._run, self._take, execution)
        self._lock = threading.Lock()
        self._warm = BackgroundTask(self._warm_up, self._take_pace, execution)
        self._warm.changed.connect(self.changed.emit)
        self._is_closed = False
        # Run of each result, which leaves with its model, and the latest run.
        self._jobs: dict[Question, SourcesJob] = {}
        self._reopened: dict[Question, SourcesJob] = {}
        self._names_groups = False
        self.kept_groups: tuple[NeuronGroup, ...] = ()
        self._latest: SourcesJob | None = None
        client.state.events.session.connect(self._on_session)
        client.state.events.groups.connect(self._on_groups)
        client.state.events.predictor_name.connect(self._on_model)
        client.results.events.needs.connect(self._on_needs)

    # -- reading ----------------------------------------------------------------------
    @property
    def state(self) -> LiveState:
        """What is on screen."""
        return self._client.state

    @property
    def result(self) -> Finding | None:
        """Result of the question, None before."""
        return self.found.get(self.question)

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the files of all results, as a saved analysis lists them; the shown last.

        Those of a model without a name are not kept.
        """
        jobs = (self._reopened | self._jobs).values()
        ordered = sorted(jobs, key=lambda job: job.question == self.question)
        return tuple(job.path.name for job in ordered if job.path is not None)

    @property
    def problem(self) -> str:
        """Why the question cannot be asked now; "" if it can."""
        state = self.state
        if state.session is None:
            return "Open a recording first."
        needs = self._client.results.needs
        if not self.is_quick and self._client.predictor is None:
            return "Choose a model first."
        if not self.is_quick and needs is None and state.predictor_name in fit_names():
            return NOT_FITTED
        if not self.is_quick and needs is not None:
            from omnimouse_model.analysis.sources.errors import refusal

            of_neurons = self.question != "sources"
            reason = refusal(needs, model_name(state.predictor_name), of_neurons=of_neurons)
            reason = reason or check_compatibility(needs, state.session).remedy
            if reason:
                return reason
        try:
            self._arguments(state.session)
            self._starts(state.session)
        except ValueError as error:
            return str(error)
        return ""

    @property
    def n_windows(self) -> int:
        """Number of windows of the test part that can be read; 0 without any."""
        session = self.state.session
        try:
            return 0 if session is None else len(scored_starts(session, "test", None, self._spec))
        except ValueError:  # `problem` says why
            return 0

    @property
    def cost(self) -> str:
        """Number of predictions, and the expected time if one is known; `KEPT` of a kept result."""
        session = self.state.session
        if session is None or self.problem:
            return ""
        n_groups, n_masks, _ = self._size(session)
        n_windows = len(self._starts(session))
        windows = f"{n_windows:,} windows"
        if n_windows == self.n_windows:
            windows = f"all {n_windows:,} windows"
        text = f"{n_groups * n_masks:,} input sets × {windows}"
        job, found, seconds = self._jobs.get(self.question), self.result, self._seconds(session)
        path = self._path(session)
        is_same = job is not None and path is not None and job.path == path
        is_measured = is_same and found is not None and found.is_complete
        # The time of the whole question is not that of its rest, of which nothing is known.
        if not is_measured and self._is_kept(path):
            return KEPT
        is_of_screen = not self.is_quick and self._pace_s(session) is None
        return cost_text(text, seconds, is_measured=is_measured, is_guess=is_of_screen)

    @property
    def is_of_other_settings(self) -> bool:
        """Whether a run would ask something else than the result of the question is of."""
        job, session = self._jobs.get(self.question), self.state.session
        if job is None or session is None:
            return False
        if self.problem:  # nothing can be asked with these settings
            return True
        if job.path is None or not isinstance(self._source, str):
            asked = self._arguments(session)
            return job.source is not self._source or job.arguments != asked
        return job.path != self._path(session)

    def as_python(self) -> str:
        """Return the commands that repeat the question in a script.

        Raises
        ------
        ExportError
            The question cannot be asked, or its model has no name.
        """
        state, source = self.state, self._source
        if state.session is None or self.problem:
            raise ExportError(self.problem or "Open a recording first.")
        if not isinstance(source, str):
            raise ExportError("A model that was passed as an object has no name.")
        lines = [
            "import omnimouse_app as om",
            "",
            open_line(state.session),
            load_line(source, "auto" if self.is_quick else state.device),
        ]
        function = "area_matrix" if self.question == "areas" else self.question
        arguments = self._arguments(state.session)
        if "targets" in arguments and self.targets.startswith(AREA):
            arguments["targets"] = self.targets.removeprefix(AREA)
        if len(self._starts(state.session)) == self.n_windows:  # all
            arguments["max_windows"] = None
        given = "".join(
            f", {name}={_code(value)}" for name, value in arguments.items() if value is not None
        )
        return "\n".join(
            [*lines, f"found = om.{function}(predictor, session{given})", "print(found)", ""]
        )

    # -- actions ----------------------------------------------------------------------
    def set(self, **options: Any) -> None:
        """Set `question`, `targets`, `is_quick`, `has_group`, `is_lagged` or `windows`.

        Raises
        ------
        ValueError
            There are no such targets, or no windows.
        """
        targets, windows = options.get("targets", self.targets), options.get("windows")
        if not self._has_targets(targets):
            raise ValueError(
                f"Targets are {SELECTED!r}, {MASK!r}, {ALL!r}, a named group or an area of the "
                f"recording, such as '{AREA}V1', not {targets!r}."
            )
        if windows is not None and windows < 1:
            raise ValueError(f"At least one window is read, not {windows}.")
        for name, value in options.items():
            setattr(self, name, value)
        self._task.clear_error()
        self.changed.emit()

    def painted(self, name: str = PAINTED) -> NeuronGroup:
        """Return the neurons that the mask on screen shows.

        Raises
        ------
        ValueError
            No recording is open, or the mask has no visible neurons.
        """
        mask = self.state.mask
        if mask is None or not mask.visible.any():
            raise ValueError("The mask on screen has no visible neurons: paint some.")
        visible = np.asarray(mask.visible.any(axis=0))
        return NeuronGroup.of(self.state.open_session, name, visible)

    def name_group(self, name: str) -> None:
        """Make the painted neurons a group, in place of one of the same name.

        It is a source, and can be chosen as targets, until another recording is opened.

        Raises
        ------
        ValueError
            The mask has no visible neurons, or the name is empty or that of a source.
        """
        from omnimouse_model.analysis.sources.errors import areas_of
        from omnimouse_model.analysis.sources.sources import INPUTS, NEURONS, source_label

        group, session = self.painted(name.strip()), self.state.open_session
        sources = {*INPUTS, *NEURONS, *session.behavior_names, *areas_of(session).tolist()}
        taken = {PAINTED, "", *sources, *map(source_label, sources)}
        if group.name.lower() in {one.lower() for one in taken}:
            raise ValueError(f"Give the group another name: {group.name!r} is that of a source.")
        others = tuple(one for one in self.state.groups if one.name != group.name)
        self.state.groups = (*others, group)
        # The neurons would be two sources, with and without a name.
        self.set(has_group=False)

    def forget_group(self, name: str) -> None:
        """Remove a named group."""
        groups = self.state.groups
        self.state.groups = tuple(one for one in groups if one.name != name)

    def start(self) -> None:
        """Ask the question; if it cannot be asked, `error` says why."""
        session, source = self.state.session, self._source
        if self.problem or session is None or source is None:
            self._task.fail(ValueError(self.problem))
            return
        work = PausableJob(lambda: self._client.results.is_predicting)
        arguments, path = self._arguments(session), self._path(session)
        n_groups = self._size(session)[0]
        job = SourcesJob(
            self.question, session, source, self.state.device, path, work, arguments, n_groups
        )
        self._latest = job
        # Of a question that goes on, only a part of the time is known.
        seconds = None if self._is_kept(path) else self._seconds(session)
        self._task.start([job], loading_text(seconds), work)

    def reopen(self, names: Sequence[str], *, is_chosen: bool, names_groups: bool = False) -> None:
        """Read results as in `kept`; `error` names those that are no longer there.

        Unless the model of the results `is_chosen`, only those of the quick model are shown.
        With `names_groups`, the groups of neurons in them are named, as `kept_groups`.
        """
        self._names_groups, self.kept_groups = names_groups, ()
        session, device, jobs = self.state.session, self.state.device, []
        work = PausableJob()
        chosen = self._client.predictor
        source = "" if chosen is None or not is_chosen else chosen
        questions = {suffix: question for question, suffix in SUFFIXES.items()}
        for name in names:
            question = questions.get("".join(Path(name).suffixes[-2:]))
            if session is not None and question is not None:
                path = self.folder / name
                jobs.append(SourcesJob(question, session, source, device, path, work))
        self._reopened = {job.question: job for job in jobs}
        if jobs:
            self.question = jobs[-1].question
            self._task.start(jobs, "Reading results", work)

    def warm_up(self) -> None:
        """Load the quick model before it is asked, so that its answer begins at once."""
        session = self.state.session
        # Once per recording: what cannot be loaded is not tried again at each stroke.
        if session is not None and session is not self._warmed and not self._warm.is_busy:
            self._warmed = session
            self._warm.start(session, "Loading the model")

    def write(self, path: Path, *, of_figure: bool = False) -> list[Path]:
        """Write the table of the result (.csv, .parquet); return the written files.

        Of informants, `of_figure` writes the points of their curve.

        Raises
        ------
        ExportError
            There is no result yet.
        """
        if self.result is None:
            raise ExportError("Ask first: there is nothing to export.")
        path = table_path(path)
        if of_figure and self.question == "informants":
            return [cast("Informants", self.result).write_curve(path)]
        return [self.result.write_csv(path)]

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop and end the thread."""
        self._is_closed = True
        self._task.close(timeout_s)
        self._warm.close(timeout_s)
        # A thread that still loads a model closes it itself, see `_quick`.
        if self._lock.acquire(timeout=timeout_s):
            self._holding.close()
            self._lock.release()

    # -- colours of the neurons -------------------------------------------------------
    def largest_source(self, n_neurons: int) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return the number of the source with the largest share (P,), and their labels.

        NaN for neurons that were not asked, or of which nothing is predictable: the 95 %
        interval of v(all), where it has one, contains 0.
        """
        values = np.full(n_neurons, np.nan)
        found = cast("SourceScores | None", self.found.get("sources"))
        if found is None:
            return values, ()
        from omnimouse_model.analysis.sources.sources import source_label

        total = found.total()
        is_known = (total.value > 0) & ~(total.low <= 0)
        values[found.neurons[is_known]] = found.largest()[is_known]
        return values, tuple(map(source_label, found.names))

    @property
    def n_asked(self) -> int:
        """Neurons of which the sources were asked and are known."""
        found = cast("SourceScores | None", self.found.get("sources"))
        return 0 if found is None else len(found.neurons)

    @property
    def n_targets(self) -> int:
        """Targets of the latest search of informants, which add nothing to themselves."""
        found = cast("Informants | None", self.found.get("informants"))
        return 0 if found is None else len(found.targets)

    def informants_of(self, n_neurons: int) -> np.ndarray:
        """Return what each neuron adds to the targets of the latest search, (P,)."""
        found = cast("Informants | None", self.found.get("informants"))
        if found is not None and len(found.adds) == n_neurons:
            return found.adds
        return np.full(n_neurons, np.nan)

    # -- internal ---------------------------------------------------------------------
    def _path(self, session: Session) -> Path | None:
        """Return where the result of the question is kept; None with a model without a name."""
        source = self._source
        if not isinstance(source, str):
            return None
        key = row_key(
            session=session.fingerprint,
            model=source,
            question=self.question,
            **_json(self._arguments(session)),
        )
        return self.folder / f"{key}{SUFFIXES[self.question]}"

    def _is_kept(self, path: Path | None) -> bool:
        """Return whether a file has an answer, or a part of it, of the weights that are asked."""
        prediction, needs = self._client.results.population, self._client.results.needs
        asked = (QUICK, LINEAR_GAUSSIAN)
        if not self.is_quick:
            # Only a loaded model tells its weights.
            if prediction is None or needs is None:
                return False
            asked = (prediction.predictor_id, needs.fits)
        if path is None:
            return False
        try:
            info = look(path, follows=False)
        except ValueError:
            return False
        return info is not None and asked == _asked_of(self.question, FileStamp.of(path, info))

    def _seconds(self, session: Session) -> float | None:
        """Return the expected time of the question once the model is loaded, if known."""
        n_groups, n_masks, n_predictions = self._size(session)
        n_windows = len(self._starts(session))
        pace_s = self._pace_s(session)
        if pace_s is not None:
            return pace_s * n_groups
        if self.is_quick:
            each_s = self._quick_s
            return None if each_s is None else each_s * n_groups * n_masks * n_windows
        each_s, needs = self._client.population_s, self._client.results.needs
        if each_s is None or needs is None:
            return None
        # From one set of sums, only video and behaviour make another prediction.
        is_shared = "predict_subsets" in needs.methods
        return each_s * n_windows * (min(n_masks, 4) if is_shared else n_predictions)

    def _pace_s(self, session: Session) -> float | None:
        """Return the measured seconds per group of targets, if such a run was timed."""
        n_windows = len(self._starts(session))
        return self._pace.get((self.question, self.is_quick, n_windows))

    @property
    def _source(self) -> str | Predictor | None:
        return QUICK if self.is_quick else self._client.predictor

    @property
    def _spec(self) -> WindowSpec:
        needs = self._client.results.needs
        if self.is_quick:
            return default_spec()
        return self.state.spec if needs is None else needs.spec

    def _starts(self, session: Session) -> np.ndarray:
        return scored_starts(session, "test", self.windows, self._spec)

    def _has_targets(self, targets: str) -> bool:
        if targets.startswith(GROUP):
            return targets.removeprefix(GROUP) in [one.name for one in self.state.groups]
        session, area = self.state.session, targets.removeprefix(AREA)
        if area == targets:
            return targets in (SELECTED, MASK, ALL)
        # Before a recording is open, code can name its areas.
        if session is None:
            return True
        from omnimouse_model.analysis.sources.errors import areas_of

        return bool(area) and area in areas_of(session)

    def _size(self, session: Session) -> tuple[int, int, int]:
        """Return the number of groups of targets, of masks of each, and of predictions.

        The predictions are those of a window, mask by mask.
        """
        from omnimouse_model.analysis.sources.errors import areas_of, target_groups
        from omnimouse_model.analysis.sources.sources import HISTORY, SourcesPlan, default_sources

        arguments = self._arguments(session)
        if self.question == "areas":
            n_areas = len({*areas_of(session).tolist()} - {""})
            n_masks = 1 + 2 * n_areas
            return arguments["draws"], n_masks, arguments["draws"] * n_masks
        if self.question == "informants":
            return 1, 6 * 5 + 1, 6 * 5 + 1
        chosen = self._neurons(session)
        everyone = np.arange(session.n_neurons)
        neurons = everyone if chosen is None else chosen.indices(session)
        n_groups = len(target_groups(areas_of(session), neurons, 0))
        plan = SourcesPlan.of(arguments["sources"] or default_sources(session), 0)
        # The own past of each target is visible to its own prediction alone.
        n_own = sum(plan.names.index(HISTORY) in subset for subset in plan.subsets)
        n_masks = len(plan.subsets)
        return n_groups, n_masks, n_groups * (n_masks - n_own) + n_own * len(neurons)

    def _arguments(self, session: Session) -> dict[str, Any]:
        """Return the arguments of the question.

        Raises
        ------
        ValueError
            There are no targets, or fewer than two areas.
        """
        from omnimouse_model.analysis.sources.errors import areas_of
        from omnimouse_model.analysis.sources.sources import default_sources

        if self.question == "areas":
            if len({*areas_of(session).tolist()} - {""}) < 2:
                raise ValueError("The recording has fewer than two areas.")
            return {"lagged": self.is_lagged, "draws": DRAWS, "max_windows": self.windows}
        targets = self._neurons(session)
        if self.question == "informants":
            if targets is None:
                raise ValueError("Informants are those of some neurons: choose fewer targets.")
            if session.n_neurons < 2:
                from omnimouse_model.analysis.sources.informants import ALONE

                raise ValueError(ALONE)
            return {"targets": targets, "max_windows": self.windows}
        names: tuple[str | NeuronGroup, ...] | None = None
        groups = (*self.state.groups, *([self.painted()] if self.has_group else []))
        if groups:
            names = (*default_sources(session), *groups)
        return {"sources": names, "targets": targets, "max_windows": self.windows}

    def _neurons(self, session: Session) -> NeuronGroup | None:
        """Return the targets; None for all neurons."""
        from omnimouse_model.analysis.sources.errors import areas_of

        if self.targets == ALL:
            return None
        if self.targets.startswith(AREA):
            area = self.targets.removeprefix(AREA)
            return NeuronGroup.of(session, area, areas_of(session) == area)
        if self.targets.startswith(GROUP):
            groups = self.state.groups
            return next(one for one in groups if self.targets == f"{GROUP}{one.name}")
        if self.targets == SELECTED:
            if not self.state.selection:
                raise ValueError("No neuron is selected: select some, or choose others.")
            name = f"{len(self.state.selection)} selected neurons"
            return NeuronGroup.of(session, name, self.state.selection)
        mask = self.state.mask
        chosen = np.zeros(session.n_neurons, bool)
        if mask is not None:
            chosen = np.asarray(scored_cells(mask).any(axis=0))
        if not chosen.any():
            raise ValueError("The mask on screen has no target neurons: paint some.")
        return NeuronGroup.of(session, "target neurons", chosen)

    def _on_session(self) -> None:
        self.stop()
        self.found.clear()
        self._jobs.clear()
        self._reopened.clear()
        self._quick_s, self.state.groups = None, ()
        self.measured.emit()
        self._on_groups()

    def _on_groups(self) -> None:
        if not self._has_targets(self.targets):
            self.targets = SELECTED
        self.changed.emit()

    def _on_model(self) -> None:
        if self._latest is not None and not self._is_of_screen(self._latest):
            self.stop()
        self._keep(self._is_of_screen)
        self.changed.emit()

    def _on_needs(self) -> None:
        # A kept result may have been read before the model was loaded.
        needs = self._client.results.needs
        if needs is not None:
            fits = needs.fits
            self._keep(lambda job: job.source == QUICK or self.found[job.question].fits == fits)
        self.changed.emit()

    def _keep(self, is_kept: Callable[[SourcesJob], bool]) -> None:
        gone = [question for question, job in self._jobs.items() if not is_kept(job)]
        for question in gone:
            del self.found[question], self._jobs[question]
        if gone:
            self.measured.emit()

    def _is_of_screen(self, job: SourcesJob) -> bool:
        source, chosen = job.source, self._client.predictor
        is_chosen = source == chosen if isinstance(source, str) else source is chosen
        return job.session is self.state.session and (source == QUICK or is_chosen)

    def _take(self, found: tuple[SourcesJob, Finding]) -> None:
        job, result = found
        if self._is_of_screen(job):
            self.found[job.question], self._jobs[job.question] = result, job
            self.measured.emit()
            self.changed.emit()

    def _show(self, job: SourcesJob, result: Finding) -> None:
        # A part that arrives after a stop is part of what is known.
        if job.work is self._task.job:
            self._take((job, result))

    def _run(
        self, jobs: Sequence[SourcesJob], report: ReportProgress
    ) -> Iterator[tuple[SourcesJob, Finding]]:
        missing, others = [], []
        for job in jobs:
            if job.arguments:
                yield from self._measured(job, report)
                continue
            found = _kept(job)
            if found is None:
                missing.append(job.question)
                continue
            if job.question == "sources":
                self._post(partial(self._name_groups, job, cast("SourceScores", found)))
            source = QUICK if found.predictor == QUICK else job.source
            needs = self._client.results.needs
            # Results of weights have no version of fits, nor have older ones.
            is_fitted = found.fits or source == QUICK or (needs is not None and needs.fits)
            if is_fitted and found.fits != LINEAR_GAUSSIAN:
                others.append(f"{job.question} are of an earlier fit of {found.predictor}")
            elif source != "":
                yield replace(job, source=source), found
            else:
                others.append(f"{job.question} are of another model, {found.predictor}")
        if missing:
            others.append(
                f"{' and '.join(missing)} are no longer kept on this machine: run them again"
            )
        if others:
            raise ValueError(f"Results of {'; '.join(others)}.")

    def _name_groups(self, job: SourcesJob, found: "SourceScores") -> None:
        """Name the groups of a kept result, which older analyses do not list themselves."""
        if self._names_groups and job.session is self.state.session and not self.state.groups:
            groups = (one for one in found.plan.sources if isinstance(one, NeuronGroup))
            self.kept_groups = tuple(one for one in groups if one.name != PAINTED)
            self.state.groups = self.kept_groups

    def _measured(
        self, job: SourcesJob, report: ReportProgress
    ) -> Iterator[tuple[SourcesJob, Finding]]:
        # Whether a kept result is of these weights, only the loaded model tells; the quick
        # model has none, and a complete result of it needs no model.
        kept = _kept(job) if job.source == QUICK else None
        if kept is not None and kept.is_complete and kept.fits == LINEAR_GAUSSIAN:
            yield job, kept
            return
        time_left, work = TimeLeft(lambda: monotonic() - job.work.waited_s), job.work

        def progress(done: int | float, total: int | float, step: str) -> None:
            left = time_left.text(done / total)
            # The time first: a narrow panel cuts the rest. The bar beside it tells the share.
            step = step.removeprefix(f"{job.session.id}: ") or "measuring"
            report(" · ".join(filter(None, (left.removeprefix(", "), step))), done / total)

        work.report = progress
        with self._predictor(job) as predictor:
            # The first report comes after a batch of windows, of which a model may fit its inputs.
            report("measuring the first windows")
            begun_s = monotonic()
            ask = partial(
                _analyses()[job.question][0],
                predictor,
                job.session,
                job=work,
                on_part=lambda part: self._post(partial(self._show, job, part)),
                **job.arguments,
            )
            # Of a question that goes on, only a part of the time is known.
            is_timed = job.path is None or not job.path.exists()
            try:
                result = ask(results=job.path)
            except ResultsFileError:
                # What an older version, or a model of other weights, kept is of no use.
                assert job.path is not None
                job.path.unlink(missing_ok=True)
                is_timed = True
                result = ask(results=job.path)
            yield job, result
            if not result.is_complete:
                raise StoppedError
            if is_timed:
                seconds = monotonic() - begun_s - work.waited_s
                self._post(partial(self._time, job, result, seconds))

    @contextmanager
    def _predictor(self, job: SourcesJob) -> Iterator[Predictor]:
        """Yield the model of a job; the quick one stays loaded for this recording."""
        if job.source == QUICK:
            yield self._quick(job.session, lambda: job.work.is_stopped)
            return
        with background_predictor(
            job.source, job.device, self._load, lambda: job.work.is_stopped
        ) as predictor:
            yield predictor

    def _quick(self, session: Session, cancelled: Cancelled) -> Predictor:
        # Two threads may want it: what was begun for a look serves a run.
        with self._lock:
            if self._held is None or self._held[0] is not session:
                self._held = None
                self._holding.close()
                load = background_predictor(QUICK, "cpu", self._load, cancelled)
                predictor = self._holding.enter_context(load)
                # Closed meanwhile: nobody else would end the process of the model.
                if self._is_closed:
                    self._holding.close()
                    raise StoppedError
                with of_family(predictor.predictor_id, cancelled):
                    predictor.prepare(session)
                self._held = session, predictor
            return self._held[1]

    def _warm_up(self, session: Session, report: ReportProgress) -> Iterator[tuple[Session, float]]:
        """Ask for two neurons: for the fits of the model, and for the time of an answer."""
        from omnimouse_model.analysis.sources.sources import sources

        predictor = self._quick(session, lambda: self._is_closed)

        def is_gone() -> bool:
            return self._is_closed or self.state.session is not session

        def is_in_the_way() -> bool:
            return is_gone() or self._task.is_busy

        # A run waits for the fits, which it needs, but not for the measurement.
        sources(predictor, session, targets=0, max_windows=1, job=CallbackJob(cancelled=is_gone))
        # Requests of the screen come first, and their time is not that of an answer.
        work = PausableJob(lambda: self._client.results.is_predicting and not is_in_the_way())
        job = CallbackJob(cancelled=lambda: work.cancelled() or is_in_the_way())
        begun_s = monotonic()
        found = sources(
            predictor, session, targets=session.n_neurons - 1, max_windows=WINDOWS, job=job
        )
        if found.is_complete:
            seconds = monotonic() - begun_s - work.waited_s
            yield session, seconds / (len(found.plan.subsets) * found.n_windows)

    def _take_pace(self, found: tuple[Session, float]) -> None:
        session, seconds = found
        if session is self.state.session:
            self._quick_s = seconds
            self.changed.emit()

    def _time(self, job: SourcesJob, result: Finding, seconds: float) -> None:
        is_quick, pace_s = job.source == QUICK, seconds / job.n_groups
        self._pace[job.question, is_quick, result.n_windows] = pace_s
        if is_quick and job.session is self.state.session:
            n_masks = len(result.errors.squared)
            self._quick_s = pace_s / (n_masks * result.n_windows)


def _analyses() -> dict[Question, tuple[Any, Any]]:
    """Return the function of each question, and the class of its result."""
    from omnimouse_model.analysis.sources.areas import AreaMatrix, area_matrix
    from omnimouse_model.analysis.sources.informants import Informants, informants
    from omnimouse_model.analysis.sources.sources import SourceScores, sources

    return {
        "sources": (sources, SourceScores),
        "informants": (informants, Informants),
        "areas": (area_matrix, AreaMatrix),
    }


# Each drawing of the panel asks.
@lru_cache(maxsize=4)
def _asked_of(question: Question, stamp: FileStamp) -> tuple[str | None, int] | None:
    """Return the predictor and its version of fits in the header of a file, None of a wrong one."""
    try:
        with open_binary(stamp.path, follows=False) as file:
            stored = _analyses()[question][1].KIND.header(file.readline())["definition"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return stored.get("predictor"), stored.get("fits") or 0


def _kept(job: SourcesJob) -> Finding | None:
    """Return what the file of a run holds, also of a part of it; None if it cannot be read."""
    if job.path is None:
        return None
    try:
        return cast("Finding", _analyses()[job.question][1].open(job.path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _json(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as JSON, for a key."""

    def plain(value: Any) -> Any:
        if isinstance(value, NeuronGroup):
            return [value.name, list(value.ids)]
        return [plain(one) for one in value] if isinstance(value, tuple) else value

    return {name: plain(value) for name, value in arguments.items()}


def _code(value: Any) -> str:
    """Return an argument as it is written in a script."""
    if isinstance(value, NeuronGroup):
        return f"om.NeuronGroup({value.name!r}, {value.ids!r})"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_code, value))}]"
    return repr(value)
