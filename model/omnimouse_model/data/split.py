"""Train and test time of a recording that names no tier: early and late time."""

from typing import TYPE_CHECKING

import numpy as np

from omnimouse_model.data.clock import N_FRAMES, WINDOW_S, full_window_starts
from omnimouse_model.data.stimulus import BLANK_TIER

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session

TRAIN_SHARE = 0.8
SPLIT_NOTE = (
    "no tiers: the first four fifths of the time are train, the rest, after a pause "
    f"of {WINDOW_S:g} s, test"
)
_UNKNOWN = frozenset({"", BLANK_TIER, "unknown", "none", "nan"})


def has_tiers(tier: np.ndarray) -> bool:
    """Whether any of the trials' tiers (n,) says something."""
    return any(name.strip().lower() not in _UNKNOWN for name in set(tier.tolist()))


def early_and_late(grid: np.ndarray, inside: np.ndarray) -> dict[str, np.ndarray]:
    """Native span (1, 2) of train and of test time; none where either has no window.

    Parameters
    ----------
    grid, inside
        Times at which frames of windows lie, and which of them windows may touch.
    """
    starts = full_window_starts(inside)
    if not len(starts):
        return {}
    cut = int(starts[int(TRAIN_SHARE * len(starts))])
    if starts[0] > cut - N_FRAMES or starts[-1] < cut + N_FRAMES:
        return {}
    after = float(grid[cut + N_FRAMES])
    return {
        "train": np.array([[grid[0], grid[cut]]]),
        "test": np.array([[after, np.inf]]),
    }


def split_minutes(session: "Session") -> dict[str, float]:
    """Minutes of the spans of a session's split, within its windows' time."""
    last = session.common_interval().stop
    return {
        tier: float((np.minimum(spans[:, 1], last) - spans[:, 0]).sum()) / 60.0
        for tier, spans in session.split.items()
    }
