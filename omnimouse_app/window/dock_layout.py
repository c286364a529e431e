"""Places of the docks: stored when the window closes, restored at the next start."""

from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import QByteArray, QEvent, QObject
from qtpy.QtWidgets import QMainWindow

from omnimouse_model.storage.cache import config_dir
from omnimouse_model.storage.trees import read_or_set_aside, write_state

VERSION = 3
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
    """

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Store the layout on closing, while every dock still exists."""
        if event is not None and event.type() == QEvent.Type.Close:
            state = self._window.saveState(VERSION).toBase64()
            write_state(_path(), {"docks": bytes(state.data()).decode()})
        return False

    def restore(self) -> bool:
        """Restore the last stored layout; return False if there is none."""
        stored = read_or_set_aside(_path(), _Stored)
        if stored is None:
            return False
        return self._window.restoreState(QByteArray.fromBase64(stored.docks.encode()), VERSION)


def _path() -> Path:
    return config_dir() / "docks.json"
