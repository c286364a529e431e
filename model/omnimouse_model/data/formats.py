"""The formats of recordings: which reader recognises a path.

Opening a session and fetching one from the model hub both need this table, and opening
also fetches: a module of its own avoids an import cycle.
"""

import os
from fnmatch import fnmatch
from pathlib import Path

from omnimouse_model.data.readers.alf import reader as alf
from omnimouse_model.data.readers.arrays import reader as arrays
from omnimouse_model.data.readers.experanto import reader as experanto
from omnimouse_model.data.readers.nwb import reader as nwb
from omnimouse_model.data.readers.roi import reader as roi
from omnimouse_model.data.readers.sensorium import reader as sensorium
from omnimouse_model.data.readers.suite2p import reader as suite2p
from omnimouse_model.data.readers.trial_tree import reader as trial_tree
from omnimouse_model.data.store import reader as store
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.files import (
    folders_in,
    is_folder,
    is_link,
    is_there,
    missing,
    paths_in,
)

READERS = {
    "experanto": experanto,
    "sensorium": sensorium,
    "suite2p": suite2p,
    "roi": roi,
    "nwb": nwb,
    "arrays": arrays,
    "alf": alf,
    "trial-tree": trial_tree,
    "store": store,
}
"""Name of a format -> its reader; the first one that recognises a path reads it."""
_EXAMINED = 64
"""Entries of a folder that are examined for other recordings than its NWB file."""
# Users also choose a part of an experanto or ALF folder.
_PARTS = ("meta.json", "responses", "screen", "eye_tracker", "treadmill", "alf")


def session_folder(path: Path) -> Path:
    """Return the folder of a session from that folder, a folder around it, or a part.

    A folder with one NWB file and no other recording is that file.

    Raises
    ------
    SessionFormatError
        There is nothing at the path, or it cannot be read.
    """
    # Unlike those of `Path`, they raise nothing for a user or a name that cannot exist.
    path = Path(os.path.expanduser(path)).absolute()  # noqa: PTH111
    if not is_there(path):
        if is_link(path):
            raise missing(path)
        raise SessionFormatError(path, "missing_file", f"{path} does not exist", "check the path")
    if path.name in _PARTS and is_recording(path.parent):
        return path.parent
    if not is_folder(path) or is_recording(path):
        return path
    entries, inner, files = paths_in(path), folders_in(path), nwb_files(path)
    if len(inner) == 1 and is_recording(inner[0]):
        return inner[0]
    if len(files) != 1:
        return path
    if not any(is_recording(entry) for entry in entries[:_EXAMINED] if entry not in files):
        return session_folder(files[0])
    return path


def nwb_files(folder: Path) -> list[Path]:
    """Return the NWB files of a folder by their names, sorted."""
    # macOS stores attributes of a file beside it, in one that begins with "._".
    named = (path for path in paths_in(folder) if fnmatch(path.name, "[!.]*.nwb"))
    return [path for path in named if not is_folder(path)]


def is_recording(path: Path) -> bool:
    """Return whether a reader recognises a folder or file itself."""
    try:
        return any(reader.recognises(path) for reader in READERS.values())
    except (OSError, SessionFormatError):
        return False
