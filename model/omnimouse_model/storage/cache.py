"""Folders of this program on this machine: the cache, and the user's settings."""

import logging
import os
import stat
import sys
import tempfile
from pathlib import Path

logger = logging.getLogger(__name__)
_NAME = "omnimouse"


def cache_dir() -> Path:
    """Return the folder of generated and downloaded files; $OMNIMOUSE_CACHE names it."""
    base = "~/.cache"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    return _user_folder("OMNIMOUSE_CACHE", base)


def config_dir() -> Path:
    """Return the folder of the last session and of settings; $OMNIMOUSE_CONFIG names it."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    if sys.platform == "win32":
        base = os.environ.get("APPDATA") or "~/AppData/Roaming"
    elif sys.platform == "darwin":
        base = "~/Library/Application Support"
    return _user_folder("OMNIMOUSE_CONFIG", base)


def _user_folder(variable: str, base: str) -> Path:
    """Return the folder of a variable, else one in `base`, else a temporary one.

    The variable is set to a temporary folder, so that there is one note, and that all
    processes of a command share the folder.
    """
    if given := os.environ.get(variable):
        return _expanded(given)
    folder = _expanded(base) / _NAME
    problem = _problem(folder, is_of_home=base.startswith("~"))
    if problem:
        temporary = _temporary_folder() / variable.removeprefix("OMNIMOUSE_").lower()
        logger.warning(
            "%s %s: files go to %s instead. To keep them, set %s to a folder of yours.",
            *(folder, problem, temporary, variable),
        )
        os.environ[variable] = str(temporary)
        return temporary
    return folder


def _expanded(path: str) -> Path:
    # Unlike that of `Path`, it raises nothing where nobody knows the home folder.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def _problem(folder: Path, *, is_of_home: bool) -> str:
    """Return why a folder cannot be written; "" if it can, or can be made."""
    home = _expanded("~")
    # An empty HOME is the root of the drive for Python; without any, ~ stays.
    if is_of_home and (os.environ.get("HOME") == "" or not home.is_absolute()):
        return "has no home folder (HOME is not set)"
    if is_of_home and not home.is_dir():
        return "cannot be made, because the home folder is missing"
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    is_free = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    return "" if is_free else "cannot be written"


def is_own(info: os.stat_result) -> bool:
    """Whether a file belongs to the user of this process."""
    return os.name == "nt" or info.st_uid == os.geteuid()


def _temporary_folder() -> Path:
    """Return a folder that only this user can read, the same in the next command."""
    folder = Path(tempfile.gettempdir(), f"{_NAME}-{getattr(os, 'geteuid', os.getpid)()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    info = folder.lstat()
    # Others may write to the folder of temporary files: it could be theirs, or a link.
    is_private = os.name == "nt" or stat.S_IMODE(info.st_mode) & 0o077 == 0
    if stat.S_ISDIR(info.st_mode) and is_own(info) and is_private:
        return folder
    return Path(tempfile.mkdtemp(prefix=f"{_NAME}-"))
