"""Noise ceiling (reliability) of all neurons of a session, from repeated clips.

`single_trial_max` is the largest correlation that a model can reach with single trials.
`oracle` is the correlation of each trial with the mean of the other trials. The clips
are those with the most repeats.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from omnimouse_model.analysis.tuning.repeats import (
    RepeatedClip,
    n_samples,
    read_pieces,
    repeated_clips,
)
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import SCREEN_RATE_HZ
from omnimouse_model.metrics.repeats import RunningRepeats
from omnimouse_model.progress import QUIET, Job

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


def pooled_clips(
    clips: tuple[RepeatedClip, ...],
) -> tuple[tuple[RepeatedClip, ...], int]:
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
