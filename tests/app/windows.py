"""Helpers for tests in a window: layout, dropped files, leftover threads."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from typing import Any

from omnimouse_app.tour.hand import settle, wait_for
from omnimouse_app.window.docks import OmniMouseDock

SIZE = (1440, 900)


def layout(dock: OmniMouseDock) -> tuple[Any, ...]:
    """Sizes of the window and its docks, and places in it."""
    window, canvas = dock.main_window, dock.main_window.centralWidget()
    boxes = [canvas, *(one for one in dock.docks.values() if one.isVisible())]
    rectangles = [box.geometry().getRect() for box in boxes]
    return (window.width(), window.height(), *rectangles)


def wait_for_rest(dock: OmniMouseDock, size: tuple[int, int] = SIZE) -> None:
    """Wait until the window has its size and four looks in a row are the same."""
    looks: deque[tuple[Any, ...]] = deque(maxlen=4)

    def is_at_rest() -> bool:
        settle(0.04)
        camera = dock.viewer.scene.camera
        looks.append((layout(dock), camera.zoom, tuple(camera.center)))
        window = dock.main_window
        return (window.width(), window.height()) == size and looks.count(looks[0]) == 4

    wait_for(is_at_rest, f"the window to rest at {size}")


def is_answered(dock: OmniMouseDock) -> bool:
    """Whether selected neurons and population have their answers."""
    results = dock.controller.results
    return results.freshness == results.population_freshness == "fresh"


def drop_file(dock: OmniMouseDock, path: Path) -> None:
    """Drop a file or folder on the canvas, as from a file manager."""
    from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
    from qtpy.QtGui import QDragEnterEvent, QDropEvent
    from qtpy.QtWidgets import QApplication, QWidget

    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    widgets = dock.main_window.findChildren(QWidget)
    canvas = next(one for one in widgets if type(one).__name__ == "QtViewer")
    copy, left = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    none, application = Qt.KeyboardModifier.NoModifier, QApplication.instance()
    # Qt drops only where a drag has been taken in.
    entered = QDragEnterEvent(QPoint(20, 20), copy, data, left, none)
    application.sendEvent(canvas, entered)
    dropped = QDropEvent(QPointF(20, 20), copy, data, left, none)
    application.sendEvent(canvas, dropped)


def running_names() -> set[str]:
    """Names of our threads and processes, but for the one that draws every part."""
    everyone = (*threading.enumerate(), *active_children())
    ours = {one.name for one in everyone if one.name.startswith("omnimouse")}
    return ours - {"omnimouse-draw"}


@contextmanager
def end_check() -> Iterator[None]:
    """Wait at the end until nothing of ours runs that did not at the beginning."""
    before = running_names()
    yield
    wait_for(lambda: running_names() <= before, "threads and processes to end")
