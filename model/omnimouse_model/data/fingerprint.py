"""What tells whether a recording's files are the same as before."""

import os
from collections.abc import Collection
from hashlib import blake2b
from pathlib import Path

_SMALL_BYTES = 2**20
_FEW_FILES = 256


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
