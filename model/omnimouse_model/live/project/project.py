"""Analyses: save the screen's content, open it again, and autosave it."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from omnimouse_model.analysis.in_silico.stimulus_edits import describe_edits, edited
from omnimouse_model.data.io.http_file import web_address
from omnimouse_model.errors import AnalysisFileError
from omnimouse_model.live.analysis_file import (
    SUFFIX,
    Analysis,
    ReopenedAnalysis,
    read_analysis,
    write_analysis,
)
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
)
from omnimouse_model.live.inference.engine import Post, call_at_once
from omnimouse_model.live.last_session import LastSession, StateStore
from omnimouse_model.live.mask.presets import PRESETS, mask_for, preset_named
from omnimouse_model.live.project.autosave import Autosave
from omnimouse_model.live.project.unsaved_backups import UnsavedBackups, would_be_lost
from omnimouse_model.live.recording.first_view import SessionView
from omnimouse_model.live.recording.loader import OpenRequest
from omnimouse_model.predict.registry import is_predictor

if TYPE_CHECKING:
    from omnimouse_model.live.controller import Controller

MUST_FETCH = (
    "Its {kind} is on the model hub and not on this machine: {name}. {how}, or choose "
    "another."
)
OTHER_MODEL = (
    "Its model is not the same as when it was saved: {found} answers, it was {wanted}."
)
RECOVERED = (
    "OmniMouse ended unexpectedly: what was on screen at {at} is here again, but for "
    "the steps to undo."
)


@dataclass(frozen=True, slots=True)
class _Wanted:
    path: Path
    recording: str = ""


class Project(HasBackgroundTask):
    """Saving, opening and autosaving of analyses; `controller.analyses`.

    Parameters
    ----------
    controller
        Controller whose state is saved, and which shows opened analyses.
    memory
        Storage of the last session.
    chosen
        Returns the name of the chosen predictor ("" for none) and the last preset.
    lock
        Held while the state changes.
    post
        Runs a function on the drawing thread.
    synchronous
        Compute inside each method: for scripts and tests.

    Attributes
    ----------
    changed
        Emitted on the drawing thread when an attribute may have changed.
    path
        File of the analysis on screen; None if it was never saved.
    messages
        Messages about differences from the saved state or about a recovery, one
        sentence each.
    """

    changed = Signal()

    def __init__(
        self,
        controller: "Controller",
        memory: StateStore,
        chosen: Callable[[], tuple[str, str]],
        lock: threading.RLock,
        post: Post = call_at_once,
        *,
        synchronous: bool = False,
    ) -> None:
        self._controller, self._memory = controller, memory
        self._chosen, self._lock = chosen, lock
        self._saved: Analysis | None = None
        self._wanted: _Wanted | None = None
        self._place = ""
        self._leaving: tuple[str, Analysis] | None = None
        self._left = UnsavedBackups(
            memory, self._tell_first, post, synchronous=synchronous
        )
        self._unwanted: Analysis | None = None
        self._expected = self._answered = ("", "")
        self._error: AnalysisFileError | None = None
        self.path: Path | None = None
        self.messages: tuple[str, ...] = ()
        self._task = BackgroundTask(
            self._read, self._take, post, synchronous=synchronous
        )
        self._task.changed.connect(self.changed.emit)
        self._autosave = Autosave(self._keep, synchronous=synchronous)
        controller.state.events.connect(self._on_change)
        controller.results.changed.connect(self._compare_predictor)

    # -- reading ----------------------------------------------------------------------
    @property
    def current(self) -> Analysis:
        """Analysis of the current state.

        Raises
        ------
        AnalysisFileError
            No session is open, or it is made of arrays in memory and has no file.
        """
        state = self._controller.state
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
            str(session.path),
            session.id,
            session.fingerprint,
            dict(session.options),
            state.predictor_name,
            state.baseline_name,
            float(window.start_s),
            state.mask,
            state.preset,
            state.selection,
            state.cursor,
            state.active_span,
            state.brush_code,
            state.colour_by,
            state.edits,
            state.pins,
            state.areas_shown,
            state.plane_shown,
            self._predictor_id,
            tuple(path.name for path in self._controller.sweeps.compared),
            state.raster_order,
            state.raster_view,
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
            now = self.current
        except AnalysisFileError:
            return False
        return self._saved is None or not self._saved.is_same_task(now)

    @property
    def recent(self) -> tuple[Path, ...]:
        """Existing files of recently saved or opened analyses, newest first."""
        return self._memory.recent

    @property
    def backup_folder(self) -> Path:
        """Folder of copies of unsaved analyses; it may not exist."""
        return self._memory.unsaved_folder

    @property
    def error(self) -> Exception | None:
        """Error of the latest opening or saving, None without one."""
        return self._error or super().error

    @property
    def is_recording_missing(self) -> bool:
        """Whether the analysis' recording was moved and the user must locate it.

        `find_recording` then opens the analysis.
        """
        fault = self.error
        return isinstance(fault, AnalysisFileError) and fault.code == "moved"

    @property
    def missing_recording(self) -> Path:
        """Path of the recording according to the latest opened analysis."""
        return Path(self._place)

    # -- actions ----------------------------------------------------------------------
    def can_save(self) -> bool:
        """Whether the current state can be saved; if not, set `fault`."""
        try:
            _ = self.current
        except AnalysisFileError as error:
            self._refuse(str(error))
            return False
        return True

    def save(self, path: str | Path | None = None) -> bool:
        """Save to a file, by default its own; on errors, set `fault`, return False."""
        self.dismiss()
        target = self.path if path is None else Path(path).expanduser().absolute()
        try:
            if target is None:
                raise AnalysisFileError("unsaved", "Say where to save the analysis.")
            now = self.current
            write_analysis(target, now)
        except (AnalysisFileError, OSError) as error:
            why = str(error) if isinstance(error, AnalysisFileError) else error.strerror
            self._refuse(why)
            return False
        self.path, self._saved = target, now
        self._left.note_saved(now, target)
        self._memory.note_recent(target)
        self._on_change()
        self.changed.emit()
        return True

    def _refuse(self, why: str | None) -> None:
        self._error = AnalysisFileError("unsaved", f"It is not saved: {why}")
        self.changed.emit()

    def open(self, path: str | Path, recording: str | Path = "") -> None:
        """Open an analysis in the background; `recording` replaces its stored path.

        Errors are in `fault`, differences from the saved state in `messages`.
        """
        self.dismiss()
        file = Path(path).expanduser().absolute()
        self._wanted = _Wanted(file, str(recording))
        self._task.start(self._wanted, f"Opening {file.name}")

    def find_recording(self, recording: str | Path) -> None:
        """Open the latest requested analysis with the new path of its recording."""
        if self._wanted is not None:
            self.open(self._wanted.path, recording)

    def dismiss(self) -> None:
        """Clear messages and errors."""
        self.messages, self._error = (), None
        self._task.clear_error()
        self.changed.emit()

    def restore(
        self, instead: OpenRequest | None = None, was: LastSession | None = None
    ) -> bool:
        """Reopen the last session in the background; see `Controller.restore`.

        `was` is the last session, if it was read before.
        """
        controller, was = self._controller, was or self._memory.load()
        if not was.session or not _is_there(was.session):
            return False
        if was.predictor and not controller.state.predictor_name:
            self._choose_model(was.predictor)
        is_baseline_here = was.baseline and not controller.must_fetch(was.baseline)
        if is_baseline_here and not controller.state.baseline_name:
            controller.choose_baseline(was.baseline)
        words = f"Opening {Path(was.session).name}"
        again = as_remembered(was)
        how = was.options
        opening = OpenRequest(was.session, was.start_s, words, instead, how, again)
        controller.pins.restore_later(was.session, was.pins)
        controller.loader.open(opening)
        return controller.loader.error is None

    def discard(self) -> None:
        """Discard the unsaved changes: `leave` makes no copy of them."""
        self._unwanted = self.current

    def leave(self) -> None:
        """Prepare a copy of unsaved work before another recording is shown.

        A copy is made of an analysis changed since it was saved, and of painted masks,
        pins or edits that were never saved. `on_opened` writes it, as the newest of
        `recent`. Without storage, nothing is written.
        """
        self._leaving = None
        try:
            now = self.current
        except AnalysisFileError:
            return
        # `discard` applies only to the state at that time, not to later changes.
        unwanted = self._unwanted
        if unwanted is not None and unwanted.is_same_task(now):
            return
        is_lost = self.path is None and would_be_lost(now)
        if self.is_changed or (is_lost and not self._left.is_saved(now)):
            self._leaving = (self.name or now.recording, now)

    def on_opened(self, back: ReopenedAnalysis | None) -> None:
        """Update after a recording is shown, as the analysis `back` or as a new one."""
        leaving, self._leaving, self._unwanted = self._leaving, None, None
        self.path = None if back is None else back.path
        self._saved = None if back is None else back.saved
        self.messages = () if back is None else back.messages
        self._error = None
        if back is not None:
            if back.path is not None and back.saved is not None:
                self._left.note_saved(back.saved, back.path)
            self._show_like(back)
        if leaving is not None:
            self._left.write(*leaving)
        self.changed.emit()
        self._on_change()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write the last session and mark it as ended normally."""
        super().close(timeout_s)
        self._left.close(timeout_s)
        if self._memory.is_enabled:
            self._autosave.close(timeout_s)
            self._memory.end()

    # -- internal ---------------------------------------------------------------------
    @property
    def differences(self) -> tuple[str, ...]:
        """Messages without the one about a recovery, for reports."""
        recovered = RECOVERED.partition("{at}")[0]
        return tuple(
            words for words in self.messages if not words.startswith(recovered)
        )

    def _tell_first(self, words: tuple[str, ...]) -> None:
        self.messages = (*words, *self.messages)
        self.changed.emit()

    def _on_change(self, *_: object) -> None:
        if self._memory.is_enabled:
            self._autosave.note()

    def _keep(self) -> None:
        """Write the current state as the last session, on the autosave's thread."""
        state = self._controller.state
        # Take all values under the lock; write the file outside, where it cannot block
        # the drawing thread.
        with self._lock:
            session, window = state.session, state.window
            if session is None or window is None or state.mask is None:
                return
            place = str(session.path)
            chosen, preset = self._chosen()
            now = None if isinstance(session.origin, Mapping) else self.current
            saved = self.path is not None and not self.is_changed
            file = "" if self.path is None else str(self.path)
            start_s, options = float(window.start_s), dict(session.options)
            baseline, pins = state.baseline_name, self._controller.pins.to_dict()
        kept = {} if now is None else replace(now, predictor=chosen, pins=()).to_dict()
        self._memory.save(
            LastSession(
                place,
                chosen,
                preset,
                start_s,
                baseline,
                options,
                pins=pins,
                analysis=kept,
                file=file,
                is_saved=saved,
                brush_radius=state.brush_radius,
            )
        )

    def _read(self, wanted: _Wanted, report: ReportProgress) -> Iterator[OpenRequest]:
        try:
            analysis = read_analysis(wanted.path)
        except OSError as error:
            words = f"{wanted.path.name} cannot be read: {error.strerror}."
            raise AnalysisFileError("foreign", words) from None
        place = wanted.recording or analysis.recording
        self._place = place
        if not place or not _is_there(place):
            raise AnalysisFileError(
                "moved",
                f"The recording of {wanted.path.name} is not where it was: "
                f"{place}. Say where it is now.",
            )
        path, words = wanted.path, f"Opening {wanted.path.name}"

        def as_it_was(view: SessionView) -> SessionView:
            return reopened(view, analysis, path, analysis)

        how = analysis.options
        yield OpenRequest(place, analysis.start_s, words, None, how, as_it_was)

    def _take(self, opening: OpenRequest) -> None:
        self._controller.loader.open(opening)
        if self._wanted is not None:
            self._memory.note_recent(self._wanted.path)

    def _show_like(self, back: ReopenedAnalysis) -> None:
        """Choose the analysis' predictors and restore its view options."""
        controller, analysis = self._controller, back.analysis
        state = controller.state
        self._expected = (analysis.predictor, analysis.predictor_id)
        told = []
        if back.path is not None and not back.is_restored:
            told = [
                self._choose_model(analysis.predictor or state.predictor_name),
                self._choose_baseline(analysis.baseline),
                controller.pins.replace_all(analysis.pins),
            ]
        told.append(controller.sweeps.compare_just(analysis.sweeps))
        self.messages = (*self.messages, *filter(None, told))
        self._compare_predictor()
        controller.set_brush(analysis.brush_code)
        controller.set_active_span(*analysis.active_span)
        controller.set_colour_by(analysis.colour_by)
        controller.set_raster(analysis.raster_order, analysis.raster_view)
        controller.colouring.outline_areas(analysis.areas_shown)
        if analysis.plane_shown in controller.planes.numbers:
            controller.planes.show(analysis.plane_shown)

    def _choose_model(self, wanted: str) -> str:
        """Choose the model; return a message if it is not on this machine, else ""."""
        controller, now = self._controller, self._controller.state.predictor_name
        if wanted == now:
            return ""
        if controller.must_fetch(wanted) and is_predictor(wanted):
            controller.offer_predictor(wanted)
            return MUST_FETCH.format(kind="model", name=wanted, how="Fetch it")
        if not is_predictor(wanted):
            return _not_here("model", wanted, now)
        controller.choose_predictor(wanted)
        return ""

    def _choose_baseline(self, wanted: str) -> str:
        """Choose the baseline; return a message if it is not here, else ""."""
        controller, now = self._controller, self._controller.state.baseline_name
        if wanted == now:
            return ""
        if wanted and not is_predictor(wanted):
            return _not_here("baseline", wanted, now)
        is_absent = controller.must_fetch(wanted)
        controller.choose_baseline("" if is_absent else wanted)
        how = "Choose it as the model to fetch it"
        return (
            MUST_FETCH.format(kind="baseline", name=wanted, how=how)
            if is_absent
            else ""
        )

    def _compare_predictor(self) -> None:
        """Add a message if the predictor's weights differ from the saved ones."""
        state, answer = self._controller.state, self._controller.results.population
        if answer is None or not state.predictor_name:
            return
        self._answered = (state.predictor_name, answer.predictor_id)
        # Compare once per opened analysis, at the first answer.
        (name, wanted), self._expected = self._expected, ("", "")
        if wanted and name == state.predictor_name and wanted != answer.predictor_id:
            self._tell_first(
                (OTHER_MODEL.format(wanted=wanted, found=answer.predictor_id),)
            )

    @property
    def _predictor_id(self) -> str:
        """Id of the chosen predictor with its weights' hash; "" if not known yet."""
        # The answered id replaces the expected one of the same name.
        known = dict((self._expected, self._answered))
        return known.get(self._controller.state.predictor_name, "")


