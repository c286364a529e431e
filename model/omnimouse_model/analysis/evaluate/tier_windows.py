"""Windows of a tier that are scored, placed as in the official evaluation."""

from dataclasses import dataclass

import numpy as np

from omnimouse_model.data.clock import grid_points
from omnimouse_model.data.recording import is_test_tier
from omnimouse_model.data.session import Session, require_trials
from omnimouse_model.data.split import NO_TIER
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.errors import UnsupportedRequestError

_ROUNDING_S = 1e-6


@dataclass(frozen=True, slots=True)
class WindowRule:
    """Placement of the windows of a tier, as in the official evaluation."""

    stride: int
    include_blanks: bool

    @classmethod
    def of(cls, tier: str, spec: WindowSpec = OMNIMOUSE) -> "WindowRule":
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
    spec: WindowSpec = OMNIMOUSE,
) -> np.ndarray:
    """Return the scored windows of a tier as starts (n,) in s on the session clock.

    Raises
    ------
    UnsupportedRequestError
        The tier has no window, or the session no trials to which windows are aligned.
    """
    require_trials(session, spec)
    starts = tier_starts(session, tier, spec)
    if not len(starts):
        raise UnsupportedRequestError(
            f"Session {session.id!r} has no window of tier {tier!r}; {session.tiers_text()}."
        )
    return spread_starts(starts, max_windows)


def tier_starts(session: Session, tier: str, spec: WindowSpec = OMNIMOUSE) -> np.ndarray:
    """Return the starts (n,) of a tier's windows, none if it has no window."""
    rule = WindowRule.of(tier, spec)
    return session.window_starts(tier, rule.stride, rule.include_blanks, spec)


def tiers_at(session: Session, start_s: float, stop_s: float) -> tuple[str, ...]:
    """Return the tiers of a span in s on the session clock, in the order of time.

    "test" stands for all test tiers; () where no trial has a tier.

    Examples
    --------
    >>> from omnimouse_model.analysis.evaluate.tier_windows import tiers_at
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
