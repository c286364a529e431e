"""One undo stack over everything a mask holds, within 50 MB, an entry per stroke."""

from collections import deque
from dataclasses import dataclass

from omnimouse_model.data.edit_protocol import Edit
from omnimouse_model.live.pin import Pin
from omnimouse_model.masks import Mask
from omnimouse_model.predict.worker.mask_delta import MaskDelta, is_same, mask_delta

BUDGET_BYTES = 50 * 2**20


@dataclass(frozen=True, slots=True)
class Question:
    """A mask, the preset it is ("" for one made by hand), and what-if edits.

    After a step back or forth also the pin that the step let go, and whether it is
    to be there now.
    """

    mask: Mask
    preset: str = ""
    edits: tuple[Edit, ...] = ()
    unpinned: Pin | None = None
    is_pinned: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A named change of the mask; preset's name and edits before and after it."""

    name: str
    delta: MaskDelta
    presets: tuple[str, str] = ("", "")
    edits: tuple[tuple[Edit, ...], tuple[Edit, ...]] = ((), ())
    unpinned: Pin | None = None

    @property
    def n_bytes(self) -> int:
        """Memory held, near enough."""
        return self.delta.n_bytes + (self.unpinned.n_bytes if self.unpinned else 0)


class UndoStack:
    """Steps that were done and steps that were undone; the oldest are forgotten."""

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget = budget_bytes
        self._done: deque[Step] = deque()
        self._undone: list[Step] = []
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
        """Add a step; False when nothing changed. Forgets what was undone."""
        delta = mask_delta(before, after)
        if delta.is_empty and edits[0] == edits[1] and unpinned is None:
            return False
        self._held -= sum(step.n_bytes for step in self._undone)
        self._undone.clear()
        name = name.replace("{n}", str(delta.n_neurons))
        self._done.append(Step(name, delta, presets, edits, unpinned))
        self._held += self._done[-1].n_bytes
        while self._held > self._budget and len(self._done) > 1:
            self._held -= self._done.popleft().n_bytes
        return True

    def undo(self, mask: Mask) -> tuple[Mask, Step] | None:
        """The mask before the latest step, None when there is no step."""
        if not self._done:
            return None
        step = self._done.pop()
        self._undone.append(step)
        return step.delta.undo(mask), step

    def redo(self, mask: Mask) -> tuple[Mask, Step] | None:
        """The mask after the step that was undone last, None when there is none."""
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
        """Memory held by all steps."""
        return self._held

    def clear(self) -> None:
        """Forget everything: the session changed."""
        self._done.clear()
        self._undone.clear()
        self._held = 0


class History:
    """The undo stack as the controller uses it: strokes are many changes in one."""

    def __init__(self) -> None:
        self._stack = UndoStack()
        self._stroke: tuple[str, Question] | None = None

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

    def begin(self, name: str, before: Question) -> None:
        """Begin a stroke."""
        self._stroke = (name, before)

    def end(self, after: Question) -> bool:
        """End the stroke, if there is one; whether it changed anything: then a step."""
        if self._stroke is None:
            return False
        (name, before), self._stroke = self._stroke, None
        return self._push(name, before, after)

    def note(self, name: str, before: Question, after: Question) -> bool:
        """Note a change, within a stroke or as a step; False when nothing changed."""
        if self._stroke is None:
            return self._push(name, before, after)
        if not self._stroke[0]:
            self._stroke = (name, self._stroke[1])
        return before.edits != after.edits or not is_same(before.mask, after.mask)

    def note_unpinned(self, name: str, now: Question, pin: Pin) -> None:
        """Note that a pin was let go, as a step; a stroke ends first."""
        self.end(now)
        presets, edits = (now.preset, now.preset), (now.edits, now.edits)
        self._stack.push(name, now.mask, now.mask, presets, edits, pin)

    def undo(self, now: Question) -> Question | None:
        """The question before the latest step; a stroke ends first."""
        self.end(now)
        gone = self._stack.undo(now.mask)
        return None if gone is None else _question(*gone, 0)

    def redo(self, now: Question) -> Question | None:
        """The question after the step undone last; a stroke ends first."""
        self.end(now)
        gone = self._stack.redo(now.mask)
        return None if gone is None else _question(*gone, 1)

    def _push(self, name: str, before: Question, after: Question) -> bool:
        presets, edits = (before.preset, after.preset), (before.edits, after.edits)
        return self._stack.push(name, before.mask, after.mask, presets, edits)


def _question(mask: Mask, step: Step, side: int) -> Question:
    preset, edits = step.presets[side], step.edits[side]
    is_pinned = step.unpinned is not None and side == 0
    return Question(mask, preset, edits, step.unpinned, is_pinned)
