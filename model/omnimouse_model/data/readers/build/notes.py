"""Collecting what is odd in a session while it is read."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from omnimouse_model.data.io.safe_files import label, leads_out
from omnimouse_model.data.session import Note


@dataclass(slots=True)
class Notes:
    """Warnings about the files, and assumptions where they do not say."""

    warnings: list[Note] = field(default_factory=list)
    assumptions: list[Note] = field(default_factory=list)

    def warn(self, code: str, message: str) -> None:
        """Record something odd that was found."""
        self.warnings.append(Note(code, message))

    def links(self, files: Iterable[Path], root: Path) -> None:
        """Record that data lie outside the session: allowed, but they may go."""
        folders: dict[Path, bool] = {}
        out = []
        for path in files:  # of which there are thousands in few folders
            if path.parent not in folders:
                folders[path.parent] = leads_out(path.parent, root)
            elsewhere = folders[path.parent]
            if leads_out(path, root) if path.is_symlink() else elsewhere:
                out.append(path)
        if out:
            more = f", and {len(out) - 1} more lead out" if out[1:] else ""
            self.warn(
                "linked_data",
                f"{label(out[0])} is a link to {os.path.realpath(out[0])}, outside "
                f"the session{more}",
            )

    def assume(self, code: str, message: str) -> None:
        """Record something that had to be assumed."""
        self.assumptions.append(Note(code, message))
