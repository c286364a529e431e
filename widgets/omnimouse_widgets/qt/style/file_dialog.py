"""File dialogs that open where a file of the same kind was chosen last, also after a restart."""

from dataclasses import dataclass, field
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget

from omnimouse_model.storage.trees import read_or_set_aside, write_state
from omnimouse_model.storage.write import config_dir


@dataclass(frozen=True, slots=True)
class _Folders:
    """Content of the file: the last folder of each kind of files."""

    folders: dict[str, str] = field(default_factory=dict)


def choose_file(parent: QWidget, kind: str, title: str, endings: str, near: str = "") -> str:
    """Return the file that the user chooses, "" if none.

    Parameters
    ----------
    kind
        Name under which the folder of the chosen file is remembered.
    endings
        Filter, such as "Tables (*.csv)".
    near
        Folder of the first dialog of this kind.
    """
    path = QFileDialog.getOpenFileName(parent, title, _last_folder(kind, near), endings)[0]
    return _remembered(kind, path)


def choose_folder(parent: QWidget, kind: str, title: str, near: str = "") -> str:
    """Return the folder that the user chooses, "" if none; see `choose_file`."""
    path = QFileDialog.getExistingDirectory(parent, title, _last_folder(kind, near))
    return _remembered(kind, path)


def choose_new_file(
    parent: QWidget, kind: str, title: str, name: str, endings: str, near: str = ""
) -> tuple[str, str]:
    """Return the file to be written and the chosen filter; see `choose_file`.

    `name` is suggested.
    """
    suggested = str(Path(_last_folder(kind, near)) / name)
    path, ending = QFileDialog.getSaveFileName(parent, title, suggested, endings)
    return _remembered(kind, path), ending


def _last_folder(kind: str, near: str) -> str:
    folder = _read().get(kind, "")
    # It may have been on a drive that is gone.
    return folder if folder and Path(folder).is_dir() else near


def _remembered(kind: str, path: str) -> str:
    # Qt's dialogs return "" if they are cancelled.
    if path:
        # Read again: another window may have written it meanwhile.
        write_state(_path(), {"folders": _read() | {kind: str(Path(path).parent)}})
    return path


def _read() -> dict[str, str]:
    stored = read_or_set_aside(_path(), _Folders)
    return {} if stored is None else stored.folders


def _path() -> Path:
    return config_dir() / "folders.json"
