"""The mask: what a predictor sees and what it must predict in one 2-s window.

One code everywhere, per (time, neuron): 0 hidden (withheld, not scored), 1 visible,
2 target (withheld, predicted, scored). Masks are immutable; verbs return new ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Literal, Protocol

import numpy as np

from omnimouse_model.errors import MaskError

HIDDEN, VISIBLE, TARGET = 0, 1, 2
N_SAMPLES = 60
N_FRAMES = 60
BehaviorMode = Literal["visible", "target", "hidden"]
Neurons = Sequence[int] | np.ndarray | slice
Samples = slice | tuple[int, int] | Sequence[int] | np.ndarray


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
    name: str = ""
    note: str = ""
    _id: list[str] = field(default_factory=list, repr=False, compare=False)

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
    def nothing(cls, session: HasNeurons | int) -> "Mask":
        """Nothing seen, nothing asked, for a session or a number of neurons."""
        n = session if isinstance(session, int) else session.n_neurons
        return cls(
            cells=np.zeros((N_SAMPLES, n), np.uint8),
            frames=np.zeros(N_FRAMES, bool),
            behavior="hidden",
            order=np.arange(n),
        )

    # -- verbs ------------------------------------------------------------------
    def paint(self, neurons: Neurons, samples: Samples, code: int) -> "Mask":
        """Set the code of some neurons at some samples."""
        cells = self.cells.copy()
        rows, columns = _sample_rows(samples), _neuron_columns(neurons, self.n_neurons)
        cells[np.ix_(rows, columns)] = code
        return self._by_hand(cells=cells)

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
        return replace(self, name="", note="", _id=[], **changes)  # type: ignore[arg-type]

    # -- reading ----------------------------------------------------------------
    @property
    def n_neurons(self) -> int:
        """Neurons of the session, P."""
        return int(self.cells.shape[1])

    @property
    def visible(self) -> np.ndarray:
        """bool (60, P): the predictor may see it."""
        return self.cells == VISIBLE

    @property
    def target(self) -> np.ndarray:
        """bool (60, P): the predictor must predict it, and is scored."""
        return self.cells == TARGET

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


def _sample_rows(samples: Samples) -> np.ndarray:
    if isinstance(samples, slice):
        return np.arange(N_SAMPLES)[samples]
    if isinstance(samples, tuple) and len(samples) == 2:
        return np.arange(samples[0], samples[1])
    return np.asarray(samples, dtype=np.int64)


def _neuron_columns(neurons: Neurons, count: int) -> np.ndarray:
    if isinstance(neurons, slice):
        return np.arange(count)[neurons]
    columns = np.asarray(neurons)
    if columns.dtype == bool:
        return np.flatnonzero(columns)
    return columns.astype(np.int64)
