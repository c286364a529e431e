"""Collection of warnings and assumptions while a session is read."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from omnimouse_model.data.io.safe_files import label, leads_out
from omnimouse_model.data.session import Note


@dataclass(slots=True)
class Notes:
    """Warnings about the files, and assumptions where information is missing."""

    warnings: list[Note] = field(default_factory=list)
    assumptions: list[Note] = field(default_factory=list)

    def warn(self, code: str, message: str) -> None:
        """Record a warning about the files."""
        self.warnings.append(Note(code, message))

    def links(self, files: Iterable[Path], root: Path) -> None:
        """Warn if data files are links to places outside the session folder.

        Such links are allowed, but the data can disappear.
        """
        folders: dict[Path, bool] = {}
        out = []
        for path in files:  # thousands of files in few folders: resolve folders once
            if path.parent not in folders:
                folders[path.parent] = leads_out(path.parent, root)
            # A file that is no link lies where its folder lies.
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
        """Record an assumption about information that the files lack."""
        self.assumptions.append(Note(code, message))
