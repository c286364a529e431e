"""The report page: its sections in order, and the HTML file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from omnimouse_model.atomic import atomic_path
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.inference.background_task import ReportProgress
from omnimouse_model.live.project.report_data import ReportData, reported
from omnimouse_model.live.report_from_file import silently
from omnimouse_widgets.report import answers, comparisons, neurons, question
from omnimouse_widgets.report.document import document
from omnimouse_widgets.report.markup import Markup, tag

Section = Callable[[ReportData], Iterator[Markup]]
SECTIONS: Final[tuple[tuple[str, Section], ...]] = (
    ("What was asked", question.asked),
    ("Scores", answers.scores),
    ("The field", answers.field),
    ("Conditions compared", comparisons.conditions),
    ("Traces of the selected neurons", answers.traces),
    ("Decoded behaviour", answers.behaviour),
    ("What if", comparisons.what_if),
    ("Score against context", comparisons.context),
    ("The same in Python", question.script),
)
"""Title and content of each section; sections without content are omitted."""


def write_report(
    controller: Controller, path: Path, tell: ReportProgress = silently
) -> Path:
    """Write the report of the state on screen, atomically.

    Parameters
    ----------
    tell
        Called with the progress; an exception from it ends the writing.

    Raises
    ------
    ExportError
        Nothing is open, or a part of it is still being predicted.
    """
    return write_page(reported(controller), path, tell)


def write_page(what: ReportData, path: Path, tell: ReportProgress = silently) -> Path:
    """Write the page to a file, atomically."""
    content = report_bytes(what, tell)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path


def report_bytes(what: ReportData, tell: ReportProgress) -> bytes:
    """Return the content of the HTML file; an exception from `tell` ends the work."""
    return report_page(what, tell).encode("utf-8")


def report_page(what: ReportData, tell: ReportProgress | None = None) -> str:
    """Return the page as HTML text."""
    parts = []
    for at, (title, section) in enumerate(SECTIONS):
        if tell is not None:
            tell(f"Report: {title.lower()}", at / len(SECTIONS))
        found = list(section(what))
        if found:
            parts.append(tag("section", tag("h2", title), *found))
    title = f"{what.title} – OmniMouse report"
    return document(title, *question.heading(what), *parts, data=_data(what))


def _data(what: ReportData) -> dict[str, Any]:
    """Return the data that the script of the page reads."""
    conditions = [
        {"key": answers.key_of(condition), "name": answers.title_of(condition)}
        for condition in what.conditions
        if answers.key_of(condition)
    ]
    return {"conditions": conditions, "neurons": neurons.neurons_data(what.content)}
