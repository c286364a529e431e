"""Panels of the docks: their construction when they are first shown.

A panel that is imported and built costs up to 0.3 s of the start, and most panels are
in covered tabs. `PanelFrame` is the content of a dock until then and afterwards.
"""

from collections.abc import Iterator, Mapping

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.panel import make_panel
from omnimouse_widgets.qt.style.redraw import FaultNotice
from omnimouse_widgets.views.registry import Dock, docks


class PanelFrame(QWidget):
    """Content of a dock: builds its panel when the dock first comes to the front.

    Parameters
    ----------
    dock
        Class and place of the panel.
    controller
        Controller of the panel.
    """

    built = Signal(QWidget)
    """Emitted once, with the panel."""

    def __init__(self, dock: Dock, controller: Controller) -> None:
        super().__init__()
        self._dock, self._controller = dock, controller
        self._panel: QWidget | None = None
        self._notice: FaultNotice | None = None
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)

    @property
    def is_built(self) -> bool:
        """Whether the panel exists."""
        return self._panel is not None

    def build(self) -> QWidget:
        """Return the panel of this dock, which is built at the first call."""
        if self._panel is None:
            self._panel = panel = make_panel(self._dock.panel, self._controller)
            self._layout.addWidget(panel)
            # Now, because the layout would show the panel in a later turn of the event
            # loop: the dock would first be painted without it.
            self._layout.activate()
            panel.show()
            self.built.emit(panel)
        return self._panel

    def follow(self, is_front: bool) -> None:
        """Build the panel when the dock is in front; an error is shown in the dock.

        Connected to the `visibilityChanged` of the dock, which Qt emits before it
        paints a tab that was chosen.
        """
        if not is_front or self._panel is not None or not self.isVisible():
            return
        try:
            self.build()
        # Whatever fails: the other panels remain usable.
        except Exception as error:
            if self._notice is None:
                self._notice = FaultNotice(self)
            self._notice.show_error(error)


class Panels(Mapping[str, QWidget]):
    """Panels by their titles; a look-up builds a panel that does not exist."""

    def __init__(self, controller: Controller) -> None:
        self.frames = {panel.title: PanelFrame(dock, controller) for panel, dock in docks()}

    def __getitem__(self, title: str) -> QWidget:
        return self.frames[title].build()

    def __iter__(self) -> Iterator[str]:
        return iter(self.frames)

    def __len__(self) -> int:
        return len(self.frames)
