"""Scores of runs over data, model size or compute: scaling curves, fits, intervals.

The data of the paper's scaling figure: for each condition one curve per model size
(over data) or per collection (over model size), with raw points and fits.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from omnimouse_model.analysis.evaluate import evaluate
from omnimouse_model.data.session import Session
from omnimouse_model.errors import ResultsFileError
from omnimouse_model.evaluation.results import Score, Scores, json_values, number_or_none
from omnimouse_model.evaluation.results_store import (
    JsonRow,
    ResultsFile,
    RowFormat,
    number,
    row_key,
)
from omnimouse_model.metrics import LogLine, PowerLaw, fit_log_line, fit_power_law
from omnimouse_model.metrics.fits import MIN_SIZES
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import QUIET
from omnimouse_model.storage.tables import columns_of, write_table

# -- runs of a scaling analysis: evaluate a trained model, and save its scores --------
# A results store (see `results_store`) holds one row per run and condition. Several
# processes may add runs while other runs are still in training.
SUFFIX = ".scaling.jsonl"


@dataclass(frozen=True, slots=True)
class ScalingRun:
    """Size and training data of one trained model; 0 for an unknown number.

    Attributes
    ----------
    model, parameters
        Name of the size, such as "5M"; parameters without per-neuron embeddings.
    sessions, neuron_samples, trials
        Training data: recordings, neurons times samples, and trials.
    compute
        Floating-point operations of the training, without those of the embeddings.
    seed, order
        Seed of the training, and order in which sessions were chosen, such as
        "random 0". Runs with the same order form one nested series.
    """

    model: str
    parameters: int = 0
    sessions: int = 0
    neuron_samples: int = 0
    trials: int = 0
    compute: float = 0.0
    seed: int = 0
    order: str = "random 0"


@dataclass(frozen=True, slots=True)
class RunScore:
    """Score of a run in one condition.

    Attributes
    ----------
    scores, n_neurons
        Score, and number of neurons in its mean, by evaluated session.
    loss
        Test loss over all sessions; NaN if not measured.
    """

    run: ScalingRun
    predictor: str
    condition: str
    scores: Mapping[str, float]
    n_neurons: Mapping[str, int]
    loss: float = float("nan")


def _parsed(values: JsonRow) -> RunScore:
    scores = {str(name): number(value) for name, value in values["scores"].items()}
    run, loss = ScalingRun(**values["run"]), number(values.get("loss"))
    return RunScore(**(values | {"run": run, "scores": scores, "loss": loss}))


SCALING: RowFormat[RunScore] = RowFormat("scaling", "a scaling analysis", json_values, _parsed)
WHAT = "scores of runs of several sizes"
# Constant, so that runs of any size and condition share a file.
_DEFINITION = {"what": WHAT}


def add_run(
    results: str | Path,
    run: ScalingRun,
    predictor: Predictor,
    sessions: Session | Sequence[Session],
    strategies: str | Sequence[str],
    *,
    tier: str = "test",
    max_windows: int | None = None,
    losses: Mapping[str, float] | None = None,
) -> list[RunScore]:
    """Evaluate a trained model and add one row per condition that it does not refuse.

    Parameters
    ----------
    losses
        Test loss by condition, if training measured it.
    """
    scores = evaluate(
        predictor,
        sessions,
        strategies,
        tier=tier,
        max_windows=max_windows,
        centred=False,
        job=QUIET,
    )
    rows = run_scores(run, scores, losses or {})
    add_rows(results, rows)
    return rows


def run_scores(run: ScalingRun, results: Scores, losses: Mapping[str, float]) -> list[RunScore]:
    """Return one row per condition of an evaluation of one model, without refusals."""
    # A condition that the model refuses has no row, so that it can be added later.
    by_condition: dict[str, list[Score]] = {}
    for score in results.scores:
        if not score.refusal:
            by_condition.setdefault(score.strategy, []).append(score)
    return [
        RunScore(
            run,
            scores[0].predictor,
            condition,
            {score.session: score.value for score in scores},
            {score.session: score.n_neurons for score in scores},
            losses.get(condition, float("nan")),
        )
        for condition, scores in by_condition.items()
    ]


def add_rows(results: str | Path, rows: Sequence[RunScore]) -> None:
    """Add rows to a results file; create it if it does not exist."""
    file = ResultsFile(SCALING, Path(results), _DEFINITION)
    for row in rows:
        # Evaluated sessions and tier are not in the key: one row per run and condition.
        key = row_key(run=asdict(row.run), condition=row.condition, predictor=row.predictor)
        file.add(key, row)


def read_runs(results: str | Path) -> tuple[RunScore, ...]:
    """Read the rows of a results file, even while it is written.

    Raises
    ------
    ResultsFileError
        The file is not a results file of a scaling analysis.
    """
    path = Path(results)
    try:
        return tuple(SCALING.read(path)[1])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsFileError(
            f"{path} is not the results file of a scaling analysis: {repr(error)[:200]}."
        ) from error


SizeAxis = Literal["sessions", "neuron_samples", "trials", "compute", "parameters"]
AXES: tuple[SizeAxis, ...] = get_args(SizeAxis)
Quantity = Literal["score", "loss"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
N_RESAMPLES = 500
DRAWN = 60
"""Number of points of a drawn fit."""
FitName = Literal["law", "line"]
FITS: tuple[FitName, ...] = get_args(FitName)


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """Extrapolation from the smaller sizes to the largest, and the measured value.

    Attributes
    ----------
    size, measured
        Largest size, and mean of its points.
    line, low, high
        Prediction of a line over log size through the smaller sizes, with its 95 %
        prediction interval.
    is_inside
        Whether the measured mean lies in the interval.
    law
        Prediction of a saturating power law through the smaller sizes.
    """

    size: float
    measured: float
    line: float
    low: float
    high: float
    is_inside: bool
    law: float


@dataclass(frozen=True, slots=True)
class SizeMean:
    """All runs of one size: mean with 95 % interval, NaN if unknown."""

    x: float
    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class ScalingCurve:
    """One curve: its points, its fits and their intervals.

    Attributes
    ----------
    name
        Fixed model size, or fixed collection.
    x, y, seeds
        (point,): size, value and seed of each run.
    law, line
        The fits; None if refused, with the reason in `refusal`.
    sizes
        Means by size, with intervals from resampled sessions and runs.
    intervals
        95 % intervals of "limit", "amplitude", "exponent" and "slope" from resampled
        sessions, and runs of each size; empty for a loss, and for a single session.
    bands
        Bounds (low, high) of the fits "law" and "line" at `along`, each (drawn,).
    preferred
        "power law" or "log line", by the smaller AICc; "" without an AICc.
    extrapolation
        None unless a fit is possible without the largest size.
    """

    condition: str
    name: str
    axis: SizeAxis
    quantity: Quantity
    x: np.ndarray
    y: np.ndarray
    seeds: tuple[int, ...]
    sizes: tuple[SizeMean, ...] = ()
    law: PowerLaw | None = None
    line: LogLine | None = None
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    bands: dict[FitName, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    extrapolation: Extrapolation | None = None
    refusal: str = ""

    def fit(self, name: FitName) -> PowerLaw | LogLine | None:
        """Return one of the two fits."""
        return self.law if name == "law" else self.line

    @property
    def along(self) -> np.ndarray:
        """Sizes (drawn,) of the drawn fits, spaced logarithmically."""
        return np.geomspace(self.x.min(), self.x.max(), DRAWN)

    @property
    def preferred(self) -> str:
        """Fit with the smaller AICc, "" if unknown."""
        if self.law is None or self.line is None:
            return ""
        if np.isnan(self.law.aicc) or np.isnan(self.line.aicc):
            return ""
        return "power law" if self.law.aicc < self.line.aicc else "log line"


def scaling_curves(
    rows: Sequence[RunScore],
    *,
    axis: SizeAxis = "sessions",
    quantity: Quantity = "score",
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
) -> tuple[ScalingCurve, ...]:
    """Return the curves of all conditions, with fits if there are enough sizes.

    Examples
    --------
    >>> from omnimouse_model.analysis.scaling_fits import ScalingRun, RunScore
    >>> sizes = (8, 16, 32, 64)
    >>> runs = [ScalingRun("5M", sessions=n, order=f"random {n}") for n in sizes]
    >>> rows = []
    >>> for run in runs:
    ...     scores = {"mouse": 0.35 - 0.5 * run.sessions**-0.6}
    ...     rows.append(RunScore(run, "5M", "stim", scores, {"mouse": 100}))
    >>> curve = om.scaling_curves(rows, n_resamples=10)[0]
    >>> round(curve.law.limit, 2), round(curve.law.exponent, 2)
    (0.35, 0.6)

    Notes
    -----
    Over data there is one curve per model size, over parameters one per collection, and
    over compute one of all runs.

    Warns
    -----
    UserWarning
        All runs chose their sessions in the same order: the scaling may differ for
        another order.
    """
    orders = {row.run.order for row in rows}
    if axis in ("sessions", "neuron_samples", "trials") and len(orders) == 1:
        warnings.warn(
            f"All runs chose their sessions in one order ({orders.pop()}): another one "
            "may scale otherwise.",
            stacklevel=2,
        )
    # Curves of one condition differ in what the axis does not vary.
    groups: dict[tuple[str, str], list[RunScore]] = {}
    for row in rows:
        # 0 means that the size of the run is unknown.
        has_size = getattr(row.run, axis) > 0
        if has_size and np.isfinite(_mean(row, quantity)):
            groups.setdefault((row.condition, _name(row, axis)), []).append(row)
    draw = np.random.default_rng(seed)
    curves = []
    for (condition, name), group in groups.items():
        # Sorted, so that resampling does not depend on the order in which runs finished.
        group.sort(key=lambda row: (getattr(row.run, axis), row.run.seed))
        x = np.array([getattr(row.run, axis) for row in group], np.float64)
        y = np.array([_mean(row, quantity) for row in group])
        seeds = tuple(row.run.seed for row in group)
        curve = ScalingCurve(condition, name, axis, quantity, x, y, seeds)
        curves.append(_fitted(curve, group, draw, n_resamples))
    return tuple(curves)


def _name(row: RunScore, axis: SizeAxis) -> str:
    if axis == "compute":
        return "all"
    if axis == "parameters":
        return f"{row.run.sessions:g} sessions"
    return row.run.model


def _mean(row: RunScore, quantity: Quantity, sessions: Sequence[str] | None = None) -> float:
    """Return the loss of a row, or its mean score weighted by neurons per session."""
    if quantity == "loss":
        return row.loss
    names = list(row.scores) if sessions is None else sessions
    # Weighted by neurons, as the mean over sessions of an evaluation.
    weights = [row.n_neurons[name] for name in names]
    return float(np.average([row.scores[name] for name in names], weights=weights))


def _fitted(
    curve: ScalingCurve, rows: Sequence[RunScore], draw: np.random.Generator, n_resamples: int
) -> ScalingCurve:
    # Before the fits: means by size have intervals even if a fit is refused.
    resampled = _resampled(curve, rows, draw, n_resamples)
    curve = replace(curve, sizes=_sizes(curve, resampled))
    try:
        law, line = fit_power_law(curve.x, curve.y), fit_log_line(curve.x, curve.y)
    except ValueError as error:
        return replace(curve, refusal=str(error))
    curve = replace(curve, law=law, line=line, extrapolation=_extrapolated(curve))
    return _with_intervals(curve, resampled) if len(resampled) else curve


def _resampled(
    curve: ScalingCurve, rows: Sequence[RunScore], draw: np.random.Generator, n_resamples: int
) -> np.ndarray:
    """Return y (resample, point) for resampled sessions and runs; (0, point) if none.

    A resample has the same sessions for all runs, and the same number of runs per size.
    """
    shared = sorted(set.intersection(*(set(row.scores) for row in rows)))
    # A loss has no value per session, and one session cannot be resampled.
    if curve.quantity == "loss" or len(shared) < 2:
        return np.zeros((0, len(rows)))
    same_size = [np.flatnonzero(curve.x == x) for x in curve.x]
    resamples = []
    for _ in range(n_resamples):
        # Sessions are the unit of inference (neurons of one mouse are not independent).
        # All runs use the same draw, because they are evaluated on the same sessions.
        drawn_orders = draw.choice(shared, len(shared)).tolist()
        y = np.array([_mean(row, curve.quantity, drawn_orders) for row in rows])
        # For each point, draw one of the runs of the same size.
        resamples.append(y[[draw.choice(same) for same in same_size]])
    return np.array(resamples)


def _sizes(curve: ScalingCurve, resampled: np.ndarray) -> tuple[SizeMean, ...]:
    """Return the mean of the points of each size, with its interval."""
    sizes = []
    for x in np.unique(curve.x):
        is_size = curve.x == x
        low = high = float("nan")
        if len(resampled):
            low, high = _middle(resampled[:, is_size].mean(axis=1)).tolist()
        mean = float(curve.y[is_size].mean())
        sizes.append(SizeMean(float(x), mean, low, high, int(is_size.sum())))
    return tuple(sizes)


def _with_intervals(curve: ScalingCurve, resampled: np.ndarray) -> ScalingCurve:
    """Add intervals of the parameters, and bands, from fits of the resamples."""
    # Every resample is fitted anew; its points share the sizes of the curve.
    laws = [fit_power_law(curve.x, y) for y in resampled]
    lines = [fit_log_line(curve.x, y) for y in resampled]
    parameters = {
        "limit": [law.limit for law in laws],
        "amplitude": [law.amplitude for law in laws],
        "exponent": [law.exponent for law in laws],
        "slope": [line.slope for line in lines],
    }
    ends = {name: _middle(np.array(fitted)) for name, fitted in parameters.items()}
    fits: dict[FitName, Sequence[PowerLaw | LogLine]] = {"law": laws, "line": lines}
    drawn = {
        name: _middle(np.array([fit(curve.along) for fit in fitted]))
        for name, fitted in fits.items()
    }
    return replace(
        curve,
        intervals={name: (float(a), float(b)) for name, (a, b) in ends.items()},
        bands={name: (low, high) for name, (low, high) in drawn.items()},
    )


def _middle(values: np.ndarray) -> np.ndarray:
    """Return the ends (2, …) of the central 95 % of resamples (resample, …)."""
    return np.asarray(np.percentile(values, [2.5, 97.5], axis=0))


def _extrapolated(curve: ScalingCurve) -> Extrapolation | None:
    """Compare fits of the smaller sizes with the largest size."""
    largest = float(curve.x.max())
    # The largest size is predicted and not fitted: a test of the fit's form.
    small = curve.x < largest
    if len(np.unique(curve.x[small])) < MIN_SIZES:
        return None
    measured = float(curve.y[~small].mean())
    line = fit_log_line(curve.x[small], curve.y[small])
    n_new = int((~small).sum())
    # The measured value is a mean of `n_new` runs, so its interval is narrower than
    # that of a single run.
    low, high = line.prediction_interval(largest, n_new=n_new)
    law = fit_power_law(curve.x[small], curve.y[small])
    return Extrapolation(
        largest,
        measured,
        float(line(largest)),
        low,
        high,
        bool(low <= measured <= high),
        float(law(largest)),
    )


# -- scaling curves as rows: the figure, and the fits ---------------------------------
def figure_table(curves: Sequence[ScalingCurve]) -> list[dict[str, object]]:
    """Return the figure as rows: "point" per run, "mean" per size, "law" and "line"."""
    return [
        {**_labels(curve), "what": kind, "x": float(x), "y": float(y), "seed": seed}
        | _ends(low, high)
        for curve in curves
        for kind, x, y, seed, low, high in _figure_points(curve)
    ]


def _figure_points(curve: ScalingCurve) -> Iterator[tuple[Any, ...]]:
    """Yield kind, x, y, seed, low and high of everything that is drawn of a curve."""
    nan = float("nan")
    for x, y, seed in zip(curve.x, curve.y, curve.seeds, strict=True):
        yield "point", x, y, seed, nan, nan
    for size in curve.sizes:
        yield "mean", size.x, size.mean, None, size.low, size.high
    for name in FITS:
        fit, unknown = curve.fit(name), np.full(DRAWN, np.nan)
        if fit is not None:
            low, high = curve.bands.get(name, (unknown, unknown))
            for x, y, *ends in zip(curve.along, fit(curve.along), low, high, strict=True):
                yield name, x, y, None, *ends


def _labels(curve: ScalingCurve) -> dict[str, object]:
    return {
        "condition": curve.condition,
        "curve": curve.name,
        "axis": curve.axis,
        "quantity": curve.quantity,
    }


def _ends(low: float, high: float) -> dict[str, object]:
    return {"low": number_or_none(low), "high": number_or_none(high)}


def write_figure(curves: Sequence[ScalingCurve], path: str | Path) -> Path:
    """Write the points and fits of the scaling figure as a table."""
    return write_table(path, columns_of(figure_table(curves)))


def fit_rows(curves: Sequence[ScalingCurve]) -> list[dict[str, object]]:
    """Return one row per curve for `--json`: parameters, intervals, refusals."""
    rows = []
    for curve in curves:
        law, line, far = curve.law, curve.line, curve.extrapolation
        row: dict[str, object] = {
            "name": "fit",
            "value": None if law is None else law.exponent,
            "unit": "exponent",
            **_labels(curve),
            "n": len(curve.x),
            "n_sizes": len(np.unique(curve.x)),
            "sizes": [
                {"x": size.x, "mean": size.mean, "n": size.n} | _ends(size.low, size.high)
                for size in curve.sizes
            ],
            "refusal": curve.refusal,
            "preferred": curve.preferred,
        }
        if law is not None and line is not None:
            row |= {
                "limit": law.limit,
                "amplitude": law.amplitude,
                "exponent": law.exponent,
                "is_at_bound": law.is_at_bound,
                "law_aicc": number_or_none(law.aicc),
                "intercept": line.intercept,
                "slope": line.slope,
                "line_aicc": number_or_none(line.aicc),
            }
        for name, (low, high) in curve.intervals.items():
            row |= {f"{name}_low": low, f"{name}_high": high}
        if far is not None:
            row |= {
                "extrapolated_to": far.size,
                "measured": far.measured,
                "line_says": far.line,
                "line_low": number_or_none(far.low),
                "line_high": number_or_none(far.high),
                "is_inside": far.is_inside,
                "law_says": far.law,
            }
        rows.append(row)
    return rows
