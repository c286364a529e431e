"""The mask: what a predictor sees and what it must predict in one 2-s window.

One code everywhere, per (time, neuron): 0 hidden (withheld, not scored), 1 visible,
2 target (withheld, predicted, scored). Masks are immutable; verbs return new ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from importlib import import_module
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from omnimouse_model.errors import MaskError

HIDDEN, VISIBLE, TARGET = 0, 1, 2
N_SAMPLES = 60
N_FRAMES = 60
BehaviorMode = Literal["visible", "target", "hidden"]
Neurons = int | Sequence[int] | np.ndarray | slice
Samples = slice | tuple[int, int] | Sequence[int] | np.ndarray


@runtime_checkable
class HasNeurons(Protocol):
    """Anything with a population: a session."""

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        ...


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """What is seen and what is asked in a window of 60 samples.

    Attributes
    ----------
    cells
        uint8 (60, P): 0 hidden, 1 visible, 2 target, neurons in stored order.
    frames
        bool (60,): visible video frames.
    behavior
        Whether behaviour is given ("visible"), asked ("target") or neither.
    order
        int64 (N,): which neurons enter the model, and in which order.
    cuts
        Samples that no response token crosses.
    context_span
        (start, stop) samples in which time-slot latents exist.
    query_phase
        Offset (0-4) of the 5-sample query grid; 0 for every official strategy.
    guarded
        Whether target cells in the first 5 samples, and in the 5 samples after a
        visible run of the same neuron, are left out: responses are upsampled, and
        would be read off their neighbours there. Strategies keep the rule by
        themselves.
    name
        The strategy this mask came from, "" for one made by hand.
    note
        How a strategy was adapted to a small population, "" if it was not.
    """

    cells: np.ndarray
    frames: np.ndarray
    behavior: BehaviorMode
    order: np.ndarray
    cuts: tuple[int, ...] = ()
    context_span: tuple[int, int] = (0, N_SAMPLES)
    query_phase: int = 0
    guarded: bool = True
    name: str = ""
    note: str = ""
    _id: list[str] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        cells = np.asarray(self.cells, dtype=np.uint8)
        if cells.ndim != 2 or cells.shape[0] != N_SAMPLES:
            raise MaskError(f"Mask.cells must be (60, P), found {cells.shape}.")
        if cells.size and cells.max() > TARGET:
            raise MaskError(
                f"Mask.cells must hold 0, 1 or 2, found {int(cells.max())}."
            )
        frames = np.asarray(self.frames, dtype=bool)
        if frames.shape != (N_FRAMES,):
            raise MaskError(f"Mask.frames must be (60,), found {frames.shape}.")
        if self.behavior not in ("visible", "target", "hidden"):
            raise MaskError(
                "Mask.behavior must be 'visible', 'target' or 'hidden', "
                f"found {self.behavior!r}."
            )
        order = np.asarray(self.order, dtype=np.int64)
        if order.ndim != 1 or len(np.unique(order)) != len(order):
            raise MaskError("Mask.order must list each neuron at most once.")
        if len(order) and (order.min() < 0 or order.max() >= cells.shape[1]):
            raise MaskError(
                f"Mask.order names neurons outside 0..{cells.shape[1] - 1}."
            )
        start, stop = self.context_span
        if not 0 <= start <= stop <= N_SAMPLES:
            raise MaskError(f"Mask.context_span {self.context_span} is not in 0..60.")
        object.__setattr__(self, "cells", _frozen(cells.copy()))
        object.__setattr__(self, "frames", _frozen(frames.copy()))
        object.__setattr__(self, "order", _frozen(order.copy()))
        object.__setattr__(self, "cuts", tuple(sorted({int(c) for c in self.cuts})))

    # -- making one -------------------------------------------------------------
    @classmethod
    def nothing(cls, session: "HasNeurons | int | np.integer[Any]") -> "Mask":
        """Nothing seen, nothing asked, for a session or a number of neurons."""
        n = _count(session)
        return cls(
            cells=np.zeros((N_SAMPLES, n), np.uint8),
            frames=np.zeros(N_FRAMES, bool),
            behavior="hidden",
            order=np.arange(n),
        )

    @classmethod
    def from_strategy(
        cls, name: str, session: HasNeurons | int, seed: int | None = None
    ) -> "Mask":
        """Realise a named strategy; see `strategies.mask_from_strategy`."""
        strategies = import_module("omnimouse_model.strategies")
        mask: Mask = strategies.mask_from_strategy(name, session, seed)
        return mask

    # -- verbs ------------------------------------------------------------------
    def paint(self, neurons: Neurons, samples: Samples, code: int) -> "Mask":
        """Set the code of some neurons at some samples."""
        if code not in (HIDDEN, VISIBLE, TARGET):
            raise MaskError(f"A cell's code is 0, 1 or 2, found {code!r}.")
        cells = self.cells.copy()
        columns = _neuron_columns(neurons, self.n_neurons)
        rows = _sample_rows(samples)
        _fill(cells, rows, columns, code)
        changed = self.with_cells(cells)
        if code == VISIBLE and len(rows):
            changed = changed._reaching(int(rows.min()), int(rows.max()) + 1)
        if code != HIDDEN and len(self.order) < self.n_neurons:
            changed = changed._entering(columns)
        return changed

    def with_cells(self, cells: np.ndarray) -> "Mask":
        """Replace all codes; takes the array over (uint8 (60, P) of 0, 1, 2) unchecked.

        A brush calls this for every mouse move, so nothing is copied or checked.
        """
        changed: Mask = object.__new__(Mask)
        for name in ("frames", "behavior", "order", "cuts"):
            object.__setattr__(changed, name, getattr(self, name))
        object.__setattr__(changed, "context_span", self.context_span)
        # a mask made by hand asks on the plain grid
        object.__setattr__(changed, "query_phase", 0)
        object.__setattr__(changed, "guarded", self.guarded)
        object.__setattr__(changed, "cells", _frozen(cells))
        object.__setattr__(changed, "name", "")
        object.__setattr__(changed, "note", "")
        object.__setattr__(changed, "_id", [])
        return changed

    def _reaching(self, start: int, stop: int) -> "Mask":
        """Have latents for visible samples: a hand-made span of context is 0-60."""
        if self.context_span[0] <= start and stop <= self.context_span[1]:
            return self
        return self._by_hand(context_span=(0, N_SAMPLES))

    def _entering(self, neurons: np.ndarray) -> "Mask":
        """Let neurons that were left out of `order` enter the model, last."""
        missing = np.setdiff1d(neurons, self.order)
        if not len(missing):
            return self
        return self._by_hand(order=np.concatenate([self.order, missing]))

    def show(self, neurons: Neurons, samples: Samples = slice(None)) -> "Mask":
        """Make cells visible to the predictor."""
        return self.paint(neurons, samples, VISIBLE)

    def ask(self, neurons: Neurons, samples: Samples = slice(30, 60)) -> "Mask":
        """Withhold cells, and ask the predictor for them."""
        return self.paint(neurons, samples, TARGET)

    def hide(self, neurons: Neurons, samples: Samples = slice(None)) -> "Mask":
        """Withhold cells without asking for them."""
        return self.paint(neurons, samples, HIDDEN)

    def with_frames(self, frames: np.ndarray | slice | bool) -> "Mask":
        """Choose the visible video frames: all, none, a slice or a bool (60,)."""
        if isinstance(frames, np.ndarray):
            chosen = frames.astype(bool)
        else:
            chosen = np.zeros(N_FRAMES, bool)
            chosen[slice(None) if frames is True else frames] = frames is not False
        return self._by_hand(frames=chosen)

    def with_behavior(self, behavior: BehaviorMode | bool) -> "Mask":
        """Give, ask for or hide behaviour; True is "visible", False "hidden"."""
        if isinstance(behavior, bool):
            behavior = "visible" if behavior else "hidden"
        return self._by_hand(behavior=behavior)

    def _by_hand(self, **changes: object) -> "Mask":
        # mypy: `changes` holds fields of several types
        return replace(self, name="", note="", query_phase=0, **changes)  # type: ignore[arg-type]

    # -- reading ----------------------------------------------------------------
    @property
    def n_neurons(self) -> int:
        """Neurons of the session, P."""
        return int(self.cells.shape[1])

    @property
    def visible(self) -> np.ndarray:
        """bool (60, P): the predictor may see it."""
        return np.asarray(self.cells == VISIBLE)

    @property
    def target(self) -> np.ndarray:
        """bool (60, P): the predictor must predict it, and is scored."""
        return np.asarray(self.cells == TARGET)

    @property
    def mask_id(self) -> str:
        """A hash of everything that decides the tokens, queries and outputs."""
        if not self._id:
            digest = blake2b(digest_size=12)
            for part in (self.cells, self.frames, self.order):
                digest.update(np.ascontiguousarray(part).tobytes())
            digest.update(
                repr(
                    (self.behavior, self.cuts, self.context_span, self.query_phase)
                ).encode()
                # a rule that removes nothing is the same mask
                + np.packbits(asked_cells(self)).tobytes()
            )
            self._id.append(digest.hexdigest())
        return self._id[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and self.mask_id == other.mask_id

    def __hash__(self) -> int:
        return hash(self.mask_id)

    def state_in(self, span: tuple[int, int]) -> np.ndarray:
        """uint8 (P,): each neuron's code in a span of samples, 3 where mixed."""
        part = self.cells[slice(*span)]
        if not len(part):
            return np.zeros(self.n_neurons, np.uint8)
        low, high = part.min(axis=0), part.max(axis=0)
        return np.where(low == high, low, MIXED).astype(np.uint8)


