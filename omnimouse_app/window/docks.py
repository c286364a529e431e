"""The instrument in a napari window: one main widget that opens the other docks.

Left column: *Brush and view*, in front of napari's layer controls and layer list. Right
column: *OmniMouse* and the tabs "controls" of the registry of panels, above "results".
Below the canvas: "time", a strip, above "samples" with "stimulus" beside them. Closing a
dock hides it; the Window menu shows it again at the same place. The next start restores
the layout that the user left.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from napari.settings import get_settings
from napari.utils.notifications import show_info
from qtpy.QtCore import QByteArray, QChildEvent, QCoreApplication, QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QAction
from qtpy.QtWidgets import (
    QApplication,
    QDockWidget,
    QFrame,
    QMainWindow,
    QScrollArea,
    QSizePolicy,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

from omnimouse_app.field.canvas import repair_canvas, show_keys
from omnimouse_app.field.layers import RESTORE_KEY
from omnimouse_app.window.instrument import Instrument, Model
from omnimouse_app.window.memory import return_free_memory
from omnimouse_app.window.panels import Panels
from omnimouse_model.analysis.ranking.rank_table import SUFFIX as RANKING_SUFFIX
from omnimouse_model.data.session_index import holds_sessions
from omnimouse_model.live.analysis_file import SUFFIX
from omnimouse_model.live.controller import Controller
from omnimouse_model.predict.prediction_file import has_predictions
from omnimouse_model.storage.trees import read_or_set_aside, write_state
from omnimouse_widgets.qt.control.panel import BrushPanel, ControlPanel
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.qt.recordings import show_recordings
from omnimouse_widgets.qt.style.shortcuts import PanelKey, bind
from omnimouse_widgets.views.record import saved_text
from omnimouse_widgets.views.registry import Area, docks, panel_actions, tabs_of
from omnimouse_widgets.views.stimulus import StimulusView

DOCK_NAME = "OmniMouse (OmniMouse)"
"""Name that napari gives the dock of the manifest's only widget."""

BRUSH = "Brush and view"
"""Title of the dock with the brush, the counts and the colours."""
LEFT_WIDTH = 334
"""Width in pixels of napari's layer controls with a scroll bar beside them."""
# Pixels: the right column, its upper and lower part, and the two rows below the canvas.
RIGHT_WIDTH = 400
RIGHT_UPPER, RIGHT_LOWER = 470, 330
LEAST_LOWER = 296
"""Least height of the lower part, for traces and curves that can be read."""
TIME_HEIGHT, BOTTOM_HEIGHT = 104, 224


