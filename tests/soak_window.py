"""Random clicks, strokes, keys, opens, closes and resizes in a real window.

    python -m tests.soak --seconds 120 --seed 3

A hand with a seed works a napari window with real events, dialogs included, for
several lives: each opens a viewer, works it, asks it for numbers it knows, and closes
it. Meanwhile nothing may be raised or complained of, by Python, Qt or napari, on any
thread; afterwards nothing of ours may be left: no object, widget, thread, process or
open file, and no memory that grows from life to life.
"""

import faulthandler
import gc
import logging
import os
import sys
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from qtpy.compat import isalive
from qtpy.QtCore import QPoint, QPointF, Qt, QTimer, qInstallMessageHandler
from qtpy.QtGui import QKeySequence, QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDialog, QWidget

from omnimouse_app.canvas import Canvas
from omnimouse_app.commands import ACTIONS
from omnimouse_app.docks import OmniMouseDock, open_instrument
from omnimouse_app.hand import Hand, arc, settle, wait_for
from omnimouse_app.keys import all_keys
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import TARGET, VISIBLE, asked_cells
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.predict.worker import WorkerPredictor
from omnimouse_model.simulate import HeldOut, MouseSpec
from omnimouse_model.simulate import write_session as simulate
from omnimouse_widgets.qt.hop import qt_post
from tests.model.live_sessions import EchoPredictor, write_session
from tests.soak import PREDICTORS

LIFE_S = 30.0
MAX_GROWTH_MIB = 32.0
"""For each life between the second's end and the last one's."""
PATIENCE_S = 90.0
HANGS_S = 120.0
"""An act that takes so long never ends: every thread's stack is told."""
LEAST_FIELD = 20
"""Pixels of the canvas: a small window full of docks leaves none, and none to click."""
REMEMBERED = 25
"""Acts told beside a fault."""
KEYS = tuple(
    QKeySequence(key)[0]
    for keys in all_keys()
    for key in keys.split(" ")
    if not key.endswith(("-click", "-drag"))
)
"""Every key that OmniMouse answers to."""
SIZES = ((1440, 900), (1280, 720), (900, 600), (1600, 1000))
CONTROLS = (
    *(Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down),
    *(Qt.Key.Key_Space, Qt.Key.Key_Tab, Qt.Key.Key_Return, Qt.Key.Key_Escape),
    *(Qt.Key.Key_Home, Qt.Key.Key_End, Qt.Key.Key_PageDown, Qt.Key.Key_Delete),
)
QUIET_QT = (
    "propagateSizeHints",  # the offscreen platform has none
    "QXcbConnection: XCB error",  # a window that closed before its answer came
    "libEGL",
)
"""What Qt says of the display, not of us."""


# -- what must not happen -------------------------------------------------------------
class Faults:
    """Everything that is raised or complained of while it watches."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.acts: deque[str] = deque(maxlen=REMEMBERED)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Listen to Python, its threads, Qt, the logs and napari."""
        from napari.utils.notifications import notification_manager

        log = logging.Handler(logging.ERROR)
        log.emit = self._logged  # type: ignore[method-assign]
        told = notification_manager.notification_ready
        with ExitStack() as stack:
            for module, name, hook in (
                (sys, "excepthook", self._raised),
                (threading, "excepthook", lambda a: self._raised(*a[:3])),
                (sys, "unraisablehook", lambda a: self._raised(*a[:3])),
            ):
                stack.callback(setattr, module, name, getattr(module, name))
                setattr(module, name, hook)
            stack.callback(
                qInstallMessageHandler, qInstallMessageHandler(self._qt_said)
            )
            stack.callback(logging.getLogger().removeHandler, log)
            logging.getLogger().addHandler(log)
            stack.callback(told.disconnect, self._napari_told)
            told.connect(self._napari_told)
            yield
            faulthandler.cancel_dump_traceback_later()

    def check(self) -> None:
        """Raise what was found, with the acts before it."""
        if self.found:
            acts = "\n  ".join(self.acts)
            found = "\n".join(self.found)
            raise AssertionError(f"{found}\nafter\n  {acts}")

    def _raised(self, kind: Any, error: Any, trace: Any) -> None:
        self.found.append("".join(traceback.format_exception(kind, error, trace)))

    def _logged(self, record: logging.LogRecord) -> None:
        self.found.append(logging.Formatter().format(record))

    def _qt_said(self, kind: Any, _context: Any, words: str | None) -> None:
        if not any(quiet in (words or "") for quiet in QUIET_QT):
            self.found.append(f"Qt: {words}")

    def _napari_told(self, notification: Any) -> None:
        if notification.severity >= "error":
            self.found.append(f"napari: {notification.message}")


