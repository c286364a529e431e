"""Windows of a tier that are scored, as in the official evaluation, and groups of stimuli."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped

from omnimouse_model.data.clock import grid_points
from omnimouse_model.data.recording import is_test_tier
from omnimouse_model.data.session import Session, require_trials
from omnimouse_model.data.split import NO_TIER
from omnimouse_model.data.stimulus import BLANK_TIER
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
