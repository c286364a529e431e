"""Fits of rules to a session, stored in the cache and read again.

A fit is a dict of arrays, in a file that is named by the fingerprint of the session. It is
written atomically and read without pickle; a broken file is replaced by a new fit.
"""

import logging
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec, default_spec
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.evaluation.tier_windows import training_windows
from omnimouse_model.storage.arrays.npy import Npz, write_arrays
from omnimouse_model.storage.write import cache_dir, explained

Fit = dict[str, np.ndarray]
LOWEST = "lowest"
"""Key of the lowest response of some training windows, in every fit."""
VERSION = 11
"""In the names of stored fits. A rule whose fit has changed since has a version of its own,
`Needs.fits`, which kept results know; those of the other rules stay."""
LINEAR_GAUSSIAN = 11
"""Version of the fits of `linear-gaussian` and of what is computed from them, also from those of
a context part: increased when its predictions change."""
MAX_STORED_BYTES = 400_000_000

_log = logging.getLogger(__name__)


def load_or_fit(
    session: Session,
    name: str,
    spec: WindowSpec,
    fit: Callable[[Session, WindowSpec], Fit],
    version: int = VERSION,
) -> Fit:
    """Return the stored fit of a rule to a session and a spec, or make and store it."""
    key = name_with_spec(name, spec)
    path = cache_dir() / "naive" / f"{session.fingerprint}-{key}-v{version}.npz"
    stored = _read(path)
    if stored is not None:
        return stored
    new = fit(session, spec) | {LOWEST: _lowest_response(session, spec)}
    # The joint covariance of 10,000 neurons has 400 MB: too much for a cache, and
    # nearly as slow to read as to compute.
    if sum(array.nbytes for array in new.values()) <= MAX_STORED_BYTES:
        _write(path, new)
    return new


def name_with_spec(name: str, spec: WindowSpec) -> str:
    """Return the id of a rule for windows of a spec: the name alone for the default one."""
    if spec == default_spec():
        return name
    return f"{name}-{blake2b(repr(spec).encode(), digest_size=6).hexdigest()}"


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
        _log.warning("The fit is not stored: %s", explained(error))
