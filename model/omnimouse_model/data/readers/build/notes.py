"""Collection of warnings and assumptions while a session is read."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from omnimouse_model.data.session import Note
from omnimouse_model.errors import SessionFormatError

_Part = TypeVar("_Part")
_TITLES = {"screen": "video", "eye_tracker": "pupil", "treadmill": "running"}
"""Streams whose names in a session are not those of the field."""


@dataclass(slots=True)
class Notes:
    """Warnings about the files, and assumptions where information is missing.

    Attributes
    ----------
    left_out
        Parts of the recording that were left out because of a fault.
    """

    warnings: list[Note] = field(default_factory=list)
    assumptions: list[Note] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)

    def warn(self, code: str, message: str) -> None:
        """Record a warning about the files."""
        self.warnings.append(Note(code, message))

    def assume(self, code: str, message: str) -> None:
        """Record an assumption about information that the files lack."""
        self.assumptions.append(Note(code, message))

    def leave_out(self, part: str, fault: str, remedy: str = "") -> None:
        """Record that a part is not read: one warning with its fault and remedy.

        Parameters
        ----------
        part
            `screen`, `eye_tracker`, `treadmill`, `trials`, or any other name.
        """
        self.left_out.add(part)
        title = _TITLES.get(part, part)
        self.warn(
            "left_out",
            f"{title}: left out: {fault}" + (f" ({remedy})" if remedy else ""),
        )

    def optional(self, part: str, read: Callable[[], _Part]) -> _Part | None:
        """Return a part of a recording; None, with one warning, if it is faulty.

        Only responses are indispensable. Notes of a reading that failed are dropped,
        because they would describe what the session does not have.
        """
        before = len(self.warnings), len(self.assumptions)
        try:
            return read()
        except SessionFormatError as error:
            del self.warnings[before[0] :], self.assumptions[before[1] :]
            self.leave_out(part, error.message, error.hint)
            return None
