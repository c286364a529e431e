"""Scaling study: its plan, and training and scores of models x collections x seeds.

    STUDY.scaling.jsonl                     a row per run and condition
    STUDY-models/collections-0.json         sessions of each collection
    STUDY-models/5M, 8 sessions, order 0, seed 1/    a training run (`loop`)

`scaling_fits` defines the rows. Runs in the results file are not trained
again, and a killed run resumes from its last save, so the same plan and results file
complete an interrupted study. Only one process can run a study at a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from omnimouse_model.analysis.evaluate import evaluate
from omnimouse_model.analysis.fit import train_plan
from omnimouse_model.analysis.scaling_fits import (
    SCALING,
    SUFFIX,
    WHAT,
    RunScore,
    ScalingRun,
    run_scores,
)
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.data.session_index import Catalogue, Entry, catalogue_of
from omnimouse_model.errors import ResultsFileError
from omnimouse_model.evaluation.results_store import ResultsFile, row_key
from omnimouse_model.inference.families import (
    TrainingPlan,
    describe,
    load_of_family,
    plan_of,
    weights_in,
)
from omnimouse_model.masks.strategies import find_strategy
from omnimouse_model.predict.family import shipped_configs
from omnimouse_model.progress import QUIET, CallbackJob, Job, shows_progress
from omnimouse_model.storage.trees import Within, decode, read_yaml_mapping
from omnimouse_model.storage.write import sole_writer, write_json
from omnimouse_model.training.checkpoints import MODEL
from omnimouse_model.training.config import SessionChoice, shipped_or_own
from omnimouse_model.training.metrics_log import FILE, log_rows
from omnimouse_model.training.sessions import session_place, sessions_in

# -- Plan of a scaling study: models, collections, orders and seeds, from one YAML file
# The plan also contains a training config (`config`), shared by all model sizes.
StepsOf = Literal["each session", "the run"]
_PLANS = Path(__file__).parent / "scaling_plans"
_SOME = Within(1, 10**6)
Names = Annotated[tuple[str, ...], _SOME]
Numbers = Annotated[tuple[int, ...], _SOME]
Fields = Annotated[dict[str, Any], _SOME]
"""What YAML holds, until `config_of` checks it."""


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """Plan of a scaling study.

    Every combination of models, collections, orders and seeds is one run.

    Attributes
    ----------
    models
        Name of a size -> model, as in a training config.
    collections
        Number of sessions in each nested collection.
    sessions
        Simulated mice, sessions or folders of sessions, from which collections are
        drawn.
    evaluated
        Ids or folder names of the sessions that are scored; they are in every
        collection.
    strategies
        Conditions in which every run is scored.
    training
        A training config without seed, model and sessions.
    orders, seeds
        Seeds of the order in which sessions are drawn, and of start values and batches.
    steps_of
        "the run": a phase has the same number of steps for all collections, so all
        cost the same. "each session": the steps are multiplied by the number of
        sessions, so each session is seen equally often and larger collections cost
        more.
    tier, max_windows
        Tier and maximum number of windows that are scored; None for all windows.
    """

    models: Fields
    collections: Numbers
    sessions: Names
    evaluated: Names
    strategies: Names
    training: Fields
    orders: Numbers = (0,)
    seeds: Numbers = (0,)
    steps_of: StepsOf = "the run"
    tier: str = "test"
    max_windows: int | None = None

    def training_of(self, model: str, sessions: Sequence[str] = (), seed: int = 0) -> TrainingPlan:
        """Return the training of a size on sessions; `ValueError` names a wrong field."""
        # Steps are per session or per run.
        times = len(sessions) if sessions and self.steps_of == "each session" else 1
        plan = plan_of({**_longer(self.training, times), "seed": seed, "model": self.models[model]})
        choices = tuple(SessionChoice(place) for place in sessions)
        # Phases of a plan read all sessions of the collection.
        settings = replace(
            plan.settings, sessions=choices, places=tuple(sessions), is_replaced=True
        )
        return replace(plan, settings=settings)


def _longer(tree: Any, times: int) -> Any:
    """Return a training config of so many times its steps."""
    if isinstance(tree, list):
        return [_longer(one, times) for one in tree]
    if not isinstance(tree, Mapping):
        return tree
    counts = ("steps", "total_steps")
    return {
        key: value * times if key in counts and isinstance(value, int) else _longer(value, times)
        for key, value in tree.items()
    }


def read_plan(path: str | Path) -> StudyPlan:
    """Read the plan of a scaling study from a YAML file.

    Raises
    ------
    ValueError
        The file is not YAML, or a field is unknown, missing or wrong; the message names
        the field.
    """
    path = Path(path)
    try:
        plan = decode(StudyPlan, read_yaml_mapping(path), "the file")
        if own := {"seed", "model", "sessions"} & set(plan.training):
            raise ValueError(f"training holds {', '.join(sorted(own))}, which vary")
        # Names and models are checked here, and not after hours of training.
        for strategy in plan.strategies:
            find_strategy(strategy)
        for model in plan.models:
            plan.training_of(model)
    except ValueError as error:
        raise ValueError(
            f"{path} is not the plan of a scaling study: {error}. The shipped one is "
            f"an example: {_PLANS / 'simulated.yaml'}"
        ) from error
    return plan


def plan_path(name: str) -> Path:
    """Return the path of a shipped plan by name, or the given path.

    Raises
    ------
    ValueError
        Neither is a file; the message lists the shipped plans.
    """
    return shipped_or_own(name, shipped_configs(_PLANS), "plan of a scaling study")


# -- nested collections of training sessions, with a manifest of their contents -------
FORMAT = 1


def collections_manifest(
    catalogue: Catalogue,
    sizes: Sequence[int],
    seed: int,
    *,
    always: Sequence[str] = (),
    worth: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Draw nested collections (see `Catalogue.nested`) and return their manifest.

    The manifest lists the sessions of each collection with neurons, minutes by tier and
    by kind of stimulus, and the totals, as JSON values. It depends only on the
    arguments.
    """
    # Nested, so that a curve over sizes compares the same sessions plus more.
    drawn = catalogue.nested(sorted(sizes), seed, always=always, worth=worth)
    for smaller, larger in pairwise(drawn):
        assert {e.id for e in smaller} <= {e.id for e in larger}
    return {
        "omnimouse_collections": FORMAT,
        "seed": seed,
        "order": "drawn" if worth is None else "ranked",
        "always": list(always),
        "collections": [_collection(entries) for entries in drawn],
    }