MIXED = 3
TOKEN_SAMPLES, TOKEN_STRIDE = 10, 5
GUARD_SAMPLES = 5


def run_starts(visible: np.ndarray, cuts: tuple[int, ...]) -> np.ndarray:
    """First sample of the visible run that each cell is in; -1 where not visible.

    Runs are per neuron, maximal, and split at cuts. int16 (60, N).
    """
    starts = np.full(visible.shape, -1, np.int16)
    current = np.full(visible.shape[1], -1, np.int16)
    for sample, row in enumerate(visible):
        if sample in cuts:
            current = np.full_like(current, -1)
        current = np.where(row, np.where(current < 0, sample, current), -1).astype(
            np.int16
        )
        starts[sample] = current
    return starts


def token_starts(visible: np.ndarray, cuts: tuple[int, ...]) -> np.ndarray:
    """Where response tokens begin: bool (51, N).

    A run of at least 10 samples becomes tokens from its start with stride 5, and one
    more aligned to its end where the stride does not reach it. Shorter runs give none.
    """
    starts = run_starts(visible, cuts)
    n_places = len(visible) - TOKEN_SAMPLES + 1
    first, last = starts[:n_places], starts[TOKEN_SAMPLES - 1 :]
    fits = (first >= 0) & (first == last)
    on_stride = (np.arange(n_places)[:, None] - first) % TOKEN_STRIDE == 0
    after = np.full_like(first, -1)
    after[:-1] = starts[TOKEN_SAMPLES:]
    ends_run = after != first
    return np.asarray(fits & (on_stride | ends_run))


