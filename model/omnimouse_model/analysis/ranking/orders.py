"""Orders in which pretraining sessions are added."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from omnimouse_model.analysis.ranking.rank_table import RankTable

OrderName = Literal["ranked", "random", "reverse"]
ORDERS: tuple[OrderName, ...] = get_args(OrderName)
SIZES = (1, 2, 3, 4, 5, 10, 20, 30, 40)
"""Numbers of sessions of Jiang et al.; the number of all sessions is added."""
SHUFFLES = 3


def orders_of(
    ranking: RankTable, heldout: str, name: OrderName, shuffles: int
) -> list[tuple[str, ...]]:
    """Return the orders of a name: one, or for "random" several shuffles.

    Shuffles are the same for all held-out sessions, which then share trained cores.

    Raises
    ------
    ValueError
        The name is unknown.
    """
    if name not in ORDERS:
        raise ValueError(f"order is {name!r}; choose of {', '.join(ORDERS)}.")
    if name == "random":
        # Sorted, so that shuffles do not depend on the order of the argument.
        ids = sorted(ranking.sessions)
        return [
            tuple(np.random.default_rng(number).permutation(ids).tolist())
            for number in range(shuffles)
        ]
    best_first = ranking.order(heldout)
    return [best_first if name == "ranked" else best_first[::-1]]


def clipped_sizes(ks: Sequence[int] | None, n_sessions: int) -> tuple[int, ...]:
    """Return numbers of sessions, ascending, none above that of all sessions.

    Raises
    ------
    ValueError
        A number is below 1.
    """
    chosen = (*SIZES, n_sessions) if ks is None else tuple(ks)
    if not chosen or min(chosen) < 1:
        raise ValueError(f"ks is {list(chosen)}; expected numbers of sessions from 1.")
    return tuple(sorted({min(k, n_sessions) for k in chosen}))
