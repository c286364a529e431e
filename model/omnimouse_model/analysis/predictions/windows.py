"""Windows that cover a recording or a tier under one mask."""

import numpy as np

from omnimouse_model.analysis.evaluate.shard import centring_starts
from omnimouse_model.analysis.evaluate.tier_windows import scored_starts
from omnimouse_model.data.clock import GRID_RATE_HZ, grid_points
from omnimouse_model.data.session import Session
from omnimouse_model.masks import Mask, scored_cells


def prediction_starts(session: Session, mask: Mask, tier: str | None) -> np.ndarray:
    """Return the starts (n,) of the windows to predict, s on the session clock.

    Those of a tier are the windows that `evaluate` scores, and the train windows that
    its centred scores need. Without a tier, consecutive windows cover all valid times:
    each begins where the targets of the one before end, so that every sample is
    predicted once. The last window of a stretch of valid times ends with it, and may
    repeat samples of the window before.

    Raises
    ------
    ValueError
        There is no valid window.
    """
    spec = mask.spec
    if tier is not None:
        scored = scored_starts(session, tier, None, spec)
        return np.union1d(scored, centring_starts(session, spec))
    if spec.align == "trial":
        starts = session.window_starts(None, spec=spec)
    else:
        indices = session.window_indices(None, spec=spec)
        chosen = _consecutive(indices, target_points(mask))
        starts = np.asarray(session.start_grid[chosen] - session.t0)
    if not len(starts):
        raise ValueError(f"Session {session.id!r} has no valid window of {spec.duration_s:g} s.")
    return starts


def target_points(mask: Mask) -> int:
    """Return the points of the start grid from the first to the last target sample."""
    rows = np.flatnonzero(scored_cells(mask).any(axis=1))
    if not len(rows):  # decoded behaviour is predicted for the whole window
        return grid_points(mask.spec.duration_s)
    span_s = (rows[-1] + 1 - rows[0]) / mask.spec.response_rate_hz
    return max(1, int(np.floor(span_s * GRID_RATE_HZ + 1e-6)))


def _consecutive(indices: np.ndarray, stride: int) -> np.ndarray:
    """Return every `stride`-th index of each run of indices, and the last of a run."""
    chosen = [np.zeros(0, np.int64)]
    for run in np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1):
        part = run[::stride]
        if len(run) and part[-1] != run[-1]:
            part = np.append(part, run[-1])
        chosen.append(part)
    return np.concatenate(chosen)