def _is_there(place: str) -> bool:
    """Whether a recording's path exists; True for addresses, which are not checked."""
    return web_address(place) is not None or Path(place).exists()


def _not_here(kind: str, wanted: str, now: str) -> str:
    instead = f"“{Path(now).name}” stays" if now else "choose another"
    return f"Its {kind} is not here: {wanted}; {instead}."


def as_remembered(was: LastSession) -> Callable[[SessionView], SessionView]:
    """Return a function that turns a first view into that of the last session."""
    is_recovered = was.is_left_by_a_crash

    def as_it_was(view: SessionView) -> SessionView:
        analysis = _sound(was.analysis, was)
        path = Path(was.file) if was.file and Path(was.file).is_file() else None
        found = reopened(view, analysis, path, analysis if was.is_saved else None)
        assert found.reopened is not None
        messages = found.reopened.messages
        if is_recovered:
            at = time.strftime("%H:%M:%S", time.localtime(was.at))
            messages = (RECOVERED.format(at=at), *messages)
        back = replace(found.reopened, messages=messages, is_restored=True)
        return replace(found, reopened=back)

    return as_it_was


def _sound(facts: Mapping[str, Any], was: LastSession) -> Analysis:
    """Return the saved analysis, or a minimal one if it is damaged."""
    try:
        return Analysis.from_dict(facts)
    except AnalysisFileError:
        return Analysis(was.session, start_s=was.start_s, preset=was.preset)


