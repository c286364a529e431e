"""Playback: wall time is mapped to samples, so the speed does not drift."""

from time import perf_counter
from typing import Final

from qtpy.QtCore import QObject, QTimer, Signal

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.views.stimulus import advance, samples_due, strides

# About 30 ticks per second, fast enough for smooth video on most screens. The rate of
# the window's samples does not matter: a tick moves the cursor by all samples due.
TICK_MS: Final = 33


class Playback(QObject):
    """Move the cursor with wall time; past its end, the window moves by `stride`.

    Each tick moves the cursor to the sample that is due since the start of playback.
    After a late tick, playback skips frames and keeps its speed.
    """

    changed = Signal()
    """Emitted when playback starts or stops, and when speed or stride changes."""

    def __init__(self, controller: Controller, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._controller = controller
        self._speed = 1.0
        self._stride = controller.state.spec.n_samples
        self._since = 0.0
        self._moved = 0
        self._timer = QTimer(self)
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._tick)

    @property
    def is_playing(self) -> bool:
        """Whether playback is running."""
        return self._timer.isActive()

    @property
    def speed(self) -> float:
        """Playback speed in session seconds per second."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        if speed != self._speed:
            self._speed = speed
            # The samples due are counted from a start at constant speed.
            self._restart()
            self.changed.emit()

    @property
    def stride(self) -> int:
        """Step of the window in samples; a whole window shows each sample once.

        A whole window if the chosen stride does not exist for the window's spec.
        """
        spec = self._controller.state.spec
        return self._stride if self._stride in strides(spec) else spec.n_samples

    @stride.setter
    def stride(self, stride: int) -> None:
        if stride != self._stride:
            self._stride = stride
            self.changed.emit()

    def toggle(self) -> None:
        """Start or pause playback."""
        self.pause() if self.is_playing else self.play()

    def play(self) -> None:
        """Start playback at the cursor."""
        if not self.is_playing and self._controller.state.window is not None:
            self._restart()
            self._timer.start()
            self.changed.emit()

    def pause(self) -> None:
        """Stop playback at the cursor."""
        if self.is_playing:
            self._timer.stop()
            self.changed.emit()

    def _restart(self) -> None:
        self._since = perf_counter()
        self._moved = 0

    def _tick(self) -> None:
        rate_hz = self._controller.state.spec.response_rate_hz
        due = samples_due(perf_counter() - self._since, self._speed, rate_hz)
        if due > self._moved:
            # Counting from the start, not from the last tick, avoids rounding drift.
            step, self._moved = due - self._moved, due
            before = self._place()
            advance(self._controller, step, self.stride)
            if self._place() == before:
                self.pause()  # the end of the session

    def _place(self) -> tuple[object, int]:
        state = self._controller.state
        # At the last sample of the session, neither window nor cursor can move.
        return state.window, state.cursor
