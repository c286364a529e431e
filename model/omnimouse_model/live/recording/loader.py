"""Opening recordings off the thread that draws; the newest wins.

An opening may first make the recording: the demo's is simulated on this machine.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omnimouse_model.data.hub.fetch_session import fetch_session
from omnimouse_model.data.hub.names import hub_place
from omnimouse_model.data.io.http_file import shown_address, web_address
from omnimouse_model.data.session import Session
from omnimouse_model.live.inference.background_task import Errand, HasErrand, Tell
from omnimouse_model.live.inference.engine import Post, call_at_once
from omnimouse_model.live.recording.first_view import View, first_view, read_ahead

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
    as_it_was
        Makes another view of the first one, where it was left before.
    """

    recording: str | Path | Made
    start_s: float | None = None
    words: str = ""
    instead: "Opening | None" = None
    options: Mapping[str, Any] = field(default_factory=dict)
    as_it_was: Callable[[View], View] | None = None


def _shown(recording: str | Path | Made) -> str:
    """A path, or an address without what is secret in it; "" of what is made."""
    if callable(recording):
        return ""
    address = web_address(recording)
    return str(recording) if address is None else shown_address(address)


def _on_this_machine(
    recording: str | Path | Made, tell: Callable[[float], None]
) -> str | Path:
    """The recording's place, after making or fetching it where that is needed."""
    if callable(recording):
        return recording(tell)
    if Path(recording).exists() or hub_place(str(recording)) is None:
        return recording
    return fetch_session(str(recording), told=lambda share, what: tell(share))


class Opener(HasErrand):
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
    name
        The folder that was opened last, or not opened; "" for what was made.
    """

    def __init__(
        self,
        show: Callable[[View], None],
        preset: Callable[[], str],
        post: Post = call_at_once,
        *,
        synchronous: bool = False,
    ) -> None:
        self.name = ""
        self._show, self._preset = show, preset
        self._errand = Errand(self._stages, self._shown, post, synchronous=synchronous)
        self.changed = self._errand.changed
        self._asked: Opening | None = None

    def open(self, opening: Opening | str | Path) -> None:
        """Open it; what came before and is not open yet is given up."""
        if not isinstance(opening, Opening):
            opening = Opening(opening, words=f"Opening {Path(_shown(opening)).name}")
        self._asked = opening
        recording = opening.recording
        self.name = Path(_shown(recording)).name
        self._errand.start(opening, opening.words or "Opening")

    def open_again(self, **options: Any) -> None:
        """Open what was asked for last with more said about it; see `ReadOptions`."""
        if self._asked is not None:
            said = {**self._asked.options, **options}
            self.open(replace(self._asked, options=said))

    def open_as(self, session: Session, start_s: float | None, **options: Any) -> None:
        """Open a session that is open again, read in another way; see `ReadOptions`."""
        words = f"Opening {session.path.name}"
        said = {**session.options, **options}
        place = session.path if isinstance(session.place, Mapping) else session.place
        self.open(Opening(place, start_s, words, options=said))

    def stop(self) -> None:
        """Give up what is being opened; what was open stays."""
        self._errand.stop()

    def forget_fault(self) -> None:
        """It was read, or another recording was opened: nothing is amiss any more."""
        self._errand.forget_fault()

    # -- on the errand's thread -------------------------------------------------------
    def _stages(self, opening: Opening, tell: Tell) -> Iterator[View]:
        try:
            found = self._read(opening, tell)
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be opened: %s", _shown(opening.recording), error)
            if opening.instead is None:
                raise
            found = self._read(opening.instead, tell)
        yield found

    def _read(self, opening: Opening, tell: Tell) -> View:
        def tell_share(share: float) -> None:
            tell(f"{opening.words}: {100 * share:.0f} %")

        made = _on_this_machine(opening.recording, tell_share)
        view = first_view(made, self._preset(), opening.start_s, opening.options)
        if opening.as_it_was is not None:
            view = opening.as_it_was(view)
        read_ahead(view)
        return view

    # -- on the thread that draws -----------------------------------------------------
    def _shown(self, view: View) -> None:
        try:
            self._show(view)
        except Exception:  # of whoever draws the session
            logger.warning("What was opened cannot be shown.", exc_info=True)
            raise
