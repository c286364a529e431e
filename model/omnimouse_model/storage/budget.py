"""Limit on the bytes that one file may become in memory, all of its parts together."""

from pathlib import Path

from omnimouse_model.storage.files import bad_file

MAX_BYTES = 8 * 2**30
MAX_TABLE_BYTES = 512 * 2**20
"""Bytes of one array that is read as a whole."""
MAX_TEXT_BYTES = 256 * 2**20
"""Bytes of all texts of a file in memory."""
LONGEST_TEXT = 2**20
"""Most bytes of a text in a list of texts."""
_MAX_RATIO = 64
_SMALL_BYTES = 16 * 2**20


class Budget:
    """Decoded bytes that a file may still give.

    A file may become 16 MiB, or 64 times its own bytes, and never more than `most`.

    Parameters
    ----------
    n_stored
        Bytes of the file; None if unknown.
    """

    def __init__(self, path: Path, n_stored: int | None = None, most: int = MAX_BYTES) -> None:
        self._path = path
        stored = most if n_stored is None else max(_SMALL_BYTES, _MAX_RATIO * n_stored)
        self._most = self._left = min(stored, most)

    def spend(self, name: str, n_bytes: int) -> None:
        """Subtract the bytes of a part.

        Raises
        ------
        SessionFormatError
            They are more than what is left.
        """
        if n_bytes > self._left:
            problem = f"{name} unpacks to {n_bytes:,} bytes"
            if n_bytes <= self._most:
                problem = f"{name} and the parts read before it unpack to more"
            problem += f"; at most {self._most:,} bytes are read"
            raise bad_file(self._path, "too_large", problem)
        self._left -= n_bytes
