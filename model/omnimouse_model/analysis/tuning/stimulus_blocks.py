"""Blocks of a session's stimulus and responses on one 30-Hz clock.

Estimates from minutes of video read it with this module. One block is in memory at a
time. Of a long recording, a bounded number of blocks is read, spread evenly over it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from omnimouse_model.data.clock import frame_slot
from omnimouse_model.data.frames import fit_video
from omnimouse_model.data.session import SCREEN_MEAN, SCREEN_STD, Session
from omnimouse_model.data.stimulus import Stimulus
from omnimouse_model.data.valid_starts import recorded_shares
from omnimouse_model.data.window_spec import SCREEN_RATE_HZ, VIDEO_SIZE
from omnimouse_model.progress import QUIET, Job

BLOCK = 600
"""Samples per block: 20 s."""
MAX_BLOCKS = 90
"""Maximum number of blocks per session: half an hour, enough for stable estimates."""

"""Called with the finished share, 0 to 1; an exception stops the work."""


@dataclass(frozen=True, slots=True, eq=False)
class StimulusBlock:
    """Frames and responses of one part of a session.

    Attributes
    ----------
    number
        Index among the blocks that are read.
    frames, shown
        float32 (before + time, 36, 64) frames in units of contrast, 0 for unknown
        frames; and bool (before + time,), whether a frame is known.
    responses, recorded
        float32 (time + after, neuron) normalised responses, and bool (time + after,),
        whether a sample was recorded. A missing value of one neuron is NaN.
    before
        Number of frames before the first response.
    """

    number: int
    frames: Float[np.ndarray, "frame row column"]
    shown: Bool[np.ndarray, " frame"]
    responses: Float[np.ndarray, "sample neuron"]
    recorded: Bool[np.ndarray, " sample"]
    before: int

    @property
    def length(self) -> int:
        """Number of samples without the margins."""
        return len(self.frames) - self.before


def block_starts(session: Session, max_blocks: int = MAX_BLOCKS) -> np.ndarray:
    """Return the first samples of the blocks, counted from the common interval."""
    span = session.common_interval()
    n_samples = int((span.stop - span.start) * SCREEN_RATE_HZ)
    # A last block of less than half the length is dropped.
    starts = np.arange(0, max(n_samples - BLOCK // 2, 0), BLOCK)
    # So are blocks of which a pause of the responses takes more than half.
    edges = span.start + np.stack([starts, starts + BLOCK]) / SCREEN_RATE_HZ
    starts = starts[recorded_shares(session, *edges) > 0.5]
    if len(starts) > max_blocks:
        starts = starts[np.linspace(0, len(starts) - 1, max_blocks).round().astype(int)]
    return starts


def stimulus_blocks(
    session: Session,
    neurons: Int[np.ndarray, " neuron"],
    *,
    before: int = 0,
    after: int = 0,
    max_blocks: int = MAX_BLOCKS,
    job: Job = QUIET,
) -> Iterator[StimulusBlock]:
    """Yield the session in blocks of 20 s.

    Parameters
    ----------
    neurons
        Neurons whose responses are read.
    before, after
        Number of extra frames before each block, and of extra responses after it, for
        filters and lags. They overlap with the neighbouring blocks.
    """
    stimulus = session.stimulus
    if stimulus is None:
        return
    starts = block_starts(session, max_blocks)
    span = session.common_interval()
    for number, start in enumerate(starts.tolist()):
        job.progress(number / len(starts), 1.0)
        # On the sampling grid of the responses, so that lags are whole samples.
        frame_times = _times(span.start, start - before, start + BLOCK)
        sample_times = _times(span.start, start, start + BLOCK + after)
        frames, shown = _contrast(stimulus, frame_times)
        # The last block may extend past the end of the common interval.
        shown &= frame_times < span.stop
        values, recorded = session.responses.window(sample_times, session.response_scale)
        values = values[:, neurons]
        recorded = recorded & (sample_times < span.stop)
        recorded &= np.isfinite(values).any(axis=1)
        yield StimulusBlock(number, frames, shown, values, recorded, before)
    job.progress(1.0, 1.0)


def _times(begin: float, first: int, stop: int) -> np.ndarray:
    times: np.ndarray = begin + np.arange(first, stop) / SCREEN_RATE_HZ
    return times


def _contrast(stimulus: Stimulus, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frames in units of contrast, and whether each is known."""
    # 0 is the mean gray in units of contrast: an unknown frame adds nothing.
    frames = np.zeros((len(times), *VIDEO_SIZE), np.float32)
    stored, at = stimulus.sample(times)
    shown = np.zeros(len(times), bool)
    if not len(at):
        return frames, shown
    slots = frame_slot(times[at], stimulus.slot_t)
    fitted = fit_video(stored, VIDEO_SIZE).astype(np.float32)
    fitted = (fitted - SCREEN_MEAN) / SCREEN_STD
    is_finite = np.isfinite(fitted).all(axis=(1, 2))
    is_finite &= stimulus.trials.readable[stimulus.slot_trial[slots]]
    frames[at[is_finite]] = fitted[is_finite]
    shown[at[is_finite]] = True
    return frames, shown
