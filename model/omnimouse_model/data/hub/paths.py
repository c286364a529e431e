"""Paths made from names that a hub sends."""

from pathlib import Path

from omnimouse_model.errors import FetchError
from omnimouse_model.storage.archives import is_plain_name, leads_outside


def path_inside(folder: Path, name: str) -> Path:
    """Return the path of a name in a folder.

    Every name, commit and checksum of a hub passes here before a file of it is opened
    or removed.

    Raises
    ------
    FetchError
        The name leads outside the folder, also over a link, or not every operating
        system can hold it.
    """
    path = folder / name
    is_sound = bool(name) and not leads_outside(name) and is_plain_name(name)
    # `resolve` follows links that are in the folder already.
    if not is_sound or not path.resolve().is_relative_to(folder.resolve()):
        raise FetchError("refused", f"The hub names a file {name[:200]!r}, which is refused.")
    return path