def _collection(entries: Sequence[Entry]) -> dict[str, Any]:
    return {
        "sessions": len(entries),
        # A session without an animal id counts as an animal of its own.
        "animals": len({entry.animal_id or entry.id for entry in entries}),
        "neurons": sum(entry.neurons for entry in entries),
        "minutes": sum(entry.total_minutes for entry in entries),
        "neuron_minutes": sum(e.neurons * e.total_minutes for e in entries),
        "members": [
            {
                "id": entry.id,
                "path": str(entry.path),
                "animal": entry.animal_id,
                "neurons": entry.neurons,
                "minutes": entry.total_minutes,
                "tiers": dict(entry.minutes),
                "stimuli": dict(entry.stimulus_minutes),
            }
            for entry in entries
        ],
    }


# -- run a scaling study: train and score nested collections x model sizes x seeds ----
Member = dict[str, Any]
"""Entry of a session in the manifest of a collection."""


@dataclass(frozen=True, slots=True)
class StudyRun:
    """Model to train in a study: size, training data and seed.

    Attributes
    ----------
    plan
        Its training config, with its sessions and seed.
    members
        Entries of these sessions in the manifest.
    """

    model: str
    order: int
    plan: TrainingPlan
    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        """Name of the run's folder and of the trained model."""
        return (
            f"{self.model}, {len(self.members)} sessions, order {self.order}, "
            f"seed {self.plan.settings.seed}"
        )

    @property
    def total_steps(self) -> int:
        """Steps of the training."""
        return int(getattr(self.plan.config, "total_steps", 0))

    def key(self, condition: str) -> str:
        """Return the key of the run's row of a condition in the results."""
        # Training settings are not in the key: they are in the header of the file.
        return row_key(
            model=asdict(self.plan.config)["model"],
            sessions=[member["id"] for member in self.members],
            order=self.order,
            seed=self.plan.settings.seed,
            condition=condition,
        )


def models_folder(results: str | Path) -> Path:
    """Return the folder of a study's trained models, next to its results file."""
    path = Path(results)
    name = path.name.removesuffix(SUFFIX).removesuffix(path.suffix)
    return path.with_name(f"{name}-models")