class OmniMouseDock(QWidget):
    """The controls of `Plugins > OmniMouse`; opens all other docks around the canvas.

    Parameters
    ----------
    napari_viewer
        The viewer (napari gives plugins a proxy of it).
    controller
        Controller to use; by default a new one with its own worker process.
    model
        The first predictor; see `Instrument`.
    """

    def __init__(
        self, napari_viewer: Any, controller: Controller | None = None, model: Any = None
    ) -> None:
        super().__init__()
        self.setObjectName("omnimouse-main")
        # napari's proxy also wraps the docks and menus that it returns, and Qt rejects
        # wrapped objects.
        self._viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.instrument = Instrument(self._viewer, controller, self, model=model)
        self.panels = Panels(self.controller)
        self.docks: dict[str, QDockWidget] = {}
        self._layout: DockLayout | None = None
        self._first_layout = QByteArray()
        self.control = ControlPanel.of(self.controller)
        self.brush = BrushPanel.of(self.controller, self.instrument.brush)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        # Otherwise napari adds a stretch below it, after a start from the menu.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.instrument.dropped.connect(self.open_folder)
        self.controller.recordings.requested.connect(self._show_recordings)
        self._told: Path | None = None
        self.controller.exports.changed.connect(self._tell_written)
        self.instrument.closed.connect(self._forget_viewer)
        # Ends the worker also if the dock is destroyed without the window.
        self.destroyed.connect(self.instrument.close)
        # napari docks this widget after the constructor; the other docks follow then.
        QTimer.singleShot(0, self._open_after_docking)

    @property
    def viewer(self) -> Any:
        """The napari viewer of this widget."""
        return self._viewer

    @property
    def main_window(self) -> QMainWindow:
        """The napari window, also while this dock floats."""
        parent: QObject | None = self.parent()
        while parent is not None and not isinstance(parent, QMainWindow):
            parent = parent.parent()
        assert parent is not None
        return parent

    def close_viewer(self) -> None:
        """End the worker, and close and destroy the window; nothing if it is closed already.

        Without the explicit destruction, PyQt destroys the window at the end of the
        process. That crashes occasionally, because objects that the window wraps in the
        meantime change the table over which PyQt iterates.
        """
        viewer = self._viewer
        if viewer is not None:
            # A panel draws until it is hidden, and may then ask for a prediction.
            self.main_window.hide()
        self.instrument.close()
        if viewer is None:  # the user has closed it
            return
        viewer.close()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)

    def _forget_viewer(self) -> None:
        self._viewer = None
        self.controller.recordings.requested.disconnect(self._show_recordings)
        self.controller.exports.changed.disconnect(self._tell_written)
        gc.unfreeze()  # what `launch` froze, with objects of the program that called it
        return_free_memory()

    @property
    def controller(self) -> Controller:
        """The controller, with the state and the results."""
        return self.instrument.controller

    def _tell_written(self) -> None:
        """Tell once where an export was saved; the panel has room for its name alone."""
        path, told = self.controller.exports.written_path, self._told
        self._told = path
        if path is not None and path != told:
            show_info(saved_text([path]))

    def _open_after_docking(self) -> None:
        """Open every dock and the last recording, after a start from the menu.

        Does nothing if the docks are open already: the code that opened them chooses
        the recording.
        """
        if self.docks:
            return
        self.open_docks()
        # A recording that is open, or being opened by the caller, has priority over the
        # last one.
        is_free = self.controller.state.session is None
        if self.docks and is_free and not self.controller.loader.is_busy:
            self.controller.project.restore()

    def open_docks(self) -> None:
        """Open the other docks around the canvas, once this widget is docked."""
        window = self.window()
        if self.docks:
            return
        if not isinstance(window, QMainWindow):
            self._column.addWidget(self.control)
            self._column.addWidget(self.brush)
            return
        main = self.parent()
        assert isinstance(main, QDockWidget)
        self.docks["OmniMouse"] = main
        brush = QWidget()
        self._open(BRUSH, brush, "left")
        for panel, dock in docks():
            self._open(panel.title, self.panels.frames[panel.title], dock.area)
        self.control.model.panel_wanted.connect(self.bring_up)
        self.instrument.play_pressed.connect(self.play)
        for frame in self.panels.frames.values():
            frame.built.connect(self._follow_wishes)
        for title, widget in self.docks.items():
            _hide_instead_of_destroying(widget)
            bind(widget, "?", self.show_keys)
            PanelKey(widget, "Ctrl+S", self.control.analysis.save)
            _set_title(widget, title)
        _raise_when_shown_again(main)
        self._extend_menus(window)
        if self.controller.store.is_enabled:
            self._layout = DockLayout(window, self.controller.store.file_of_window(LAYOUT))
        TabRoom(window)
        _arrange(window, self.docks)
        self._first_layout = window.saveState()
        # Only now: for each dock that is added, napari and Qt walk through all widgets.
        brush_column = QVBoxLayout(brush)
        brush_column.setContentsMargins(0, 0, 0, 0)
        for column, content in ((self._column, self.control), (brush_column, self.brush)):
            column.addWidget(content)
            column.activate()
            content.show()
        for panel, dock in docks():
            frame = self.panels.frames[panel.title]
            if dock.is_front:
                frame.build()
            # Connected after the arrangement, which moves each dock to the front once.
            self.docks[panel.title].visibilityChanged.connect(frame.follow)
        # Dock sizes have an effect only after Qt has laid out the window.
        QTimer.singleShot(0, self._set_sizes)
        self.instrument.watch(window)
        repair_canvas(self._viewer)

    def _set_sizes(self) -> None:
        if self.instrument.is_closed:
            return
        with unsaved_settings():
            if self._layout is None or not self._layout.restore():
                _set_sizes(self.main_window, self.docks)
        _hide_forgotten_bars(self.main_window)
        self.instrument.layers.show_whole_field()

    def reset_layout(self) -> None:
        """Show all docks at their first places and sizes."""
        window = self.main_window
        window.restoreState(self._first_layout)
        fronts = (panel.title for panel, dock in docks() if dock.is_front)
        for title in ("OmniMouse", BRUSH, *fronts):
            self.bring_up(title)
        _set_sizes(window, self.docks)
        self.instrument.layers.show_whole_field()

    def open_folder(self, folder: str) -> None:
        """Open a recording, an analysis, a ranking, predictions, or a folder.

        Problems of a recording are shown in the panel.
        """
        if folder.endswith(SUFFIX):
            self.control.analysis.open(folder)
        elif folder.endswith(RANKING_SUFFIX):
            self.controller.ranking.open(folder)
            self.bring_up("Ranking")
        elif has_predictions(Path(folder)):
            self.controller.model.choose(folder)
        elif holds_sessions(folder):
            self.controller.recordings.read_folder(folder)
        else:
            self.controller.loader.open(folder)

    def _show_recordings(self) -> None:
        made = self.controller
        show_recordings(made.state, made.loader, made.recordings, self.main_window)

    def play(self) -> None:
        """Play or pause, with the stimulus panel shown: playback stops when hidden."""
        panel = self.panels["Stimulus"]
        assert isinstance(panel, RecordPanel)
        assert isinstance(panel.view, StimulusView)
        playback = panel.view.playback
        # Before it comes to the front, which may stop it.
        was_playing = playback.is_playing
        self.bring_up("Stimulus")
        playback.play(not was_playing)

    def _follow_wishes(self, panel: QWidget) -> None:
        if isinstance(panel, RecordPanel):
            panel.panel_wanted.connect(self.bring_up)

    def _extend_menus(self, window: QMainWindow) -> None:
        """Add "Restore deleted layers" and its key, "Reset layout", and the help."""
        self._restore = QAction("Restore deleted OmniMouse layers", self)
        self._restore.setShortcut(RESTORE_KEY)
        self._restore.triggered.connect(lambda: self.instrument.layers.restore())
        # The key acts wherever the focus is: after a deletion it is in the layer list.
        window.addAction(self._restore)
        # Added whenever the menu opens, because napari rebuilds it for new plugins.
        self._viewer.window.plugins_menu.aboutToShow.connect(self._extend_plugins_menu)
        for menu, text, action in (
            (self._viewer.window.window_menu, "Reset layout of OmniMouse", self.reset_layout),
            (self._viewer.window.help_menu, "Keys and actions of OmniMouse (?)", self.show_keys),
        ):
            entry = QAction(text, self)
            entry.triggered.connect(action)
            menu.addAction(entry)

    def _extend_plugins_menu(self) -> None:
        self._viewer.window.plugins_menu.addAction(self._restore)

    def show_keys(self) -> None:
        """Show all keys, and what each panel shows and does."""
        show_keys(partial(panel_actions, self.controller))

    def bring_up(self, title: str) -> None:
        """Show a dock in front of the other tabs."""
        self.docks[title].show()
        self.docks[title].raise_()

    def _open(self, title: str, widget: QWidget, area: Area | Literal["left"]) -> None:
        self.docks[title] = self._viewer.window.add_dock_widget(
            widget,
            name=f"{title} (OmniMouse)",
            area=area,
            add_vertical_stretch=False,
            # Lists the dock in the Window menu, where a hidden one can be shown again.
            menu=self._viewer.window.window_menu,
        )


