"""OmniMouse's attachment of masks, the layout of tokens, and the token rules.

OmniMouse reads a neuron in tokens of 10 samples that begin every 5 samples, and
predicts on a grid of 5 samples. Other model families do not use this module.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.display import count
from omnimouse_model.errors import MaskError
from omnimouse_model.masks.attachment import Remark, register_attachment
from omnimouse_model.masks.cells import VISIBLE, distinct_columns
from omnimouse_model.masks.files import ranges, ranges_text
from omnimouse_model.masks.mask import Mask, input_cells
from omnimouse_model.masks.strategies import (
    FULL_POPULATION,
    QUERY_SAMPLES,
    TOKEN_SAMPLES,
    TOKEN_STRIDE,
)
from omnimouse_model.storage.trees import decode, refused_as

NAME = "omnimouse"
_STOP = OMNIMOUSE.n_samples


@dataclass(frozen=True, slots=True, eq=False)
class TokenLayout:
    """Order of the neurons, cuts, context span and query phase of one mask.

    Parameters
    ----------
    order
        int64 (N,): the neurons that enter the model, in their order.
    cuts
        Samples that no response token crosses.
    context_span
        (start, stop) samples in which time-slot latents exist.
    query_phase
        Offset (0-4) of the 5-sample query grid; 0 for every official strategy.

    Raises
    ------
    MaskError
        A neuron is listed twice, or a number is outside the window.
    """

    name: ClassVar[str] = NAME
    order: np.ndarray
    cuts: tuple[int, ...] = ()
    context_span: tuple[int, int] = (0, _STOP)
    query_phase: int = 0
    # Computed at first use: each stroke asks.
    _in_order: list[np.ndarray] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        order = np.array(self.order, dtype=np.int64)
        if order.ndim != 1 or not _is_distinct(order):
            raise MaskError("Mask.order must list each neuron at most once.")
        start, stop = self.context_span
        if not 0 <= start <= stop <= _STOP:
            raise MaskError(f"Mask.context_span {self.context_span} is not in 0..{_STOP}.")
        # Sorted and without repeats, so that equal layouts compare and hash as equal.
        cuts = tuple(sorted({int(cut) for cut in self.cuts}))
        if cuts and not 0 <= cuts[0] <= cuts[-1] < _STOP:
            raise MaskError(f"Mask.cuts must be samples 0..{_STOP - 1}, found {cuts}.")
        if not 0 <= self.query_phase < QUERY_SAMPLES:
            raise MaskError(f"Mask.query_phase must be 0..4, found {self.query_phase}.")
        order.flags.writeable = False
        object.__setattr__(self, "order", order)
        object.__setattr__(self, "cuts", cuts)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, the order as text."""
        return {
            "order": _order_text(self.order.tobytes()),
            "cuts": [int(cut) for cut in self.cuts],
            "context_span": [int(sample) for sample in self.context_span],
            "query_phase": int(self.query_phase),
        }

    def after_edit(self, cells: np.ndarray) -> "TokenLayout":
        """Return a layout with latents at all visible samples, which all neurons enter.

        A context span that is too short becomes the whole window; new neurons are last,
        and the query grid is the plain one of masks made by hand.
        """
        changes: dict[str, Any] = {"query_phase": 0} if self.query_phase else {}
        # Most masks have the whole window and all neurons: no search at each stroke.
        if (start_stop := self.context_span) != (0, _STOP):
            rows = np.flatnonzero((cells == VISIBLE).any(axis=1))
            if len(rows) and not start_stop[0] <= rows[0] <= rows[-1] < start_stop[1]:
                changes["context_span"] = 0, _STOP
        if len(self.order) < cells.shape[1]:
            missing = np.setdiff1d(np.flatnonzero(cells.any(axis=0)), self.order)
            if len(missing):
                changes["order"] = np.concatenate([self.order, missing])
        return replace(self, **changes) if changes else self

    def is_in_order(self, n_neurons: int) -> np.ndarray:
        """Return whether each neuron is in `order` (the model reads it), read-only bool (P,)."""
        for known in self._in_order:
            if len(known) == n_neurons:
                return known
        order = self.order
        if len(order) and (order.min() < 0 or order.max() >= n_neurons):
            raise MaskError(f"Mask.order names neurons outside 0..{n_neurons - 1}.")
        is_used = np.zeros(n_neurons, bool)
        is_used[order] = True
        is_used.flags.writeable = False
        self._in_order[:] = [is_used]
        return is_used

    def predicted_cells(self, target: np.ndarray) -> np.ndarray:
        """Return the targets of neurons that enter the model, bool (60, P)."""
        in_order = self.is_in_order(target.shape[1])
        return target if in_order.all() else np.asarray(target & in_order)

    def read_cells(self, visible: np.ndarray) -> np.ndarray:
        """Return the visible cells that a token reads, bool (60, P).

        Runs of fewer than 10 visible samples fill no token.
        """
        # After a stroke, only the cells of a few neurons are asked for.
        shown = np.flatnonzero(visible.any(axis=0))
        columns, number = distinct_columns(visible[:, shown])
        starts = _starts_of(columns, self.cuts)
        covered = np.zeros_like(columns)
        # A loop over the 10 samples of a token, not over tokens.
        for offset in range(TOKEN_SAMPLES):
            covered[offset : offset + len(starts)] |= starts
        covered = np.take(covered, number, axis=1)
        if len(shown) == visible.shape[1]:
            read = covered
        else:
            read = np.zeros_like(visible)
            read[:, shown] = covered
        read &= self.is_in_order(visible.shape[1])
        return read

    def remarks(self, mask: Mask) -> Iterator[Remark]:
        """Yield remarks on cells and frames that no token reads, and on the sizes."""
        visible, in_order = mask.visible, self.is_in_order(mask.n_neurons)
        read = input_cells(mask)
        yield from Remark.on_cells(
            "not-entering",
            (visible | mask.target) & ~in_order,
            "are neither read nor scored: `order` leaves the neurons out. Add them with "
            "with_attachment(order=…).",
        )
        cuts = f" ({', '.join(map(str, self.cuts))})" if self.cuts else ""
        yield from Remark.on_cells(
            "short-run",
            visible & in_order & ~read,
            f"are not read: a model reads {TOKEN_SAMPLES} visible samples in a row, "
            f"not split by a cut{cuts}. Show longer runs.",
        )
        start, stop = self.context_span
        # Cells that no token reads have a remark already.
        outside = read.copy()
        outside[start:stop] = False
        yield from Remark.on_cells(
            "outside-span",
            outside,
            f"lie outside the context span {start}-{stop}: it has no time-slot latents "
            "there, and only the global latents read them. Widen it: "
            f"with_attachment(context_span=(0, {mask.n_samples})).",
        )
        no_cells = np.zeros_like(visible)
        # A step that is not read has at most one visible frame, so steps are counted.
        has_frame = mask.frames.reshape(-1, 2).any(axis=1)
        if single := int((has_frame & ~video_steps(mask.frames)).sum()):
            message = (
                f"{count(single, 'visible frame')} of the video will not be read: the "
                "model reads frames in pairs (0, 1), (2, 3), … Show both frames of a pair."
            )
            yield Remark("single-frame", message, no_cells)
        if len(self.order) > FULL_POPULATION:
            message = (
                f"{len(self.order):,} neurons enter; in training at most "
                f"{FULL_POPULATION:,} entered at once. The official evaluation also lets "
                "all enter; for a subset use with_attachment(order=…)."
            )
            yield Remark("long-order", message, no_cells)

    @property
    def _values(self) -> tuple[object, ...]:
        return self.cuts, self.context_span, self.query_phase, self.order.tobytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TokenLayout) and self._values == other._values

    def __hash__(self) -> int:
        return hash(self._values)


