"""Windows of the train tier of a session, in folds, and means over them."""

from collections.abc import Iterator

import numpy as np

from omnimouse_model.data.clock import grid_points
from omnimouse_model.data.lazy import cached
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import UnsupportedRequestError

FITTED, HELD_OUT, BETWEEN = 0, 1, 2
"""Folds: for the fit, for the choice of the penalty, and too near to both."""


BLOCK_S = 20.0
"""Length of one held-out interval; a fifth of the training time where that is less."""


APART_S = 2.0
"""Distance of a fold from an edge: the length of a window, so that none overlap."""


def training_windows(
    session: Session, *, stride: int, most: int, spec: WindowSpec
) -> Iterator[tuple[int, Window]]:
    """Yield fold and window over the train tier; folds as numbered above.

    At most `most` windows, spread over the session; every fifth block is held out.
    Blanks between training trials are included, as in the official training.

    Raises
    ------
    UnsupportedRequestError
        The session has no training window; the message states what to change.
    """
    tiers = session.tiers()
    starts = np.zeros(0)
    if tiers.get("train"):
        # Aligned windows are few, one per trial: none is left out.
        stride = 1 if spec.align == "trial" else stride
        starts = session.window_starts("train", stride, include_blanks=True, spec=spec)
    if not len(starts):
        raise UnsupportedRequestError(
            f"Session {session.id!r} has no window of tier 'train' to fit a baseline "
            f"to; {session.tiers_text()}.{_remedy(tiers, spec)}"
        )
    # Every k-th window, with k rounded up: at most `most` windows.
    starts = starts[:: -(-len(starts) // most)]
    for fold, start in zip(_folds(starts), starts, strict=True):
        yield int(fold), session.window(float(start), spec)


def _remedy(tiers: dict[str, float], spec: WindowSpec) -> str:
    length = f"{spec.duration_s:g} s"
    if tiers.get("train"):
        return f" Its train trials hold no whole window of {length}."
    return " Name the trials to fit on 'train', or remove every tier." if tiers else ""


def _folds(starts: np.ndarray) -> np.ndarray:
    """Return the fold (n,) of windows that begin at `starts`, in order."""
    spacing = float(np.median(np.diff(starts))) if len(starts) > 1 else BLOCK_S
    # Whole blocks are held out: neighbouring windows share their samples, and a
    # penalty that is chosen on them would be too small.
    block = min(round(BLOCK_S / spacing), -(-len(starts) // 5))
    number = np.arange(len(starts)) // max(block, 1)
    folds = np.where(number % 5 == 4, HELD_OUT, FITTED)
    for edge in starts[1:][np.diff(folds) != 0]:
        # Both sides keep this distance, so a whole window fits between them.
        folds = np.where(np.abs(starts - edge) < APART_S, BETWEEN, folds)
    return folds


MAX_WINDOWS = 2000
"""Windows from which mean rates are computed."""


def mean_rates(session: Session, spec: WindowSpec) -> np.ndarray:
    """Return the mean response (P,) over the train tier: normalised, or counts."""
    total, count = np.zeros(session.n_neurons), np.zeros(session.n_neurons)
    # A stride of one window: overlapping windows would count samples twice.
    stride = grid_points(spec.duration_s)
    for _, window in training_windows(session, stride=stride, most=MAX_WINDOWS, spec=spec):
        finite = np.isfinite(window.responses)
        total += np.where(finite, window.responses, 0).sum(axis=0, dtype=np.float64)
        count += finite.sum(axis=0)
    return total / np.maximum(count, 1)


def null_rates(session: Session, spec: WindowSpec) -> np.ndarray:
    """Return the mean count per bin (P,) over the train tier.

    Raises
    ------
    UnsupportedRequestError
        The session has no spike times, or no training windows.
    """
    if not session.responses.has_events:
        raise UnsupportedRequestError(
            f"Counts need spike times; session {session.id!r} has traces."
        )
    rates = train_means(session, spec)
    return rates if spec.responses == "count" else rates * session.response_scale


def train_means(session: Session, spec: WindowSpec) -> np.ndarray:
    """Return the mean response (P,) over the train tier, in the units of windows.

    Computed once per session.

    Raises
    ------
    UnsupportedRequestError
        The session has no training windows.
    """
    return cached(session, ("train means", spec), lambda: mean_rates(session, spec))
