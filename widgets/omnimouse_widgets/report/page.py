"""The page: its sections in order, and the file they make."""

from collections.abc import Callable, Iterator
from typing import Final

from omnimouse_model.live.errand import Tell
from omnimouse_model.live.reported import Reported
from omnimouse_widgets.report import answers, comparisons, question
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
    return document(title, *question.heading(what), *parts)
