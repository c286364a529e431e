"""Scores over the number of pretraining sessions: orders, points, gains and fits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from omnimouse_model.analysis.ranking.rank_table import (
    RANKING,
    TEST,
    VALIDATION,
    RankTable,
    TransferScore,
    seed_warnings,
)
from omnimouse_model.display import HasSummary, data_frame
from omnimouse_model.errors import ResultsFileError
from omnimouse_model.evaluation.results import json_values, number_or_none
from omnimouse_model.metrics.fits import LogLine, fit_log_line

if TYPE_CHECKING:
    import pandas


# -- orders in which pretraining sessions are added -----------------------------------
OrderName = Literal["ranked", "random", "reverse"]
ORDERS: tuple[OrderName, ...] = get_args(OrderName)
SIZES = (1, 2, 3, 4, 5, 10, 20, 30, 40)
"""Numbers of sessions of Jiang et al.; the number of all sessions is added."""
SHUFFLES = 3


def orders_of(
    ranking: RankTable, heldout: str, name: OrderName, shuffles: int
) -> list[tuple[str, ...]]:
    """Return the orders of a name: one, or for "random" several shuffles.

    Shuffles are the same for all held-out sessions, which then share trained cores.

    Raises
    ------
    ValueError
        The name is unknown.
    """
    if name not in ORDERS:
        raise ValueError(f"order is {name!r}; choose of {', '.join(ORDERS)}.")
    if name == "random":
        # Sorted, so that shuffles do not depend on the order of the argument.
        ids = sorted(ranking.sessions)
        return [
            tuple(np.random.default_rng(number).permutation(ids).tolist())
            for number in range(shuffles)
        ]
    best_first = ranking.order(heldout)
    return [best_first if name == "ranked" else best_first[::-1]]


def clipped_sizes(ks: Sequence[int] | None, n_sessions: int) -> tuple[int, ...]:
    """Return numbers of sessions, ascending, none above that of all sessions.

    Raises
    ------
    ValueError
        A number is below 1.
    """
    chosen = (*SIZES, n_sessions) if ks is None else tuple(ks)
    if not chosen or min(chosen) < 1:
        raise ValueError(f"ks is {list(chosen)}; expected numbers of sessions from 1.")
    return tuple(sorted({min(k, n_sessions) for k in chosen}))


# -- scores over the number of pretraining sessions, with gains and fits --------------
N_RESAMPLES = 500
_ENDS = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Test score of a core that was pretrained on the first k sessions of an order.

    Attributes
    ----------
    shuffle
        Number of the shuffle of a random order, else 0.
    sessions
        Ids of the k sessions, sorted: other orders can have the same.
    trials
        Train trials of the sessions.
    """

    heldout: str
    order: OrderName
    shuffle: int
    sessions: tuple[str, ...]
    trials: int
    seed: int
    value: float

    @property
    def k(self) -> int:
        """Number of pretraining sessions."""
        return len(self.sessions)


@dataclass(frozen=True, slots=True)
class CurveMean:
    """Mean of all models of one order and number of sessions.

    Shuffles that begin with the same sessions share their models: each counts once.

    Attributes
    ----------
    trials
        Mean over models.
    sd
        Standard deviation over models of other seeds and sessions; NaN for one model.
    n
        Number of models.
    gain, gain_percent
        Difference to the mean baseline, and its percentage; the latter is NaN for a
        baseline that is not positive.
    """

    heldout: str
    order: OrderName
    k: int
    trials: float
    mean: float
    sd: float
    n: int
    gain: float
    gain_percent: float


