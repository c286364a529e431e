"""Small files of the user's settings: a damaged one is set aside and never stops a start."""

import logging
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.trees import read_json
from omnimouse_model.storage.typed import Kind, T, decode
from omnimouse_model.storage.write import write_json

logger = logging.getLogger(__name__)
DAMAGED = ".damaged"
_MAX_BYTES = 256 * 2**20
# For the front end, which shows them once; reading can happen before it exists.
_notes: list[str] = []


def read_or_set_aside(
    path: Path, kind: Kind[T], check: Callable[[T], None] | None = None
) -> T | None:
    """Return the value in a file of settings; None if there is none, or it is damaged.

    A damaged file, or one of another program, gets the ending `.damaged`, so that the next
    one does not overwrite it; a note says so. Fields of a newer version are left out.

    Parameters
    ----------
    check
        Raises ValueError for values that are wrong together.
    """
    try:
        tree = read_json(path, limit=_MAX_BYTES)
        _check_own(path, kind, tree)
        found = decode(kind, tree, path, is_open=True)
        if check is not None:
            check(found)
        return found
    except SessionFormatError as error:
        if error.code == "missing_file":
            return None
        _set_aside(path, error)
    except ValueError as error:
        _set_aside(path, error)
    return None


def _check_own(path: Path, kind: Any, tree: object) -> None:
    """Raise an error for an object of other fields alone: another program wrote it."""
    if is_dataclass(kind) and isinstance(tree, dict) and tree:
        names = [field.name for field in fields(kind)]
        if tree.keys().isdisjoint(names):
            raise SessionFormatError(path, "bad_field", f"{path.name} has none of our fields")


def _set_aside(path: Path, error: ValueError) -> None:
    aside = path.with_name(path.name + DAMAGED)
    try:
        path.replace(aside)
        note = f"{path} is damaged and was set aside as {aside.name}; it starts empty: {error}"
    except OSError as problem:
        note = f"{path} cannot be read, and is ignored: {error} ({problem.strerror})"
    logger.warning(note)
    _notes.append(note)


def take_notes() -> tuple[str, ...]:
    """Return what was set aside since the last call, one sentence each."""
    taken = tuple(_notes)
    _notes.clear()
    return taken


def write_state(path: Path, values: object) -> None:
    """Write a file of settings atomically; log if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Readable by the user only: paths and addresses can be private.
        write_json(path, values, is_private=True)
    except OSError as error:
        logger.warning("%s is not saved: %s", path.name, error)
