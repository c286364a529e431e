"""Parts whose work runs in the background: one panel each, with traits and `wait`."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

from traitlets import Any as AnyTrait
from traitlets import Bool, Enum, Float, Instance, Int, Unicode
from traitlets import Tuple as TupleTrait

from omnimouse_model.analysis.ranking.curve_table import StoredRanking
from omnimouse_model.analysis.sweep.contexts import SweepPlan
from omnimouse_model.analysis.sweep.table import ContextSweep as SweepTable
from omnimouse_model.errors import SettingError
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.current_point import live_sweeps
from omnimouse_model.live.inference.background_task import HasBackgroundTask
from omnimouse_model.live.laboratory_jobs import lab_names
from omnimouse_model.storage.files import read_bytes
from omnimouse_widgets.jupyter.panel import MAX_SENT, RecordPart
from omnimouse_widgets.report import report_maker
from omnimouse_widgets.views.context.curves import DrawnSweep
from omnimouse_widgets.views.context.sources import QUESTIONS, SourcesView
from omnimouse_widgets.views.context.sources import summary as found_text
from omnimouse_widgets.views.context.view import ContextView
from omnimouse_widgets.views.files import FilesView
from omnimouse_widgets.views.finetune import FinetuneView
from omnimouse_widgets.views.laboratory import LaboratoryView, summary
from omnimouse_widgets.views.ranking import AXES, VIEWS, RankingView
from omnimouse_widgets.views.record import Result, WriteFile


class ContextSweep(RecordPart):
    """Live curves over the tier, background sweeps and saved sweeps.

    Attributes
    ----------
    is_live
        Whether the live curves are computed and drawn.
    sweep
        Table of the filled curves. While `is_live`, these are the curves over the tier;
        before they are drawn, those of the window, or None before their first point.
        Setting a table, such as a result of `om.context_sweep`, draws that table and
        sets `is_live` to False.
    hidden
        Conditions that are not drawn: keys of `palette.CONDITION_COLOURS`.
    progress
        Progress of the background sweep from 0 to 1; read-only.
    """

    PURPOSE = "see the context curves"

    is_live = Bool(True).tag(sync=True)
    hidden = TupleTrait().tag(sync=True)
    sweep: Any = Instance(SweepTable, allow_none=True)
    progress = Float(0.0)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._results, self._sweeps = controller.results, controller.sweeps
        self.view = view = ContextView.of(controller)
        self._latest_run: Path | None = None
        super().__init__(view, controller, **traits)
        changed, results = view.changed, controller.results.changed
        session = controller.state.events.session
        self.bind("is_live", (changed, session), lambda: view.is_live, view.set_live)
        self.bind("hidden", changed, lambda: view.hidden, view.hide)
        self.bind("sweep", (changed, results), self._shown_table, view.show)
        self._link(controller.sweeps.changed, self._follow_progress)
        self._follow_progress()

    @property
    def status(self) -> str:
        """Evidence and age of the curves, or why there are none."""
        return " · ".join(filter(None, self.view.status))

    @property
    def mark(self) -> str:
        """The current mask as a point on the curves, as text."""
        return self.view.mark

    def start(self, plan: SweepPlan | None = None, name: str = "", **fields: Any) -> None:
        """Start a sweep of the open session in the background and save its points.

        Pass a plan, or the fields of one: `start(neurons=(0, 16, 64), seeds=(0, 1))`.

        Raises
        ------
        ValueError
            If the plan contains an impossible context.
        SettingError
            If no sweep can start now.
        """
        sweeps = self._sweeps
        # `error` may be that of an earlier sweep: clear it before reading it below.
        sweeps.clear_error()
        sweeps.start(SweepPlan(**fields) if plan is None else plan, name)
        if sweeps.error is not None:
            raise SettingError(str(sweeps.error))

    def drawn(self) -> list[DrawnSweep]:
        """Return the drawn sweeps: the live ones or `sweep`, then the saved ones."""
        return self.view.drawn()

    def write_csv(self, path: str | Path) -> Path:
        """Write the drawn sweeps as one table.

        Raises
        ------
        ValueError
            If no point is drawn yet.
        """
        return self.view.write_csv(Path(path))

    def _shown_table(self) -> SweepTable | None:
        if not self.view.is_live:
            return self.view.table
        live = live_sweeps(self._state, self._results)
        return next(iter(live.values()), None)

    def _follow_progress(self) -> None:
        sweeps = self._sweeps
        # The latest sweep is remembered, so that `progress` stays 1 after its end.
        self._latest_run = sweeps.running or self._latest_run
        entry = None if self._latest_run is None else sweeps.entry_of(self._latest_run)
        is_finished = not sweeps.is_busy and entry is not None and entry.is_complete
        self.set_trait("progress", 1.0 if is_finished else sweeps.progress.share)


class JobPart(RecordPart):
    """Part with one background job: start, wait and stop."""

    # Begins the job, and the job: set by each part.
    _start: Callable[[], object]
    _job: HasBackgroundTask

    def start(self) -> Self:
        """Start the job, or continue one that was stopped; see `wait`."""
        self._start()
        return self

    def wait(self, timeout_s: float | None = None) -> Self:
        """Wait until the job has ended; a fine-tuned model is then the current one.

        Raises
        ------
        TimeoutError
            If it takes longer than `timeout_s`; it continues.
        Exception
            If it failed.
        """
        if not self._job.wait(timeout_s):
            raise TimeoutError(f"Not done after {timeout_s:g} s: {self._job.message}.")
        if self._job.error is not None:
            raise self._job.error
        return self

    def stop(self) -> None:
        """Stop the job; what is finished stays, and the next start continues there."""
        self._job.stop()


class Laboratory(JobPart):
    """Experiments on the chosen model: choice, run, result of one neuron and of all.

    Attributes
    ----------
    experiment
        Name of the experiment: one of `om.lab.EXPERIMENTS`, a search ("exciting",
        "exciting_video", "inhibiting"), or "barcodes".
    repeats
        Repeats of each stimulus.
    label
        Column of the neuron table that "barcodes" decodes.
    progress
        Progress from 0 to 1; read-only.
    found
        What the experiment found of the population, as text; read-only.
    """

    PURPOSE = "experiment on the model"

    experiment = Enum(list(lab_names()), "directions").tag(sync=True)
    repeats = Int(1).tag(sync=True)
    label = Unicode("area").tag(sync=True)
    progress = Float(0.0).tag(sync=True)
    found = Unicode("").tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._laboratory = self._job = controller.laboratory
        self._start = controller.laboratory.start
        super().__init__(LaboratoryView.of(controller), controller, **traits)
        laboratory = controller.laboratory
        changed = laboratory.changed
        # In this order: an experiment brings its usual number of repeats.
        self.bind("experiment", changed, lambda: laboratory.chosen, laboratory.choose)
        self.bind("repeats", changed, lambda: laboratory.repeats, laboratory.set_repeats)
        self.bind("label", changed, lambda: laboratory.label, laboratory.set_label)
        self.bind("progress", changed, self._share)
        self.bind("found", changed, lambda: summary(laboratory))

    def _share(self) -> float:
        laboratory = self._laboratory
        if laboratory.is_busy:
            return laboratory.share or 0.0
        return self.progress if self.result is None else 1.0

    @property
    def result(self) -> Any:
        """The result of the chosen experiment, None before it ran."""
        return self._laboratory.results.get(self.experiment)


class FineTune(JobPart):
    """Fine-tuning of a model for a recording that it does not know.

    The widget is empty if the model knows the recording and no fine-tuning has run.

    Attributes
    ----------
    train
        Trained parameters: "embeddings", or "all" to include the core; None if the
        family of the model has no such option.
    steps
        Maximum number of steps; training stops earlier if the held-out score no longer
        increases. None if the family of the model has no such option.
    progress
        Progress from 0 to 1; read-only.
    status
        Progress, estimated cost or outcome, as text; read-only.
    is_shown
        Whether the widget has content; read-only.
    """

    PURPOSE = "fine-tune with a live curve"
    # Both curves are sent as a whole: limit their redraws to five per second.
    INTERVAL_S = 0.2

    train = AnyTrait()
    steps = AnyTrait()
    progress = Float(0.0).tag(sync=True)
    status = Unicode("").tag(sync=True)
    is_shown = Bool(False).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._finetuning = self._job = controller.finetuning
        self._view = view = FinetuneView.of(controller)
        self._start = view.start
        super().__init__(view, controller, **traits)
        for name in ("train", "steps"):
            read = partial(view.value, name)
            self.bind(name, view.signals, read, partial(self._set, name))
        self.bind("progress", view.signals, self._share)
        self.bind("status", view.signals, lambda: view.status)
        self.bind("is_shown", view.signals, lambda: view.is_shown)
        self.observe(self._show, "is_shown")
        self._show()

    def use(self) -> None:
        """Choose the result as the model; after a stop, the latest checkpoint."""
        self._view.use()

    # -- from state to screen ---------------------------------------------------------
    def _set(self, name: str, value: object) -> None:
        """Set a field by code; refuse a value that is not valid."""
        form, before = self._view.form, self._view.value(name)
        if before is None:
            raise SettingError(f"{name}: the chosen model has no such option.")
        form.set(name, value)
        (field,) = (each for each in form.fields() if each.name == name)
        if field.reason or form.value(name) != value:
            form.set(name, before)
            raise SettingError(f"{name}: {field.reason or f'{value!r} is not offered'}.")

    def _share(self) -> float:
        finetuning = self._finetuning
        return 1.0 if finetuning.is_finished else finetuning.share

    def _show(self, _: object = None) -> None:
        self.layout.display = None if self.is_shown else "none"


class Sources(JobPart):
    """What drives a neuron: sources, informants and areas.

    Attributes
    ----------
    question
        "sources", "informants" or "areas".
    targets
        Neurons that are predicted: "selected", "of the mask", "all", or "area V1".
    model
        "quick" for `linear-gaussian`, "chosen" for the chosen model.
    windows
        Windows at most; None for all.
    group
        Whether the painted neurons are a source of their own.
    lagged
        Whether only the past of an area tells the others.
    progress
        Progress from 0 to 1; read-only.
    found
        What was found, as text; read-only.
    """

    PURPOSE = "ask what drives a neuron"

    question = Enum(list(QUESTIONS), "sources").tag(sync=True)
    targets = Unicode("selected").tag(sync=True)
    model = Enum(["quick", "chosen"], "quick").tag(sync=True)
    windows = Int(60, allow_none=True).tag(sync=True)
    group = Bool(False).tag(sync=True)
    lagged = Bool(False).tag(sync=True)
    progress = Float(0.0).tag(sync=True)
    found = Unicode("").tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._sources = self._job = sources = controller.sources
        self._start = sources.start
        super().__init__(SourcesView.of(controller), controller, **traits)
        changed = sources.changed
        for trait, name in {
            **{one: one for one in ("question", "targets", "windows")},
            **{"group": "has_group", "lagged": "is_lagged"},
        }.items():
            self.bind(trait, changed, partial(getattr, sources, name), partial(self._set, name))
        self.bind("model", changed, self._model, lambda to: sources.set(is_quick=to == "quick"))
        self.bind("progress", changed, self._share)
        self.bind("found", sources.measured, self._text)

    def _set(self, name: str, value: Any) -> None:
        self._sources.set(**{name: value})

    def _model(self) -> str:
        return "quick" if self._sources.is_quick else "chosen"

    def _share(self) -> float:
        if self._sources.is_busy:
            return self._sources.share or 0.0
        return 0.0 if self.result is None else 1.0

    def _text(self) -> str:
        return "" if self.result is None else found_text(self.result)

    @property
    def result(self) -> Any:
        """Result of the question, also while it grows; None before."""
        return self._sources.result


class Ranking(RecordPart):
    """Stored ranking of pretraining sessions: matrix, table, curves and gains.

    The results file is that of `omnimouse rank` or `om.rank_sessions`, which take hours
    and are not started here.

    Attributes
    ----------
    file
        Path of the results file; set it to open another one.
    view
        "matrix", "table", "curves" or "gains".
    heldout
        Held-out session of table, curves and gains; "" is the first one.
    axis
        Horizontal axis of the curves: "k", the number of sessions, or "trials".
    """

    PURPOSE = "see the ranking"

    file = Unicode("").tag(sync=True)
    view = Enum(list(VIEWS), "matrix").tag(sync=True)
    heldout = Unicode("").tag(sync=True)
    axis = Enum(list(AXES), "k").tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._ranking = controller.ranking
        panel, ranking = RankingView.of(controller), controller.ranking
        super().__init__(panel, controller, **traits)
        self.bind(
            "file",
            ranking.changed,
            lambda: "" if ranking.path is None else str(ranking.path),
            # An empty text is no file: the trait returns to the open one.
            lambda path: ranking.open(path) if path else None,
        )
        self.bind("view", panel.changed, lambda: panel.view, lambda to: panel.set(view=to))
        self.bind("heldout", panel.changed, lambda: panel.heldout, lambda to: panel.set(heldout=to))
        self.bind("axis", panel.changed, lambda: panel.axis, lambda to: panel.set(axis=to))

    @property
    def stored(self) -> StoredRanking | None:
        """Ranking and curve of the file; None before they are read."""
        content = self._ranking.content
        return None if content is None else content.stored

    def wait(self, timeout_s: float | None = None) -> "Ranking":
        """Wait until the file is read.

        Raises
        ------
        TimeoutError
            If it takes longer than `timeout_s`.
        Exception
            If the file cannot be read.
        """
        ranking = self._ranking
        if not ranking.wait(timeout_s):
            raise TimeoutError(f"Not read after {timeout_s} s: {ranking.path}.")
        if ranking.error is not None:
            raise ranking.error
        return self


class Files(RecordPart):
    """Options of the reader of the recording, and exports of what is on screen."""

    PURPOSE = "read with other options, and to export"

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._exports = controller.exports
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        view = FilesView.of(controller, makers={"report": partial(report_maker, controller)})
        super().__init__(view, controller, **traits)
        self._link(self._exports.changed, self._send_written)

    def _answer(self, result: Result) -> None:
        if not isinstance(result, WriteFile):
            super()._answer(result)
            return
        # That of a file which was stopped or not written.
        if self._folder is not None:
            self._folder.cleanup()
        self._folder = tempfile.TemporaryDirectory()
        result.begin(Path(self._folder.name) / result.name)

    def _send_written(self) -> None:
        """Send the file to the page once it is written."""
        path, folder = self._exports.written_path, self._folder
        if folder is None or path is None or path.parent != Path(folder.name):
            return
        self._folder = None  # also of a file that cannot be sent
        with folder:
            self.send_now("file", [read_bytes(path, MAX_SENT)], name=path.name)


class JobParts:
    """Names of these parts in an `Explorer`, for type checkers."""

    sweep: ContextSweep
    laboratory: Laboratory
    finetune: FineTune
    sources: Sources
    ranking: Ranking
    files: Files
