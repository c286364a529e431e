"""Notes on frames that differ from OmniMouse's in size or gray values."""

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.stimulus import Stimulus
from omnimouse_model.data.window_spec import VIDEO_SIZE

# Few frames are enough for the range of gray values, and opening stays fast.
_SAMPLED_TRIALS = 6
_SAMPLED_FRAMES = 4


def note_frames(stimulus: Stimulus, notes: Notes) -> None:
    """Note differences from OmniMouse's input; reads a few frames."""
    size = stimulus.size
    if size != VIDEO_SIZE:
        height, width = VIDEO_SIZE
        notes.warn(
            "frame_size",
            f"frames are {'×'.join(str(n) for n in size)}; OmniMouse's are "
            f"{height}×{width} gray, to which its windows average them",
        )
    _note_values(stimulus, notes)


def _note_values(stimulus: Stimulus, notes: Notes) -> None:
    """Note gray values outside 0-255, the range of every model."""
    has_frames = np.array([stimulus.source.has(i) for i in range(len(stimulus.trials))])
    trials = np.flatnonzero(has_frames).tolist()
    low, high, is_finite = np.inf, -np.inf, True
    # Spread over the session, because stimuli can differ between its parts.
    for trial in trials[:: max(1, len(trials) // _SAMPLED_TRIALS)][:_SAMPLED_TRIALS]:
        first = int(stimulus.trials.first_slot[trial])
        n_slots = int(stimulus.trials.n_slots[trial])
        step = max(1, n_slots // _SAMPLED_FRAMES)
        for slot in range(first, first + n_slots, step):
            frame = stimulus.frame(slot)
            is_finite &= bool(np.isfinite(frame).all())
            low, high = min(low, float(frame.min())), max(high, float(frame.max()))
    n_unknown = int(np.isnan(stimulus.trials.blank_value[~has_frames]).sum())
    if n_unknown:
        notes.assume(
            "no_gray", f"{n_unknown} blank trials name no gray level; mean gray"
        )
    if not is_finite:
        notes.warn(
            "not_finite",
            "some frames hold values that are not finite; models receive mean gray",
        )
    if high > 255 or low < 0:
        notes.warn(
            "gray_range",
            f"stimulus reaches from {low:g} to {high:g}; the model expects 0–255",
        )
    # Values are never rescaled: a dark video can also stay below 1.
    elif high <= 1 and trials:
        notes.warn(
            "gray_range",
            "the frames of the video that were looked at have gray values of 0 to 1; "
            "models expect 0–255, and nothing is scaled (multiply the video by 255)",
        )
