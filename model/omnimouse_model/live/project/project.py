"""The analysis on screen: save it, open another one, and autosave it."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from omnimouse_model.data.hub.servers import allow_connections, check_connection, share_of
from omnimouse_model.errors import AnalysisFileError, ConnectError
from omnimouse_model.inference.registry import is_predictor
from omnimouse_model.live.analysis_file import (
    STATE_FIELDS,
    SUFFIX,
    Analysis,
    digest_of,
    read_analysis,
    replace_analysis,
)
from omnimouse_model.live.first_view import SessionView
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
)
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.mask.presets import is_preset
from omnimouse_model.live.project.saved_screen import (
    IS_RECOVERED,
    AnalysisScreen,
    Autosave,
    UnsavedBackups,
    has_unsaved_work,
    restore_analysis,
    restore_last_session,
)
from omnimouse_model.live.project.script import script_of
from omnimouse_model.live.session_loader import OpenRequest
from omnimouse_model.live.state_store import LastSession, StateStore
from omnimouse_model.storage.files import exists, expanded
from omnimouse_model.storage.trees import take_notes
from omnimouse_model.storage.web import web_address
from omnimouse_model.storage.write import explained

OTHER_MODEL = "Its model has changed since it was saved: now it is {new_id}, it was {old_id}."


@dataclass(frozen=True, slots=True)
class _FileRequest:
    """Analysis file to open; `recording` replaces its stored path, if not ""."""

    path: Path
    recording: str = ""


class Project(HasBackgroundTask):
    """The analysis on screen and its file: save, open, restore and autosave.

    Parameters
    ----------
    screen
        Parts whose state is saved, and which show opened analyses.
    store
        Storage of the last session.

    Attributes
    ----------
    path
        File of the analysis on screen; None if it was never saved.
    messages
        Differences from the saved state, or a recovery, one sentence each.
    """

    def __init__(
        self,
        screen: AnalysisScreen,
        store: StateStore,
        lock: threading.RLock,
        execution: Execution = IN_THREADS,
    ) -> None:
        self._screen, self._store = screen, store
        self._lock = lock
        self.path: Path | None = None
        self._digest = ""
        self.messages: tuple[str, ...] = ()
        self._of_new_view: tuple[str, ...] = ()
        self._saved: Analysis | None = None
        self._request: _FileRequest | None = None
        self._recording = ""
        self._backup: tuple[str, Analysis] | None = None
        self._discarded: Analysis | None = None
        # Name and id with the hash of the weights: of the predictor that the analysis
        # was saved with, and of the one that answered last.
        self._saved_id = self._answered_id = ("", "")
        self._error: AnalysisFileError | None = None
        self._backups = UnsavedBackups(store, self._add_messages, execution)
        self._task = BackgroundTask(self._read, self._take, execution)
        self._autosave = Autosave(self._save_last, synchronous=execution.synchronous)
        screen.loader.on_leave, screen.loader.on_shown = self.leave, self._on_shown
        screen.state.events.connect(self._on_change)
        screen.laboratory.measured.connect(self._on_change)
        screen.sources.measured.connect(self._on_change)
        screen.results.changed.connect(self._compare_predictor)

    # -- reading ----------------------------------------------------------------------
    @property
    def current(self) -> Analysis:
        """Analysis of the current state.

        Raises
        ------
        AnalysisFileError
            No session is open, or it is made of arrays in memory and has no file.
        """
        state = self._screen.state
        session, window = state.session, state.window
        if session is None or window is None or state.mask is None:
            raise AnalysisFileError("unsaved", "Open a recording first.")
        if isinstance(session.origin, Mapping):
            raise AnalysisFileError(
                "unsaved",
                "This recording is made of arrays in memory, which an analysis cannot "
                "lead back to: write them to an .npz, and open that.",
            )
        return Analysis(
            recording=str(session.path),
            recording_id=session.id,
            fingerprint=session.fingerprint,
            options=dict(session.options),
            predictor=state.predictor_name,
            baseline=state.baseline_name,
            start_s=float(window.start_s),
            predictor_id=self._predictor_id,
            sweeps=tuple(path.name for path in self._screen.sweeps.compared),
            experiments=self._screen.laboratory.entries,
            sources=self._screen.sources.kept,
            **{name: getattr(state, name) for name in STATE_FIELDS},
        )

    @property
    def name(self) -> str:
        """File name without suffix, "" if there is no file."""
        return "" if self.path is None else self.path.name.removesuffix(SUFFIX)

    @property
    def is_changed(self) -> bool:
        """Whether the analysis differs from its file; False without a file."""
        if self.path is None:
            return False
        try:
            current = self.current
        except AnalysisFileError:
            return False
        saved = self._saved
        if saved is not None and saved.groups is None:
            saved = replace(saved, groups=self._screen.sources.kept_groups)
        # It is None if the file could not be read after a restart.
        return saved is None or not saved.is_same_task(current)

    @property
    def recent(self) -> tuple[Path, ...]:
        """Existing files of recently saved or opened analyses, newest first."""
        return self._store.recent

    @property
    def backup_folder(self) -> Path:
        """Folder of copies of unsaved analyses; it may not exist."""
        return self._store.unsaved_folder

    @property
    def error(self) -> Exception | None:
        """Error of the latest opening or saving, None without one."""
        return self._error or super().error

    @property
    def is_recording_missing(self) -> bool:
        """Whether the analysis' recording was moved and the user must locate it.

        `find_recording` then opens the analysis.
        """
        error = self.error
        return isinstance(error, AnalysisFileError) and error.code == "moved"

    @property
    def asked_host(self) -> str:
        """Host that the latest requested analysis names, if the user must allow it; or ""."""
        error = self.error
        return error.code if isinstance(error, ConnectError) else ""

    def connect(self) -> None:
        """Allow `asked_host`, and open the analysis again."""
        if self._request is not None and self.asked_host:
            allow_connections([self.asked_host])
            self.open(self._request.path)

    @property
    def missing_recording(self) -> Path:
        """Path of the recording according to the latest opened analysis."""
        return Path(self._recording)

    @property
    def differences(self) -> tuple[str, ...]:
        """How the screen differs from the opened analysis, in words for a report."""
        return tuple(
            text
            for text in self.messages
            if not text.startswith(IS_RECOVERED) and text not in self._of_new_view
        )

    # -- saving -----------------------------------------------------------------------
    def can_save(self) -> bool:
        """Whether the current state can be saved; if not, set `error`."""
        try:
            _ = self.current
        except AnalysisFileError as error:
            self._refuse(str(error))
            return False
        return True

    def save(self, path: str | Path | None = None) -> bool:
        """Save to a file, by default its own; on errors, set `error`, return False."""
        self.dismiss()
        target = self.path if path is None else expanded(path).absolute()
        try:
            if target is None:
                raise AnalysisFileError("unsaved", "Say where to save the analysis.")
            current = self.current
            # Another name was chosen, and confirmed if the file is there.
            known = self._digest if target == self.path else ""
            self._digest = replace_analysis(target, current, known)
        except AnalysisFileError as error:
            self._refuse(str(error))
            return False
        except OSError as error:
            self._refuse(explained(error))
            return False
        self.path, self._saved = target, current
        self._backups.note_saved(current, target)
        self._store.note_recent(target)
        # The file's path is part of the last session.
        self._on_change()
        self.changed.emit()
        return True

    def _refuse(self, problem: str) -> None:
        self._error = AnalysisFileError("unsaved", f"It is not saved: {problem}")
        self.changed.emit()

    def discard(self) -> None:
        """Discard the unsaved changes: `leave` makes no copy of them."""
        self._discarded = self.current

    def dismiss(self) -> None:
        """Clear messages and errors."""
        self.messages, self._error = (), None
        self._task.clear_error()
        self.changed.emit()

    def script(self) -> str:
        """Return a Python script that makes the prediction and the scores on screen.

        See `script_of`.
        """
        screen = self._screen
        # A changed analysis does not have the mask on screen in its file.
        file = None if self.is_changed else self.path
        score = screen.results.tier_score
        # A score that stays on screen under a mask which the predictor cannot tell apart.
        if score is not None and score.mask is not screen.state.mask:
            score = None
        return script_of(screen.state, score, screen.model.name, file, self._store.folder)

    # -- opening ----------------------------------------------------------------------
    def open(self, path: str | Path, recording: str | Path = "") -> None:
        """Open an analysis in the background; `recording` replaces its stored path.

        Errors are in `error`, differences from the saved state in `messages`.
        """
        self.dismiss()
        file = expanded(path).absolute()
        self._request = _FileRequest(file, str(recording))
        # In the background: parsing a large mask must not block the drawing thread.
        self._task.start(self._request, f"Opening {file.name}")

    def find_recording(self, recording: str | Path) -> None:
        """Open the latest requested analysis with the new path of its recording."""
        if self._request is not None:
            self.open(self._request.path, recording)

    def restore(self, fallback: OpenRequest | None = None, last: LastSession | None = None) -> bool:
        """Reopen the last session in the background; False if there is none.

        A model that is already chosen stays, and the baseline: see
        `ModelChoice.restore_baseline`. `fallback` is opened if the recording cannot be
        read. `last` is the last session, if it was read before.
        """
        screen, last = self._screen, last or self._store.load()
        # A preset of another version may not exist any more.
        if is_preset(last.preset):
            screen.editor.next_preset = last.preset
        # A recording on a removed drive is no error at the start of the app.
        if not last.session or not _exists(last.session):
            return False
        if last.predictor and not screen.state.predictor_name:
            screen.choose_model(last.predictor)
        if last.predictor == screen.state.predictor_name and is_predictor(last.unfamiliar):
            screen.model.unfamiliar = last.unfamiliar
        # Pins belong to a session: they are restored when it is shown.
        screen.pins.restore_later(last.session, last.pins)
        request = OpenRequest(
            last.session,
            last.start_s,
            f"Opening {Path(last.session).name}",
            fallback,
            last.options,
            restore_last_session(last, is_after_crash=self._store.is_after_crash),
        )
        screen.loader.open(request)
        return screen.loader.error is None

    def leave(self) -> None:
        """Prepare a copy of unsaved work before another recording is shown.

        A copy is made of an analysis changed since it was saved, and of painted masks,
        pins or edits that were never saved. `_on_shown` writes it, as the newest of
        `recent`. Without storage, nothing is written.
        """
        self._backup = None
        try:
            current = self.current
        except AnalysisFileError:
            return
        # `discard` applies only to the state at that time, not to later changes.
        discarded = self._discarded
        if discarded is not None and discarded.is_same_task(current):
            return
        is_lost = self.path is None and has_unsaved_work(current)
        if self.is_changed or (is_lost and not self._backups.is_saved(current)):
            self._backup = (self.name or current.recording, current)

    def _on_shown(self, view: SessionView) -> None:
        """Update after a recording is shown, as a saved analysis or as a new one."""
        reopened, messages = view.reopened, view.messages
        backup, self._backup, self._discarded = self._backup, None, None
        self.path = None if reopened is None else reopened.path
        self._saved = None if reopened is None else reopened.saved
        self._digest = "" if reopened is None else reopened.digest
        self._of_new_view = messages
        # With damaged files of settings that were set aside.
        self.messages = take_notes() + (messages if reopened is None else reopened.messages)
        self._error = None
        if reopened is not None:
            if reopened.path is not None and reopened.saved is not None:
                self._backups.note_saved(reopened.saved, reopened.path)
            analysis = reopened.analysis
            self._saved_id = (analysis.predictor, analysis.predictor_id)
            # `show` may add a message itself: its result is appended afterwards.
            messages = self._screen.show(reopened)
            self.messages = (*self.messages, *messages)
            self._compare_predictor()
        self._screen.model.follow_session(keeps_model=reopened is not None)
        if backup is not None:
            self._backups.write(*backup)
        self.changed.emit()
        self._on_change()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write the last session and mark it as ended normally."""
        # The opening first, so that it cannot change the state that is saved below.
        super().close(timeout_s)
        if self._store.is_second_window:
            # The next start restores one window; the work of another one is a backup.
            self.leave()
            if self._backup is not None:
                self._backups.write(*self._backup)
        self._backups.close(timeout_s)
        if self._store.is_enabled:
            self._autosave.close(timeout_s)
            self._store.end()

    def _read(self, request: _FileRequest, report: ReportProgress) -> Iterator[OpenRequest]:
        path = request.path
        try:
            # Before: what is saved between is newer, and is then not replaced.
            digest = digest_of(path)
            analysis = read_analysis(path)
        except OSError as error:
            message = f"{path.name} cannot be read: {error.strerror}."
            raise AnalysisFileError("foreign", message) from None
        # Before anything is looked for there.
        tables = analysis.options.get("unit_tables") or ""
        models = (analysis.predictor, analysis.baseline, *(p.predictor_name for p in analysis.pins))
        for name in filter(share_of, (tables, *models)):
            check_connection(name, path)
        if not request.recording:
            check_connection(analysis.recording, path)
        self._recording = request.recording or analysis.recording
        if not self._recording or not _exists(self._recording):
            raise AnalysisFileError(
                "moved",
                f"The recording of {path.name} is not where it was: "
                f"{self._recording}. Say where it is now.",
            )
        # The recording is opened by the loader, like any other: one path leads to the
        # window.
        yield OpenRequest(
            self._recording,
            analysis.start_s,
            f"Opening {path.name}",
            options=analysis.options,
            restore=partial(
                restore_analysis, analysis=analysis, path=path, saved=analysis, digest=digest
            ),
        )

    def _take(self, request: OpenRequest) -> None:
        self._screen.loader.open(request)
        if self._request is not None:
            self._store.note_recent(self._request.path)

    # -- the predictor of an opened analysis ------------------------------------------
    def _compare_predictor(self) -> None:
        """Add a message if the predictor's weights differ from the saved ones."""
        name, population = (self._screen.state.predictor_name, self._screen.results.population)
        if population is None or not name:
            return
        # The id contains the hash of the weights, which is known only after the model
        # has been loaded.
        new_id = population.predictor_id
        self._answered_id = (name, new_id)
        # Compare once per opened analysis, at the first answer.
        (saved_name, old_id), self._saved_id = self._saved_id, ("", "")
        if old_id and saved_name == name and old_id != new_id:
            self._add_messages((OTHER_MODEL.format(old_id=old_id, new_id=new_id),))

    @property
    def _predictor_id(self) -> str:
        """Id of the chosen predictor with its weights' hash; "" if not known yet."""
        # The answered id replaces the saved one of the same name.
        ids = dict((self._saved_id, self._answered_id))
        return ids.get(self._screen.state.predictor_name, "")

    # -- the last session -------------------------------------------------------------
    def _add_messages(self, messages: tuple[str, ...]) -> None:
        self.messages = (*messages, *self.messages)
        self.changed.emit()

    def _on_change(self, *_: object) -> None:
        if self._store.is_enabled:
            self._autosave.note()

    def _save_last(self) -> None:
        """Write the current state as the last session, on the autosave's thread."""
        state = self._screen.state
        # Take all values under the lock; write the file outside, where it cannot block
        # the drawing thread.
        with self._lock:
            session, window = state.session, state.window
            if session is None or window is None or state.mask is None:
                return
            predictor = self._screen.model.name
            in_memory = isinstance(session.origin, Mapping)
            current = None if in_memory else self.current
            last = LastSession(
                str(session.path),
                predictor,
                self._screen.editor.next_preset,
                float(window.start_s),
                state.baseline_name,
                dict(session.options),
                pins=self._screen.pins.to_dict(),
                file="" if self.path is None else str(self.path),
                brush_radius=state.brush_radius,
                digest=self._digest,
                unfamiliar=self._screen.model.unfamiliar,
            )
        if current is not None:
            # Pins have their own entry, which also has those without an analysis.
            content = replace(current, predictor=predictor, pins=()).to_dict()
            last = replace(last, analysis=content)
        self._store.save(last)


def _exists(place: str) -> bool:
    """Whether a recording's path exists; True for addresses, which are not checked."""
    return web_address(place) is not None or exists(place)