def layout_of(mask: Mask) -> TokenLayout:
    """Return the layout of a mask; the plain one where another family's is attached."""
    if isinstance(mask.attachment, TokenLayout):
        return mask.attachment
    return TokenLayout(np.arange(mask.n_neurons))


@dataclass(frozen=True)
class _StoredLayout:
    """The fields of a layout as JSON values; without order, all neurons enter."""

    order: str | None = None
    cuts: tuple[int, ...] = ()
    context_span: tuple[int, int] = (0, _STOP)
    query_phase: int = 0


def layout_from_json(values: Mapping[str, Any], spec: WindowSpec, n_neurons: int) -> TokenLayout:
    """Return the layout of JSON values; raise `MaskError` for others."""
    with refused_as(MaskError):
        stored = decode(_StoredLayout, values, "A stored mask", "attachment")
    if spec != OMNIMOUSE:
        raise MaskError("The attachment 'omnimouse' is for windows of OmniMouse only.")
    text = stored.order
    order = np.arange(n_neurons) if text is None else ranges(text, n_neurons, "order")
    return TokenLayout(order, stored.cuts, stored.context_span, stored.query_phase)


# A mask's identity contains the text: the same one for all strokes on one mask.
@lru_cache(maxsize=4)
def _order_text(order: bytes) -> str:
    return ranges_text(np.frombuffer(order, np.int64))


