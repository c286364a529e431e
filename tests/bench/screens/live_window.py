"""Timing of the live window: strokes, results and scrubbing on this machine.

Everything is measured in the real window with real mouse events. *Call* is the time
for which a mouse move occupies the GUI thread in this project's code: finding neurons,
changing the mask, writing colours. *Event* is the whole move, including napari's own
handling. *Drawn* lasts until the next finished frame of the window, and is compared
with an idle frame of the same run.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter, sleep, thread_time
from typing import Any

import numpy as np
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QApplication

from omnimouse_app.field.canvas import Canvas
from omnimouse_app.tour.hand import Hand, arc, settle, wait_for
from omnimouse_app.window.docks import OmniMouseDock
from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_model.storage.files import read_text

REST_S = 0.05
"""Panels are drawn after a stroke within this time: it would count as an idle frame."""
MIN_TURN_MS = 1.0
"""Event-loop turns shorter than this did nothing visible."""
SCRUB = 9
"""Windows forward, then back again: at an end of the recording, nothing is drawn."""


@dataclass(frozen=True, slots=True)
class Strokes:
    """Milliseconds of every mouse move of several strokes.

    `extra` is the drawn time minus the median idle frame of the run.
    """

    call: list[float]
    event: list[float]
    extra: list[float]
    idle: float


@dataclass(frozen=True, slots=True)
class Turns:
    """Milliseconds of every event-loop turn with visible work.

    During a turn, no click is handled. `cpu` is the computing time of the GUI thread;
    `waited` is the time it was ready without a core, 0 if the system does not report
    it. The rest is drawing on other threads and waiting for them.
    """

    wall: list[float]
    cpu: list[float]
    waited: list[float]


def measure_strokes(dock: OmniMouseDock, codes: tuple[int, int], moves: int = 200) -> Strokes:
    """Paint around the field with two codes in turn, and time every move."""
    canvas = Canvas(dock.viewer, dock.main_window)
    hand, frames = Hand(canvas.widget), _Frames(canvas.widget)
    idle: list[float] = []
    call: list[float] = []
    event: list[float] = []
    drawn: list[float] = []
    move = _Move(dock, hand)
    for number in range(4):
        dock.controller.editor.set_brush(codes[number % 2])
        # Each stroke on its own radius, so that it meets other neurons.
        path = _circle(canvas, 0.9 - 0.2 * number, moves // 4)
        hand.move(path[0], held=False)
        hand.press(path[0])
        for place in path[1:]:
            # One idle frame before each move, so that both are timed under the same
            # load.
            idle.append(_frame_after(frames, lambda: None))
            drawn.append(_frame_after(frames, partial(move, place)))
            call.append(move.call_ms)
            event.append(move.event_ms)
        hand.release(path[-1])
        settle(0.05)
    move.close()
    baseline = float(np.median(idle))
    return Strokes(call, event, [ms - baseline for ms in drawn], baseline)


def stroke_to_traces_ms(dock: OmniMouseDock, n: int = 30) -> list[float]:
    """Return the times from a mouse press to the new curves of the selected neurons."""
    canvas = Canvas(dock.viewer, dock.main_window)
    hand, controller = Hand(canvas.widget), dock.controller
    # `Any`: the dock knows its panels as plain widgets, without `redraw`.
    traces: Any = dock.panels["Traces"]
    frames = _Frames(canvas.widget)
    times_ms: list[float] = []
    path = _circle(canvas, 0.8, 4 * n)
    for number in range(n):
        controller.editor.set_brush(VISIBLE if number % 2 == 0 else TARGET)
        wait_for(lambda: controller.results.freshness == "fresh", "a prediction", 120)
        settle(0.02)
        before = controller.results.newest_request
        start = perf_counter()
        hand.press(path[4 * number])
        if controller.results.newest_request == before:  # no neuron at this place
            hand.release(path[4 * number])
            continue
        request = controller.results.newest_request
        wait_for(partial(_is_drawn, controller, request), "the prediction", 120)
        with frames.wait():
            traces.redraw.flush()
        times_ms.append((perf_counter() - start) * 1e3)
        hand.release(path[4 * number])
        settle()
    return times_ms


def scrub_hz(dock: OmniMouseDock, steps: int = 90) -> list[float]:
    """Return the updates per second of video, raster and traces, by window step."""
    controller = dock.controller
    frames = _Frames(Canvas(dock.viewer, dock.main_window).widget)
    panels: list[Any] = [dock.panels[title] for title in ("Raster", "Stimulus", "Traces")]
    rates: list[float] = []
    # There must be room for the steps forward before the end of the recording.
    controller.navigation.step_window(-SCRUB)
    settle(0.05)
    for number in range(steps):
        start = perf_counter()
        with frames.wait():
            controller.navigation.step_window(-1 if number // SCRUB % 2 else 1)
            # Draws at once; the panels otherwise wait for the next event-loop turn.
            for panel in panels:
                panel.redraw.flush()
        rates.append(1.0 / (perf_counter() - start))
    return rates


def sweep_turns(dock: OmniMouseDock, timeout_s: float = 60.0) -> Turns:
    """Time the event loop during the live sweep of a new window, with Context in front.

    Ends after `timeout_s`, because a sweep of many neurons takes longer than needed
    here.
    """
    results = dock.controller.results
    # Otherwise curves over the tier, which may be known, replace the sweep.
    dock.controller.requests.score_tier(False)
    dock.bring_up("Context")
    # A new window starts the sweep from its first context.
    dock.controller.navigation.step_window(1)
    turns = _turns(lambda: _is_swept(results), timeout_s)
    dock.bring_up("Traces")
    dock.controller.requests.score_tier(True)
    settle(0.2)
    return turns


def open_turns(dock: OmniMouseDock, recording: Path, rest_s: float = 3.0) -> Turns:
    """Time the event loop while another recording is opened, and `rest_s` after it."""
    controller = dock.controller
    before = controller.state.session
    controller.loader.open(recording)
    turns = _turns(lambda: controller.state.session is not before, 60.0)
    rest = _turns(lambda: False, rest_s)
    return Turns(turns.wall + rest.wall, turns.cpu + rest.cpu, turns.waited + rest.waited)


def _turns(is_done: Callable[[], bool], timeout_s: float) -> Turns:
    application = QApplication.instance()
    assert application is not None
    turns = Turns([], [], [])
    until = perf_counter() + timeout_s
    while perf_counter() < until and not is_done():
        before = _clocks()
        application.processEvents()
        wall, cpu, waited = (_clocks() - before) * 1e3
        if wall >= MIN_TURN_MS:
            turns.wall.append(float(wall))
            turns.cpu.append(float(cpu))
            turns.waited.append(float(waited))
        sleep(0.001)
    return turns


def _is_swept(results: Any) -> bool:
    _check(results)
    is_complete = results.sweep is not None and results.sweep.is_complete
    return is_complete and results.sweep_freshness == "fresh"


def _clocks() -> np.ndarray:
    """Return seconds: elapsed, computing, and ready without a core (Linux; else 0)."""
    try:
        # The second field is the time on the run queue, in nanoseconds.
        fields = read_text(Path("/proc/thread-self/schedstat"), 2**10).split()
        waited = int(fields[1]) / 1e9
    except (OSError, IndexError):
        waited = 0.0
    return np.array([perf_counter(), thread_time(), waited])


class _Frames:
    """Wait for the canvas to be composed into the window."""

    def __init__(self, widget: Any) -> None:
        assert isinstance(widget, QOpenGLWidget)
        self._widget = widget
        self._count = 0
        widget.frameSwapped.connect(self._on_swap)

    def _on_swap(self) -> None:
        self._count += 1

    def request(self) -> None:
        """Request a new drawing of the canvas, also without changes."""
        self._widget.update()

    @contextmanager
    def wait(self) -> Iterator[None]:
        """Wait at the end of the block until its changes are on screen."""
        yield
        before = self._count
        wait_for(lambda: self._count > before, "a frame", 20)


def _frame_after(frames: _Frames, change: Any) -> float:
    # Finish pending work before the clock starts.
    settle(REST_S)
    start = perf_counter()
    with frames.wait():
        change()
        frames.request()
    return (perf_counter() - start) * 1e3


class _Move:
    """One timed mouse move with the resulting colours."""

    def __init__(self, dock: OmniMouseDock, hand: Hand) -> None:
        self.call_ms = self.event_ms = 0.0
        self._hand, self._layers = hand, dock.instrument.layers
        assert self._layers.neurons is not None
        self._callbacks = self._layers.neurons.mouse_drag_callbacks
        self._untimed = list(self._callbacks)
        # napari keeps a reference to this list, so its items are replaced, not the
        # list.
        self._callbacks[:] = [self._timed(callback) for callback in self._untimed]

    def __call__(self, at: np.ndarray) -> None:
        self.call_ms = 0.0
        start = perf_counter()
        self._hand.move(at)
        moved = perf_counter()
        # Drawing is normally delayed by a timer; calling it here includes it in the
        # time.
        self._layers.draw()
        drawn = perf_counter()
        self.call_ms += (drawn - moved) * 1e3
        self.event_ms = (drawn - start) * 1e3

    def close(self) -> None:
        """Restore the callbacks without timing."""
        self._callbacks[:] = self._untimed

    def _timed(self, callback: Any) -> Any:
        def drag(layer: Any, event: Any) -> Iterator[None]:
            steps = callback(layer, event)
            is_active = steps is not None
            while is_active:
                start = perf_counter()
                # The drag callback yields None at each step, so only its end gives
                # another value.
                is_active = next(steps, "ended") is None
                self.call_ms += (perf_counter() - start) * 1e3
                if is_active:
                    yield

        return drag


def _circle(canvas: Canvas, share: float, steps: int) -> np.ndarray:
    width, height = canvas.widget.width(), canvas.widget.height()
    # Below half of the smaller side: every point is inside the canvas.
    reach = 0.48 * min(width, height) * share
    return arc((width / 2, height / 2), (reach, reach), (0.0, 6.1), steps)


def _is_drawn(controller: Any, request: int) -> bool:
    _check(controller.results)
    return bool(controller.results.shown_request >= request)


def _check(results: Any) -> None:
    if results.error is not None:
        raise RuntimeError(f"The prediction failed: {results.error}")
