"""The page: its sections in order, and the file they make."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from omnimouse_model.atomic import atomic_path
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.inference.background_task import Tell
from omnimouse_model.live.project.report_data import Reported, reported
from omnimouse_model.live.report_from_file import silently
from omnimouse_widgets.report import answers, comparisons, neurons, question
from omnimouse_widgets.report.document import document
from omnimouse_widgets.report.markup import Markup, tag

Section = Callable[[Reported], Iterator[Markup]]
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
"""Titles and what stands below; a section of which there is nothing is left out."""


def write_report(controller: Controller, path: Path, tell: Tell = silently) -> Path:
    """Write the report of what is on screen; whole, or not at all.

    Parameters
    ----------
    tell
        Told how far it is; the writing ends where it raises.

    Raises
    ------
    ExportError
        Nothing is open, or something of it is still being predicted.
    """
    return write_page(reported(controller), path, tell)


def write_page(what: Reported, path: Path, tell: Tell = silently) -> Path:
    """Write the page as a file; whole, or not at all."""
    content = report_bytes(what, tell)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path


def report_bytes(what: Reported, tell: Tell) -> bytes:
    """The page as a file's content; ends early where `tell` raises."""
    return report_page(what, tell).encode("utf-8")


def report_page(what: Reported, tell: Tell | None = None) -> str:
    """The page as text."""
    parts = []
    for at, (title, section) in enumerate(SECTIONS):
        if tell is not None:
            tell(f"Report: {title.lower()}", at / len(SECTIONS))
        found = list(section(what))
        if found:
            parts.append(tag("section", tag("h2", title), *found))
    title = f"{what.title} – OmniMouse report"
    return document(title, *question.heading(what), *parts, data=_data(what))


def _data(what: Reported) -> dict[str, Any]:
    """What the page's script needs to know."""
    conditions = [
        {"key": answers.key_of(condition), "name": answers.title_of(condition)}
        for condition in what.conditions
        if answers.key_of(condition)
    ]
    return {"conditions": conditions, "neurons": neurons.neurons_data(what.shown)}
