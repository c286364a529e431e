"""Work that goes on after a kill: folders with a journal, and files of JSON lines.

The first line of a journal is a header, which states what is made; each further line notes
a finished piece. Lines are appended, so that a kill tears at most the last one, which does
not count. A folder is continued only if all of it belongs to this user: who can plant a
link there would choose what is written and removed.
"""

import io
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from omnimouse_model.errors import ResultsFileError
from omnimouse_model.storage.trees import MAX_JSON_BYTES, decode_json
from omnimouse_model.storage.write import LockedError, is_own, json_text, lock, open_without_links

JOURNAL = "journal.jsonl"
JsonObject = dict[str, Any]  # Any: whatever JSON holds


def json_line(values: Mapping[str, Any]) -> bytes:
    """Return the line of values; NaN and infinity, which JSON lacks, raise `ValueError`."""
    return json_text(values, allow_nan=False).encode() + b"\n"


def parsed_line(line: bytes) -> JsonObject:
    """Return the values of a line; raise `ValueError` for a torn one and for other values."""
    # Valid JSON without a newline may be the beginning of a longer line.
    if not line.endswith(b"\n"):
        raise ValueError("the line does not end")
    values = decode_json(line, "a line")
    if not isinstance(values, dict):
        raise ValueError("the line holds no object")
    return values


def whole_lines(content: bytes) -> tuple[list[JsonObject], int]:
    """Return the lines up to the first torn one, and their size in bytes."""
    lines: list[JsonObject] = []
    n_bytes = 0
    # One after the other: a list of millions of lines takes many times their bytes.
    for line in io.BytesIO(content):
        try:
            lines.append(parsed_line(line))
        except ValueError:
            break
        n_bytes += len(line)
    return lines, n_bytes


def read_lines(path: Path) -> list[JsonObject]:
    """Return the whole lines of a file that others may write."""
    with open_without_links(path, "rb") as file:
        return whole_lines(_content(file, path))[0]


def lines_after(path: Path, n_bytes: int) -> tuple[list[JsonObject], int]:
    """Return the whole lines behind so many bytes, and where they end.

    A file that has become shorter has no new lines yet.
    """
    with open_without_links(path, "rb") as file:
        start = min(n_bytes, os.fstat(file.fileno()).st_size)
        file.seek(start)
        lines, n_read = whole_lines(_content(file, path))
    return lines, start + n_read


def _content(file: BinaryIO, path: Path) -> bytes:
    """Return what is behind the position of a file."""
    if os.fstat(file.fileno()).st_size - file.tell() > MAX_JSON_BYTES:
        raise ResultsFileError(f"{path} has more than {MAX_JSON_BYTES:,} bytes to read.")
    return file.read()


def cut_lines(path: Path, keeps: Callable[[JsonObject], bool]) -> None:
    """Cut a file of any length before the first line that is torn or not kept."""
    n_bytes = 0
    with open_without_links(path, "r+b") as file:
        for line in file:
            try:
                values = parsed_line(line)
            except ValueError:
                break
            if not keeps(values):
                break
            n_bytes += len(line)
        file.truncate(n_bytes)


def append_line(path: Path, values: Mapping[str, Any]) -> None:
    """Append a line to a file, which need not exist."""
    with open_without_links(path, "ab") as file:
        file.write(json_line(values))


def check_own(folder: Path) -> None:
    """Raise unless a folder, if it exists, holds only files and folders of this user.

    Raises
    ------
    ResultsFileError
        Something in it is a link, has a second name, is no file, or is of another user.
    """
    places = [folder] if os.path.lexists(folder) else []
    while places:
        place = places.pop()
        try:
            info = place.lstat()
            inner = list(place.iterdir()) if stat.S_ISDIR(info.st_mode) else []
        except FileNotFoundError:  # a temporary file of another process of this work
            continue
        problem = "" if is_own(info) else "belongs to another user"
        if stat.S_ISDIR(info.st_mode):
            places += inner
        elif stat.S_ISLNK(info.st_mode):
            problem = "is a link"
        elif not stat.S_ISREG(info.st_mode):
            problem = "is no file"
        elif info.st_nlink > 1:
            problem = "has a second name (a hard link)"
        if problem:
            raise ResultsFileError(
                f"{place} {problem}, so nothing is continued there. To start again, move "
                f"{folder} away, or choose another path."
            )


@dataclass(slots=True, eq=False)
class Journal:
    """The journal of an unfinished folder, open and locked.

    Attributes
    ----------
    notes
        Lines after the header: the finished pieces.
    """

    folder: Path
    notes: list[JsonObject]
    _file: BinaryIO

    def add(self, note: JsonObject) -> None:
        """Note a finished piece."""
        self._file.write(json_line(note))
        self._file.flush()
        self.notes.append(note)

    def forget(self) -> None:
        """Remove all notes, so that everything is made again."""
        self._file.seek(0)
        self._file.truncate(len(self._file.readline()))
        self.notes.clear()

    def clear(self) -> None:
        """Remove everything but the header."""
        self.forget()
        # The journal stays: without it, a kill would leave what is not continued.
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != JOURNAL:
                path.unlink()

    def remove(self) -> None:
        """Remove the folder."""
        self.clear()
        self.close()
        shutil.rmtree(self.folder)

    def close(self) -> None:
        """Give the folder free, so that it can be renamed."""
        self._file.close()


@contextmanager
def open_journal(
    folder: Path, header: JsonObject, check: Callable[[JsonObject], None]
) -> Iterator[Journal]:
    """Begin or continue an unfinished folder, locked against processes of other machines.

    Parameters
    ----------
    header
        What is made.
    check
        Raises if the header of the folder, whose keys are the same, has other values.

    Raises
    ------
    ResultsFileError
        The folder has other contents, or not only those of this user, or is locked.
    """
    with suppress(FileExistsError):
        folder.mkdir(parents=True)
    check_own(folder)
    names = {path.name for path in folder.iterdir()}
    if names - {JOURNAL} and JOURNAL not in names:
        raise _other(folder)
    with open_without_links(folder / JOURNAL, "a+b") as file:
        try:
            lock(file, wait=False)
        except LockedError as error:
            raise ResultsFileError(
                f"Another machine writes {folder}: wait for it, or choose another path."
            ) from error
        file.seek(0)
        lines, n_bytes = whole_lines(_content(file, folder / JOURNAL))
        if lines and lines[0].keys() != header.keys():
            raise _other(folder)
        if lines:
            check(lines[0])
        elif names - {JOURNAL}:
            raise ResultsFileError(f"{folder / JOURNAL} is damaged. Remove {folder} to begin anew.")
        # A torn line would be the beginning of the next one.
        file.truncate(n_bytes)
        if not lines:
            file.write(json_line(header))
            file.flush()
        for path in folder.rglob("*.partial"):  # temporary files of zarr
            path.unlink()
        yield Journal(folder, lines[1:], file)


def _other(folder: Path) -> ResultsFileError:
    return ResultsFileError(
        f"{folder} exists and is no unfinished work of this kind: move it away."
    )
