"""Fit a naive predictor to a session once, and keep the fit on disk.

A fit is a dict of arrays. It lies in the user's cache under the fingerprint of the
session, is written atomically and read without pickle; a broken file is refitted.
"""

import logging
import zipfile
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np

from omnimouse_model.atomic import atomic_path
from omnimouse_model.cache import cache_dir
from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.errors import UnsupportedRequestError

Fit = dict[str, np.ndarray]
VERSION = 3
"""Raised when what a fit holds, or how it is made, changes."""
MAX_STORED_BYTES = 400_000_000
FITTED, HELD_OUT, BETWEEN = 0, 1, 2
"""Folds: to fit, to choose the penalty, and too near the other fold for either."""
BLOCK_S = 20.0
"""Training time in a row that is held out; a fifth of it where there is little."""
APART_S = 2.0
"""How far a fold keeps from an edge: windows are as long, so that none overlap."""

_log = logging.getLogger(__name__)


def load_or_fit(
    session: Session, name: str, spec: WindowSpec, fit: Callable[[Session], Fit]
) -> Fit:
    """Return the stored fit of a rule to `session` and a spec, or make and store it."""
    key = name
    if spec != OMNIMOUSE:
        digest = blake2b(repr(spec).encode(), digest_size=6).hexdigest()
        key = f"{name}-{digest}"
    path = cache_dir() / "naive" / f"{session.fingerprint}-{key}-v{VERSION}.npz"
    stored = _read(path)
    if stored is not None:
        return stored
    made = fit(session)
    if sum(array.nbytes for array in made.values()) <= MAX_STORED_BYTES:
        _write(path, made)
    return made


def _read(path: Path) -> Fit | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        _log.warning("Refitting: the stored fit %s is broken (%s).", path, error)
        return None


def _write(path: Path, fit: Fit) -> None:
    """A cache that cannot be written is only slower."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as sibling, sibling.open("wb") as file:
            np.savez(file, **fit)  # type: ignore[arg-type]  # numpy's kwds stub
    except OSError as error:
        _log.warning("The fit is not kept: %s.", error)


def training_windows(
    session: Session, *, stride: int, most: int, spec: WindowSpec = OMNIMOUSE
) -> Iterator[tuple[int, Window]]:
    """Yield fold and window over the train tier, folds as numbered above.

    At most `most` windows, spread over the session; every fifth block is held out.
    Blanks between training trials belong to them, as in the official training.
    """
    tiers = session.tiers()
    starts = np.zeros(0)
    if tiers.get("train"):
        # every trial counts, however densely windows on the grid are thinned out
        stride = 1 if spec.align == "trial" else stride
        starts = session.window_starts("train", stride, include_blanks=True, spec=spec)
    if not len(starts):
        raise UnsupportedRequestError(
            f"Session {session.id!r} has no window of tier 'train' to fit a naive "
            f"predictor on; its tiers are {', '.join(tiers) or 'none'}. "
            + _how_to_train(tiers, spec)
        )
    starts = starts[:: -(-len(starts) // most)]
    for fold, start in zip(_folds(starts), starts, strict=True):
        yield int(fold), session.window(float(start), spec)


def _how_to_train(tiers: dict[str, float], spec: WindowSpec) -> str:
    length = f"{spec.duration_s:g} s"
    if tiers.get("train"):
        return f"Its train trials hold no whole window of {length}."
    if tiers:
        return "Name the trials to fit on 'train', or remove every tier."
    return f"It is too short to hold out a fifth of its windows of {length}."


def _folds(starts: np.ndarray) -> np.ndarray:
    """Fold (n,) of windows that begin at `starts`, in order."""
    spacing = float(np.median(np.diff(starts))) if len(starts) > 1 else BLOCK_S
    block = min(round(BLOCK_S / spacing), -(-len(starts) // 5))
    number = np.arange(len(starts)) // max(block, 1)
    folds = np.where(number % 5 == 4, HELD_OUT, FITTED)
    for edge in starts[1:][np.diff(folds) != 0]:
        # Both sides keep away, so there is as much time between as a window lasts.
        folds = np.where(np.abs(starts - edge) < APART_S, BETWEEN, folds)
    return folds
