"""Responses to repeats of clips, their reliability, and the noise ceiling.

Reliability is that of the part of the responses that the stimulus determines. A
prediction that also sees activity or behaviour can exceed it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from omnimouse_model.data.recording import recorded_shares
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import SCREEN_RATE_HZ
from omnimouse_model.evaluation.conditions import StimulusGroups
from omnimouse_model.metrics.correlation import Status, moments, nanmean
from omnimouse_model.metrics.repeats import RunningRepeats, cc_scores, jackknife_reliability
from omnimouse_model.metrics.time_blocks import student_quantile
from omnimouse_model.progress import QUIET, Job, shows_progress

_PIECE_BYTES = 64 * 2**20
"""Maximum size of the responses (all neurons and repeats) read at a time."""
_BLOCK_BYTES = 32 * 2**20
"""Maximum size of the responses whose reliability is computed at a time."""
_MIN_REPEATS_OF_INTERVAL = 3
"""Reliability needs two repeats after one is left out."""
_HASH = re.compile(r"[0-9a-f]{16,}|[0-9A-Za-z+/-]{20}")
"""Stimulus ids without a meaning: the hashes of released recordings."""


@dataclass(frozen=True, slots=True, eq=False)
class RepeatedClip:
    """A stimulus that was shown more than once.

    Attributes
    ----------
    stim_id
        Id of the stimulus.
    trials, tiers
        Rows of the trial table, in time order, and tier of each of them.
    duration_s
        Duration of the shortest showing.
    """

    stim_id: str
    tiers: tuple[str, ...]
    trials: tuple[int, ...]
    duration_s: float

    @property
    def name(self) -> str:
        """The id of the stimulus if it is a name, "" for a hash."""
        return "" if _HASH.fullmatch(self.stim_id) else self.stim_id


@dataclass(frozen=True, slots=True, eq=False)
class ClipRepeats:
    """Responses of neurons to all repeats of a clip.

    Attributes
    ----------
    clip, neurons
        The clip, and session indices of the neurons.
    onset_s
        (repeat,) starts on the session clock.
    time_s
        (time,) since the clip's start.
    responses
        (neuron, repeat, time) in units of the model, NaN where nothing was recorded.
    average
        (neuron, time) over repeats.
    cc_max
        (neuron,) correlation of the stimulus-driven part with that average (Schoppe et
        al. 2016); NaN with the reason in `status`.
    single_trial_max
        (neuron,) correlation of the stimulus-driven part with single repeats.
    interval
        95 % interval over repeats of the median of `single_trial_max` over neurons;
        NaN with fewer than 3 repeats.
    oracle
        (neuron,) correlation of each repeat with the mean of the others.
    status
        (neuron,) a `Status` each.
    """

    clip: RepeatedClip
    neurons: Int[np.ndarray, " neuron"]
    onset_s: Float[np.ndarray, " repeat"]
    time_s: Float[np.ndarray, " time"]
    responses: Float[np.ndarray, "neuron repeat time"]
    average: Float[np.ndarray, "neuron time"]
    cc_max: Float[np.ndarray, " neuron"]
    single_trial_max: Float[np.ndarray, " neuron"]
    interval: tuple[float, float]
    oracle: Float[np.ndarray, " neuron"]
    status: np.ndarray

    @property
    def spread(self) -> Float[np.ndarray, "neuron time"]:
        """Standard deviation over repeats; NaN with fewer than two known values."""
        is_known = np.isfinite(self.responses)
        count = is_known.sum(axis=1)
        offsets = np.where(is_known, self.responses - self.average[:, None], 0.0)
        variance = (offsets**2).sum(axis=1) / np.maximum(count - 1, 1)
        return np.asarray(np.where(count > 1, np.sqrt(variance), np.nan))


def repeated_clips(
    session: Session, kinds: Sequence[str] = ("video", "image")
) -> tuple[RepeatedClip, ...]:
    """Return the clips with two or more showings in the recording, most repeats first.

    Trials of other kinds, without a stimulus id, or marked as invalid are left out.
    """
    trials = session.trials
    span = session.common_interval()
    inside = (trials.t_on >= span.start - session.t0) & (
        # One sample of tolerance at the end.
        trials.t_off <= span.stop - session.t0 + 1.0 / SCREEN_RATE_HZ
    )
    # A showing that touches a pause of the responses is no whole repeat.
    on, off = (t + session.t0 for t in (trials.t_on, trials.t_off))
    lost_s = (1.0 - recorded_shares(session, on, off)) * (off - on)
    inside &= lost_s < 1.5 / session.responses.rate_hz
    usable = inside & trials.readable & np.isin(trials.kind, kinds)
    usable &= (trials.stim_id != "") & (trials.valid_trial != "False")
    by_clip: dict[str, list[int]] = {}
    for trial in np.flatnonzero(usable).tolist():
        by_clip.setdefault(str(trials.stim_id[trial]), []).append(trial)
    clips = [
        RepeatedClip(
            stim_id,
            tuple(session.trial_tiers[members].tolist()),
            tuple(members),
            float((trials.t_off[members] - trials.t_on[members]).min()),
        )
        for stim_id, members in by_clip.items()
        if len(members) > 1
    ]
    return tuple(sorted(clips, key=lambda clip: -len(clip.trials)))


@shows_progress
def clip_repeats(
    session: Session, clip: RepeatedClip, neurons: Int[np.ndarray, " neuron"], job: Job = QUIET
) -> ClipRepeats:
    """Read all repeats of a clip and compute reliability; `progress` may raise."""
    neurons = np.asarray(neurons, np.int64)
    onset_s = session.trials.t_on[list(clip.trials)]
    count = n_samples(clip)
    responses = np.full((len(neurons), len(onset_s), count), np.nan)
    for first, piece in read_pieces(session, clip, len(onset_s)):
        job.progress(first / count, 1.0)
        part = slice(first, first + piece.shape[1])
        responses[:, :, part] = piece[:, :, neurons].transpose(2, 0, 1)
    cc_max, single, status = _reliability(responses)
    return ClipRepeats(
        clip,
        neurons,
        onset_s,
        np.arange(count) / SCREEN_RATE_HZ,
        responses,
        nanmean(responses, 1),
        cc_max,
        single,
        reliability_interval(responses, single, lambda: job.progress(1.0, 1.0)),
        _oracle(responses),
        status,
    )


def _reliability(
    responses: Float[np.ndarray, "neuron repeat time"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return CC_max, the reliability of one repeat, and the status of each neuron."""
    scores = [
        # `cc_scores` needs a prediction; the first repeat serves as one. It affects
        # CC_abs, which is not used, and the status if it is constant.
        cc_scores(block[:, :1], block)
        for block in _blocks_of_neurons(responses)
    ]
    signal, total, cc_max, status = (
        np.concatenate([getattr(block, name) for block in scores])
        for name in ("signal_power", "total_power", "cc_max", "status")
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        # Signal power over total power is the squared correlation with one noisy
        # repeat.
        single = np.sqrt(np.maximum(signal, 0.0) / total)
    return cc_max, np.where(status == Status.OK, single, np.nan), status


def _blocks_of_neurons(responses: np.ndarray) -> list[np.ndarray]:
    n_blocks = max(-(-responses.nbytes // _BLOCK_BYTES), 1)
    return np.array_split(responses, min(n_blocks, max(len(responses), 1)))


def reliability_interval(
    responses: Float[np.ndarray, "neuron repeat time"],
    single: Float[np.ndarray, " neuron"],
    check: Callable[[], None] = lambda: None,
) -> tuple[float, float]:
    """Return the interval of the median reliability: the jackknife over repeats.

    `check` is called for each repeat of a block of neurons, and may raise.
    """
    n = responses.shape[1]
    if n < _MIN_REPEATS_OF_INTERVAL or not np.isfinite(single).any():
        return np.nan, np.nan
    values = []
    # In blocks: a copy of all responses without a repeat would double the memory.
    for block in _blocks_of_neurons(responses):
        left_out = []
        for repeat in range(n):
            check()
            left_out.append(_reliability(np.delete(block, repeat, axis=1))[1])
        values.append(np.stack(left_out))
    # A neuron without signal is as unreliable as can be.
    medians = np.median(np.nan_to_num(np.concatenate(values, axis=1)), axis=1)
    sem = np.sqrt((n - 1) / n * np.sum((medians - medians.mean()) ** 2))
    half = student_quantile(n - 1) * sem
    centre = float(np.median(single[np.isfinite(single)]))
    return max(0.0, centre - half), min(1.0, centre + half)


def n_samples(clip: RepeatedClip) -> int:
    """Return the duration of a clip in samples of 30 Hz, at least 1."""
    # The tolerance keeps a whole number of frames that rounding puts just below it.
    return max(int(clip.duration_s * SCREEN_RATE_HZ + 1e-6), 1)


def read_pieces(
    session: Session, clip: RepeatedClip, n_repeats: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the responses of all neurons to a clip's first repeats, in pieces of time.

    Each piece is its first sample and float32 (repeat, time, neuron), NaN where nothing
    was recorded. The size of a piece is bounded for clips of any length.
    """
    onset_s = session.trials.t_on[list(clip.trials[:n_repeats])]
    count, sample_bytes = n_samples(clip), 4 * n_repeats * session.n_neurons
    length = int(min(max(_PIECE_BYTES // max(sample_bytes, 1), 1), count))
    for first in range(0, count, length):
        time_s = np.arange(first, min(first + length, count)) / SCREEN_RATE_HZ
        shape = (n_repeats, len(time_s), session.n_neurons)
        piece = np.full(shape, np.nan, np.float32)
        for repeat, onset in enumerate(onset_s.tolist()):
            # Offset by a quarter of a sample: if onsets lie on the edge between two
            # samples, or in the middle of one, rounding cannot change which is read.
            times = session.t0 + onset + time_s + 0.25 / SCREEN_RATE_HZ
            values, valid = session.responses.window(times, session.response_scale)
            piece[repeat, valid] = values[valid]
        yield first, piece


@dataclass(frozen=True, slots=True, eq=False)
class AlignedPrediction:
    """Prediction of one neuron aligned with the repeats of a clip.

    Attributes
    ----------
    repeat
        Index of the repeat that the prediction belongs to.
    time_s, values
        Time since the clip's start, and predicted response; NaN if not predicted.
    r
        Correlation with the mean over repeats, NaN if undefined.
    """

    repeat: int
    time_s: Float[np.ndarray, " sample"]
    values: Float[np.ndarray, " sample"]
    r: float


def align_prediction(
    repeats: ClipRepeats,
    times_s: Float[np.ndarray, " sample"],
    predicted: Float[np.ndarray, " sample"],
) -> AlignedPrediction | None:
    """Align one neuron's prediction with its repeats; None without overlap.

    Parameters
    ----------
    repeats
        Repeats of this neuron only.
    times_s
        Times of the prediction on the session clock.
    """
    since = times_s[None] - repeats.onset_s[:, None]
    inside = (since >= 0) & (since < repeats.clip.duration_s)
    # A window may touch two showings: take the one with more samples.
    repeat = int(inside.sum(axis=1).argmax())
    rows = inside[repeat]
    if not rows.any():
        return None
    time_s, values = since[repeat, rows], predicted[rows].astype(np.float64)
    average = np.interp(time_s, repeats.time_s, repeats.average[0])
    return AlignedPrediction(
        repeat, time_s, values, float(moments(values[:, None], average[:, None]).pearson()[0])
    )


def _oracle(responses: np.ndarray) -> np.ndarray:
    """Return jackknife reliability per neuron, over samples in all repeats."""
    oracle = np.full(len(responses), np.nan)
    for i, responses_of in enumerate(responses):
        # Repeats in which the neuron was not recorded are left out.
        responses_of = responses_of[np.isfinite(responses_of).any(axis=1)]
        if len(responses_of) < 2:
            continue
        complete = np.isfinite(responses_of).all(axis=0)
        if complete.sum() > 1:
            oracle[i] = jackknife_reliability(responses_of[:, complete].T[:, :, None]).value[0]
    return oracle


def most_frequent_status(status: np.ndarray) -> str:
    """Return the most frequent status, "" without neurons."""
    names, counts = np.unique(np.asarray(status).astype(str), return_counts=True)
    return str(names[counts.argmax()]) if len(names) else ""


def ceiling_problem(status: str, n_repeats: int) -> str:
    """Return the reason if repeats give no reliability, else ""."""
    reasons = {
        Status.CONSTANT_TARGET: "the mean over repeats never changes",
        Status.TOO_FEW_REPEATS: "too few repeats were recorded",
        Status.NO_SIGNAL: f"no signal is common to {n_repeats} repeats",
        Status.EMPTY: "nothing was recorded",
    }
    return reasons.get(Status(str(status)), "")


# -- noise ceiling (reliability) of all neurons of a session, from repeated clips -----
# `single_trial_max` is the largest correlation that a model can reach with single trials.
# `oracle` is the correlation of each trial with the mean of the other trials. The clips
# are those with the most repeats.
MIN_CLIP_S = 2.0
"""Shorter clips are left out if there are longer ones."""
# Some showings are cut off at an end of the recording.
_NEARLY = 0.75
"""Minimum repeats of a pooled clip, as a share of the maximum number of repeats."""


@dataclass(frozen=True, slots=True, eq=False)
class PopulationCeiling:
    """Reliability of each neuron from repeats of clips; NaN if undefined.

    Attributes
    ----------
    clips, n_repeats, seconds
        Pooled clips, number of repeats of each, and total duration in seconds.
    single_trial_max, oracle, status
        As in `ClipRepeats`, over all pooled clips.
    """

    clips: tuple[RepeatedClip, ...]
    n_repeats: int
    seconds: float
    single_trial_max: Float[np.ndarray, " neuron"]
    oracle: Float[np.ndarray, " neuron"]
    status: np.ndarray

    @property
    def description(self) -> str:
        """Description, such as "10 repeats of 6 clips, 60 s"."""
        n = len(self.clips)
        clips = "one clip" if n == 1 else f"{n} clips"
        return f"{self.n_repeats} repeats of {clips}, {self.seconds:.0f} s"


def pooled_clips(clips: tuple[RepeatedClip, ...]) -> tuple[tuple[RepeatedClip, ...], int]:
    """Return the clips with most repeats, and their minimum number of repeats.

    Raises
    ------
    ValueError
        No clip was shown twice, or the clips are too short in total.
    """
    if not clips:
        raise ValueError("No clip was shown twice: reliability is unknown.")
    # One frame of tolerance: a clip may be stored one frame short.
    long = tuple(c for c in clips if c.duration_s >= MIN_CLIP_S - 1 / SCREEN_RATE_HZ)
    # Short clips only if there is nothing else: onsets dominate their responses.
    pool = long or clips
    most = max(len(clip.trials) for clip in pool)
    pool = tuple(c for c in pool if len(c.trials) >= _NEARLY * most)
    if sum(n_samples(clip) for clip in pool) < MIN_CLIP_S * SCREEN_RATE_HZ - 1:
        raise ValueError(
            f"The repeated clips are shorter than {MIN_CLIP_S:g} s in total: "
            "reliability is unknown."
        )
    return pool, min(len(clip.trials) for clip in pool)


@shows_progress
def population_ceiling(session: Session, job: Job = QUIET) -> PopulationCeiling:
    """Estimate the reliability of all neurons in pieces of bounded memory.

    Parameters
    ----------
    session
        A recording.
    job
        Progress and stop request; see `progress.Job`.

    Raises
    ------
    ValueError
        No clip was shown twice, or the clips are too short in total.
    """
    clips, n_repeats = pooled_clips(repeated_clips(session))
    total = sum(n_samples(clip) for clip in clips)
    # All clips are read with the same number of repeats, as `RunningRepeats` requires.
    running = RunningRepeats(n_repeats, session.n_neurons)
    done = 0
    for clip in clips:
        for _, piece in read_pieces(session, clip, n_repeats):
            job.progress(done / total, 1.0)
            running.add(piece)
            done += piece.shape[1]
    return PopulationCeiling(
        clips,
        n_repeats,
        total / SCREEN_RATE_HZ,
        running.single_trial_max,
        running.oracle,
        running.status,
    )


# -- predictions and recordings of repeated stimuli, aligned for CC_norm --------------
# Windows do not begin with a stimulus, and repeats begin at other phases of the sampling
# grid. Each sample is therefore placed by its time since the onset of its trial.
KINDS = ("video", "image", "none")
"""Kinds of trials that can be repeats; "none" is a trial without a screen."""
_NEURONS = 256
"""Neurons whose scores are computed at a time; limits the float64 copies."""
# A quarter of a sample, so that rounding cannot move a sample whose time is a whole
# number of samples after the onset.
_QUARTER = 0.25


@dataclass(slots=True, eq=False)
class RepeatTable:
    """Table (repeat, time, neuron) of all repeated stimuli, joined along time.

    It needs 8 bytes per repeat, sample and neuron. A sample that two windows predict
    keeps the first prediction: counted twice, it would look like one more repeat.

    Parameters
    ----------
    session
        The recording.
    clips
        Repeated stimuli, see `repeats.repeated_clips`.
    rate_hz
        Response samples per second.
    n_neurons
        Number of columns.
    """

    session: Session
    clips: Sequence[RepeatedClip]
    rate_hz: float
    n_neurons: int
    predicted: np.ndarray = field(init=False, repr=False)
    recorded: np.ndarray = field(init=False, repr=False)
    _trials: dict[str, np.ndarray] = field(init=False, repr=False)
    _clip_of: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # The tolerance keeps a whole number of samples that rounding puts just below.
        lengths = [int(clip.duration_s * self.rate_hz + 1e-6) for clip in self.clips]
        firsts = np.cumsum([0, *lengths])[:-1].tolist()
        self._clip_of = np.repeat(np.arange(len(lengths)), lengths)
        rows = [
            (self.session.trials.t_on[trial], repeat, first, length)
            for clip, first, length in zip(self.clips, firsts, lengths, strict=True)
            for repeat, trial in enumerate(clip.trials)
        ]
        # In order of the onsets, for `searchsorted`.
        columns = np.array(sorted(rows)).reshape(-1, 4).T
        names = ("onset_s", "repeat", "first", "length")
        self._trials = dict(zip(names, columns, strict=True))
        n_repeats = max((len(clip.trials) for clip in self.clips), default=0)
        shape = (n_repeats, len(self._clip_of), self.n_neurons)
        self.predicted = np.full(shape, np.nan, np.float32)
        self.recorded = np.full(shape, np.nan, np.float32)

    def add(
        self,
        times_s: np.ndarray,
        columns: np.ndarray,
        predicted: np.ndarray,
        recorded: np.ndarray,
        counted: np.ndarray,
    ) -> None:
        """Add samples (time, n) of some columns at times on the session clock."""
        onset_s, length = self._trials["onset_s"], self._trials["length"]
        shifted_s = times_s + _QUARTER / self.rate_hz
        trial = np.searchsorted(onset_s, shifted_s, side="right") - 1
        sample = np.floor((shifted_s - onset_s[trial]) * self.rate_hz).astype(int)
        rows = np.flatnonzero((trial >= 0) & (sample < length[trial]))
        trial, sample = trial[rows], sample[rows]
        repeat = self._trials["repeat"][trial].astype(int)
        time = self._trials["first"][trial].astype(int) + sample
        place = (repeat[:, None], time[:, None], columns)
        is_new = counted[rows] & np.isfinite(recorded[rows])
        is_new &= np.isnan(self.recorded[place])
        for table, values in ((self.predicted, predicted), (self.recorded, recorded)):
            table[place] = np.where(is_new, values[rows], table[place])

    @property
    def has_repeats(self) -> bool:
        """Whether any sample was predicted in two repeats or more."""
        return bool((np.isfinite(self.recorded).sum(axis=0) > 1).any())

    def scores(self, part: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Return CC_norm of each neuron, and its number of samples.

        Neurons without a ceiling are NaN and have no samples, so that they do not enter
        means: a score of 0 would blame the predictor for a noisy neuron.

        Parameters
        ----------
        part
            Samples of the joined stimuli; all by default.
        """
        values, counts = np.full(self.n_neurons, np.nan), np.zeros(self.n_neurons)
        for first in range(0, self.n_neurons, _NEURONS):
            block = slice(first, first + _NEURONS)
            # (repeat, time, neuron) to (neuron, repeat, time)
            recorded = self.recorded[:, part, block].transpose(2, 0, 1)
            predicted = self.predicted[:, part, block].transpose(2, 0, 1)
            values[block] = cc_scores(predicted, recorded).cc_norm
            counts[block] = np.isfinite(recorded).sum(axis=(1, 2))
        return values, np.where(np.isfinite(values), counts, 0).astype(np.int64)

    def parts(self, groups: StimulusGroups) -> dict[str, np.ndarray]:
        """Return the samples (bool) of the stimuli of each group, by name."""
        trials = [clip.trials[0] for clip in self.clips]
        names = groups.at(self.session.trials.t_on[trials])[self._clip_of]
        return {name: names == name for name in np.unique(names[names != ""]).tolist()}
