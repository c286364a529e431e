"""Collecting what is odd in a session while it is read."""

from dataclasses import dataclass, field

from omnimouse_model.data.session import Note


@dataclass(slots=True)
class Notes:
    """Warnings about the files, and assumptions where they do not say."""

    warnings: list[Note] = field(default_factory=list)
    assumptions: list[Note] = field(default_factory=list)

    def warn(self, code: str, message: str) -> None:
        """Record something odd that was found."""
        self.warnings.append(Note(code, message))

    def assume(self, code: str, message: str) -> None:
        """Record something that had to be assumed."""
        self.assumptions.append(Note(code, message))
