"""What the screen shows, saved and restored: analyses, the last session, backups."""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import numpy as np

from omnimouse_model.analysis.counterfactual import apply_edits, describe_edits, edits_for
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import Edit
from omnimouse_model.display import printable
from omnimouse_model.errors import AnalysisFileError
from omnimouse_model.inference.registry import is_predictor
from omnimouse_model.live.analysis_file import (
    SUFFIX,
    Analysis,
    ReopenedAnalysis,
    read_analysis,
    write_analysis,
)
from omnimouse_model.live.first_view import SessionView
from omnimouse_model.live.inference.engine import Execution
from omnimouse_model.live.laboratory import Laboratory
from omnimouse_model.live.mask import presets
from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.live.models.choice import ModelChoice
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.neurons.planes import Planes
from omnimouse_model.live.pins import Pins
from omnimouse_model.live.results import Results
from omnimouse_model.live.session_loader import SessionLoader
from omnimouse_model.live.sources import Sources
from omnimouse_model.live.state import LiveState
from omnimouse_model.live.state_store import MAX_UNSAVED, LastSession, StateStore
from omnimouse_model.live.sweeps import Sweeps
from omnimouse_model.masks import Mask
from omnimouse_model.masks.selection import NeuronGroup
from omnimouse_model.storage.archives import is_plain_name
from omnimouse_model.storage.web import web_address

# -- parts of the controller that show an analysis, and how they show a saved one -----
MUST_FETCH = (
    "Its {kind} is on the model hub and not on this machine: {name}. {action}, or choose another."
)


@dataclass(frozen=True, slots=True, eq=False)
class AnalysisScreen:
    """Parts of the controller that hold and show an analysis."""

    state: LiveState
    results: Results
    loader: SessionLoader
    model: ModelChoice
    editor: MaskEditor
    pins: Pins
    sweeps: Sweeps
    laboratory: Laboratory
    sources: Sources
    colouring: Colouring
    planes: Planes

    def show(self, reopened: ReopenedAnalysis) -> tuple[str, ...]:
        """Show an analysis whose recording is on screen; return messages for the user.

        Predictors and pins are chosen only for a file that the user opened: those of
        the last session are chosen before its recording is read.
        """
        analysis, state = reopened.analysis, self.state
        messages = []
        if reopened.path is not None and not reopened.is_restored:
            messages = [
                self.choose_model(analysis.predictor or state.predictor_name),
                self._choose_baseline(analysis.baseline),
                self.pins.replace_all(analysis.pins),
            ]
        messages.append(self.sweeps.compare_only(analysis.sweeps))
        self.laboratory.reopen(analysis.experiments)
        # Of another recording, what was found has no meaning.
        is_same = state.session is not None and state.session.fingerprint == analysis.fingerprint
        is_chosen = state.predictor_name == analysis.predictor
        # Before the results: those of an older analysis, which lists no groups, name them.
        messages.append(self._name_groups(analysis.groups or ()))
        self.sources.reopen(
            analysis.sources if is_same else (),
            is_chosen=is_chosen,
            names_groups=analysis.groups is None,
        )
        # The code before the span: each code has its own span.
        self.editor.set_brush(analysis.brush_code)
        self.editor.set_active_span(*analysis.active_span)
        self.colouring.choose(analysis.colour_by)
        self.colouring.compare(*analysis.compared)
        self.colouring.outline_areas(analysis.areas_shown)
        state.raster_order = analysis.raster_order
        state.raster_view = analysis.raster_view
        # The recording may have been converted again, with other planes.
        if analysis.plane_shown in self.planes.numbers:
            self.planes.show(analysis.plane_shown)
        return tuple(filter(None, messages))

    def choose_model(self, name: str) -> str:
        """Choose the model; return a message if it is not on this machine, else ""."""
        current = self.state.predictor_name
        if name == current:
            return ""
        if not is_predictor(name):
            return _absent("model", name, current)
        if self.model.downloads.must_fetch(name):
            self.model.offer(name)
            return MUST_FETCH.format(kind="model", name=name, action="Fetch it")
        self.model.choose(name)
        return ""

    def _name_groups(self, groups: tuple[NeuronGroup, ...]) -> str:
        """Name groups of neurons; return a message about those that are not recorded."""
        names = self.state.open_session.units.names
        known = tuple(one for one in groups if np.isin(one.ids, names).all())
        self.state.groups = known
        left = ", ".join(f"“{one.name}”" for one in groups if one not in known)
        return f"Not all neurons of {left} are in the recording: named no more." if left else ""

    def _choose_baseline(self, name: str) -> str:
        """Choose the baseline; return a message if it is not here, else ""."""
        current = self.state.baseline_name
        if name == current:
            return ""
        if name and not is_predictor(name):
            return _absent("baseline", name, current)
        if not self.model.downloads.must_fetch(name):
            self.model.choose_baseline(name)
            return ""
        self.model.choose_baseline("")
        action = "Choose it as the model to fetch it"
        return MUST_FETCH.format(kind="baseline", name=name, action=action)


