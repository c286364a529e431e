"""Windows of a tier that are scored, and of the train tier that predictors are fitted to.

Scored windows are those of the official evaluation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from omnimouse_model.data.clock import grid_points
from omnimouse_model.data.recording import cached, part_name
from omnimouse_model.data.session import Session, Window, require_trials
from omnimouse_model.data.stimulus import NO_TIER
from omnimouse_model.data.window_spec import WindowSpec, default_spec
from omnimouse_model.errors import UnsupportedRequestError

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
        (float(begin), part_name(tier))
        for begin, tier in zip(on[inside], tiers[inside].tolist(), strict=True)
        if tier.lower() not in NO_TIER
    )
    return tuple(dict.fromkeys(tier for _, tier in found))


def spread_starts(starts: np.ndarray, max_windows: int | None) -> np.ndarray:
    """Return at most `max_windows` of the starts, spread evenly.

    Raises
    ------
    ValueError
        `max_windows` is less than 1.
    """
    if max_windows is not None and max_windows < 1:
        raise ValueError(f"max_windows is {max_windows}: give at least 1, or None for all windows.")
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
    """Return the mean response (P,) over the train tier, in the units of windows.

    Computed once per session.

    Raises
    ------
    UnsupportedRequestError
        The session has no training windows.
    """

    def computed() -> np.ndarray:
        total, count = np.zeros(session.n_neurons), np.zeros(session.n_neurons)
        # A stride of one window: overlapping windows would count samples twice.
        stride = grid_points(spec.duration_s)
        for _, window in training_windows(session, stride=stride, most=MAX_WINDOWS, spec=spec):
            finite = np.isfinite(window.responses)
            total += np.where(finite, window.responses, 0).sum(axis=0, dtype=np.float64)
            count += finite.sum(axis=0)
        return total / np.maximum(count, 1)

    return cached(session, ("train means", spec), computed)


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
    rates = mean_rates(session, spec)
    return rates if spec.responses == "count" else rates * session.response_scale
