"""Which windows of a session's train tier are kept from training, to validate on.

Officially 5 % of the train windows are held out at random. Windows begin at every
screen sample, so that neighbours share all but one of their samples: here stretches of
time are drawn, and no train window reaches into one.
"""

from dataclasses import replace

import numpy as np

from omnimouse_model.data.clock import SCREEN_RATE_HZ, WINDOW_S
from omnimouse_model.data.session import Session
from omnimouse_model.errors import FinetuneError
from omnimouse_model.train.batches import TrainingSession, training_session

SHARE = 0.05
STRIDE = 30
STRETCH_S = 10.0
"""Of the time that is held out in one piece; less where a session is short."""
PARTS = 20
"""Stretches that a short session is divided into at least, as far as windows fit."""


def hold_out(session: Session, seed: int) -> TrainingSession:
    """Divide the windows of the train tier; the same for the same seed.

    Raises
    ------
    FinetuneError
        There are no train windows, or too few to hold some out.
    """
    source = _opened(session)
    starts = source.starts
    length = min(STRETCH_S, (starts[-1] + WINDOW_S - starts[0]) / PARTS)
    stretch = np.floor((starts - starts[0]) / max(length, WINDOW_S)).astype(int)
    numbers = np.random.default_rng(seed).permutation(np.unique(stretch))
    held = np.zeros(len(starts), bool)
    for number in numbers:
        if held.sum() >= SHARE * len(starts):
            break
        held |= stretch == number
    chosen = spaced(starts[held])
    near = np.searchsorted(chosen, starts)
    apart = np.minimum(
        np.abs(starts - chosen[np.maximum(near - 1, 0)]),
        np.abs(starts - chosen[np.minimum(near, len(chosen) - 1)]),
    )
    kept = starts[apart > WINDOW_S - 1e-6]
    if not len(kept):
        raise FinetuneError(
            "too_short",
            f"Session {session.id!r} has only {len(starts):,} train windows of "
            f"{WINDOW_S:g} s, too few to hold some out: record longer, or name more "
            "trials 'train'.",
        )
    return replace(source, starts=kept, held_out=chosen)


def _opened(session: Session) -> TrainingSession:
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


def spaced(starts: np.ndarray) -> np.ndarray:
    """Of sorted starts, those that lie at least the official stride apart."""
    least = STRIDE / SCREEN_RATE_HZ - 1e-6
    chosen = [starts[0]]
    for start in starts[1:]:
        if start - chosen[-1] >= least:
            chosen.append(start)
    return np.array(chosen)
