"""Folder of generated and downloaded files on this machine."""

import os
import sys
from pathlib import Path


def cache_dir() -> Path:
    """Return `$OMNIMOUSE_CACHE`, or the user's cache folder."""
    folder_variable = os.environ.get("OMNIMOUSE_CACHE")
    if folder_variable:
        return Path(folder_variable).expanduser()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        base = Path(local) if local else Path.home() / "AppData" / "Local"
        return base / "omnimouse"
    return Path.home() / ".cache" / "omnimouse"
