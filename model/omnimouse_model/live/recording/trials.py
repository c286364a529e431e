"""Navigation between trials: number of the current trial, and steps to others."""

from collections.abc import Callable

import numpy as np
from psygnal import Signal

from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.live.state import LiveState

_NEARLY_S = 0.05
"""Tolerance in seconds: a window moved to a trial may start slightly before it."""


def trial_at(session: Session, time_s: float) -> int | None:
    """Return the row of the trial that contains a time, None between trials."""
    trials = session.trials
    inside = np.flatnonzero((trials.t_on <= time_s) & (time_s < trials.t_off))
    return int(inside[0]) if len(inside) else None


class TrialSteps:
    """Trials in order of time, counted from 0.

    Attributes
    ----------
    changed
        Emitted by `go_to`, even if the window cannot move.
    """

    changed = Signal()

    def __init__(self, state: LiveState, seek: Callable[[float], None]) -> None:
        self._state, self._seek = state, seek
        self._target: tuple[Window | None, int] = (None, 0)

    @property
    def count(self) -> int:
        """Number of trials of the session."""
        return len(self._starts())

    @property
    def number(self) -> int | None:
        """Number of the current trial; None before the first and without a session.

        This is the target of the latest `go_to` until the window moves, else the last
        trial that starts at or before the window. A window that is aligned to a trial
        can begin before its onset.
        """
        window = self._state.window
        if window is None:
            return None
        if self._target[0] is window:
            return self._target[1]
        start = window.start_s - window.spec.trial_offset_s + _NEARLY_S
        before = int(np.searchsorted(self._starts(), start, side="right"))
        return before - 1 if before else None

    def go_to(self, number: int) -> None:
        """Move the window to the start of a trial, as far as the session allows."""
        starts = self._starts()
        if len(starts):
            # Clamped: holding the key at the last trial must not fail.
            number = min(max(number, 0), len(starts) - 1)
            self._seek(float(starts[number]) + self._state.spec.trial_offset_s)
            # Windows stop at the session's ends, where several trials share one window:
            # the target must be stored, or `step` would not get past the first of them.
            self._target = (self._state.window, number)
            self.changed.emit()

    def step(self, n: int) -> None:
        """Move by `n` trials, at most to the first or last."""
        if self._state.window is None:
            return
        number = self.number
        if number is not None or n > 0:
            self.go_to((-1 if number is None else number) + n)

    def _starts(self) -> np.ndarray:
        session = self._state.session
        if session is None:
            return np.zeros(0)
        # Files may list trials in another order.
        return np.sort(session.trials.t_on)