# -- who works it ---------------------------------------------------------------------
@dataclass
class Monkey:
    """A seeded hand on one window."""

    dock: OmniMouseDock
    recordings: tuple[Path, ...]
    models: tuple[str, ...]
    draw: np.random.Generator
    counts: Counter[str]
    acts: deque[str]

    def __post_init__(self) -> None:
        self.window = self.dock.main_window
        self.dialogs = QTimer()
        self.dialogs.setInterval(60)
        # An answer may bring the next dialog, and a timer waits for its own call's end.
        self.dialogs.timeout.connect(lambda: QTimer.singleShot(0, self.answer_dialog))
        self.dialogs.start()

    def act(self) -> None:
        """One random thing that a user does."""
        names = list(ACTS)
        weights = np.array([weight for _, weight in ACTS.values()], float)
        name = names[self.draw.choice(len(names), p=weights / weights.sum())]
        self.counts[name] += 1
        self.acts.append(name)
        faulthandler.dump_traceback_later(HANGS_S, exit=True, file=sys.__stderr__)
        ACTS[name][0](self)
        settle(float(self.draw.choice([0.0, 0.0, 0.01, 0.1])))

    def rest(self) -> None:
        """Leave every dialog and popup, and touch nothing any more."""
        for _ in range(20):
            self.close_popups()
            if QApplication.activeModalWidget() is None:
                break
            settle(0.1)
        self.dialogs.stop()

    # -- dialogs --------------------------------------------------------------------
    def answer_dialog(self) -> None:
        """Accept or leave whatever waits for an answer, sooner or later."""
        popup = QApplication.activePopupWidget()
        modal = QApplication.activeModalWidget()
        if popup is not None:
            if self.chance(0.3):
                popup.close()
        elif isinstance(modal, QDialog):
            self.say(f"dialog {modal.windowTitle()!r}")
            accept = Qt.Key.Key_Return if self.chance(0.4) else Qt.Key.Key_Escape
            QTest.keyClick(modal, accept)
        elif modal is not None:
            modal.close()

    def close_popups(self) -> None:
        """Close menus and lists that are open."""
        while (popup := QApplication.activePopupWidget()) is not None:
            popup.close()

    # -- pointing -------------------------------------------------------------------
    def chance(self, share: float) -> bool:
        return bool(self.draw.random() < share)

    def one_of(self, some: Any) -> Any:
        return some[int(self.draw.integers(len(some)))]

    def say(self, what: str) -> None:
        self.acts.append(f"… {what}")

    def widgets(self) -> list[QWidget]:
        """Everything of ours that is seen."""
        tops = [dock.widget() for dock in self.dock.docks.values()]
        tops += [w for w in QApplication.topLevelWidgets() if w is not self.window]
        found = [w for top in tops if top for w in (top, *top.findChildren(QWidget))]
        return [w for w in found if w.isVisible() and not w.visibleRegion().isEmpty()]

    def widget(self) -> QWidget | None:
        seen = self.widgets()
        chosen = self.one_of(seen) if seen else None
        if chosen is not None:
            words = getattr(chosen, "text", lambda: "")
            words = words() if callable(words) else words
            self.say(f"{type(chosen).__name__} {chosen.objectName()} {words!s:.30}")
        return chosen

    def place(self, widget: QWidget) -> QPoint:
        seen = widget.visibleRegion().boundingRect()
        x = seen.left() + int(self.draw.integers(max(seen.width(), 1)))
        return QPoint(x, seen.top() + int(self.draw.integers(max(seen.height(), 1))))

    def keys(self) -> Any:
        none, many = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier
        held = (many.ControlModifier, many.ShiftModifier, many.AltModifier)
        return none if self.chance(0.7) else self.one_of(held)

    # -- acts -----------------------------------------------------------------------
    def click(self) -> None:
        widget = self.widget()
        if widget is None:
            return
        right = self.chance(0.1)
        button = Qt.MouseButton.RightButton if right else Qt.MouseButton.LeftButton
        strike = QTest.mouseDClick if self.chance(0.1) else QTest.mouseClick
        strike(widget, button, self.keys(), self.place(widget))

    def drag(self) -> None:
        if (widget := self.widget()) is not None:
            n = int(self.draw.integers(2, 8))
            places = [self.place(widget) for _ in range(n)]
            Hand(widget).drag([(at.x(), at.y()) for at in places], self.keys())

    def wheel(self) -> None:
        widget = self.widget()
        if widget is None:
            return
        at, turn = QPointF(self.place(widget)), 120 * self.one_of((-3, -1, 1, 3))
        glob = widget.mapToGlobal(at)
        event = QWheelEvent(
            at, glob, QPoint(), QPoint(0, turn), Qt.MouseButton.NoButton, self.keys(),
            Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        QApplication.sendEvent(widget, event)

    def write(self) -> None:
        """Letters and control keys into what has the focus, or in a widget."""
        focus = QApplication.focusWidget()
        widget = focus if focus is not None and self.chance(0.7) else self.widget()
        if widget is None:
            return
        for _ in range(int(self.draw.integers(1, 5))):
            if not isalive(widget):
                return
            if self.chance(0.5):
                self.strike(widget)
            else:
                QTest.keyClick(widget, self.one_of(CONTROLS), self.keys())

    def strike(self, widget: QWidget) -> None:
        """One of OmniMouse's keys, now and then with another modifier than its own."""
        stroke = self.one_of(KEYS)
        held = stroke.keyboardModifiers() if self.chance(0.8) else self.keys()
        self.say(f"key {QKeySequence(stroke).toString()}")
        QTest.keyClick(widget, stroke.key(), held)

    def field(self) -> QWidget | None:
        """The canvas, where the docks have left any of it to point at."""
        settle(0.05)  # a dock that came or went is laid out late
        widget = Canvas(self.dock.viewer, self.window).widget
        return widget if min(extent(widget)) > LEAST_FIELD else None

    def stroke(self) -> None:
        if (widget := self.field()) is not None:
            n = int(self.draw.integers(2, 12))
            ends = self.draw.uniform(-0.1, 1.1, (n, 2)) * extent(widget)
            Hand(widget).drag(ends, self.keys())

    def field_click(self) -> None:
        if (widget := self.field()) is not None:
            at = self.draw.uniform(0, 1, 2) * extent(widget)
            Hand(widget).click(at, self.keys())

    def field_key(self) -> None:
        if (widget := self.field()) is not None:
            self.strike(widget)

    def toggle_dock(self) -> None:
        dock = self.one_of(list(self.dock.docks.values()))
        self.say(dock.windowTitle())
        self.one_of((dock.close, dock.toggleViewAction().trigger, dock.raise_))()

    def float_dock(self) -> None:
        dock = self.one_of(list(self.dock.docks.values()))
        dock.setFloating(not dock.isFloating())

    def bring_up(self) -> None:
        self.dock.bring_up(self.one_of(list(self.dock.docks)))

    def theme(self) -> None:
        self.dock.viewer.theme = self.one_of(("dark", "light", "system"))

    def resize(self) -> None:
        self.window.resize(*self.one_of(SIZES))

    def minimise(self) -> None:
        self.window.showMinimized()
        settle(0.05)
        self.window.showNormal()

    def command(self) -> None:
        """Something of the command palette."""
        name = self.one_of(list(ACTIONS))
        self.say(name)
        ACTIONS[name].act(self.dock)

    def open(self) -> None:
        path = self.one_of(self.recordings)
        self.say(path.name)
        self.dock.open_folder(str(path))

    def model(self) -> None:
        name = self.one_of(self.models)
        self.say(name)
        self.dock.controller.choose_predictor(name)

    def layer(self) -> None:
        """Hide, show, rename or delete a layer, as napari's list does."""
        layers = self.dock.viewer.layers
        if not len(layers):
            return
        layer = self.one_of(list(layers))
        self.say(layer.name)
        if self.chance(0.1):
            layers.remove(layer)
        elif self.chance(0.5):
            layer.visible = not layer.visible
        else:
            layers.selection.active = layer

    def dims(self) -> None:
        """3-D and back."""
        self.dock.viewer.dims.ndisplay = self.one_of((2, 2, 3))


def extent(widget: QWidget) -> np.ndarray:
    """Its width and height."""
    return np.array([widget.width(), widget.height()])


ACTS: dict[str, tuple[Callable[[Monkey], None], float]] = {
    "click": (Monkey.click, 30),
    "drag": (Monkey.drag, 8),
    "wheel": (Monkey.wheel, 5),
    "write": (Monkey.write, 10),
    "stroke": (Monkey.stroke, 12),
    "field_click": (Monkey.field_click, 6),
    "field_key": (Monkey.field_key, 6),
    "toggle_dock": (Monkey.toggle_dock, 6),
    "float_dock": (Monkey.float_dock, 1),
    "bring_up": (Monkey.bring_up, 6),
    "theme": (Monkey.theme, 0.5),
    "resize": (Monkey.resize, 2),
    "minimise": (Monkey.minimise, 0.5),
    "command": (Monkey.command, 8),
    "open": (Monkey.open, 1.5),
    "model": (Monkey.model, 1.5),
    "layer": (Monkey.layer, 1),
    "dims": (Monkey.dims, 0.5),
}


# -- lives ----------------------------------------------------------------------------
def load(name: str, session: Any, device: str) -> Predictor:
    """Ours by their names in a process of their own, else what the library loads."""
    from omnimouse_model.predict.catalogue import load_in_worker

    if name in PREDICTORS:
        return WorkerPredictor(PREDICTORS[name], torch_threads=1)
    return load_in_worker(name, session, device)


@contextmanager
def life(recordings: tuple[Path, ...]) -> Iterator[OmniMouseDock]:
    """A viewer with everything open, closed at the end."""
    import napari

    controller = Controller(post=qt_post(), load=load, memory=True)
    controller.choose_predictor("slow")
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZES[0])
    dock = open_instrument(viewer, controller)
    controller.open_session(recordings[0])
    wait_for(lambda: answered(controller), "the first answer", PATIENCE_S)
    try:
        yield dock
    finally:
        dock.close_viewer()
        settle(0.1)
        wait_for(lambda: not active_children(), "the worker's end", 30)


