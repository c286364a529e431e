"""Backups of unsaved work, and messages about their place."""

import logging
import re
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from omnimouse_model.data.io.http_file import web_address
from omnimouse_model.live.analysis_file import SUFFIX, Analysis, write_analysis
from omnimouse_model.live.inference.engine import Post
from omnimouse_model.live.last_session import MOST_UNSAVED, StateStore

logger = logging.getLogger(__name__)

MOST_NAME_BYTES: Final = 100
LEFT: Final = (
    "What was on screen was not saved; it is kept as “{name}” (File > Kept copies)."
)
NOT_KEPT: Final = "What was on screen was not saved, and could not be kept: {why}."
GONE: Final = (
    "{most} copies of what was not saved are kept: “{name}”, which was never opened, "
    "was deleted."
)
_Worth = tuple[object, ...]


class UnsavedBackups:
    """Writer of backups of unsaved work, in the background, without duplicates.

    Parameters
    ----------
    memory
        Storage of the copies; without storage, nothing is written.
    tell
        Receives messages for the user, on the drawing thread.
    post
        Runs a function on the drawing thread.
    synchronous
        Write inside `write`: for scripts and tests.
    """

    def __init__(
        self,
        memory: StateStore,
        report: Callable[[tuple[str, ...]], None],
        post: Post,
        *,
        synchronous: bool = False,
    ) -> None:
        self._memory, self._tell, self._post = memory, report, post
        self._synchronous = synchronous
        self._safe: dict[_Worth, Path] = {}
        self._under_way: list[threading.Thread] = []

    def note_saved(self, analysis: Analysis, path: Path) -> None:
        """Record that a file has this analysis, so that it needs no copy."""
        self._safe[_worth(analysis)] = path

    def is_saved(self, analysis: Analysis) -> bool:
        """Whether an existing file is known to have this analysis."""
        path = self._safe.get(_worth(analysis))
        return path is not None and path.is_file()

    def write(self, name: str, analysis: Analysis) -> None:
        """Write a copy under a unique name, and send a message with the name."""
        if not self._memory.is_enabled:
            return
        work = partial(self._keep, plain_name(name), analysis)
        if self._synchronous:
            return work()
        thread = threading.Thread(target=work, name="omnimouse-left", daemon=True)
        self._under_way = [t for t in self._under_way if t.is_alive()] + [thread]
        thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Wait until all copies are written, at most `timeout_s` for each."""
        for thread in self._under_way:
            thread.join(timeout_s)

    def _keep(self, name: str, analysis: Analysis) -> None:
        try:
            path, gone = self._memory.back_up(
                name, partial(write_analysis, analysis=analysis)
            )
        except Exception as error:  # the user must know that the work is lost
            logger.warning("What was not saved could not be kept.", exc_info=True)
            why = getattr(error, "strerror", None) or str(error)
            told: tuple[str, ...] = (NOT_KEPT.format(why=why),)
        else:
            self.note_saved(analysis, path)
            told = (LEFT.format(name=path.name.removesuffix(SUFFIX)),)
            for old in gone:
                words = old.name.removesuffix(SUFFIX)
                told += (GONE.format(most=MOST_UNSAVED, name=words),)
        self._post(partial(self._tell, told))


def would_be_lost(analysis: Analysis) -> bool:
    """Whether an analysis has a painted mask, pins or edits."""
    by_hand = not analysis.preset and analysis.mask is not None
    return by_hand or bool(analysis.pins or analysis.edits)


def plain_name(place: str) -> str:
    """Return the last part of a path or address as a file name, without credentials."""
    if (address := web_address(place)) is not None:
        parts = urlsplit(address)
        place = unquote(parts.path.rstrip("/").rpartition("/")[2])
        place = place or parts.hostname or ""
    else:
        place = Path(place).name
    plain = re.sub(r'[\\/:*?"<>|\x00-\x1f\x7f]+', " ", place)
    # File systems limit names to 255 bytes, not characters; the time and the suffix
    # need the rest. "ignore" drops a character that is cut in half.
    short = plain.encode("utf-8", "replace")[:MOST_NAME_BYTES].decode("utf-8", "ignore")
    return short.strip(" .") or "analysis"


def _worth(analysis: Analysis) -> _Worth:
    """Return a key of the work that would be lost; equal keys need only one copy."""
    # A preset's mask can be made again; it is not work that would be lost.
    mask = None if analysis.preset or analysis.mask is None else analysis.mask.mask_id
    pins = tuple(pin.key for pin in analysis.pins)
    return analysis.recording, analysis.fingerprint, mask, analysis.edits, pins
