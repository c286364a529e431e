"""Train cores, transfer them and score the results, here or on workers of a scheduler.

    X.ranking.jsonl               a row per score, see `scores`
    X-models/KEY/core/            training of a core
    X-models/KEY/to KEY/          its transfer to a held-out session

Keys are hashes of the settings, the contents of the sessions and the seed. Scores in
the file are not computed again; a training that was stopped goes on from its last save.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omnimouse_model.analysis.evaluate.dask_map import map_pieces
from omnimouse_model.analysis.evaluate.results_store import ResultsFile, row_key
from omnimouse_model.analysis.ranking.criterion import Criterion
from omnimouse_model.analysis.ranking.factory import Factory
from omnimouse_model.analysis.ranking.scores import (
    TEST,
    TransferScore,
    content_of,
    core_key,
    models_folder,
    n_trials,
    transfer_key,
)
from omnimouse_model.analysis.ranking.tier_guard import without_test
from omnimouse_model.data.session import Session
from omnimouse_model.errors import StoppedError
from omnimouse_model.predict.devices import torch_threads
from omnimouse_model.progress import CallbackJob, Job, part_of
from omnimouse_model.storage.locks import sole_writer

STOPPED = "stopped; what is finished is saved: the same call continues."
_one_at_a_time = threading.Lock()
"""The number of torch threads is one setting per process."""


@dataclass(frozen=True, slots=True)
class Study:
    """Settings that all scores of a study share.

    Attributes
    ----------
    tier
        Tier that is scored. Unless it is "test", no test tier can be read.
    """

    factory: Factory
    criterion: Criterion
    tier: str

    @property
    def key(self) -> str:
        """Hash of the settings of models and score, whatever the tier."""
        return row_key(
            settings=self.factory.settings,
            transfer=self.factory.transfer_settings,
            criterion=self.criterion.settings,
        )


@dataclass(frozen=True, slots=True)
class CoreRun:
    """One core, and the held-out sessions on which it is scored.

    Attributes
    ----------
    sessions
        Sessions of the core, sorted by id; none for the baseline of one held-out
        session.
    """

    study: Study
    sessions: tuple[Session, ...]
    heldout: tuple[Session, ...]
    seed: int

    def key(self, heldout: Session) -> str:
        """Return a hash of all that a score depends on."""
        return row_key(
            settings=self.study.factory.settings,
            transfer=self.study.factory.transfer_settings,
            criterion=self.study.criterion.settings,
            sessions=content_of(self.sessions),
            heldout=content_of([heldout]),
            tier=self.study.tier,
            seed=self.seed,
        )

    @property
    def steps(self) -> int:
        """Number of trainings."""
        return 1 + len(self.heldout) if self.sessions else 1

    @property
    def name(self) -> str:
        """Description for progress."""
        ids = [session.id for session in self.sessions]
        what = ids[0] if len(ids) == 1 else f"{len(ids)} sessions"
        if not ids:
            what = f"{self.heldout[0].id} from scratch"
        return f"{what}, seed {self.seed}"

    def scores(self, folder: Path, job: Job) -> Iterator[TransferScore]:
        """Yield the score on each held-out session; the job counts its trainings."""
        study, factory = self.study, self.study.factory
        # Training never reads a test tier, whatever is scored.
        train = tuple(without_test(s, factory.spec) for s in self.sessions)
        heldout = tuple(without_test(s, factory.spec) for s in self.heldout)
        place = folder / core_key(factory.settings, self.sessions or self.heldout, self.seed)
        core = factory.pretrain(train or heldout, self.seed, place / "core", self._part(job, 0))
        trials = sum(n_trials(session, factory.spec) for session in train)
        for number, (session, view) in enumerate(zip(self.heldout, heldout, strict=True), start=1):
            model = core
            if train:
                key = transfer_key(factory.transfer_settings, session)
                out, part = place / f"to {key}", self._part(job, number)
                model = factory.transfer(core, view, self.seed, out, part)
            scored = session if study.tier == TEST else view
            value = study.criterion.score(model, scored, study.tier)
            yield TransferScore(
                tuple(s.id for s in train),
                session.id,
                self.seed,
                study.tier,
                value,
                trials,
                study.key,
                study.criterion.name,
                study.criterion.unit,
                study.criterion.is_higher_better,
            )

    def _part(self, job: Job, done: int) -> Job:
        """Return the job of one training, after some of this run are done."""
        return part_of(job, done / self.steps, (done + 1) / self.steps)


def run_scores(
    runs: Sequence[CoreRun],
    file: ResultsFile[TransferScore],
    scheduler: str | None,
    job: Job,
) -> list[TransferScore]:
    """Compute the scores that the file lacks, and return those of all runs.

    Raises
    ------
    StoppedError
        `job.cancelled()` returned true; finished scores are in the file.
    OutputBusyError
        Another process computes scores of this file.
    WorkerError
        The scheduler or its workers failed; finished scores are in the file.
    """
    from torch import get_num_threads

    asked = [(run, session) for run in runs for session in run.heldout]
    # Orders share their first and their last collections.
    keys = list(dict.fromkeys(run.key(session) for run, session in asked))
    folder = models_folder(file.path)
    with sole_writer(folder):
        missing = _missing(runs, file)
        tasks = [(run, folder.resolve(), get_num_threads()) for run in missing]
        sizes = [100 * run.steps for run in missing]
        for number, scores in map_pieces(_scores, tasks, scheduler, job, sizes):
            run = missing[number]
            for session, score in zip(run.heldout, scores, strict=True):
                file.add(run.key(session), score)
    if any(key not in file.rows for key in keys):
        raise StoppedError(STOPPED)
    return [file.rows[key] for key in keys]


def _missing(runs: Sequence[CoreRun], file: ResultsFile[TransferScore]) -> list[CoreRun]:
    """Return runs with the held-out sessions that have no score, each once."""
    missing, seen = [], set(file.rows)
    for run in runs:
        heldout = tuple(s for s in run.heldout if run.key(s) not in seen)
        seen |= {run.key(session) for session in heldout}
        if heldout:
            missing.append(replace(run, heldout=heldout))
    return missing


def _scores(task: tuple[CoreRun, Path, int], job: Job) -> list[TransferScore]:
    """Compute all scores of a run, here or on a worker."""
    run, folder, threads = task

    def report(done: int | float, total: int | float, _: str) -> None:
        job.progress(round(100 * done / total * run.steps), 100 * run.steps, run.name)

    # Rounding of sums depends on the number of threads: that of the caller.
    with _one_at_a_time, torch_threads(threads):
        return list(run.scores(folder, CallbackJob(report, job.cancelled)))
