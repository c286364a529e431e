"""Opening recordings off the thread that draws; the newest wins.

An opening may first make the recording: the demo's is simulated on this machine.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from psygnal import Signal

from omnimouse_model.data.fetching import fetch_session
from omnimouse_model.data.hub_names import hub_place
from omnimouse_model.errors import StoppedError
from omnimouse_model.live.engine import Answer, Engine, Post, call_at_once
from omnimouse_model.live.opening import View, first_view, read_ahead

logger = logging.getLogger(__name__)

Made = Callable[[Callable[[float], None]], Path]
"""Makes a recording, telling the finished share, and says where it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Opening:
    """What to open: a recording, or a function that makes one.

    Attributes
    ----------
    start_s
        Where; by default at a held-out window.
    words
        What is being done meanwhile, for the user.
    instead
        Opened where this one fails.
    options
        What its files do not say, by keyword; see `ReadOptions`.
    """

    recording: str | Path | Made
    start_s: float | None = None
    words: str = ""
    instead: "Opening | None" = None
    options: Mapping[str, Any] = field(default_factory=dict)


def _on_this_machine(
    recording: str | Path | Made, tell: Callable[[float], None]
) -> str | Path:
    """The recording's place, after making or fetching it where that is needed."""
    if callable(recording):
        return recording(tell)
    if Path(recording).exists() or hub_place(str(recording)) is None:
        return recording
    return fetch_session(str(recording), told=lambda share, what: tell(share))


class Opener:
    """Opens recordings off the thread that draws; the newest stops the others.

    Parameters
    ----------
    show
        Shows what was opened; called on the thread that draws.
    preset
        Which preset's mask to begin with.
    post
        Hands a function to that thread.
    synchronous
        Open inside `open`: for scripts and tests.

    Attributes
    ----------
    changed
        Emitted on the thread that draws when `words` or `fault` may have changed.
    words
        What is being done, "" when nothing is.
    name
        The folder that was opened last, or not opened; "" for what was made.
    fault
        Why the newest was not opened, None where it was.
    """

    changed = Signal()

    def __init__(
        self,
        show: Callable[[View], None],
        preset: Callable[[], str],
        post: Post = call_at_once,
        *,
        synchronous: bool = False,
    ) -> None:
        self.words = self.name = ""
        self.fault: Exception | None = None
        self._show = show
        self._preset = preset
        self._post = post
        self._engine = Engine(self._stages, post, synchronous=synchronous)
        self._engine.answered.connect(self._on_answer)
        self._newest = 0
        self._asked: Opening | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something is being opened."""
        return bool(self.words)

    def open(self, opening: Opening | str | Path) -> None:
        """Open it; what came before and is not open yet is given up."""
        if not isinstance(opening, Opening):
            opening = Opening(opening, words=f"Opening {Path(opening).name}")
        self._engine.cancel()
        self._newest = self._engine.newest + 1
        self._asked = opening
        recording = opening.recording
        self.name = "" if callable(recording) else Path(recording).name
        self.words, self.fault = opening.words or "Opening", None
        self.changed.emit()
        self._engine.submit(opening)

    def open_again(self, **options: Any) -> None:
        """Open what was asked for last with more said about it; see `ReadOptions`."""
        if self._asked is not None:
            said = {**self._asked.options, **options}
            self.open(replace(self._asked, options=said))

    def forget_fault(self) -> None:
        """It was read, or another recording was opened: nothing is amiss any more."""
        if self.fault is not None:
            self.fault = None
            self.changed.emit()

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop, at the next step of what is being made."""
        self._engine.close(timeout_s)

    # -- on the engine's thread -------------------------------------------------------
    def _stages(self, opening: Opening, outdated: Callable[[], bool]) -> Iterator[View]:
        try:
            found = self._read(opening, outdated)
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be opened: %s", opening.recording, error)
            if opening.instead is None:
                raise
            found = self._read(opening.instead, outdated)
        yield found

    def _read(self, opening: Opening, outdated: Callable[[], bool]) -> View:
        def tell(share: float) -> None:
            if outdated():
                raise StoppedError
            words = f"{opening.words}: {100 * share:.0f} %"
            self._post(partial(self._tell, words, outdated))

        made = _on_this_machine(opening.recording, tell)
        view = first_view(made, self._preset(), opening.start_s, opening.options)
        read_ahead(view)
        return view

    # -- on the thread that draws -----------------------------------------------------
    def _tell(self, words: str, outdated: Callable[[], bool]) -> None:
        if self.is_busy and not outdated():
            self.words = words
            self.changed.emit()

    def _on_answer(self, answer: Answer) -> None:
        if answer.number != self._newest:
            return
        if answer.kind == "stage":
            try:
                self._show(answer.value)
            except Exception as error:  # of whoever draws the session
                logger.warning("What was opened cannot be shown.", exc_info=True)
                self.fault = error
        else:
            self.words, self.fault = "", self.fault or answer.error
            self.changed.emit()