def answered(controller: Controller) -> bool:
    """Whether everything asked for is on screen."""
    results = controller.results
    return results.freshness == results.population_freshness == "fresh"


def check_numbers(dock: OmniMouseDock, recording: Path) -> None:
    """After all that, a stroke is painted and predicted as the library does."""
    controller = dock.controller
    wait_for(lambda: not controller.opener.is_busy, "what is being opened", PATIENCE_S)
    dock.main_window.resize(*SIZES[0])
    dock.viewer.dims.ndisplay = 2
    if dock.panels["Stimulus"].playback.is_playing:
        dock.play()
    controller.open_session(recording)
    controller.choose_predictor("slow")
    controller.choose_baseline("")
    controller.apply_preset("video_behavior")
    controller.select([3, 14, 15])
    settle(0.5)
    dock.instrument.layers.show_whole_field()
    dock.instrument.brush.tool, dock.instrument.brush.radius = "brush", 14.0
    controller.set_brush(TARGET)
    controller.set_active_span(0, 60)
    controller.set_brush(VISIBLE)
    controller.set_active_span(0, 60)
    wait_for(lambda: answered(controller), "the answer", PATIENCE_S)
    before = controller.state.mask
    canvas = Canvas(dock.viewer, dock.main_window)
    middle = (canvas.widget.width() / 2, canvas.widget.height() / 2)
    reach = 0.3 * min(middle)
    Hand(canvas.widget).drag(arc(middle, (reach, reach)))
    mask, window = controller.state.mask, controller.state.window
    brush, active = dock.instrument.brush, dock.viewer.layers.selection.active
    assert mask != before, (
        f"A stroke across the field paints nothing: {brush.tool=} {active=} "
        f"{canvas.widget.size()=} {dock.viewer.scene.camera=} {active.mode=} "
        f"{controller.state.in_space=} {controller.state.plane_shown=}"
    )
    wait_for(lambda: answered(controller), "the answer", PATIENCE_S)
    asked = np.flatnonzero(asked_cells(mask).any(axis=0))
    for shown, neurons in (
        (controller.results.selected, np.array(controller.state.selection)),
        (controller.results.population, asked),
    ):
        expected = EchoPredictor().predict(window, mask, neurons)
        now = controller.state.window
        words = f"{window.start_s=} {now.start_s=} {controller.state.edits=}"
        assert shown.mask_id == expected.mask_id, words
        assert np.array_equal(shown.neurons, neurons), words
        same = np.array_equal(shown.responses, expected.responses, equal_nan=True)
        assert same, words


