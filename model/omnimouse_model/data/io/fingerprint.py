"""What tells whether a recording's files are the same as before."""

import os
from collections.abc import Collection, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

_SMALL_BYTES = 2**20
_FEW_FILES = 256
_CHANGE_VALUES = ("rate_hz", "series", "cells_only")
"""Reading options that change which numbers are read, not only their names."""


def folder_fingerprint(root: Path, not_read: Collection[str] = ()) -> str:
    """Hash of names, sizes, small contents and the times of big files.

    Folders of the names `not_read` are passed over.
    """
    digest = blake2b(digest_size=12)
    folders = [""]
    while folders:
        inner = folders.pop()
        with os.scandir(f"{root}{inner}") as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
        files = [e for e in entries if e.is_file()]
        for entry in files:
            info, name = entry.stat(), f"{inner}/{entry.name}"
            small = info.st_size <= _SMALL_BYTES and len(files) <= _FEW_FILES
            about = f"{name}\0{info.st_size}\0{0 if small else info.st_mtime_ns}\n"
            digest.update(os.fsencode(about))
            if small:
                digest.update(Path(entry.path).read_bytes())
        folders += [
            f"{inner}/{e.name}"
            for e in entries
            if e.is_dir(follow_symlinks=False) and e.name not in not_read
        ]
    return digest.hexdigest()


def file_fingerprint(path: Path) -> str:
    """Hash of a file's name, size and time of change."""
    info = path.stat()
    about = f"{path.name}\0{info.st_size}\0{info.st_mtime_ns}"
    return blake2b(os.fsencode(about), digest_size=12).hexdigest()


def as_read(fingerprint: str, options: Mapping[str, Any]) -> str:
    """Hash of the same files read in another way; itself where nothing was said.

    A fit to one kind of responses must not be taken for one to another.
    """
    said = {name: options[name] for name in _CHANGE_VALUES if name in options}
    if not said:
        return fingerprint
    about = f"{fingerprint}\0{sorted(said.items())}"
    return blake2b(about.encode(), digest_size=12).hexdigest()
