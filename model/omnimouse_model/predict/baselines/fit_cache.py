"""Fit a naive predictor to a session once, and store the fit on disk.

A fit is a dict of arrays in the user's cache, in a file that is named by the
fingerprint of the session. It is written atomically and read without pickle; a broken
file is replaced by a new fit.
"""

import logging
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.errors import SessionFormatError, UnsupportedRequestError
from omnimouse_model.storage.arrays.npy import Npz, write_arrays
from omnimouse_model.storage.cache import cache_dir

Fit = dict[str, np.ndarray]
LOWEST = "lowest"
"""Key of the lowest response of some training windows, in every fit."""
VERSION = 6
"""Increased when the content of a fit changes, or how it is computed."""
MAX_STORED_BYTES = 400_000_000
FITTED, HELD_OUT, BETWEEN = 0, 1, 2
"""Folds: for the fit, for the choice of the penalty, and too near to both."""
BLOCK_S = 20.0
"""Length of one held-out interval; a fifth of the training time where that is less."""
APART_S = 2.0
"""Distance of a fold from an edge: the length of a window, so that none overlap."""

_log = logging.getLogger(__name__)


def load_or_fit(
    session: Session,
    name: str,
    spec: WindowSpec,
    fit: Callable[[Session, WindowSpec], Fit],
) -> Fit:
    """Return the stored fit of a rule to a session and a spec, or make and store it."""
    key = name
    # Files of OmniMouse's spec have a readable name; other specs are hashed.
    if spec != OMNIMOUSE:
        digest = blake2b(repr(spec).encode(), digest_size=6).hexdigest()
        key = f"{name}-{digest}"
    path = cache_dir() / "naive" / f"{session.fingerprint}-{key}-v{VERSION}.npz"
    stored = _read(path)
    if stored is not None:
        return stored
    new = fit(session, spec) | {LOWEST: _lowest_response(session, spec)}
    # The joint covariance of 10,000 neurons has 400 MB: too much for a cache, and
    # nearly as slow to read as to compute.
    if sum(array.nbytes for array in new.values()) <= MAX_STORED_BYTES:
        _write(path, new)
    return new


def _lowest_response(session: Session, spec: WindowSpec) -> np.ndarray:
    # A recording with negative responses has some in almost every window.
    windows = training_windows(session, stride=60, most=100, spec=spec)
    lowest = [np.nanmin(window.responses, initial=0.0) for _, window in windows]
    return np.array(min(lowest), np.float32)


def _read(path: Path) -> Fit | None:
    if not path.is_file():
        return None
    try:
        return dict(Npz(path, most_bytes=MAX_STORED_BYTES))
    except SessionFormatError as error:
        _log.warning("Refitting: the stored fit %s is broken (%s).", path, error)
        return None


def _write(path: Path, fit: Fit) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(path, fit)
    except OSError as error:
        # Without a stored fit, the next start is slower but correct.
        _log.warning("The fit is not stored: %s.", error)


def training_windows(
    session: Session, *, stride: int, most: int, spec: WindowSpec = OMNIMOUSE
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
            f"Session {session.id!r} has no window of tier 'train' to fit a naive "
            f"predictor on; {session.tiers_text()}.{_remedy(tiers, spec)}"
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
