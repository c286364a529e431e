"""The tasks of the OmniMouse paper on any recording: predictors side by side, and their cost.

All rows share start and scored span in seconds, neurons and tier, whatever the windows of
the models are; a row that does not is refused. This module draws nothing. Published scores
are of other recordings and stand apart; see `PRINTED`. The file is long because which rows
can be compared, and with what, decides how every cell of the table is read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from omnimouse_model.analysis.evaluate import Model, Sessions, evaluate_all, listed_sessions
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec, default_spec
from omnimouse_model.display import HasSummary
from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.evaluation.conditions import Condition, Strategies, conditions
from omnimouse_model.evaluation.published import (
    BEHAVIOR,
    COLUMNS,
    DECODING,
    PRINTED,
    STRATEGIES,
    TASKS,
    PaperRow,
)
from omnimouse_model.evaluation.results import (
    BehaviorScore,
    Score,
    Scores,
    SessionPart,
    interval_row,
    number_or_none,
    over_sessions,
)
from omnimouse_model.evaluation.tier_windows import shared_starts
from omnimouse_model.inference.families import (
    config_of_run,
    describe,
    family_of_predictor,
    source_of_predictor,
    weights_in,
)
from omnimouse_model.inference.registry import resolve_predictor
from omnimouse_model.metrics import behavior_groups
from omnimouse_model.metrics.time_blocks import CORRELATION_LIMITS, Estimate, jackknife
from omnimouse_model.predict.checkpoint_file import FINISHED, TRAINED, checkpoint_file, read_about
from omnimouse_model.predict.compatibility import over_span
from omnimouse_model.predict.predictor import NOT_DECODED, Predictor, of_family
from omnimouse_model.progress import Job, shown_job, stop_if
from omnimouse_model.training.metrics_log import FILE, log_rows

NaN = float("nan")
_CHANNELS = ("pupil_x", "pupil_y", "pupil_size", "pupil_dsize", "running")
_GAIN_LIMITS = (-2.0, 2.0)
"""Of a difference of correlations."""
_TIMED = 9
"""Windows whose answers are timed, after a first one that is not."""


# -- the table -------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class PaperCell:
    """One task of one predictor, over all sessions; NaN where it was refused.

    Attributes
    ----------
    centred, pooled
        *The* score and the published definition, each with its 95 % interval. Decoded
        behaviour has no centred form.
    gain, baseline
        Paired difference of the score from that predictor, on the same windows: from
        `PaperTable.baseline`, or from the first that answers where that one is refused.
    published
        The paper's row of this kind of model, whose pooled value is of other recordings.
    """

    column: str
    strategy: str
    predictor: str
    centred: Estimate
    pooled: Estimate
    gain: Estimate
    n_windows: int
    n_neurons: int
    baseline: str = ""
    published: PaperRow | None = None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class PaperCost:
    """Size and time of a predictor.

    Attributes
    ----------
    parameters, training_minutes
        None where they are not recorded.
    answer_ms
        Time of each measured answer: the whole population in one window.
    strategy
        What was asked, "" without an answer.
    kind
        The paper's row of this kind of model, "" if it has none.
    label
        Name in tables of weights in the folder of a run, which are named alike in all
        families: config or family, and the hash. "" for other predictors.
    """

    parameters: int | None = None
    training_minutes: float | None = None
    answer_ms: tuple[float, ...] = ()
    strategy: str = ""
    kind: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class PaperTable(HasSummary, Sequence[PaperRow]):
    """Predictors in the paper's tasks; as a sequence, one `PaperRow` for each predictor.

    Attributes
    ----------
    scores
        All scores; rows that do not share windows and neurons are refused.
    costs
        Predictor -> size and time; empty for a table of finished scores.
    baseline
        Predictor of the paired differences, "" if there is one predictor only.
    """

    scores: Scores
    costs: Mapping[str, PaperCost] = field(default_factory=dict)
    baseline: str = ""

    @property
    def predictors(self) -> tuple[str, ...]:
        """Predictors in order of appearance; one may have scores of behaviour only."""
        return tuple(dict.fromkeys(score.predictor for score in self._listed))

    @property
    def _listed(self) -> "list[Score | BehaviorScore]":
        return [*self.scores.scores, *self.scores.behavior]

    def __len__(self) -> int:
        """Return the number of predictors."""
        return len(self.predictors)

    def __getitem__(self, place: Any) -> Any:  # of a number or a slice, as in a tuple
        """Return one row of pooled values, or several."""
        return tuple(map(self._row, self.predictors))[place]

    def _row(self, predictor: str) -> PaperRow:
        values = {column: self.cell(column, predictor).pooled.value for column in COLUMNS}
        sessions = dict.fromkeys(score.session for score in self._listed)
        title = self.label(predictor)
        return PaperRow(title, values, "measured", len(sessions), ", ".join(sessions))

    def label(self, predictor: str) -> str:
        """Return the name of a predictor in tables."""
        return (self.costs[predictor].label if predictor in self.costs else "") or predictor

    def cells(self) -> Iterator[PaperCell]:
        """Yield the cells of each column with any score, for each predictor in it."""
        for column in COLUMNS:
            found = [self.cell(column, name) for name in self.predictors]
            if any(np.isfinite(cell.pooled.value) or cell.refusal for cell in found):
                yield from found

    def cell(self, column: str, predictor: str) -> PaperCell:
        """Return a cell; NaN for a task that was not evaluated."""
        if column in BEHAVIOR:
            return self._behavior_cell(column, predictor)
        strategy = TASKS[column]
        own = self._responses(strategy, predictor)

        def centred(name: str) -> list[SessionPart]:
            return [_part(score, is_pooled=False) for score in self._responses(strategy, name)]

        gain, base = self._gain(predictor, centred)
        return PaperCell(
            column,
            strategy,
            predictor,
            _estimate(centred(predictor)),
            _estimate([_part(score, is_pooled=True) for score in own]),
            gain,
            sum(score.n_windows for score in own),
            sum(score.n_neurons for score in own),
            base,
            self._published(column, predictor),
            next((score.refusal for score in own if score.refusal), ""),
        )

    def _behavior_cell(self, column: str, predictor: str) -> PaperCell:
        decoded = partial(self._decoded, BEHAVIOR[column])
        gain, base = self._gain(predictor, decoded)
        rows = [
            s for s in self.scores.behavior if (s.strategy, s.predictor) == (DECODING, predictor)
        ]
        return PaperCell(
            column,
            DECODING,
            predictor,
            jackknife(NaN, []),
            _estimate(decoded(predictor)),
            gain,
            sum({row.session: row.n_windows for row in rows}.values()),
            0,
            base,
            self._published(column, predictor),
            next((row.refusal for row in rows if row.refusal), "" if rows else NOT_DECODED),
        )

    def _gain(
        self, predictor: str, parts: Callable[[str], list[SessionPart]]
    ) -> tuple[Estimate, str]:
        """Return the paired difference in a task, and the predictor from which it is."""
        names = [self.baseline, *self.predictors] if self.baseline else []
        base = next((name for name in names if _answers(parts(name))), "")
        return _difference(parts(predictor), parts(base), is_own=predictor == base), base

    def _responses(self, strategy: str, predictor: str) -> list[Score]:
        wanted = strategy, predictor
        return [
            score for score in self.scores.scores if (score.strategy, score.predictor) == wanted
        ]

    def _decoded(self, group: str, predictor: str) -> list[SessionPart]:
        """Return the correlation of a group of channels in each session."""
        by_session: dict[str, dict[str, BehaviorScore]] = {}
        for score in self.scores.behavior:
            if (score.strategy, score.predictor) == (DECODING, predictor):
                by_session.setdefault(score.session, {})[score.channel] = score
        parts = []
        for session, channels in by_session.items():
            n_blocks = max(len(score.left_out) for score in channels.values())
            # A missing channel makes its group and the average NaN, instead of a mean
            # over fewer channels that is not comparable.
            found = {name: np.full(1 + n_blocks, NaN) for name in _CHANNELS}
            for name, score in channels.items():
                if name in found and len(score.left_out) == n_blocks:
                    found[name] = np.array([score.value, *score.left_out])
            # Of arrays, all blocks at once.
            value, *left_out = np.asarray(behavior_groups(found)[group]).tolist()
            mouse = session.partition("-")[0]
            parts.append(SessionPart(value, np.array(left_out), np.zeros(0), mouse))
        return parts

    def _published(self, column: str, predictor: str) -> PaperRow | None:
        kind = self.costs[predictor].kind if predictor in self.costs else ""
        # The first row of a kind: that of eight sessions, as those of the other models.
        found = next((row for row in PRINTED if kind and row.model == kind), None)
        return found if found is not None and np.isfinite(found.values[column]) else None

    def rows(self) -> list[dict[str, object]]:
        """Return rows of `--json`: those of `Scores`, then groups of behaviour and costs."""
        rows = self.scores.rows()
        shared: dict[str, object] = {"tier": self.scores.tier}
        for cell in self.cells():
            if cell.column in BEHAVIOR:
                pooled, gain = cell.pooled, cell.gain
                rows.append(
                    {"name": "behavior_group"}
                    | interval_row(pooled.value, pooled.low, pooled.high)
                    | {"unit": "correlation", "channel": BEHAVIOR[cell.column]}
                    | interval_row(gain.value, gain.low, gain.high, "gain")
                    | {"predictor": cell.predictor, "strategy": cell.strategy}
                    | {"baseline": cell.baseline or None, "refusal": cell.refusal, **shared}
                )
        for predictor, cost in self.costs.items():
            rows += _cost_rows(predictor, cost)
        return rows

    def _facts(self) -> dict[str, str]:
        return {
            "tier": self.scores.tier,
            "predictors": str(len(self)),
            "baseline": self.baseline or "none",
        }

    def _lines(self) -> list[tuple[str, str]]:
        lines = []
        for row in self:
            found = [f"{k} {v:z.2f}" for k, v in row.values.items() if np.isfinite(v)]
            lines.append((row.model, ", ".join(found) or "–"))
        return lines


def _cost_rows(predictor: str, cost: PaperCost) -> list[dict[str, object]]:
    about: dict[str, object] = {"predictor": predictor}
    found = np.array(cost.answer_ms or [NaN])
    timed = {"median": float(np.median(found)), "p99": float(np.percentile(found, 99))}
    answer = {name: number_or_none(value) for name, value in timed.items()}
    return [
        {"name": "parameters", "value": cost.parameters, "unit": "weights", **about},
        {"name": "training_minutes", "value": cost.training_minutes, "unit": "min", **about},
        {"name": "answer_ms", "value": answer["median"], "unit": "ms", **answer, **about}
        | {"n": len(cost.answer_ms), "strategy": cost.strategy},
    ]


def _part(score: Score, *, is_pooled: bool) -> SessionPart:
    about = score.mouse, float(score.n_neurons)
    if is_pooled:
        return SessionPart(score.pooled, score.pooled_left_out, np.zeros(0), *about)
    if not score.is_centred:
        return SessionPart(NaN, np.zeros(0), np.zeros(0), *about)
    return SessionPart(score.value, score.left_out, score.train_left_out, *about)


def _answers(parts: Sequence[SessionPart]) -> bool:
    return bool(parts) and all(np.isfinite(part.value) for part in parts)


def _estimate(parts: Sequence[SessionPart]) -> Estimate:
    """Return the mean over sessions; NaN if one was refused, or none was evaluated."""
    if not _answers(parts):
        return jackknife(NaN, [])
    return over_sessions(parts, limits=CORRELATION_LIMITS)


def _difference(
    own: Sequence[SessionPart], base: Sequence[SessionPart], *, is_own: bool
) -> Estimate:
    """Return the paired difference, NaN of the baseline from itself."""
    if is_own or len(own) != len(base) or not own:
        return jackknife(NaN, [])
    parts = []
    for one, other in zip(own, base, strict=True):
        sizes = [(len(part.left_out), len(part.train_left_out)) for part in (one, other)]
        if sizes[0] != sizes[1] or not np.isfinite(one.value - other.value):
            return jackknife(NaN, [])
        left_out = one.left_out - other.left_out, one.train_left_out - other.train_left_out
        parts.append(SessionPart(one.value - other.value, *left_out, one.mouse, one.weight))
    # Bias and skewness of the two cancel; see `jackknife_gain`.
    return over_sessions(parts, limits=_GAIN_LIMITS, is_extended=False)


# -- rows that can be compared ---------------------------------------------------------
def comparable(scores: Scores, rates_hz: Mapping[str, float] | None = None) -> Scores:
    """Return the scores with the reason in place of each that does not share its samples.

    In each condition and session, the first score says which neurons, windows and seconds
    are scored.

    Parameters
    ----------
    rates_hz
        Predictor -> response samples per second; the same for all without it.
    """
    rates_hz = rates_hz or {}
    first: dict[tuple[str, str], Score] = {}
    kept = []
    for score in scores.scores:
        if not score.refusal:
            asked = first.setdefault((score.session, score.strategy), score)
            if reason := _unshared(score, asked, rates_hz):
                score = _refused(score, reason)
        kept.append(score)
    n_windows: dict[tuple[str, str], int] = {}
    decoded = []
    for row in scores.behavior:
        if not row.refusal:
            wanted = n_windows.setdefault((row.session, row.strategy), row.n_windows)
            if row.n_windows != wanted:
                reason = f"scored on {row.n_windows} windows, the rows above on {wanted}."
                row = replace(row, value=NaN, ci_low=NaN, ci_high=NaN, refusal=reason)
                row = replace(row, left_out=np.zeros(0))
        decoded.append(row)
    return replace(scores, scores=tuple(kept), behavior=tuple(decoded))


def _unshared(score: Score, asked: Score, rates_hz: Mapping[str, float]) -> str:
    """Return what a score does not share with the first one of its condition."""
    if score.n_windows != asked.n_windows:
        return f"scored on {score.n_windows} windows, the row above on {asked.n_windows}."
    if not np.array_equal(score.neurons, asked.neurons):
        return (
            f"scored on {len(score.neurons):,} neurons that are not the {len(asked.neurons):,} "
            "of the row above."
        )
    rate_hz, other_hz = (rates_hz.get(one.predictor, 1.0) for one in (score, asked))
    seconds, wanted = score.counts / rate_hz, asked.counts / other_hz
    # Windows of another rate can begin or end a sample apart.
    room = 0.0 if rate_hz == other_hz else score.n_windows / min(rate_hz, other_hz)
    if len(seconds) == len(wanted) and (np.abs(seconds - wanted) > room + 1e-9).any():
        share = 100 * seconds.sum() / max(wanted.sum(), 1e-9)
        return f"predicts {share:.1f} % of the scored time of the row above."
    return ""


def _refused(score: Score, reason: str) -> Score:
    nothing, names = np.zeros(0), ("value", "ci_low", "ci_high")
    values: dict[str, Any] = {f"{kind}{name}": NaN for kind in ("", "pooled_") for name in names}
    del values["pooled_value"]
    unknown = np.full(len(score.neurons), NaN)
    return replace(
        score,
        **values,
        pooled=NaN,
        per_neuron=unknown,
        pooled_per_neuron=unknown,
        left_out=nothing,
        train_left_out=nothing,
        pooled_left_out=nothing,
        error_per_neuron=nothing,
        slope_per_neuron=nothing,
        groups=(),
        refusal=reason,
        is_centred=False,
    )


# -- evaluation and cost ---------------------------------------------------------------
def paper_table(
    predictors: "Scores | Model | Sequence[Model]",
    sessions: "Sessions | None" = None,
    strategies: "Strategies" = (),
    *,
    tier: str = "test",
    max_windows: int | None = None,
    results: str | Path | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    job: Job | None = None,
) -> PaperTable:
    """Score predictors of any families in the paper's tasks, and measure what they cost.

    Examples
    --------
    >>> found = om.paper_table(["last", "mean"], session, max_windows=3)
    >>> [row.model for row in found], round(found[0].values["fcst"], 2)
    (['last', 'mean'], 0.23)

    Notes
    -----
    All are scored on the same seconds and neurons, in windows of 2 s; shorter windows of
    a model tile them. Values for comparison with the paper are pooled.

    Parameters
    ----------
    predictors
        One or several, as in `evaluate`; or the scores of an evaluation, which are shown
        without costs.
    strategies
        All tasks of the paper without any.
    tier, max_windows, results, scheduler, device, job
        As in `evaluate_all`.
    """
    if isinstance(predictors, Scores):
        scores = comparable(predictors)
        return PaperTable(scores, baseline=_baseline(scores))
    if isinstance(predictors, str) or not isinstance(predictors, Sequence):
        predictors = [predictors]
    if sessions is None:
        raise ValueError("paper_table needs sessions, or the scores of an evaluation.")
    opened, strategies = listed_sessions(sessions), strategies or STRATEGIES
    loaded = [resolve_predictor(source, device) for source in predictors]
    with shown_job(job) as shown:
        found = evaluate_all(
            predictors if scheduler else loaded,
            opened,
            strategies,
            tiers=(tier,),
            max_windows=max_windows,
            metric="correlation",
            span=default_spec(),
            results=results,
            scheduler=scheduler,
            device=device,
            job=shown,
        )[tier]
        stop_if(shown.cancelled)
        return table_of(found, loaded, opened, strategies)


def table_of(
    scores: Scores,
    predictors: Sequence[Predictor],
    sessions: Sequence[Session],
    strategies: Strategies = STRATEGIES,
) -> PaperTable:
    """Return the table of the scores of predictors over one span, and measure their costs."""
    rates_hz = {one.predictor_id: one.needs.spec.response_rate_hz for one in predictors}
    shared = comparable(_in_order(scores, [*rates_hz]), rates_hz)
    listed: list[Score | BehaviorScore] = [*shared.scores, *shared.behavior]
    answered = {(one.predictor, one.strategy) for one in listed if not one.refusal}
    costs = {}
    for one in predictors:
        name = one.predictor_id
        asked = [task for task in conditions(strategies) if (name, task.name) in answered]
        costs[name] = predictor_cost(one, sessions[0], asked, scores.tier)
    return PaperTable(shared, costs, _baseline(shared))


def _in_order(scores: Scores, names: Sequence[str]) -> Scores:
    """Return the rows of each condition in the order of the predictors."""
    place = {name: k for k, name in enumerate(names)}
    listed: list[Score | BehaviorScore] = [*scores.scores, *scores.behavior]
    tasks = {key: k for k, key in enumerate(dict.fromkeys((s.session, s.strategy) for s in listed))}

    def key(row: Score | BehaviorScore) -> tuple[int, int]:
        return tasks[row.session, row.strategy], place[row.predictor]

    rows, decoded = sorted(scores.scores, key=key), sorted(scores.behavior, key=key)
    return replace(scores, scores=tuple(rows), behavior=tuple(decoded))


def _baseline(scores: Scores) -> str:
    """Return the predictor of paired differences: that of gains, else the first one."""
    names = PaperTable(scores).predictors
    return "" if len(names) < 2 else scores.baseline or names[0]


def predictor_cost(
    predictor: Predictor, session: Session, tasks: Sequence[Condition], tier: str = "test"
) -> PaperCost:
    """Return size and training of a predictor, and time its answers, one window at a time.

    The first task that it answers is timed, in windows that were read before.
    """
    source = source_of_predictor(predictor)
    parameters, minutes, label = None, None, ""
    if source is not None:
        with suppress(ValueError):  # a family that describes nothing
            stated = describe(source)[1].facts.get("parameters")
            parameters = None if stated is None else int(stated)
        minutes = _run_minutes(source)
    family = family_of_predictor(predictor)
    if family and source and (source.is_dir() or source.name in (FINISHED, *TRAINED)):
        label = f"{config_of_run(source, family) or family.name} ({weights_in(predictor)})"
    kind = "" if family is None else family.published
    cost = PaperCost(parameters, minutes, kind=kind, label=label)
    span = default_spec()
    spanning = over_span(predictor, span)
    spec = spanning.needs.spec
    # Other windows than those of the scores: nothing of them is in memory. "validation" has
    # none in some recordings.
    for name in ("validation", "train", tier):
        with suppress(UnsupportedRequestError):
            starts = shared_starts(session, name, _TIMED + 1, span, [predictor.needs.spec])
            break
    else:
        return cost
    try:
        with of_family(spanning.predictor_id):
            spanning.prepare(session)
    except UnsupportedRequestError:
        return cost
    for condition in tasks:
        times_ms = _answers_ms(spanning, session, condition, starts, spec)
        if times_ms:
            return replace(cost, answer_ms=times_ms, strategy=condition.name)
    return cost


def _run_minutes(source: Path) -> float | None:
    """Return how long weights were trained: by the log beside them, else by their card.

    None where neither says so.
    """
    log = (source if source.is_dir() else source.parent) / FILE
    rows = list(log_rows(log)) if log.exists() else []
    if rows and "seconds" in rows[-1]:
        return round(rows[-1]["seconds"] / 60, 2)
    with suppress(CheckpointError):  # files of other layouts say nothing
        card = read_about(checkpoint_file(source)).get("card") or {}
        card = card.get("finetuned") or card
        found = card.get("minutes", 60 * card["hours"] if "hours" in card else None)
        return None if found is None else round(float(found), 2)
    return None


def _answers_ms(
    predictor: Predictor,
    session: Session,
    condition: Condition,
    starts: np.ndarray,
    spec: WindowSpec,
) -> tuple[float, ...]:
    """Return the time of each answer but the first; () if the request is refused."""
    mask = condition.mask(session).at(spec)
    times_ms = []
    for start_s in starts.tolist():
        window = session.window(start_s, spec)
        # Read before: files are the same for all.
        _ = window.responses, window.valid, window.has_video and window.video
        before = perf_counter()
        try:
            predictor.predict(window, mask)
        except UnsupportedRequestError:
            return ()
        times_ms.append(1e3 * (perf_counter() - before))
    return tuple(times_ms[1:] or times_ms)
