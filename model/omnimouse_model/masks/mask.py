"""The mask: what a predictor sees and what it must predict in one 2-s window.

One code everywhere, per (time, neuron): 0 hidden (withheld, not scored), 1 visible,
2 target (withheld, predicted, scored). Masks are immutable; verbs return new ones.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.clock import N_FRAMES, N_SAMPLES
from omnimouse_model.errors import MaskError
from omnimouse_model.masks import algebra, files
from omnimouse_model.masks.cells import (
    GUARD_SAMPLES,
    HIDDEN,
    MIXED,
    PATTERN_WORDS,
    TARGET,
    TOKEN_STRIDE,
    VISIBLE,
    BehaviorMode,
    HasNeurons,
    Neurons,
    Samples,
    after_visible,
    count_neurons,
    entering,
    fill,
    in_tokens,
    neuron_columns,
    sample_rows,
)

UNGUARDED = (
    "Targets beside visible samples can be read off their neighbours: scores are "
    "then too good."
)


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

    Examples
    --------
    >>> mask = om.Mask.nothing(session).show([0, 1, 2]).ask([3, 4]).with_frames(True)
    >>> mask.visible.sum(axis=0)[:5], mask.target.sum(axis=0)[:5]
    (array([60, 60, 60,  0,  0]), array([ 0,  0,  0, 30, 30]))
    >>> om.Mask.load(mask.save("mask.json")) == mask
    True
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
        cuts = tuple(sorted({int(cut) for cut in self.cuts}))
        if cuts and not 0 <= cuts[0] <= cuts[-1] < N_SAMPLES:
            raise MaskError(f"Mask.cuts must be samples 0..59, found {cuts}.")
        if not 0 <= self.query_phase < TOKEN_STRIDE:
            raise MaskError(f"Mask.query_phase must be 0..4, found {self.query_phase}.")
        object.__setattr__(self, "cells", _frozen(cells.copy()))
        object.__setattr__(self, "frames", _frozen(frames.copy()))
        object.__setattr__(self, "order", _frozen(order.copy()))
        object.__setattr__(self, "cuts", cuts)

    # -- making one -------------------------------------------------------------
    @classmethod
    def nothing(cls, session: "HasNeurons | int | np.integer[Any]") -> "Mask":
        """Nothing seen, nothing asked, for a session or a number of neurons."""
        n = count_neurons(session)
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
        columns = neuron_columns(neurons, self.n_neurons)
        rows = sample_rows(samples)
        fill(cells, rows, columns, code)
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

    def with_order(self, order: Sequence[int] | np.ndarray) -> "Mask":
        """Choose which neurons enter the model, and in which order."""
        return self._by_hand(order=np.asarray(order))

    def with_cuts(self, *cuts: int) -> "Mask":
        """Choose the samples that no response token crosses; none without any."""
        return self._by_hand(cuts=cuts)

    def with_context_span(self, start: int, stop: int) -> "Mask":
        """Choose the samples in which time-slot latents exist."""
        return self._by_hand(context_span=(start, stop))

    def with_guard(self, guarded: bool) -> "Mask":
        """Leave targets beside visible samples out, or ask them, with a warning."""
        if not guarded:
            warnings.warn(UNGUARDED, UserWarning, stacklevel=2)
        return self._by_hand(guarded=guarded)

    def _by_hand(self, **changes: object) -> "Mask":
        # mypy: `changes` holds fields of several types
        return replace(self, name="", note="", query_phase=0, **changes)  # type: ignore[arg-type]

    # -- masks out of masks -----------------------------------------------------
    def __or__(self, other: "Mask") -> "Mask":
        """Give what either gives, ask what either asks and neither gives.

        Of two states the higher one stays, hidden < target < visible, in cells,
        frames and behaviour; `&` keeps the lower one. Order, cuts, span and guard are
        the left mask's, as if the right one had been painted onto it.
        """
        joined = self._combined(other, algebra.united)
        return joined._entering(np.flatnonzero(other.cells.any(axis=0)))

    def __and__(self, other: "Mask") -> "Mask":
        """Give what both give; ask what both have and one or both ask."""
        return self._combined(other, algebra.shared)

    def __sub__(self, other: "Mask") -> "Mask":
        """Hide whatever `other` gives or asks."""
        return self._combined(other, algebra.without)

    def invert(self) -> "Mask":
        """Show hidden cells and hide visible ones; targets, video, behaviour stay."""
        shown = np.flatnonzero((self.cells == HIDDEN).any(axis=0))
        changed = self.with_cells(algebra.inverted(self.cells))._reaching_visible()
        return changed._entering(shown)

    def swap(self) -> "Mask":
        """Ask for what was visible and show what was asked; the rest stays."""
        return self.with_cells(algebra.swapped(self.cells))._reaching_visible()

    def with_history(self, n_samples: int) -> "Mask":
        """Keep only each neuron's last `n_samples` visible ones before the targets.

        "Before" is before the mask's first target sample, or the end of the window
        where no response is asked. Only hides; what is visible later stays.

        Examples
        --------
        >>> mask = om.Mask.nothing(session).show([0], slice(0, 30)).ask([0])
        >>> np.flatnonzero(mask.with_history(10).visible[:, 0]).tolist()
        [20, 21, 22, 23, 24, 25, 26, 27, 28, 29]
        """
        return self.with_cells(algebra.recent(self.cells, n_samples))

    def with_gap(self, n_samples: int) -> "Mask":
        """Leave `n_samples` without anything visible before the first target.

        Only hides. `with_gap(10).with_history(15)` is 15 samples that end 10 before.

        Examples
        --------
        >>> mask = om.Mask.nothing(session).show([0], slice(0, 30)).ask([0])
        >>> np.flatnonzero(mask.with_gap(20).visible[:, 0]).tolist()
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
        """
        return self.with_cells(algebra.apart(self.cells, n_samples))

    def _combined(self, other: "Mask", rule: algebra.Rule) -> "Mask":
        if other.n_neurons != self.n_neurons:
            raise MaskError(
                f"Masks for {self.n_neurons} and {other.n_neurons} neurons cannot be "
                "combined: make both for the same session."
            )
        behavior = rule(*map(algebra.behavior_code, (self.behavior, other.behavior)))
        changed = self.with_cells(rule(self.cells, other.cells))
        return changed._by_hand(
            frames=rule(self.frames.view(np.uint8), other.frames.view(np.uint8)),
            behavior=algebra.behavior_mode(behavior),
        )._reaching_visible()

    def _reaching_visible(self) -> "Mask":
        shown = np.flatnonzero(self.visible.any(axis=1))
        return self._reaching(int(shown[0]), int(shown[-1]) + 1) if len(shown) else self

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
        return _states(self.cells[slice(*span)])

    def pattern_of(self, neuron: int, span: tuple[int, int]) -> str:
        """One of `PATTERN_WORDS`: a neuron's state in a span of samples."""
        only = self.cells[slice(*span), [neuron]]
        return PATTERN_WORDS[int(_patterns(only)[0])]

    def patterns_in(self, span: tuple[int, int]) -> np.ndarray:
        """uint8 (P,): each neuron's place in `PATTERN_WORDS` in a span of samples."""
        return _patterns(self.cells[slice(*span)])

    # -- as text ----------------------------------------------------------------
    def to_dict(self) -> dict[str, Any]:
        """Everything a mask holds as plain JSON values; see `files`."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        return files.facts_from(values)

    @classmethod
    def from_dict(cls, facts: object) -> "Mask":
        """Read `to_dict`'s values back.

        Raises
        ------
        MaskError
            Names the field, what was found and what was expected.
        """
        return cls(**files.fields_from(facts))

    def save(self, path: str | Path) -> Path:
        """Write the mask as JSON text, atomically."""
        return files.write_facts(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> "Mask":
        """Read a saved mask; raises as `from_dict` does, with the path."""
        with files.naming(path):
            return cls.from_dict(files.read_facts(path))


def seen_cells(mask: Mask) -> np.ndarray:
    """Visible cells that reach the predictor, bool (60, P): not in too short runs."""
    seen = in_tokens(mask.visible, mask.cuts)
    seen &= entering(mask.order, mask.n_neurons)
    return seen


def asked_cells(mask: Mask) -> np.ndarray:
    """Target cells that are predicted and scored, bool (60, P)."""
    asked = mask.target
    asked &= entering(mask.order, mask.n_neurons)
    if mask.guarded:
        asked[:GUARD_SAMPLES] = False
        asked &= ~after_visible(mask.visible)
    return asked


def _states(part: np.ndarray) -> np.ndarray:
    """Code of each neuron in a part (n, P) of the cells, `MIXED` where it changes."""
    if not len(part):
        return np.zeros(part.shape[1], np.uint8)
    low, high = part.min(axis=0), part.max(axis=0)
    return np.where(low == high, low, MIXED).astype(np.uint8)


def _patterns(part: np.ndarray) -> np.ndarray:
    """Place of each neuron in `PATTERN_WORDS`."""
    states, n = _states(part), np.uint8(MIXED)
    if not len(part):
        return states
    ends = np.where(states == MIXED, part[0] * n + part[-1], np.uint8(0))
    return np.asarray(states * (n * n) + ends)
