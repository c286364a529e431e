"""Files widget: the panel *Files* in a notebook."""

from collections.abc import Callable
from functools import partial
from typing import Any

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.project.exports import MakeContent
from omnimouse_model.live.report import ReportData, report_of_screen
from omnimouse_widgets.jupyter.panel import RecordPart
from omnimouse_widgets.views.files import FilesView


class Files(RecordPart):
    """Options of the reader of the recording, and exports of what is on screen."""

    def __init__(self, controller: Controller, **traits: Any) -> None:
        view = FilesView.of(
            controller, {"report": partial(_report, partial(report_of_screen, controller))}
        )
        super().__init__(view, controller, **traits)

    def __repr__(self) -> str:
        return "Run this cell to read with other options, and to export."


def _report(report: Callable[[], ReportData], _: str) -> MakeContent:
    # Imported here: most notebooks write no report.
    from omnimouse_widgets.report import report_bytes

    return partial(report_bytes, report())
