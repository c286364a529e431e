"""Recorded tuning beside that of a model: responses, result, and what comparisons share.

Predicted tuning is a property of the model. How far it agrees with the recorded one can
only be judged beside the difference that the noise of the recording alone gives.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped

from omnimouse_model.data.clock import grid_points
from omnimouse_model.data.recording import grid_stretches
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.display import data_frame
from omnimouse_model.lab.experiments import ExperimentResult
from omnimouse_model.lab.recorded_trials import Where
from omnimouse_model.lab.responses import require_video
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Predictor, Request, in_window_units, predictions_of
from omnimouse_model.progress import QUIET, Job, shows_progress

if TYPE_CHECKING:
    from pandas import DataFrame


# -- recorded responses to trials, and what a model predicts for the recorded video ---
BehaviorInput = Literal["hidden", "visible"]
_PIECE_BYTES = 64 * 2**20
"""Maximum size of the responses that are read at a time."""
_TOLERANCE_S = 1e-6
"""Rounding of times: a sample at an end of a trial counts."""


@dataclass(frozen=True, slots=True, eq=False)
class TrialResponses:
    """Mean recorded and predicted response of each neuron to each trial.

    Both are means over the same samples; NaN for trials that do not lie wholly in the
    recording, and for neurons without a sample.
    """

    recorded: Float[np.ndarray, "trial neuron"]
    predicted: Float[np.ndarray, "trial neuron"]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A window, the times of its samples, the first that counts, and its trials."""

    window: Window
    times: Float[np.ndarray, " sample"]
    first: int
    trials: Int64[np.ndarray, " trial"]


