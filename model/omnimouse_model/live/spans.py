"""Span of the session that the traces show around the window on screen.

Spans of a fixed length are pages that overlap by one window. While the window moves
within a page, the page's predictions stay valid.
"""

from typing import Final, Literal

import numpy as np

from omnimouse_model.data.clock import WINDOW_S
from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window

SpanChoice = Literal["window", "10 s", "30 s", "trial"]
SPAN_CHOICES: Final[tuple[SpanChoice, ...]] = ("window", "10 s", "30 s", "trial")
LONGEST_S: Final = 60.0
"""Trials longer than this are shown in pages of this length, in seconds."""
_LENGTHS: Final = {"10 s": 10.0, "30 s": 30.0}

Page = tuple[float, float]
"""Start and stop, seconds on the session clock."""


def page_around(session: Session, window: Window, choice: SpanChoice) -> Page | None:
    """Return the span shown around a window; None if it is the window itself."""
    if choice == "window":
        return None
    if choice == "trial":
        return _trial_around(session, window)
    return _page(window.start_s, _LENGTHS[choice])


def _page(start_s: float, length_s: float, origin_s: float = 0.0) -> Page:
    # Overlap by one window, so that every window lies within one page.
    step = length_s - WINDOW_S
    # 1 us of tolerance: rounding of the clock must not move a window at the start of a
    # page to the previous page.
    first = origin_s + step * np.floor((start_s - origin_s + 1e-6) / step)
    return float(first), float(first + length_s)


def _trial_around(session: Session, window: Window) -> Page | None:
    """Return the span of the trial at the window's centre, joined with the window."""
    trials, middle = session.trials, window.start_s + WINDOW_S / 2
    within = np.flatnonzero((trials.t_on <= middle) & (middle < trials.t_off))
    if not len(within):
        return None
    on, off = float(trials.t_on[within[0]]), float(trials.t_off[within[0]])
    # Pages of a long trial count from its onset, so that the first page starts there.
    if off - on > LONGEST_S:
        return _page(window.start_s, LONGEST_S, on)
    return min(on, window.start_s), max(off, window.start_s + WINDOW_S)
