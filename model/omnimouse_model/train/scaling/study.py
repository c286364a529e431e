"""Run a scaling study: train and score nested collections x model sizes x seeds.

    STUDY.scaling.jsonl                     a row per run and condition
    STUDY-models/collections-0.json         sessions of each collection
    STUDY-models/5M, 8 sessions, order 0, seed 1/    a training run (`loop`)

`analysis.scaling.runs` defines the rows. Runs in the results file are not trained
again, and a killed run resumes from its last save, so the same plan and results file
complete an interrupted study. Only one process can run a study at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from omnimouse_model.analysis.evaluate.evaluate import evaluate
from omnimouse_model.analysis.evaluate.results_store import ResultsFile, row_key
from omnimouse_model.analysis.scaling.collections import (
    collections_manifest,
    write_manifest,
)
from omnimouse_model.analysis.scaling.runs import (
    SCALING,
    SUFFIX,
    WHAT,
    RunScore,
    ScalingRun,
    run_scores,
)
from omnimouse_model.data.session_index import Catalogue, catalogue_of
from omnimouse_model.errors import ResultsFileError
from omnimouse_model.predict.omnimouse.loading import load_checkpoint_predictor
from omnimouse_model.progress import QUIET, CallbackJob, Job
from omnimouse_model.storage.locks import sole_writer
from omnimouse_model.train.batches import TrainingSession, open_training_session
from omnimouse_model.train.checkpoints import MODEL
from omnimouse_model.train.config import SessionChoice, TrainConfig
from omnimouse_model.train.metrics_log import FILE, log_rows
from omnimouse_model.train.omnimouse import train
from omnimouse_model.train.run import split_parameters
from omnimouse_model.train.scaling.plan import StudyPlan
from omnimouse_model.train.sessions import session_place, sessions_in

Member = dict[str, Any]
"""Entry of a session in the manifest of a collection."""


@dataclass(frozen=True, slots=True)
class StudyRun:
    """Model to train in a study: size, training data and seed.

    Attributes
    ----------
    config
        Its training config, including its sessions.
    members
        Entries of these sessions in the manifest.
    """

    model: str
    order: int
    config: TrainConfig
    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        """Name of the run's folder and of the trained model."""
        return (
            f"{self.model}, {len(self.members)} sessions, order {self.order}, "
            f"seed {self.config.seed}"
        )

    def key(self, condition: str) -> str:
        """Return the key of the run's row of a condition in the results."""
        # Training settings are not in the key: they are in the header of the file.
        return row_key(
            model=asdict(self.config.model),
            sessions=[member["id"] for member in self.members],
            order=self.order,
            seed=self.config.seed,
            condition=condition,
        )


def models_folder(results: str | Path) -> Path:
    """Return the folder of a study's trained models, next to its results file."""
    path = Path(results)
    name = path.name.removesuffix(SUFFIX).removesuffix(path.suffix)
    return path.with_name(f"{name}-models")


def run_study(
    plan: StudyPlan,
    results: str | Path,
    *,
    mice: Path | None = None,
    device: str = "cpu",
    job: Job = QUIET,
) -> None:
    """Train and score all runs of a plan that are not in the results.

    Parameters
    ----------
    mice
        Folder of the simulated mice; missing mice are simulated.
    job
        Progress in steps over all runs, and stop request.

    Raises
    ------
    ValueError
        Sessions do not exist, or collections are not possible.
    ResultsFileError
        The results belong to another study.
    OutputBusyError
        Another process runs the study.
    StoppedError
        `job.cancelled()` returned True; training until then is saved.
    """
    # Not the results: other processes may add runs to them.
    with sole_writer(models_folder(results)):
        _run_study(plan, Path(results), mice, device, job)


def _run_study(
    plan: StudyPlan,
    results: Path,
    mice: Path | None,
    device: str,
    job: Job,
) -> None:
    """Run a study as `run_study` does, while no other process does."""
    catalogue = _sessions(plan, mice, job)
    evaluated = _evaluated(plan, catalogue)
    # All runs are listed first, so that a wrong plan fails before any training.
    folder = models_folder(results)
    runs = list(study_runs(plan, catalogue, evaluated, folder))
    file = ResultsFile(SCALING, results, _definition(plan, evaluated))
    _check_names(file, plan, runs)
    total = sum(run.config.total_steps for run in runs)
    done = 0
    for run in runs:

        def report(step: int, text: str, before: int = done, name: str = run.name) -> None:
            # The defaults bind the values of this run, not those of later ones.
            job.progress(before + step, total, f"{name}: {text}")

        # Steps of finished runs count as done too, so that progress reaches the total.
        missing = [strategy for strategy in plan.strategies if run.key(strategy) not in file.rows]
        if missing:
            work = _Work(run, folder / run.name, device, report, job)
            for row in work.rows(plan, evaluated, missing):
                file.add(run.key(row.condition), row)
        done += run.config.total_steps


def study_runs(
    plan: StudyPlan, catalogue: Catalogue, evaluated: list[str], folder: Path
) -> Iterator[StudyRun]:
    """Yield all runs of a plan, one curve after the other, and write the manifests."""
    drawn = {}
    for order in plan.orders:
        manifest = collections_manifest(catalogue, plan.collections, order, always=evaluated)
        folder.mkdir(parents=True, exist_ok=True)
        write_manifest(manifest, folder / f"collections-{order}.json")
        drawn[order] = [tuple(collection["members"]) for collection in manifest["collections"]]
    for seed in plan.seeds:
        for order, collections in drawn.items():
            for model in plan.models:
                for members in collections:
                    config = _config(plan, model, members, seed)
                    yield StudyRun(model, order, config, members)


