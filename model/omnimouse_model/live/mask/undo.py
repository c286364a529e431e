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
            self.delta.undo(mask),
            self.presets[0],
            self.edits[0],
            self.unpinned,
            is_pinned,
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
        self,
        name: str,
        before: UndoState,
        after: UndoState,
        unpinned: Pin | None = None,
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
        presets = (before.preset, after.preset)
        self._done.append(UndoStep(name, delta, presets, edits, unpinned))
        self.n_bytes += self._done[-1].n_bytes
        # The newest step always stays, so that a single large step can be undone.
        while self.n_bytes > self._budget_bytes and len(self._done) > 1:
            self.n_bytes -= self._done.popleft().n_bytes
        return True
