"""`File > Open Sample > OmniMouse`: two simulated mice, made on this machine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omnimouse_app.reader import read


def demo() -> list[tuple[Any, ...]]:
    """The mouse the demo model was trained on, in a recording it has not seen."""
    return read(str(demo_folder()))


def unseen() -> list[tuple[Any, ...]]:
    """A mouse the demo model has never seen."""
    return read(str(unseen_folder()))


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
