"""Settings of a sweep over context in the background: defaults, ranges and choices.

Inputs, draws, windows and part begin as those of `om.context_sweep` and `omnimouse sweep`, so that
the same question has the same numbers.

Functions of the settings receive the `LiveState`.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from omnimouse_model.analysis.sweep.contexts import (
    SweepPlan,
    check_history,
    history_end,
    largest_context,
)
from omnimouse_model.analysis.sweep.live_sweep import NEURONS, asked_neurons, scored_and_visible
from omnimouse_model.data.recording import cached
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import default_spec
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import Mask
from omnimouse_model.masks.selection import NeuronGroup, neurons_of
from omnimouse_widgets.views.form import Options, setting

ONLY_TARGETS: Final = (
    "The mask on screen shows its targets alone: choose other targets or another pool."
)
MASK, OTHERS, SELECTED = "of the mask", "all others", "selected"
"""Targets or pools that are no areas."""
_WITH: Final = (True,)


def _usual_history(state: LiveState) -> tuple[int, ...]:
    """Return histories to begin with."""
    if state.spec == default_spec():
        # One token takes 10 samples, and the 5 samples before the targets stay hidden.
        return 0, 10, 15, 20, 25
    end = history_end(state.spec)
    return tuple(sorted({round(end * share) for share in (0, 1 / 3, 2 / 3, 1)}))


def _check_histories(histories: tuple[int, ...], state: LiveState) -> None:
    for history in histories:
        check_history(history, state.spec)


def usual_neurons(state: LiveState) -> tuple[int, ...]:
    """Return the context sizes that the pool of the mask has, or that leave targets."""
    if state.session is None:
        return ()
    largest = largest_context(state.session.n_neurons, NEURONS)
    if state.mask is not None:
        targets, pool = asked_neurons(state.mask)
        if targets.any():
            return _with_whole(int((pool & ~targets).sum()))
    return tuple(count for count in (0, *NEURONS) if count <= largest)


def _with_whole(n: int) -> tuple[int, ...]:
    """Return the context sizes of a pool of n, the last of which is all of it, if not too many."""
    counts = {count for count in (0, *NEURONS) if count <= n}
    return tuple(sorted(counts | ({n} if n <= NEURONS[-1] else set())))


def pool_size(session: Session, plan: SweepPlan) -> int | None:
    """Return how many neurons the pool of a plan has that are no targets.

    None of held-out targets, which each draw takes from all neurons.
    """
    if plan.targets is None and plan.pool is None:
        return None
    is_shown = np.ones(session.n_neurons, bool)
    if plan.pool is not None:
        is_shown[:] = False
        is_shown[neurons_of(session, plan.pool)] = True
    if plan.targets is not None:
        is_shown[neurons_of(session, plan.targets)] = False
    return int(is_shown.sum())


def fitting_neurons(session: Session, plan: SweepPlan) -> tuple[int, ...]:
    """Return the context sizes that the pool of a plan has, or that leave targets."""
    n = pool_size(session, plan)
    if n is not None:
        return _with_whole(n)
    largest = largest_context(session.n_neurons, NEURONS)
    return tuple(count for count in (0, *NEURONS) if count <= largest)


def fitting_plan(session: Session, plan: SweepPlan) -> tuple[SweepPlan, str]:
    """Return a plan without context sizes that its pool does not have, and which these are.

    A plan of nothing else stays as it is: the sweep refuses it.
    """
    largest = n = pool_size(session, plan)
    if largest is None:
        largest = largest_context(session.n_neurons, plan.neurons)
    fitting = tuple(count for count in plan.neurons if count <= largest)
    left_out = [f"{count:,}" for count in plan.neurons if count not in fitting]
    if not left_out or not (fitting or plan.history_samples):
        return plan, ""
    why = "too few targets would be left"
    if n is not None:
        why = f"the pool has {n:,} that are no targets"
    return replace(plan, neurons=fitting), f"without {', '.join(left_out)} neurons: {why}"


def _areas(state: LiveState) -> list[tuple[str, str, str]]:
    session = state.session
    if session is None or session.units.area is None:
        return []
    area = session.units.area
    counts = cached(session, "neurons of areas", lambda: Counter(map(str, area)))
    return [
        (f"area {name}", f"{name} ({counts[name]:,})", f"All neurons of {name}")
        for name in sorted({*counts} - {""})
    ]


def _counted(state: LiveState, label: str, *, is_pool: bool) -> str:
    """Return the label of the mask's targets or pool with the number of its neurons."""
    if state.mask is None:
        return label
    return f"{label} ({int(scored_and_visible(state.mask)[int(is_pool)].sum()):,})"


def _usual_targets(state: LiveState) -> str:
    """Return the targets of the live curves: held-out neurons where the mask asks no curve."""
    mask = state.mask
    return MASK if mask is None or asked_neurons(mask)[0].any() else OTHERS


def _usual_pool(state: LiveState) -> str:
    """Return the pool of the live curves: all neurons where the mask has no pool."""
    mask = state.mask
    is_of_mask = mask is None or (_usual_targets(state) == MASK and mask.visible.any())
    return MASK if is_of_mask else OTHERS


def _targets(state: LiveState) -> Options:
    held_out = "A tenth or more of all neurons, drawn anew for each draw"
    return [
        (
            MASK,
            _counted(state, "mask", is_pool=False),
            "Neurons with a target in the mask on screen",
        ),
        (SELECTED, f"selected ({len(state.selection)})", "At most 64, as in the traces"),
        (OTHERS, "held-out", held_out),
        *_areas(state),
    ]


