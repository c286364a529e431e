"""`File > Open Sample > OmniMouse`: two simulated mice, made on this machine.

They are simulated and opened off the thread that draws; the panel tells how far it is.
"""

import numpy as np

from omnimouse_app.window.reader import LayerData, layers_of
from omnimouse_model.live.recording.loader import Opening
from omnimouse_model.live.recording.samples import DEMO, UNSEEN


def demo() -> list[LayerData]:
    """The mouse the demo model was trained on, in a recording it has not seen."""
    return _open(DEMO)


def unseen() -> list[LayerData]:
    """A mouse the demo model has never seen."""
    return _open(UNSEEN)


def _open(sample: Opening) -> list[LayerData]:
    """Open a session in OmniMouse, and give napari the one layer it insists on.

    The layer is empty and carries our token, so that it goes when the session opens.
    Without a window, the session's layers themselves.
    """
    from napari import current_viewer

    viewer = current_viewer()
    if viewer is None:
        assert callable(sample.recording)
        return layers_of(str(sample.recording(lambda share: None)))
    from omnimouse_app.field.layers import TOKEN
    from omnimouse_app.window.docks import open_instrument

    open_instrument(viewer).controller.opener.open(sample)
    options = {"name": "opening", "visible": False, "metadata": {TOKEN: "sample"}}
    return [(np.zeros((2, 2), np.uint8), options, "image")]
