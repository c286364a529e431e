"""What the laboratory can run: experiments, searches of inputs, and a decoding."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, Union

import numpy as np

from omnimouse_model.analysis.barcodes import learned_neurons
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.live.inference.background_task import PausableJob, ReportProgress
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import Job, TimeLeft

if TYPE_CHECKING:
    from omnimouse_model.lab.barcode_decoding import BarcodeDecoding
    from omnimouse_model.lab.exciting_search import ExcitingInputs
    from omnimouse_model.lab.experiments import Experiment, ExperimentResult

LabResult = Union["ExperimentResult", "ExcitingInputs", "BarcodeDecoding"]
STEPS: Final = 20
"""Steps of a search, from each of two starts."""
FOLDS: Final = 5
"""Outer and inner folds of a decoding."""


@dataclass(frozen=True, slots=True)
class Search:
    """A search of the input to which the selected neurons respond most, or least.

    Attributes
    ----------
    label, explanation
        Name and sentence for people; the label names the input that is found.
    is_video, is_inhibiting
        Whether it moves, and whether it is that of the weakest response.
    """

    label: str
    explanation: str
    is_video: bool = False
    is_inhibiting: bool = False

    @property
    def temperature(self) -> float:
        """Sign and strength of the objective, see `ExcitingSettings`."""
        return -0.5 if self.is_inhibiting else 0.5


SEARCHES: Final = {
    "exciting": Search(
        "Most exciting image",
        "The image to which the selected neurons respond most, from two searches.",
    ),
    "exciting_video": Search(
        "Most exciting video",
        "The video to which the selected neurons respond most, from two searches.",
        is_video=True,
    ),
    "inhibiting": Search(
        "Most inhibiting image",
        "The image to which the selected neurons respond least, from two searches.",
        is_inhibiting=True,
    ),
}
"""Searches by name; digital twins only."""
BARCODES: Final = "barcodes"
"""Name of the decoding of a label from what the model has learned of the neurons."""
BARCODES_LABEL: Final = "Functional fingerprints: decode a label"


def experiments() -> Mapping[str, "Experiment"]:
    """Return the experiments by name; imported here, as a window needs them later."""
    from omnimouse_model.lab.experiments import EXPERIMENTS

    return EXPERIMENTS


def lab_names() -> tuple[str, ...]:
    """Return the names of all experiments, searches and decodings."""
    return (*experiments(), *SEARCHES, BARCODES)


@lru_cache(maxsize=64)
def experiment_windows(name: str, repeats: int, spec: WindowSpec) -> int:
    """Return the number of predictions of an experiment; views ask often."""
    from omnimouse_model.lab.experiments import windows_of

    return windows_of(experiments()[name], spec, repeats)


def label_of(name: str) -> str:
    """Return the label of an experiment, search or decoding."""
    if name == BARCODES:
        return BARCODES_LABEL
    return SEARCHES[name].label if name in SEARCHES else experiments()[name].label


@dataclass(slots=True)
class RunCount:
    """Finished videos, steps or folds of a run, and all; written while it runs."""

    done: int = 0
    of: int = 0


@dataclass(frozen=True, slots=True)
class LabJob:
    """One run: what is measured, with which model, and where responses are kept.

    Attributes
    ----------
    repeats, label
        Repeats of an experiment, and column that is decoded.
    count
        How far the run is.
    kept_only, predictor_id
        Read kept responses of this model only, and predict nothing.
    """

    name: str
    repeats: int
    label: str
    neurons: tuple[int, ...]
    session: Session
    source: str | Predictor
    device: str
    folder: Path
    work: PausableJob = field(repr=False)
    kept_only: bool = False
    predictor_id: str = ""
    count: RunCount = field(default_factory=RunCount, repr=False)

    @property
    def keeps_responses(self) -> bool:
        """Whether responses stay on this machine: those of a model with a name.

        The id of a predictor object need not say what it computes.
        """
        return self.name in experiments() and isinstance(self.source, str)

    @property
    def n_kept(self) -> int:
        """Number of videos whose responses are kept after a stop."""
        return self.count.done if self.keeps_responses else 0


def run_job(job: LabJob, predictor: Predictor, report: ReportProgress) -> LabResult:
    """Run a job; a live request has priority between two predictions.

    Raises
    ------
    StoppedError
        The run was stopped, or kept responses are missing.
    """
    if job.name in SEARCHES:
        return _search(job, predictor, _progress(job, report, "steps"))
    if job.name == BARCODES:
        # Imported here, as in `_search`: it loads torch, which takes seconds.
        from omnimouse_model.lab.barcode_decoding import decode_barcodes

        folds = _progress(job, report, "folds")
        return decode_barcodes(
            learned_neurons(predictor, job.session, folds.cancelled),
            job.session,
            job.label,
            folds=FOLDS,
            job=folds,
        )
    from omnimouse_model.lab.experiments import run_experiment

    return run_experiment(
        job.name,
        predictor,
        job.session,
        repeats=job.repeats,
        cache=job.folder if job.keeps_responses else None,
        kept_only=job.kept_only,
        job=_progress(job, report, "videos"),
    )


def _search(job: LabJob, predictor: Predictor, shown: Job) -> "ExcitingInputs":
    from omnimouse_model.lab.exciting_search import SEARCH, search_starts

    search = SEARCHES[job.name]
    return search_starts(
        predictor,
        job.session,
        np.array(job.neurons, np.int64),
        replace(SEARCH, is_static=not search.is_video, temperature=search.temperature),
        n_steps=STEPS,
        job=shown,
    )


def _progress(job: LabJob, report: ReportProgress, kind: str) -> Job:
    """Return a job that counts, and reports with the expected time."""
    count, time_left = job.count, TimeLeft(lambda: monotonic() - job.work.waited_s)

    def progress(n_done: int | float, total: int | float, step: str) -> None:
        count.done, count.of = done, of = int(n_done), int(total)
        # All videos can be done while fields are fitted, which takes seconds.
        text = "analysing" if done == of else f"{done:,} of {of:,} {kind}"
        report(text + time_left.text(done / of), done / of)

    job.work.report = progress
    return job.work
