"""Simulated sample recordings; each is simulated once on this machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from omnimouse_model.live.recording.loader import OpenRequest

ReportProgress = Callable[[float], None]


def _demo_folder(report: ReportProgress) -> Path:
    from omnimouse_model.demo import demo_session

    return demo_session(progress=report)


def _unseen_folder(report: ReportProgress) -> Path:
    from omnimouse_model.demo import unseen_session

    return unseen_session(progress=report)


def _spikes_file(report: ReportProgress) -> Path:
    from omnimouse_model.demo import spiking_session

    return spiking_session(progress=report)


def _unseen_spikes_file(report: ReportProgress) -> Path:
    from omnimouse_model.demo import unseen_spiking_session

    return unseen_spiking_session(progress=report)


DEMO = OpenRequest(_demo_folder, message="Simulating the demo mouse")
UNSEEN = OpenRequest(_unseen_folder, message="Simulating an unseen mouse")
SPIKES = OpenRequest(_spikes_file, message="Simulating an animal with spikes")
UNSEEN_SPIKES = OpenRequest(
    _unseen_spikes_file, message="Simulating an unseen animal with spikes"
)
SAMPLES: Final = {
    "demo": DEMO,
    "unseen": UNSEEN,
    "spikes": SPIKES,
    "unseen-spikes": UNSEEN_SPIKES,
}
"""Sample recordings by their names on the command line and in notebooks."""