def _absent(kind: str, name: str, current: str) -> str:
    """Return a message that a model is not on this machine, and what is used."""
    instead = f"“{Path(current).name}” stays" if current else "choose another"
    return f"Its {kind} is not here: {name}; {instead}."


# -- restore a saved analysis ---------------------------------------------------------
RECOVERED: Final = (
    "OmniMouse ended unexpectedly: what was on screen at {time} is here again, but for "
    "the steps to undo."
)
IS_RECOVERED: Final = RECOVERED.partition("{time}")[0]
"""Beginning of the message about a recovery."""
# Half a sample at 30 Hz: smaller shifts are rounding to the window grid.
_TOLERANCE_S: Final = 1 / 60


def restore_last_session(
    last: LastSession, *, is_after_crash: bool
) -> Callable[[SessionView], SessionView]:
    """Return a function that turns a first view into that of the last session."""

    def restore(view: SessionView) -> SessionView:
        path = Path(last.file) if last.file and Path(last.file).is_file() else None
        analysis = _analysis_of(last)
        # The file itself tells whether the screen differs from it.
        saved = None if path is None else _readable_analysis(path)
        view = restore_analysis(view, analysis, path, saved=saved, digest=last.digest)
        assert view.reopened is not None
        messages = view.reopened.messages
        if is_after_crash:
            at = time.strftime("%H:%M:%S", time.localtime(last.at))
            messages = (RECOVERED.format(time=at), *messages)
        reopened = replace(view.reopened, messages=messages, is_restored=True)
        return replace(view, reopened=reopened)

    return restore


def _analysis_of(last: LastSession) -> Analysis:
    """Return the saved analysis, or a minimal one if it is damaged."""
    try:
        return Analysis.from_dict(last.analysis)
    except AnalysisFileError:
        return Analysis(last.session, start_s=last.start_s, preset=last.preset)


def _readable_analysis(path: Path) -> Analysis | None:
    """Return the analysis of a file; None if it is damaged or not the user's."""
    try:
        return read_analysis(path)
    except (AnalysisFileError, OSError):
        return None


def restore_analysis(
    view: SessionView, analysis: Analysis, path: Path | None, *, saved: Analysis | None, digest: str
) -> SessionView:
    """Return a recording's view with the analysis' mask, selection and edits.

    Values that do not fit the recording are replaced; `reopened.messages` names each.
    `saved` is the content of the file `path`, None if it is not known, and
    `digest` its hash.
    """
    session, window = view.session, view.window
    assert session is not None
    assert window is not None
    mask, preset, mask_problem = _mask_for_view(analysis, view)
    if mask is not None and mask.spec != window.spec:
        # A window and its mask have one spec; the predictor that is chosen afterwards
        # may change both.
        window = session.nearest_window(analysis.start_s, mask.spec)
    selection, selection_problem = _selection_for_view(analysis, view)
    edits, edit_problems = _edits_for_window(analysis, window)
    messages = (
        *_recording_problems(analysis, session, window),
        *mask_problem,
        *selection_problem,
        *edit_problems,
    )
    return replace(
        view,
        window=window,
        mask=mask,
        preset=preset,
        selection=selection,
        cursor=analysis.cursor,
        edits=edits,
        reopened=ReopenedAnalysis(analysis, path, messages, saved, digest=digest),
    )


def _recording_problems(analysis: Analysis, session: Session, window: Window) -> Iterator[str]:
    """Yield how the recording differs from the saved one."""
    if analysis.fingerprint and analysis.fingerprint != session.fingerprint:
        yield (
            "The recording's files are not the same as when it was saved: predictions "
            "and scores may differ."
        )
    if abs(window.start_s - analysis.start_s) > _TOLERANCE_S:
        yield (
            f"The recording has no window at {analysis.start_s:z.2f} s: "
            f"{window.start_s:z.2f} s is shown."
        )


