"""Open recordings in the background, index folders, and check the clocks.

An opening may first make the recording: the demo's is simulated on this machine.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from psygnal import Signal

from omnimouse_model.analysis.clock_check import AlignmentReport, check_alignment
from omnimouse_model.data.hub.exchange import hub_place
from omnimouse_model.data.open import fetch_session
from omnimouse_model.data.session import Session
from omnimouse_model.data.session_index import Catalogue, Entry, entries_of
from omnimouse_model.evaluation.tier_score import TierScore
from omnimouse_model.live.first_view import SessionView, first_view, put_on_screen, read_ahead
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
    percent_job,
)
from omnimouse_model.live.inference.client import Requests
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.live.state import LiveState
from omnimouse_model.live.state_store import StateStore
from omnimouse_model.progress import CallbackJob, Job
from omnimouse_model.simulate.demo import MODELS, SimulatedSession
from omnimouse_model.storage.files import expanded
from omnimouse_model.storage.web import display_address, web_address

logger = logging.getLogger(__name__)

MakeRecording = Callable[[Job], Path]
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
        Request that is tried if this one fails.
    options
        Properties that the files do not contain, by keyword; see `ReadOptions`.
    restore
        Turns the first view into a saved one.
    """

    recording: str | Path | MakeRecording
    start_s: float | None = None
    message: str = ""
    fallback: "OpenRequest | None" = None
    options: Mapping[str, Any] = field(default_factory=dict)
    restore: Callable[[SessionView], SessionView] | None = None

    @property
    def place(self) -> str:
        """Path, or address without credentials; "" for a function."""
        if callable(self.recording):
            return ""
        address = web_address(self.recording)
        return str(self.recording) if address is None else display_address(address)


def _local_recording(
    recording: str | Path | MakeRecording, report: Callable[[float], None]
) -> str | Path:
    """Return the recording's place; make or download the recording if needed."""
    job = CallbackJob(lambda done, total, _: report(done / total))
    if callable(recording):
        return recording(job)
    # A local path takes precedence over a hub name that is spelled the same.
    if Path(recording).exists() or hub_place(str(recording)) is None:
        return recording
    return fetch_session(str(recording), job=job)


class SessionLoader(HasBackgroundTask):
    """Opening of recordings, and the recording on screen.

    Recordings are opened in the background; a new opening cancels the previous one.

    Attributes
    ----------
    name
        File or folder name of the latest opening, "" for a made recording.
    before_show
        Called on a thread while a recording is made and read, before its view is
        shown: for slow work of a front end that would block its drawing thread, such
        as imports.
    on_read
        Called there with the session, after it was read.
    on_leave
        Called before another recording replaces the one on screen.
    on_shown
        Called with each view after it is shown.
    """

    def __init__(
        self,
        state: LiveState,
        editor: MaskEditor,
        requests: Requests,
        store: StateStore,
        lock: threading.RLock,
        execution: Execution = IN_THREADS,
    ) -> None:
        self.name = ""
        self.before_show: Callable[[], None] = lambda: None
        self.on_read: Callable[[Session], object] = lambda session: None
        self.on_leave: Callable[[], None] = lambda: None
        self.on_shown: Callable[[SessionView], None] = lambda view: None
        self._state, self._editor, self._requests = state, editor, requests
        self._store, self._lock = store, lock
        self._task = BackgroundTask(self._views, self._take, execution)
        self._request: OpenRequest | None = None
        requests.client.results.events.tier_score.connect(self._note_scores)

    def open_now(self, recording: str | Path | Session) -> None:
        """Open a recording at a held-out window, on the calling thread."""
        preset = self._editor.next_preset
        self.show(first_view(recording, preset, scores_of=self._store.scores_of))

    def open(self, recording: OpenRequest | str | Path) -> None:
        """Open a recording; cancel an unfinished opening."""
        request = recording
        if not isinstance(request, OpenRequest):
            request = OpenRequest(request)
            request = replace(request, message=f"Opening {Path(request.place).name}")
        # Kept for `open_again`, after the user has given a property that the files
        # lack.
        self._request = request
        self.name = Path(request.place).name
        self._task.start(request, request.message or "Opening")

    def open_again(self, **options: Any) -> None:
        """Repeat the latest opening with more options; see `ReadOptions`."""
        if self._request is not None:
            options = {**self._request.options, **options}
            self.open(replace(self._request, options=options))

    def reopen(self, **options: Any) -> None:
        """Open the session on screen again with other options; see `ReadOptions`."""
        session, window = self._state.open_session, self._state.window
        # A store or an address is opened again from its place, not from the local path.
        place = session.path if isinstance(session.source, Mapping) else session.source
        message = f"Opening {session.path.name}"
        start_s = None if window is None else window.start_s
        self.open(OpenRequest(place, start_s, message, options={**session.options, **options}))

    # -- on the task's thread ---------------------------------------------------------
    def _views(self, request: OpenRequest, report: ReportProgress) -> Iterator[SessionView]:
        try:
            view = self._read(request, report)
        # Other errors are faults of the program: a fallback must not hide them.
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be opened: %s", request.place, error)
            if request.fallback is None:
                raise
            view = self._read(request.fallback, report)
        yield view

    def _read(self, request: OpenRequest, report: ReportProgress) -> SessionView:
        def report_share(share: float) -> None:
            # After the last share the recording is opened, which can take as long again.
            is_made = share > 1 - 1e-9
            rest = "opening the recording" if is_made else f"{100 * share:z.0f} %"
            report(f"{request.message}: {rest}")

        with ThreadPoolExecutor(1, "omnimouse-before-show") as pool:
            front_end = pool.submit(self.before_show)
            place = _local_recording(request.recording, report_share)
            view = first_view(
                place,
                self._editor.next_preset,
                request.start_s,
                request.options,
                scores_of=self._store.scores_of,
            )
            if request.restore is not None:
                view = request.restore(view)
            # Here, on the background thread: `show` runs on the drawing thread.
            read_ahead(view)
            if view.session is not None:
                self.on_read(view.session)
            front_end.result()
        return view

    # -- on the drawing thread --------------------------------------------------------
    def _take(self, view: SessionView) -> None:
        try:
            self.show(view)
        except Exception:  # from a view that draws the session
            logger.warning("An opened recording cannot be shown.", exc_info=True)
            raise

    def show(self, view: SessionView) -> None:
        """Show the first view of a recording, or a saved one.

        If a listener fails, the previous session is restored and the listener's error
        is raised.
        """
        state, requests = self._state, self._requests
        with self._lock:
            name = state.predictor_name
            if view.predictor and name in ("", *MODELS.values()):
                name = view.predictor
            if view.scores is not None:
                ranks = view.scores.ranks_for(name, view.mask)
                view = replace(view, first_ranks=ranks)
            # The state must be read before the new session replaces it. A stroke on the
            # mask before is none on the new one.
            self._editor.end_stroke()
            self.on_leave()
            requests.client.reset()
            # The prediction is computed while the views draw the session: half a second.
            ask = requests.client.send if name == state.predictor_name else lambda: None
            # On an error, `put_on_screen` has restored the previous state, whose
            # results were just cleared: they are requested again.
            try:
                put_on_screen(state, view, ask)
            except Exception:
                requests.send()
                raise
            self._editor.start_again()
            if name != state.predictor_name:
                requests.client.choose(name)
                state.predictor_name = name
                requests.client.send()
            requests.baseline.follow()
        # The messages of an opened analysis replace those of the previous one only if
        # the recording could be shown.
        self.on_shown(view)
        self.clear_error()
        self._store.note_recording(state.open_session)

    def _note_scores(self, found: TierScore | None) -> None:
        """Store scores, which choose the first view of the recording next time."""
        if found is not None and self._state.session is not None:
            self._store.note_scores(self._state.session, found, self._state.predictor_name)


