"""Recorded tuning beside that of a model: directions, and places of receptive fields."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped

from omnimouse_model.data.session import Session
from omnimouse_model.lab.experiments import DEFAULT_SIZE, ExperimentResult
from omnimouse_model.lab.recorded_comparison import (
    N_RESAMPLES,
    BehaviorInput,
    Columns,
    PopulationValue,
    RecordedComparison,
    both_responses,
    median_of,
    provenance_of,
    require_experiment,
    share_within_noise,
)
from omnimouse_model.lab.recorded_trials import (
    PlaceTrials,
    StimulusColumnError,
    Unit,
    Where,
    direction_trials,
    place_trials,
)
from omnimouse_model.lab.stimuli.gratings_and_dots import gaussian_dots
from omnimouse_model.lab.stimuli.stimulus import (
    MONITOR,
    Monitor,
    ValueResponses,
    responses_by_value,
)
from omnimouse_model.lab.tuning import ModelDirections, directions_of, receptive_fields
from omnimouse_model.metrics.correlation import moments
from omnimouse_model.metrics.time_blocks import student_quantile
from omnimouse_model.metrics.tuning import orientation_distance
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import QUIET, Job, shows_progress

TUNED_OSI: Final = 0.3
"""Recorded OSI above which a neuron counts as tuned."""
_N_SPLITS: Final = 50
"""Divisions of the trials into halves."""


@shows_progress
def compare_directions(
    model: Predictor | ExperimentResult,
    session: Session,
    neurons: Int64[np.ndarray, " neuron"] | None = None,
    *,
    column: str | None = None,
    zero_deg: float = 0.0,
    is_clockwise: bool = False,
    lag_s: float = 0.0,
    tier: str | Sequence[str] | None = None,
    where: Where | None = None,
    behavior: BehaviorInput = "hidden",
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    job: Job = QUIET,
) -> RecordedComparison:
    """Compare recorded and predicted tuning to directions of motion.

    The response to a trial is the mean over its samples, in units of the recording over
    the scale of each neuron. Mean responses below 0 count as 0.

    Parameters
    ----------
    model
        A predictor, which sees the recorded video with all responses hidden, or the
        result of the experiment "directions" or "noise" in the same session.
    neurons
        All by default; those of an experiment.
    column, zero_deg, is_clockwise, tier, where
        Trials and the convention of their angles, see `direction_trials`.
    lag_s
        Delay of the responses to a trial.
    behavior
        Whether a predictor sees the recorded behaviour.
    n_resamples, seed
        Resamples of the trials of each direction.
    job
        Progress and stop request; see `progress.Job`.

    Returns
    -------
    Columns of each neuron: `recorded_…` and `predicted_…` for `osi`, `dsi`,
    `preferred_deg` and `orientation_deg` (NaN for directions where the recording tells
    only the axis of motion), and

    - `difference_deg`: between the preferred orientations, 0 to 90, with its 95 %
      interval `difference_low_deg` to `difference_high_deg` over resampled trials,
      NaN for directions with a single trial;
    - `noise_deg`: median difference of the resamples from the recorded orientation, the
      difference of a perfect model;
    - `split_half_deg`: median difference between halves of the trials, about twice
      that of all trials from the truth;
    - `curve_correlation`: between the curves, over directions that both have;
    - `n_trials`.

    Raises
    ------
    StimulusColumnError
        The trial table tells no three directions within the recording.
    UnsupportedRequestError
        The model sees no video, or the session has none.
    StoppedError
        `job.cancelled()` returned True.
    """
    found = direction_trials(
        session, column, zero_deg=zero_deg, is_clockwise=is_clockwise, tier=tier, where=where
    )
    require_experiment(model, "preferred_deg", "directions")
    both = both_responses(model, session, found.trials, neurons, lag_s, behavior, job)
    own, shown = both.recorded, found.direction_deg[both.is_used]
    if len(np.unique(shown)) < 3:
        raise StimulusColumnError(
            f"Fewer than three directions of column {found.column!r} were shown within "
            f"the recording of session {session.id!r}."
        )
    of_model, shown_to_model = both.predicted, shown
    if isinstance(model, ExperimentResult):
        of_model, shown_to_model = model.responses, model.stimulus.values
        if not found.has_directions:
            # Both directions of an axis are one level of the recording.
            shown_to_model = shown_to_model % 180
    curves = responses_by_value(own, shown)
    model_curves = _at_levels(
        responses_by_value(np.asarray(of_model, np.float64), shown_to_model), curves.values
    )
    columns = _tuning_columns(
        directions_of(own, shown),
        directions_of(np.asarray(of_model, np.float64), shown_to_model),
        has_directions=found.has_directions,
    )
    trials = _OrderedTrials.of(own, shown)
    columns |= _orientation_differences(columns, trials, n_resamples, seed)
    columns["curve_correlation"] = _curve_correlation(curves.response, model_curves)
    columns["n_trials"] = np.isfinite(own).sum(axis=0)
    settings = {
        "column": found.column,
        "zero_deg": zero_deg,
        "is_clockwise": is_clockwise,
        "n_resamples": n_resamples,
        "seed": seed,
    }
    return RecordedComparison(
        "directions",
        both.neurons,
        columns,
        _directions_summary(columns, seed),
        _notes(curves.values, has_directions=found.has_directions),
        provenance_of(model, session, both, lag_s, tier, where, behavior) | settings,
        curves.values,
        curves.response,
        model_curves,
    )


def _tuning_columns(
    recorded: ModelDirections, predicted: ModelDirections, *, has_directions: bool
) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    for name in ("osi", "dsi", "preferred_deg", "orientation_deg"):
        is_known = has_directions or name in ("osi", "orientation_deg")
        for side, tuning in (("recorded", recorded), ("predicted", predicted)):
            values = getattr(tuning, name)
            columns[f"{side}_{name}"] = values if is_known else values * np.nan
    return columns


@dataclass(frozen=True, slots=True, eq=False)
class _OrderedTrials:
    """Responses to trials that are ordered by their direction.

    Attributes
    ----------
    responses
        0 where they are not known.
    is_known
        Whether a response is known.
    sizes, axes
        Number of trials of each direction, and its unit vector at twice the angle.
    """

    responses: Float[np.ndarray, "trial neuron"]
    is_known: Bool[np.ndarray, "trial neuron"]
    sizes: Int64[np.ndarray, " direction"]
    axes: Shaped[np.ndarray, " direction"]

    @classmethod
    def of(cls, responses: np.ndarray, directions_deg: np.ndarray) -> "_OrderedTrials":
        """Order the responses to trials."""
        order = np.argsort(directions_deg, kind="stable")
        values, sizes = np.unique(directions_deg, return_counts=True)
        ordered = responses[order]
        return cls(
            np.nan_to_num(ordered), np.isfinite(ordered), sizes, np.exp(2j * np.radians(values))
        )

    def orientation(self, trials: np.ndarray, sizes: np.ndarray) -> Float[np.ndarray, " neuron"]:
        """Return preferred orientations, radians, from `sizes` trials per direction.

        The same as `directions_of`, which also returns all else and is slower. NaN
        without any response, or without one to a direction.
        """
        begin = np.cumsum(sizes) - sizes
        total = np.add.reduceat(self.responses[trials], begin, axis=0)
        count = np.add.reduceat(self.is_known[trials].astype(np.int64), begin, axis=0)
        mean = np.maximum(total, 0) / np.where(count > 0, count, np.nan)
        vector = self.axes @ mean
        angle = np.angle(vector) / 2
        return np.where(mean.sum(axis=0) > 0, angle, np.nan)


def _orientation_differences(
    columns: Columns, trials: _OrderedTrials, n_resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """Return the differences of orientations, their intervals, and those of noise."""
    recorded = np.radians(columns["recorded_orientation_deg"])
    predicted = np.radians(columns["predicted_orientation_deg"])
    difference = np.degrees(orientation_distance(recorded, predicted))
    away = np.full((2, len(recorded)), np.nan)
    halves = away[:1]
    if trials.sizes.min() > 1:
        draw = np.random.default_rng(seed)
        away = _resampled_differences(trials, recorded, n_resamples, draw)
        halves = _split_half_differences(trials, draw)
    # The radius is that of the angle without a sign: an interval of differences from
    # 0 to 90 would otherwise never reach 0.
    radius = np.percentile(away, 95, axis=0)
    return {
        "difference_deg": difference,
        "difference_low_deg": np.maximum(difference - radius, 0),
        "difference_high_deg": np.minimum(difference + radius, 90),
        "noise_deg": np.median(away, axis=0),
        "split_half_deg": np.median(halves, axis=0),
    }


def _resampled_differences(
    trials: _OrderedTrials, recorded: np.ndarray, n_resamples: int, draw: np.random.Generator
) -> Float[np.ndarray, "resample neuron"]:
    """Return the difference of each resample from the recorded orientation, degrees.

    One trial less than were recorded is drawn of each direction: the mean of all would
    vary less between resamples than between recordings, which matters for few trials.
    """
    sizes = trials.sizes - 1
    begin = np.repeat(np.cumsum(trials.sizes) - trials.sizes, sizes)
    of_each = np.repeat(trials.sizes, sizes)
    away = np.empty((n_resamples, len(recorded)))
    for resample in range(n_resamples):
        chosen = begin + (draw.random(len(begin)) * of_each).astype(np.int64)
        found = trials.orientation(chosen, sizes)
        away[resample] = np.degrees(orientation_distance(found, recorded))
    # A resample without any response prefers nothing: it is as far away as can be.
    away[np.isnan(away)] = 90.0
    away[:, np.isnan(recorded)] = np.nan
    return away


def _split_half_differences(
    trials: _OrderedTrials, draw: np.random.Generator
) -> Float[np.ndarray, "split neuron"]:
    """Return the difference between halves of the trials of each direction, degrees."""
    sizes = trials.sizes // 2
    direction = np.repeat(np.arange(len(trials.sizes)), trials.sizes)
    begin = np.repeat(np.cumsum(trials.sizes) - trials.sizes, trials.sizes)
    rank = np.arange(len(direction)) - begin
    size = sizes[direction]
    away = []
    for _ in range(_N_SPLITS):
        # In drawn order within each direction.
        order = np.lexsort((draw.random(len(direction)), direction))
        first = trials.orientation(order[rank < size], sizes)
        second = trials.orientation(order[(rank >= size) & (rank < 2 * size)], sizes)
        away.append(np.degrees(orientation_distance(first, second)))
    return np.stack(away)


def _at_levels(curves: ValueResponses, levels: np.ndarray) -> Float[np.ndarray, "neuron level"]:
    """Return mean responses to levels; NaN for those that were not shown."""
    response = np.full((len(curves.response), len(levels)), np.nan)
    _, to, of = np.intersect1d(levels, curves.values, return_indices=True)
    response[:, to] = curves.response[:, of]
    return response


def _curve_correlation(recorded: np.ndarray, predicted: np.ndarray) -> Float[np.ndarray, " neuron"]:
    """Return the correlation over directions; NaN with fewer than three in common."""
    is_known = np.isfinite(recorded) & np.isfinite(predicted)
    found = moments(predicted.T, recorded.T, valid=is_known.T).pearson()
    return np.where(is_known.sum(axis=1) >= 3, found, np.nan)


def _notes(levels: np.ndarray, *, has_directions: bool) -> tuple[str, ...]:
    """Return what limits preferred directions and orientations of these directions."""
    notes = []
    theta = np.radians(levels)
    harmonics = (1, 2) if has_directions else (2,)
    if max(abs(np.exp(1j * h * theta).mean()) for h in harmonics) > 0.01:
        notes.append(
            "The directions are not evenly spaced: they draw preferred orientations "
            "and selectivity of recording and model towards those shown more often."
        )
    n_axes = len(np.unique(np.round(levels % 180, 3)))
    if n_axes < 3:
        notes.append(
            f"Only {n_axes} orientations were shown: a preferred orientation is one of "
            "them, and differences are 0 or 90 degrees."
        )
    return tuple(notes)


def _directions_summary(columns: Columns, seed: int) -> tuple[PopulationValue, ...]:
    is_tuned = columns["recorded_osi"] > TUNED_OSI
    is_compared = is_tuned & np.isfinite(columns["difference_deg"])
    found = [
        median_of(name, columns[column], is_compared, "deg", seed)
        for name, column in (
            ("median_difference", "difference_deg"),
            ("median_noise", "noise_deg"),
            ("median_split_half", "split_half_deg"),
        )
    ]
    everyone = np.ones(len(is_tuned), bool)
    correlation = columns["curve_correlation"]
    found.append(median_of("median_curve_correlation", correlation, everyone, "correlation", seed))
    return *found, share_within_noise(columns["difference_low_deg"], is_compared, seed)


# -- recorded places of receptive fields beside those of a model ----------------------
LOCATED_WIDTHS: Final = 0.1
"""Noise of the recorded place, in monitor widths, below which a neuron is located."""
_MAX_GROUPS: Final = 5
"""Groups of presentations that are left out in turn; each costs a fit per neuron."""
_RAYLEIGH_MEDIAN: Final = float(np.sqrt(2 * np.log(2)))
"""Median distance from the centre of a normal distribution in two dimensions, in its
standard deviations."""


@shows_progress
def compare_places(
    model: Predictor | ExperimentResult,
    session: Session,
    neurons: Int64[np.ndarray, " neuron"] | None = None,
    *,
    place_columns: tuple[str, str] | None = None,
    unit: Unit | None = None,
    lag_s: float = 0.0,
    tier: str | Sequence[str] | None = None,
    where: Where | None = None,
    behavior: BehaviorInput = "hidden",
    monitor: Monitor = MONITOR,
    seed: int = 0,
    job: Job = QUIET,
) -> RecordedComparison:
    """Compare recorded and predicted places of receptive fields, from flashed dots.

    A place is the centre of a Gaussian that is fitted to the mean responses to dots on
    a grid, as in `receptive_fields`. Dots of all colours count together: choose one
    with `where`. A fit takes 10 to 50 ms, and a neuron up to seven of them.

    Parameters
    ----------
    model
        A predictor, which sees the recorded video with all responses hidden, or the
        result of the experiment "fields" or "black_fields" in the same session.
    neurons
        All by default; those of an experiment.
    place_columns, unit, tier, where, monitor
        Trials and the unit of their places, see `place_trials`.
    lag_s, behavior, seed, progress
        As in `compare_directions`.

    Returns
    -------
    Columns of each neuron, in monitor widths:

    - `recorded_row_widths`, `recorded_column_widths` and `predicted_…`: downwards from
      the upper edge and from the left edge, NaN for a neuron that prefers no place or
      misses one;
    - `difference_widths`: distance of both, with its 95 % interval
      `difference_low_widths` to `difference_high_widths` (jackknife over up to five
      groups of presentations), NaN if a place was shown once;
    - `noise_widths`: median distance that noise of that size gives a perfect model;
    - `n_trials`.

    Raises
    ------
    StimulusColumnError
        The trial table tells no grid of places within the recording.
    UnsupportedRequestError
        The model sees no video, or the session has none.
    StoppedError
        `job.cancelled()` returned True.
    """
    found = place_trials(session, place_columns, unit, tier=tier, where=where, monitor=monitor)
    require_experiment(model, "column_px", "fields")
    both = both_responses(model, session, found.trials, neurons, lag_s, behavior, job)
    shown = _Dots(found, both.is_used)
    if not shown.is_complete:
        raise StimulusColumnError(
            f"Not all places of the columns {found.names[0]!r} and {found.names[1]!r} "
            f"were shown within the recording of session {session.id!r}."
        )
    everything = np.ones(len(both.recorded), bool)
    recorded = shown.places(both.recorded, everything, job)
    if isinstance(model, ExperimentResult):
        names = ("row_px", "column_px")
        places = np.stack([model.findings.columns[name] for name in names], axis=1)
        # A monitor width is the width of the frames. A model reads frames that are
        # stretched to its own size, so rows are a share of the height.
        predicted = places / model.size * (found.height_widths, 1.0)
    else:
        predicted = shown.places(both.predicted, everything, job)
    difference = np.hypot(*(recorded - predicted).T)
    sd, freedom = shown.jackknife_sd(both.recorded, job)
    radius = student_quantile(freedom) * sd if freedom else sd
    columns = {
        "recorded_row_widths": recorded[:, 0],
        "recorded_column_widths": recorded[:, 1],
        "predicted_row_widths": predicted[:, 0],
        "predicted_column_widths": predicted[:, 1],
        "difference_widths": difference,
        "difference_low_widths": np.maximum(difference - radius, 0),
        "difference_high_widths": difference + radius,
        # Half of the variance along each axis.
        "noise_widths": _RAYLEIGH_MEDIAN * sd / np.sqrt(2),
        "n_trials": np.isfinite(both.recorded).sum(axis=0),
    }
    return RecordedComparison(
        "places",
        both.neurons,
        columns,
        _places_summary(columns, seed),
        (),
        provenance_of(model, session, both, lag_s, tier, where, behavior)
        | {"place_columns": list(found.names), "seed": seed},
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Dots:
    """The dots of the trials within a recording."""

    found: PlaceTrials
    is_used: Bool[np.ndarray, " trial"]

    @property
    def grid(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return len(self.found.rows), len(self.found.columns)

    @property
    def number(self) -> Int64[np.ndarray, " trial"]:
        """Number of the place of each trial."""
        found = self.found
        return np.asarray((found.row * self.grid[1] + found.column)[self.is_used])

    @property
    def presentations(self) -> Int64[np.ndarray, " place"]:
        """Number of trials of each place."""
        n_places = self.grid[0] * self.grid[1]
        return np.asarray(np.bincount(self.number, minlength=n_places))

    @property
    def is_complete(self) -> bool:
        """Whether each place was shown."""
        return bool(self.presentations.min() > 0)

    def places(
        self, responses: np.ndarray, is_chosen: np.ndarray, job: Job
    ) -> Float[np.ndarray, "neuron 2"]:
        """Return the place of each neuron (row, column), in monitor widths."""
        n_rows, n_columns = self.grid
        row, column = np.divmod(self.number[is_chosen], n_columns)
        height, width = DEFAULT_SIZE
        # `receptive_fields` expects a grid that covers the frame. Only the map is used,
        # which does not depend on the size of the dots.
        shown = replace(
            gaussian_dots(DEFAULT_SIZE, self.grid, 1),
            table={
                "row_px": (row + 0.5) * height / n_rows,
                "column_px": (column + 0.5) * width / n_columns,
            },
        )
        own = responses[is_chosen].astype(np.float64)
        curves = responses_by_value(own, self.number[is_chosen].astype(np.float64))
        is_missing = np.isnan(curves.response).any(axis=1)
        own[:, is_missing] = 0.0  # prefers no place
        fields = receptive_fields(own, shown, DEFAULT_SIZE, job=job)
        at = fields.center_px / (height, width) * (n_rows, n_columns) - 0.5
        corner = np.array([self.found.rows[0], self.found.columns[0]])
        far = np.array([self.found.rows[-1], self.found.columns[-1]])
        return np.asarray(corner + at * (far - corner) / (n_rows - 1, n_columns - 1))

    def jackknife_sd(
        self, responses: np.ndarray, job: Job
    ) -> tuple[Float[np.ndarray, " neuron"], int]:
        """Return the standard deviation of places, over both axes, and its freedom.

        Groups of presentations are left out in turn. NaN and 0 if a place was shown
        once.
        """
        n_groups = min(_MAX_GROUPS, int(self.presentations.min()))
        if n_groups < 2:
            return np.full(responses.shape[1], np.nan), 0
        order = np.argsort(self.number, kind="stable")
        begin = np.cumsum(self.presentations) - self.presentations
        group = np.empty(len(order), np.int64)
        group[order] = np.arange(len(order)) - begin[self.number[order]]
        group %= n_groups
        left_out = np.stack([self.places(responses, group != k, job) for k in range(n_groups)])
        squares = (left_out - left_out.mean(axis=0)) ** 2
        variance = (n_groups - 1) / n_groups * squares.sum(axis=(0, 2))
        return np.sqrt(variance), n_groups - 1


def _places_summary(columns: Columns, seed: int) -> tuple[PopulationValue, ...]:
    noise = columns["noise_widths"]
    # Without repeats, no neuron can be told from noise.
    is_located = (noise < LOCATED_WIDTHS) | np.isnan(noise).all()
    is_compared = is_located & np.isfinite(columns["difference_widths"])
    return (
        median_of(
            "median_difference", columns["difference_widths"], is_compared, "monitor widths", seed
        ),
        median_of("median_noise", noise, is_compared, "monitor widths", seed),
        share_within_noise(columns["difference_low_widths"], is_compared, seed),
    )
