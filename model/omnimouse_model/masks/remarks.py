"""Remarks on cells of a mask that are not read or not scored: which, why, what to do.

A remark is no refusal: predictors accept a mask that breaks a rule, and leave out the
cells that the rule names. The front ends show the same text.
"""

from collections.abc import Iterator

import numpy as np

from omnimouse_model.masks.attachment import Remark
from omnimouse_model.masks.cells import Guard, near_visible
from omnimouse_model.masks.mask import UNGUARDED, Mask, scored_cells
from omnimouse_model.masks.strategies import strategy_names


def remarks_on(mask: Mask) -> tuple[Remark, ...]:
    """Return the remarks on all cells that are not read or scored as the mask says.

    Examples
    --------
    >>> mask = om.Mask.nothing(session).show([0], slice(0, 30)).ask([0])
    >>> [remark.code for remark in om.remarks_on(mask)]
    ['beside-visible']

    Notes
    -----
    The attachment of a mask gives the remarks of its family. In OmniMouse's, each visible
    cell that no token reads is in one of "not-entering" and "short-run"; each target cell
    that is not scored is in one of "not-entering", "first-samples" and "beside-visible".
    Naive predictors read every visible cell.
    """
    # In the order in which a cell meets the rules: reading, then scoring.
    remarks = [] if mask.attachment is None else list(mask.attachment.remarks(mask))
    remarks += _on_guarded_cells(mask)
    if not mask.has_behavior_target and not scored_cells(mask).any():
        left_out = " that is not left out" if mask.target.any() else ""
        message = (
            f"Nothing is predicted: the mask has no target{left_out}. Mark cells with "
            'ask(…), or make behaviour a target: with_behavior("target").'
        )
        remarks.append(Remark("nothing-asked", message, np.zeros_like(mask.visible)))
    return tuple(remarks)


def _on_guarded_cells(mask: Mask) -> Iterator[Remark]:
    """Yield remarks on targets that their neighbours reveal."""
    target, guard = mask.target, mask.guard
    if mask.attachment is not None:
        target &= mask.attachment.predicted_cells(target)
    # A cell is in one remark only: the first samples are not counted again.
    first, near = target.copy(), target & near_visible(mask.visible, guard)
    first[guard.first :], near[: guard.first] = False, False
    if not mask.guarded:
        yield from Remark.on_cells(
            "unguarded",
            first | near,
            f"are targets next to visible ones. {UNGUARDED} Leave them out with with_guard(True).",
        )
        return
    yield from Remark.on_cells(
        "first-samples",
        first,
        f"are not scored: the first {guard.first} samples can be read off the samples "
        "before the window. Choose later ones, or switch the guard off: "
        "with_guard(False).",
    )
    yield from Remark.on_cells(
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


def lost_all_targets(mask: Mask) -> bool:
    """Return whether a strategy has target responses and a slow recording none."""
    if mask.target.any() or mask.name not in strategy_names():
        return False
    return bool(Mask.from_strategy(mask.name, mask.n_neurons).target.any())
