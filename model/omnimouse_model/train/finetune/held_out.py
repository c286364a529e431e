"""Split of the train tier into windows for training and for validation.

The official recipe holds out 5 % of the train windows at random. Windows start at every
screen sample, so neighbouring windows share all samples except one. Here, intervals of
time are held out instead, and no train window overlaps a held-out window.
"""

from dataclasses import replace

import numpy as np

from omnimouse_model.data.clock import GRID_RATE_HZ
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WINDOW_S
from omnimouse_model.errors import FinetuneError
from omnimouse_model.train.batches import TrainingSession, training_session

SHARE = 0.05
# Official stride of validation windows in fine-tuning, in screen samples: 1 s.
STRIDE = 30
INTERVAL_S = 10.0
"""Length of one held-out interval; shorter in short sessions."""
PARTS = 20
"""Minimum number of intervals of a short session, if windows fit into them."""


def hold_out(session: Session, seed: int) -> TrainingSession:
    """Return a session with train windows and held-out windows, drawn with a seed.

    Raises
    ------
    FinetuneError
        There are no train windows, or too few to hold out some.
    """
    source = _opened(session)
    starts = source.starts
    # Every interval also costs the train windows that overlap its borders, so intervals
    # shorter than a window would cost far more windows than they hold out.
    length = min(INTERVAL_S, covered_s(starts) / PARTS)
    interval = np.floor((starts - starts[0]) / max(length, WINDOW_S)).astype(int)
    numbers = np.random.default_rng(seed).permutation(np.unique(interval))
    held = np.zeros(len(starts), bool)
    for number in numbers:
        if held.sum() >= SHARE * len(starts):
            break
        held |= interval == number
    held_out_starts = spaced(starts[held])
    # Distance of each train window to the nearest held-out window before and after it.
    near = np.searchsorted(held_out_starts, starts)
    distance = np.minimum(
        np.abs(starts - held_out_starts[np.maximum(near - 1, 0)]),
        np.abs(starts - held_out_starts[np.minimum(near, len(held_out_starts) - 1)]),
    )
    # Starts at least one window length apart do not overlap. Starts are float seconds,
    # hence the tolerance.
    train = starts[distance > WINDOW_S - 1e-6]
    if not len(train):
        raise FinetuneError(
            "too_short",
            f"Session {session.id!r} has only {len(starts):,} train windows of "
            f"{WINDOW_S:g} s, too few to hold some out: record longer, or name more "
            "trials 'train'.",
        )
    return replace(source, starts=train, held_out=held_out_starts)


def _opened(session: Session) -> TrainingSession:
    """Return the session with its train windows; FinetuneError if it has none."""
    has_some = bool(session.tiers().get("train"))
    source = training_session(session) if has_some else None
    if source is None or not len(source.starts):
        raise FinetuneError(
            "no_train",
            f"Session {session.id!r} has no whole window of tier 'train'; its tiers "
            f"are {', '.join(session.tiers()) or 'none'}. Name the trials to learn "
            "from 'train', or remove every tier.",
        )
    return source


def covered_s(starts: np.ndarray) -> float:
    """Return the seconds that windows with sorted starts cover together.

    Gaps of a recording are in no window and are not counted.
    """
    return float(np.minimum(np.diff(starts), WINDOW_S).sum()) + WINDOW_S


def spaced(starts: np.ndarray) -> np.ndarray:
    """Return those of the sorted starts that are at least the official stride apart."""
    least = STRIDE / GRID_RATE_HZ - 1e-6
    spaced_starts = [starts[0]]
    for start in starts[1:]:
        if start - spaced_starts[-1] >= least:
            spaced_starts.append(start)
    return np.array(spaced_starts)
