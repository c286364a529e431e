"""Navigation in a recording: the window on screen, its cursor, and the trials.

While no session is open, steps do nothing and other methods raise `ValueError`.
"""

import threading

import numpy as np
from psygnal import Signal

from omnimouse_model.data.session import Session, Window
from omnimouse_model.live.inference.client import Requests
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState

_NEARLY_S = 0.05
"""Tolerance in seconds: a window moved to a trial may start slightly before it."""


class Navigation:
    """Moves of the window and of the cursor; trials in order of time, from 0.

    Attributes
    ----------
    trial_changed
        Emitted by `go_to_trial`, even if the window cannot move.
    """

    trial_changed = Signal()

    def __init__(
        self, state: LiveState, results: Results, requests: Requests, lock: threading.RLock
    ) -> None:
        self._state, self._results = state, results
        self._requests, self._lock = requests, lock
        self._target: tuple[Window | None, int] = (None, 0)

    # -- the window -------------------------------------------------------------------
    def seek(self, start_s: float) -> None:
        """Move the window to a time on the session clock, snapped to the grid.

        Raises
        ------
        TimeRangeError
            The time is outside the recording.
        """
        with self._lock:
            self._show(self._state.open_session.window(start_s, self._state.spec))

    def seek_nearest(self, start_s: float, direction: int = 0) -> None:
        """Move the window to a time as far as the recording allows, for steps.

        `direction` 1 or -1 leads over a pause, see `Session.nearest_window`.
        """
        with self._lock:
            spec = self._state.spec
            self._show(self._state.open_session.nearest_window(start_s, spec, direction))

    def centre_on(self, time_s: float) -> None:
        """Centre the window on a time, as far as the recording allows."""
        self.seek_nearest(time_s - self._state.spec.duration_s / 2)

    def step_window(self, n: int) -> None:
        """Move the window by `n` windows, or by `n` trials; stops at the ends."""
        with self._lock:
            if self._state.window is not None:
                self._show(_next_window(self._state.window, n))

    def _show(self, new: Window) -> None:
        window, client = self._state.window, self._requests.client
        if window is not None and new.key == window.key:
            return
        client.step_s = _step_between(window, new)
        moved = client.moved_predictions(new)
        # Clear results first: a listener of `window` must never draw predictions
        # of the previous window at the samples of the new one.
        self._results.clear(keeps_tier_scores=True)
        self._state.window = new
        self._results.selected, self._results.population = moved
        self._requests.send()

    # -- the cursor -------------------------------------------------------------------
    def set_cursor(self, i: int) -> None:
        """Move the cursor to a sample of the window."""
        self._state.cursor = int(min(max(i, 0), self._state.spec.n_samples - 1))

    def step_cursor(self, n: int) -> None:
        """Move the cursor by `n` samples; crossing an end steps the window."""
        state, n_samples = self._state, self._state.spec.n_samples
        # `divmod` rounds down, so that a step before sample 0 goes to the previous
        # window.
        windows, cursor = divmod(state.cursor + n, n_samples)
        if windows:
            before = state.window
            self.step_window(windows)
            # The session ends here: clamp the cursor instead of wrapping it around.
            if state.window is before:
                cursor = 0 if windows < 0 else n_samples - 1
        self.set_cursor(cursor)

    # -- trials -----------------------------------------------------------------------
    @property
    def n_trials(self) -> int:
        """Number of trials of the session."""
        return len(self._onsets())

    @property
    def trial(self) -> int | None:
        """Number of the current trial; None before the first and without a session.

        This is the target of the latest `go_to_trial` until the window moves, else the
        last trial that starts at or before the window. A window that is aligned to a
        trial can begin before its onset.
        """
        window = self._state.window
        if window is None:
            return None
        if self._target[0] is window:
            return self._target[1]
        start = window.start_s - window.spec.trial_offset_s + _NEARLY_S
        before = int(np.searchsorted(self._onsets(), start, side="right"))
        return before - 1 if before else None

    def go_to_trial(self, number: int) -> None:
        """Move the window to the start of a trial, as far as the session allows."""
        onsets = self._onsets()
        if len(onsets):
            # Clamped: holding the key at the last trial must not fail.
            number = min(max(number, 0), len(onsets) - 1)
            self.seek_nearest(float(onsets[number]) + self._state.spec.trial_offset_s)
            # Windows stop at the session's ends, where several trials share one window:
            # the target must be stored, or a step would not get past the first of them.
            self._target = (self._state.window, number)
            self.trial_changed.emit()

    def step_trial(self, n: int) -> None:
        """Move by `n` trials, at most to the first or last."""
        if self._state.window is None:
            return
        number = self.trial
        if number is not None or n > 0:
            self.go_to_trial((-1 if number is None else number) + n)

    def _onsets(self) -> np.ndarray:
        session = self._state.session
        if session is None:
            return np.zeros(0)
        # Files may list trials in another order.
        return np.sort(session.trials.t_on)


def trial_at(session: Session, time_s: float) -> int | None:
    """Return the row of the trial that contains a time, None between trials."""
    trials = session.trials
    inside = np.flatnonzero((trials.t_on <= time_s) & (time_s < trials.t_off))
    return int(inside[0]) if len(inside) else None


def _step_between(before: Window | None, after: Window) -> float:
    """Return the signed step in seconds; a jump counts as one window forward."""
    # A jump says nothing about the next window: the user will most likely play on.
    longest_s = after.spec.duration_s
    if before is None or before.session is not after.session:
        return longest_s
    step_s = after.start_s - before.start_s
    return step_s if round(abs(step_s), 2) <= longest_s else longest_s


def _next_window(window: Window, n: int) -> Window:
    """Return the window `n` steps on, beyond a pause if there is one.

    A step is the duration of the window, or a trial for windows aligned to trials.
    """
    session, spec = window.session, window.spec
    if spec.align == "grid":
        start_s = window.start_s + n * spec.duration_s
        return session.nearest_window(start_s, spec, direction=n)
    starts = session.window_starts(None, spec=spec)
    # The nearest start, because the window's own start is rounded to a sample.
    current = int(np.argmin(np.abs(starts - window.start_s)))
    start_s = float(starts[min(max(current + n, 0), len(starts) - 1)])
    return session.nearest_window(start_s, spec)
