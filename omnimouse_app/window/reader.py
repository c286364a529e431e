"""Reading recordings into napari: dropped, opened, or given on a command line."""

from collections.abc import Callable
from typing import Any

LayerData = tuple[Any, ...]
NOTHING_TO_ADD: list[LayerData] = [(None,)]
"""napari's word for "read, and no layers to add": OmniMouse has added its own."""


def get_reader(path: str | list[str]) -> Callable[[str], list[LayerData]] | None:
    """Return a reader if the path is a session, an analysis, or a folder of sessions.

    In milliseconds: looks at names and small files only. A list of paths is neither.
    """
    from omnimouse_app.window.openable import is_openable

    if isinstance(path, list):
        if len(path) != 1:
            return None
        path = path[0]
    return read if is_openable(path) else None


def read(path: str | list[str]) -> list[LayerData]:
    """Open it in OmniMouse: a session, an analysis, or the table of a folder's.

    Without a window, give the session's layers instead.
    """
    from napari import current_viewer

    folder = path if isinstance(path, str) else path[0]
    viewer = current_viewer()
    if viewer is None:
        return layers_of(folder)
    from omnimouse_app.window.docks import open_instrument

    open_instrument(viewer).open_folder(folder)
    return NOTHING_TO_ADD


def layers_of(folder: str) -> list[LayerData]:
    """Mean image and neurons of a session as plain layer data."""
    from omnimouse_model.data.open import open_session
    from omnimouse_widgets.drawn.field.layout import session_field

    field = session_field(open_session(folder))
    layers: list[LayerData] = []
    if field.mean is not None:
        layers.append((field.mean, {"name": "mean image"}, "image"))
    layers.append((field.owner + 1, {"name": "neurons"}, "labels"))
    return layers
