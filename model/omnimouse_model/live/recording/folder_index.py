"""Index of the recordings in a folder, made by a background task."""

from collections.abc import Iterator
from pathlib import Path

from psygnal import Signal

from omnimouse_model.data.session_index import Catalogue, Entry, entries_of
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
)
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.progress import CallbackJob


class FolderIndex(HasBackgroundTask):
    """Recordings of a folder; each entry is available as soon as it is read.

    Attributes
    ----------
    requested
        Emitted at each `read_folder`, so that a view can open.
    index
        Entries read so far; None before the first folder.
    """

    requested = Signal()

    def __init__(self, execution: Execution = IN_THREADS) -> None:
        self.index: Catalogue | None = None
        self._task = BackgroundTask(_entries, self._take, execution)

    def read_folder(self, folder: str | Path) -> None:
        """Read a folder; entries of the previous folder are removed."""
        root = Path(folder).expanduser().absolute()
        self.index = Catalogue(root, ())
        # Before the first entry, so that the panel opens while a large folder is read.
        self.requested.emit()
        self._task.start(root, f"Looking through {root.name}")

    def _take(self, entry: Entry) -> None:
        assert self.index is not None
        entries = (*self.index.entries, entry)
        self.index = Catalogue(self.index.folder, entries)
        self.changed.emit()


def _entries(folder: Path, report: ReportProgress) -> Iterator[Entry]:
    def report_entry(done: int | float, total: int | float, name: str) -> None:
        report(f"{done:g} of {total:g}: {name}" if total else f"Looking through {name}")

    return entries_of(folder, CallbackJob(report_entry))