@contextmanager
def unsaved_settings() -> Iterator[None]:
    """Do not save napari's settings for each dock that moves; a later change saves all.

    One save takes as long as the making of a small dock.
    """
    settings = get_settings()
    saves, settings._save_on_change = settings._save_on_change, False
    try:
        yield
    finally:
        settings._save_on_change = saves


DIRECT = Qt.FindChildOption.FindDirectChildrenOnly


@contextmanager
def _quick_docking(window: Any) -> Iterator[None]:
    """Leave out what napari does for each event and each dock while docks are made.

    Its filter of the application's events shows a hidden menu bar when the pointer is
    near: Qt would call this Python method for thousands of events. Before each dock that
    it adds, it looks for the others among all widgets of the window, whose children they
    are.
    """
    application = QApplication.instance()
    assert application is not None
    application.removeEventFilter(window)
    window.findChildren = partial(window.findChildren, options=DIRECT)
    try:
        yield
    finally:
        del window.findChildren
        application.installEventFilter(window)


def _hide_instead_of_destroying(dock: Any) -> None:
    """Let the close button of a dock hide it, so that it returns at the same place."""
    dock.destroyOnClose = dock.close


def _raise_when_shown_again(dock: Any) -> None:
    """Bring a dock to the front that was hidden and is shown by napari's menu.

    The menu would show it behind the other tabs.
    """
    was_closed = False

    def follow(is_shown: bool) -> None:
        nonlocal was_closed
        if is_shown and was_closed:
            # Later: the dock has no tab yet.
            QTimer.singleShot(0, dock.raise_)
        # A minimised window hides its docks as well, but closes none.
        was_closed = not is_shown and dock.isHidden()

    dock.toggleViewAction().toggled.connect(follow)


