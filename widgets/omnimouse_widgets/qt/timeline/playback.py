"""Playback: wall time is mapped to samples, so the speed does not drift."""

from time import perf_counter
from typing import Final

from qtpy.QtCore import QObject, QTimer

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.views.stimulus import StimulusView, advance

# About 30 ticks per second, fast enough for smooth video on most screens. The rate of
# the window's samples does not matter: a tick moves the cursor by all samples due.
TICK_MS: Final = 33


class Playback(QObject):
    """Timer that moves the cursor with wall time while the view plays.

    Each tick moves the cursor to the sample that is due since the start of playback.
    After a late tick, playback skips frames and keeps its speed.
    """

    def __init__(self, view: StimulusView, controller: Controller, parent: QObject) -> None:
        super().__init__(parent)
        self._view, self._controller = view, controller
        self._since, self._moved, self._speed = 0.0, 0, view.speed
        self._timer = QTimer(self)
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._tick)
        view.changed.connect(self._follow)

    def _follow(self) -> None:
        if not self._view.is_playing:
            self._timer.stop()
        elif not self._timer.isActive() or self._speed != self._view.speed:
            # The samples due are counted from a start at constant speed.
            self._since, self._moved, self._speed = perf_counter(), 0, self._view.speed
            self._timer.start()

    def _tick(self) -> None:
        rate_hz = self._controller.state.spec.response_rate_hz
        due = int((perf_counter() - self._since) * rate_hz * self._speed)
        if due > self._moved:
            # Counting from the start, not from the last tick, avoids rounding drift.
            step, self._moved = due - self._moved, due
            before = self._place()
            advance(self._controller, step, self._view.stride)
            if self._place() == before:
                self._view.play(False)  # the end of the session

    def _place(self) -> tuple[object, int]:
        state = self._controller.state
        # At the last sample of the session, neither window nor cursor can move.
        return state.window, state.cursor
