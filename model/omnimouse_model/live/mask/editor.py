"""Mask editor: strokes, presets and stimulus edits on screen, with undo.

A change is committed with a name: it becomes an undo step, or a part of the open stroke,
and is requested from the predictors. Without a session, strokes and undo do nothing; the
other methods raise `ValueError`. One lock protects state, results and history together.

The file is long because all changes of the mask go through one `commit`.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from psygnal import Signal

from omnimouse_model.analysis.counterfactual import edits_for
from omnimouse_model.data.window_spec import Edit, WindowSpec
from omnimouse_model.errors import MaskError
from omnimouse_model.inference.families import family_of_name
from omnimouse_model.inference.mask_delta import MaskDelta, is_same, mask_delta
from omnimouse_model.live.inference.client import Requests
from omnimouse_model.live.mask import presets
from omnimouse_model.live.pin import Pin
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE, BehaviorMode, Mask, Neurons, Samples
from omnimouse_model.predict.family import Preset as FamilyPreset

CODE_NAMES: Final = {HIDDEN: "hidden", VISIBLE: "visible", TARGET: "target"}
BUDGET_BYTES = 50 * 2**20
"""Largest memory of the undo steps."""


@dataclass(frozen=True, slots=True)
class UndoState:
    """State that undo steps change: a mask, its preset ("" if painted) and edits.

    After an undo or redo of an unpin step, `unpinned` is the pin of that step and
    `is_pinned` whether it must be pinned now.
    """

    mask: Mask
    preset: str = ""
    edits: tuple[Edit, ...] = ()
    unpinned: Pin | None = None
    is_pinned: bool = False


@dataclass(frozen=True, slots=True)
class UndoStep:
    """A named undo step: difference of masks, and (before, after) presets and edits."""

    name: str
    delta: MaskDelta
    presets: tuple[str, str]
    edits: tuple[tuple[Edit, ...], tuple[Edit, ...]]
    unpinned: Pin | None = None

    @property
    def n_bytes(self) -> int:
        """Approximate memory of the step, in bytes."""
        return self.delta.n_bytes + (self.unpinned.n_bytes if self.unpinned else 0)

    def undo(self, mask: Mask) -> UndoState:
        """Return the state before the step, from the mask after it."""
        is_pinned = self.unpinned is not None
        return UndoState(
            self.delta.undo(mask), self.presets[0], self.edits[0], self.unpinned, is_pinned
        )

    def redo(self, mask: Mask) -> UndoState:
        """Return the state after the step, from the mask before it."""
        mask = self.delta.redo(mask)
        return UndoState(mask, self.presets[1], self.edits[1], self.unpinned)


class UndoHistory:
    """Done and undone steps; all changes of a stroke are one step.

    The oldest steps are dropped at the memory limit.
    """

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget_bytes = budget_bytes
        self._done: deque[UndoStep] = deque()
        self._undone: list[UndoStep] = []
        self._stroke: tuple[str, UndoState] | None = None
        self.n_bytes = 0
        """Approximate memory of all steps."""

    @property
    def in_stroke(self) -> bool:
        """Whether a stroke has begun and not ended."""
        return self._stroke is not None

    @property
    def undo_name(self) -> str:
        """Name of the step that `undo` reverts, "" if there is none."""
        return self._done[-1].name if self._done else ""

    @property
    def redo_name(self) -> str:
        """Name of the step that `redo` repeats, "" if there is none."""
        return self._undone[-1].name if self._undone else ""

    def clear(self) -> None:
        """Remove all steps, because they belong to another session or spec."""
        self._stroke = None
        self._done.clear()
        self._undone.clear()
        self.n_bytes = 0

    def begin(self, name: str, before: UndoState) -> None:
        """Begin a stroke."""
        self._stroke = (name, before)

    def end(self, after: UndoState) -> bool:
        """End the stroke, if there is one; return whether it became a step."""
        if self._stroke is None:
            return False
        # One difference from the start to the end of the stroke, whatever happened in
        # between.
        (name, before), self._stroke = self._stroke, None
        return self._push(name, before, after)

    def note(self, name: str, before: UndoState, after: UndoState) -> bool:
        """Record a change in the stroke or as a step; return whether it changed."""
        if self._stroke is None:
            return self._push(name, before, after)
        # A stroke that began without a name takes the name of its first change.
        if not self._stroke[0]:
            self._stroke = (name, self._stroke[1])
        return before.edits != after.edits or not is_same(before.mask, after.mask)

    def note_unpinned(self, name: str, current: UndoState, pin: Pin) -> None:
        """Record an unpin as a step; end an open stroke first."""
        self.end(current)
        # The mask does not change in this step; it only restores or removes the pin.
        self._push(name, current, current, pin)

    def undo(self, current: UndoState) -> UndoState | None:
        """Return the state before the latest step; end an open stroke first."""
        self.end(current)
        if not self._done:
            return None
        self._undone.append(self._done.pop())
        return self._undone[-1].undo(current.mask)

    def redo(self, current: UndoState) -> UndoState | None:
        """Return the state after the last undone step; end an open stroke first."""
        self.end(current)
        if not self._undone:
            return None
        self._done.append(self._undone.pop())
        return self._done[-1].redo(current.mask)

    def _push(
        self, name: str, before: UndoState, after: UndoState, unpinned: Pin | None = None
    ) -> bool:
        """Add a step and clear the undone steps; return False if nothing changed."""
        # Differences, not full masks: a mask of n_samples x P cells per stroke would
        # fill the limit soon.
        delta = mask_delta(before.mask, after.mask)
        edits = (before.edits, after.edits)
        if delta.is_empty and edits[0] == edits[1] and unpinned is None:
            return False
        # A new change starts a new branch, which cannot redo the steps of the old one.
        self.n_bytes -= sum(step.n_bytes for step in self._undone)
        self._undone.clear()
        n = delta.n_neurons
        name = name.replace("{n} neurons", "1 neuron" if n == 1 else f"{n:,} neurons")
        # The preset's name is shown beside the mask and comes back with it.
        shown = (before.preset, after.preset)
        self._done.append(UndoStep(name, delta, shown, edits, unpinned))
        self.n_bytes += self._done[-1].n_bytes
        # The newest step always stays, so that a single large step can be undone.
        while self.n_bytes > self._budget_bytes and len(self._done) > 1:
            self.n_bytes -= self._done.popleft().n_bytes
        return True


class ActiveSpans:
    """Active span of each code, as the user last chose it."""

    def __init__(self, n_samples: int) -> None:
        self._n_samples = n_samples
        self._spans = {
            HIDDEN: (0, n_samples),
            VISIBLE: (0, n_samples),
            TARGET: (n_samples // 2, n_samples),
        }

    def resize(self, n_samples: int) -> None:
        """Scale the spans to a window with another number of samples."""
        for code, (start, stop) in self._spans.items():
            first = start * n_samples // self._n_samples
            # At least one sample, also of a span that is shorter than a sample of the
            # new spec.
            last = max(first + 1, stop * n_samples // self._n_samples)
            self._spans[code] = (first, last)
        self._n_samples = n_samples

    def span_of(self, code: int) -> tuple[int, int]:
        """Return the samples (start, stop) that a stroke with this code paints."""
        return self._spans[checked_code(code)]

    def choose(self, code: int, start: int, stop: int) -> tuple[int, int]:
        """Set the span of a code; `ValueError` if it is not inside the window."""
        if not 0 <= start < stop <= self._n_samples:
            raise ValueError(
                f"The active span {start}-{stop} is not in 0-{self._n_samples}; give start < stop."
            )
        self._spans[checked_code(code)] = (int(start), int(stop))
        return self._spans[code]


def checked_code(code: int) -> int:
    """Return `code`, or raise `ValueError` if it is not a mask code."""
    if code not in CODE_NAMES:
        raise ValueError(f"A code is 0 hidden, 1 visible or 2 target, not {code!r}.")
    return code


class MaskEditor:
    """Changes of the mask and of the stimulus edits, with their undo steps.

    Attributes
    ----------
    next_preset
        Preset that the user chose last: a recording that cannot have it takes another
        one, the next recording takes it again.
    on_unpin
        Called with a pin whose removal is undone (True) or redone (False).
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
        self, state: LiveState, results: Results, requests: Requests, lock: threading.RLock
    ) -> None:
        self.next_preset = state.preset or presets.DEFAULT_PRESET
        self._own_presets: tuple[tuple[str, str], dict[str, FamilyPreset]] = (("", ""), {})
        self.on_unpin: Callable[[Pin, bool], None] = lambda pin, is_pinned: None
        self._state, self._results = state, results
        self._requests, self._lock = requests, lock
        requests.client.on_spec = self.follow_spec
        self._history = UndoHistory()
        self._spans = ActiveSpans(state.spec.n_samples)
        # Task before and after a change of spec: going back and forth between two
        # predictors must not lose cells that the coarser spec cannot represent.
        self._last_stretch: tuple[UndoState, UndoState] | None = None

    @property
    def task(self) -> UndoState:
        """The mask on screen, its preset and the edits; `ValueError` without a session."""
        state = self._state
        return UndoState(state.open_mask, state.preset, state.edits)

    def commit(self, after: UndoState, name: str) -> None:
        """Show a task as one undo step, or as a part of the open stroke; request it.

        A change that changes nothing sends no request and is no undo step.
        """
        with self._lock:
            if self._history.note(name, self.task, after):
                self._show(after)
                if not self._history.in_stroke:
                    self.stepped.emit(self.undo_name, "done")

    def _show(self, after: UndoState) -> None:
        """Show a task of the window on screen, and request it."""
        state, requests = self._state, self._requests
        # Edits before the mask: a listener of the mask reads both.
        state.edits = after.edits
        # If only the edits differ, the prediction without edits stays valid and only
        # the what-if is requested.
        if is_edit := is_same(after.mask, state.open_mask):
            requests.client.send_what_if()
        else:
            state.first_ranks = {}  # of another task
            state.mask = after.mask
        state.preset = after.preset
        self.history_changed.emit()
        if not is_edit:
            requests.send()

    # -- strokes ----------------------------------------------------------------------
    def paint(self, neurons: Neurons, code: int | None = None) -> None:
        """Set the code of some neurons at the samples of the active span.

        `code` is the brush's code by default. Each code has its own active span.
        """
        # The modifier keys of the field paint with another code than the brush's.
        code = self._state.brush_code if code is None else code
        self.paint_cells(neurons, self._spans.span_of(code), code)

    def paint_cells(self, neurons: Neurons, samples: Samples, code: int) -> None:
        """Set the code of some neurons at some samples, as painted on the raster."""
        name = f"Paint {{n}} neurons {CODE_NAMES[checked_code(code)]}"
        with self._lock:
            mask = self._state.open_mask.paint(neurons, samples, code)
            self.commit(UndoState(mask, "", self._state.edits), name)

    def begin_stroke(self, name: str = "") -> None:
        """Begin a stroke: all changes until `end_stroke` are one undo entry.

        "{n}" in `name` is replaced by the number of changed neurons.
        """
        with self._lock:
            # A stroke whose end was lost, for example when a window lost the mouse,
            # becomes a step.
            self.end_stroke()
            if self._state.mask is not None:
                self._history.begin(name, self.task)
                self.history_changed.emit()

    def end_stroke(self) -> None:
        """End the stroke; it becomes one undo entry if it changed anything."""
        with self._lock:
            if self._history.in_stroke:
                is_step = self._history.end(self.task)
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
            self._state.brush_code = checked_code(code)
            self._state.active_span = self._spans.span_of(code)
            self.brush_chosen.emit()

    def set_active_span(self, start: int, stop: int) -> None:
        """Set the samples that a stroke on the field paints with the current code."""
        with self._lock:
            # Stored per code: targets are usually painted in a part of the window,
            # visible cells in all of it.
            span = self._spans.choose(self._state.brush_code, start, stop)
            self._state.active_span = span

    # -- the whole mask ---------------------------------------------------------------
    @property
    def presets(self) -> tuple[tuple[str, str], ...]:
        """The (name, label) of the presets that session and model can have.

        The one on screen is among them. See `presets.preset_named`.
        """
        shown = presets.name_and_region(self._state.preset)[0]
        offered = presets.presets_of(self._state.session, self._results.needs)
        listed = [one for one in presets.PRESETS if one in offered or one.name == shown]
        session = self._state.session
        if session is None:
            return tuple((preset.name, preset.label) for preset in listed)
        common = ((preset.name, presets.label_in(preset, session.n_neurons)) for preset in listed)
        return (*common, *((name, own.name) for name, own in self._family_presets().items()))

    def _family_presets(self) -> dict[str, FamilyPreset]:
        """Return the presets of the chosen model's family, by family and name."""
        session, model = self._state.session, self._state.predictor_name
        if session is None:
            return {}
        # Views ask after each change of anything: a family is asked once per session.
        key = session.fingerprint, model
        if self._own_presets[0] != key:
            family = family_of_name(model)
            own = () if family is None else family.presets(session)
            self._own_presets = key, {f"{family.name}:{one.name}": one for one in own if family}
        return self._own_presets[1]

    @property
    def preset_problems(self) -> dict[str, str]:
        """Presets that the open session cannot use: the reason for each name."""
        session = self._state.session
        if session is None:
            return {}
        own = self._family_presets()
        problems = {
            name: presets.lack(name, session) for name, _ in self.presets if name not in own
        }
        problems |= {name: one.reason for name, one in own.items() if one.mask is None}
        return {name: problem for name, problem in problems.items() if problem}

    def apply_preset(self, name: str) -> None:
        """Replace the mask by a preset's mask, as one undo entry.

        Raises
        ------
        MaskError
            The session lacks a stream or a region that the preset needs.
        """
        with self._lock:
            session, selection = self._state.open_session, self._state.selection
            if (own := self._family_presets().get(name)) is not None:
                if own.mask is None:
                    raise MaskError(f"Preset {own.name!r} is not possible: {own.reason}")
                self.set_mask(own.mask, own.name)
                return
            if problem := presets.lack(name, session):
                raise MaskError(f"Preset {name!r} is not possible: {problem}")
            preset = presets.preset_named(presets.regional_name(name, session, selection))
            # Presets are made for OmniMouse's spec and mapped by time.
            mask = presets.mask_for(preset.name, session, selection).stretched(self._state.spec)
            self.next_preset = preset.name
            self.commit(UndoState(mask, preset.name, self._state.edits), preset.label)

    def set_mask(self, mask: Mask, name: str = "Change the mask", preset: str = "") -> None:
        """Replace the mask as one undo entry; `preset` names its preset, else it is found.

        Raises
        ------
        MaskError
            It is no mask, or has another number of neurons than the session.
        """
        if not isinstance(mask, Mask):
            raise MaskError(
                f"mask is a Mask, such as Mask.from_strategy(NAME, session); found {mask!r:.80}."
            )
        with self._lock:
            session = self._state.open_session
            if mask.n_neurons != session.n_neurons:
                raise MaskError(
                    f"The mask is for {mask.n_neurons} neurons, "
                    f"the recording has {session.n_neurons}."
                )
            preset = preset or presets.preset_of(mask, session)
            if mask.spec != self._state.spec:
                # Undo steps belong to one spec: there is no step back to another.
                self._show_spec(mask, preset)
            else:
                self.commit(UndoState(mask, preset, self._state.edits), name)

    def set_behavior(self, mode: BehaviorMode) -> None:
        """Set behaviour to visible, target or hidden."""
        self.set_mask(self._state.open_mask.with_behavior(mode), f"Behaviour {mode}")

    def set_frames(self, frames: np.ndarray | slice | bool) -> None:
        """Choose the visible video frames: all, none, a slice or a bool (n_frames,)."""
        mask = self._state.open_mask.with_frames(frames)
        count = int(mask.frames.sum())
        content = {0: "hidden", len(mask.frames): "visible"}.get(count, f"{count} frames")
        self.set_mask(mask, f"Video {content}")

    # -- another recording or spec ----------------------------------------------------
    def start_again(self) -> None:
        """Forget the undo steps of the recording before; fit the spans to the window."""
        # The recording before may have been shown in windows of another spec.
        self._spans.resize(self._state.spec.n_samples)
        self._state.active_span = self._spans.span_of(self._state.brush_code)
        self._history.clear()
        self.history_changed.emit()

    def follow_spec(self, spec: WindowSpec) -> None:
        """Change window and mask to the spec of the chosen predictor.

        The mask is stretched to the new window. The mask before the last change of spec
        comes back if its spec does and the stretched one was not changed meanwhile.
        Undo steps belong to one spec.
        """
        if self._state.mask is None:
            return
        current = self.task
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
        if preset and not presets.is_possible(preset, mask):
            preset = presets.fallback_for(spec)
            made = presets.mask_for(preset, self._state.open_session, self._state.selection)
            mask = made.stretched(spec)
        return UndoState(mask, preset, ())

    def _show_spec(self, mask: Mask, preset: str) -> bool:
        """Show a mask of another spec with the window of its spec; False if refused."""
        state, spec = self._state, mask.spec
        assert state.window is not None
        old_spec = state.window.spec
        try:
            window = state.open_session.nearest_window(state.window.start_s, spec)
        except ValueError as error:
            self._results.error = str(error)
            self._results.changed.emit()
            return False
        self._results.clear()
        # In this order a listener never sees a window and a mask of different specs.
        state.mask = None
        edits = edits_for(state.edits, old_spec, spec)
        state.edits = ()
        state.cursor = min(state.cursor, spec.n_samples - 1)
        state.window = window
        state.mask = mask
        state.edits = edits
        state.preset = preset
        self.start_again()
        self._requests.send()
        return True

    # -- undo -------------------------------------------------------------------------
    def undo(self) -> None:
        """Undo the latest step, if there is one."""
        with self._lock:
            if self._state.mask is None:
                return
            if (before := self._history.undo(self.task)) is not None:
                self._go_to(before)
                self.stepped.emit(self.redo_name, "undone")

    def redo(self) -> None:
        """Redo the last undone step, if there is one."""
        with self._lock:
            if self._state.mask is None:
                return
            if (after := self._history.redo(self.task)) is not None:
                self._go_to(after)
                self.stepped.emit(self.undo_name, "redone")

    def _go_to(self, state: UndoState) -> None:
        if state.unpinned is None:
            self._show(state)
        else:
            self.on_unpin(state.unpinned, state.is_pinned)
            self.history_changed.emit()

    def note_unpinned(self, pin: Pin) -> None:
        """Record the removal of a pin as an undo step."""
        self._history.note_unpinned(f"Unpin {pin.name}", self.task, pin)
        self.history_changed.emit()
        self.stepped.emit(self.undo_name, "done")

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
