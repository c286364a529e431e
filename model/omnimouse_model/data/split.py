"""Train and test time of a recording that names no tier: early and late time.

The division belongs to the recording and is the same for every model, so that scores
of models with other windows are comparable. Its pause and its unit are OmniMouse's
window of 2 s.
"""

from typing import TYPE_CHECKING

import numpy as np

from omnimouse_model.data.clock import full_window_starts, grid_points
from omnimouse_model.data.stimulus import BLANK_TIER
from omnimouse_model.data.window_spec import OMNIMOUSE

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session

TRAIN_SHARE = 0.8
SPLIT_NOTE = (
    "no tiers: the first four fifths of the time are train, the rest, after a pause "
    f"of {OMNIMOUSE.duration_s:g} s, test"
)
_NO_TIER = frozenset({"", BLANK_TIER, "unknown", "none", "nan"})


def has_tiers(tier: np.ndarray) -> bool:
    """Whether any of the trials (n,) has a tier."""
    return any(name.strip().lower() not in _NO_TIER for name in set(tier.tolist()))


def early_and_late(grid: np.ndarray, inside: np.ndarray) -> dict[str, np.ndarray]:
    """Native span (1, 2) of train and of test time; {} if either has no window.

    Parameters
    ----------
    grid, inside
        Times at which frames of windows lie, and which of them windows may touch.
    """
    length = grid_points(OMNIMOUSE.duration_s)
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


def split_minutes(session: "Session") -> dict[str, float]:
    """Minutes of the spans of a session's split, within its windows' time."""
    last = session.common_interval().stop
    return {
        tier: float((np.minimum(spans[:, 1], last) - spans[:, 0]).sum()) / 60.0
        for tier, spans in session.split.items()
    }