# -- index of the recordings in a folder, made by a background task -------------------
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
        root = expanded(folder).absolute()
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


# -- check of the clocks of the open session, as a background task --------------------
class ClockCheck(HasBackgroundTask):
    """Clock check of the session on screen, on request.

    Attributes
    ----------
    report
        Result for the session on screen, None before a check.
    """

    def __init__(self, state: LiveState, execution: Execution = IN_THREADS) -> None:
        self.report: AlignmentReport | None = None
        self._state = state
        self._task = BackgroundTask(_check, self._take, execution)
        state.events.session.connect(self.clear)

    def check(self) -> None:
        """Start the check; without a session, do nothing."""
        if self._state.session is not None:
            # The report of the previous check must not be shown beside the progress of
            # the new one.
            self.report = None
            self._task.start(self._state.session, "Comparing streams")

    def clear(self) -> None:
        """Cancel a running check and clear the report."""
        self.report = None
        self._task.stop()
        self._task.clear_error()
        self.changed.emit()

    def _take(self, report: AlignmentReport) -> None:
        self.report = report


def _check(session: Session, report: ReportProgress) -> Iterator[AlignmentReport]:
    yield check_alignment(session, job=percent_job(report, "Comparing streams"))


# -- simulated sample recordings; each is simulated once, in a separate process -------
def _sample(name: str, animal: str) -> OpenRequest:
    return OpenRequest(SimulatedSession(name), message=f"Simulating {animal}")


DEMO = _sample("demo", "the demo mouse")
UNSEEN = _sample("unseen", "an unseen mouse")
SPIKES = _sample("spikes", "an animal with spikes")
UNSEEN_SPIKES = _sample("unseen-spikes", "an unseen animal with spikes")
SAMPLES: Final = {
    "demo": DEMO,
    "unseen": UNSEEN,
    "spikes": SPIKES,
    "unseen-spikes": UNSEEN_SPIKES,
}
"""Sample recordings by their names on the command line and in notebooks."""


def with_model(name: str) -> OpenRequest:
    """Return a request that opens a sample and chooses the model trained on it."""
    predictor = MODELS.get(name, "")
    return replace(SAMPLES[name], restore=lambda view: replace(view, predictor=predictor))
