"""Controller, brush, layers and first hint of one viewer, independent of any dock."""

from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from textwrap import fill
from typing import Any

from napari.layers import Labels
from psygnal import SignalInstance
from qtpy.QtCore import QChildEvent, QEvent, QObject, Qt, QTimer, Signal, Slot
from qtpy.QtGui import QDropEvent, QKeyEvent
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import (
    QApplication,
    QBoxLayout,
    QDialog,
    QLabel,
    QMainWindow,
    QMessageBox,
    QWidget,
)

from omnimouse_app.field.brush import FIRST_RADIUS, Brush
from omnimouse_app.field.canvas import OneFrame, bind_keys, show_keys
from omnimouse_app.field.layers import FieldLayers
from omnimouse_app.window.memory import paused_collection
from omnimouse_app.window.openable import is_openable
from omnimouse_model.inference.client import WorkerPredictor
from omnimouse_model.inference.registry import load_in_process
from omnimouse_model.live.controller import Controller, OfController
from omnimouse_model.live.inference.pinned_stages import Load
from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import Device, LiveState
from omnimouse_model.live.state_store import StateStore
from omnimouse_model.predict.predictor import Predictor
from omnimouse_widgets.qt.style.redraw import qt_post
from omnimouse_widgets.qt.style.shortcuts import key_actions
from omnimouse_widgets.views.field.layout import field_of
from omnimouse_widgets.views.field.probes import LEFT, has_depths
from omnimouse_widgets.views.registry import closing_question, panel_actions
from omnimouse_widgets.views.text.model import TITLE, window_title
from omnimouse_widgets.views.text.tier_score import guide_text

Model = str | Path | Predictor

CLOSING_S = 0.3
"""Maximum wait of a closing window for the worker; the worker then ends by itself."""
_LAYER_IMPORTS = (
    *("pandas", "pandas.api.types", "scipy.linalg", "scipy.ndimage", "scipy.special"),
    # The outlines of areas import it on their thread: two that meet there can fail.
    "scipy.spatial",
    *("skimage.color", "skimage.exposure", "skimage.util"),
    *("omnimouse_widgets.qt.timeline", "omnimouse_widgets.qt.traces"),
    "omnimouse_widgets.qt.raster.panel",
)
_MIN_CANVAS = (160, 120)
"""Minimum canvas size (width, height) in pixels; docks cannot make it smaller."""