def reopened(
    view: SessionView, analysis: Analysis, path: Path | None, saved: Analysis | None
) -> SessionView:
    """Return a recording's view with the analysis' mask, selection and edits.

    Values that do not fit the recording are replaced; `back.told` has a message each.
    """
    session, window = view.session, view.window
    assert session is not None
    assert window is not None
    fits = analysis.mask is not None and analysis.mask.n_neurons == session.n_neurons
    if fits and analysis.mask is not None and analysis.mask.spec != window.spec:
        window = session.window(analysis.start_s, analysis.mask.spec)
    told = []
    if analysis.fingerprint and analysis.fingerprint != session.fingerprint:
        told.append(
            "The recording's files are not the same as when it was saved: predictions "
            "and scores may differ."
        )
    # Half a sample at 30 Hz: smaller shifts are rounding to the window grid.
    if abs(window.start_s - analysis.start_s) > 1 / 60:
        told.append(
            f"The recording has no window at {analysis.start_s:.2f} s: "
            f"{window.start_s:.2f} s is shown."
        )
    mask, preset = analysis.mask, _preset_of(analysis, view)
    if mask is None or mask.n_neurons != session.n_neurons:
        if mask is not None:
            told.append(
                f"The mask is for {mask.n_neurons:,} neurons, the recording has "
                f"{session.n_neurons:,}: the preset “{preset_named(view.preset).label}”"
                " is shown instead."
            )
        mask, preset = view.mask, view.preset
    selection = tuple(n for n in analysis.selection if n < session.n_neurons)
    if analysis.mask is None:
        selection = selection or view.selection
    elif len(selection) < len(analysis.selection):
        told.append("Some of the neurons that were selected are not in the recording.")
    edits = []
    for edit in analysis.edits:
        try:
            edited(window, [edit])
            edits.append(edit)
        except ValueError as error:
            told.append(f"The what-if “{describe_edits([edit])}” is left out: {error}")
    back = ReopenedAnalysis(analysis, path, tuple(told), saved)
    return replace(
        view,
        window=window,
        mask=mask,
        preset=preset,
        selection=selection,
        cursor=analysis.cursor,
        edits=tuple(edits),
        reopened=back,
    )


def _preset_of(analysis: Analysis, view: SessionView) -> str:
    """Return the analysis' preset if it makes the same mask here, else ""."""
    if analysis.preset not in {preset.name for preset in PRESETS}:
        return ""
    assert view.session is not None
    mask = analysis.mask
    asked = () if mask is None else np.flatnonzero(mask.target.any(axis=0)).tolist()
    made = mask_for(analysis.preset, view.session, asked)
    if mask is not None:
        made = made.stretched(mask.spec)
    return analysis.preset if made == mask else ""
