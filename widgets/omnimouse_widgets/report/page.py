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
LEFT_OUT: Final = (
    "predictions over longer spans than this window, averages around the onsets of trials, "
    "repeats of clips, the ranking of sessions, and the curves of a fine-tuning"
)
"""What is on screen and in no report."""


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


def _left_out(empty: list[str]) -> str:
    """Return what the page does not show; `empty` are titles without content."""
    nothing = f" Nothing was there for: {', '.join(empty)}." if empty else ""
    return f"The page has the window on screen and every pin. It has no {LEFT_OUT}.{nothing}"


def report_bytes(data: ReportData, report_progress: ReportProgress) -> bytes:
    """Return the HTML file; an exception from `report_progress` ends the work."""
    return report_page(data, report_progress).encode("utf-8")


def report_page(data: ReportData, report_progress: ReportProgress = no_report) -> str:
    """Return the HTML of all sections; `report_progress` is called before each one."""
    sections, empty = [], []
    for number, (title, section) in enumerate(SECTIONS):
        report_progress(f"Report: {title.lower()}", number / len(SECTIONS))
        if parts := list(section(data)):
            sections.append(tag("section", tag("h2", title), *parts))
        else:
            empty.append(title)
    sections.append(tag("section", tag("h2", "What is left out"), tag("p", _left_out(empty))))
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
