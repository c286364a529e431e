"""Shards of an evaluation, some predictors on the windows of one session, and their merging.

The windows are divided into batches that are drawn at random, with a fixed seed, from
blocks of time in turn, and are added in this order. The first batches are therefore a
sample of the whole tier, which a live score can show, and a live score over all windows
has the bits of an evaluation.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, product

import numpy as np

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.evaluation.conditions import (
    Condition,
    Grouping,
    StimulusGroups,
    Strategies,
    conditions,
)
from omnimouse_model.evaluation.repeats import KINDS, RepeatedClip, repeated_clips
from omnimouse_model.evaluation.results import BehaviorScore, Score, Scores
from omnimouse_model.evaluation.running_score import RunningScore
from omnimouse_model.evaluation.tier_windows import (
    mean_rates,
    null_rates,
    scored_starts,
    spread_starts,
    tier_starts,
    validation_starts,
)
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.masks.selection import NeuronGroup
from omnimouse_model.metrics import named_metric
from omnimouse_model.metrics.time_blocks import MAX_BLOCKS, in_turns, time_blocks
from omnimouse_model.predict.predictor import Prediction, Predictor, of_family, predictions_of
from omnimouse_model.progress import QUIET, Job
from omnimouse_model.storage.arrays.rows import ArrayFile, MemoryRows

BATCH = 8
"""Number of windows in a batch, all of which are in memory."""
TRAIN_WINDOWS = 16
"""Number of windows of the train tier that give the mean prediction of a neuron."""
Windows = Sequence[tuple[Window, int]]
"""Windows with the number of their block of time."""


def centring_starts(session: Session, spec: WindowSpec) -> np.ndarray:
    """Return the starts (n,) of the train windows that centred scores need."""
    return spread_starts(tier_starts(session, "train", spec), TRAIN_WINDOWS)


def n_centring(session: Session, spec: WindowSpec, metric: str, *, is_centred: bool) -> int:
    """Return the number of train windows that the scores of a condition predict, too."""
    needs_means = is_centred and metric == "correlation"
    return len(centring_starts(session, spec)) if needs_means else 0


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """Some predictors in some conditions on windows of one session.

    Attributes
    ----------
    tier, starts
        Tier of the windows, and their starts (n,) in s on the session clock.
    neurons, by, metric, centred
        As in `evaluate`.
    ceiling
        Whether the ceilings of simulated sessions are computed.
    span
        Windows whose seconds all predictors share, whatever their own are; None to score
        each in windows of its own.
    """

    predictors: tuple[Predictor, ...]
    session: Session
    conditions: tuple[Condition, ...]
    tier: str
    starts: np.ndarray
    neurons: np.ndarray | None = None
    by: Grouping | None = None
    metric: str = "correlation"
    centred: bool = False
    ceiling: bool = True
    span: WindowSpec | None = None

    @property
    def spec(self) -> WindowSpec:
        """Spec of the windows, which all predictors of the shard read."""
        return self.predictors[0].needs.spec

    @property
    def n_predictions(self) -> int:
        """Number of windows, also of those of the train tier, × conditions × predictors."""
        n_train = n_centring(self.session, self.spec, self.metric, is_centred=self.centred)
        n_windows = len(self.starts) + n_train
        return n_windows * len(self.conditions) * len(self.predictors)

    def batches(self) -> list[np.ndarray]:
        """Return the places in `starts` of the windows of each batch, ascending."""
        n = len(self.starts)
        # Repeats of a stimulus keep the first prediction of a sample, in time.
        is_random = named_metric(self.metric).needs != "repeats"
        order = np.arange(n)
        if is_random:
            blocks = time_blocks(self.starts, self.spec.duration_s)
            order = in_turns(np.random.default_rng(0).permutation(n), blocks)
        return [np.sort(order[k : k + BATCH]) for k in range(0, n, BATCH)]


@dataclass(slots=True)
class ShardRun:
    """Progress of one evaluation, and whether the user has cancelled it.

    The unit of `total` and `done` is windows x conditions x predictors.
    """

    total: int
    job: Job
    done: int = 0

    def report(self, step: str, n_begun: int = 0) -> None:
        """Report progress, or raise `StoppedError`.

        `n_begun` predictions are of a batch that is not finished.
        """
        if self.job.cancelled():
            raise StoppedError("The evaluation was cancelled.")
        self.job.progress(self.done + n_begun, self.total, step)


@dataclass(slots=True, eq=False)
class ShardScores:
    """Running scores of a shard, to which batches of windows are added.

    Attributes
    ----------
    running
        One score for each condition and predictor.
    batches
        See `Shard.batches`.
    added
        Batch and group of running scores of the predictions that were added.
    is_whole
        False after an error, Ctrl-C included, while predictions were added: the sums
        have a part of a batch, and are of no use.
    """

    shard: Shard
    run: ShardRun
    running: list[RunningScore] = field(init=False)
    batches: list[np.ndarray] = field(init=False, repr=False)
    added: set[tuple[int, int]] = field(default_factory=set, repr=False)
    is_whole: bool = True
    _centred: set[tuple[int, int]] = field(init=False, default_factory=set)
    _trained: list[list[RunningScore]] = field(init=False, default_factory=list)
    _blocks: np.ndarray = field(init=False, repr=False)
    _groups: list[list[RunningScore]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shard, session = self.shard, self.shard.session
        self.batches = shard.batches()
        self._blocks = time_blocks(shard.starts, shard.spec.duration_s)
        # By identity, because predictors need not be hashable.
        refusals = {id(p): "" for p in shard.predictors}
        masks = [condition.mask(session) for condition in shard.conditions]
        # By time where the seconds are shared: official masks keep their name and guard.
        fitting = Mask.at if shard.span else Mask.stretched
        masks = [fitting(mask, shard.spec) for mask in masks]
        decodes = bool(session.behavior_names)
        # A predictor is not fitted, which can take minutes, where nothing is scored.
        if any(scored_cells(m).any() or (decodes and m.has_behavior_target) for m in masks):
            for predictor in shard.predictors:
                self.run.report(f"{session.id}: preparing {predictor.predictor_id}")
                try:
                    with of_family(predictor.predictor_id, self.run.job.cancelled):
                        predictor.prepare(session)
                except UnsupportedRequestError as error:
                    refusals[id(predictor)] = str(error)
        self.running = _running_scores(shard, masks, refusals)
        # Conditions with the same predictor and mask share one prediction.
        groups: dict[tuple[int, str], list[RunningScore]] = {}
        for score in self.running:
            key = (id(score.predictor), score.mask.mask_id)
            groups.setdefault(key, []).append(score)
        # By identity, so that a shared ceiling adds each window once.
        ceilings = {id(s.ceiling): s.ceiling for s in self.running if s.ceiling}
        if ceilings:
            _read_truth(session, ceilings.values())
        self._groups = [*groups.values(), *([ceiling] for ceiling in ceilings.values())]

    def add(self, number: int) -> None:
        """Predict a batch of windows and add it to all scores.

        A batch that was stopped can be added again: what was added of it is left out.

        Raises
        ------
        StoppedError
            The evaluation was cancelled.
        """
        session, places, run = self.shard.session, self.batches[number], self.run
        windows = [
            (session.window(float(start), self.shard.spec), block)
            for start, block in zip(
                self.shard.starts[places], self._blocks[places].tolist(), strict=True
            )
        ]
        for group, windows_of, done, key, what in self._missing(number, windows):
            first, predictor = group[0], group[0].predictor
            step = f"{session.id}: {first.condition.name}, {what}"
            # The known truth needs no time: nobody waits for it, and no stop loses it.
            is_known = predictor is None
            n_counted, report = (0, lambda *_: None) if is_known else (len(group), run.report)
            report(step)
            # One prediction serves all scores, so it contains the union of their neurons.
            neurons = np.unique(np.concatenate([score.neurons for score in group]))
            decodes = first.mask.has_behavior_target and bool(session.behavior_names)
            is_asked = len(neurons) or (not is_known and decodes)
            asked = windows_of if is_asked and not first.refusal else []
            requests = ((window, first.mask, neurons) for window, _ in asked)
            found: list[Prediction] = []
            try:
                for prediction in (
                    _expected(first, asked)
                    if predictor is None
                    else predictions_of(predictor, requests, run.job.cancelled)
                ):
                    found.append(prediction)
                    report(step, len(found) * n_counted)
                self.is_whole = False
                for score, ((window, block), prediction) in product(
                    group, zip(asked, found, strict=True)
                ):
                    score.add(window, prediction, block)
                for score in group:
                    score.n_windows += len(asked)
            except UnsupportedRequestError as error:
                for score in group:
                    score.refusal = str(error)
            self.is_whole = True
            run.done += len(windows_of) * n_counted
            done.add(key)

    def _missing(
        self, number: int, windows: Windows
    ) -> Iterator[tuple[list[RunningScore], Windows, set[tuple[int, int]], tuple[int, int], str]]:
        """Yield groups of scores, windows, what was done before, its new key, and a name.

        First those of the train tier, which set the centres of all scores, then those of
        a batch.
        """
        session, spec = self.shard.session, self.shard.spec
        is_centred = self.shard.centred and self.shard.metric == "correlation"
        starts = centring_starts(session, spec).tolist() if is_centred and not self.added else []
        if starts:
            # A block for each window: they show how much the mean varies.
            trained = [(session.window(s, spec), k) for k, s in enumerate(starts)]
            self._trained = self._trained or [
                [score.without_samples() for score in group] for group in self._groups
            ]
            # In batches, as the windows that are scored: all groups share their video. Goes
            # on after a stop: live curves have many groups, and strokes come often.
            for first in range(0, len(trained), BATCH):
                for place, group in enumerate(self._trained):
                    if (key := (first, place)) not in self._centred:
                        batch = trained[first : first + BATCH]
                        yield group, batch, self._centred, key, "train windows"
            for score, part in zip(chain(*self._groups), chain(*self._trained), strict=True):
                # All train windows, or none: a few would give other means.
                if part.blocks.blocks and not part.refusal:
                    means = mean_rates(session, spec)[score.neurons]
                    score.centres = part.blocks.centres(means)
            self._trained.clear()  # the centres have what is needed of them
        for place, group in enumerate(self._groups):
            if (key := (number, place)) not in self.added:
                yield group, windows, self.added, key, group[0].name

    @property
    def n_bytes(self) -> int:
        """Largest memory of the sums."""
        # float64 arrays: seven in each block of time, two for each train window.
        n_arrays = 7 * MAX_BLOCKS + 2 * TRAIN_WINDOWS
        return 8 * n_arrays * sum(len(score.neurons) for score in self.running)


def _running_scores(
    shard: Shard, masks: Sequence[Mask], refusals: dict[int, str]
) -> list[RunningScore]:
    """Return an empty score for each condition and predictor of a shard.

    `refusals` of predictors are by their `id`.
    """
    session, spec = shard.session, shard.spec
    metric = named_metric(shard.metric)
    null: np.ndarray | None = None
    clips: tuple[RepeatedClip, ...] = ()
    try:
        if metric.needs == "counts":
            null = null_rates(session, spec)
        if metric.needs == "repeats" and not (clips := repeated_clips(session, KINDS)):
            raise UnsupportedRequestError(
                f"{metric.name} needs repeats of a stimulus; session {session.id!r} has none."
            )
    except UnsupportedRequestError as error:
        refusals = dict.fromkeys(refusals, str(error))
    groups = None if shard.by is None else StimulusGroups.of(session, shard.by)
    # The exact means of a simulated mouse are stored at the rate of its responses.
    is_stored = spec.response_rate_hz == session.responses.rate_hz
    has_ceiling = shard.ceiling and spec.responses == "trace" and is_stored
    if has_ceiling:
        from omnimouse_model.simulate.truth import has_truth

        has_ceiling = has_truth(session.path)
    running: list[RunningScore] = []
    for condition, mask in zip(shard.conditions, masks, strict=True):
        cells = _scored_cells(mask, condition, session, shard.neurons)
        empty = partial(
            RunningScore, session, condition, mask, cells, metric=metric, null=null, clips=clips
        )
        # Predictors share one ceiling per condition: it depends on the cells only.
        ceiling = empty("ceiling", None) if has_ceiling else None
        running += [
            empty(
                predictor.predictor_id,
                predictor,
                refusal=refusals[id(predictor)] or _without_video(shard, predictor, mask),
                ceiling=ceiling,
                groups=groups,
            )
            for predictor in shard.predictors
        ]
    return running


def _without_video(shard: Shard, predictor: Predictor, mask: Mask) -> str:
    """Return why a predictor is not compared over a span under a mask, "" if it is."""
    is_compared = shard.span is not None and bool(mask.target.any())
    if not is_compared or mask.frames.any() or not predictor.needs.always_sees_video:
        return ""
    return f"{predictor.predictor_id!r} always saw video in its training; this task hides it."


def _scored_cells(
    mask: Mask, condition: Condition, session: Session, neurons: np.ndarray | None
) -> np.ndarray:
    """Return the target cells of the scored neurons, bool (n_samples, P)."""
    cells = scored_cells(mask)
    selections = [neurons] if neurons is not None else []
    if condition.neurons is not None:
        selections.append(condition.neurons(session))
    for selection in selections:
        is_selected = np.zeros(mask.n_neurons, bool)
        is_selected[selection] = True
        cells = cells & is_selected
    return cells


def _read_truth(session: Session, ceilings: Iterable[RunningScore]) -> None:
    """Set what is expected in a simulated session under the mask of each ceiling."""
    # Imported here: only simulated sessions need the simulator.
    from omnimouse_model.simulate.simulation import Given, conditional_mean
    from omnimouse_model.simulate.truth import open_truth

    # Conditions that show the same share the expected responses of the session.
    known: dict[Given, ArrayFile | MemoryRows] = {}
    for ceiling in ceilings:
        is_visible = np.asarray(ceiling.mask.visible.any(axis=0))
        sees_responses = bool(is_visible.any())
        given = Given(
            # Visible responses inform about the stimulus and behaviour as well.
            video=sees_responses or bool(ceiling.mask.frames.any()),
            behavior=sees_responses or ceiling.mask.has_visible_behavior,
            shared=sees_responses,
            private=bool(is_visible[ceiling.neurons].any()),
        )
        if given not in known:
            known[given] = conditional_mean(session.path, open_truth(session.path), given)
        ceiling.expected = known[given]


def _expected(ceiling: RunningScore, windows: Windows) -> Iterator[Prediction]:
    """Yield expected responses, in raw response units, as if they were predictions."""
    assert ceiling.expected is not None  # a score without a predictor is a ceiling
    session, neurons = ceiling.session, ceiling.neurons
    scale = session.response_scale[neurons]
    for window, _ in windows:
        rows = session.responses.index(window.times("responses"))
        # One row index per neuron if neurons are sampled at different phases.
        rows = rows[:, neurons] if rows.ndim == 2 else rows[:, None]
        first = int(rows.min())
        near = ceiling.expected.read(first, int(rows.max()) + 1)
        rates = np.nan_to_num(near[rows - first, neurons] / scale)
        yield Prediction(rates, neurons, None, ceiling.mask.mask_id, ceiling.name)


# -- evaluation of open sessions: shards computed here, and merged --------------------
def metric_of(predictors: Sequence[Predictor], metric: str | None) -> str:
    """Return the name of a metric: by default that of the first predictor's spec.

    Raises
    ------
    ValueError
        The metric is unknown, or `evaluate` cannot compute it.
    """
    default = predictors[0].needs.spec.metric if predictors else "correlation"
    return named_metric(metric or default).name


def by_spec(predictors: Sequence[Predictor]) -> dict[WindowSpec, list[Predictor]]:
    """Return groups of predictors that read the same windows, by their first member."""
    groups: dict[WindowSpec, list[Predictor]] = {}
    for predictor in predictors:
        groups.setdefault(predictor.needs.spec, []).append(predictor)
    return groups


def shard_scores(shards: Sequence[Shard], job: Job = QUIET) -> Iterator[Scores]:
    """Yield the scores of each shard, computed in this process.

    Raises
    ------
    StoppedError
        `job.cancelled()` returned true.
    """
    run = ShardRun(sum(shard.n_predictions for shard in shards), job)
    for shard in shards:
        run.report(f"{shard.session.id}: preparing")
        scores = ShardScores(shard, run)
        for batch in range(len(scores.batches)):
            scores.add(batch)
        yield Scores(
            tuple(score for one in scores.running for score in one.scores()),
            tuple(score for one in scores.running for score in one.behavior_scores()),
            shard.tier,
            shard.metric,
        )


def merge_scores(parts: Sequence[Scores], shards: Sequence[Shard], tier: str) -> Scores:
    """Return scores of shards in the order of sessions, conditions and predictors."""
    sessions = {id_: n for n, id_ in enumerate(s.session.id for s in shards)}
    names = {c.name: n for shard in shards for n, c in enumerate(shard.conditions)}

    def place(row: Score | BehaviorScore) -> tuple[int, int]:
        return sessions[row.session], names[row.strategy]

    return Scores(
        tuple(sorted((row for part in parts for row in part.scores), key=place)),
        tuple(sorted((row for part in parts for row in part.behavior), key=place)),
        tier,
        shards[0].metric if shards else "correlation",
        {shard.session.id: shard.session.units for shard in shards},
    )


def evaluate_predictors(
    predictors: Sequence[Predictor],
    sessions: Sequence[Session],
    strategies: Strategies,
    *,
    tier: str = "test",
    starts: np.ndarray | None = None,
    neurons: np.ndarray | None = None,
    max_windows: int | None = None,
    by: Grouping | None = None,
    metric: str | None = None,
    centred: bool = True,
    job: Job = QUIET,
) -> Scores:
    """Score predictors on held-out windows of open sessions; see `om.evaluate`."""
    metric = metric_of(predictors, metric)
    scored = conditions(strategies)
    shards = []
    for session in sessions:
        if neurons is not None:
            NeuronGroup.of(session, "neurons", neurons)  # refuses what is no index
        for spec, group in by_spec(predictors).items():
            windows = starts
            if windows is None:
                windows = scored_starts(session, tier, max_windows, spec)
            shards.append(
                Shard(tuple(group), session, scored, tier, windows, neurons, by, metric, centred)
            )
    return merge_scores(list(shard_scores(shards, job)), shards, tier)


def validation_results(
    predictor: Predictor,
    sources: Iterable[tuple[Session, np.ndarray]],
    condition: Condition,
    max_windows: int | None,
    *,
    centred: bool = True,
) -> Iterator[Scores]:
    """Yield the scores that choose weights, for each session that has windows for it.

    Sessions have their held-out windows beside them, see `validation_starts`.
    """
    for session, held_out in sources:
        starts = validation_starts(session, held_out, predictor.needs.spec, max_windows)
        if len(starts):
            yield evaluate_predictors(
                [predictor], [session], [condition], starts=starts, centred=centred
            )
