"""The named strategies of OmniMouse, and their masks for a session.

Names: "train/57" (index in the training list), "validation/NAME", "test/NAME",
"test_additional/NAME"; a bare name is searched in test, then in test_additional. For
small populations the counts shrink by one rule (`Strategy.adapted`), which training,
the front ends and evaluation share.
"""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path

import numpy as np

from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.errors import MaskError
from omnimouse_model.masks import HIDDEN, TARGET, HasNeurons, Mask, scored_cells
from omnimouse_model.masks.cells import (
    count_neurons,
    guard_of,
    is_stored_slowly,
    near_visible,
    recording_rate,
)
from omnimouse_model.masks.selection import random_order, random_subset
from omnimouse_model.masks.strategy import Strategy as Strategy
from omnimouse_model.masks.token_layout import FULL_POPULATION
from omnimouse_model.storage.trees import read_json


@cache
def _tables() -> dict[str, Strategy]:
    folder = Path(__file__).parent / "strategy_tables"
    training = read_json(folder / "training.json")["masks"]
    evaluation = read_json(folder / "evaluation.json")
    named = {f"train/{row['index']}": _from_json(row) for row in training}
    for group in ("validation", "test", "test_additional"):
        rows = evaluation[group]
        # A list has the name in each row, an object has it as the key.
        items = rows.items() if isinstance(rows, dict) else ((row["name"], row) for row in rows)
        named |= {f"{group}/{name}": _from_json(row) for name, row in items}
    return named


def _from_json(row: dict[str, object]) -> Strategy:
    names = {field.name for field in fields(Strategy)}
    # mypy: a JSON row holds values of several types
    return Strategy(**{k: v for k, v in row.items() if k in names})  # type: ignore[arg-type]


def strategy_names() -> tuple[str, ...]:
    """Return the full names of all strategies, those of training first.

    Examples
    --------
    >>> names = om.strategy_names()
    >>> len(names), names[0], names[-1]
    (174, 'train/0', 'test_additional/causal_response_10_video_behavior')
    """
    return tuple(_tables())


def full_name(name: str) -> str:
    """Return the full name of a strategy, or raise `MaskError` with similar names."""
    table = _tables()
    for candidate in (name, f"test/{name}", f"test_additional/{name}"):
        if candidate in table:
            return candidate
    # The nearest names are compared in full, or all short names would look alike.
    complete = name if "/" in name else f"test/{name}"
    nearest = get_close_matches(complete, table, cutoff=0.0)
    raise MaskError(
        f"There is no strategy {name[:80]!r}; the nearest are {', '.join(nearest)}. In "
        "Python, omnimouse_model.strategy_names() has them all."
    )


def find_strategy(name: str) -> Strategy:
    """Return the official strategy of a name, without adaptation.

    Examples
    --------
    >>> strategy = om.find_strategy("population_1024_response_video_behavior")
    >>> strategy.n_visible_neurons, strategy.suffix_start_idx, strategy.behavior
    (1024, 30, 'visible')
    """
    return _tables()[full_name(name)]


def mask_from_strategy(
    strategy: str | Strategy, session: HasNeurons | int, seed: int | None = None
) -> Mask:
    """Return the mask of a strategy for a session.

    Parameters
    ----------
    strategy
        A name, or a strategy.
    session
        A session, or its number of neurons.
    seed
        None keeps the stored order and the whole population (evaluation); an int
        draws the permutation and the subset of at most 4,096.

    Returns
    -------
    Mask
        Its `note` states how counts were adapted to a small population, and which
        targets were left out for a recording stored below 12 Hz. Such a mask may have
        no target left.

    Examples
    --------
    >>> mask = om.mask_from_strategy("population_256_response_behavior", session)
    >>> mask.cells.shape, mask.behavior
    ((60, 40), 'visible')
    >>> mask.note
    'adapted to 40 neurons: visible 256 → 2, targets 3072 → 30'
    """
    total, order = count_neurons(session), None
    if seed is not None:
        order = random_order(total, seed)[:FULL_POPULATION]
    count = total if order is None else len(order)
    name = full_name(strategy) if isinstance(strategy, str) else ""
    official = _tables()[name] if isinstance(strategy, str) else strategy
    adapted = official.adapted(count)
    mask = replace(adapted.to_mask(total, order, name), recording_rate_hz=recording_rate(session))
    # The name stays that of the official strategy, so the note must say what differs.
    if adapted != official:
        mask = replace(mask, note=_adaptation(official, adapted, count))
    return without_revealed(mask) if is_stored_slowly(session) else mask


