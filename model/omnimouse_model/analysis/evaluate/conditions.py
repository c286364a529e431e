"""What is asked in an evaluation: a name, a mask for a session, and who is scored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.masks import Mask
from omnimouse_model.strategies import half_population_mask, mask_from_strategy

MaskOf = Callable[[Session], Mask]
NeuronsOf = Callable[[Session], np.ndarray]


@dataclass(frozen=True, slots=True)
class Condition:
    """A mask for every session, and which of its targets are scored (all if None)."""

    name: str
    mask: MaskOf
    neurons: NeuronsOf | None = None

    @classmethod
    def of(cls, strategy: "str | Condition") -> "Condition":
        """Make a condition of a strategy's name; conditions pass through."""
        if isinstance(strategy, Condition):
            return strategy
        return cls(strategy, partial(mask_from_strategy, strategy))


def hidden_half(session: Session) -> np.ndarray:
    """Neurons that "half of the population" asks for."""
    return np.flatnonzero(half_population_mask(session).target.any(axis=0))


def _half(*, video: bool) -> MaskOf:
    return partial(half_population_mask, video=video)


DEMO: tuple[Condition, ...] = (
    Condition.of("test/video_behavior"),
    Condition.of("test/video_only"),
    Condition(
        "video_behavior on the hidden half",
        partial(mask_from_strategy, "test/video_behavior"),
        hidden_half,
    ),
    Condition("half_population_video_behavior", _half(video=True)),
    Condition("half_population_behavior", _half(video=False)),
    Condition.of("test/causal_response_25_behavior"),
    Condition.of("test/causal_response_25_video_behavior"),
    Condition.of("test/population_1024_response_behavior"),
    Condition.of("test/all_response_only"),
)
"""The demo table: what the model is trained to do, each on the same windows.

The third scores video and behaviour on the very neurons that the fourth asks for, so
that the two can be compared.
"""


def conditions(
    strategies: str | Condition | Sequence[str | Condition],
) -> tuple[Condition, ...]:
    """Conditions of one or several strategies, in order."""
    if isinstance(strategies, (str, Condition)):
        return (Condition.of(strategies),)
    return tuple(Condition.of(strategy) for strategy in strategies)
