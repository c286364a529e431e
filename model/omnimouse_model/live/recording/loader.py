"""Open recordings in the background; a new opening cancels the previous one.

An opening may first make the recording: the demo's is simulated on this machine.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omnimouse_model.data.hub.fetch_session import fetch_session
from omnimouse_model.data.hub.names import hub_place
from omnimouse_model.data.io.http_file import display_address, web_address
from omnimouse_model.data.session import Session
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
)
from omnimouse_model.live.inference.engine import Post, call_at_once
from omnimouse_model.live.recording.first_view import (
    SessionView,
    first_view,
    read_ahead,
)

logger = logging.getLogger(__name__)

Made = Callable[[Callable[[float], None]], Path]
"""`make(progress)` makes a recording, reports the finished share, returns its path."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenRequest:
    """Request to open a recording, or to make one and open it.

    Attributes
    ----------
    recording
        Path, address, or function that makes a recording.
    start_s
        Start of the window; by default a held-out window.
    message
        Progress message for the user.
    fallback
        Opening that is tried if this one fails.
    options
        Facts that the files do not contain, by keyword; see `ReadOptions`.
    restore
        Turns the first view into a saved one.
    """

    recording: str | Path | Made
    start_s: float | None = None
    message: str = ""
    fallback: "OpenRequest | None" = None
    options: Mapping[str, Any] = field(default_factory=dict)
    restore: Callable[[SessionView], SessionView] | None = None


def _shown(recording: str | Path | Made) -> str:
    """Return a path, or an address without credentials; "" for a function."""
    if callable(recording):
        return ""
    address = web_address(recording)
    return str(recording) if address is None else display_address(address)


def _on_this_machine(
    recording: str | Path | Made, report: Callable[[float], None]
) -> str | Path:
    """Return the recording's place; make or download the recording if needed."""
    if callable(recording):
        return recording(report)
    # A local path takes precedence over a hub name that is spelled the same.
    if Path(recording).exists() or hub_place(str(recording)) is None:
        return recording
    return fetch_session(str(recording), told=lambda share, what: report(share))


class SessionLoader(HasBackgroundTask):
    """Background task that opens recordings; a new opening cancels the previous one.

    Parameters
    ----------
    show
        Shows the view of an opened recording; called on the drawing thread.
    preset
        Returns the name of the initial preset.
    post
        Runs a function on the drawing thread.
    synchronous
        Open inside `open`: for scripts and tests.

    Attributes
    ----------
    changed
        Emitted on the drawing thread when `words` or `fault` may have changed.
    name
        File or folder name of the latest opening, "" for a made recording.
    """

    def __init__(
        self,
        show: Callable[[SessionView], None],
        preset: Callable[[], str],
        post: Post = call_at_once,
        *,
        synchronous: bool = False,
    ) -> None:
        self.name = ""
        self._show, self._preset = show, preset
        self._task = BackgroundTask(
            self._stages, self._shown, post, synchronous=synchronous
        )
        self.changed = self._task.changed
        self._asked: OpenRequest | None = None

    def open(self, opening: OpenRequest | str | Path) -> None:
        """Open a recording; cancel an unfinished opening."""
        if not isinstance(opening, OpenRequest):
            opening = OpenRequest(
                opening, message=f"Opening {Path(_shown(opening)).name}"
            )
        self._asked = opening
        recording = opening.recording
        self.name = Path(_shown(recording)).name
        self._task.start(opening, opening.message or "Opening")

    def open_again(self, **options: Any) -> None:
        """Repeat the latest opening with more options; see `ReadOptions`."""
        if self._asked is not None:
            said = {**self._asked.options, **options}
            self.open(replace(self._asked, options=said))

    def open_as(self, session: Session, start_s: float | None, **options: Any) -> None:
        """Reopen an open session with other options; see `ReadOptions`."""
        words = f"Opening {session.path.name}"
        said = {**session.options, **options}
        place = session.path if isinstance(session.source, Mapping) else session.source
        self.open(OpenRequest(place, start_s, words, options=said))

    def stop(self) -> None:
        """Cancel the opening; the open session stays."""
        self._task.stop()

    def clear_error(self) -> None:
        """Clear the error, after the user read it or another recording was opened."""
        self._task.clear_error()

    # -- on the errand's thread -------------------------------------------------------
    def _stages(
        self, opening: OpenRequest, report: ReportProgress
    ) -> Iterator[SessionView]:
        try:
            found = self._read(opening, report)
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be opened: %s", _shown(opening.recording), error)
            if opening.fallback is None:
                raise
            found = self._read(opening.fallback, report)
        yield found

    def _read(self, opening: OpenRequest, report: ReportProgress) -> SessionView:
        def tell_share(share: float) -> None:
            report(f"{opening.message}: {100 * share:.0f} %")

        made = _on_this_machine(opening.recording, tell_share)
        view = first_view(made, self._preset(), opening.start_s, opening.options)
        if opening.restore is not None:
            view = opening.restore(view)
        # Here, on the background thread: `show` runs on the drawing thread.
        read_ahead(view)
        return view

    # -- on the drawing thread --------------------------------------------------------
    def _shown(self, view: SessionView) -> None:
        try:
            self._show(view)
        except Exception:  # from a view that draws the session
            logger.warning("What was opened cannot be shown.", exc_info=True)
            raise