# -- runs and sessions of a plan ------------------------------------------------------
def _config(plan: StudyPlan, model: str, members: tuple[Member, ...], seed: int) -> TrainConfig:
    """Return the training config of one run."""
    sessions = tuple(SessionChoice(member["path"]) for member in members)
    config = plan.config_of(model).with_sessions(sessions)
    # Steps are per session or per run; see `StudyPlan.steps_of`.
    times = len(members) if plan.steps_of == "each session" else 1
    return replace(
        config,
        seed=seed,
        phases=tuple(replace(p, steps=p.steps * times) for p in config.phases),
    )


def _sessions(plan: StudyPlan, mice: Path | None, job: Job) -> Catalogue:
    """Return all sessions of the plan; missing simulated mice are simulated."""
    places: list[Path] = []
    for number, name in enumerate(plan.sessions):
        report = partial(job.progress, number, len(plan.sessions))
        places += sessions_in(session_place(name, mice, report))
    return catalogue_of(places)


def _evaluated(plan: StudyPlan, catalogue: Catalogue) -> list[str]:
    """Return the ids of the sessions that are scored."""
    # Ids are added last: if the folder of one session has the id of another, the id
    # wins.
    id_of_name = {entry.path.name: entry.id for entry in catalogue}
    id_of_name |= {entry.id: entry.id for entry in catalogue}
    missing = [name for name in plan.evaluated if name not in id_of_name]
    if missing:
        raise ValueError(
            f"evaluated: there is no session {', '.join(missing)} among the plan's "
            f"{len(catalogue)}, {', '.join(entry.path.name for entry in catalogue)}."
        )
    return [id_of_name[name] for name in plan.evaluated]


def _definition(plan: StudyPlan, evaluated: list[str]) -> dict[str, Any]:
    """Return the settings of all runs, written into the header of the results.

    Collections, sizes, orders and seeds are not part of it: they may be added later.
    """
    return {
        "what": WHAT,
        "training": plan.training,
        "steps_of": plan.steps_of,
        "evaluated": evaluated,
        "tier": plan.tier,
        "max_windows": plan.max_windows,
    }


def _check_names(file: ResultsFile[RunScore], plan: StudyPlan, runs: list[StudyRun]) -> None:
    """Raise ResultsFileError if a run in the results differs from one of this name."""
    # A predictor id is the run's name, "@" and a hash of the weights.
    keys = {(r.name, c): r.key(c) for r in runs for c in plan.strategies}
    for key, row in file.rows.items():
        if keys.get((row.predictor.rpartition("@")[0], row.condition), key) != key:
            raise ResultsFileError(
                f"{file.path} holds {row.predictor}, trained with another model or "
                "other sessions than this plan's. Give another path, or the plan it "
                "was made with."
            )


# -- one run --------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Work:
    """Training and scoring of one run."""

    run: StudyRun
    out: Path
    device: str
    report: Callable[[int, str], None]
    job: Job

    def rows(self, plan: StudyPlan, evaluated: list[str], strategies: list[str]) -> list[RunScore]:
        """Train or resume the run, and return its scores, one row per condition."""
        sessions = [
            open_training_session(Path(choice.mouse), choice) for choice in self.run.config.sessions
        ]
        run = self._trained(sessions)
        steps = self.run.config.total_steps
        self.report(steps, "scoring")
        scores = evaluate(
            load_checkpoint_predictor(self.out / MODEL, device=self.device, name=self.run.name),
            # The same sessions for all collections, so that scores are comparable.
            [source.session for source in sessions if source.key in evaluated],
            strategies,
            tier=plan.tier,
            max_windows=plan.max_windows,
            job=CallbackJob(lambda done, total, text: self.report(steps, text), self.job.cancelled),
        )
        refused = [score.refusal for score in scores.scores if score.refusal]
        if refused:
            raise ValueError(f"strategies: {refused[0]}")
        return run_scores(run, scores, {})

    def _trained(self, sessions: list[TrainingSession]) -> ScalingRun:
        """Train or resume the run, and return its description."""
        config = self.run.config
        self.report(0, "training")
        net = train(
            config,
            sessions,
            self.out,
            device=self.device,
            job=CallbackJob(lambda done, _, step: self.report(int(done), step), self.job.cancelled),
        )
        # The core only: embeddings grow with the number of neurons, and cost few
        # operations.
        parameters = sum(p.numel() for p in split_parameters(net)[0])
        tokens = sum(row["tokens"] for row in log_rows(self.out / FILE))
        return ScalingRun(
            model=self.run.model,
            parameters=parameters,
            sessions=len(sessions),
            neuron_samples=sum(map(_neuron_samples, sessions)),
            trials=sum(map(_trials, sessions)),
            # 6 operations per parameter and token, 2 forward and 4 backward (Kaplan et
            # al., 2020).
            compute=6.0 * parameters * tokens,
            seed=config.seed,
            order=f"random {self.run.order}",
        )


def _neuron_samples(source: TrainingSession) -> int:
    """Return the number of neurons times samples of the train tier."""
    session = source.session
    # tiers() gives minutes.
    seconds = 60.0 * session.tiers().get("train", 0.0)
    return session.n_neurons * round(seconds * session.responses.rate_hz)


def _trials(source: TrainingSession) -> int:
    """Return the number of trials of the train tier."""
    return int((source.session.trials.tier == "train").sum())
