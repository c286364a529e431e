"""Atomic writing: a file appears under its name only when it is complete."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omnimouse_model.drive import writing


@contextmanager
def atomic_path(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces it after success.

    By default, other users of the machine may read the file.

    Raises
    ------
    DriveError
        The drive is full or read-only, or the folder is not the user's.
    """
    with writing(path):
        # Beside the target, because a rename is atomic only within one file system.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            # mkstemp gives access to its owner only, and a writer may recreate the
            # file.
            temporary.chmod(mode)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
