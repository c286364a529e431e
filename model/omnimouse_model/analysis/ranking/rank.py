"""Rank pretraining sessions by transfer, curves over their number, and models for both.

Source: Jiang et al. 2025, section 4.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from omnimouse_model.analysis.evaluate import Sessions, listed_sessions
from omnimouse_model.analysis.fit import is_finished, train_plan, transferred
from omnimouse_model.analysis.ranking.core_runs import (
    CoreRun,
    Criterion,
    Factory,
    Study,
    criterion_of,
    run_scores,
)
from omnimouse_model.analysis.ranking.curve_table import (
    ORDERS,
    SHUFFLES,
    OrderName,
    PretrainCurve,
    clipped_sizes,
    curve_from_scores,
    curve_plans,
)
from omnimouse_model.analysis.ranking.rank_table import TEST, VALIDATION, RankTable, open_results
from omnimouse_model.data.recording import copies
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.evaluation.tier_windows import tier_starts
from omnimouse_model.inference.families import TrainingPlan, families, load_of_family, training_plan
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import CallbackJob, Job, shown_job
from omnimouse_model.storage.trees import decode_json
from omnimouse_model.storage.write import write_json
from omnimouse_model.training.config import ADDED, SHARED

SEEDS = (0, 1, 2)
FORWARD = "forward"


def rank_sessions(
    factory: Factory,
    sessions: Sessions,
    heldout: Sessions,
    metric: str | Criterion = FORWARD,
    *,
    seeds: Sequence[int] = SEEDS,
    results: str | Path | None = None,
    scheduler: str | None = None,
    job: Job | None = None,
) -> RankTable:
    """Rank sessions by how useful their models are for held-out sessions.

    Examples
    --------
    >>> factory = om.model_factory("smoke", transfer_steps=20)
    >>> om.rank_sessions(factory, [session], [session], "test/all_response_only")
    Traceback (most recent call last):
    ValueError: 90009-1-1: listed twice. A held-out session must not be among the \