def lost_all_targets(mask: Mask) -> bool:
    """Return whether a strategy has target responses and a slow recording none."""
    if mask.target.any() or mask.name not in _tables():
        return False
    return bool(mask_from_strategy(mask.name, mask.n_neurons).target.any())


def without_revealed(mask: Mask) -> Mask:
    """Return the mask of a strategy without targets that interpolation reveals.

    They are hidden, and `note` states it. For recordings stored below 12 Hz.
    """
    guard = guard_of(mask.spec, mask.recording_rate_hz)
    revealed = mask.target & near_visible(mask.visible, guard)
    # Those of the official guard are no targets of the official mask either.
    revealed &= scored_cells(mask)
    if not revealed.any():
        return mask
    cells = np.where(revealed, np.uint8(HIDDEN), mask.cells)
    seconds = guard.after / mask.spec.response_rate_hz
    left = "" if (cells == TARGET).any() else ", so that no target is left"
    note = (
        f"adapted to a recording at {mask.recording_rate_hz:.3g} Hz: targets within "
        f"{seconds:.2g} s of a visible sample of the same neuron are left out, "
        f"because interpolation reveals them{left}"
    )
    note = f"{mask.note}; {note}" if mask.note else note
    return replace(mask, cells=cells, note=note)


def _adaptation(official: Strategy, adapted: Strategy, count: int) -> str:
    before, after = asdict(official), asdict(adapted)
    labels = {"n_visible_neurons": "visible", "max_n_reconstructed_neurons": "targets"}
    changes = [
        f"{label} {'all' if before[key] is None else before[key]} → {after[key]}"
        for key, label in labels.items()
        if before[key] != after[key]
    ]
    return f"adapted to {count} neurons: {', '.join(changes)}"


def half_population_mask(
    session: HasNeurons | int,
    seed: int = 0,
    video: bool = True,
    behavior: bool = True,
    targets: Sequence[int] | np.ndarray = (),
    spec: WindowSpec = OMNIMOUSE,
) -> Mask:
    """Return a mask with half of the neurons visible and the others as targets.

    The visible half is random, for the whole window; targets are the second half of the
    window (OmniMouse: the last second).

    Parameters
    ----------
    session
        A session, or its number of neurons.
    seed
        Seed of the order in which neurons are drawn.
    video, behavior
        Whether video and behaviour are visible.
    targets
        Neurons that belong to the target half, as far as it has room. The sizes of the
        halves and the random order of the other neurons do not change.
    spec
        Rates and sizes of the windows.

    Examples
    --------
    >>> from omnimouse_model.strategies import half_population_mask
    >>> mask = half_population_mask(100)
    >>> int(mask.visible.any(axis=0).sum()), int(mask.target.any(axis=0).sum())
    (50, 50)
    """
    total = count_neurons(session)
    # The sizes of the halves never change, so a long list of targets is cut.
    reserved = np.asarray(targets, int)[: total - total // 2]
    others = np.setdiff1d(np.arange(total), reserved)
    visible = random_subset(total, total // 2, seed, among=others)
    hidden = np.setdiff1d(np.arange(total), visible)
    mask = Mask.nothing(session, spec).show(visible).ask(hidden)
    mask = mask.with_frames(video).with_behavior(behavior)
    return replace(mask, name="half of the population")
