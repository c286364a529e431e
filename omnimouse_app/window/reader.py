"""What napari opens in OmniMouse: dropped paths, those of a command line, samples.

napari imports it for every folder and matching file, also for those of other plugins;
imports inside the functions keep it fast.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

LayerData = tuple[Any, ...]
NOTHING_TO_ADD: list[LayerData] = [(None,)]
"""napari's value for "read, without layers": OmniMouse adds its own layers."""


def get_reader(path: str | list[str]) -> Callable[[str], list[LayerData]] | None:
    """Return a reader if the path is a session, an analysis, or a folder of sessions.

    Takes milliseconds, because it reads names and small files only. Returns None for a
    list of several paths.
    """
    from omnimouse_app.window.openable import is_openable

    if isinstance(path, list):
        if len(path) != 1:
            return None
        path = path[0]
    return read if is_openable(path) else None


def read(path: str | list[str]) -> list[LayerData]:
    """Open a path in OmniMouse: a session, an analysis, or a folder of sessions.

    Without a window, return the layers of the session instead.
    """
    from napari import current_viewer

    folder = path if isinstance(path, str) else path[0]
    viewer = current_viewer()
    if viewer is None:
        return layers_of(folder)
    from omnimouse_app.window.entry import instrument_of

    instrument_of(viewer).open_folder(folder)
    return NOTHING_TO_ADD


def layers_of(folder: str) -> list[LayerData]:
    """Return mean image and neurons of a session as napari layer data."""
    from omnimouse_model.data.open import open_session
    from omnimouse_widgets.views.field.layout import session_field

    field = session_field(open_session(folder))
    layers: list[LayerData] = []
    if field.mean is not None:
        layers.append((field.mean, {"name": "mean image"}, "image"))
    # `owner` is -1 without a neuron; napari's background label is 0.
    layers.append((field.owner + 1, {"name": "neurons"}, "labels"))
    return layers


def choose_recordings() -> None:
    """Ask for a folder and list its recordings; opens OmniMouse if needed."""
    from napari import current_viewer

    from omnimouse_app.window.entry import instrument_of

    viewer = current_viewer()
    if viewer is None:
        raise RuntimeError("There is no napari window to show recordings in.")
    instrument_of(viewer).control.recording.choose_recordings()


# -- `File > Open Sample > OmniMouse`: two simulated mice, computed on this machine ---
# They are simulated and opened in a background thread; the panel shows the progress.
def demo() -> list[LayerData]:
    """Open the demo recording, and choose the demo model, which knows its mouse."""
    return _open("demo")


def unseen() -> list[LayerData]:
    """Open a mouse that was not in the training data of the demo model."""
    return _open("unseen")


def _open(name: str) -> list[LayerData]:
    """Open a session in OmniMouse, and return the one layer that napari requires.

    The layer is empty and has the plugin's token, so that it is removed when the
    session opens. Without a window, return the layers of the session.
    """
    from napari import current_viewer

    from omnimouse_model.live.session_loader import with_model
    from omnimouse_model.progress import QUIET

    viewer, sample = current_viewer(), with_model(name)
    if viewer is None:
        assert callable(sample.recording)
        return layers_of(str(sample.recording(QUIET)))
    from omnimouse_app.field.layers import TOKEN
    from omnimouse_app.window.entry import instrument_of

    dock = instrument_of(viewer)
    dock.bring_up("OmniMouse")  # its panel shows the progress
    dock.controller.loader.open(sample)
    options = {"name": "opening", "visible": False, "metadata": {TOKEN: "sample"}}
    return [(np.zeros((2, 2), np.uint8), options, "image")]