pretraining sessions, and each session needs an id of its own.

    Notes
    -----
    One model is trained on each session and seed. Its frozen core is transferred to
    each held-out session on the train tier, and scored on the validation tier. No test
    tier can be read meanwhile (`tier_guard.without_test`).

    Parameters
    ----------
    factory
        Trains and transfers models of one family, see `om.model_factory`.
    sessions, heldout
        Pretraining sessions and held-out sessions: open ones, names, paths.
    metric
        Task by which they are ranked: "forward" and others of `TaskScore` for neural
        data transformers, the name of a strategy for any family; or a `Criterion`.
    seeds
        Seeds of the trainings; scores are averaged over them before the ranking.
    results
        File for finished scores, `X.ranking.jsonl`; trained models are kept in a folder
        beside it. Scores in the file are not computed again. By default in the cache.
    scheduler
        Compute on workers of a Dask scheduler that see the same files; see
        `dask_map.map_pieces`.
    job
        Progress and stop request; see `progress.Job`.

    Raises
    ------
    ValueError
        A session is listed twice, also as a copy under another name, or lacks a tier.
    StoppedError
        `job.cancelled()` returned true; finished scores are in `results`.
    """
    pretraining, targets = listed_sessions(sessions), listed_sessions(heldout)
    check_sessions(pretraining, targets, factory, VALIDATION)
    criterion = criterion_of(metric, factory.spec)
    study = Study(factory, criterion, VALIDATION)
    runs = [
        CoreRun(study, (session,), tuple(targets), seed)
        for seed in seeds
        for session in pretraining
    ]
    with shown_job(job) as shown:
        found = run_scores(runs, open_results(results), scheduler, shown)
    ids, names = ([session.id for session in part] for part in (pretraining, targets))
    return RankTable.of(found, ids, names, seeds)


def check_sessions(
    sessions: Sequence[Session], heldout: Sequence[Session], factory: Factory, tier: str
) -> None:
    """Check sessions before hours of training.

    Raises
    ------
    ValueError
        There are none, one is listed twice, or is a copy of another, or lacks a tier.
    """
    if not sessions or not heldout:
        raise ValueError("Give one or more sessions, and one or more held-out sessions.")
    ids = [session.id for session in (*sessions, *heldout)]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise ValueError(
            f"{', '.join(twice)}: listed twice. A held-out session must not be among "
            "the pretraining sessions, and each session needs an id of its own."
        )
    if same := copies([*sessions, *heldout]):
        raise ValueError(
            f"{', '.join(f'{copy} is a copy of {first}' for copy, first in same)}: the same "
            "recording under another name is no second recording. Leave it out."
        )
    needed = [(session, "train") for session in (*sessions, *heldout)]
    for session, name in (*needed, *((session, tier) for session in heldout)):
        if not len(tier_starts(session, name, factory.spec)):
            raise ValueError(
                f"Session {session.id!r} has no window of tier {name!r}; its tiers are "
                f"{', '.join(session.tiers()) or 'none'}."
            )


# -- Pretrain on the first k sessions of an order, transfer, and score on the test tier
# Source: Jiang et al. 2025, section 4.
def pretrain_curve(
    factory: Factory,
    ranking: RankTable,
    sessions: Sessions,
    heldout: Sessions,
    metric: str | Criterion = FORWARD,
    *,
    ks: Sequence[int] | None = None,
    orders: Sequence[OrderName] = ORDERS,
    shuffles: int = SHUFFLES,
    seeds: Sequence[int] = SEEDS,
    results: str | Path | None = None,
    scheduler: str | None = None,
    job: Job | None = None,
) -> PretrainCurve:
    """Score models that are pretrained on more and more sessions.

    Examples
    --------
    >>> from omnimouse_model.analysis.ranking.rank_table import RankTable
    >>> score = np.full((1, 1, 1), 0.3)
    >>> ranking = RankTable(("a",), ("new",), (0,), score, (8,), "forward", "bits")
    >>> om.pretrain_curve(om.model_factory("ndt-forecast"), ranking, [], [])
    Traceback (most recent call last):
    ValueError: Give one or more sessions, and one or more held-out sessions.

    Notes
    -----
    For each held-out session, sessions are added in the order of the ranking, in its
    reverse and in random orders. Each frozen core is transferred to the held-out
    session and scored on its test tier, beside a baseline that is trained from scratch
    on that session.

    Parameters
    ----------
    ranking
        Result of `rank_sessions` for the same sessions.
    ks
        Numbers of sessions: by default 1, 2, 3, 4, 5, 10, 20, 30, 40 and all. Larger
        ones than there are sessions mean all.
    orders, shuffles
        Orders, and the number of random ones.

    Other parameters and errors are those of `rank_sessions`.

    Raises
    ------
    ValueError
        The ranking is one of other sessions.
    """
    pretraining, targets = listed_sessions(sessions), listed_sessions(heldout)
    check_sessions(pretraining, targets, factory, TEST)
    by_id = {session.id: session for session in pretraining}
    of_id = {target.id: target for target in targets}
    if other := {*by_id, *of_id} ^ {*ranking.sessions, *ranking.heldout}:
        raise ValueError(
            f"The ranking is one of other recordings: {', '.join(sorted(other))} differ."
        )
    criterion = criterion_of(metric, factory.spec)
    study = Study(factory, criterion, TEST)
    plans = curve_plans(ranking, clipped_sizes(ks, len(pretraining)), orders, shuffles)
    # A core of the same sessions serves all held-out sessions and orders.
    wanted: dict[tuple[str, ...], list[str]] = {}
    for name, _, _, ids in plans:
        members = wanted.setdefault(tuple(sorted(ids)), [])
        if name not in members:
            members.append(name)
    runs = [CoreRun(study, (), (target,), seed) for seed in seeds for target in targets]
    runs += [
        CoreRun(study, tuple(by_id[i] for i in ids), tuple(of_id[n] for n in names), seed)
        for seed in seeds
        for ids, names in wanted.items()
    ]
    with shown_job(job) as shown:
        found = run_scores(runs, open_results(results), scheduler, shown)
    return curve_from_scores(plans, found, ranking, seeds)


# -- models of any family from one config: training on sessions, transfer to others ---
# This is what a ranking of sessions (`om.rank_sessions`) needs of a family.
TRAINED = "trained.json"
"""File in the folder of a training that is complete."""


@dataclass(frozen=True, slots=True)
class ModelFactory:
    """Trains models of one config, and transfers their frozen cores (`Factory`).

    Attributes
    ----------
    plan
        Config of a family; its seed and sessions are not used. One that counts epochs
        trains longer on more sessions, one that counts steps equally long.
    transfer_settings
        Options of a transfer, which is a fine-tuning of the parameters of the session
        (`om.finetune`).
    device
        Where models are trained.
    """

    plan: TrainingPlan
    transfer_settings: Mapping[str, Any]
    device: str = "auto"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Family and config, as JSON values; with defaults, which may change."""
        config, values = self.plan.config, dict(self.plan.settings.tree)
        if is_dataclass(config) and not isinstance(config, type):
            unchanged = {
                one.name
                for one in fields(config)
                if one.metadata == ADDED and getattr(config, one.name) == one.default
            }
            left_out = unchanged.union(SHARED)
            values = {k: v for k, v in asdict(config).items() if k not in left_out}
        # Scores of earlier versions have the name of the class, where a family has its own.
        kind = type(config)
        family = kind.__name__ if self.plan.family in kind.__module__.split(".") else ""
        # Tuples become lists, as in a file.
        text = json.dumps(values, default=str)
        return {"family": family or self.plan.family, "config": decode_json(text, "the config")}

    @property
    def spec(self) -> WindowSpec:
        """Windows of the models."""
        return self.plan.spec

    def pretrain(self, sessions: Sequence[Session], seed: int, out: Path, job: Job) -> Predictor:
        """Train a model on sessions, or resume, and return its best weights."""
        if (out / TRAINED).exists():
            return load_of_family(out, self.device)
        settings = replace(self.plan.settings, seed=seed, sessions=(), is_replaced=True)
        job = CallbackJob(job.progress, job.cancelled, job.message, self.device)
        trained = train_plan(replace(self.plan, settings=settings), sessions, out, job)
        write_json(out / TRAINED, {"sessions": [s.id for s in sessions], "seed": seed})
        return trained

    def transfer(
        self, model: Predictor, session: Session, seed: int, out: Path, job: Job
    ) -> Predictor:
        """Fit the parts of a new session on the frozen core of a model."""
        # A fine-tuning that is called again writes its result anew, which can take minutes.
        if is_finished(out):
            return load_of_family(out, self.device)
        options: dict[str, Any] = dict(self.transfer_settings)
        if "seed" in _options(self.plan.family):
            options["seed"] = seed
        return transferred(model, session, out, self.device, lambda step, row: None, job, options)


