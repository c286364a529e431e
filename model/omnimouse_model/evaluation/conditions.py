"""Conditions of an evaluation (name, mask, scored neurons), and groups of stimuli."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped

from omnimouse_model.data.session import Session
from omnimouse_model.data.stimulus import BLANK_TIER
from omnimouse_model.data.window_spec import default_spec
from omnimouse_model.errors import MaskError
from omnimouse_model.masks import Mask
from omnimouse_model.masks.selection import half_population_mask

MaskOf = Callable[[Session], Mask]
NeuronsOf = Callable[[Session], np.ndarray]


@dataclass(frozen=True, slots=True)
class Condition:
    """Functions from session to mask and to scored neurons (None: all targets).

    Examples
    --------
    >>> mask = om.Mask.nothing(session).show(range(20)).ask(range(20, 40), slice(30, 60))
    >>> om.Condition("20 from 20", lambda session: mask).name
    '20 from 20'
    """

    name: str
    mask: MaskOf
    neurons: NeuronsOf | None = None

    @classmethod
    def of(cls, strategy: "str | Mask | Condition") -> "Condition":
        """Return the condition of a name or a mask; conditions pass unchanged.

        Names are those of strategies, and of the demo table.
        """
        if isinstance(strategy, Condition):
            return strategy
        if isinstance(strategy, Mask):
            name = strategy.name or f"mask {strategy.mask_id[:8]}"
            return cls(name, partial(_fitting, strategy))
        return _OWN.get(strategy) or cls(strategy, partial(Mask.from_strategy, strategy))


def _fitting(mask: Mask, session: Session) -> Mask:
    """Return the mask; raise `MaskError` if the session has other neurons."""
    if mask.n_neurons != session.n_neurons:
        raise MaskError(
            f"The mask has {mask.n_neurons} neurons, and session {session.id!r} has "
            f"{session.n_neurons}: make a mask for this session."
        )
    return mask


def half_population_targets(session: Session) -> np.ndarray:
    """Return the target neurons of the mask "half of the population"."""
    return np.flatnonzero(half_population_mask(session, spec=default_spec()).target.any(axis=0))


Strategies = str | Mask | Condition | Sequence[str | Mask | Condition]
"""One or several strategies: names, masks made by hand, or conditions."""
_OWN = {
    condition.name: condition
    for condition in (
        Condition(
            "video_behavior on the hidden half",
            partial(Mask.from_strategy, "test/video_behavior"),
            half_population_targets,
        ),
        Condition("half_population_video_behavior", half_population_mask),
        Condition("half_population_behavior", partial(half_population_mask, video=False)),
    )
}
"""Conditions that are no strategies, by name."""
DEMO: tuple[str, ...] = (
    "test/video_behavior",
    "test/video_only",
    *_OWN,
    "test/causal_response_25_behavior",
    "test/causal_response_25_video_behavior",
    "test/population_1024_response_behavior",
    "test/all_response_only",
)
"""Names of the conditions of the demo table, all scored on the same windows.

The third condition scores the same neurons as the fourth, so that the two can be
compared.
"""


def as_tuple(strategies: Strategies) -> tuple[str | Mask | Condition, ...]:
    """Return one or several strategies as a tuple."""
    if isinstance(strategies, str | Mask | Condition) or not isinstance(strategies, Iterable):
        return (strategies,)
    return tuple(strategies)


def conditions(strategies: Strategies, seeds: Sequence[int] = ()) -> tuple[Condition, ...]:
    """Return the conditions of one or several strategies, in order.

    With seeds, each random draw of the neurons of a named strategy is a condition.
    """
    # Without seeds, the stored order: the official evaluation of the whole population.
    if not seeds:
        return tuple(Condition.of(strategy) for strategy in as_tuple(strategies))
    return tuple(
        # `partial` binds the seed of this iteration; a lambda would use the last seed.
        Condition(f"{name}, draw {seed}", partial(Mask.from_strategy, name, seed=seed))
        for name in as_tuple(strategies)
        for seed in seeds
        if isinstance(name, str)
    )


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
