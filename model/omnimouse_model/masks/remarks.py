"""Remarks on cells of a mask that are not read or not scored: which, why, what to do.

A remark is no refusal: predictors accept a mask that breaks a rule, and leave out the
cells that the rule names. The front ends show the same text.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from omnimouse_model.masks.cells import Guard, near_visible
from omnimouse_model.masks.mask import UNGUARDED, Mask, input_cells, scored_cells
from omnimouse_model.masks.strategies import strategy_names
from omnimouse_model.masks.token_layout import (
    FULL_POPULATION,
    TOKEN_SAMPLES,
    TokenLayout,
    video_steps,
)

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
    """A rule that applies to some cells of a mask.

    Attributes
    ----------
    code
        Name of the rule, for programs.
    message
        The effect, the rule, and how to avoid it.
    cells
        bool (n_samples, P): the cells that it concerns; none if it concerns the whole
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
        """int64 (n,): the neurons that it concerns."""
        return np.flatnonzero(self.cells.any(axis=0))


def remarks_on(mask: Mask) -> tuple[Remark, ...]:
    """Return the remarks on all cells that are not read or scored as the mask says.

    Each visible cell that no token reads is in one of "not-entering" and "short-run";
    each target cell that is not scored is in one of "not-entering", "first-samples"
    and "beside-visible". The rules on tokens are those of OmniMouse: naive predictors
    read every visible cell.

    Examples
    --------
    >>> mask = om.Mask.nothing(session).show([0], slice(0, 30)).ask([0])
    >>> [remark.code for remark in om.remarks_on(mask)]
    ['beside-visible']
    """
    layout = mask.token_layout
    # In the order in which a cell meets the rules: reading, then scoring, then size.
    remarks: list[Remark] = []
    if layout is not None:
        remarks += _on_unread_cells(mask, layout)
    remarks += _on_guarded_cells(mask)
    if layout is not None:
        remarks += [*_on_context(mask, layout), *_on_size(mask, layout)]
    if not mask.has_behavior_target and not scored_cells(mask).any():
        left_out = " that is not left out" if mask.target.any() else ""
        message = (
            f"Nothing is predicted: the mask has no target{left_out}. Mark cells with "
            'ask(…), or make behaviour a target: with_behavior("target").'
        )
        remarks.append(Remark("nothing-asked", message, np.zeros_like(mask.visible)))
    return tuple(remarks)


def _on_unread_cells(mask: Mask, layout: TokenLayout) -> Iterator[Remark]:
    """Yield remarks on cells that no token of OmniMouse reads."""
    visible, in_order = mask.visible, layout.is_in_order(mask.n_neurons)
    yield from _remark(
        "not-entering",
        (visible | mask.target) & ~in_order,
        "are neither read nor scored: `order` leaves the neurons out. Add them with with_order(…).",
    )
    cuts = f" ({', '.join(map(str, layout.cuts))})" if layout.cuts else ""
    yield from _remark(
        "short-run",
        visible & in_order & ~input_cells(mask),
        f"are not read: a model reads {TOKEN_SAMPLES} visible samples in a row, "
        f"not split by a cut{cuts}. Show longer runs.",
    )


def _on_guarded_cells(mask: Mask) -> Iterator[Remark]:
    """Yield remarks on targets that their neighbours reveal."""
    target, guard = mask.target, mask.guard
    if mask.token_layout is not None:
        target &= mask.token_layout.is_in_order(mask.n_neurons)
    # A cell is in one remark only: the first samples are not counted again.
    first, near = target.copy(), target & near_visible(mask.visible, guard)
    first[guard.first :], near[: guard.first] = False, False
    if not mask.guarded:
        yield from _remark(
            "unguarded",
            first | near,
            f"are targets next to visible ones. {UNGUARDED} Leave them out with with_guard(True).",
        )
        return
    yield from _remark(
        "first-samples",
        first,
        f"are not scored: the first {guard.first} samples can be read off the samples "
        "before the window. Choose later ones, or switch the guard off: "
        "with_guard(False).",
    )
    yield from _remark(
        "beside-visible",
        near,
        f"are not scored: within {guard.after} samples after{_before(guard)} a visible "
        "one of the same neuron they can be read off it. Leave a gap, or switch the "
        "guard off: with_guard(False).",
    )


def guard_text(mask: Mask) -> str:
    """Return which samples beside visible ones are not scored; "" without a guard."""
    guard = mask.guard
    if not mask.guarded or not guard.after:
        return ""
    if not guard.before:
        return (
            f"The {guard.after} samples after a visible run are not scored, as in the "
            "official strategies; those before it are."
        )
    return (
        f"The {guard.after} samples before and after visible ones of the same neuron "
        f"are not scored (recorded at {mask.recording_rate_hz:.3g} Hz)."
    )


def _before(guard: Guard) -> str:
    return f", or {guard.before} before," if guard.before else ""


def _on_context(mask: Mask, layout: TokenLayout) -> Iterator[Remark]:
    """Yield a remark on samples that only global latents read."""
    start, stop = layout.context_span
    # Cells that no token reads have a remark already.
    outside = input_cells(mask)
    outside[start:stop] = False
    yield from _remark(
        "outside-span",
        outside,
        f"lie outside the context span {start}-{stop}: it has no time-slot latents "
        "there, and only the global latents read them. Widen it: "
        f"with_context_span(0, {mask.n_samples}).",
    )


def _on_size(mask: Mask, layout: TokenLayout) -> Iterator[Remark]:
    """Yield remarks on OmniMouse's pairs of frames and its number of neurons."""
    no_cells = np.zeros_like(mask.visible)
    # A step that is not read has at most one visible frame, so steps are counted.
    has_frame = mask.frames.reshape(-1, 2).any(axis=1)
    if single := int((has_frame & ~video_steps(mask.frames)).sum()):
        message = (
            f"{_count(single, 'visible frame')} of the video will not be read: the "
            "model reads frames in pairs (0, 1), (2, 3), … Show both frames of a pair."
        )
        yield Remark("single-frame", message, no_cells)
    if len(layout.order) > FULL_POPULATION:
        message = (
            f"{len(layout.order):,} neurons enter; in training at most "
            f"{FULL_POPULATION:,} entered at once. The official evaluation also lets "
            "all enter; for a subset use with_order(…)."
        )
        yield Remark("long-order", message, no_cells)


def _remark(code: Code, cells: np.ndarray, effect: str) -> Iterator[Remark]:
    """Yield a remark with the numbers of cells and neurons, unless there are none."""
    if n_cells := int(cells.sum()):
        n_neurons = int(cells.any(axis=0).sum())
        counts = f"{_count(n_cells, 'sample')} of {_count(n_neurons, 'neuron')}"
        yield Remark(code, f"{counts} {effect}", cells)


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def lost_all_targets(mask: Mask) -> bool:
    """Return whether a strategy has target responses and a slow recording none."""
    if mask.target.any() or mask.name not in strategy_names():
        return False
    return bool(Mask.from_strategy(mask.name, mask.n_neurons).target.any())
