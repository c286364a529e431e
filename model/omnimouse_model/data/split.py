"""Train and test of a recording that names no tier.

Recordings in general are divided into early and late time, spiking recordings of trials
into trials at random.

The division belongs to the recording and is the same for every model, so that scores
of models with other windows are comparable. Its pause and its unit are OmniMouse's
window of 2 s.
"""

from hashlib import blake2b

import numpy as np

from omnimouse_model.data.clock import full_window_starts, grid_points
from omnimouse_model.data.stimulus import BLANK_TIER
from omnimouse_model.data.window_spec import WINDOW_S

TRAIN_SHARE = 0.8
SPLIT_NOTE = (
    "no tiers: the first four fifths of the time are train, the rest, after a pause "
    f"of {WINDOW_S:g} s, test"
)
NO_TIER = frozenset({"", "unknown", "none", "nan"})
"""Entries of files, in lower case, for a trial without a tier."""


def has_tiers(tier: np.ndarray) -> bool:
    """Whether any of the trials (n,) has a tier."""
    names = {name.strip().lower() for name in tier.tolist()}
    return bool(names - NO_TIER - {BLANK_TIER})


def early_and_late(grid: np.ndarray, inside: np.ndarray) -> dict[str, np.ndarray]:
    """Native span (1, 2) of train and of test time; {} if either has no window.

    Parameters
    ----------
    grid, inside
        Times at which frames of windows lie, and which of them windows may touch.
    """
    length = grid_points(WINDOW_S)
    starts = full_window_starts(inside, length)
    if not len(starts):
        return {}
    cut = int(starts[int(TRAIN_SHARE * len(starts))])
    if starts[0] > cut - length or starts[-1] < cut + length:
        return {}
    # Activity is correlated over seconds: the pause keeps test apart from train.
    after = float(grid[cut + length])
    return {
        "train": np.array([[grid[0], grid[cut]]]),
        "test": np.array([[after, np.inf]]),
    }


def random_tiers(n_trials: int, seed: int) -> np.ndarray:
    """Tier str (n_trials,) of each trial: train, validation and test, 8:1:1.

    The order comes from hashes, so that it is the same in every version of NumPy.
    """
    keys = [
        blake2b(f"{seed} {trial}".encode(), digest_size=8).digest() for trial in range(n_trials)
    ]
    order = sorted(range(n_trials), key=keys.__getitem__)
    tiers = np.full(n_trials, "train", "<U10")
    held_out = n_trials // 10
    tiers[order[:held_out]] = "test"
    tiers[order[held_out : 2 * held_out]] = "validation"
    return tiers