def model_factory(
    config: str | Path,
    *,
    transfer_steps: int | None = None,
    transfer_batch: int | None = None,
    device: str = "auto",
) -> ModelFactory:
    """Return a factory of models of one config, for `rank_sessions`.

    Examples
    --------
    >>> factory = om.model_factory("ndt-jiang", transfer_steps=100)
    >>> factory.spec.n_samples, factory.spec.metric
    (150, 'bits_per_spike')

    Parameters
    ----------
    config
        Name of a shipped config, or a YAML file. For neural data transformers,
        `schemes: [causal]` trains forward prediction alone, as in the paper's ranking.
    transfer_steps, transfer_batch
        Steps and windows per step of a transfer; by default those of the family.
    device
        See `ModelFactory`.

    Raises
    ------
    ValueError
        There is no such config, its family has no transfer, or a field is wrong; the
        message names it. `targets` must be "responses": sessions of a ranking come
        without ground truth.
    """
    plan = training_plan(config)
    _check_targets(plan.settings.tree)
    known = _options(plan.family)
    wanted = {"steps": transfer_steps, "batch": transfer_batch}
    if unknown := [name for name, value in wanted.items() if value and name not in known]:
        raise ValueError(f"A transfer of {plan.family} has no option {', '.join(unknown)}.")
    settings = {k: known[k] if v is None else v for k, v in wanted.items() if k in known}
    return ModelFactory(plan, settings, device)


def _options(family: str) -> Mapping[str, Any]:
    """Return the options of a family's transfer, with their defaults."""
    transfer = families()[family].transfer
    if transfer is None:
        raise ValueError(f"{families()[family].title} has no transfer, which a ranking needs.")
    options = transfer.options()
    return {one.name: getattr(options, one.name) for one in fields(options)}


def _check_targets(tree: Mapping[str, Any]) -> None:
    """Refuse a config that trains on the rates of a simulator (`ValueError`)."""
    for name, value in tree.items():
        inner = value if isinstance(value, list) else [value]
        for part in inner:
            if isinstance(part, Mapping):
                _check_targets(part)
        if name == "targets" and value == "truth":
            raise ValueError(
                "targets is 'truth'; expected 'responses', since a ranking trains on what "
                "was recorded."
            )
