"""Snapshot of file sizes and modification times, taken when a session is opened."""

import os
from dataclasses import dataclass
from pathlib import Path

from omnimouse_model.data.io.safe_files import label
from omnimouse_model.errors import SessionFormatError


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A file with its size (bytes) and modification time (ns) at listing."""

    path: Path
    size: int
    changed_ns: int

    def check(self, info: os.stat_result | None = None) -> None:
        """Raise `SessionFormatError` if the file is missing or has changed.

        Parameters
        ----------
        info
            Result of `stat` or `fstat` if the caller already has one.
        """
        try:
            info = self.path.stat() if info is None else info
        except OSError as error:
            raise SessionFormatError(
                self.path,
                "unreadable",
                f"{label(self.path)} cannot be read: {error.strerror or error}",
                "check permissions, and that its drive is there",
            ) from error
        if (info.st_size, info.st_mtime_ns) != (self.size, self.changed_ns):
            raise SessionFormatError(
                self.path,
                "changed",
                f"{label(self.path)} changed while the session was open",
                "open the session again",
            )


def seen_files(folder: Path) -> dict[str, SeenFile]:
    """Return the plain files of a folder by name, without opening them.

    A missing folder gives an empty dict.
    """
    try:
        with os.scandir(folder) as entries:
            return {e.name: _seen(e) for e in entries if e.is_file()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SessionFormatError(
            folder,
            "unreadable",
            f"{label(folder)} cannot be listed: {error.strerror or error}",
            "check permissions, and that its drive is there",
        ) from error


def _seen(entry: "os.DirEntry[str]") -> SeenFile:
    # On Windows, DirEntry.stat reads the directory entry, whose size and time can
    # lag behind the file itself.
    path = Path(entry.path)
    info = path.stat() if os.name == "nt" else entry.stat()
    return SeenFile(path, info.st_size, info.st_mtime_ns)
