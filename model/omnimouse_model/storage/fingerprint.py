"""Fingerprints of recordings: hashes that change when a file changes."""

import os
from collections.abc import Collection, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.files import read_bytes

# Only files of at most this size, in folders of at most this many files, are hashed
# by content. Reading more would make opening a session slow.
_SMALL_BYTES = 2**20
_FEW_FILES = 256
_CHANGE_VALUES = (
    *("rate_hz", "series", "cells_only", "quality", "min_rate_hz", "min_presence"),
    *("trial_event", "split_seed"),
)
"""Reading options that change the values which are read, not only labels."""


def folder_fingerprint(root: Path, not_read: Collection[str] = ()) -> str:
    """Return a hash of file names, sizes, small contents and times of large files.

    Parameters
    ----------
    not_read
        Names of sub-folders that are skipped.
    """
    digest = blake2b(digest_size=12)
    folders = [""]
    while folders:
        inner = folders.pop()
        with os.scandir(f"{root}{inner}") as listed:
            # scandir gives no fixed order; the hash needs one.
            entries = sorted(listed, key=lambda entry: entry.name)
        files = [e for e in entries if e.is_file()]
        for entry in files:
            info, name = entry.stat(), f"{inner}/{entry.name}"
            # Contents instead of times where possible: times change when a session
            # is copied or extracted again, and tools may keep them after an edit.
            small = info.st_size <= _SMALL_BYTES and len(files) <= _FEW_FILES
            # NUL cannot occur in a file name, so the fields cannot run together.
            fields = f"{name}\0{info.st_size}\0{0 if small else info.st_mtime_ns}\n"
            digest.update(os.fsencode(fields))
            if small:
                digest.update(_content(Path(entry.path)))
        # Linked folders are skipped: a link to a parent would never end.
        folders += [
            f"{inner}/{e.name}"
            for e in entries
            if e.is_dir(follow_symlinks=False) and e.name not in not_read
        ]
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path, _SMALL_BYTES)
    except SessionFormatError:  # not fetched yet, or exchanged: name and size must do
        return b""


def file_fingerprint(path: Path) -> str:
    """Return a hash of a file's name, size and modification time."""
    info = path.stat()
    fields = f"{path.name}\0{info.st_size}\0{info.st_mtime_ns}"
    return blake2b(os.fsencode(fields), digest_size=12).hexdigest()


def combine_options(fingerprint: str, options: Mapping[str, Any]) -> str:
    """Return the fingerprint combined with the options that change the values.

    Without such options, return `fingerprint` itself. A cached fit to one kind of
    responses must not be used for another kind.
    """
    value_options = {name: options[name] for name in _CHANGE_VALUES if name in options}
    if not value_options:
        return fingerprint
    fields = f"{fingerprint}\0{sorted(value_options.items())}"
    return blake2b(fields.encode(), digest_size=12).hexdigest()
