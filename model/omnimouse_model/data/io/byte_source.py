"""Where the bytes of a recording in one file are: on this machine, or at a URL."""

import os
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from omnimouse_model.data.io.safe_files import open_binary
from omnimouse_model.errors import SessionFormatError


@runtime_checkable
class Source(Protocol):
    """A file's bytes; safe to pickle."""

    @property
    def path(self) -> Path:
        """What to call it in messages."""
        ...

    def open(self) -> Any:
        """What libraries take: a file's name, or a binary file object."""
        ...

    def check(self, *, now: bool = False) -> None:
        """Raise `SessionFormatError` where it is gone, or changed since.

        Asking may cost something: without `now` a late answer will do.
        """
        ...


class LocalFile:
    """A file on this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_binary(path) as stream:
            info = os.fstat(stream.fileno())
        self._seen = (info.st_size, info.st_mtime_ns)

    def open(self) -> Any:
        """Its name: libraries read a file faster by that."""
        self.check()
        return str(self.path)

    def check(self, *, now: bool = False) -> None:
        """Raise where the file is gone or changed."""
        try:
            info = self.path.stat()
        except OSError as error:
            raise SessionFormatError(
                self.path,
                "unreadable",
                f"{self.path.name} cannot be read: {error.strerror or error}",
                "check permissions, and that its drive is there",
            ) from error
        if (info.st_size, info.st_mtime_ns) != self._seen:
            raise SessionFormatError(
                self.path,
                "changed",
                f"{self.path.name} changed while the session was open",
                "open the session again",
            )
