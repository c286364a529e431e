"""The recordings of a folder, looked at one by one off the thread that draws."""

from collections.abc import Iterator
from pathlib import Path

from psygnal import Signal

from omnimouse_model.data.session_index import Catalogue, Entry, entries_of
from omnimouse_model.live.inference.background_task import Errand, HasErrand, Tell
from omnimouse_model.live.inference.engine import Post, call_at_once


class Recordings(HasErrand):
    """Looks through a folder when asked to; what is found is there as it is found.

    Parameters
    ----------
    post
        Hands a function to the thread that draws.
    synchronous
        Look inside `look_in`: for scripts and tests.

    Attributes
    ----------
    asked
        Emitted when somebody wants to see a folder's recordings.
    changed
        Emitted on the thread that draws when anything here may have changed.
    found
        So far; None before the first folder.
    """

    asked = Signal()

    def __init__(self, post: Post = call_at_once, *, synchronous: bool = False) -> None:
        self.found: Catalogue | None = None
        self._errand = Errand(_entries, self._take, post, synchronous=synchronous)
        self.changed = self._errand.changed

    def look_in(self, folder: str | Path) -> None:
        """Look through this one; what was found elsewhere is forgotten."""
        root = Path(folder).expanduser().absolute()
        self.found = Catalogue(root, ())
        self.asked.emit()
        self._errand.start(root, f"Looking through {root.name}")

    def stop(self) -> None:
        """Leave it at what was found so far."""
        self._errand.stop()

    def _take(self, entry: Entry) -> None:
        assert self.found is not None
        entries = (*self.found.entries, entry)
        self.found = Catalogue(self.found.folder, entries)
        self.changed.emit()


def _entries(folder: Path, tell: Tell) -> Iterator[Entry]:
    def tell_place(done: int, total: int, name: str) -> None:
        tell(f"{done} of {total}: {name}" if total else f"Looking through {name}")

    return entries_of(folder, tell_place)
