"""Undo stack of masks, what-if edits and unpinned conditions, limited to 50 MiB."""

from collections import deque
from dataclasses import dataclass

from omnimouse_model.data.edit_protocol import Edit
from omnimouse_model.live.pin import Pin
from omnimouse_model.masks import Mask
from omnimouse_model.predict.worker.mask_delta import MaskDelta, is_same, mask_delta

BUDGET_BYTES = 50 * 2**20


@dataclass(frozen=True, slots=True)
class UndoState:
    """What the predictor is asked: a mask, its preset ("" if painted) and edits.

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
    presets: tuple[str, str] = ("", "")
    edits: tuple[tuple[Edit, ...], tuple[Edit, ...]] = ((), ())
    unpinned: Pin | None = None

    @property
    def n_bytes(self) -> int:
        """Approximate memory of the step, in bytes."""
        return self.delta.n_bytes + (self.unpinned.n_bytes if self.unpinned else 0)


class UndoStack:
    """Done and undone steps; the oldest are dropped at the memory limit."""

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget = budget_bytes
        self._done: deque[UndoStep] = deque()
        self._undone: list[UndoStep] = []
        self._held = 0

    def push(
        self,
        name: str,
        before: Mask,
        after: Mask,
        presets: tuple[str, str] = ("", ""),
        edits: tuple[tuple[Edit, ...], tuple[Edit, ...]] = ((), ()),
        unpinned: Pin | None = None,
    ) -> bool:
        """Add a step and clear the undone steps; return False if nothing changed."""
        # Differences, not whole masks: a mask of 60 x P cells per stroke would fill
        # the limit soon.
        delta = mask_delta(before, after)
        if delta.is_empty and edits[0] == edits[1] and unpinned is None:
            return False
        # A new change starts a new branch, which cannot redo the steps of the old one.
        self._held -= sum(step.n_bytes for step in self._undone)
        self._undone.clear()
        name = name.replace("{n}", str(delta.n_neurons))
        self._done.append(UndoStep(name, delta, presets, edits, unpinned))
        self._held += self._done[-1].n_bytes
        # The newest step always stays, so that a single large step can be undone.
        while self._held > self._budget and len(self._done) > 1:
            self._held -= self._done.popleft().n_bytes
        return True

    def undo(self, mask: Mask) -> tuple[Mask, UndoStep] | None:
        """Return the mask before the latest step, and the step; None without one."""
        if not self._done:
            return None
        step = self._done.pop()
        self._undone.append(step)
        return step.delta.undo(mask), step

    def redo(self, mask: Mask) -> tuple[Mask, UndoStep] | None:
        """Return the mask after the last undone step, and the step; None if none."""
        if not self._undone:
            return None
        step = self._undone.pop()
        self._done.append(step)
        return step.delta.redo(mask), step

    @property
    def undo_name(self) -> str:
        """Name of the step `undo` takes back, "" when there is none."""
        return self._done[-1].name if self._done else ""

    @property
    def redo_name(self) -> str:
        """Name of the step `redo` does again, "" when there is none."""
        return self._undone[-1].name if self._undone else ""

    @property
    def n_bytes(self) -> int:
        """Approximate memory of all steps, in bytes."""
        return self._held

    def clear(self) -> None:
        """Forget everything: the session changed."""
        self._done.clear()
        self._undone.clear()
        self._held = 0


class UndoHistory:
    """Undo stack of the controller; all changes of a stroke are one step."""

    def __init__(self) -> None:
        self._stack = UndoStack()
        self._stroke: tuple[str, UndoState] | None = None

    @property
    def in_stroke(self) -> bool:
        """Whether a stroke has begun and not ended."""
        return self._stroke is not None

    @property
    def undo_name(self) -> str:
        """Name of the step `undo` takes back, "" when there is none."""
        return self._stack.undo_name

    @property
    def redo_name(self) -> str:
        """Name of the step `redo` does again, "" when there is none."""
        return self._stack.redo_name

    def clear(self) -> None:
        """Forget everything: the session changed."""
        self._stroke = None
        self._stack.clear()

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

    def note_unpinned(self, name: str, now: UndoState, pin: Pin) -> None:
        """Record an unpin as a step; end an open stroke first."""
        self.end(now)
        # The mask does not change in this step; it only restores or removes the pin.
        presets, edits = (now.preset, now.preset), (now.edits, now.edits)
        self._stack.push(name, now.mask, now.mask, presets, edits, pin)

    def undo(self, now: UndoState) -> UndoState | None:
        """Return the question before the latest step; end an open stroke first."""
        self.end(now)
        gone = self._stack.undo(now.mask)
        return None if gone is None else _state(*gone, 0)

    def redo(self, now: UndoState) -> UndoState | None:
        """Return the question after the last undone step; end an open stroke first."""
        self.end(now)
        gone = self._stack.redo(now.mask)
        return None if gone is None else _state(*gone, 1)

    def _push(self, name: str, before: UndoState, after: UndoState) -> bool:
        presets, edits = (before.preset, after.preset), (before.edits, after.edits)
        return self._stack.push(name, before.mask, after.mask, presets, edits)


def _state(mask: Mask, step: UndoStep, side: int) -> UndoState:
    # `side` is 0 before the step (undo) and 1 after it (redo).
    preset, edits = step.presets[side], step.edits[side]
    is_pinned = step.unpinned is not None and side == 0
    return UndoState(mask, preset, edits, step.unpinned, is_pinned)
