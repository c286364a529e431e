"""Windows of a tier that are scored, and of the train tier that predictors are fitted to.

Scored windows are those of the official evaluation.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped

from omnimouse_model.data.clock import grid_points
from omnimouse_model.data.lazy import cached
from omnimouse_model.data.recording import is_test_tier
from omnimouse_model.data.session import Session, Window, require_trials
from omnimouse_model.data.stimulus import BLANK_TIER, NO_TIER
from omnimouse_model.data.window_spec import WindowSpec, default_spec
from omnimouse_model.errors import SessionFormatError, UnsupportedRequestError
from omnimouse_model.storage.arrays.npy import Npz, write_arrays
from omnimouse_model.storage.cache import cache_dir

_ROUNDING_S = 1e-6


@dataclass(frozen=True, slots=True)
class WindowRule:
    """Placement of the windows of a tier, as in the official evaluation."""

    stride: int
    include_blanks: bool

    @classmethod
    def of(cls, tier: str, spec: WindowSpec) -> "WindowRule":
        """Return the rule of a tier: half a window, or a whole one in validation.

        OmniMouse: 1 s and 2 s, as in the official evaluation. Windows in test tiers may
        reach into blanks. Every trial counts for windows that are aligned to trials.
        """
        # The targets of the official masks are the last 30 of 60 samples: at stride 30
        # every sample is predicted once.
        points = 1 if spec.align == "trial" else grid_points(spec.duration_s)
        if tier == "validation":
            return cls(points, False)
        return cls(max(1, points // 2), "test" in tier)


def scored_starts(
    session: Session,
    tier: str = "test",
    max_windows: int | None = None,
    spec: WindowSpec | None = None,
) -> np.ndarray:
    """Return the scored windows of a tier as starts (n,) in s on the session clock.

    Raises
    ------
    UnsupportedRequestError
        The tier has no window, or the session no trials to which windows are aligned.
    """
    spec = spec or default_spec()
    require_trials(session, spec)
    starts = tier_starts(session, tier, spec)
    if not len(starts):
        raise UnsupportedRequestError(
            f"Session {session.id!r} has no window of tier {tier!r}; {session.tiers_text()}."
        )
    return spread_starts(starts, max_windows)


def tier_starts(session: Session, tier: str, spec: WindowSpec) -> np.ndarray:
    """Return the starts (n,) of a tier's windows, none if it has no window."""
    rule = WindowRule.of(tier, spec)
    return session.window_starts(tier, rule.stride, rule.include_blanks, spec)


def shared_starts(
    session: Session,
    tier: str,
    max_windows: int | None,
    span: WindowSpec,
    specs: Sequence[WindowSpec],
) -> np.ndarray:
    """Return the windows of a tier that predictors of several specs are scored on, (n,).

    They are those of `span` before which the longest warm-up of a predictor was recorded.

    Raises
    ------
    UnsupportedRequestError
        The tier has no such window.
    """
    starts = scored_starts(session, tier, None, span)
    longest = max(specs, key=lambda spec: spec.warmup_s)
    if longest.warmup_s:

        def is_recorded(start_s: float) -> bool:
            warmup = session.window(start_s, longest).warmup
            streams = ("responses", *(() if session.stimulus is None else ("video",)))
            return warmup is None or all(warmup.valid[name].all() for name in streams)

        starts = starts[[is_recorded(start_s) for start_s in starts.tolist()]]
    if not len(starts):
        raise UnsupportedRequestError(
            f"Session {session.id!r} has no window of tier {tier!r} after {longest.warmup_s:g} s "
            "of recorded video."
        )
    return spread_starts(starts, max_windows)


def tiers_at(session: Session, start_s: float, stop_s: float) -> tuple[str, ...]:
    """Return the tiers of a span in s on the session clock, in the order of time.

    "test" stands for all test tiers; () where no trial has a tier.

    Examples
    --------
    >>> from omnimouse_model.evaluation.tier_windows import tiers_at
    >>> start_s = float(session.window_starts("train")[0])
    >>> tiers_at(session, start_s, start_s + 2.0)
    ('train',)
    """
    trials = session.trials
    on, off, tiers = trials.t_on, trials.t_off, trials.tier
    if session.split:
        on, off = np.concatenate([*session.split.values()]).T - session.t0
        tiers = np.repeat([*session.split], [*map(len, session.split.values())])
    # Rounding must not add the trial that begins where the span ends. Views ask often:
    # only the few trials of the span are looked at one by one.
    inside = (on < stop_s - _ROUNDING_S) & (off > start_s + _ROUNDING_S)
    found = sorted(
        (float(begin), "test" if is_test_tier(tier) else tier)
        for begin, tier in zip(on[inside], tiers[inside].tolist(), strict=True)
        if tier.lower() not in NO_TIER
    )
    return tuple(dict.fromkeys(tier for _, tier in found))