def _pools(state: LiveState) -> Options:
    n_all = 0 if state.session is None else state.session.n_neurons
    return [
        (
            MASK,
            _counted(state, "mask", is_pool=True),
            "Neurons with a visible sample in the mask",
        ),
        (SELECTED, f"selected ({len(state.selection)})", "At most 64, as in the traces"),
        (OTHERS, f"all ({n_all:,})", "All neurons of the recording"),
        *_areas(state),
    ]


def _chosen(
    state: LiveState, choice: str, mask: Mask, of_mask: np.ndarray, name: str
) -> str | NeuronGroup:
    """Return the area or the group of a choice; `of_mask` are those of the mask.

    Raises
    ------
    ValueError
        The group has no neuron.
    """
    session = state.session
    if choice.startswith("area ") or session is None:
        return choice.removeprefix("area ")
    if choice == MASK:
        if not of_mask.any():
            raise ValueError(f"The mask on screen has no {name}: paint some, or choose others.")
        # Each redraw of the form asks, and a group of 20,000 neurons takes 10 ms.
        key = session.fingerprint, name
        return cached(mask, key, lambda: NeuronGroup.of(session, name, of_mask))
    if not state.selection:
        raise ValueError("No neuron is selected: select some, or choose others.")
    return NeuronGroup.of(session, f"{len(state.selection)} selected neurons", state.selection)


def _tiers(state: LiveState) -> Options:
    """Return the tiers that can be chosen; "test" stands for all test tiers."""
    session = state.session
    names: list[str] = []
    if session is not None:
        # Their minutes take as long as the list of trials, and each key reads the form.
        names = cached(session, "tier_names", lambda: list(session.tiers()))
    tiers = ["test", *(tier for tier in names if tier not in ("none", "test"))]
    return [(tier, tier, "") for tier in tiers]


def _inputs(has_input: bool) -> Options:
    choices = (
        (_WITH, "with", "Visible to the model"),
        ((True, False), "both", "One curve with it and one without"),
        ((False,), "without", "Hidden from the model"),
    )
    return choices if has_input else choices[2:]


def _has_video(state: LiveState) -> bool:
    return state.session is not None and state.session.stimulus is not None


def _has_behavior(state: LiveState) -> bool:
    return state.session is not None and bool(state.session.behavior_names)


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """Settings of a sweep."""

    targets: str = setting(
        "Targets",
        "Neurons that are predicted",
        MASK,
        options=_targets,
        initial=_usual_targets,
        holds=True,
    )
    pool: str = setting(
        "Pool",
        "Neurons that may be shown, but for the targets",
        MASK,
        options=_pools,
        initial=_usual_pool,
        holds=True,
    )
    neurons: tuple[int, ...] = setting(
        "Neurons",
        "Numbers of other visible neurons, separated by commas",
        (),
        low=0,
        initial=usual_neurons,
    )
    history: tuple[int, ...] = setting(
        "History",
        "Visible samples of all neurons of the pool before the targets, and 0 for none",
        (),
        initial=_usual_history,
        check=_check_histories,
    )
    video: tuple[bool, ...] = setting(
        "Video",
        "Video as input",
        _WITH,
        options=lambda state: _inputs(_has_video(state)),
        refusal=lambda state: "" if _has_video(state) else "The recording has no video",
    )
    behavior: tuple[bool, ...] = setting(
        "Behaviour",
        "Behaviour as input",
        _WITH,
        options=lambda state: _inputs(_has_behavior(state)),
        refusal=lambda state: "" if _has_behavior(state) else "The recording has no behaviour",
    )
    draws: int = setting(
        "Draws", "Random draws of neurons; the table has the s.e.m. over them", 5, low=1, high=50
    )
    windows: int | None = setting(
        "Windows",
        "Maximum number of windows, spread over the part; empty for all",
        None,
        low=1,
        empty="all",
    )
    tier: str = setting(
        "Part", "Part of the recording (tier); “test”: all test parts", "test", options=_tiers
    )
    name: str = setting(
        "Name", "Name in the list; by default recording and model", "", empty="automatic"
    )

    def asks_as_live(self, state: LiveState) -> bool:
        """Return whether targets and pool are those of the live curves."""
        return (self.targets, self.pool) == (_usual_targets(state), _usual_pool(state))

    def plan(self, state: LiveState) -> SweepPlan:
        """Return the plan of the sweep.

        Raises
        ------
        ValueError
            The settings have no context, or one that is not possible; or the mask or the
            selection has no neuron of that kind, or the mask no other neuron than its targets.
        """
        targets = pool = None
        mask = state.mask
        if mask is not None:
            asked, shown = scored_and_visible(mask)
            if self.targets != OTHERS:
                targets = _chosen(state, self.targets, mask, asked, "target neurons")
            if self.pool != OTHERS:
                pool = _chosen(state, self.pool, mask, shown, "visible neurons")
            if self.targets == self.pool == MASK and not (shown & ~asked).any():
                raise ValueError(ONLY_TARGETS)
        return SweepPlan(
            neurons=self.neurons,
            history_samples=self.history,
            video=self.video,
            behavior=self.behavior,
            seeds=tuple(range(self.draws)),
            tier=self.tier,
            max_windows=self.windows,
            targets=targets,
            pool=pool,
        )
