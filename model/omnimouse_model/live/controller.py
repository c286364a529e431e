"""Controller of the live app: the methods that views call to change state and predict.

Views read `controller.state` and `controller.results` and call these methods. Results
reach the drawing thread through `post`; by default they arrive on the engine's thread.
While no session is open, the methods bound to keys and clicks (step, stroke, undo) do
nothing; the other methods raise `ValueError`. The module is long because it has one
method per user action and connects all parts of `omnimouse_model.live`; their logic is
in their own modules, which do not import this one.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from psygnal import Signal

from omnimouse_model.analysis.evaluate.tier_score import TierScore
from omnimouse_model.analysis.in_silico.edit_lists import edits_for
from omnimouse_model.data.edit_protocol import Edit
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.demo import MODELS, model_for
from omnimouse_model.errors import MaskError
from omnimouse_model.live.compare.pins import Pins
from omnimouse_model.live.inference.client import Requests
from omnimouse_model.live.inference.engine import Execution, Post, call_at_once
from omnimouse_model.live.inference.pinned_stages import Load
from omnimouse_model.live.inference.score_store import ScoreStore
from omnimouse_model.live.inference.worker_watch import WorkerWatch
from omnimouse_model.live.laboratory import Laboratory
from omnimouse_model.live.last_session import LastSession
from omnimouse_model.live.mask.brush import CODE_NAMES, ActiveSpans, checked_code
from omnimouse_model.live.mask.presets import (
    DEFAULT_PRESET,
    PRESETS,
    fallback_for,
    is_possible,
    is_preset,
    lack,
    mask_for,
    name_and_region,
    preset_named,
    presets_of,
    regional_name,
)
from omnimouse_model.live.mask.stimulus_edits import StimulusEdits
from omnimouse_model.live.mask.undo import UndoHistory, UndoState
from omnimouse_model.live.models.downloads import ModelDownloads
from omnimouse_model.live.models.finetune import Finetuning
from omnimouse_model.live.models.ranking import RankingOnScreen
from omnimouse_model.live.navigation import Navigation
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.neurons.neuron_info import NeuronInfo
from omnimouse_model.live.neurons.neuron_order import SimilarityOrder
from omnimouse_model.live.neurons.painted_region import PaintedRegion
from omnimouse_model.live.neurons.planes import Planes
from omnimouse_model.live.neurons.repeats import RepeatsOnScreen
from omnimouse_model.live.neurons.trial_averages import TrialAverages
from omnimouse_model.live.pin import Pin, is_same_predictor
from omnimouse_model.live.project.exports import Exports
from omnimouse_model.live.project.project import Project
from omnimouse_model.live.project.screen import AnalysisScreen
from omnimouse_model.live.project.script import script_of
from omnimouse_model.live.recording.clock_check import ClockCheck
from omnimouse_model.live.recording.first_view import (
    SessionView,
    first_view,
    put_on_screen,
)
from omnimouse_model.live.recording.folder_index import FolderIndex
from omnimouse_model.live.recording.loader import OpenRequest, SessionLoader
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import (
    MAX_SELECTED,
    ColourBy,
    Device,
    LiveState,
    RasterOrder,
    RasterView,
)
from omnimouse_model.live.state_store import StateStore
from omnimouse_model.live.sweep.sweeps import Sweeps
from omnimouse_model.masks import BehaviorMode, Mask, Neurons, Samples
from omnimouse_model.predict.compatibility import FALLBACK
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.predict.registry import load_in_process
from omnimouse_model.predict.worker.client import load_in_worker
from omnimouse_model.predict.worker.mask_delta import is_same


def name_of(predictor: Predictor) -> str:
    """Return a predictor's name, or its id if it has no name."""
    # `predictor_id` of a predictor that loads later would load it here; its `name`
    # does not.
    return str(getattr(predictor, "name", None) or predictor.predictor_id)


