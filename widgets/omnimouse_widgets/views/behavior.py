"""Panel *Behaviour*: recorded and decoded behaviour, one row per channel."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Self

import numpy as np

from omnimouse_model.analysis.evaluate.results import BehaviorScore
from omnimouse_model.analysis.evaluate.window_scores import decode_scores
from omnimouse_model.data.session import Window
from omnimouse_model.data.window_spec import BehaviorSpec
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.traces.row import Trace
from omnimouse_widgets.drawn.traces.rows import evidence_of
from omnimouse_widgets.drawn.traces.text import legend_entries
from omnimouse_widgets.drawn.traces.time_axis import cursor_s, move_cursor
from omnimouse_widgets.drawn.units import channel_text
from omnimouse_widgets.views.record import Block, Item, Legend, Overlay, Text, Traces

LEAST = (-1.5, 1.5)
"""A row spans three standard deviations of a channel at least."""
NO_BEHAVIOR = "This model reads no behaviour."
HAS_NONE: Final = "This session has no behaviour"
NO_SESSION: Final = "No session is open"
MODE_CODES = {"visible": VISIBLE, "target": TARGET, "hidden": HIDDEN}
LABEL: Final = "Behaviour, recorded and decoded"
TIP: Final = (
    "Recorded (white) and decoded (orange, dashed) behaviour, z-scored.\n"
    "The predictor itself decodes behaviour · grey bar: 1 s.d. of the session\n"
    "Click or drag: move the cursor"
)


class BehaviorView:
    """Curves of recorded and decoded behaviour, with the cursor that a press moves."""

    name = "behavior"

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    @classmethod
    def of(cls, controller: Controller) -> Self:
        """Return the view of a controller."""
        return cls(controller)

    def blocks(self) -> Sequence[Block]:
        """Return the record: rows, and the cursor, which moves more often."""
        events, results = self._controller.state.events, self._controller.results
        return [
            Block(self._items, [events.window, events.mask, results.changed]),
            Block(self._cursor, [events.cursor, events.window]),
        ]

    def _items(self) -> Sequence[Item]:
        return [
            self.legend(),
            Text("status", behavior_text(self._controller)),
            self.traces(),
        ]

    def legend(self) -> Legend:
        """Return the signs of the rows, which do not change."""
        return Legend("legend", tuple(legend_entries()))

    def traces(self) -> Traces:
        """Return the rows of the window on screen."""
        controller = self._controller
        rows = tuple(behavior_rows(controller))
        missing = NO_SESSION if controller.state.window is None else HAS_NONE
        return Traces(
            "traces", LABEL, rows, "" if rows else missing, TIP,
            lambda time_s: move_cursor(controller, time_s),
        )  # fmt: skip

    def _cursor(self) -> Sequence[Item]:
        time_s = cursor_s(self._controller)
        x = np.zeros(0) if time_s is None else np.array([time_s])
        return [Overlay("cursor", "traces", palette.CURSOR, x, x)]


def behavior_rows(controller: Controller) -> list[Trace]:
    """Return a row per channel of behaviour, in stored order.

    Of a model that reads no behaviour, the rows have the recorded channels.
    """
    state, results = controller.state, controller.results
    window, mask = state.window, state.mask
    if window is None or mask is None or state.session is None:
        return []
    if window.spec.behavior is None:
        window = _with_behavior(window)
    # Invalid samples become NaN, which curves and scores leave out.
    truth = np.where(window.valid["behavior"][:, None], window.behavior, np.nan)
    decoded = results.behavior if mask.has_behavior_target else None
    # An older result can belong to a session with other channels.
    if decoded is not None and decoded.shape != truth.shape:
        decoded = None
    # NaN is shown as no score, never as 0.
    scores = [np.nan] * truth.shape[1]
    if decoded is not None:
        scores = decode_scores(decoded, window).tolist()
    found = results.tier_score
    in_tier = {} if found is None else {b.channel: b for b in found.behavior}
    return [
        Trace(
            *_labels(name, scores[channel], in_tier.get(name), is_old=results.is_old),
            _times(window, name),
            truth[:, channel],
            None if decoded is None else decoded[:, channel],
            np.full(len(truth), MODE_CODES[mask.mode_of(channel)], np.uint8),
            results.is_old,
            LEAST,
        )
        for channel, name in enumerate(window.behavior_names)
    ]


def _labels(
    name: str, here: float, in_tier: BehaviorScore | None, *, is_old: bool
) -> tuple[str, str]:
    """Return e.g. `pupil size · r = 0.71 [0.60, 0.82] (here 0.43)`, and a short label.

    The score over windows of a tier has its interval; "here" marks that of the window.
    """
    text, older = channel_text(name), " (older)" if is_old else ""
    in_window = f"{here:z.2f}{older}" if np.isfinite(here) else ""
    if in_tier is None or not np.isfinite(in_tier.value):
        if not in_window:
            return text, text
        return f"{text} · r = {here:z.2f} here{older}", f"{text} · here {in_window}"
    value, low, high = in_tier.value, in_tier.ci_low, in_tier.ci_high
    interval = f" [{low:z.2f}, {high:z.2f}]" if np.isfinite(low) else ""
    also = f" (here {in_window})" if in_window else ""
    return f"{text} · r = {value:z.2f}{interval}{also}", f"{text} · {value:z.2f}"


def _with_behavior(window: Window) -> Window:
    """Return the window with the recorded behaviour, at the rate of its responses."""
    names = window.session.behavior_names
    if not names:
        return window
    # A rate of the window: another one need not give whole samples.
    spec = BehaviorSpec(window.spec.response_rate_hz, names, stored_order=True)
    return replace(window, spec=replace(window.spec, behavior=spec))


def _times(window: Window, name: str) -> np.ndarray:
    """Return the sample times of the stream of a channel."""
    times = window.timestamps
    # Running speed is the last channel; the others come from the eye tracker.
    is_running = name == window.session.behavior_names[-1] and "treadmill" in times
    stream = "treadmill" if is_running else "eye_tracker"
    return times.get(stream, times.get("treadmill", times["responses"]))


def behavior_text(controller: Controller) -> str:
    """Return the role of behaviour in the current request."""
    state, results = controller.state, controller.results
    if state.mask is None:
        return ""
    if state.spec.behavior is None:
        return NO_BEHAVIOR
    if state.mask.has_visible_behavior:
        return "Visible to the model: nothing to decode."
    if state.mask.behavior == "hidden":
        return "Hidden from the model, and no target."
    if results.freshness == "error":
        return f"Not available: {results.error}"
    if results.behavior is not None:
        stale = " (of a previous mask)" if results.is_old else ""
        evidence = evidence_of(results)
        scored = f"; r {evidence}" if evidence else ""
        return f"Decoded by {state.predictor_name}{stale}{scored}."
    if results.freshness == "running":
        return "Requested; predicting…"
    if results.freshness == "stopped":
        return "Requested, then stopped."
    return f"Not available: {state.predictor_name or 'no model'} did not decode it."
