"""Colour of the dots of a recording, read from its frames."""

from typing import Final

import numpy as np
from jaxtyping import Float

from omnimouse_model.data.session import Session
from omnimouse_model.lab.recorded.trials import PlaceTrials

_MAX_TRIALS: Final = 60
"""Trials whose frames are read, spread over the recording."""
_MOMENTS: Final = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
"""Share of a trial at which frames are read: a dot may last a part of it."""


def dots_are_black(session: Session, dots: PlaceTrials) -> bool | None:
    """Return whether most dots are darker than the screen, None without a video.

    The gray level at the place of a dot is compared with the median of its frame, in
    the frame of the trial where they differ most.
    """
    if session.stimulus is None or not len(dots.trials):
        return None
    spread = np.linspace(0, len(dots.trials) - 1, _MAX_TRIALS).round().astype(int)
    differences = [_difference(session, dots, at) for at in set(spread.tolist())]
    known = [one for one in differences if one]
    return None if not known else bool(np.mean(np.array(known) < 0) > 0.5)


def _difference(session: Session, dots: PlaceTrials, at: int) -> float:
    """Return the largest difference of a dot to its frame, 0 where none is shown."""
    stimulus, trial = session.stimulus, dots.trials[at]
    assert stimulus is not None
    onset, offset = session.trials.t_on[trial], session.trials.t_off[trial]
    times = session.t0 + onset + _MOMENTS * (offset - onset)
    frames, _ = stimulus.sample(times[np.isfinite(times)])
    if not len(frames):
        return 0.0
    gray: Float[np.ndarray, "moment height width"] = frames.reshape(*frames.shape[:3], -1).mean(
        axis=3
    )
    height, width = gray.shape[1:]
    row = dots.rows[dots.row[at]] / dots.height_widths * height
    column = dots.columns[dots.column[at]] * width
    y, x = min(max(int(row), 0), height - 1), min(max(int(column), 0), width - 1)
    away = gray[:, y, x] - np.median(gray, axis=(1, 2))
    return float(away[np.abs(away).argmax()])
