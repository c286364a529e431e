"""Protocol of the Sensorium 2023 competition: predictions of whole clips, submission.

Each frame of a clip is predicted from video and behaviour, by windows whose last
seconds tile the clip. Frames 50 to 299 are scored; the first 50 frames, and those from
frame 300 on, are dropped.

This is an official evaluation of OmniMouse: windows and mask are those of its spec, so
the constants of that spec are used here. Predictors of other windows at 30 Hz predict the
same seconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import N_SAMPLES, SCREEN_RATE_HZ, WindowSpec, default_spec
from omnimouse_model.errors import ExportError, UnsupportedRequestError
from omnimouse_model.evaluation.shard import BATCH
from omnimouse_model.masks import Mask
from omnimouse_model.metrics import Moments, Valued, moments, single_trial
from omnimouse_model.metrics.correlation import SENSORIUM_EPS
from omnimouse_model.predict.compatibility import over_span
from omnimouse_model.predict.predictor import Predictor, predictions_of
from omnimouse_model.storage.tables import read_parquet_rows, write_parquet_rows

# The scored frames of the competition: DROPPED <= frame < LAST.
DROPPED, LAST = 50, 300
STRATEGY = "test/video_behavior"
# First target sample of `STRATEGY`.
_TARGETS_FROM = N_SAMPLES // 2
# Rates that differ by less (Hz) count as one sample per frame.
_SAME_RATE = 0.01
_TYPES = {
    "mouse": "string",
    "trial_indices": "int64",
    "prediction": [["float"]],
    "neuron_ids": ["int64"],
}


@dataclass(frozen=True, slots=True, eq=False)
class ClipPrediction:
    """Predicted and recorded responses of one trial.

    Attributes
    ----------
    session, trial_idx, stim_id
        Session, trial number in the experiment and shown clip.
    predicted
        float32 (frame, neuron) from frame 50 on, in units of the recording; NaN for
        frames outside all windows (at the end of the recording).
    recorded
        Recorded responses in the same form; NaN where withheld or missing.
    """

    session: str
    trial_idx: str
    stim_id: str
    predicted: Float[np.ndarray, "frame neuron"]
    recorded: Float[np.ndarray, "frame neuron"]


@dataclass(frozen=True, slots=True)
class CompetitionScore:
    """Score of the clips of one session.

    Attributes
    ----------
    single_trial, to_average
        Mean over neurons of the correlation over all frames of all trials, and after
        averaging the repeats of each clip ("sensorium" policy: constant neurons are 0).
    per_neuron
        The single-trial correlations and their status.
    problem
        Reason if there is no score, else "".
    """

    session: str
    n_trials: int
    single_trial: float
    to_average: float
    per_neuron: Valued = field(repr=False)
    problem: str = ""


def predict_clips(predictor: Predictor, session: Session, tier: str) -> Iterator[ClipPrediction]:
    """Yield the predictions of all trials of a tier, in stored order.

    Raises
    ------
    ValueError
        The session has no trial of 60 frames or more in the tier.
    UnsupportedRequestError
        The predictor refuses the session, or has another rate than the frames.
    """
    spanning = over_span(predictor, default_spec())
    rate_hz = spanning.needs.spec.response_rate_hz
    if abs(rate_hz - SCREEN_RATE_HZ) > _SAME_RATE:
        raise UnsupportedRequestError(
            f"{predictor.predictor_id!r} predicts {rate_hz:g} samples per second; frames of the "
            f"competition have {SCREEN_RATE_HZ:g}."
        )
    chosen = _clips(session, tier)
    for trial in chosen.tolist():
        yield _predicted(spanning, session, trial)


def _clips(session: Session, tier: str) -> np.ndarray:
    """Return the trials of a tier that are long enough, or raise `ValueError`."""
    trials = session.trials
    names = session.named_tiers(tier)
    chosen = np.flatnonzero(
        np.isin(trials.tier, names) & trials.readable & (trials.n_slots >= N_SAMPLES)
    )
    if not len(chosen):
        raise ValueError(
            f"Session {session.id!r} has no clip of {N_SAMPLES} frames in tier "
            f"{tier!r}; its tiers are {', '.join(session.tiers()) or 'none'}."
        )
    return chosen


def competition_score(
    session: str, clips: Sequence[ClipPrediction] | Iterator[ClipPrediction]
) -> CompetitionScore:
    """Return the score of the clips of one session, read one at a time."""
    running: Moments | None = None
    sums: dict[tuple[str, int], np.ndarray] = {}
    count = 0
    for clip in clips:
        count += 1
        both = np.isfinite(clip.predicted) & np.isfinite(clip.recorded)
        part = moments(clip.predicted, clip.recorded, valid=both)
        running = part if running is None else running.merged(part)
        # Trials without a clip id, and showings of different lengths, are not averaged
        # with others.
        key = (clip.stim_id or f"trial {clip.trial_idx}", len(both))
        # Sums and counts instead of the trials, so that memory does not grow with
        # repeats.
        parts = [np.where(both, x, 0.0) for x in (clip.predicted, clip.recorded)]
        sums[key] = sums.get(key, 0.0) + np.array([*parts, both])
    if running is None or not running.count.any():
        return CompetitionScore(
            session,
            count,
            float("nan"),
            float("nan"),
            Valued(np.empty(0), np.empty(0, "U1")),
            "The responses of these trials are withheld: only the server scores them.",
        )
    # "sensorium" policy: a constant neuron scores 0; a neuron without samples is left
    # out.
    value = np.nan_to_num(running.pearson(SENSORIUM_EPS))
    value = np.where(running.count > 0, value, np.nan)
    total = np.concatenate(list(sums.values()), axis=1)  # (3, frame, neuron)
    averages = total[:2] / np.maximum(total[2], 1)
    averages[:, total[2] == 0] = np.nan
    averaged = single_trial(*averages).value
    return CompetitionScore(
        session,
        count,
        float(np.nanmean(value)),
        float(np.nanmean(averaged)),
        Valued(value, running.status()),
    )


def write_submission(
    path: str | Path, clips: Iterator[ClipPrediction], neuron_ids: dict[str, list[int]]
) -> Path:
    """Write a submission as Parquet (brotli), one row per trial, clip by clip.

    Columns `mouse`, `trial_indices`, `prediction` (neuron, frame) and `neuron_ids`.

    Parameters
    ----------
    neuron_ids
        Ids of the neurons in the competition, by session.

    Raises
    ------
    ExportError
        pyarrow is missing.
    """
    rows = (
        {
            "mouse": clip.session,
            "trial_indices": int(clip.trial_idx),
            "prediction": clip.predicted.T.tolist(),
            "neuron_ids": neuron_ids[clip.session],
        }
        for clip in clips
    )
    return write_parquet_rows(path, rows, _TYPES)


def check_submission(path: str | Path, sessions: Sequence[Session], tiers: Sequence[str]) -> int:
    """Read a submission again and check it; return its number of trials.

    Each clip of the tiers is there once, with every neuron of its mouse, and a finite
    prediction of each frame that is scored.

    Raises
    ------
    ExportError
        It has other columns, misses a trial or a frame, or has one too many; the message
        names it.
    """
    of_mouse = {session.id: session for session in sessions}
    lengths = {
        (session.id, int(str(session.trials.trial_idx[trial]) or trial)): min(
            int(session.trials.n_slots[trial]), LAST
        )
        for session in sessions
        for tier in tiers
        for trial in _clips(session, tier).tolist()
    }
    found = dict.fromkeys(lengths, 0)
    for row in read_parquet_rows(path, _TYPES):
        mouse, trial = str(row["mouse"]), int(row["trial_indices"])
        if (mouse, trial) not in found:
            raise ExportError(f"{path} has trial {trial} of {mouse}, which no clip has.")
        ids = of_mouse[mouse].units.unit_id.tolist()
        shape = len(ids), lengths[mouse, trial] - DROPPED
        rates = np.array(row["prediction"], np.float64)
        if row["neuron_ids"] != ids or rates.shape != shape or not np.isfinite(rates).all():
            raise ExportError(
                f"{path}: trial {trial} of {mouse} has predictions {rates.shape}, of which "
                f"{int((~np.isfinite(rates)).sum()):,} are missing; expected finite ones {shape} "
                "of all neurons in stored order."
            )
        found[mouse, trial] += 1
    if wrong := [key for key, count in found.items() if count != 1]:
        mouse, trial = wrong[0]
        raise ExportError(f"{path} has trial {trial} of {mouse} {found[wrong[0]]} times, not once.")
    return len(found)


def clip_starts(n_frames: int) -> tuple[int, ...]:
    """Return the first frames of windows whose last second covers frames 50 to the end.

    The last window ends with the clip and may overlap the window before it.
    """
    length = min(n_frames, LAST)
    first = max(min(DROPPED - _TARGETS_FROM, length - N_SAMPLES), 0)
    starts = list(range(first, length - N_SAMPLES + 1, N_SAMPLES - _TARGETS_FROM))
    return tuple(dict.fromkeys([*starts, length - N_SAMPLES]))


def _predicted(predictor: Predictor, session: Session, trial: int) -> ClipPrediction:
    length = min(int(session.trials.n_slots[trial]), LAST)
    onset_s = float(session.trials.t_on[trial])
    shape = (length, session.n_neurons)
    predicted = np.full(shape, np.nan, np.float32)
    spec = predictor.needs.spec
    mask = Mask.from_strategy(STRATEGY, session).at(spec)
    windows = [_window_at(session, onset_s, first, spec) for first in clip_starts(length)]
    for part in range(0, len(windows), BATCH):
        _add(predicted, predictor, windows[part : part + BATCH], mask, onset_s)
    # Starts lie on a grid, which can skip a frame and ends before the recording does: the
    # windows of the remaining frames begin at any time.
    missing = np.flatnonzero(np.isnan(predicted).any(axis=1))
    missing = missing[missing >= DROPPED]
    while len(missing):
        first = min(int(missing[0]) - _TARGETS_FROM, length - N_SAMPLES)
        # A quarter of a sample later, so that rounding cannot change which are read.
        start = session.t0 + onset_s + (first + 0.25) / SCREEN_RATE_HZ
        nearest = int(np.abs(session.start_grid - start).argmin())
        found = np.full_like(predicted, np.nan)
        _add(found, predictor, [Window(session, nearest, (), spec, start)], mask, onset_s)
        np.copyto(predicted, found, where=np.isnan(predicted))
        # Those that this window has not given are not asked again.
        missing = missing[missing >= first + N_SAMPLES]
        missing = missing[np.isnan(predicted[missing]).any(axis=1)]
    return ClipPrediction(
        session.id,
        str(session.trials.trial_idx[trial]) or str(trial),
        str(session.trials.stim_id[trial]),
        predicted[DROPPED:],
        _recorded(session, onset_s, length)[DROPPED:],
    )


def _add(
    predicted: Float[np.ndarray, "frame neuron"],
    predictor: Predictor,
    windows: Sequence[Window],
    mask: Mask,
    onset_s: float,
) -> None:
    """Write the predictions of windows, in recording units, into the frames of a clip."""
    predictions = predictions_of(predictor, [(window, mask, None) for window in windows])
    for window, prediction in zip(windows, predictions, strict=True):
        frame = _frames(window, onset_s)
        is_target = np.isfinite(prediction.responses).any(axis=1) & prediction.valid
        rows = np.flatnonzero(is_target & (frame >= 0) & (frame < len(predicted)))
        # Models predict normalised responses; the submission is in recording units.
        # Where windows overlap, the later window overwrites the earlier one.
        scale = window.session.response_scale[prediction.neurons]
        predicted[np.ix_(frame[rows], prediction.neurons)] = prediction.responses[rows] * scale


def _recorded(session: Session, onset_s: float, length: int) -> np.ndarray:
    """Return float32 (frame, neuron) responses to a clip in units of the recording."""
    # Offset by a quarter of a sample, so that rounding cannot change which is read.
    at = (np.arange(length) + 0.25) / SCREEN_RATE_HZ
    times = session.t0 + onset_s + at
    values, valid = session.responses.window(times, session.response_scale)
    recorded = np.full((length, session.n_neurons), np.nan, np.float32)
    recorded[valid] = values[valid] * session.response_scale
    return recorded


def _window_at(session: Session, onset_s: float, first: int, spec: WindowSpec) -> Window:
    """Return the window whose first sample belongs to frame `first` of a clip.

    Near an edge of the grid of starts, rounding may select the window one sample too
    early; the next one is then used. At the end of a recording this is its last window.
    """
    window = session.nearest_window(onset_s + first / SCREEN_RATE_HZ, spec)
    if _frames(window, onset_s)[0] < first:
        window = session.nearest_window(onset_s + (first + 1) / SCREEN_RATE_HZ, spec)
    return window


def _frames(window: Window, onset_s: float) -> np.ndarray:
    """Return int (60,): the frame of the clip of each sample of a window.

    With one sample per frame, frames follow from the sample indices that are read; the
    median resolves samples on an edge. At other rates, frames follow from the times.
    """
    session = window.session
    times = window.times("responses")
    since = (times - session.t0 - onset_s) * SCREEN_RATE_HZ
    if abs(session.responses.rate_hz - SCREEN_RATE_HZ) > _SAME_RATE:
        return np.floor(since + 0.25).astype(int)
    onset = session.t0 + onset_s + 0.25 / SCREEN_RATE_HZ
    rows = session.responses.index(np.append(onset, times))
    # With one phase shift per neuron, the first neuron represents all.
    rows = rows if rows.ndim == 1 else rows[:, 0]
    count = np.arange(N_SAMPLES)
    return count + int(np.median(rows[1:] - rows[0] - count))
