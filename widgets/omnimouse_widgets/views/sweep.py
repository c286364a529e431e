"""Settings of a sweep over context in the background: defaults, ranges and choices.

Functions of the settings receive the `LiveState`.
"""

from dataclasses import dataclass
from typing import Final

from omnimouse_model.analysis.sweep.contexts import check_history, history_end, largest_context
from omnimouse_model.analysis.sweep.live_sweep import NEURONS
from omnimouse_model.analysis.sweep.plan import SweepPlan
from omnimouse_model.data.lazy import cached
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.live.state import LiveState
from omnimouse_widgets.views.form import Options, setting

START_TIP: Final = "Start the sweep in the background"
_BOTH: Final = (True, False)


def _usual_history(state: LiveState) -> tuple[int, ...]:
    """Return histories to begin with."""
    if state.spec == OMNIMOUSE:
        # One token takes 10 samples, and the 5 samples before the targets stay hidden.
        return 0, 10, 15, 20, 25
    end = history_end(state.spec)
    return tuple(sorted({round(end * share) for share in (0, 1 / 3, 2 / 3, 1)}))


def _check_histories(histories: tuple[int, ...], state: LiveState) -> None:
    for history in histories:
        check_history(history, state.spec)


def _fitting_neurons(state: LiveState) -> tuple[int, ...]:
    """Return the context sizes that leave enough targets."""
    if state.session is None:
        return ()
    largest = largest_context(state.session.n_neurons, NEURONS)
    return tuple(count for count in (0, *NEURONS) if count <= largest)


def _tiers(state: LiveState) -> Options:
    """Return the tiers that can be chosen; "test" stands for all test tiers."""
    session = state.session
    names: list[str] = []
    if session is not None:
        # Their minutes take as long as the list of trials, and each key reads the form.
        names = cached(session._cache, "tier names", lambda: list(session.tiers()))
    tiers = ["test", *(tier for tier in names if tier not in ("none", "test"))]
    return [(tier, tier, "") for tier in tiers]


def _inputs(has_input: bool) -> Options:
    choices = (
        (_BOTH, "both", "One curve with it and one without"),
        ((True,), "with", "Visible to the model"),
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

    neurons: tuple[int, ...] = setting(
        "Neurons",
        "Numbers of other visible neurons, separated by commas",
        (),
        low=0,
        initial=_fitting_neurons,
    )
    history: tuple[int, ...] = setting(
        "History",
        f"Visible samples of all neurons before targets: 0, or 10 to {history_end()}",
        (),
        initial=_usual_history,
        check=_check_histories,
    )
    video: tuple[bool, ...] = setting(
        "Video",
        "Video as input",
        _BOTH,
        options=lambda state: _inputs(_has_video(state)),
        refusal=lambda state: "" if _has_video(state) else "The recording has no video",
    )
    behavior: tuple[bool, ...] = setting(
        "Behaviour",
        "Behaviour as input",
        _BOTH,
        options=lambda state: _inputs(_has_behavior(state)),
        refusal=lambda state: "" if _has_behavior(state) else "The recording has no behaviour",
    )
    draws: int = setting(
        "Draws",
        "Random draws of neurons; error bars are the s.e.m. over them",
        5,
        low=1,
        high=50,
    )
    windows: int | None = setting(
        "Windows",
        "Maximum number of windows, spread over the tier; empty for all",
        32,
        low=1,
        empty="all",
    )
    tier: str = setting(
        "Tier", "Held-out windows; “test” stands for all test tiers", "test", options=_tiers
    )
    name: str = setting("Name", "Name in the list", "", empty="recording and model")

    def plan(self) -> SweepPlan:
        """Return the plan of the sweep.

        Raises
        ------
        ValueError
            The settings have no context, or one that is not possible.
        """
        return SweepPlan(
            neurons=self.neurons,
            history_samples=self.history,
            video=self.video,
            behavior=self.behavior,
            seeds=tuple(range(self.draws)),
            tier=self.tier,
            max_windows=self.windows,
        )
