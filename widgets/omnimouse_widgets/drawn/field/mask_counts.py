"""Number of visible, target, hidden and mixed neurons in the active span."""

from typing import Final

import numpy as np

from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import (
    HIDDEN,
    MIXED,
    PATTERN_NAMES,
    TARGET,
    TRANSITION,
    VISIBLE,
)

ORDER: Final = (VISIBLE, TARGET, HIDDEN, MIXED)
MAX_LISTED: Final = 2


def counted(state: LiveState) -> tuple[np.ndarray, str]:
    """Return the number of neurons by mask code (0-3), and a text on the samples."""
    patterns = np.zeros(len(PATTERN_NAMES), int)
    if state.mask is not None:
        indices = state.mask.patterns_in(state.active_span)
        patterns = np.bincount(indices, minlength=len(PATTERN_NAMES))
    # Patterns are stored by state first, so a row of the reshaped array is one state
    # with all pairs of first and last states.
    counts = patterns.reshape(len(ORDER), -1).sum(axis=1)
    start, stop = state.active_span
    if counts[MIXED]:
        return counts, _mixed_text(patterns, state.active_span)
    return counts, f"In samples {start}-{stop}, those of the brush."


def _mixed_text(counts: np.ndarray, span: tuple[int, int]) -> str:
    """Return e.g. `Mixed in samples 0-60: 1,000 hidden → target.`, by count."""
    order = np.argsort(-counts, kind="stable")
    parts = [
        f"{counts[at]:,} {PATTERN_NAMES[at]}"
        for at in order
        if counts[at] and TRANSITION in PATTERN_NAMES[at]
    ]
    more = ", …" if len(parts) > MAX_LISTED else ""
    listed = ", ".join(parts[:MAX_LISTED]) + more
    return f"Mixed in samples {span[0]}-{span[1]}" + (f": {listed}." if parts else ".")
