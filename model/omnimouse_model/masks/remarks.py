"""What of a mask will not be seen or not be scored, why, and the way out.

Nothing here refuses: a mask that breaks a rule is still answered, without the cells
that the rule leaves out. The faces show the same words.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from omnimouse_model.masks.cells import after_visible, guard_samples
from omnimouse_model.masks.mask import UNGUARDED, Mask, input_cells, scored_cells
from omnimouse_model.masks.token_layout import (
    TOKEN_SAMPLES,
    TokenLayout,
    video_steps,
)

MOST_TRAINED = 4096
"""Neurons that entered the released models at once in training."""

Code = Literal[
    "not-entering",
    "short-run",
    "first-samples",
    "beside-visible",
    "unguarded",
    "outside-span",
    "single-frame",
    "long-order",
    "nothing-asked",
]


@dataclass(frozen=True, slots=True, eq=False)
class Remark:
    """One rule that a mask meets.

    Attributes
    ----------
    code
        Which rule, for programs.
    message
        What happens, the rule, and the way out.
    cells
        bool (n_samples, P): the cells it happens to; none where it concerns the whole
        mask.

    Examples
    --------
    >>> mask = om.Mask.nothing(session).show([0], slice(0, 30)).ask([0])
    >>> remark = om.remarks_on(mask)[0]
    >>> remark.neurons, int(remark.cells.sum())
    (array([0]), 5)
    """

    code: Code
    message: str
    cells: np.ndarray

    @property
    def neurons(self) -> np.ndarray:
        """int64 (n,): the neurons it happens to."""
        return np.flatnonzero(self.cells.any(axis=0))


def remarks_on(mask: Mask) -> tuple[Remark, ...]:
    """Everything that will not be seen or scored as the mask says.

    Each visible cell that no token reads is in one of "not-entering" and "short-run";
    each target cell that is not asked in one of "not-entering", "first-samples" and
    "beside-visible". These are the transformer's rules: naive predictors read every
    visible cell.

    Examples
    --------
    >>> mask = om.Mask.nothing(session).show([0], slice(0, 30)).ask([0])
    >>> [remark.code for remark in om.remarks_on(mask)]
    ['beside-visible']
    """
    found = [*_on_cells(mask), *_on_whole(mask)]
    return tuple(remark for remark in found if remark is not None)


def _on_cells(mask: Mask) -> Iterator[Remark | None]:
    visible, target = mask.visible, mask.target
    layout, guard = mask.token_layout, guard_samples(mask.spec)
    enters = np.ones(mask.n_neurons, bool)
    if layout is not None:
        enters = layout.enters(mask.n_neurons)
        yield from _on_tokens(mask, layout)
    first = target & enters
    first[guard:] = False
    beside = target & enters & after_visible(visible, guard)
    beside[:guard] = False
    if not mask.guarded:
        words = f"are asked beside visible ones. {UNGUARDED} Guard with "
        yield _remark("unguarded", first | beside, words + "with_guard(True).")
    else:
        yield _remark(
            "first-samples",
            first,
            f"are not asked: the first {guard} samples follow what came before "
            "the window. Ask later ones, or switch the guard off: with_guard(False).",
        )
        yield _remark(
            "beside-visible",
            beside,
            f"are not asked: within {guard} samples after a visible one of the "
            "same neuron they can be read off it. Leave a gap, or switch the guard "
            "off: with_guard(False).",
        )
    if layout is not None:
        start, stop = layout.context_span
        outside = input_cells(mask)
        outside[start:stop] = False
        yield _remark(
            "outside-span",
            outside,
            f"lie outside the context span {start}-{stop}: no time-slot latents are "
            "there, only the global ones read them. Widen it: "
            f"with_context_span(0, {mask.n_samples}).",
        )


def _on_tokens(mask: Mask, layout: TokenLayout) -> Iterator[Remark | None]:
    """Remarks on cells that no token of OmniMouse reads."""
    visible, enters = mask.visible, layout.enters(mask.n_neurons)
    yield _remark(
        "not-entering",
        (visible | mask.target) & ~enters,
        "are neither seen nor asked: `order` leaves the neurons out. "
        "Add them with with_order(…).",
    )
    yield _remark(
        "short-run",
        visible & enters & ~input_cells(mask),
        f"are not seen: a model reads {TOKEN_SAMPLES} visible samples in a row, "
        f"not split by a cut{_named_cuts(layout)}. Show longer runs.",
    )


def _on_whole(mask: Mask) -> Iterator[Remark | None]:
    no_cells, layout = np.zeros_like(mask.visible), mask.token_layout
    if layout is not None:
        yield from _on_size(mask, layout, no_cells)
    if not mask.has_behavior_target and not scored_cells(mask).any():
        left_out = " that is not left out" if mask.target.any() else ""
        words = (
            f"Nothing is asked: the mask has no target{left_out}. Mark cells with "
            'ask(…), or ask for behaviour: with_behavior("target").'
        )
        yield Remark("nothing-asked", words, no_cells)


def _on_size(
    mask: Mask, layout: TokenLayout, no_cells: np.ndarray
) -> Iterator[Remark | None]:
    """Remarks on OmniMouse's video steps and number of neurons."""
    shown = mask.frames.reshape(-1, 2).any(axis=1)
    if single := int((shown & ~video_steps(mask.frames)).sum()):
        words = (
            f"{_count(single, 'visible frame')} of the video will not be seen: the "
            "model reads frames in pairs (0, 1), (2, 3), … Show whole pairs."
        )
        yield Remark("single-frame", words, no_cells)
    if len(layout.order) > MOST_TRAINED:
        words = (
            f"{len(layout.order):,} neurons enter; in training at most "
            f"{MOST_TRAINED:,} did at once. Evaluation does the same; for a subset use "
            "with_order(…)."
        )
        yield Remark("long-order", words, no_cells)


def _remark(code: Code, cells: np.ndarray, words: str) -> Remark | None:
    n_cells = int(cells.sum())
    if not n_cells:
        return None
    n_neurons = int(cells.any(axis=0).sum())
    counted = f"{_count(n_cells, 'sample')} of {_count(n_neurons, 'neuron')} {words}"
    return Remark(code, counted, cells)


def _named_cuts(layout: TokenLayout) -> str:
    return f" ({', '.join(map(str, layout.cuts))})" if layout.cuts else ""


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