def spread_starts(starts: np.ndarray, max_windows: int | None) -> np.ndarray:
    """Return at most `max_windows` of the starts, spread evenly."""
    if max_windows is None or len(starts) <= max_windows:
        return starts
    indices = np.linspace(0, len(starts) - 1, max_windows).round().astype(int)
    return np.asarray(starts[indices])


def validation_starts(
    session: Session, held_out: np.ndarray, spec: WindowSpec, max_windows: int | None
) -> np.ndarray:
    """Return the windows (n,) that choose weights: the held-out ones, else "validation"."""
    starts = held_out if len(held_out) else tier_starts(session, "validation", spec)
    return spread_starts(starts, max_windows)


# -- groups of stimuli for separate scores: kind, tier, or in training or not ---------
Grouping = Literal["kind", "tier", "distribution"]
TYPE_NAMES = ("stim_type", "stimulus_type", "stim_class", "stimulus_class")
"""Column names of trial tables for the kind of stimulus (finer than "video")."""
IN_DISTRIBUTION, OUT_OF_DISTRIBUTION = "in distribution", "out of distribution"


@dataclass(frozen=True, slots=True, eq=False)
class StimulusGroups:
    """Group of each trial of a session, "" for none; trials ascend in onset time."""

    t_on: Float[np.ndarray, " trial"]
    t_off: Float[np.ndarray, " trial"]
    group: Shaped[np.ndarray, " trial"]

    @classmethod
    def of(cls, session: Session, by: Grouping) -> "StimulusGroups":
        """Group the trials of a session.

        "kind" is the type of stimulus in the trial table, else video, image or blank.
        "tier" is the tier. "distribution" tells whether the training tier has the same
        kind of stimulus; blanks have no group.
        """
        trials = session.trials
        # `at` searches in ascending onset times.
        order = np.argsort(trials.t_on, kind="stable")
        groups = LABELS[by](session)
        return cls(trials.t_on[order], trials.t_off[order], groups[order])

    def at(self, times_s: Float[np.ndarray, " sample"]) -> Shaped[np.ndarray, " sample"]:
        """Return the groups at times on the session clock, "" outside all trials."""
        if not len(self.t_on):
            return np.full(len(times_s), "")
        trial = np.searchsorted(self.t_on, times_s, side="right") - 1
        # `maximum` keeps the index valid for times before the first trial.
        inside = (trial >= 0) & (times_s < self.t_off[np.maximum(trial, 0)])
        return np.where(inside, self.group[np.maximum(trial, 0)], "")


def stimulus_kinds(session: Session) -> Shaped[np.ndarray, " trial"]:
    """Return the kind of stimulus of each trial, in stored order."""
    trials = session.trials
    kinds = [str(kind) for kind in trials.kind]
    for trial, fields in enumerate(trials.extra):
        named = next((fields[name] for name in TYPE_NAMES if fields.get(name)), "")
        kinds[trial] = str(named) or kinds[trial]
    return np.array(kinds, dtype=np.str_)


def _distribution(session: Session) -> np.ndarray:
    kinds, tiers = stimulus_kinds(session), session.trials.tier
    trained = np.unique(kinds[tiers == "train"])
    name = np.where(np.isin(kinds, trained), IN_DISTRIBUTION, OUT_OF_DISTRIBUTION)
    return np.where((session.trials.kind == "blank") | (tiers == BLANK_TIER), "", name)


LABELS: dict[Grouping, Callable[[Session], np.ndarray]] = {
    "kind": stimulus_kinds,
    "tier": lambda session: session.trials.tier.astype(np.str_),
    "distribution": _distribution,
}


# -- windows of the train tier, in folds, and means over them -------------------------
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


# -- fits of naive predictors, stored in the cache ------------------------------------
# A fit is a dict of arrays, in a file that is named by the fingerprint of the session. It
# is written atomically and read without pickle; a broken file is replaced by a new fit.
Fit = dict[str, np.ndarray]
LOWEST = "lowest"
"""Key of the lowest response of some training windows, in every fit."""
VERSION = 6
"""Increased when the content of a fit changes, or how it is computed."""
MAX_STORED_BYTES = 400_000_000

_log = logging.getLogger(__name__)


def load_or_fit(
    session: Session,
    name: str,
    spec: WindowSpec,
    fit: Callable[[Session, WindowSpec], Fit],
) -> Fit:
    """Return the stored fit of a rule to a session and a spec, or make and store it."""
    key = name
    # Files of the default spec have a readable name; other specs are hashed.
    if spec != default_spec():
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
