"""Experiments on the chosen model, in the background; they give way to the screen."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from psygnal import Signal

from omnimouse_model.analysis.barcodes import count_fits, fit_seconds
from omnimouse_model.analysis.stimulus_edits import Picture
from omnimouse_model.data.session import Session
from omnimouse_model.display import count
from omnimouse_model.errors import ExportError, ResultsFileError, StoppedError
from omnimouse_model.inference.families import fit_names
from omnimouse_model.inference.registry import load_line
from omnimouse_model.live.analysis_file import MAX_REPEATS, ExperimentEntry
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    PausableJob,
    ReportProgress,
    loading_text,
)
from omnimouse_model.live.inference.client import LiveClient
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.inference.pinned_stages import Load
from omnimouse_model.live.inference.workers import background_predictor
from omnimouse_model.live.laboratory_jobs import (
    BARCODES,
    FOLDS,
    SEARCHES,
    STEPS,
    LabJob,
    LabResult,
    Search,
    experiment_windows,
    experiments,
    lab_names,
    label_of,
    run_job,
)
from omnimouse_model.live.models.finetune import model_name
from omnimouse_model.live.results import NOT_FITTED
from omnimouse_model.masks.neuron_table import known_values, label_columns, table_columns
from omnimouse_model.predict.compatibility import check_compatibility
from omnimouse_model.simulate.demo import open_line
from omnimouse_model.storage.tables import table_path, write_table
from omnimouse_model.storage.write import cache_dir

if TYPE_CHECKING:
    from omnimouse_model.lab.barcode_decoding import BarcodeDecoding
    from omnimouse_model.lab.exciting_search import ExcitingInputs
    from omnimouse_model.lab.experiments import Experiment, ExperimentResult


class Laboratory(HasBackgroundTask):
    """Experiments on the chosen model and the open recording, one at a time.

    Responses are kept in the cache: a stopped experiment goes on where it was.

    Attributes
    ----------
    chosen
        Name of the experiment, search or decoding that views show.
    label
        Column of the neurons that is decoded next.
    folder
        Folder of kept responses.
    measured
        Emitted when `results` have changed.
    """

    measured = Signal()

    def __init__(self, client: LiveClient, load: Load, execution: Execution = IN_THREADS) -> None:
        self.chosen = "directions"
        self._repeats: int | None = None
        self.label = "area"
        # Results by name, of each model that was chosen in this recording.
        self._results: dict[object, dict[str, LabResult]] = {}
        # These models: while one is held, no other object has its address, which is its key.
        self._measured: dict[object, object] = {}
        self._errors: dict[tuple[object, str], dict[str, np.ndarray]] = {}
        self.folder = cache_dir() / "laboratory"
        self._client, self._load, self._post = client, load, execution.post
        self._stopped: LabJob | None = None
        # Found inputs by name of the search, and the rate of their frames.
        self._pictures: dict[str, tuple[Picture, float]] = {}
        self._running = self.chosen
        self._reopened: dict[str, ExperimentEntry] = {}
        self._task = BackgroundTask(self._run, self._take, execution)
        client.state.events.session.connect(self._on_session)
        client.state.events.predictor_name.connect(self._on_model)

    # -- reading ----------------------------------------------------------------------
    @property
    def experiment(self) -> "Experiment | None":
        """The chosen experiment; None for a search or the decoding."""
        return experiments().get(self.chosen)

    @property
    def repeats(self) -> int:
        """Repeats of the next experiment."""
        if self._repeats is None:
            self._repeats = experiments()[self.chosen].repeats
        return self._repeats

    @property
    def search(self) -> Search | None:
        """The chosen search; None for an experiment or the decoding."""
        return SEARCHES.get(self.chosen)

    @property
    def results(self) -> Mapping[str, LabResult]:
        """Results by name, of the open recording and the chosen model.

        Those of another model are shown again once it is chosen again.
        """
        return self._results.get(_key(self._client.predictor), {})

    @property
    def measurements(self) -> "dict[str, ExperimentResult]":
        """Results of experiments by name, without searches and decodings."""
        if not self.results:
            return {}
        from omnimouse_model.lab.experiments import ExperimentResult

        return {n: one for n, one in self.results.items() if isinstance(one, ExperimentResult)}

    @property
    def result(self) -> "ExperimentResult | None":
        """Result of the chosen experiment, None before."""
        return self.measurements.get(self.chosen)

    @property
    def is_measured(self) -> bool:
        """Whether the result on screen is what another run would give."""
        found = self.results.get(self.chosen)
        if found is None:
            return False
        if self.search is not None:
            asked = self._client.state.selection
            return np.array_equal(cast("ExcitingInputs", found).neurons, asked)
        if self.chosen == BARCODES:
            return cast("BarcodeDecoding", found).label == self.label
        return cast("ExperimentResult", found).repeats == self.repeats

    @property
    def predictor_name(self) -> str:
        """Name of the chosen model, of which the results are."""
        return self._client.state.predictor_name

    @property
    def exciting(self) -> "ExcitingInputs | None":
        """Result of the chosen search, None before."""
        if self.search is None:
            return None
        return cast("ExcitingInputs | None", self.results.get(self.chosen))

    @property
    def decoding(self) -> "BarcodeDecoding | None":
        """Result of the decoding of a label, None before or if another is chosen."""
        if self.chosen != BARCODES:
            return None
        return cast("BarcodeDecoding | None", self.results.get(BARCODES))

    @property
    def labels(self) -> tuple[str, ...]:
        """Columns of the neuron table that can be decoded."""
        session = self._client.state.session
        return () if session is None else label_columns(session)

    @property
    def entries(self) -> tuple[ExperimentEntry, ...]:
        """Each experiment that has a result, or of which `reopen` found none."""
        measured = {
            name: ExperimentEntry(name, result.repeats, result.predictor_id)
            for name, result in self.measurements.items()
        }
        return tuple((self._reopened | measured).values())

    @property
    def running(self) -> str:
        """Name of the experiment that was started last."""
        return self._running

    @property
    def problem(self) -> str:
        """Why the chosen experiment cannot start; "" if it can."""
        state, needs = self._client.state, self._client.results.needs
        if state.session is None or self._client.predictor is None:
            return "Open a recording and choose a model first."
        if needs is None and state.predictor_name in fit_names():
            return NOT_FITTED
        if needs is not None and not needs.sees_video:
            return "This model sees no video: choose one that does."
        if state.session.stimulus is None and self.chosen != BARCODES:
            return "This recording has no video: no model knows how its neurons respond to one."
        if needs is not None and (remedy := check_compatibility(needs, state.session).remedy):
            return remedy
        if self.chosen == BARCODES:
            if needs is not None and "embeddings" not in needs.methods:
                return "No functional fingerprints in this model: choose a twin or OmniMouse."
            if self.label not in self.labels:
                return "The neurons have no areas or other labels to decode."
        if self.search is None:
            return ""
        if needs is not None and "stimulus_gradient" not in needs.methods:
            return "This model offers no gradient: choose a digital twin."
        return "" if state.selection else "Select the neurons to excite first."

    @property
    def n_windows(self) -> int:
        """Number of predictions of the chosen experiment or search; 0 for the rest."""
        if self.experiment is None:
            return 0 if self.search is None else 2 * STEPS
        needs = self._client.results.needs
        spec = self._client.state.spec if needs is None else needs.spec
        return experiment_windows(self.chosen, self.repeats, spec)

    @property
    def kept(self) -> tuple[int, int] | None:
        """Kept videos of the chosen experiment and all, after a stop; None otherwise.

        Nothing is kept of a model without a name, of a search and of a decoding.
        """
        job, state = self._stopped, self._client.state
        if job is None or not job.count.of:
            return None
        # Another run does not go on there.
        now = (self.chosen, self.repeats, self._client.predictor)
        is_same = (job.name, job.repeats, job.source) == now
        if not is_same or job.session is not state.session:
            return None
        return job.n_kept, job.count.of

    @property
    def dropped(self) -> str:
        """Message about an experiment that another recording has stopped; "" if there is none."""
        job = self._stopped
        if job is None or not job.count.of or job.session is self._client.state.session:
            return ""
        what = f"{label_of(job.name)} was stopped when {job.session.id} was closed"
        if not job.n_kept:
            return f"{what}; nothing of it is kept."
        return f"{what}; {job.n_kept:,} of {job.count.of:,} videos are kept for another run."

    @property
    def seconds(self) -> float | None:
        """Expected time of the chosen experiment in seconds, None if unknown.

        From the fastest prediction on screen, which has all neurons as targets; of a
        decoding, from a short measurement.
        """
        if self.chosen == BARCODES:
            return self._decoding_seconds()
        each_s = self._client.population_s if self.n_windows else None
        # A step of a search predicts and goes back through the model.
        factor = 1 if self.experiment is not None else 3
        return None if each_s is None else factor * each_s * self.n_windows

    def _decoding_seconds(self) -> float | None:
        session, learned = self._client.state.session, self._client.results.learned
        if session is None or learned is None or learned.barcodes is None:
            return None
        if self.label not in self.labels:
            return None
        classes = known_values(table_columns(session)[self.label])
        n_neurons, n_features = learned.barcodes.shape
        # The labels, and shuffled ones.
        n_fits = 2 * count_fits(FOLDS, FOLDS)
        return n_fits * fit_seconds(n_neurons, n_features, len(classes))

    def columns(self, result: LabResult) -> dict[str, np.ndarray]:
        """Return the columns of an experiment; of a simulated session, with the errors.

        Searches and decodings have none.
        """
        from omnimouse_model.lab.experiments import ExperimentResult

        if not isinstance(result, ExperimentResult):
            return {}
        errors = self._errors.get((_key(self._client.predictor), result.experiment.name), {})
        return result.columns | errors

    def neuron_columns(self) -> dict[str, np.ndarray]:
        """Return the columns of all results (P,), such as "directions_osi"."""
        session = self._client.state.session
        found: dict[str, np.ndarray] = {}
        for name, result in self.measurements.items():
            if session is None:
                continue
            for column, values in result.columns.items():
                whole = np.full(session.n_neurons, np.nan)
                whole[result.neurons] = values
                found[f"{name}_{column}"] = whole
        return found

    def definitions(self) -> dict[str, str]:
        """Return where each of `neuron_columns` comes from, in words."""
        return {
            f"{name}_{column}": f"{result.experiment.label} in {result.predictor_id}, "
            f"{result.repeats} repeats; a property of the model"
            for name, result in self.measurements.items()
            for column in result.columns
        }

    def as_python(self) -> str:
        """Return the commands that repeat the chosen experiment in a script.

        Raises
        ------
        ExportError
            The experiment cannot start, or its model has no name.
        """
        state, source = self._client.state, self._client.predictor
        if state.session is None or self.problem:
            raise ExportError(self.problem)
        if not isinstance(source, str):
            raise ExportError("The model was passed as an object: choose one by name first.")
        lines = [
            "import omnimouse_app as om",
            "",
            open_line(state.session),
            load_line(source, state.device),
        ]
        if self.search is not None:
            lines[:1] = [
                "from dataclasses import replace",
                "",
                "import numpy as np",
                "import omnimouse_app as om",
                "from omnimouse_model.lab.exciting_search import SEARCH",
            ]
            lines += [
                f"settings = replace(SEARCH, is_static={not self.search.is_video}, "
                f"temperature={self.search.temperature})",
                f"neurons = np.array({list(state.selection)})",
                "found = om.lab.search_starts(predictor, session, neurons, settings, "
                f"n_steps={STEPS})",
            ]
        elif self.experiment is None:
            lines.insert(1, "from omnimouse_model.analysis.barcodes import learned_neurons")
            lines += [
                "learned = learned_neurons(predictor, session)",
                f"found = om.lab.decode_barcodes(learned, session, {self.label!r}, folds={FOLDS})",
            ]
        else:
            lines.append(
                f"found = om.lab.run_experiment({self.chosen!r}, predictor, session, "
                f"repeats={self.repeats})"
            )
        return "\n".join([*lines, "print(found.summary)"]) + "\n"

    # -- actions ----------------------------------------------------------------------
    def choose(self, name: str) -> None:
        """Choose the experiment that views show, with its usual number of repeats."""
        if name not in lab_names():
            raise ValueError(f"No experiment {name!r}; there are {', '.join(lab_names())}.")
        if name != self.chosen:
            self._task.clear_error()
            repeats, self.chosen = self.repeats, name
            self._repeats = repeats if self.experiment is None else self.experiment.repeats
            self.changed.emit()

    def set_repeats(self, repeats: int) -> None:
        """Set the repeats of the next run."""
        if not 1 <= repeats <= MAX_REPEATS:
            raise ValueError(f"repeats is {repeats}; 1 to {MAX_REPEATS} are possible.")
        if repeats != self.repeats:
            self._repeats = repeats
            self.changed.emit()

    def set_label(self, label: str) -> None:
        """Set the column of the neurons that is decoded next."""
        if label not in self.labels:
            raise ValueError(
                f"No column {label!r} with a few values; there are "
                f"{', '.join(self.labels) or 'none'}."
            )
        if label != self.label:
            self.label = label
            self.changed.emit()

    def picture(self) -> Picture | None:
        """Return the found input of the latest search as a what-if edit, or None.

        The chosen search comes first. A clip lasts as long as it was found, also in
        windows of another frame rate.
        """
        video = self._client.state.spec.video
        for name in (self.chosen, *reversed(self._pictures)):
            if name in self._pictures and video is not None:
                picture, rate_hz = self._pictures[name]
                return picture.at_rate(rate_hz, video.rate_hz)
        return None

    def start(self) -> None:
        """Start the chosen experiment; if it cannot start, `error` says why."""
        problem = self.problem
        if problem:
            self._task.fail(ValueError(problem))
            return
        # Of an experiment that goes on, only a part of the time is known.
        seconds = None if self.is_measured or self.kept is not None else self.seconds
        self._start([self._job(self.chosen, self.repeats)], seconds)

    def reopen(self, entries: Iterable[ExperimentEntry]) -> None:
        """Read experiments, as in `entries`, from the kept responses; predict nothing.

        `error` names those that were not kept, and those of another model.
        """
        known = [one for one in entries if one.name in experiments()]
        if not known or self._client.state.session is None:
            return
        self._reopened = {one.name: one for one in known}
        self.chosen, self._repeats = known[-1].name, known[-1].repeats
        if self._client.predictor is not None:
            jobs = [self._job(one.name, one.repeats) for one in known]
            self._start(
                [
                    replace(job, kept_only=True, predictor_id=one.predictor)
                    for job, one in zip(jobs, known, strict=True)
                ]
            )

    def write(self, path: Path) -> list[Path]:
        """Write the chosen result: a table (.csv, .parquet), or pictures of a search.

        Returns the written files.

        Raises
        ------
        ExportError
            There is no result yet.
        """
        session, chosen = self._client.state.session, self.results.get(self.chosen)
        if session is None or chosen is None:
            raise ExportError("Run it first: there is nothing to export.")
        if self.exciting is not None:
            from omnimouse_model.lab.exciting_search import write_exciting

            return write_exciting(self.exciting, path)
        if self.decoding is not None:
            columns = _decoding_columns(self.decoding)
        else:
            columns = self._experiment_columns(session)
        return [write_table(table_path(path), columns, self.definitions())]

    # -- internal ---------------------------------------------------------------------
    def _job(self, name: str, repeats: int) -> LabJob:
        state, source = self._client.state, self._client.predictor
        assert state.session is not None
        assert source is not None
        return LabJob(
            name,
            repeats,
            self.label,
            state.selection,
            state.session,
            source,
            state.device,
            self.folder,
            self._task.job,
        )

    def _start(self, jobs: Sequence[LabJob], seconds: float | None = None) -> None:
        work = PausableJob(lambda: self._client.results.is_predicting)
        jobs = [replace(job, work=work) for job in jobs]
        self._running, self._stopped = jobs[-1].name, None
        self._task.start(jobs, loading_text(seconds), work)

    def _experiment_columns(self, session: Session) -> dict[str, np.ndarray]:
        result = self.result
        assert result is not None
        unit_id = np.asarray(session.units.names)[result.neurons]
        columns = {"neuron": result.neurons, "unit_id": unit_id}
        columns |= self.columns(result)
        columns["predictor"] = np.full(len(unit_id), result.predictor_id)
        return columns

    def _on_session(self) -> None:
        self.stop()
        self._results.clear()
        self._measured.clear()
        self._errors.clear()
        self._pictures.clear()
        self._reopened.clear()
        if self.labels and self.label not in self.labels:
            self.label = self.labels[0]
        self._on_model()

    def _on_model(self) -> None:
        self.measured.emit()
        self.changed.emit()

    def _on_stopped(self, job: LabJob) -> None:
        if job.work is self._task.job:  # no newer run
            self._stopped = job
            self.changed.emit()

    def _take(self, found: tuple[LabJob, LabResult]) -> None:
        job, result = found
        if job.session is self._client.state.session:
            model = _key(job.source)
            self._measured[model] = job.source
            self._results.setdefault(model, {})[job.name] = result
            self._reopened.pop(job.name, None)
            if job.name in SEARCHES:
                self._keep_picture(job, cast("ExcitingInputs", result))
            from omnimouse_model.lab.experiments import ExperimentResult, errors_of

            if isinstance(result, ExperimentResult):
                self._errors[model, job.name] = errors_of(
                    result.findings.columns, job.session, result.size, result.neurons
                )
            self.measured.emit()

    def _keep_picture(self, job: LabJob, found: "ExcitingInputs") -> None:
        # A model that was passed as an object has its id alone.
        model = model_name(job.source) if isinstance(job.source, str) else found.predictor_id
        name, of = job.name, count(len(found.neurons), "neuron")
        label = f"{SEARCHES[name].label.lower()} of {of}, {model}"
        # The latest one is the last.
        self._pictures.pop(name, None)
        self._pictures[name] = Picture.of(found.videos[0], label), found.rate_hz

    def _run(
        self, jobs: Sequence[LabJob], report: ReportProgress
    ) -> Iterator[tuple[LabJob, LabResult]]:
        job, work, missing = jobs[0], jobs[0].work, []
        with background_predictor(
            job.source, job.device, self._load, lambda: work.is_stopped
        ) as predictor:
            for job in jobs:
                label = label_of(job.name)
                if job.kept_only and job.predictor_id != predictor.predictor_id:
                    missing.append(f"{label} was measured with {job.predictor_id}.")
                    continue
                try:
                    yield job, run_job(job, predictor, report)
                except StoppedError:
                    if work.is_stopped or not job.kept_only:
                        self._post(partial(self._on_stopped, job))
                        raise
                    missing.append(f"{label} was not kept on this machine.")
        if missing:
            raise ResultsFileError(f"{' '.join(missing)} Run it again.")


def _key(source: object) -> object:
    """Return the key of a model: its name, or the identity of an object."""
    return source if source is None or isinstance(source, str) else id(source)


def _decoding_columns(decoding: "BarcodeDecoding") -> dict[str, np.ndarray]:
    """Return a confusion matrix as a table: a row per true class."""
    classes, confusion = decoding.found.classes, decoding.found.confusion
    columns = {decoding.label: np.array(classes)}
    columns |= {f"predicted_{name}": confusion[:, k] for k, name in enumerate(classes)}
    columns["predictor"] = np.full(len(classes), decoding.predictor_id)
    return columns
