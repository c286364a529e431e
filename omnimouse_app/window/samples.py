"""`File > Open Sample > OmniMouse`: two simulated mice, computed on this machine.

They are simulated and opened in a background thread; the panel shows the progress.
"""

import numpy as np

from omnimouse_app.window.reader import LayerData, layers_of
from omnimouse_model.live.session_loader import OpenRequest, with_model
from omnimouse_model.progress import QUIET


def demo() -> list[LayerData]:
    """Open the demo recording, and choose the demo model, which knows its mouse."""
    return _open(with_model("demo"))


def unseen() -> list[LayerData]:
    """Open a mouse that was not in the training data of the demo model."""
    return _open(with_model("unseen"))


def _open(sample: OpenRequest) -> list[LayerData]:
    """Open a session in OmniMouse, and return the one layer that napari requires.

    The layer is empty and has the plugin's token, so that it is removed when the
    session opens. Without a window, return the layers of the session.
    """
    from napari import current_viewer

    viewer = current_viewer()
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
