"""Predictions and recordings of repeated stimuli, aligned for CC_norm.

Windows do not begin with a stimulus, and repeats begin at other phases of the sampling
grid. Each sample is therefore placed by its time since the onset of its trial.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from omnimouse_model.analysis.evaluate.stimulus_groups import StimulusGroups
from omnimouse_model.analysis.tuning.repeats import RepeatedClip
from omnimouse_model.data.session import Session
from omnimouse_model.metrics import cc_scores

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
        Repeated stimuli, see `tuning.repeats.repeated_clips`.
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