def _set_title(dock: Any, title: str) -> None:
    """Use the short title in tabs and title bars; napari keeps the full name."""
    dock.setWindowTitle(title)
    dock.title.title.setText(title)
    dock.toggleViewAction().setText(dock.name)
    # Without `raise_`, a dock from the menu could appear behind the other tabs.
    dock.toggleViewAction().triggered.connect(dock.raise_)


def _arrange(window: QMainWindow, docks: dict[str, QDockWidget]) -> None:
    """Arrange the docks as described in the module docstring."""
    horizontal, vertical = Qt.Orientation.Horizontal, Qt.Orientation.Vertical
    # The right column extends to the bottom of the window.
    window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
    window.splitDockWidget(docks["OmniMouse"], docks["Traces"], vertical)
    docks["Traces"].setMinimumHeight(LEAST_LOWER)
    window.splitDockWidget(docks["Time"], docks["Raster"], vertical)
    window.splitDockWidget(docks["Raster"], docks["Stimulus"], horizontal)
    for titles in (["OmniMouse", *tabs_of("controls")], tabs_of("results"), tabs_of("samples")):
        for first, second in pairwise(titles):
            window.tabifyDockWidget(docks[first], docks[second])
        docks[titles[0]].raise_()
    _fold_layer_docks(window, docks[BRUSH])
    _hide_forgotten_bars(window)


def _hide_forgotten_bars(window: QMainWindow) -> None:
    """Hide rows of tabs that Qt has forgotten.

    A group that gets one more tab before it was shown has a new row, and the one before
    stays somewhere on screen.
    """
    bars = window.findChildren(QTabBar, options=DIRECT)
    names = [{bar.tabText(tab) for tab in range(bar.count())} for bar in bars]
    for bar, own in zip(bars, names, strict=True):
        if any(own < others for others in names):
            bar.hide()


def _set_sizes(window: QMainWindow, docks: dict[str, QDockWidget]) -> None:
    """Set the sizes of the docks; has an effect only in a window that is laid out."""
    horizontal, vertical = Qt.Orientation.Horizontal, Qt.Orientation.Vertical
    right = [docks["OmniMouse"], docks["Traces"]]
    window.resizeDocks(right, [RIGHT_WIDTH] * 2, horizontal)
    window.resizeDocks(right, [RIGHT_UPPER, RIGHT_LOWER], vertical)
    below = [docks["Time"], docks["Raster"]]
    window.resizeDocks(below, [TIME_HEIGHT, BOTTOM_HEIGHT], vertical)
    window.resizeDocks([docks["Raster"], docks["Stimulus"]], [3, 1], horizontal)
    # Again, because napari's docks were shown before: their tabs are made only now.
    docks[BRUSH].raise_()