@dataclass(frozen=True, slots=True)
class OrderFit:
    """A line over the logarithm of the number of trials, without the largest size.

    Attributes
    ----------
    line
        The fit; None if refused, with the reason in `refusal`.
    slope
        95 % interval of the slope, per natural logarithm; NaN for a single curve.
    trials, predicted, interval
        Trials of all sessions, the line there, and its 95 % interval.
    measured
        Mean score of the models of all sessions; NaN if none was trained.
    """

    heldout: str
    order: OrderName
    line: LogLine | None
    slope: tuple[float, float]
    trials: int
    predicted: float
    interval: tuple[float, float]
    measured: float
    refusal: str = ""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PretrainCurve(HasSummary):
    """Test scores on held-out sessions over the number of pretraining sessions.

    Attributes
    ----------
    points
        One per held-out session, order, shuffle, number of sessions and seed.
    baseline
        Scores by seed of models trained from scratch on each held-out session.
    n_sessions, trials
        Number of all pretraining sessions, and of their train trials.
    ranking_seeds
        Seeds of the ranking that gave the orders.
    """

    points: tuple[CurvePoint, ...]
    baseline: dict[str, tuple[float, ...]]
    n_sessions: int
    trials: int
    ranking_seeds: tuple[int, ...]
    metric: str
    unit: str
    is_higher_better: bool = True

    @property
    def orders(self) -> tuple[OrderName, ...]:
        """Orders that have points."""
        present = {point.order for point in self.points}
        return tuple(name for name in ORDERS if name in present)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons to doubt the curves."""
        seeds = {point.seed for point in self.points}
        shuffles = {p.shuffle for p in self.points if p.order == "random"}
        found = []
        if len(seeds) == 1:
            found.append(
                f"All models have one seed ({seeds.pop()}): another one may change the curves."
            )
        found += seed_warnings(self.ranking_seeds)
        if len(self.orders) == 1 and len(shuffles) < 2:
            found.append(
                f"Recordings were added in one order ({self.orders[0]}): the curve says "
                "nothing about others."
            )
        elif len(shuffles) == 1:
            found.append("The random order is one shuffle: another one may differ.")
        return tuple(found)

    def means(self) -> list[CurveMean]:
        """Return the mean of each held-out session, order and number of sessions."""
        means = []
        for heldout, order, runs in self._groups():
            base = float(np.mean(self.baseline[heldout]))
            for k in sorted({run.k for run in runs}):
                models = {(run.sessions, run.seed): run for run in runs if run.k == k}.values()
                values = np.array([run.value for run in models])
                mean, n = float(values.mean()), len(values)
                gain = mean - base
                if not self.is_higher_better:
                    gain = -gain
                means.append(
                    CurveMean(
                        heldout,
                        order,
                        k,
                        float(np.mean([run.trials for run in models])),
                        mean,
                        float(values.std(ddof=1)) if n > 1 else float("nan"),
                        n,
                        gain,
                        100 * gain / base if base > 0 else float("nan"),
                    )
                )
        return means

    def fits(self, n_resamples: int = N_RESAMPLES) -> list[OrderFit]:
        """Return a line over log trials for each held-out session and order.

        Intervals come from resampled curves: a curve is one shuffle with one seed.
        """
        draw = np.random.default_rng(0)
        return [
            _fit(heldout, order, runs, self, draw, n_resamples)
            for heldout, order, runs in self._groups()
        ]

    def best_gains(self) -> list[CurveMean]:
        """Return the best mean of each held-out session and order."""
        best: dict[tuple[str, str], CurveMean] = {}
        for mean in self.means():
            key = (mean.heldout, mean.order)
            if key not in best or mean.gain > best[key].gain:
                best[key] = mean
        return list(best.values())

    def rows(self) -> list[dict[str, object]]:
        """Return rows "curve", "baseline" and "fit", as JSON values."""
        about: dict[str, object] = {
            "unit": self.unit,
            "metric": self.metric,
            "tier": "test",
            "warnings": list(self.warnings),
        }
        return [
            *(_mean_row(mean) | about for mean in self.means()),
            *(_baseline_row(*item) | about for item in self.baseline.items()),
            *(about | _fit_row(fit, self.unit) for fit in self.fits()),
        ]

    def to_dataframe(self) -> "pandas.DataFrame":
        """Return the rows of the means as a pandas data frame."""
        return data_frame([row for row in self.rows() if row["name"] == "curve"])

    def _groups(self) -> Iterator[tuple[str, OrderName, list[CurvePoint]]]:
        for heldout in self.baseline:
            for order in self.orders:
                runs = [p for p in self.points if (p.heldout, p.order) == (heldout, order)]
                yield heldout, order, runs

    def _facts(self) -> dict[str, str]:
        facts = {
            "metric": f"{self.metric}, {self.unit}, test tier",
            "orders": ", ".join(self.orders),
            "k": ", ".join(str(k) for k in sorted({p.k for p in self.points})),
            "seeds": ", ".join(str(s) for s in sorted({p.seed for p in self.points})),
        }
        return facts | ({"warning": " ".join(self.warnings)} if self.warnings else {})

    def _lines(self) -> list[tuple[str, str]]:
        return [
            (
                f"{best.heldout}, {best.order}",
                f"best {best.mean:z.3f} at k = {best.k}, {best.gain:+z.3f}"
                + (f" ({best.gain_percent:+z.1f} %)" if np.isfinite(best.gain_percent) else "")
                + " over the baseline",
            )
            for best in self.best_gains()
        ]


def _fit(
    heldout: str,
    order: OrderName,
    runs: Sequence[CurvePoint],
    curve: PretrainCurve,
    draw: np.random.Generator,
    n_resamples: int,
) -> OrderFit:
    """Fit the points below the largest size, and extrapolate to all trials."""
    unknown = (float("nan"), float("nan"))
    all_of = [run.value for run in runs if run.k == curve.n_sessions]
    measured = float(np.mean(all_of)) if all_of else float("nan")
    # A curve is resampled as a whole: its points share their sessions.
    series: dict[tuple[int, int], list[CurvePoint]] = {}
    for run in runs:
        if run.k < curve.n_sessions:
            series.setdefault((run.shuffle, run.seed), []).append(run)
    curves = [np.array([[p.trials, p.value] for p in points]).T for points in series.values()]
    try:
        line = fit_log_line(*np.concatenate(curves or [np.zeros((2, 0))], axis=1))
    except ValueError as error:
        return OrderFit(
            heldout, order, None, unknown, curve.trials, float("nan"), unknown,
            measured, str(error),
        )  # fmt: skip
    slope = interval = unknown
    if len(curves) > 1:
        drawn = draw.integers(len(curves), size=(n_resamples, len(curves)))
        lines = [fit_log_line(*np.concatenate([curves[i] for i in row], axis=1)) for row in drawn]
        slope = _ends([fit.slope for fit in lines])
        interval = _ends([float(fit(float(curve.trials))) for fit in lines])
    return OrderFit(
        heldout, order, line, slope, curve.trials, float(line(float(curve.trials))),
        interval, measured,
    )  # fmt: skip


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.percentile(values, _ENDS).tolist()
    return low, high


def _mean_row(mean: CurveMean) -> dict[str, object]:
    values = json_values(mean)
    return {"name": "curve", "value": values.pop("mean"), **values}


def _baseline_row(heldout: str, values: tuple[float, ...]) -> dict[str, object]:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return {
        "name": "baseline",
        "value": number_or_none(float(np.mean(values))),
        "heldout": heldout,
        "sd": number_or_none(sd),
        "n": len(values),
    }


def _fit_row(fit: OrderFit, unit: str) -> dict[str, object]:
    line = fit.line
    return {
        "name": "fit",
        "value": None if line is None else line.slope,
        "unit": f"{unit} per ln(trials)",
        "heldout": fit.heldout,
        "order": fit.order,
        "slope_low": number_or_none(fit.slope[0]),
        "slope_high": number_or_none(fit.slope[1]),
        "intercept": None if line is None else line.intercept,
        "trials": fit.trials,
        "predicted": number_or_none(fit.predicted),
        "predicted_low": number_or_none(fit.interval[0]),
        "predicted_high": number_or_none(fit.interval[1]),
        "measured": number_or_none(fit.measured),
        "refusal": fit.refusal,
    }


# -- points of a curve: the models that it needs, and their scores --------------------
Plan = tuple[str, OrderName, int, tuple[str, ...]]
"""Held-out session, order, number of its shuffle, and the first k sessions."""


def curve_plans(
    ranking: RankTable, ks: Sequence[int], orders: Sequence[OrderName], shuffles: int
) -> list[Plan]:
    """Return the plan of each point of a curve, in their order."""
    return [
        (heldout, name, shuffle, order[:k])
        for heldout in ranking.heldout
        for name in orders
        for shuffle, order in enumerate(orders_of(ranking, heldout, name, shuffles))
        for k in ks
    ]


def curve_from_scores(
    plans: Sequence[Plan], scores: Sequence[TransferScore], ranking: RankTable, seeds: Sequence[int]
) -> PretrainCurve:
    """Return the curve of test scores, those of all plans and of the baselines.

    Raises
    ------
    KeyError
        A score is missing.
    """
    found = {(s.sessions, s.heldout, s.seed): s for s in scores}
    points = []
    for heldout, order, shuffle, ids in plans:
        members = tuple(sorted(ids))
        for seed in seeds:
            run = found[members, heldout, seed]
            points.append(CurvePoint(heldout, order, shuffle, members, run.trials, seed, run.value))
    baseline = {
        name: tuple(found[(), name, seed].value for seed in seeds) for name in ranking.heldout
    }
    return PretrainCurve(
        tuple(points),
        baseline,
        len(ranking.sessions),
        sum(ranking.trials),
        ranking.seeds,
        scores[0].metric,
        scores[0].unit,
        scores[0].is_higher_better,
    )


# -- a finished ranking and its curve, from a results file alone ----------------------
DEMO_RANKING = Path(__file__).parent / "ranking_simulated.ranking.jsonl"
"""Ranking of six animals of the spiking laboratory for `unseen-spikes`."""


@dataclass(frozen=True, slots=True)
class StoredRanking:
    """Ranking of a results file, and its curve if it has one."""

    ranking: RankTable
    curve: PretrainCurve | None


def read_ranking(results: str | Path, *, shuffles: int = SHUFFLES) -> StoredRanking:
    """Read the ranking of a results file, without sessions and models.

    Examples
    --------
    >>> from omnimouse_model.analysis.ranking.rank_table import TransferScore, open_results
    >>> file = open_results("mine.ranking.jsonl")
    >>> about = {"tier": "validation", "trials": 80, "study": "1"}
    >>> about |= {"metric": "forward", "unit": "bits per spike"}
    >>> for name, seed, value in [("a", 0, 0.1), ("b", 0, 0.3), ("a", 1, 0.2)]:
    ...     score = TransferScore((name,), "new", seed, value=value, **about)
    ...     file.add(f"{name}{seed}", score)
    >>> om.read_ranking("mine.ranking.jsonl").ranking
    RankTable: metric forward, bits per spike, validation tier; sessions 2; held out \
