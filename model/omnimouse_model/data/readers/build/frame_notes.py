"""Notes on frames that differ from the model's in size or gray values."""

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.stimulus import Stimulus
from omnimouse_model.data.window_spec import VIDEO_SIZE

# Few frames are enough for the range of gray values, and opening stays fast.
_SAMPLED_TRIALS = 6
_SAMPLED_FRAMES = 4


def note_frames(stimulus: Stimulus, notes: Notes) -> None:
    """Note differences between the frames and the model's input; reads a few frames."""
    _note_size(stimulus.size, notes)
    _note_values(stimulus, notes)


def _note_size(size: tuple[int, ...], notes: Notes) -> None:
    if size != VIDEO_SIZE:
        height, width = VIDEO_SIZE
        notes.warn(
            "frame_size",
            f"frames are {'×'.join(str(n) for n in size)}; the model's are "
            f"{height}×{width} gray, to which windows average them",
        )


def _note_values(stimulus: Stimulus, notes: Notes) -> None:
    """Note gray values outside 0-255, which the model expects; reads a few frames."""
    has_film = np.array([stimulus.film.has(i) for i in range(len(stimulus.trials))])
    shown = np.flatnonzero(has_film).tolist()
    low, high, is_finite = np.inf, -np.inf, True
    # Spread over the session, because stimuli can differ between its parts.
    for trial in shown[:: max(1, len(shown) // _SAMPLED_TRIALS)][:_SAMPLED_TRIALS]:
        first = int(stimulus.trials.first_slot[trial])
        n_slots = int(stimulus.trials.n_slots[trial])
        step = max(1, n_slots // _SAMPLED_FRAMES)
        for slot in range(first, first + n_slots, step):
            frame = stimulus.frame(slot)
            is_finite &= bool(np.isfinite(frame).all())
            low, high = min(low, float(frame.min())), max(high, float(frame.max()))
    lost = int(np.isnan(stimulus.trials.blank_value[~has_film]).sum())
    if lost:
        notes.assume("no_gray", f"{lost} blank trials name no gray level; mean gray")
    if not is_finite:
        notes.warn(
            "not_finite",
            "some frames hold values that are not finite; models are given mean gray",
        )
    if high > 255 or low < 0:
        notes.warn(
            "gray_range",
            f"stimulus reaches from {low:g} to {high:g}; the model expects 0–255",
        )
    # Values are never rescaled: a dark film can also stay below 1.
    elif high <= 1 and shown:
        notes.warn(
            "gray_range",
            "stimulus looks 0–1; the model expects 0–255; not scaled: multiply by 255",
        )
