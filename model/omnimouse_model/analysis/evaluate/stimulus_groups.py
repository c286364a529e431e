"""Groups of stimuli for separate scores: kind, tier, or in training or not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped

from omnimouse_model.data.session import Session
from omnimouse_model.data.stimulus import BLANK_TIER

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
