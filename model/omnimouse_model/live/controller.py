"""The verbs: views call them and nothing else; state, engine and results follow.

`Controller()` is all a face needs. Results reach the drawing thread through `post`;
by default they come on the engine's own thread. What a key or a press does (stepping,
strokes, undo) is nothing while no session is open; the other verbs say so then.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from psygnal import Signal

from omnimouse_model.data.edit_protocol import Edit
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.live.compare.pins import Pins
from omnimouse_model.live.inference.apply import take_selected
from omnimouse_model.live.inference.baseline import Beside
from omnimouse_model.live.inference.client import Asking
from omnimouse_model.live.inference.engine import Engine, Post, call_at_once
from omnimouse_model.live.inference.stages import (
    Answering,
    Load,
    name_of,
    next_start,
    step_between,
)
from omnimouse_model.live.last_session import Memory, Remembered
from omnimouse_model.live.mask.brush import CODE_NAMES, Spans, known_code
from omnimouse_model.live.mask.presets import (
    DEFAULT_PRESET,
    PRESETS,
    mask_for,
    preset_named,
)
from omnimouse_model.live.mask.stimulus_edits import WhatIfEdits
from omnimouse_model.live.mask.undo import History, Question
from omnimouse_model.live.models.downloads import Models
from omnimouse_model.live.models.finetune import Finetuning
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.neurons.dilate import Reaching
from omnimouse_model.live.neurons.neuron_info import Facts
from omnimouse_model.live.neurons.neuron_order import Similarity
from omnimouse_model.live.neurons.planes import Planes
from omnimouse_model.live.neurons.repeats import Clips
from omnimouse_model.live.pin import Pin
from omnimouse_model.live.project.exports import Exports
from omnimouse_model.live.project.project import Analyses
from omnimouse_model.live.project.script import script_of
from omnimouse_model.live.recording.clock_check import AlignmentCheck
from omnimouse_model.live.recording.first_view import View, first_view, put_on_screen
from omnimouse_model.live.recording.folder_index import Recordings
from omnimouse_model.live.recording.loader import Opener, Opening
from omnimouse_model.live.recording.trials import TrialSteps
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import (
    MAX_SELECTED,
    ColourBy,
    Device,
    LiveState,
    RasterOrder,
    RasterView,
)
from omnimouse_model.live.sweep.sweeps import Sweeps
from omnimouse_model.masks import BehaviorMode, Mask, Neurons, Samples
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.predict.registry import load_in_process, must_be_fetched
from omnimouse_model.predict.worker.client import load_in_worker
from omnimouse_model.predict.worker.mask_delta import is_same


class Controller:
    """Owns the live state, the results, the engine and the undo stack.

    Parameters
    ----------
    engine
        Answers `LiveRequest`s with `Stage`s; one with a worker process by default.
    state
        A state to go on with.
    post
        Hands a function to the thread that draws.
    load
        Makes a predictor from its name on a device, on the engine's thread.
    synchronous
        Answer inside the verbs, in this process: for scripts and tests.
    memory
        File in which all that is on screen survives a restart, and a crash; the
        user's `live.json` when True, none by default.

    Attributes
    ----------
    baseline
        Results of the predictor shown beside the chosen one, if any.
    opener, recordings, alignment, facts, similarity
        Open recordings, look through folders of them, check the clocks of the open
        one, tell what is known of a neuron, and put alike neurons beside each other,
        all off the thread that draws.
    clips, trials
        Repeats of the clip on screen; steps from trial to trial.
    colouring
        What colours the neurons: its choices, values and scale.
    planes
        Which imaging planes are looked at, and whether in space.
    reaching
        Grows and shrinks what is painted, by a distance.
    pins
        Conditions kept for comparison, and predictions over longer spans.
    sweeps
        Context sweeps over many windows, in the background, and those kept.
    finetuning
        The chosen model learns the recording on screen, in the background.
    models
        What is fetched from the hub when it is chosen.
    what_if
        Edits of video and behaviour, predicted beside the answer; never scored.
    analyses, exports
        Save and open what is on screen, and write tables and arrays of it.
    history_changed
        Emitted when what `undo` and `redo` would do may have changed.
    stepped
        Emitted after a step with its name and "done", "undone" or "redone"; a stroke
        is one step, when it ends.
    brush_chosen
        Emitted when somebody has chosen what to paint, the same as before or not.
    """

    history_changed = Signal()
    stepped = Signal(str, str)
    brush_chosen = Signal()

    def __init__(
        self,
        engine: Engine | None = None,
        state: LiveState | None = None,
        *,
        post: Post = call_at_once,
        load: Load | None = None,
        synchronous: bool = False,
        memory: Path | bool = False,
    ) -> None:
        self.state = state or LiveState()
        self.results = Results()
        load = load or (load_in_process if synchronous else load_in_worker)
        self._fetches = load in (load_in_process, load_in_worker)  # others see to it
        self.models = Models(self.choose_predictor, post, synchronous=synchronous)
        self._engine = engine or Engine(Answering(load), post, synchronous=synchronous)
        self.opener = Opener(
            self.open_session, lambda: self._last_preset, post, synchronous=synchronous
        )
        self.recordings = Recordings(post, synchronous=synchronous)
        self.alignment = AlignmentCheck(self.state, post, synchronous=synchronous)
        self.facts = Facts(self.state, post, synchronous=synchronous)
        self.similarity = Similarity(self.state, post, synchronous=synchronous)
        self.colouring = Colouring(
            self.state, self.results, self.facts, post, synchronous=synchronous
        )
        self.clips = Clips(self.state, self.seek, post, synchronous=synchronous)
        self.trials = TrialSteps(self.state, self.seek)
        self.planes = Planes(self.state)
        self.reaching = Reaching(
            self.state, self.paint_cells, self.stroke, self.planes.among
        )
        self.what_if = WhatIfEdits(self.state, self.results, self._edit)
        self._lock = threading.RLock()
        asking = Asking(
            self._engine,
            self.state,
            self.results,
            self._lock,
            on_spec=self._follow_spec,
        )
        self._asking = asking
        self.sweeps = Sweeps(asking, load, post, synchronous=synchronous)
        self.finetuning = Finetuning(
            asking, self.choose_predictor, post, synchronous=synchronous
        )

        def another(answering: Answering) -> Engine:
            return Engine(answering, post, synchronous=synchronous)

        self._beside = Beside(self.state, self.results, another, load, self._lock)
        self.baseline = self._beside.results
        self._history = History()
        self._sweep_viewers: set[object] = set()
        self._spans = Spans(self.state.spec.n_samples)
        self._mapped: tuple[Mask, Mask] | None = None
        self._last_preset = self.state.preset or DEFAULT_PRESET
        self._memory = Memory(memory)
        self.pins = Pins(self._engine, asking, self._lock, self, self._note_unpinned)
        self.exports = Exports(self.state, self.results, post, synchronous=synchronous)
        self.analyses = Analyses(
            self,
            self._memory,
            lambda: (self._predictor_name, self._last_preset),
            self._lock,
            post,
            synchronous=synchronous,
        )

    # -- session and predictor ------------------------------------------------------
    def open_session(self, recording: str | Path | Session | View) -> None:
        """Open a recording, at a held-out window, with the preset last chosen.

        Reads it on this thread; `opener.open` reads elsewhere first. Where a listener
        fails, what was open is open again, and its fault is raised.
        """
        view = recording
        if not isinstance(view, View):
            view = first_view(view, self._last_preset)
        with self._lock:
            self.analyses.leave()
            self._asking.give_up()
            try:
                put_on_screen(self.state, view)
            except Exception:
                self._ask()
                raise
            self.alignment.forget()
            self._history.clear()
            self.history_changed.emit()
            self._ask()
        self.analyses.shown(view.back)
        self.opener.forget_fault()

    def choose_series(self, name: str) -> None:
        """Read the open session's other responses, off this thread; see `Session`."""
        start_s = None if self.state.window is None else self.state.window.start_s
        self.opener.open_as(self._session, start_s, series=name)

    def choose_predictor(self, predictor: str | Path | Predictor) -> None:
        """Choose by name, file or folder, or hand one in; loads off this thread.

        What the hub has and this machine has not is fetched first: see `models`.
        """
        if isinstance(predictor, Path):
            predictor = str(predictor)
        name = predictor if isinstance(predictor, str) else name_of(predictor)
        if predictor is name and self.must_fetch(name):
            return self.models.fetch(name)
        self.models.forget()
        with self._lock:
            self._asking.choose(predictor)
            self.state.predictor_name = name
            self._asking.ask()

    def must_fetch(self, name: str) -> bool:
        """Whether the hub has a model of this name, and this machine has not."""
        return self._fetches and must_be_fetched(name)

    def want_predictor(self, name: str) -> None:
        """Name a model that must be fetched: offered in `models`; nobody is asked."""
        with self._lock:
            self._asking.choose(None)
            self.state.predictor_name = name
            self.models.offer(name)

    def choose_baseline(self, name: str) -> None:
        """Show a predictor's answers, by name or file, beside the chosen one's.

        Its answers are `baseline`; it is asked when the predictor has answered. ""
        shows none any more.
        """
        with self._lock:
            self.state.baseline_name = name
            self._beside.choose(name)

    def choose_device(self, device: Device) -> None:
        """Choose where a predictor chosen by name computes; it is loaded again."""
        with self._lock:
            if device != self.state.device:
                self._asking.choose(self._asking.predictor)
                self.state.device = device
                self._asking.ask()

    @property
    def remembered(self) -> Remembered:
        """Where the user was when this was used last, as far as it is kept."""
        return self._memory.recall()

    def restore(self, instead: Opening | None = None) -> bool:
        """Go back to where the user was, off this thread; False when that is not known.

        A predictor that was chosen before stays. `instead` is opened where the
        recording cannot be read.
        """
        if (preset := self.remembered.preset) in {p.name for p in PRESETS}:
            self._last_preset = preset
        return self.analyses.restore(instead)

    # -- time -------------------------------------------------------------------------
    def seek(self, start_s: float) -> None:
        """Move the window to a time on the session clock; it snaps to the grid."""
        with self._lock:
            window = self.state.window
            moved = self._session.window(start_s, self.state.spec)
            if window is not None and moved.key == window.key:
                return
            self._asking.step_s = step_between(window, moved)
            self._asking.forget()
            self.state.window = moved
            self._ask()

    def step_window(self, n: int) -> None:
        """Move the window by `n` windows, or by `n` trials; stops at the ends."""
        if self.state.window is not None:
            self.seek(next_start(self.state.window, n))

    def _follow_spec(self, spec: WindowSpec) -> None:
        """Change window and mask to the spec of the chosen predictor.

        The mask is mapped by time. The mask from before comes back with its spec if
        this one was not changed meanwhile. Undo steps belong to one spec.
        """
        before, known = self.state.mask, self._mapped
        if before is None:
            return
        if known is not None and known[1] is before and known[0].spec == spec:
            mask = known[0]
        else:
            mask = before.stretched(spec)
        if self._show_spec(mask):
            self._mapped = (before, mask)

    def _show_spec(self, mask: Mask) -> bool:
        """Show a mask of another spec with the window of its spec; False if refused."""
        state, spec = self.state, mask.spec
        assert state.window is not None
        try:
            window = self._session.window(state.window.start_s, spec)
        except ValueError as error:
            self.results.error = str(error)
            self.results.changed.emit()
            return False
        self._asking.forget()
        self._history.clear()
        self._spans.resize(spec.n_samples)
        # neither a window nor a mask ever stands beside one of another spec
        state.mask = None
        state.edits = ()
        state.cursor = min(state.cursor, spec.n_samples - 1)
        state.window = window
        state.mask = mask
        state.active_span = self._spans.of(state.brush_code)
        self.history_changed.emit()
        self._ask()
        return True

    def set_cursor(self, i: int) -> None:
        """Move the cursor to a sample of the window."""
        self.state.cursor = int(min(max(i, 0), self.state.spec.n_samples - 1))

    def step_cursor(self, n: int) -> None:
        """Move the cursor by `n` samples; crossing an end steps the window."""
        n_samples = self.state.spec.n_samples
        windows, cursor = divmod(self.state.cursor + n, n_samples)
        if windows:
            before = self.state.window
            self.step_window(windows)
            if self.state.window is before:
                cursor = 0 if windows < 0 else n_samples - 1
        self.set_cursor(cursor)

    # -- painting ---------------------------------------------------------------------
    def paint(self, neurons: Neurons, code: int | None = None) -> None:
        """Set the samples of the active span of some neurons.

        `code` is the brush's by default; another code uses the span last set for it.
        """
        code = self.state.brush_code if code is None else code
        self.paint_cells(neurons, self._spans.of(code), code)

    def paint_cells(self, neurons: Neurons, samples: Samples, code: int) -> None:
        """Set the code of some neurons at some samples: a stroke on the raster."""
        name = f"Paint {{n}} neurons {CODE_NAMES[known_code(code)]}"
        with self._lock:
            mask = self._mask
            self._change(mask.paint(neurons, samples, code), name)

    def begin_stroke(self, name: str = "") -> None:
        """Begin one undo entry over many paints; "{n}" is the number of neurons."""
        with self._lock:
            self.end_stroke()
            if self.state.mask is not None:
                self._history.begin(name, self._question)
                self.history_changed.emit()

    def end_stroke(self) -> None:
        """End the stroke: it becomes one undo entry if it changed anything."""
        with self._lock:
            if self._history.in_stroke:
                is_step = self._history.end(self._question)
                self.history_changed.emit()
                if is_step:
                    self.stepped.emit(self.undo_name, "done")

    @property
    def in_stroke(self) -> bool:
        """Whether a stroke is open: views keep still what would move under it."""
        return self._history.in_stroke

    @contextmanager
    def stroke(self, name: str = "") -> Iterator[None]:
        """`with controller.stroke(): …` is one undo entry."""
        self.begin_stroke(name)
        try:
            yield
        finally:
            self.end_stroke()

    def set_brush(self, code: int) -> None:
        """Choose what the brush paints; the active span becomes that code's own."""
        with self._lock:
            self.state.brush_code = known_code(code)
            self.state.active_span = self._spans.of(code)
            self.brush_chosen.emit()

    def set_active_span(self, start: int, stop: int) -> None:
        """Choose the samples a stroke on the field sets, kept for this code."""
        with self._lock:
            span = self._spans.choose(self.state.brush_code, start, stop)
            self.state.active_span = span

    # -- the whole mask ---------------------------------------------------------------
    @property
    def presets(self) -> tuple[tuple[str, str], ...]:
        """(name, label) of every preset; `presets.preset_named` has explanations."""
        return tuple((preset.name, preset.label) for preset in PRESETS)

    def apply_preset(self, name: str) -> None:
        """Replace the mask by a preset's, as one undo entry."""
        preset = preset_named(name)
        with self._lock:
            mask = mask_for(name, self._session, self.state.selection)
            mask = mask.stretched(self.state.spec)
            self._last_preset = preset.name
            self._change(mask, preset.label, preset.name)

    def set_mask(
        self, mask: Mask, name: str = "Change the mask", preset: str = ""
    ) -> None:
        """Replace the mask, as one undo entry; `preset` says which it is, if any."""
        with self._lock:
            if mask.n_neurons != self._session.n_neurons:
                raise ValueError(
                    f"The mask is for {mask.n_neurons} neurons, "
                    f"the session has {self._session.n_neurons}."
                )
            if mask.spec != self.state.spec:
                # Undo steps belong to one spec: there is no step back to another.
                self._show_spec(mask)
            else:
                self._change(mask, name, preset)

    def set_behavior(self, mode: BehaviorMode) -> None:
        """Give behaviour, ask for it, or hide it."""
        with self._lock:
            self._change(self._mask.with_behavior(mode), f"Behaviour {mode}")

    def set_frames(self, frames: np.ndarray | slice | bool) -> None:
        """Choose the visible video frames: all, none, a slice or a bool (n_frames,)."""
        with self._lock:
            mask = self._mask.with_frames(frames)
            count = int(mask.frames.sum())
            every = len(mask.frames)
            word = {0: "hidden", every: "visible"}.get(count, f"{count} frames")
            self._change(mask, f"Video {word}")

    # -- undo -------------------------------------------------------------------------
    def undo(self) -> None:
        """Take back the latest step of the mask, if there is one."""
        with self._lock:
            if self.state.mask is None:
                return
            if (before := self._history.undo(self._question)) is not None:
                self._go_to(before)
                self.stepped.emit(self.redo_name, "undone")

    def redo(self) -> None:
        """Do the step again that was undone last, if there is one."""
        with self._lock:
            if self.state.mask is None:
                return
            if (after := self._history.redo(self._question)) is not None:
                self._go_to(after)
                self.stepped.emit(self.undo_name, "redone")

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return self._history.in_stroke or bool(self._history.undo_name)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to do again."""
        return bool(self._history.redo_name)

    @property
    def undo_name(self) -> str:
        """Name of the step that `undo` takes back, "" when there is none."""
        return self._history.undo_name

    @property
    def redo_name(self) -> str:
        """Name of the step that `redo` does again, "" when there is none."""
        return self._history.redo_name

    # -- looking ----------------------------------------------------------------------
    def select(self, neurons: Sequence[int] | np.ndarray, add: bool = False) -> None:
        """Select neurons, in order; the latest 64 are kept."""
        with self._lock:
            kept = self.state.selection if add else ()
            ordered = dict.fromkeys([*kept, *(int(neuron) for neuron in neurons)])
            selection, n = tuple(ordered)[-MAX_SELECTED:], self._session.n_neurons
            if selection and not 0 <= min(selection) <= max(selection) < n:
                raise ValueError(f"Neurons are 0..{n - 1}, got {selection}.")
            if selection == self.state.selection:
                return
            self.state.selection = selection
            was_there = take_selected(self.results, selection)
            if self.state.sweep_shown or not was_there:
                self._asking.ask()

    def set_colour_by(self, colour_by: ColourBy) -> None:
        """Colour neurons by their state in the mask, or a number of theirs."""
        self.colouring.choose(colour_by)

    def set_raster(self, order: RasterOrder, view: RasterView) -> None:
        """Choose the order of the raster's rows, and what it shows of them."""
        self.state.raster_order, self.state.raster_view = order, view

    def set_traces(self, *, common_scale: bool, as_large: bool) -> None:
        """Choose the scale of the traces, and of predictions beside the recording."""
        self.state.common_scale, self.state.as_large = common_scale, as_large

    def set_brush_radius(self, pixels: float) -> None:
        """Keep the size of the field's brush for the next start."""
        self.state.brush_radius = pixels

    def show_sweep(self, is_shown: bool = True, viewer: object = None) -> None:
        """Ask for the live sweep after every answer from now on, or no more.

        It is shown while any viewer shows it. One that nobody looks at any more stops;
        shown again, it goes on.
        """
        with self._lock:
            viewers = self._sweep_viewers
            (viewers.add if is_shown else viewers.discard)(viewer)
            was_shown, is_shown = self.state.sweep_shown, bool(viewers)
            self.state.sweep_shown = is_shown
            if is_shown and not was_shown:
                self._asking.ask()
            elif (
                was_shown
                and not is_shown
                and self.results.population_freshness == "fresh"
            ):
                self._asking.stop()

    def as_python(self) -> str:
        """A script that asks the same, and prints the score; see `script_of`."""
        file = None if self.analyses.is_changed else self.analyses.path
        return script_of(self.state, self._predictor_name, file, self._memory.folder)

    # -- the engine -------------------------------------------------------------------
    def ask_again(self) -> None:
        """Ask the same question again: after an error, or a cancel."""
        with self._lock:
            self._asking.ask()
            self._beside.follow(again=True)

    def cancel(self) -> None:
        """Stop what runs and drop what waits, of the baseline too."""
        with self._lock:
            self._beside.stop()
            self.pins.stop()
            self._asking.stop()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until everything asked is answered; False when the time is up."""
        return self._engine.wait(timeout_s) and self._beside.wait(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Remember where the user was, and end the engine and its process.

        What has not ended in time ends by itself.
        """
        self.opener.close(timeout_s)  # What it showed later would not be remembered.
        self.analyses.close(timeout_s)
        errands = (self.recordings, self.alignment, self.facts)
        begun = (*errands, self.clips, self.similarity, self.colouring, self.models)
        for errand in (*begun, self.sweeps, self.finetuning, self.exports):
            errand.close(timeout_s)
        self._beside.close(timeout_s)
        self._engine.close(timeout_s)

    # -- within -----------------------------------------------------------------------
    @property
    def _session(self) -> Session:
        if self.state.session is None:
            raise ValueError("No session is open; call open_session(path) first.")
        return self.state.session

    @property
    def _mask(self) -> Mask:
        if self.state.mask is None:
            raise ValueError("No session is open; call open_session(path) first.")
        return self.state.mask

    @property
    def _question(self) -> Question:
        return Question(self._mask, self.state.preset, self.state.edits)

    def _change(self, mask: Mask, name: str, preset: str = "") -> None:
        self._step(name, Question(mask, preset, self.state.edits))

    def _edit(self, edits: tuple[Edit, ...], name: str) -> None:
        with self._lock:
            self._step(name, replace(self._question, edits=edits))

    def _step(self, name: str, after: Question) -> None:
        if self._history.note(name, self._question, after):
            self._go_to(after)
            if not self._history.in_stroke:
                self.stepped.emit(self.undo_name, "done")

    def _note_unpinned(self, pin: Pin) -> None:
        self._history.note_unpinned(f"Unpin {pin.name}", self._question, pin)
        self.history_changed.emit()
        self.stepped.emit(self.undo_name, "done")

    def _go_to(self, question: Question) -> None:
        if (pin := question.unpinned) is not None:
            (self.pins.take_back if question.is_pinned else self.pins.let_go)(pin)
            self.history_changed.emit()
            return
        self.state.edits = question.edits
        if is_edit := is_same(question.mask, self._mask):
            self._asking.ask_what_if()
        else:
            self.state.mask = question.mask
        self.state.preset = question.preset
        self.history_changed.emit()
        if not is_edit:
            self._ask()

    def _ask(self) -> None:
        self._asking.ask()
        self._beside.follow()

    @property
    def _predictor_name(self) -> str:
        """What the predictor can be loaded by, "" for one handed in."""
        predictor = self._asking.predictor
        if predictor is None:  # one that must be fetched first, if any
            return self.state.predictor_name
        return predictor if isinstance(predictor, str) else ""