def recorded_responses(
    session: Session,
    trials: Int64[np.ndarray, " trial"],
    neurons: Int64[np.ndarray, " neuron"],
    *,
    lag_s: float = 0.0,
) -> Float[np.ndarray, "trial neuron"]:
    """Return the mean recorded response to trials, over the samples of the recording.

    Samples from the onset to the end of a trial plus the lag count, both included.
    Values are recorded ones, divided by the scale of the neuron
    (`session.response_scale`).
    """
    signal, scale = session.responses, session.response_scale
    rate_hz = signal.rate_hz
    length = max(1, _PIECE_BYTES // max(4 * session.n_neurons, 1))
    means = np.full((len(trials), len(neurons)), np.nan)
    begins, ends = _times_of(session, trials, lag_s)
    last_s = (signal.n_samples - 1) / rate_hz
    for number, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        # Also refuses NaN, which compares false.
        if not (begin >= -_TOLERANCE_S and end <= last_s + _TOLERANCE_S):
            continue
        first = int(np.ceil((begin - _TOLERANCE_S) * rate_hz))
        stop = int(np.floor((end + _TOLERANCE_S) * rate_hz)) + 1
        total, count = np.zeros((2, len(neurons)))
        for piece in range(first, stop, length):
            samples = np.arange(piece, min(piece + length, stop))
            # A quarter of a sample later, so that rounding cannot change the sample.
            values, valid = signal.window(session.t0 + (samples + 0.25) / rate_hz, scale)
            chosen = values[valid][:, neurons].astype(np.float64)
            total += np.nansum(chosen, axis=0)
            count += np.isfinite(chosen).sum(axis=0)
        means[number] = _mean(total, count)
    return means


@shows_progress
def responses_to_trials(
    predictor: Predictor,
    session: Session,
    trials: Int64[np.ndarray, " trial"],
    neurons: Int64[np.ndarray, " neuron"],
    *,
    lag_s: float = 0.0,
    behavior: BehaviorInput = "hidden",
    job: Job = QUIET,
) -> TrialResponses:
    """Return the recorded responses to trials, and the predicted ones.

    The model sees the recorded video. All responses are hidden. The recording is
    predicted in windows that overlap by half, and samples come from second halves,
    before which the model has seen video; only windows with trials are predicted.
    Responses are summed while they arrive: memory does not grow with the recording.

    Parameters
    ----------
    trials
        Rows of the trial table.
    lag_s
        Delay of the responses: samples from the onset to the end of a trial plus the
        lag count, both included.
    behavior
        Whether the model sees the recorded behaviour, or that of an average moment.
    job
        Progress and stop request; see `progress.Job`.

    Raises
    ------
    UnsupportedRequestError
        The model sees no video, or the session has none.
    StoppedError
        `job.cancelled()` returned True.
    """
    require_video(predictor, session)
    # Trials begin at any time of the grid.
    spec = predictor.needs.spec.with_duration(predictor.needs.spec.duration_s)
    begins, ends = _times_of(session, trials, lag_s)
    parts = list(_parts(session, spec, begins, ends))
    shape = (len(trials), len(neurons))
    recorded, predicted, count = np.zeros((3, *shape))
    masks: dict[int, Mask] = {}
    pending: deque[tuple[_Part, np.ndarray]] = deque()

    def requests() -> Iterator[Request]:
        for part in parts:
            if part.first not in masks:
                asked = Mask.nothing(session, spec).ask(neurons, slice(part.first, spec.n_samples))
                masks[part.first] = asked.with_frames(True).with_behavior(behavior)
            belongs = _is_of_trial(part, begins, ends)
            # A window keeps what it has read: a copy does, and is dropped.
            window = part.window.with_edits(())
            pending.append((_Part(window, part.times, part.first, part.trials), belongs))
            yield window, masks[part.first], neurons

    predictions = predictions_of(predictor, requests(), job.cancelled, is_whole=True)
    for done, prediction in enumerate(predictions, 1):
        part, belongs = pending.popleft()
        own = part.window.responses[:, neurons].astype(np.float64)
        model = in_window_units(prediction, part.window).astype(np.float64)
        known = np.isfinite(own) & np.isfinite(model)
        known &= (part.window.valid["responses"] & prediction.valid)[:, None]
        weights = belongs.astype(np.float64)
        recorded[part.trials] += weights @ np.where(known, own, 0.0)
        predicted[part.trials] += weights @ np.where(known, model, 0.0)
        count[part.trials] += weights @ known
        job.progress(done, len(parts))
    return TrialResponses(_mean(recorded, count), _mean(predicted, count))


def _times_of(session: Session, trials: np.ndarray, lag_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last time of trials in seconds, with the lag.

    A trial lasts until the next one begins, unless the recording states when it ends.
    """
    table = session.trials
    on, off = table.t_on[trials], table.t_off[trials]
    if table.extra:
        lasted = np.array([_stated_duration_s(table.extra[row]) for row in trials])
        off = np.fmin(off, on + lasted)
    return on + lag_s, off + lag_s


def _stated_duration_s(fields: Mapping[str, Any]) -> float:
    """Return the duration in the fields of a trial, NaN if they do not state it."""
    stated = fields.get("duration_s")
    if isinstance(stated, int | float) and stated > 0:
        return float(stated)
    return float("nan")


def _parts(
    session: Session, spec: WindowSpec, begins: np.ndarray, ends: np.ndarray
) -> Iterator[_Part]:
    """Yield the windows with trials, in time order."""
    session.nearest_window(0.0, spec)  # refuses a session that is too short
    length, starts = grid_points(spec.duration_s), list[int]()
    # No window reaches over a pause of the recording.
    for begin, end in grid_stretches(session).tolist():
        if begin + length <= end:
            starts += range(begin, end - length, max(1, length // 2))
            starts.append(end - length)
    last_s = Window(session, starts[-1], spec=spec).sample_times_s[-1] + _TOLERANCE_S
    first_s = Window(session, starts[0], spec=spec).start_s - _TOLERANCE_S
    # NaN compares false.
    is_inside = (begins >= first_s) & (ends <= last_s)
    counted = -np.inf
    for start in starts:
        window = Window(session, start, spec=spec)
        times = window.sample_times_s
        first = int(np.searchsorted(times, counted + _TOLERANCE_S))
        counted = float(times[-1])
        if first >= len(times):
            continue
        has_samples = (begins <= times[-1] + _TOLERANCE_S) & (ends >= times[first] - _TOLERANCE_S)
        part = _Part(window, times, first, np.flatnonzero(is_inside & has_samples))
        if _is_of_trial(part, begins, ends).any():
            yield part


def _is_of_trial(
    part: _Part, begins: np.ndarray, ends: np.ndarray
) -> Bool[np.ndarray, "trial sample"]:
    """Return which samples of a window count for each of its trials."""
    begin, end = begins[part.trials, None], ends[part.trials, None]
    belongs = (part.times >= begin - _TOLERANCE_S) & (part.times <= end + _TOLERANCE_S)
    belongs[:, : part.first] = False
    return np.asarray(belongs)


def _mean(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


# -- recorded tuning beside that of a model -------------------------------------------
N_RESAMPLES: Final = 500
Columns = Mapping[str, Shaped[np.ndarray, " neuron"]]


@dataclass(frozen=True, slots=True)
class PopulationValue:
    """A value of a population, its 95 % interval over neurons, and their number.

    The interval resamples neurons: it holds for neurons like these in this recording,
    not for other animals.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    n: int


@dataclass(frozen=True, slots=True, eq=False)
class RecordedComparison:
    """Recorded tuning of neurons beside that of a model.

    Predicted values are properties of the model, not of the animal.

    Attributes
    ----------
    name
        "directions" or "places".
    neurons
        Indices of the neurons in the session.
    columns
        Numbers of each neuron, by name; see `compare_directions`, `compare_places`.
    summary
        Values of the population.
    notes
        Properties of the stimulus that limit the comparison.
    about
        Provenance: recording, model, columns and settings.
    levels, recorded, predicted
        Directions that were shown, and mean responses to them; None for places.
    """

    name: str
    neurons: Int64[np.ndarray, " neuron"]
    columns: Columns
    summary: tuple[PopulationValue, ...]
    notes: tuple[str, ...]
    about: Mapping[str, Any]
    levels: Float[np.ndarray, " level"] | None = None
    recorded: Float[np.ndarray, "neuron level"] | None = None
    predicted: Float[np.ndarray, "neuron level"] | None = None

    def to_dataframe(self) -> "DataFrame":
        """Return a table with a row per neuron, its provenance in `attrs`."""
        table = data_frame({"neuron": self.neurons, **self.columns})
        table.attrs |= dict(self.about)
        return table


# -- responses of both ---------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class BothResponses:
    """Responses to the trials within the recording, and which trials these are.

    `predicted` is that of a predictor; an experiment has its own stimulus.
    """

    neurons: Int64[np.ndarray, " neuron"]
    is_used: Bool[np.ndarray, " trial"]
    recorded: Float[np.ndarray, "used neuron"]
    predicted: Float[np.ndarray, "used neuron"]


def both_responses(
    model: Predictor | ExperimentResult,
    session: Session,
    trials: np.ndarray,
    neurons: np.ndarray | None,
    lag_s: float,
    behavior: BehaviorInput,
    job: Job,
) -> BothResponses:
    """Return recorded and predicted responses to the trials within the recording.

    Raises
    ------
    ValueError
        An experiment was done in another session, or neurons are given beside it.
    """
    if isinstance(model, ExperimentResult):
        if model.session_id != session.id:
            raise ValueError(
                f"The experiment was done in session {model.session_id!r}, not in {session.id!r}."
            )
        if neurons is not None:
            raise ValueError("`neurons` are those of the experiment: leave them out.")
        recorded = recorded_responses(session, trials, model.neurons, lag_s=lag_s)
        is_used = np.isfinite(recorded).any(axis=1)
        used = recorded[is_used]
        return BothResponses(model.neurons, is_used, used, np.full_like(used, np.nan))
    chosen = np.arange(session.n_neurons) if neurons is None else neurons
    found = responses_to_trials(
        model, session, trials, chosen, lag_s=lag_s, behavior=behavior, job=job
    )
    is_used = np.isfinite(found.recorded).any(axis=1)
    return BothResponses(chosen, is_used, found.recorded[is_used], found.predicted[is_used])


def require_experiment(model: Predictor | ExperimentResult, column: str, name: str) -> None:
    """Raise `ValueError` if the result of an experiment lacks a column."""
    if isinstance(model, ExperimentResult) and column not in model.findings.columns:
        raise ValueError(
            f"The experiment {model.experiment.name!r} has no {column!r}: run the "
            f"experiment {name!r}."
        )


def provenance_of(
    model: Predictor | ExperimentResult,
    session: Session,
    both: BothResponses,
    lag_s: float,
    tier: str | Sequence[str] | None,
    where: Where | None,
    behavior: BehaviorInput,
) -> dict[str, Any]:
    """Return the provenance that all comparisons share."""
    shown = {"behavior": behavior, "stimulus": "recorded video"}
    if isinstance(model, ExperimentResult):
        shown = {"experiment": model.experiment.name, "stimulus": model.stimulus.name}
    return {
        "predictor": str(model.predictor_id),
        **shown,
        "session": session.id,
        "recording": session.fingerprint,
        "n_trials": int(both.is_used.sum()),
        "lag_s": lag_s,
        "tier": tier,
        "where": dict(where or {}),
        "versions": {"omnimouse-app": version("omnimouse-app")},
    }


# -- the population ------------------------------------------------------------------
def share_within_noise(low: np.ndarray, is_chosen: np.ndarray, seed: int) -> PopulationValue:
    """Return the share of neurons whose difference the noise alone can explain."""
    known = low[is_chosen & np.isfinite(low)]
    return _of_population("share_within_noise", known == 0, np.mean, "share", seed)


def median_of(
    name: str, values: np.ndarray, is_chosen: np.ndarray, unit: str, seed: int
) -> PopulationValue:
    """Return the median over the chosen neurons whose value is known."""
    known = values[is_chosen & np.isfinite(values)]
    return _of_population(name, known, np.median, unit, seed)


def _of_population(
    name: str, values: np.ndarray, statistic: Callable[[np.ndarray], Any], unit: str, seed: int
) -> PopulationValue:
    """Return a statistic and its percentile interval over resampled neurons."""
    n = len(values)
    if not n:
        return PopulationValue(name, float("nan"), float("nan"), float("nan"), unit, 0)
    draw = np.random.default_rng(seed)
    drawn = [float(statistic(values[draw.integers(n, size=n)])) for _ in range(N_RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return PopulationValue(name, float(statistic(values)), float(low), float(high), unit, n)