register_attachment(NAME, layout_from_json, OMNIMOUSE)


def _is_distinct(order: np.ndarray) -> bool:
    # Most orders ascend, and this is known in a hundredth of the time.
    return bool((order[1:] > order[:-1]).all()) or len(np.unique(order)) == len(order)


# -- rules of tokens ------------------------------------------------------------------
def run_starts(visible: np.ndarray, cuts: tuple[int, ...]) -> np.ndarray:
    """Return the first sample of the run that each cell is in, int16 (60, N).

    Runs are maximal sequences of visible samples of one neuron, split at cuts; -1
    where a cell is not visible.
    """
    starts = np.full(visible.shape, -1, np.int16)
    current = np.full(visible.shape[1], -1, np.int16)
    for sample, row in enumerate(visible):
        if sample in cuts:
            current[:] = -1
        current = np.where(row, np.where(current < 0, sample, current), -1)
        starts[sample] = current
    return starts


def token_starts(visible: np.ndarray, cuts: tuple[int, ...]) -> np.ndarray:
    """Return where response tokens begin, bool (51, N).

    A run of at least 10 samples becomes tokens from its start with stride 5, and one
    more aligned to its end where the stride does not reach it. Shorter runs give none.
    """
    # The rules are applied to each distinct column once: strategies have two or three
    # for thousands of neurons.
    columns, number = distinct_columns(visible)
    return np.take(_starts_of(columns, cuts), number, axis=1)


def _starts_of(columns: np.ndarray, cuts: tuple[int, ...]) -> np.ndarray:
    starts = run_starts(columns, cuts)
    n_places = len(columns) - TOKEN_SAMPLES + 1
    # A token fits if its first and its last sample are in the same run.
    first, last = starts[:n_places], starts[TOKEN_SAMPLES - 1 :]
    fits = (first >= 0) & (first == last)
    on_stride = (np.arange(n_places)[:, None] - first) % TOKEN_STRIDE == 0
    # Run of the sample after the token; -1 after the end of the window.
    after = np.full_like(first, -1)
    after[:-1] = starts[TOKEN_SAMPLES:]
    return np.asarray(fits & (on_stride | (after != first)))


def video_steps(frames: np.ndarray) -> np.ndarray:
    """Return which steps of two frames enter the model, bool (30,).

    Both frames must be visible. A single span follows the official formula,
    floor(start / 2) to floor(stop / 2), which differs where it starts at an odd frame.
    """
    first, second = frames.reshape(-1, 2).T
    n_spans = int(frames[0]) + int(np.count_nonzero(frames[1:] & ~frames[:-1]))
    # A span that starts at the second frame of a step still includes this step.
    return np.asarray(second if n_spans == 1 else first & second)
