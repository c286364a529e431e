"""The part of a mask that only OmniMouse's tokeniser reads, and the token rules.

OmniMouse reads a neuron in tokens of 10 samples that begin every 5 samples, and
predicts on a grid of 5 samples. Other model families do not use this module.
"""

from dataclasses import dataclass, replace

import numpy as np

from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.errors import MaskError
from omnimouse_model.masks.cells import distinct_columns

TOKEN_SAMPLES, TOKEN_STRIDE = 10, 5
QUERY_SAMPLES = 5
"""Samples that one query predicts."""
FULL_POPULATION = 4096
"""Maximum number of neurons per window in the training of the released models."""
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

    order: np.ndarray
    cuts: tuple[int, ...] = ()
    context_span: tuple[int, int] = (0, _STOP)
    query_phase: int = 0

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

    def check(self, n_neurons: int) -> None:
        """Raise `MaskError` if the order names a neuron that the mask does not have."""
        order = self.order
        if len(order) and (order.min() < 0 or order.max() >= n_neurons):
            raise MaskError(f"Mask.order names neurons outside 0..{n_neurons - 1}.")

    def by_hand(self) -> "TokenLayout":
        """Return this layout with the plain query grid, for a mask made by hand."""
        return replace(self, query_phase=0) if self.query_phase else self

    def with_context_span(self, start: int, stop: int) -> "TokenLayout":
        """Return a layout with latents in a span; a larger one is the whole window."""
        if self.context_span[0] <= start and stop <= self.context_span[1]:
            return self
        return replace(self, context_span=(0, _STOP))

    def with_neurons(self, neurons: np.ndarray) -> "TokenLayout":
        """Return a layout in which these neurons enter the model, new ones last."""
        missing = np.setdiff1d(neurons, self.order)
        if not len(missing):
            return self
        return replace(self, order=np.concatenate([self.order, missing]))

    def is_in_order(self, n_neurons: int) -> np.ndarray:
        """Return whether each neuron is in `order` (the model reads it), bool (P,)."""
        is_used = np.zeros(n_neurons, bool)
        is_used[self.order] = True
        return is_used

    def in_tokens(self, visible: np.ndarray) -> np.ndarray:
        """Return the visible cells that a token reads, bool (60, P).

        Runs of fewer than 10 visible samples fill no token.
        """
        starts = token_starts(visible, self.cuts)
        covered = np.zeros_like(visible)
        # A loop over the 10 samples of a token, not over tokens: the whole population
        # is covered in 10 array operations.
        for offset in range(TOKEN_SAMPLES):
            covered[offset : offset + len(starts)] |= starts
        covered &= self.is_in_order(visible.shape[1])
        return covered

    @property
    def values(self) -> tuple[tuple[int, ...], tuple[int, int], int]:
        """Cuts, context span and query phase."""
        return self.cuts, self.context_span, self.query_phase

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TokenLayout)
            and self.values == other.values
            and np.array_equal(self.order, other.order)
        )

    def __hash__(self) -> int:
        return hash((self.values, self.order.tobytes()))


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
    starts = run_starts(columns, cuts)
    n_places = len(columns) - TOKEN_SAMPLES + 1
    # A token fits if its first and its last sample are in the same run.
    first, last = starts[:n_places], starts[TOKEN_SAMPLES - 1 :]
    fits = (first >= 0) & (first == last)
    on_stride = (np.arange(n_places)[:, None] - first) % TOKEN_STRIDE == 0
    # Run of the sample after the token; -1 after the end of the window.
    after = np.full_like(first, -1)
    after[:-1] = starts[TOKEN_SAMPLES:]
    return np.asarray(fits & (on_stride | (after != first)))[:, number]


def video_steps(frames: np.ndarray) -> np.ndarray:
    """Return which steps of two frames enter the model, bool (30,).

    Both frames must be visible. A single span follows the official formula,
    floor(start / 2) to floor(stop / 2), which differs where it starts at an odd frame.
    """
    first, second = frames.reshape(-1, 2).T
    n_spans = int(frames[0]) + int(np.count_nonzero(frames[1:] & ~frames[:-1]))
    # A span that starts at the second frame of a step still includes this step.
    return np.asarray(second if n_spans == 1 else first & second)