class TabRoom(QObject):
    """Gives the names in tabs of docks the room that napari leaves beside them.

    Qt makes a bar of tabs when it lays out docks, also later, when one is dragged.
    """

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        window.installEventFilter(self)
        for bar in window.findChildren(QTabBar, options=DIRECT):
            self._fit(bar)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Fit a bar that the window has got; the event goes on."""
        if isinstance(event, QChildEvent) and event.type() == QEvent.Type.ChildPolished:
            bar = event.child()
            if isinstance(bar, QTabBar):
                self._fit(bar)
        return False

    def _fit(self, bar: QTabBar) -> None:
        bar.setStyleSheet("QTabBar::tab { padding: 3px 3px; }")


def _fold_layer_docks(window: QMainWindow, brush: QDockWidget) -> None:
    """Make tabs of the brush and of napari's layer controls and layer list.

    One above the other, with a raster below, they need a window taller than the screen
    of many laptops.
    """
    docks = {dock.objectName(): dock for dock in window.findChildren(QDockWidget, options=DIRECT)}
    controls, layers = docks.get("layer controls"), docks.get("layer list")
    if controls is None or layers is None:
        return
    left = Qt.DockWidgetArea.LeftDockWidgetArea
    # The controls of other layer types are taller: a scroll area prevents them from
    # moving the docks.
    content = controls.widget()
    if content is not None and not isinstance(content, QScrollArea):
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setMinimumWidth(LEFT_WIDTH)
        controls.setWidget(scroll)
        scroll.setWidget(content)
    # The user may have moved one of the two docks; their layout is then left unchanged.
    if {window.dockWidgetArea(dock) for dock in (controls, layers)} == {left}:
        window.tabifyDockWidget(brush, controls)
        window.tabifyDockWidget(controls, layers)
        brush.raise_()


def find_instrument(viewer: Any) -> OmniMouseDock | None:
    """Return the OmniMouse of a viewer, or None if it is not open."""
    for widget in viewer.window.dock_widgets.values():
        if isinstance(widget, OmniMouseDock):
            return widget
    return None


def open_instrument(
    viewer: Any, controller: Controller | None = None, model: Model | None = None
) -> OmniMouseDock:
    """Return the OmniMouse of a viewer; open it with all docks if it is not open."""
    dock = find_instrument(viewer)
    if dock is not None and model is not None:
        dock.controller.model.choose(model)
    if dock is None:
        dock = OmniMouseDock(viewer, controller, model)
        with unsaved_settings():
            viewer.window.add_dock_widget(
                dock, name=DOCK_NAME, area="right", add_vertical_stretch=False
            )
            with _quick_docking(dock.main_window):
                dock.open_docks()
    return dock


LAYOUT = "docks"
"""Name of the file of a layout, in the folder of the last sessions."""
VERSION = 4
"""Version of our docks; a change of their names makes older layouts invalid."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """Content of the file: the state of Qt as base64."""

    docks: str


class DockLayout(QObject):
    """Store the places, sizes and tabs of a window's docks when it closes.

    Parameters
    ----------
    window
        The napari window; it is also the Qt parent of this object.
    path
        File of the layout, which no other open window has.
    """

    def __init__(self, window: QMainWindow, path: Path) -> None:
        super().__init__(window)
        self._window, self._path = window, path
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Store the layout on closing, while every dock still exists."""
        if event is not None and event.type() == QEvent.Type.Close:
            state = self._window.saveState(VERSION).toBase64()
            write_state(self._path, {"docks": bytes(state.data()).decode()})
        return False

    def restore(self) -> bool:
        """Restore the last stored layout; return False if there is none."""
        # A second window begins as the first one, until it has a layout of its own.
        own, usual = self._path, self._path.with_name(f"{LAYOUT}.json")
        stored = read_or_set_aside(own, _Stored) or read_or_set_aside(usual, _Stored)
        if stored is None:
            return False
        return self._window.restoreState(QByteArray.fromBase64(stored.docks.encode()), VERSION)
