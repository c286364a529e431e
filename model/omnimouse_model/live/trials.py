"""Going from trial to trial: where the window is among them, and how to get to one."""

from collections.abc import Callable

import numpy as np

from omnimouse_model.data.clock import WINDOW_S
from omnimouse_model.data.session import Session
from omnimouse_model.live.state import LiveState


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
    """

    def __init__(self, state: LiveState, seek: Callable[[float], None]) -> None:
        self._state, self._seek = state, seek

    @property
    def count(self) -> int:
        """How many trials the session has."""
        return len(self._starts())

    @property
    def number(self) -> int | None:
        """The trial in the middle of the window, or the last one before it.

        None before the first, and without a session.
        """
        window = self._state.window
        if window is None:
            return None
        middle = window.start_s + WINDOW_S / 2
        before = int(np.searchsorted(self._starts(), middle, side="right"))
        return before - 1 if before else None

    def go_to(self, number: int) -> None:
        """Begin the window where a trial begins, as near as the session allows."""
        starts = self._starts()
        if len(starts):
            self._seek(float(starts[min(max(number, 0), len(starts) - 1)]))

    def step(self, n: int) -> None:
        """Go `n` trials on, or back; stops at the first and the last."""
        if self._state.window is not None:
            self.go_to((-1 if self.number is None else self.number) + n)

    def _starts(self) -> np.ndarray:
        session = self._state.session
        if session is None:
            return np.zeros(0)
        return np.sort(session.trials.t_on)
