"""Going from trial to trial: where the window is among them, and how to get to one."""

from collections.abc import Callable

import numpy as np
from psygnal import Signal

from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.live.state import LiveState

_NEARLY_S = 0.05
"""A window that was to begin with a trial may begin so much before it."""


def trial_at(session: Session, time_s: float) -> int | None:
    """Row of the trial table that holds a time, None between trials."""
    trials = session.trials
    inside = np.flatnonzero((trials.t_on <= time_s) & (time_s < trials.t_off))
    return int(inside[0]) if len(inside) else None


class TrialSteps:
    """Trials in the order of time, counted from 0; `controller.trials`.

    Parameters
    ----------
    state
        What is on screen.
    seek
        Moves the window to a time on the session clock.

    Attributes
    ----------
    changed
        Emitted when another trial was gone to, even where the window cannot move.
    """

    changed = Signal()

    def __init__(self, state: LiveState, seek: Callable[[float], None]) -> None:
        self._state, self._seek = state, seek
        self._gone_to: tuple[Window | None, int] = (None, 0)

    @property
    def count(self) -> int:
        """How many trials the session has."""
        return len(self._starts())

    @property
    def number(self) -> int | None:
        """The trial that was gone to, while the window has not moved since.

        Else the one that the window begins in, or the last one before it. None before
        the first, and without a session.
        """
        window = self._state.window
        if window is None:
            return None
        if self._gone_to[0] is window:
            return self._gone_to[1]
        start = window.start_s + _NEARLY_S
        before = int(np.searchsorted(self._starts(), start, side="right"))
        return before - 1 if before else None

    def go_to(self, number: int) -> None:
        """Begin the window where a trial begins, as near as the session allows."""
        starts = self._starts()
        if len(starts):
            number = min(max(number, 0), len(starts) - 1)
            self._seek(float(starts[number]))
            # The ends of a session hold the window: several trials share one there.
            self._gone_to = (self._state.window, number)
            self.changed.emit()

    def step(self, n: int) -> None:
        """Go `n` trials on, or back; stops at the first and the last."""
        if self._state.window is None:
            return
        at = self.number
        if at is not None or n > 0:
            self.go_to((-1 if at is None else at) + n)

    def _starts(self) -> np.ndarray:
        session = self._state.session
        if session is None:
            return np.zeros(0)
        return np.sort(session.trials.t_on)