def _selection_for_view(analysis: Analysis, view: SessionView) -> tuple[tuple[int, ...], list[str]]:
    """Return the selected neurons that the recording has, and a message on others."""
    assert view.session is not None
    n_neurons = view.session.n_neurons
    selection = tuple(n for n in analysis.selection if n < n_neurons)
    if analysis.mask is None:
        # A minimal analysis after damage has no selection: the traces would be empty.
        return selection or view.selection, []
    if len(selection) < len(analysis.selection):
        return selection, ["Some of the neurons that were selected are not in the recording."]
    return selection, []


def _mask_for_view(analysis: Analysis, view: SessionView) -> tuple[Mask | None, str, list[str]]:
    """Return the analysis' mask and preset, or those of the view with a message."""
    assert view.session is not None
    n_neurons = view.session.n_neurons
    if analysis.mask is None:
        return view.mask, view.preset, []
    if analysis.mask.n_neurons == n_neurons:
        return analysis.mask, _preset_of(analysis, view.session), []
    message = (
        f"The mask is for {analysis.mask.n_neurons:,} neurons, the recording has "
        f"{n_neurons:,}: the preset “{presets.preset_named(view.preset).label}” is shown "
        "instead."
    )
    return view.mask, view.preset, [message]


def _preset_of(analysis: Analysis, session: Session) -> str:
    """Return the analysis' preset if it makes the same mask here, else ""."""
    mask = analysis.mask
    if mask is None or not presets.is_preset(analysis.preset):
        return ""
    targets = np.flatnonzero(mask.target.any(axis=0)).tolist()
    # A preset that chooses random neurons makes the same mask for the same targets.
    if presets.preset_for(analysis.preset, session) != analysis.preset:
        return ""
    made = presets.mask_for(analysis.preset, session, targets).stretched(mask.spec)
    return analysis.preset if made == mask else ""


def _edits_for_window(analysis: Analysis, window: Window) -> tuple[tuple[Edit, ...], list[str]]:
    """Return the edits that the recording can have, and a message for each other."""
    edits, messages = [], []
    spec = window.spec
    # Older files state the span of the whole window; `edits_for` makes it None.
    for edit in edits_for(analysis.edits, spec, spec):
        try:
            apply_edits(window, [edit])
            edits.append(edit)
        except ValueError as error:
            messages.append(f"The what-if “{describe_edits([edit], spec)}” is left out: {error}")
    return tuple(edits), messages


# -- backups of unsaved work, and the saving of the last session ----------------------
logger = logging.getLogger(__name__)

MAX_NAME_BYTES: Final = 100
WRITTEN: Final = (
    "The analysis on screen was not saved. A backup was written: “{name}” "
    "(Backups of unsaved work…)."
)
NOT_WRITTEN: Final = (
    "The analysis on screen was not saved, and no backup could be written: {problem}."
)
DELETED: Final = (
    "At most {most} backups are stored. The backup “{name}”, never opened, was deleted."
)
_Key = tuple[object, ...]


