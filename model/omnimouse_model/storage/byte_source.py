"""Byte sources of recordings stored as one file: a local file or a URL."""

import os
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from omnimouse_model.storage.files import FileStamp, open_binary


@runtime_checkable
class Source(Protocol):
    """Source of a file's bytes; can be pickled."""

    @property
    def path(self) -> Path:
        """Path of the file, for messages."""
        ...

    def open(self) -> Any:
        """Return a file name or a binary file object, for libraries such as h5py."""
        ...

    def check(self, *, now: bool = False) -> None:
        """Raise `SessionFormatError` if the file is missing or has changed.

        The check can be slow (a request to a server). Without `now`, the result of a
        recent check may be used again.
        """
        ...


class LocalFile:
    """A file on this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_binary(path) as stream:
            # fstat on the open file: size and time belong to the file just opened,
            # even if the name points to another file a moment later.
            self._stamp = FileStamp.of(path, os.fstat(stream.fileno()))

    def open(self) -> Any:
        """Return the file name; h5py reads named files faster than file objects."""
        self.check()
        return str(self.path)

    def check(self, *, now: bool = False) -> None:
        """Raise `SessionFormatError` if the file is missing or has changed."""
        self._stamp.check()