@shows_progress
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
        catalogue = _sessions(plan, mice, job)
        evaluated = _evaluated(plan, catalogue)
        # All runs are listed first, so that a wrong plan fails before any training.
        folder = models_folder(results)
        runs = list(study_runs(plan, catalogue, evaluated, folder))
        file = ResultsFile(SCALING, Path(results), _definition(plan, evaluated))
        _check_names(file, plan, runs)
        total = sum(run.total_steps for run in runs)
        done = 0
        for run in runs:

            def report(step: int, text: str, before: int = done, name: str = run.name) -> None:
                # The defaults bind the values of this run, not those of later ones.
                job.progress(before + step, total, f"{name}: {text}")

            # Steps of finished runs count as done too, so that progress reaches the total.
            missing = [
                strategy for strategy in plan.strategies if run.key(strategy) not in file.rows
            ]
            if missing:
                work = _Work(run, folder / run.name, device, report, job)
                for row in work.rows(plan, evaluated, missing):
                    file.add(run.key(row.condition), row)
            done += run.total_steps


def study_runs(
    plan: StudyPlan, catalogue: Catalogue, evaluated: list[str], folder: Path
) -> Iterator[StudyRun]:
    """Yield all runs of a plan, one curve after the other, and write the manifests."""
    drawn = {}
    for order in plan.orders:
        manifest = collections_manifest(catalogue, plan.collections, order, always=evaluated)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"collections-{order}.json", manifest)
        drawn[order] = [tuple(collection["members"]) for collection in manifest["collections"]]
    for seed in plan.seeds:
        for order, collections in drawn.items():
            for model in plan.models:
                for members in collections:
                    places = [member["path"] for member in members]
                    yield StudyRun(model, order, plan.training_of(model, places, seed), members)


# -- runs and sessions of a plan ------------------------------------------------------
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
        sessions = [open_session(place) for place in self.run.plan.settings.places]
        run = self._trained(sessions)
        steps = self.run.total_steps
        self.report(steps, "scoring")
        predictor = load_of_family(self.out / MODEL, self.device)
        scores = evaluate(
            predictor,
            # The same sessions for all collections, so that scores are comparable.
            [session for session in sessions if session.id in evaluated],
            strategies,
            tier=plan.tier,
            max_windows=plan.max_windows,
            job=CallbackJob(lambda done, total, text: self.report(steps, text), self.job.cancelled),
        )
        refused = [score.refusal for score in scores.scores if score.refusal]
        if refused:
            raise ValueError(f"strategies: {refused[0]}")
        # By the name of the run: each has its own.
        name = f"{self.run.name}@{weights_in(predictor)}"
        return [replace(row, predictor=name) for row in run_scores(run, scores, {})]

    def _trained(self, sessions: list[Session]) -> ScalingRun:
        """Train or resume the run, and return its description."""
        self.report(0, "training")

        def progress(done: int | float, total: int | float, step: str) -> None:
            self.report(int(done), step)

        job = CallbackJob(progress, self.job.cancelled, device=self.device)
        train_plan(self.run.plan, sessions, self.out, job)
        # The core only: embeddings grow with the number of neurons, and cost few
        # operations.
        facts = describe(self.out / MODEL)[1].facts
        parameters = int(facts.get("shared parameters", facts["parameters"]))
        tokens = sum(row.get("tokens", 0.0) for row in log_rows(self.out / FILE))
        return ScalingRun(
            model=self.run.model,
            parameters=parameters,
            sessions=len(sessions),
            neuron_samples=sum(map(_neuron_samples, sessions)),
            trials=sum(map(_trials, sessions)),
            # 6 operations per parameter and token, 2 forward and 4 backward (Kaplan et
            # al., 2020).
            compute=6.0 * parameters * tokens,
            seed=self.run.plan.settings.seed,
            order=f"random {self.run.order}",
        )


def _neuron_samples(session: Session) -> int:
    """Return the number of neurons times samples of the train tier."""
    # tiers() gives minutes.
    seconds = 60.0 * session.tiers().get("train", 0.0)
    return session.n_neurons * round(seconds * session.responses.rate_hz)


def _trials(session: Session) -> int:
    """Return the number of trials of the train tier."""
    return int((session.trials.tier == "train").sum())
