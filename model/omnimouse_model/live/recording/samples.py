"""Two simulated sample recordings; each is simulated once on this machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from omnimouse_model.live.recording.loader import OpenRequest

Tell = Callable[[float], None]


def _demo_folder(tell: Tell) -> Path:
    from omnimouse_model.demo import demo_session

    return demo_session(progress=tell)


def _unseen_folder(tell: Tell) -> Path:
    from omnimouse_model.demo import unseen_session

    return unseen_session(progress=tell)


DEMO = OpenRequest(_demo_folder, words="Simulating the demo mouse")
UNSEEN = OpenRequest(_unseen_folder, words="Simulating an unseen mouse")
SAMPLES: Final = {"demo": DEMO, "unseen": UNSEEN}
"""Sample recordings by their names on the command line and in notebooks."""
