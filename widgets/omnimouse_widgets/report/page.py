"""The report page: its sections in order, and the HTML file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.inference.background_task import ReportProgress
from omnimouse_model.live.report import ReportData, no_report, report_of_screen
from omnimouse_model.storage.write import write_bytes
from omnimouse_widgets.report import comparisons, experiments, neurons, results, task
from omnimouse_widgets.report.markup import Markup, document, tag

Section = Callable[[ReportData], Iterator[Markup]]
SECTIONS: Final[tuple[tuple[str, Section], ...]] = (
    ("Task", task.task),
    ("Scores", results.scores),
    ("The field", results.field),
    ("Conditions compared", comparisons.conditions),
    ("Traces of the selected neurons", results.traces),
    ("Decoded behaviour", results.behaviour),
    ("What if", comparisons.what_if),
    ("Score against context", comparisons.context),
    ("Laboratory", experiments.experiments),
    ("The same in Python", task.script),
)
"""Title and content of each section; sections without content are omitted."""


def write_report(
    controller: Controller, path: Path, report_progress: ReportProgress = no_report
) -> Path:
    """Write the report of the state on screen, atomically.

    Parameters
    ----------
    report_progress
        Called with the progress; an exception from it ends the writing.

    Raises
    ------
    ExportError
        Nothing is open, or a part of it is still being predicted.
    """
    return write_page(report_of_screen(controller), path, report_progress)


def write_page(data: ReportData, path: Path, report_progress: ReportProgress = no_report) -> Path:
    """Write the page to a file, atomically."""
    # Before the file is opened: an exception leaves no temporary file.
    content = report_bytes(data, report_progress)
    write_bytes(path, content)
    return path


def report_bytes(data: ReportData, report_progress: ReportProgress) -> bytes:
    """Return the HTML file; an exception from `report_progress` ends the work."""
    return report_page(data, report_progress).encode("utf-8")


def report_page(data: ReportData, report_progress: ReportProgress = no_report) -> str:
    """Return the HTML of all sections; `report_progress` is called before each one."""
    sections = []
    for number, (title, section) in enumerate(SECTIONS):
        report_progress(f"Report: {title.lower()}", number / len(SECTIONS))
        if parts := list(section(data)):
            sections.append(tag("section", tag("h2", title), *parts))
    # The condition on screen has no key: it cannot be hidden.
    conditions = [
        {"key": key, "name": results.title_of(condition)}
        for condition in data.conditions
        if (key := results.key_of(condition))
    ]
    values: dict[str, Any] = {
        "conditions": conditions,
        "neurons": neurons.neurons_data(data.content),
    }
    title = f"{data.title} – OmniMouse report"
    return document(title, *task.heading(data), *sections, data=values)
