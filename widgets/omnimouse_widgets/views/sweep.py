"""Defaults, tooltips, choices and input parsing of the sweep form."""

from typing import Final

from omnimouse_model.analysis.sweep.contexts import (
    check_history,
    history_end,
    largest_context,
)
from omnimouse_model.analysis.sweep.live_sweep import NEURONS
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec

DRAWS: Final = 5
WINDOWS: Final = 32
TIPS: Final = {
    "neurons": "Numbers of other visible neurons, separated by commas",
    "history": (f"Visible samples of all neurons before targets: 0, or 10 to {history_end()}"),
    "draws": "Random draws of neurons; error bars are the s.e.m. over them",
    "windows": "Maximum number of windows, spread over the tier; 0 for all",
    "tier": "Held-out windows; “test” stands for all test tiers",
    "name": "Name in the list; if empty, recording and model",
}


def usual_history(spec: WindowSpec = OMNIMOUSE) -> str:
    """Return histories to begin with, as text for the form."""
    if spec == OMNIMOUSE:
        # One token takes 10 samples, and the 5 samples before the targets stay hidden.
        return "0, 10, 15, 20, 25"
    end = history_end(spec)
    steps = sorted({round(end * share) for share in (0, 1 / 3, 2 / 3, 1)})
    return ", ".join(map(str, steps))


def histories_in(typed: str, spec: WindowSpec = OMNIMOUSE) -> tuple[int, ...]:
    """Return the histories in a text; raise `ValueError` for one that does not fit."""
    histories = numbers_in(typed, "History")
    for history in histories:
        check_history(history, spec)
    return histories


def fitting_neurons(session: Session) -> str:
    """Return the context sizes that leave enough targets, as text for the form."""
    largest = largest_context(session.n_neurons, NEURONS)
    return ", ".join(str(count) for count in (0, *NEURONS) if count <= largest)


def tiers_of(session: Session | None) -> list[str]:
    """Return the selectable tiers; "test" stands for all test tiers."""
    tiers = [] if session is None else list(session.tiers())
    return ["test", *(tier for tier in tiers if tier not in ("none", "test"))]


def numbers_in(typed: str, name: str) -> tuple[int, ...]:
    """Return the comma-separated whole numbers in a text.

    Raises
    ------
    ValueError
        If a part is not a whole number; the message is shown to the user.
    """
    parts = [part.strip() for part in typed.split(",") if part.strip()]
    try:
        return tuple(int(part) for part in parts)
    except ValueError:
        raise ValueError(f"{name}: whole numbers with commas, as 0, 16, 64.") from None
