"""Panel *Behaviour*: recorded and decoded behaviour, one row per channel."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, cast

import numpy as np

from omnimouse_model.data.session import Window
from omnimouse_model.data.window_spec import BehaviorSpec
from omnimouse_model.display import channel_text, difference_text, interval_text, number_text
from omnimouse_model.evaluation.results import BehaviorScore
from omnimouse_model.evaluation.running_score import decode_scores
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.live.navigation import Navigation
from omnimouse_model.live.pins import Pins
from omnimouse_model.live.project.exports import condition_text
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE, BehaviorMode
from omnimouse_model.storage.tables import write_table
from omnimouse_widgets.views import record
from omnimouse_widgets.views.rows.traces import Trace
from omnimouse_widgets.views.text.model import HAS_NONE, MODES, NO_BEHAVIOR, failure_text
from omnimouse_widgets.views.time import cursor_block, move_cursor
from omnimouse_widgets.views.traces import evidence_of, legend_entries

LEAST = (-1.5, 1.5)
"""A row spans three standard deviations of a channel at least."""
MODE_CODES = {"visible": VISIBLE, "target": TARGET, "hidden": HIDDEN}
LABEL: Final = "Behaviour, recorded and decoded"
TIP: Final = (
    "Recorded (white, on a light page black) and decoded (orange, dashed) behaviour, z-scored.\n"
    "The model itself decodes behaviour · grey bar: 1 s.d. of the recording\n"
    "Click or drag: move the cursor"
)


PINS_LABEL: Final = "Decodings of pinned conditions, compared over windows"
UNSCORED: Final = (
    "A pin is compared once its score is complete: it must have been on screen until then, "
    "and so must the present one."
)


class BehaviorView(OfController):
    """Curves of recorded and decoded behaviour, with the cursor that a press moves."""

    name = "behavior"

    def __init__(
        self,
        state: LiveState,
        results: Results,
        editor: MaskEditor,
        navigation: Navigation,
        pins: Pins,
    ) -> None:
        self._state, self._results, self._editor = state, results, editor
        self._navigation, self._pins = navigation, pins

    def blocks(self) -> Sequence[record.Block]:
        """Return the record: choice, rows, and the cursor, which moves more often."""
        events, results = self._state.events, self._results
        pinned = [events.pins, self._pins.changed]
        return [
            record.Block(self._head, [events.session, events.window, events.mask]),
            record.Block(self._items, [events.window, events.mask, results.changed, *pinned]),
            record.Block(self._comparison, [events.mask, results.changed, *pinned]),
            cursor_block(self._state),
        ]

    def _head(self) -> Sequence[record.Row]:
        state, mask = self._state, self._state.mask
        options = tuple((mode, mode, text) for mode, text in MODES.items())
        mode = "" if mask is None else mask.behavior_mode
        no_session = record.NO_SESSION if mask is None else ""
        no_mode = no_session or ("" if self.has_behavior else HAS_NONE)
        if not no_mode and state.spec.behavior is None:
            no_mode = NO_BEHAVIOR
        exports = (
            record.Action("csv", "Numbers (CSV)…", "Save the curves as a table", self._numbers),
            *record.file_actions(record.PICTURES, "Save the curves as drawn", self._save),
        )
        no_rows = no_session or ("" if self.has_behavior else HAS_NONE)
        return [
            record.Row(
                "head",
                (
                    record.Choice(
                        "mode", "Behaviour", "", options, mode, self._set_mode,
                        is_row=True, refusal=no_mode,
                    ),
                    record.Menu("export", "Export", "Save the curves", exports, no_rows),
                )
            )
        ]  # fmt: skip

    @property
    def has_behavior(self) -> bool:
        """Whether the recording has behaviour."""
        return self._state.session is not None and bool(self._state.session.behavior_names)

    def _items(self) -> Sequence[record.Item]:
        state = self._state
        rows = tuple(behavior_rows(state, self._results, self._pins))
        missing = record.NO_SESSION if state.window is None else HAS_NONE
        return [
            record.Legend("legend", tuple(legend_entries(bar="1 s.d."))),
            record.Text("status", behavior_text(state, self._results)),
            record.Traces("traces", LABEL, rows, "" if rows else missing, TIP, self._move),
        ]

    def _comparison(self) -> Sequence[record.Item]:
        """Return the correlations of pinned decodings, and how far that on screen is ahead."""
        decoding = [
            pin for pin in self._state.pins if pin.is_shown and pin.mask.has_behavior_target
        ]
        found = self._results.tier_score
        if not decoding or self._state.mask is None or not self._state.mask.has_behavior_target:
            return []
        now = {} if found is None else {one.channel: one for one in found.behavior}
        columns: list[dict[str, BehaviorScore]] = []
        for pin in decoding:
            answer = self._pins.predictions.windows.get(pin.slot)
            scored = None if answer is None else answer.find_tier_score()
            if scored is None or found is None or scored.n_windows != found.n_windows:
                columns.append({})
            else:
                columns.append({one.channel: one for one in scored.behavior})
        titles = ["channel", "now", *(
            title for pin in decoding for title in (pin.letter, f"now − {pin.letter}")
        )]  # fmt: skip
        channels = self._state.session.behavior_names if self._state.session else ()
        rows = []
        for name in channels:
            row = [channel_text(name), _value_text(now.get(name))]
            for column in columns:
                row += [_value_text(column.get(name)), _gain_text(now.get(name), column.get(name))]
            rows.append(tuple(row))
        evidence = evidence_of(self._results)
        note = f"r {evidence}; differences with their 95 % interval, paired over windows"
        return [
            record.Table("pins", PINS_LABEL, tuple(titles), tuple(rows)),
            record.Text("pins_note", note if all(columns) else UNSCORED),
        ]

    def _set_mode(self, mode: str) -> None:
        self._editor.set_behavior(cast(BehaviorMode, mode))

    def _move(self, time_s: float) -> None:
        move_cursor(self._state, self._navigation, time_s)

    def _save(self, ending: str) -> record.SavePicture:
        state, mask = self._state, self._state.mask
        assert mask is not None
        condition = condition_text(state, mask, self._results.population)
        return record.SavePicture(f"behaviour.{ending}", "traces", condition)

    def _numbers(self) -> record.SaveFile:
        rows = behavior_rows(self._state, self._results, self._pins)
        assert self._state.window is not None
        names = self._state.window.session.behavior_names
        columns: dict[str, np.ndarray] = {"time_s": rows[0].time}
        for name, row in zip(names, rows, strict=True):
            unknown = np.full(len(row.time), np.nan)
            columns[f"{name}_recorded"] = unknown if row.truth is None else row.truth
            columns[f"{name}_decoded"] = unknown if row.predicted is None else row.predicted
        return record.SaveFile("behaviour.csv", lambda path: [write_table(path, columns)])


def _value_text(score: BehaviorScore | None) -> str:
    return "–" if score is None else number_text(score.value)


def _gain_text(now: BehaviorScore | None, pinned: BehaviorScore | None) -> str:
    """Return the difference of two decodings with its interval, e.g. `+0.051 [+0.019, +0.083]`."""
    if now is None or pinned is None:
        return "–"
    gain = now.gain(pinned)
    return difference_text(gain.value, gain.low, gain.high)


def behavior_rows(state: LiveState, results: Results, pins: Pins) -> list[Trace]:
    """Return a row per channel of behaviour, in stored order, with the decodings of pins.

    Of a model that reads no behaviour, the rows have the recorded channels.
    """
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
    pinned = _pinned_decodings(state, pins, truth.shape)
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
            overlays=tuple(None if one is None else one[:, channel] for one in pinned),
        )
        for channel, name in enumerate(window.behavior_names)
    ]


def _pinned_decodings(
    state: LiveState, pins: Pins, shape: tuple[int, ...]
) -> list[np.ndarray | None]:
    """Return the decoded behaviour of each slot up to the last shown pin, None without one."""
    found: list[np.ndarray | None] = [None] * (1 + max((p.slot for p in state.pins), default=-1))
    for pin in state.pins:
        answer = pins.predictions.windows.get(pin.slot)
        prediction = None if answer is None else answer.prediction
        decoded = None if prediction is None else prediction.behavior
        # An answer for another window or model can have other samples.
        if pin.is_shown and decoded is not None and decoded.shape == shape:
            found[pin.slot] = decoded
    return found


def _labels(
    name: str, here: float, in_tier: BehaviorScore | None, *, is_old: bool
) -> tuple[str, str]:
    """Return e.g. `pupil size · r = 0.71 [0.60, 0.82] (here 0.43)`, and a short label.

    The score over windows of a tier has its interval; "here" marks that of the window.
    """
    text, older = channel_text(name), " (older)" if is_old else ""
    in_window = f"{number_text(here)}{older}" if np.isfinite(here) else ""
    if in_tier is None or not np.isfinite(in_tier.value):
        if not in_window:
            return text, text
        return f"{text} · r = {number_text(here)} here{older}", f"{text} · here {in_window}"
    score = interval_text(in_tier.value, in_tier.ci_low, in_tier.ci_high, 2)
    also = f" (here {in_window})" if in_window else ""
    return f"{text} · r = {score}{also}", f"{text} · {number_text(in_tier.value)}"


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


def behavior_text(state: LiveState, results: Results) -> str:
    """Return the role of behaviour in the current request."""
    if state.mask is None:
        return ""
    if state.session is not None and not state.session.behavior_names:
        return ""  # the reason stands in the place of the plots
    if state.spec.behavior is None:
        return NO_BEHAVIOR
    if state.mask.has_visible_behavior:
        return "Visible to the model: nothing to decode."
    if state.mask.behavior == "hidden":
        return "Hidden from the model, and no target."
    if results.freshness == "error":
        return failure_text(state, results)
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