# -- what is left ---------------------------------------------------------------------
@dataclass(frozen=True)
class Held:
    """What this process holds between lives."""

    objects: Counter[str]
    widgets: Counter[str]
    threads: list[str]
    files: list[str]
    mib: float


WINDOW_PARTS = ("omnimouse_app", "omnimouse_widgets", "omnimouse_model.live")
"""Where whatever belongs to one window is written: nothing of it may outlive it."""


def held() -> Held:
    """Collect, and count what is left."""
    for _ in range(3):
        settle(0.05)
        gc.collect()
    here = psutil.Process()
    kinds = (type(one) for one in gc.get_objects())
    ours = (f"{k.__module__}.{k.__qualname__}" for k in kinds if is_ours(k))
    widgets = (type(w) for w in QApplication.allWidgets())
    return Held(
        objects=Counter(ours),
        widgets=Counter(k.__qualname__ for k in widgets if is_ours(k)),
        threads=sorted(t.name for t in threading.enumerate()),
        files=open_files(),
        mib=here.memory_info().rss / 2**20,
    )


def open_files() -> list[str]:
    """What every open file of this process is, where the system tells."""
    found = []
    for link in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):  # the listing's own
            found.append(str(link.readlink()).split(":")[0])
    return sorted(found)


def is_ours(kind: type) -> bool:
    """Whether a class belongs to a window of ours."""
    return str(getattr(kind, "__module__", "")).startswith(WINDOW_PARTS)