class UnsavedBackups:
    """Writer of backups of unsaved work, in the background, without duplicates.

    Parameters
    ----------
    store
        Storage of the copies; if it is disabled, nothing is written.
    notify
        Receives messages for the user, on the drawing thread.
    """

    def __init__(
        self, store: StateStore, notify: Callable[[tuple[str, ...]], None], execution: Execution
    ) -> None:
        self._store, self._notify, self._execution = store, notify, execution
        self._files: dict[_Key, Path] = {}
        self._threads: list[threading.Thread] = []

    def note_saved(self, analysis: Analysis, path: Path) -> None:
        """Record that a file has this analysis, so that it needs no copy."""
        self._files[_work_key(analysis)] = path

    def is_saved(self, analysis: Analysis) -> bool:
        """Whether an existing file is known to have this analysis."""
        path = self._files.get(_work_key(analysis))
        return path is not None and path.is_file()

    def write(self, name: str, analysis: Analysis) -> None:
        """Write a copy under a unique name, and send a message with the name."""
        if not self._store.is_enabled:
            return
        work = partial(self._write, plain_name(name), analysis)
        if self._execution.synchronous:
            return work()
        # A thread, not a task: a second copy must not cancel the first one.
        thread = threading.Thread(target=work, name="omnimouse-backup", daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Wait until all copies are written, at most `timeout_s` for each."""
        for thread in self._threads:
            thread.join(timeout_s)

    def _write(self, name: str, analysis: Analysis) -> None:
        try:
            path, deleted = self._store.back_up(name, partial(write_analysis, analysis=analysis))
        except Exception as error:  # the user must know that the work is lost
            logger.warning("Unsaved work could not be backed up.", exc_info=True)
            problem = getattr(error, "strerror", None) or str(error)
            messages: tuple[str, ...] = (NOT_WRITTEN.format(problem=problem),)
        else:
            self.note_saved(analysis, path)
            messages = (WRITTEN.format(name=path.name.removesuffix(SUFFIX)),)
            for old in deleted:
                old_name = old.name.removesuffix(SUFFIX)
                messages += (DELETED.format(most=MAX_UNSAVED, name=old_name),)
        self._execution.post(partial(self._notify, messages))


def has_unsaved_work(analysis: Analysis) -> bool:
    """Whether an analysis has a painted mask, pins, edits or named groups."""
    # Masks of presets or files can be made again, so they need no backup.
    by_hand = not analysis.preset and analysis.mask is not None
    return by_hand or bool(analysis.pins or analysis.edits or analysis.groups)


def plain_name(place: str) -> str:
    """Return the last part of a path or address as a file name, without credentials."""
    if (address := web_address(place)) is not None:
        parts = urlsplit(address)
        place = unquote(parts.path.rstrip("/").rpartition("/")[2])
        place = place or parts.hostname or ""
    else:
        place = Path(place).name
    plain = re.sub(r'[\\/:*?"<>|\N{REPLACEMENT CHARACTER}]+', " ", printable(place))
    # File systems limit names to 255 bytes, not characters; the time and the suffix
    # need the rest. "ignore" drops a character that is cut in half.
    short = plain.encode("utf-8", "replace")[:MAX_NAME_BYTES].decode("utf-8", "ignore")
    name = short.strip(" .") or "analysis"
    return name if is_plain_name(name) else f"_{name}"  # a device of Windows, such as CON


def _work_key(analysis: Analysis) -> _Key:
    """Return a key of the work that would be lost; equal keys need only one copy."""
    # A preset's mask can be made again; it is not work that would be lost.
    mask = None if analysis.preset or analysis.mask is None else analysis.mask.mask_id
    pins = tuple(pin.key for pin in analysis.pins)
    return analysis.recording, analysis.fingerprint, mask, analysis.edits, pins, analysis.groups


# -- autosave of the screen's content; a crash loses at most half a second ------------
EVERY_S = 0.5
"""Minimum seconds between two writes; changes in between are written together."""


class Autosave:
    """Writer on its own thread: immediately after a change, then at most every 0.5 s.

    Parameters
    ----------
    write
        Writes the current state.
    synchronous
        Write inside `note`: for scripts and tests.
    """

    def __init__(self, write: Callable[[], None], *, synchronous: bool = False) -> None:
        self._write = write
        self._synchronous = synchronous
        self._lock = threading.Lock()
        self._changed, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, *_: object) -> None:
        """Record a change, which is then written; any thread can call it."""
        with self._lock:
            if self._ended.is_set():
                return
            if not self._synchronous:
                self._changed.set()
                self._start_thread()
                return
        self._write()

    def close(self, timeout_s: float = 5.0) -> None:
        """End the thread and write once more; a second call does nothing."""
        with self._lock:
            if self._ended.is_set():
                return
            self._ended.set()
            self._changed.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        self._try_to_write()

    def _start_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="omnimouse-autosave", daemon=True
            )
            self._thread.start()

    def _run(self) -> None:
        while self._changed.wait():
            self._changed.clear()
            # Checked after `clear`, because `close` sets both events: in the other
            # order, `clear` could remove the event of a close.
            if self._ended.is_set():
                return
            self._try_to_write()
            self._ended.wait(EVERY_S)

    def _try_to_write(self) -> None:
        try:
            self._write()
        except Exception:  # the thread must survive; the next change writes again
            logger.exception("The work of the last time could not be saved.")