def seen_cells(mask: Mask) -> np.ndarray:
    """Visible cells that reach the predictor, bool (60, P): not in too short runs."""
    visible = mask.visible
    starts = token_starts(visible, mask.cuts)
    covered = np.zeros_like(visible)
    for offset in range(TOKEN_SAMPLES):
        covered[offset : offset + len(starts)] |= starts
    entering = np.zeros(mask.n_neurons, bool)
    entering[mask.order] = True
    return covered & entering


def asked_cells(mask: Mask) -> np.ndarray:
    """Target cells that are predicted and scored, bool (60, P)."""
    asked = mask.target
    entering = np.zeros(mask.n_neurons, bool)
    entering[mask.order] = True
    asked &= entering
    if mask.guarded:
        visible = mask.visible
        asked[:GUARD_SAMPLES] = False
        for lag in range(1, GUARD_SAMPLES + 1):
            asked[lag:] &= ~visible[:-lag]
    return asked


def _fill(cells: np.ndarray, rows: np.ndarray, columns: np.ndarray, code: int) -> None:
    """Set a block of cells; a boolean sweep beats an index list for many neurons."""
    if len(columns) < 256:
        cells[np.ix_(rows, columns)] = code
        return
    chosen = np.zeros(cells.shape[1], bool)
    chosen[columns] = True
    for row in rows:
        np.copyto(cells[row], np.uint8(code), where=chosen)


def _count(session: "HasNeurons | int | np.integer[Any]") -> int:
    """Neurons of a session, or the number itself."""
    # mypy: getattr keeps the union that its default removes
    return int(getattr(session, "n_neurons", session))  # type: ignore[arg-type]


def _sample_rows(samples: Samples) -> np.ndarray:
    if isinstance(samples, slice):
        return np.arange(N_SAMPLES)[samples]
    if isinstance(samples, tuple) and len(samples) == 2:
        return _indices(np.arange(samples[0], samples[1]), N_SAMPLES, "samples")
    return _indices(samples, N_SAMPLES, "samples")


def _neuron_columns(neurons: Neurons, count: int) -> np.ndarray:
    if isinstance(neurons, slice):
        return np.arange(count)[neurons]
    return _indices(neurons, count, "neurons")


def _indices(wanted: object, count: int, what: str) -> np.ndarray:
    """Indices from numbers, one number or a bool array; nothing wraps around."""
    indices = np.atleast_1d(np.asarray(wanted))
    if indices.dtype == bool:
        if indices.shape != (count,):
            raise MaskError(
                f"A bool choice of {what} needs {count} values, found {indices.shape}."
            )
        return np.flatnonzero(indices)
    indices = indices.astype(np.int64)
    if len(indices) and not 0 <= indices.min() <= indices.max() < count:
        raise MaskError(
            f"There are {what} 0..{count - 1}; found {indices.min()}..{indices.max()}."
        )
    return indices