def check_left(before: Held, after: Held) -> None:
    """Nothing of ours is there that was not."""
    grown = after.objects - before.objects
    assert not grown, f"objects left: {grown}"
    assert not after.widgets, f"widgets left: {after.widgets}"
    begun = Counter(after.threads) - Counter(before.threads)
    assert not [name for name in begun if name.startswith("omnimouse")], begun
    assert len(after.threads) <= len(before.threads), (before.threads, after.threads)
    opened = Counter(after.files) - Counter(before.files)
    opened = {name: n for name, n in opened.items() if not name.startswith("/usr/")}
    assert not opened, f"files left open: {opened}"


def check_memory(mib: list[float]) -> None:
    """Lives after the second need little more; the first two import and warm up."""
    if len(mib) > 2:
        growth = (mib[-1] - mib[1]) / (len(mib) - 2)
        assert growth < MAX_GROWTH_MIB, f"{growth:.0f} MiB for every life: {mib}"


# -- the run --------------------------------------------------------------------------
@dataclass
class WindowSoak:
    """Lives of a window, one after the other."""

    folder: Path
    seconds: float
    seed: int
    lives: int
    faults: Faults = field(default_factory=Faults)
    counts: Counter[str] = field(default_factory=Counter)
    left: list[Held] = field(default_factory=list)

    def run(self) -> dict[str, Any]:
        """Work the window; raises AssertionError for whatever must not be."""
        since = time.monotonic()
        recordings = made_recordings(self.folder)
        with scratch_home(self.folder), self.faults.watched():
            for number in range(self.lives):
                self.live(number, recordings)
                self.left.append(held())
                self.faults.check()
        check_left(self.left[0], self.left[-1])
        check_memory([one.mib for one in self.left])
        return {
            "seed": self.seed,
            "seconds": round(time.monotonic() - since, 1),
            "lives": self.lives,
            "acts": sum(self.counts.values()),
            "mib": [round(one.mib) for one in self.left],
            "files": [len(one.files) for one in self.left],
            "threads": [len(one.threads) for one in self.left],
        }

    def live(self, number: int, recordings: tuple[Path, ...]) -> None:
        """One life: open, work, check, close."""
        until = self.seconds / self.lives
        with life(recordings[:1]) as dock:
            monkey = Monkey(
                dock,
                recordings,
                (*PREDICTORS, "mean", "ridge", "no such model"),
                np.random.default_rng([self.seed, number]),
                self.counts,
                self.faults.acts,
            )
            since = time.monotonic()
            while time.monotonic() - since < until:
                monkey.act()
                self.faults.check()
            monkey.rest()
            check_numbers(dock, recordings[0])
        self.faults.check()


def made_recordings(folder: Path) -> tuple[Path, ...]:
    """A simulated one with positions, a small one without, and a broken one."""
    held_out = HeldOut(validation=1, final_test_1=1, oracle_clips=1, oracle_repeats=2)
    spec = MouseSpec("small", "80001-1-1", 11, 12, 150, 1.1, held_out)
    paths = (folder / "small", folder / "other", folder / "broken")
    if not paths[0].exists():
        simulate(spec, paths[0])
        write_session(paths[1], 60)
        write_session(paths[2], 20)
        (paths[2] / "responses" / "meta.yml").write_text("rate: [")
    return paths


@contextmanager
def scratch_home(folder: Path) -> Iterator[None]:
    """What dialogs save lands in a folder that goes away."""
    (folder / "home").mkdir(exist_ok=True)
    before = Path.cwd()
    os.chdir(folder / "home")
    try:
        yield
    finally:
        os.chdir(before)


def soak_window(
    folder: Path, seconds: float, seed: int, lives: int | None = None
) -> dict[str, Any]:
    """Work real windows for so long; see the module."""
    lives = max(3, round(seconds / LIFE_S)) if lives is None else lives
    return WindowSoak(folder, seconds, seed, lives).run()
