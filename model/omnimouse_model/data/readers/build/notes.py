"""Collection of warnings and assumptions while a session is read."""

from dataclasses import dataclass, field

from omnimouse_model.data.recording import Note


@dataclass(slots=True)
class Notes:
    """Warnings about the files, and assumptions where information is missing."""

    warnings: list[Note] = field(default_factory=list)
    assumptions: list[Note] = field(default_factory=list)

    def warn(self, code: str, message: str) -> None:
        """Record a warning about the files."""
        self.warnings.append(Note(code, message))

    def assume(self, code: str, message: str) -> None:
        """Record an assumption about information that the files lack."""
        self.assumptions.append(Note(code, message))

    def warn_once(self, code: str, messages: list[str]) -> None:
        """Record the first of many similar warnings, and the number of the others."""
        if messages:
            more = f"; and {len(messages) - 1:,} more" if messages[1:] else ""
            self.warn(code, messages[0] + more)
