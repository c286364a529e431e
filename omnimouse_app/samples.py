"""`File > Open Sample > OmniMouse`: two simulated mice, made on this machine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omnimouse_app.reader import LayerData, layers_of


def demo() -> list[LayerData]:
    """The mouse the demo model was trained on, in a recording it has not seen."""
    return _open(demo_folder())


def unseen() -> list[LayerData]:
    """A mouse the demo model has never seen."""
    return _open(unseen_folder())


def demo_folder() -> Path:
    """Where the demo session is; simulated first, with its progress, if need be."""
    from omnimouse_model.demo import demo_session

    with _progress("Simulating the demo mouse") as progress:
        return demo_session(progress=progress)


def unseen_folder() -> Path:
    """Where the unseen mouse is; simulated first, with its progress, if need be."""
    from omnimouse_model.demo import unseen_session

    with _progress("Simulating an unseen mouse") as progress:
        return unseen_session(progress=progress)


def _open(folder: Path) -> list[LayerData]:
    """Open a session in OmniMouse, and give napari the one layer it insists on.

    The layer carries our token, so that it is replaced when the session opens, right
    after napari has added it.
    """
    from napari import current_viewer
    from qtpy.QtCore import QTimer

    layers = layers_of(str(folder))
    viewer = current_viewer()
    if viewer is None:
        return layers
    from omnimouse_app.docks import open_instrument
    from omnimouse_app.layers import TOKEN

    dock = open_instrument(viewer)
    QTimer.singleShot(0, lambda: dock.open_folder(str(folder)))
    data, options, kind = layers[0]
    return [(data, options | {"metadata": {TOKEN: "sample"}}, kind)]


@contextmanager
def _progress(words: str) -> Iterator[Callable[[float], None]]:
    """napari's own progress bar, shown once there is progress to tell."""
    from napari.utils import progress

    bars: list[Any] = []

    def tell(fraction: float) -> None:
        if not bars:
            bars.append(progress(total=100, desc=words))
        bars[0].update(round(100 * fraction) - bars[0].n)

    try:
        yield tell
    finally:
        for bar in bars:
            bar.close()
