"""Conditions of an evaluation: a name, a mask per session and the scored neurons."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from omnimouse_model.data.session import Session
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
        """Return the condition of a strategy or a mask; conditions pass unchanged."""
        if isinstance(strategy, Condition):
            return strategy
        if isinstance(strategy, Mask):
            name = strategy.name or f"mask {strategy.mask_id[:8]}"
            return cls(name, partial(_fitting, strategy))
        return cls(strategy, partial(Mask.from_strategy, strategy))


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
DEMO: tuple[Condition, ...] = (
    Condition.of("test/video_behavior"),
    Condition.of("test/video_only"),
    Condition(
        "video_behavior on the hidden half",
        partial(Mask.from_strategy, "test/video_behavior"),
        half_population_targets,
    ),
    Condition("half_population_video_behavior", half_population_mask),
    Condition("half_population_behavior", partial(half_population_mask, video=False)),
    Condition.of("test/causal_response_25_behavior"),
    Condition.of("test/causal_response_25_video_behavior"),
    Condition.of("test/population_1024_response_behavior"),
    Condition.of("test/all_response_only"),
)
"""Conditions of the demo table, all scored on the same windows.

The third condition scores the same neurons as the fourth, so that the two can be
compared.
"""


def as_tuple(strategies: Strategies) -> tuple[str | Mask | Condition, ...]:
    """Return one or several strategies as a tuple."""
    if isinstance(strategies, str | Mask | Condition):
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
