"""Span of the session that the traces show around the window on screen.

Spans of a fixed length are pages that overlap by one window. While the window moves
within a page, the page's predictions stay valid.
"""

from typing import Final, Literal

import numpy as np

from omnimouse_model.data.clock import GRID_RATE_HZ
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec

SpanChoice = Literal["window", "10 s", "30 s", "trial"]
SPAN_CHOICES: Final[tuple[SpanChoice, ...]] = ("window", "10 s", "30 s", "trial")
LONGEST_S: Final = 60.0
"""Trials longer than this are shown in pages of this length, in seconds."""
_LENGTHS: Final = {"10 s": 10.0, "30 s": 30.0}

Page = tuple[float, float]
"""Start and stop, seconds on the session clock."""


def span_choices(spec: WindowSpec) -> tuple[SpanChoice, ...]:
    """Return the spans that can be shown for windows of a spec.

    Longer spans are stitched from windows on the grid of window starts, at its rate.
    """
    on_grid = spec.response_rate_hz == GRID_RATE_HZ and spec.align == "grid"
    return SPAN_CHOICES if on_grid else ("window",)


def shown_span(choice: SpanChoice, spec: WindowSpec) -> SpanChoice:
    """Return the span that is drawn: the window where `choice` is not possible."""
    return choice if choice in span_choices(spec) else "window"


def page_around(session: Session, window: Window, choice: SpanChoice) -> Page | None:
    """The span that is shown around a window; None where that is the window itself."""
    choice = shown_span(choice, window.spec)
    if choice == "window" or window.exact_start is not None:
        return None
    # Trials have no grid: their span follows from the recording.
    page = _trial_around(session, window) if choice == "trial" else _page(window, _LENGTHS[choice])
    return None if page is None else _without_pauses(session, window, page)


def _without_pauses(session: Session, window: Window, page: Page) -> Page:
    """Return the part of a page in the recorded stretch of the window."""
    spans = session.responses.recorded_spans
    if spans is None:
        return page
    # Windows keep their distance from pauses: the window lies in one stretch.
    row = int(np.searchsorted(spans[:, 0], window.native_start, side="right")) - 1
    first, last = spans[max(row, 0)] - session.t0
    return max(page[0], float(first)), min(page[1], float(last))


def _page(window: Window, length_s: float, origin_s: float = 0.0) -> Page:
    # Pages overlap by one window, so that each window lies completely in a page.
    start_s, step = window.start_s, length_s - window.spec.duration_s
    # a window that begins on a page's edge belongs there, whatever its clock's noise
    first = origin_s + step * np.floor((start_s - origin_s + 1e-6) / step)
    return float(first), float(first + length_s)


def _trial_around(session: Session, window: Window) -> Page | None:
    """The trial in the middle of the window, and the window."""
    trials, middle = session.trials, (window.start_s + window.stop_s) / 2
    within = np.flatnonzero((trials.t_on <= middle) & (middle < trials.t_off))
    if not len(within):
        return None
    on, off = float(trials.t_on[within[0]]), float(trials.t_off[within[0]])
    # Pages of a long trial count from its onset, so that the first page starts there.
    if off - on > LONGEST_S:
        return _page(window, LONGEST_S, on)
    # A window at the edge of a trial reaches beyond it; the traces show all of it.
    return min(on, window.start_s), max(off, window.stop_s)
