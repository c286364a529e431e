"""Files are written beside their place and moved into it: whole, or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Give a temporary sibling that replaces `path` when the block succeeds.

    Whoever else uses the machine may read the file unless `mode` says otherwise.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(mode)  # mkstemp and writers that recreate it choose their own
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
