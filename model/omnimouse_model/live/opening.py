"""What is on screen when a session has just been opened."""

from pathlib import Path

import numpy as np

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.data.windows import Window

N_SELECTED_AT_FIRST = 4


def opened(path_or_session: str | Path | Session) -> Session:
    """Open a path; a session is open already."""
    if isinstance(path_or_session, str | Path):
        return open_session(path_or_session)
    return path_or_session


def first_start(session: Session) -> float:
    """Start of a held-out window where there is one: what is shown is then honest."""
    for tier in ("test", "validation", "oracle", None):
        if tier is not None and not set(session.named_tiers(tier)) & set(
            session.tiers()
        ):
            continue
        starts = session.window_starts(tier=tier)
        if len(starts):
            return float(starts[0])
    return 0.0


def active_neurons(window: Window) -> tuple[int, ...]:
    """Pick the neurons that vary most here: chosen from the data, not from a score."""
    spread = np.nan_to_num(np.std(window.responses, axis=0))
    return tuple(int(i) for i in np.argsort(-spread)[:N_SELECTED_AT_FIRST])