class Instrument(QObject):
    """The live state of one viewer on the canvas; ends with the viewer's window.

    Parameters
    ----------
    viewer
        The napari viewer, or the proxy that a plugin receives.
    controller
        Controller to use; by default a new one with its own worker process.
    parent
        Qt parent.
    model
        The first predictor, so that no other one is loaded before it. By default a new
        controller takes the preferred predictor, else the last one, else the demo.
    """

    closed = Signal()
    """Emitted when the worker has ended and all connections are dropped."""
    play_pressed = Signal()
    """Emitted when the play key is pressed on the canvas."""
    dropped = Signal(str)
    """Emitted with the path of a session, analysis or folder dropped on the canvas."""
    is_closed = True
    """True after the end, and before the constructor has finished.

    It is a class attribute, so that it exists also if Python clears the object before
    Qt does: PySide6 still calls its slots then.
    """

    def __init__(
        self,
        viewer: Any,
        controller: Controller | None = None,
        parent: QObject | None = None,
        *,
        model: Model | None = None,
    ) -> None:
        super().__init__(parent)
        settings = preferences()
        self.controller = controller or new_controller()
        # The model of a caller's controller is the caller's choice.
        if model is not None:
            self.controller.model.choose(model)
        elif controller is None:
            self.controller.model.choose(preferred_model(self.controller), is_default=True)
        made = self.controller
        self.brush = Brush.of(made, viewer=viewer)
        last = self.controller.store.load().brush_radius
        self.brush.radius = settings.brush_radius or last or FIRST_RADIUS
        self.layers = FieldLayers.of(made, viewer=viewer, brush=self.brush, parent=self)
        self.layers.layer_made.connect(self._bind_keys)
        self.layers.show_session()
        self.controller.loader.before_show = import_for_layers
        self.controller.loader.on_read = field_of
        self._hint = FirstHint.of(made, viewer=viewer)
        self._viewer = viewer
        # The title that the window had before, and the one of this instrument.
        self._first_title = self._title = viewer.title
        # A title that other code has chosen stays.
        if viewer.title in (TITLE, "napari"):
            for changed in self._title_signals():
                changed.connect(self._name_window, max_args=0)
            self._name_window()
        self.is_closed = False
        self._window: QMainWindow | None = None
        # Whether the user has agreed that the running jobs end with the window.
        self._has_agreed = False
        application = QApplication.instance()
        assert application is not None
        # The application can quit without a close event of the window.
        application.aboutToQuit.connect(self.close)

    def _bind_keys(self, layer: Labels) -> None:
        bind_keys(
            layer,
            key_actions(self.controller),
            self.brush,
            play=self.play_pressed.emit,
            show_mean_alone=self.layers.show_mean_alone,
        )

    def _title_signals(self) -> tuple[SignalInstance, SignalInstance]:
        events = self.controller.state.events
        return events.session, events.predictor_name

    def _name_window(self) -> None:
        """Set the window title to the names of recording and model."""
        if self._viewer.title == self._title:
            self._title = window_title(self.controller.state)
            self._viewer.title = self._title

    def _give_title_back(self) -> None:
        """Give the window the title from before, unless other code has chosen one."""
        for changed in self._title_signals():
            changed.disconnect(self._name_window, missing_ok=True)
        if self._viewer.title == self._title:
            self._viewer.title = self._first_title

    def watch(self, window: QMainWindow) -> None:
        """Filter the events of a window: closing, update requests and drops."""
        self._window = window
        # Two `OneFrame` objects would send each other the requests without end.
        if window.findChild(OneFrame, options=Qt.FindChildOption.FindDirectChildrenOnly) is None:
            OneFrame(window)
        window.installEventFilter(self)
        # Not those of the docks, which are many more.
        centre = window.centralWidget()
        assert centre is not None
        for widget in centre.findChildren(QWidget):
            # napari's canvas area. Its own drop handler asks on every drop which plugin
            # should read a folder.
            if type(widget).__name__ == "QtViewer":
                widget.installEventFilter(self)
        for canvas in centre.findChildren(QOpenGLWidget):
            canvas.installEventFilter(self)
            canvas.setMinimumSize(*_MIN_CANVAS)
            self.brush.canvas = canvas

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Handle drops, keys, closing and resizing."""
        if event is None:
            return False
        if event.type() == QEvent.Type.Close and watched is self._window:
            is_answered = self.is_closed or self._has_agreed
            question = "" if is_answered else closing_question(self.controller)
            if question:
                self._has_agreed = self._asks(question)
                if self._has_agreed and event.spontaneous() and self._window is not None:
                    # napari asks in its turn, unless code closes the window.
                    QTimer.singleShot(0, self._window.close)
                if event.spontaneous() or not self._has_agreed:
                    event.ignore()
                    return True
            # Postponed: at this point napari can still cancel the closing.
            QTimer.singleShot(0, self._close_with_window)
        if event.type() == QEvent.Type.ChildPolished and isinstance(event, QChildEvent):
            self._complete_question(event.child())
        if event.type() == QEvent.Type.Resize and isinstance(watched, QOpenGLWidget):
            # Postponed: the canvas takes its new size after this filter.
            QTimer.singleShot(0, self._keep_fitted)
        if isinstance(watched, QOpenGLWidget) and isinstance(event, QKeyEvent):
            return self._take_key(event)
        if event.type() == QEvent.Type.Drop and isinstance(event, QDropEvent):
            return self._take_drop(event)
        return False

    @Slot()
    def close(self) -> None:
        """Drop every connection and end the worker; a second call does nothing."""
        if self.is_closed:
            return
        self.is_closed = True
        self._give_title_back()
        self._hint.close()
        self.layers.close()
        self.brush.close()
        self.controller.close(CLOSING_S)
        self.closed.emit()

    def _asks(self, question: str) -> bool:
        """Ask whether a window with running jobs closes."""
        button = QMessageBox.StandardButton
        answer = QMessageBox.question(
            self._window, TITLE, question, button.Close | button.Cancel, button.Cancel
        )
        return bool(answer == button.Close)

    def _complete_question(self, dialog: QObject | None) -> None:
        """Tell the running jobs in napari's own question, which keys and menus ask first."""
        if not isinstance(dialog, QDialog) or type(dialog).__name__ != "ConfirmCloseDialog":
            return
        question, layout = closing_question(self.controller), dialog.layout()
        if question and isinstance(layout, QBoxLayout):
            layout.insertWidget(0, QLabel(question))
            dialog.accepted.connect(self._agree)

    @Slot()
    def _agree(self) -> None:
        self._has_agreed = True

    def _close_with_window(self) -> None:
        # The user may have cancelled napari's question on closing; the window is then
        # still visible.
        if self._window is None or not self._window.isVisible():
            self.close()

    def _keep_fitted(self) -> None:
        if not self.is_closed:
            self.layers.keep_fitted()

    def _take_key(self, event: QKeyEvent) -> bool:
        """Handle "?", the only key for which napari's key bindings have no name."""
        is_help = event.type() == QEvent.Type.KeyPress and event.text() == "?"
        if is_help:
            show_keys(partial(panel_actions, self.controller))
        return is_help

    def _take_drop(self, event: QDropEvent) -> bool:
        data = event.mimeData()
        paths = [url.toLocalFile() for url in data.urls()] if data is not None else []
        # All other drops are left to napari.
        if len(paths) != 1 or not is_openable(paths[0]):
            return False
        # After True, napari's own drop handler is not called.
        event.acceptProposedAction()
        self.dropped.emit(paths[0])
        return True


