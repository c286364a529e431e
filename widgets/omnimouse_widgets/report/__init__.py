"""Report: one HTML page that needs no other file and no network."""

from functools import partial

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.project.exports import MakeContent


def report_maker(controller: Controller, _kind: str) -> MakeContent:
    """Return what makes the page of what is on screen now; for exports."""
    # Imported here: most windows and notebooks write no report.
    from omnimouse_model.live.report import report_of_screen
    from omnimouse_widgets.report.page import report_bytes

    return partial(report_bytes, report_of_screen(controller))
