"""What was left without being saved: a copy of it is kept, and where is told."""

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
from omnimouse_model.live.last_session import MOST_UNSAVED, Memory

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


class Left:
    """Keeps copies of what was left unsaved, off the thread that draws, each once.

    Parameters
    ----------
    memory
        Where copies lie; nothing is kept where that keeps nothing.
    tell
        Given sentences for the user, on the thread that draws.
    post
        Hands a function to that thread.
    synchronous
        Write inside `keep`: for scripts and tests.
    """

    def __init__(
        self,
        memory: Memory,
        tell: Callable[[tuple[str, ...]], None],
        post: Post,
        *,
        synchronous: bool = False,
    ) -> None:
        self._memory, self._tell, self._post = memory, tell, post
        self._synchronous = synchronous
        self._safe: dict[_Worth, Path] = {}
        self._under_way: list[threading.Thread] = []

    def note_safe(self, analysis: Analysis, path: Path) -> None:
        """A file holds this: it needs no copy while that is there."""
        self._safe[_worth(analysis)] = path

    def is_safe(self, analysis: Analysis) -> bool:
        """Whether a file is known to hold what would be lost of it."""
        path = self._safe.get(_worth(analysis))
        return path is not None and path.is_file()

    def keep(self, name: str, analysis: Analysis) -> None:
        """Write a copy, called by a name of its own; where it lies is told."""
        if not self._memory.is_kept:
            return
        work = partial(self._keep, plain_name(name), analysis)
        if self._synchronous:
            return work()
        thread = threading.Thread(target=work, name="omnimouse-left", daemon=True)
        self._under_way = [t for t in self._under_way if t.is_alive()] + [thread]
        thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Wait for what is being written."""
        for thread in self._under_way:
            thread.join(timeout_s)

    def _keep(self, name: str, analysis: Analysis) -> None:
        try:
            path, gone = self._memory.keep_unsaved(
                name, partial(write_analysis, analysis=analysis)
            )
        except Exception as error:  # whatever it is, the user must know
            logger.warning("What was not saved could not be kept.", exc_info=True)
            why = getattr(error, "strerror", None) or str(error)
            told: tuple[str, ...] = (NOT_KEPT.format(why=why),)
        else:
            self.note_safe(analysis, path)
            told = (LEFT.format(name=path.name.removesuffix(SUFFIX)),)
            for old in gone:
                words = old.name.removesuffix(SUFFIX)
                told += (GONE.format(most=MOST_UNSAVED, name=words),)
        self._post(partial(self._tell, told))


def would_be_lost(analysis: Analysis) -> bool:
    """Whether something was made by hand that no file is known to hold."""
    by_hand = not analysis.preset and analysis.mask is not None
    return by_hand or bool(analysis.pins or analysis.edits)


def plain_name(place: str) -> str:
    """The last part of a path or address as a file's name, without its secrets."""
    if (address := web_address(place)) is not None:
        parts = urlsplit(address)
        place = unquote(parts.path.rstrip("/").rpartition("/")[2])
        place = place or parts.hostname or ""
    else:
        place = Path(place).name
    plain = re.sub(r'[\\/:*?"<>|\x00-\x1f\x7f]+', " ", place)
    short = plain.encode("utf-8", "replace")[:MOST_NAME_BYTES].decode("utf-8", "ignore")
    return short.strip(" .") or "analysis"


def _worth(analysis: Analysis) -> _Worth:
    """What would be lost of it, so that the same is not kept twice."""
    mask = None if analysis.preset or analysis.mask is None else analysis.mask.mask_id
    pins = tuple(pin.key for pin in analysis.pins)
    return analysis.recording, analysis.fingerprint, mask, analysis.edits, pins
