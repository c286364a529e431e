"""Recorded places of receptive fields beside those of a model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int64

from omnimouse_model.data.session import Session
from omnimouse_model.lab.experiments import DEFAULT_SIZE, ExperimentResult
from omnimouse_model.lab.recorded.comparison import (
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
from omnimouse_model.lab.recorded.trials import (
    PlaceTrials,
    StimulusColumnError,
    Unit,
    Where,
    place_trials,
)
from omnimouse_model.lab.stimuli.dots import gaussian_dots
from omnimouse_model.lab.stimuli.stimulus import MONITOR, Monitor, responses_by_value
from omnimouse_model.lab.tuning import receptive_fields
from omnimouse_model.metrics.time_blocks import student_quantile
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import QUIET, Job, shows_progress

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
        self,
        responses: np.ndarray,
        is_chosen: np.ndarray,
        job: Job,
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
            "median_difference",
            columns["difference_widths"],
            is_compared,
            "monitor widths",
            seed,
        ),
        median_of("median_noise", noise, is_compared, "monitor widths", seed),
        share_within_noise(columns["difference_low_widths"], is_compared, seed),
    )