1; seeds 0; warning The ranking rests on one seed (0): another one may rank the \
sessions otherwise.
      new: b, a

    Notes
    -----
    The ranking has the seeds that are complete, and the curve the orders, numbers of
    sessions and seeds of which all scores are in the file. If a session was changed and
    scored again, the last score counts.

    Parameters
    ----------
    shuffles
        Maximum number of random orders.

    Raises
    ------
    ResultsFileError
        The file is none of a ranking, holds several, or none is complete.
    """
    path = Path(results)
    try:
        scores = RANKING.read(path)[1]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsFileError(
            f"{path} is not the results file of a ranking: {repr(error)[:200]}."
        ) from error
    studies = {score.study for score in scores}
    if len(studies) > 1:
        raise ResultsFileError(
            f"{path} holds {len(studies)} rankings, by other models or scores: rank "
            "with the settings of one of them (`rank_sessions`)."
        )
    validation = [score for score in scores if score.tier == VALIDATION]
    sessions = sorted({name for score in validation for name in score.sessions})
    heldout = list(dict.fromkeys(score.heldout for score in validation))
    size = len(sessions) * len(heldout)
    seeds = _complete(validation, size)
    if not seeds:
        most = max((_n_pairs(validation, s.seed) for s in validation), default=0)
        raise ResultsFileError(
            f"{path} holds no complete ranking: {most} of {size} scores for one seed. "
            "The command that writes it continues."
        )
    ranking = RankTable.of(validation, sessions, heldout, seeds)
    test = [score for score in scores if score.tier == TEST]
    return StoredRanking(ranking, _curve(ranking, test, shuffles) if test else None)


def _complete(scores: Sequence[TransferScore], size: int) -> list[int]:
    """Return the seeds for which this number of combinations of sessions was trained."""
    return sorted(seed for seed in {s.seed for s in scores} if _n_pairs(scores, seed) == size)


def _n_pairs(scores: Sequence[TransferScore], seed: int) -> int:
    """Return the number of combinations; a changed session has two scores in one."""
    return len({(s.sessions, s.heldout) for s in scores if s.seed == seed})


def _curve(ranking: RankTable, scores: Sequence[TransferScore], most: int) -> PretrainCurve | None:
    """Return the largest curve of equal orders whose scores are there; None without.

    Of a curve that was stopped, orders, shuffles, sizes or seeds are missing.
    """
    seeds = _complete([s for s in scores if not s.sessions], len(ranking.heldout))
    seeds.sort(key=lambda seed: _n_pairs(scores, seed), reverse=True)
    ks = sorted({len(score.sessions) for score in scores} - {0})
    found = {(s.sessions, s.heldout, s.seed) for s in scores}
    plans = curve_plans(ranking, ks, ORDERS, most)
    best: tuple[list[Plan], list[int]] = ([], [])
    for n in range(1, len(seeds) + 1):
        complete = {(plan[1], plan[2]): set(ks) for plan in plans}
        for heldout, order, shuffle, ids in plans:
            members = tuple(sorted(ids))
            if not all((members, heldout, seed) in found for seed in seeds[:n]):
                complete[order, shuffle].discard(len(ids))
        for sizes in complete.values():
            kept = [
                plan
                for plan in plans
                if len(plan[3]) in sizes and sizes <= complete[plan[1], plan[2]]
            ]
            if len(kept) * n > len(best[0]) * len(best[1]):
                best = kept, sorted(seeds[:n])
    return curve_from_scores(best[0], scores, ranking, best[1]) if best[0] else None