class Controller:
    """Owner of the live state, the results, the engine and the undo stack.

    Parameters
    ----------
    state
        Initial live state; a new one by default.
    post
        Runs a function on the drawing thread.
    load
        Makes a predictor from a name and a device, on the engine's thread; by default
        in a worker process.
    synchronous
        Compute inside each method, in this process: for scripts and tests.
    session_file
        File that stores the screen's content across restarts and crashes; the user's
        `live.json` when True, no file by default.
    scores
        Where scores over a tier are stored; by default in the user's cache if there is
        a session file, else nowhere.

    Attributes
    ----------
    baseline
        Results of the baseline predictor, if one is chosen.
    loader, recordings, clock_check, neuron_info, neuron_order
        Background tasks: open recordings, list the recordings of a folder, check the
        clocks of the open session, compute properties of single neurons, and order
        neurons by similarity.
    requests
        Requests to the predictor and the baseline: repeat, cancel, wait.
    navigation
        Moves of the window and of the cursor, steps between trials.
    repeats
        Repeats of the clip on screen.
    colouring
        Quantity that colours the neurons: choices, values and scale.
    planes
        Imaging planes shown, and whether neurons are shown in 3-D.
    painted_region
        Grows or shrinks the region painted with the brush's code, by a distance.
    pins
        Pinned conditions, and predictions over longer spans.
    sweeps
        Context sweeps over many windows, in the background, and saved sweeps.
    laboratory
        Experiments on the chosen model, in the background.
    finetuning
        Fine-tuning of the chosen model to the open recording, in the background.
    ranking
        Ranking of pretraining sessions, from the results file of `omnimouse rank`.
    downloads
        Downloads of models from the hub.
    stimulus_edits
        Edits of video and behaviour; they are predicted but never scored.
    workers
        Watch over the processes of models: those that do not answer any more.
    project, exports
        Saved analyses of the screen's content; exported tables and arrays.
    history_changed
        Emitted when the effect of `undo` or `redo` may have changed.
    stepped
        Emitted after each undo step with its name and "done", "undone" or "redone"; a
        stroke is one step and is emitted when it ends.
    brush_chosen
        Emitted after each `set_brush`, also if the code stays the same.
    """

    history_changed = Signal()
    stepped = Signal(str, str)
    brush_chosen = Signal()

    def __init__(
        self,
        state: LiveState | None = None,
        *,
        post: Post = call_at_once,
        load: Load | None = None,
        synchronous: bool = False,
        session_file: Path | bool = False,
        scores: ScoreStore | None = None,
    ) -> None:
        self.state = state or LiveState()
        self.results = Results()
        # Re-entrant: signals emitted under the lock call listeners that call back
        # into methods of this class.
        self._lock = threading.RLock()
        load = load or (load_in_process if synchronous else load_in_worker)
        # Only the two default loaders read the hub's cache; a custom `load` resolves
        # names by itself, so nothing must be fetched for it.
        is_hub_used = load in (load_in_process, load_in_worker)

        execution = Execution(post, synchronous)
        self.workers = WorkerWatch(execution)
        load = self.workers.watched(load)
        # A screen that returns after a restart returns with its scores.
        store = scores or (ScoreStore() if session_file else None)
        self.requests = Requests(
            self.state, self.results, load, self._lock, execution, store, self.workers
        )
        self._client = self.requests.client
        self._client.on_spec = self._follow_spec
        self.baseline = self.requests.baseline.results
        self.navigation = Navigation(self.state, self.results, self.requests, self._lock)
        self._history = UndoHistory()
        self._spans = ActiveSpans(self.state.spec.n_samples)
        # Task before and after a change of spec: going back and forth between two
        # predictors must not lose cells that the coarser spec cannot represent.
        self._last_stretch: tuple[UndoState, UndoState] | None = None
        # A recording without video can force another preset; the user's own choice is
        # kept for the next recording.
        self._last_preset = self.state.preset or DEFAULT_PRESET
        self._store = StateStore(session_file)
        self._make_parts(load, execution, is_hub_used=is_hub_used)

    def _make_parts(self, load: Load, execution: Execution, *, is_hub_used: bool) -> None:
        """Make the parts; each gets the state, other parts and methods that it uses."""
        state, results, client = self.state, self.results, self._client
        # Order: a part is made before the parts that listen to it.
        self.downloads = ModelDownloads(self.choose_predictor, execution, is_enabled=is_hub_used)
        self.loader = SessionLoader(
            self.show_view,
            lambda: self._last_preset,
            execution,
            self._store.scores_of,
        )
        results.events.tier_score.connect(self._note_scores)
        self.recordings = FolderIndex(execution)
        self.clock_check = ClockCheck(state, execution)
        self.neuron_info = NeuronInfo(state, execution)
        self.neuron_order = SimilarityOrder(state, execution)
        self.laboratory = Laboratory(client, load, execution)
        self.colouring = Colouring(state, results, self.neuron_info, self.laboratory, execution)
        self.repeats = RepeatsOnScreen(state, self.navigation.seek_nearest, execution)
        self.trial_averages = TrialAverages(state, results, client.send)
        self.planes = Planes(state)
        self.painted_region = PaintedRegion(
            state, self.paint_cells, self.stroke, self.planes.visible_among
        )
        self.stimulus_edits = StimulusEdits(state, results, self._edit)
        self.sweeps = Sweeps(client, load, execution)
        self.finetuning = Finetuning(client, self.choose_predictor, execution)
        self.ranking = RankingOnScreen(execution)
        self.pins = Pins(self.requests, self._lock, self.downloads, self._note_unpinned)
        self.exports = Exports(state, results, self.laboratory, execution)
        self.project = self._make_project(execution)

    def _make_project(self, execution: Execution) -> Project:
        screen = AnalysisScreen(
            self.state,
            self.results,
            self.loader,
            self.downloads,
            self.pins,
            self.sweeps,
            self.laboratory,
            self.colouring,
            self.planes,
            self.choose_predictor,
            self.offer_predictor,
            self.choose_baseline,
            self.set_brush,
            self.set_active_span,
        )
        return Project(
            screen,
            self._store,
            lambda: (self._predictor_name, self._last_preset),
            self._lock,
            execution,
        )

    # -- session and predictor ------------------------------------------------------
    def open_session(self, recording: str | Path | Session) -> None:
        """Open a recording at a held-out window with the last chosen preset.

        A path is read on the calling thread; `loader.open` reads it in the background.
        """
        self.show_view(first_view(recording, self._last_preset, scores_of=self._store.scores_of))

    def show_view(self, view: SessionView) -> None:
        """Show the first view of a recording, or a saved one.

        If a listener fails, the previous session is restored and the listener's error
        is raised.
        """
        with self._lock:
            name = self.state.predictor_name
            if view.predictor and name in ("", *MODELS.values()):
                name = view.predictor
            if view.scores is not None:
                ranks = view.scores.ranks_for(name, view.mask)
                view = replace(view, first_ranks=ranks)
            # The state must be read before the new session replaces it.
            self.project.leave()
            self._client.reset()
            # On an error, `put_on_screen` has restored the previous state, whose
            # results were just cleared: they are requested again.
            try:
                put_on_screen(self.state, view)
            except Exception:
                self.requests.send()
                raise
            # The recording before may have been shown in windows of another spec.
            self._spans.resize(self.state.spec.n_samples)
            self.state.active_span = self._spans.span_of(self.state.brush_code)
            self.clock_check.clear()
            self._history.clear()
            self.history_changed.emit()
            if name != self.state.predictor_name:
                self._client.choose(name)
                self.state.predictor_name = name
            self.requests.send()
        # The messages of an opened analysis replace those of the previous one only if
        # the recording could be shown.
        self.project.on_opened(view.reopened, view.messages)
        self.loader.clear_error()
        self._store.note_recording(self.state.open_session)

    @property
    def recent_recordings(self) -> tuple[str, ...]:
        """Paths and addresses of recently opened recordings, newest first."""
        return self._store.recent_recordings

    def choose_series(self, name: str) -> None:
        """Reopen the session with another response series, in the background."""
        self._reopen(series=name)

    def choose_recording_rate(self, rate_hz: float) -> None:
        """Reopen the session with another rate of the recording, in the background.

        It gives the width of the guard between visible and target samples.
        """
        self._reopen(recording_rate_hz=rate_hz)

    def join_unit_tables(self, path: str | Path) -> None:
        """Reopen the session with properties of its neurons from tables.

        `path` is a CSV file with the column `unit_id`, or a folder of such files.
        """
        self._reopen(unit_tables=str(path))

    def _reopen(self, **options: float | str) -> None:
        start_s = None if self.state.window is None else self.state.window.start_s
        self.loader.open_as(self.state.open_session, start_s, **options)

    def choose_predictor(self, predictor: str | Path | Predictor) -> None:
        """Choose a predictor by name, file or folder, or pass an object.

        It is loaded in the background. A model that is only on the hub is downloaded
        first: see `downloads`.
        """
        # The state, saved analyses and scripts contain text.
        if isinstance(predictor, Path):
            predictor = str(predictor)
        name = predictor if isinstance(predictor, str) else name_of(predictor)
        # `predictor is name` holds for names only; an object is never fetched.
        if predictor is name and self.downloads.must_fetch(name):
            return self.downloads.fetch(name)
        self.downloads.clear()
        with self._lock:
            if name != self.state.predictor_name:
                self.state.first_ranks = {}
            self._client.choose(predictor)
            self.state.predictor_name = name
            # The baseline, too: it has results only while it is not the model itself.
            self.requests.send()

    @property
    def suitable_predictor(self) -> str:
        """Predictor for the open session where that on screen does not know it.

        The shipped model of a generated session, else the baseline that is fitted to
        any session and answers any mask.
        """
        session = self.state.session
        return (model_for(session.path) if session is not None else "") or FALLBACK

    def make_pin_current(self, slot: int) -> None:
        """Make a pinned condition the live one; `undo` restores only the mask."""
        pin = self.pins[slot]
        is_other = pin.predictor and not is_same_predictor(pin.predictor, self._client.predictor)
        # A mask of another spec must not be sent to the predictor of this one.
        is_foreign = pin.mask.spec != self.state.spec
        if is_other and is_foreign:
            self.choose_predictor(pin.predictor)
        self.set_mask(pin.mask, f"Back to {pin.name}", pin.preset)
        if is_other and not is_foreign:
            self.choose_predictor(pin.predictor)

    def offer_predictor(self, name: str) -> None:
        """Offer a model for download; nothing is predicted until then."""
        with self._lock:
            # Without a predictor no request is sent: the old model must not answer for
            # the offered one.
            self._client.choose(None)
            self.state.first_ranks = {}
            self.state.predictor_name = name
            self.requests.baseline.follow()
            self.downloads.offer(name)

    def choose_baseline(self, name: str) -> None:
        """Choose a baseline predictor by name or file; "" removes the baseline.

        Its results are in `baseline`. It predicts after the main predictor.
        """
        with self._lock:
            # Shown before the baseline has loaded, which can take seconds.
            self.state.baseline_name = name
            self.requests.baseline.choose(name)

    def restore_baseline(self, last: LastSession | None = None) -> None:
        """Choose the baseline of the last session, or the default one at first.

        The default one stands in for one that must be fetched from the hub. `last` is
        the last session, if it was read before.
        """
        name = (last or self.last_session).baseline
        self.choose_baseline(FALLBACK if self.downloads.must_fetch(name) else name)

    def choose_device(self, device: Device) -> None:
        """Choose the device of predictors chosen by name; the predictor is reloaded."""
        with self._lock:
            # Choosing the same predictor again clears results of the old device.
            if device != self.state.device:
                self._client.choose(self._client.predictor)
                self.state.device = device
                self._client.send()

    @property
    def is_stored(self) -> bool:
        """Whether the screen's content is stored for the next start."""
        return self._store.is_enabled

    @property
    def last_session(self) -> LastSession:
        """The last saved session; empty if there is none."""
        return self._store.load()

    def restore(self, fallback: OpenRequest | None = None) -> bool:
        """Reopen the last saved session in the background; False if there is none.

        A model that is already chosen stays, and the baseline: see `restore_baseline`.
        `fallback` is opened if the recording cannot be read.
        """
        # A preset of another version may not exist any more.
        if is_preset(preset := self.last_session.preset):
            self._last_preset = preset
        return self.project.restore(fallback)

    def _note_scores(self, found: TierScore | None) -> None:
        if found is not None and self.state.session is not None:
            name = self.state.predictor_name
            self._store.note_scores(self.state.session, found, name)

    def _follow_spec(self, spec: WindowSpec) -> None:
        """Change window and mask to the spec of the chosen predictor.

        The mask is stretched to the new window. The mask before the last change of spec
        comes back if its spec does and the stretched one was not changed meanwhile.
        Undo steps belong to one spec.
        """
        if self.state.mask is None:
            return
        current = self._undo_state
        new = self._original_of(current, spec) or self._stretched(current, spec)
        if self._show_spec(new.mask, new.preset):
            self._last_stretch = (current, new)

    def _original_of(self, current: UndoState, spec: WindowSpec) -> UndoState | None:
        """Return the task of a spec from which the unchanged current one comes."""
        # Stretching there and back rounds; the original mask is exact.
        if self._last_stretch is None:
            return None
        original, stretched = self._last_stretch
        is_unchanged = stretched.mask is current.mask
        return original if is_unchanged and original.mask.spec == spec else None

    def _stretched(self, task: UndoState, spec: WindowSpec) -> UndoState:
        """Return a task for windows of another spec, without its edits.

        A preset of which the spec cannot hold any input becomes a forecast; without
        video and behaviour in the spec, one of these streams becomes co-smoothing.
        """
        mask, preset = task.mask.stretched(spec), task.preset
        if preset and not is_possible(preset, mask):
            preset = fallback_for(spec)
            made = mask_for(preset, self.state.open_session, self.state.selection)
            mask = made.stretched(spec)
        return UndoState(mask, preset, ())

    def _show_spec(self, mask: Mask, preset: str) -> bool:
        """Show a mask of another spec with the window of its spec; False if refused."""
        state, spec = self.state, mask.spec
        assert state.window is not None
        old_spec = state.window.spec
        try:
            window = self.state.open_session.nearest_window(state.window.start_s, spec)
        except ValueError as error:
            self.results.error = str(error)
            self.results.changed.emit()
            return False
        self.results.clear()
        self._history.clear()
        self._spans.resize(spec.n_samples)
        # In this order a listener never sees a window and a mask of different specs.
        state.mask = None
        edits = edits_for(state.edits, old_spec, spec)
        state.edits = ()
        state.cursor = min(state.cursor, spec.n_samples - 1)
        state.window = window
        state.mask = mask
        state.edits = edits
        state.preset = preset
        state.active_span = self._spans.span_of(state.brush_code)
        self.history_changed.emit()
        self.requests.send()
        return True

    # -- painting ---------------------------------------------------------------------
    def paint(self, neurons: Neurons, code: int | None = None) -> None:
        """Set the code of some neurons at the samples of the active span.

        `code` is the brush's code by default. Each code has its own active span.
        """
        # The modifier keys of the field paint with another code than the brush's.
        code = self.state.brush_code if code is None else code
        self.paint_cells(neurons, self._spans.span_of(code), code)

    def paint_cells(self, neurons: Neurons, samples: Samples, code: int) -> None:
        """Set the code of some neurons at some samples, as painted on the raster."""
        name = f"Paint {{n}} neurons {CODE_NAMES[checked_code(code)]}"
        with self._lock:
            mask = self.state.open_mask
            self._change(mask.paint(neurons, samples, code), name)

    def begin_stroke(self, name: str = "") -> None:
        """Begin a stroke: all changes until `end_stroke` are one undo entry.

        "{n}" in `name` is replaced by the number of changed neurons.
        """
        with self._lock:
            # A stroke whose end was lost, for example when a window lost the mouse,
            # becomes a step.
            self.end_stroke()
            if self.state.mask is not None:
                self._history.begin(name, self._undo_state)
                self.history_changed.emit()

    def end_stroke(self) -> None:
        """End the stroke; it becomes one undo entry if it changed anything."""
        with self._lock:
            if self._history.in_stroke:
                is_step = self._history.end(self._undo_state)
                self.history_changed.emit()
                if is_step:
                    self.stepped.emit(self.undo_name, "done")

    @property
    def in_stroke(self) -> bool:
        """Whether a stroke is open; views do not rearrange rows during a stroke."""
        return self._history.in_stroke

    @contextmanager
    def stroke(self, name: str = "") -> Iterator[None]:
        """Group all changes of a `with` block into one undo entry."""
        self.begin_stroke(name)
        try:
            yield
        finally:
            self.end_stroke()

    def set_brush(self, code: int) -> None:
        """Choose the brush's code; the active span becomes the span of that code."""
        with self._lock:
            self.state.brush_code = checked_code(code)
            self.state.active_span = self._spans.span_of(code)
            self.brush_chosen.emit()

    def set_active_span(self, start: int, stop: int) -> None:
        """Set the samples that a stroke on the field paints with the current code."""
        with self._lock:
            # Stored per code: targets are usually painted in a part of the window,
            # visible cells in all of it.
            span = self._spans.choose(self.state.brush_code, start, stop)
            self.state.active_span = span

    # -- the whole mask ---------------------------------------------------------------
    @property
    def presets(self) -> tuple[tuple[str, str], ...]:
        """The (name, label) of the presets that session and model can have.

        The one on screen is among them. See `presets.preset_named`.
        """
        shown = name_and_region(self.state.preset)[0]
        offered = presets_of(self.state.session, self.results.needs)
        presets = [one for one in PRESETS if one in offered or one.name == shown]
        return tuple((preset.name, preset.label) for preset in presets)

    @property
    def preset_problems(self) -> dict[str, str]:
        """Presets that the open session cannot use: the reason for each name."""
        session = self.state.session
        if session is None:
            return {}
        problems = {name: lack(name, session) for name, _ in self.presets}
        return {name: problem for name, problem in problems.items() if problem}

    def apply_preset(self, name: str) -> None:
        """Replace the mask by a preset's mask, as one undo entry.

        Raises
        ------
        MaskError
            The session lacks a stream or a region that the preset needs.
        """
        with self._lock:
            session, selection = self.state.open_session, self.state.selection
            if problem := lack(name, session):
                raise MaskError(f"Preset {name!r} is not possible: {problem}")
            preset = preset_named(regional_name(name, session, selection))
            mask = mask_for(preset.name, session, selection)
            # Presets are made for OmniMouse's spec and mapped by time.
            mask = mask.stretched(self.state.spec)
            self._last_preset = preset.name
            self._change(mask, preset.label, preset.name)

    def set_mask(self, mask: Mask, name: str = "Change the mask", preset: str = "") -> None:
        """Replace the mask as one undo entry; `preset` names its preset, if any.

        Raises
        ------
        ValueError
            The mask has another number of neurons than the session.
        """
        with self._lock:
            if mask.n_neurons != self.state.open_session.n_neurons:
                raise ValueError(
                    f"The mask is for {mask.n_neurons} neurons, "
                    f"the session has {self.state.open_session.n_neurons}."
                )
            if mask.spec != self.state.spec:
                # Undo steps belong to one spec: there is no step back to another.
                self._show_spec(mask, preset)
            else:
                self._change(mask, name, preset)

    def set_behavior(self, mode: BehaviorMode) -> None:
        """Set behaviour to visible, target or hidden."""
        with self._lock:
            self._change(self.state.open_mask.with_behavior(mode), f"Behaviour {mode}")

    def set_frames(self, frames: np.ndarray | slice | bool) -> None:
        """Choose the visible video frames: all, none, a slice or a bool (n_frames,)."""
        with self._lock:
            mask = self.state.open_mask.with_frames(frames)
            count = int(mask.frames.sum())
            every = len(mask.frames)
            content = {0: "hidden", every: "visible"}.get(count, f"{count} frames")
            self._change(mask, f"Video {content}")

    # -- undo -------------------------------------------------------------------------
    def undo(self) -> None:
        """Undo the latest step, if there is one."""
        with self._lock:
            if self.state.mask is None:
                return
            if (before := self._history.undo(self._undo_state)) is not None:
                self._go_to(before)
                self.stepped.emit(self.redo_name, "undone")

    def redo(self) -> None:
        """Redo the last undone step, if there is one."""
        with self._lock:
            if self.state.mask is None:
                return
            if (after := self._history.redo(self._undo_state)) is not None:
                self._go_to(after)
                self.stepped.emit(self.undo_name, "redone")

    @property
    def can_undo(self) -> bool:
        """Whether `undo` has an effect."""
        return self._history.in_stroke or bool(self._history.undo_name)

    @property
    def can_redo(self) -> bool:
        """Whether `redo` has an effect."""
        return bool(self._history.redo_name)

    @property
    def undo_name(self) -> str:
        """Name of the step that `undo` reverts; "" if there is none."""
        return self._history.undo_name

    @property
    def redo_name(self) -> str:
        """Name of the step that `redo` repeats; "" if there is none."""
        return self._history.redo_name

    # -- view options -----------------------------------------------------------------
    def select(self, neurons: Sequence[int] | np.ndarray, add: bool = False) -> None:
        """Select neurons in order; only the last 64 stay selected.

        Raises
        ------
        ValueError
            An index is not a neuron of the session.
        """
        with self._lock:
            before = self.state.selection if add else ()
            # A dict removes duplicates and keeps the order of selection.
            ordered = dict.fromkeys([*before, *(int(neuron) for neuron in neurons)])
            # The newest ones: adding a neuron must show it.
            selection, n = tuple(ordered)[-MAX_SELECTED:], self.state.open_session.n_neurons
            if selection and not 0 <= min(selection) <= max(selection) < n:
                raise ValueError(f"Neurons are 0..{n - 1}, got {selection}.")
            if selection == self.state.selection:
                return
            self.state.selection = selection
            # A fresh population prediction contains these neurons already: no new
            # request is needed, unless their sweep or their trials are on screen.
            is_predicted = self.results.take_selected(selection)
            has_sweep = self.state.sweep_shown and not self.results.has_tier_curves
            is_shown = has_sweep or self.state.peri_event_shown
            if is_shown or not is_predicted:
                self._client.send()

    def set_colour_by(self, colour_by: ColourBy) -> None:
        """Choose the quantity that colours the neurons."""
        self.colouring.choose(colour_by)

    def set_raster(self, order: RasterOrder, view: RasterView) -> None:
        """Choose the order of the raster's rows and the responses it shows."""
        self.state.raster_order, self.state.raster_view = order, view

    def set_traces(self, *, common_scale: bool, as_large: bool) -> None:
        """Choose whether traces share a scale and how predictions are scaled."""
        self.state.common_scale, self.state.as_large = common_scale, as_large

    def set_brush_radius(self, pixels: float) -> None:
        """Store the radius of the field's brush, in screen pixels."""
        self.state.brush_radius = pixels

    def as_python(self) -> str:
        """Return a Python script that makes the prediction on screen and its score.

        See `script_of`.
        """
        # A changed analysis does not have the mask on screen in its file.
        file = None if self.project.is_changed else self.project.path
        return script_of(self.state, self._predictor_name, file, self._store.folder)

    def close(self, timeout_s: float = 5.0) -> None:
        """Save the session for the next start, and end the engine and its process.

        `timeout_s` applies to each background task in turn.
        """
        # The loader first: a session that it opened after `project.close` would not be
        # saved.
        for part in (
            self.loader,
            self.project,
            self.recordings,
            self.clock_check,
            self.neuron_info,
            self.repeats,
            self.neuron_order,
            self.colouring,
            self.downloads,
            self.sweeps,
            self.laboratory,
            self.finetuning,
            self.ranking,
            self.exports,
        ):
            part.close(timeout_s)
        self.requests.close(timeout_s)
        # Last: it ends what a stopped process has kept from ending.
        self.workers.close()

    # -- internal ---------------------------------------------------------------------
    @property
    def _undo_state(self) -> UndoState:
        return UndoState(self.state.open_mask, self.state.preset, self.state.edits)

    def _change(self, mask: Mask, name: str, preset: str = "") -> None:
        self._step(name, UndoState(mask, preset, self.state.edits))

    def _edit(self, edits: tuple[Edit, ...], name: str) -> None:
        with self._lock:
            self._step(name, replace(self._undo_state, edits=edits))

    def _step(self, name: str, after: UndoState) -> None:
        # A change that changes nothing sends no request and is no undo step.
        if self._history.note(name, self._undo_state, after):
            self._go_to(after)
            if not self._history.in_stroke:
                self.stepped.emit(self.undo_name, "done")

    def _note_unpinned(self, pin: Pin) -> None:
        self._history.note_unpinned(f"Unpin {pin.name}", self._undo_state, pin)
        self.history_changed.emit()
        self.stepped.emit(self.undo_name, "done")

    def _go_to(self, state: UndoState) -> None:
        if (pin := state.unpinned) is not None:
            (self.pins.restore if state.is_pinned else self.pins.remove)(pin)
            self.history_changed.emit()
            return
        # Edits before the mask: a listener of the mask reads both.
        self.state.edits = state.edits
        # If only the edits differ, the prediction without edits stays valid and only
        # the what-if is requested.
        if is_edit := is_same(state.mask, self.state.open_mask):
            self._client.send_what_if()
        else:
            self.state.first_ranks = {}  # of another question
            self.state.mask = state.mask
        self.state.preset = state.preset
        self.history_changed.emit()
        if not is_edit:
            self.requests.send()

    @property
    def _predictor_name(self) -> str:
        """Name that loads the predictor; "" for a predictor passed as an object."""
        predictor = self._client.predictor
        if predictor is None:  # one that must be fetched first, if any
            return self.state.predictor_name
        return predictor if isinstance(predictor, str) else ""