def import_for_layers() -> None:
    """Import what the first layers and plots need, 2 s in a new process.

    Called on another thread, so that the window reacts meanwhile.
    """
    with paused_collection():
        for name in _LAYER_IMPORTS:
            import_module(name)


def preferred_model(controller: Controller) -> str:
    """Return the model of the preferences, else the last one used, else the demo."""
    return preferences().predictor or controller.store.load().predictor or "demo"


def new_controller(device: Device = "auto", scheduler: str | None = None) -> Controller:
    """Return a controller as the preferences say, with the last baseline.

    With a scheduler, predictors are loaded on its Dask workers.
    """
    load: Load = load_in_process if preferences().in_process else WorkerPredictor
    if scheduler is not None:
        from omnimouse_model.inference.dask_map import check_address, remote_predictor

        load = partial(remote_predictor, check_address(scheduler))
    state = LiveState(device=device)
    controller = Controller(state=state, post=qt_post(), load=load, session_file=True)
    controller.model.restore_baseline()
    return controller


_FONT_POINTS, _LETTER_PX = 9, 9.0
"""Size of the text, and width of a wide letter of it."""


class FirstHint(OfController):
    """Hint for a user who has not used the application before.

    Parameters
    ----------
    viewer
        The napari viewer, whose text overlay shows the hint if it is not in use.
    state, results, baseline, colouring
        What the hint tells about.
    editor, store
        Whether something was changed, which ends the hint, or was before.
    """

    def __init__(
        self,
        viewer: Any,
        state: LiveState,
        results: Results,
        baseline: Results,
        editor: MaskEditor,
        colouring: Colouring,
        store: StateStore,
    ) -> None:
        self._canvas = viewer.canvas
        self._overlay = viewer.canvas.overlays.text
        self._state, self._results, self._baseline = state, results, baseline
        self._editor, self._colouring = editor, colouring
        self._is_shown = False
        # Another plugin may show a text of its own.
        is_free = not (self._overlay.visible and self._overlay.text)
        if is_free and not store.load().session:
            # What a model reads is known once it is loaded; its score is refined.
            for signal in self._signals():
                signal.connect(self._follow)
            self._canvas.events.size.connect(self._follow)
            self._follow()

    def _signals(self) -> tuple[SignalInstance, ...]:
        return (
            *(self._state.events.mask, self._state.events.colour_by),
            self._results.changed,
            self._baseline.changed,
            self._colouring.changed,
        )

    def close(self) -> None:
        """Remove the hint for good."""
        for signal in self._signals():
            signal.disconnect(self._follow, missing_ok=True)
        self._canvas.events.size.disconnect(self._follow)
        if self._is_shown:
            self._overlay.visible = self._is_shown = False

    def _follow(self, _: object = None) -> None:
        mask = self._state.mask
        # It explains the colours of the states.
        if self._editor.can_undo or self._state.colour_by != "state":
            self.close()
        elif mask is not None:
            text = guide_text(self._state, self._results, self._baseline, self._colouring)
            height, width = self._canvas.size
            session, place = self._state.session, "bottom_center"
            if session is not None and has_depths(session.units):
                # The depths along probes stand on the left of the field, a square.
                place, width = "bottom_right", (width + (1 - 2 * LEFT) * min(height, width)) / 2
            # napari cuts a line that is wider than the canvas.
            n_letters = max(20, int(width / _LETTER_PX))
            self._overlay.position = place
            self._overlay.font_size = _FONT_POINTS
            self._overlay.text = "\n".join(fill(line, n_letters) for line in text.split("\n"))
            self._overlay.visible = self._is_shown = True
            # napari places a text of another number of lines only once something else is drawn.
            self._overlay.events.position.emit(self._overlay.position, self._overlay.position)


# -- settings under Preferences > Plugins > OmniMouse, read on opening ----------------
@dataclass(frozen=True, slots=True)
class Preferences:
    """Settings of a new OmniMouse window.

    Attributes
    ----------
    predictor
        A name known to `load_predictor`, or a path; "" for the last one.
    in_process
        Compute inside napari's process instead of a worker process.
    brush_radius
        Screen pixels; 0 for the last radius used.
    """

    predictor: str = ""
    in_process: bool = False
    brush_radius: float = 0.0


def preferences() -> Preferences:
    """Return the saved settings, or the defaults if the plugin is not installed."""
    from napari.settings import get_plugin_settings, get_settings

    # napari keeps the settings of a plugin in a file beside its own, once they differ
    # from the defaults. To read them, it reads all manifests: 0.2 s of the start.
    own = get_settings().config_path
    if own is not None and not own.with_name("omnimouse-app.yaml").exists():
        return Preferences()
    try:
        saved = get_plugin_settings("omnimouse-app").opening
    except (KeyError, AttributeError, ValueError):
        # napari raises different errors for a plugin without stored settings.
        return Preferences()
    return Preferences(saved.predictor, saved.in_process, float(saved.brush_radius))
