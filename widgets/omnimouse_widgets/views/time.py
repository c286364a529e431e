"""Panel *Time*: the whole session with its window, and steps through it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np

from omnimouse_model.data.recording import Overview, cached, part_name
from omnimouse_model.data.session import Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.navigation import Navigation
from omnimouse_model.live.neurons.repeats import RepeatsOnScreen
from omnimouse_model.live.state import LiveState
from omnimouse_widgets import palette
from omnimouse_widgets.views import record
from omnimouse_widgets.views.rows.traces import cursor_sample

LABEL: Final = "Timeline of the recording"
TIP: Final = (
    "The whole recording. Click or drag: move the window · ← →: move it by itself · "
    "Shift+← →: by ten\nPgUp, PgDown: previous, next trial · , .: previous, next frame\n"
    "Bars: trials by part (tier), T test, V validation, O oracle, low grey: train\n"
    "Above: the stimulus; blue: video, yellow and lower: image, lowest: blank;\n"
    "white marks: repeats of the current clip"
)
BETWEEN_TRIALS: Final = "between trials"
TRIAL_TIP: Final = "The current trial; type the number of another one (PgUp, PgDown)"
N_BINS: Final = 1000
"""Bins of the overview, about one per pixel of a panel."""
CURVES: Final = (
    ("pupil", "#B8A1D9", "pupil_size"),
    ("running", "#8FC7A6", "running"),
    ("activity", "#C9CDD3", "population"),
)
"""Name, colour and attribute of the overview of each curve."""
JOIN_S: Final = 1.0
"""Trials of one kind closer than this are one bar, so that it has room for its letter."""
# Tiers not listed are held-out tiers and have the full height.
_HEIGHTS: Final = {"train": 0.45, "none": 0.2}
STIMULUS: Final = "stimulus"
"""Name of the lane of stimuli, in which repeats are marked."""


class TimeView(OfController):
    """Lanes of the session on the left; on the right, steps of the window and trials."""

    name = "time"

    def __init__(self, state: LiveState, navigation: Navigation, repeats: RepeatsOnScreen) -> None:
        self._state, self._navigation, self._repeats = state, navigation, repeats

    def blocks(self) -> Sequence[record.Block]:
        """Return the record: lanes and window; steps, trial and letters of tiers."""
        events, trial = self._state.events, self._navigation.trial_changed
        window = [events.window, events.session]
        return [
            record.Block(self.timeline, [events.session]),
            record.Block(self._place, window),
            record.Block(self.steps, [*window, trial], column=1),
        ]

    def timeline(self) -> Sequence[record.Item]:
        """Return the lanes of the session."""
        session, extent, times = self._state.session, (0.0, 1.0), np.zeros(0)
        if session is not None:
            overview = session.overview(N_BINS)
            times = overview.centers_s
            extent = float(overview.edges_s[0]), float(overview.edges_s[-1])
        missing = record.NO_SESSION if session is None else ""
        shown = self._session_lanes()
        return [record.Timeline("timeline", LABEL, TIP, extent, times, shown, missing, self._go)]

    def _session_lanes(self) -> tuple[record.Lane, ...]:
        session = self._state.session
        if session is None:
            return ()
        # The window moves often; the lanes of a session stay the same objects.
        return cached(session, "lanes", lambda: lanes_of(session.overview(N_BINS)))

    def _go(self, time_s: float) -> None:
        if self._state.session is not None:
            self._navigation.centre_on(time_s)

    def _place(self) -> Sequence[record.Item]:
        state, clip = self._state, self._repeats.clip
        window, session = state.window, state.session
        if window is None or session is None:
            return [record.Place("window", "timeline", palette.CURSOR, None)]
        tiers = next((lane.bars for lane in self._session_lanes() if lane.name != STIMULUS), ())
        starts = () if clip is None else session.trials.t_on[list(clip.trials)].tolist()
        span, text = (window.start_s, window.stop_s), place_text(window, tiers)
        return [
            record.Place("window", "timeline", palette.CURSOR, span, text, tuple(starts), STIMULUS)
        ]

    def steps(self) -> Sequence[record.Item | record.Row]:
        """Return trial, steps of the window, and the meaning of the letters on bars."""
        state, navigation = self._state, self._navigation
        refusal = "" if state.session is not None else record.NO_SESSION
        step, n, number = step_text(state.spec), navigation.n_trials, navigation.trial
        row: list[record.Item] = []
        if n:
            value, none = 0 if number is None else number + 1, f"trial – / {n}"
            # 0 stands for no trial, and is in the range only then.
            row.append(
                record.Number("trial", "Trial", TRIAL_TIP, value, min(value, 1), n,
                              lambda typed: navigation.go_to_trial(typed - 1), f" / {n}",
                              "trial ", "" if value else none)
            )  # fmt: skip

        def step_by(name: str, label: str, tip: str, by: int, key: str) -> record.Action:
            return record.Action(
                name, label, tip, partial(navigation.step_window, by), refusal, key
            )

        row += [
            step_by("window_back", f"◂ {step}", "Previous window", -1, "Left"),
            step_by("window_next", f"{step} ▸", "Next window", 1, "Right"),
            step_by("far_back", "", "Ten windows back", -10, "Shift+Left"),
            step_by("far_next", "", "Ten windows forward", 10, "Shift+Right"),
        ]
        return [
            record.Row("steps", tuple(row)),
            record.Legend("letters", signs_of(self._session_lanes())),
        ]


def lanes_of(overview: Overview) -> tuple[record.Lane, ...]:
    """Return the lanes of a session; those without values are empty."""
    stimuli = record.Lane(STIMULUS, tuple(kind_bars(overview)) if overview.has_trials else ())
    # Where no trial names a tier, the bars show the tiers of time spans.
    is_of_trials = overview.has_trials and not overview.parts
    tiers = record.Lane("trials" if is_of_trials else "parts", tuple(tier_bars(overview)))
    curves = [
        record.Lane(name, (), colour, in_unit(getattr(overview, values)))
        for name, colour, values in CURVES
    ]
    return stimuli, tiers, *curves


def tier_bars(overview: Overview) -> list[record.Bar]:
    """Return a bar per tier and time; V, O or T marks held-out tiers, with the colour."""

    def bar(start: float, stop: float, part: str) -> record.Bar:
        kind = part if part in palette.TIER_COLOURS else "none"
        letter, share = palette.TIER_LETTERS.get(kind, ""), _HEIGHTS.get(kind, 1.0)
        return record.Bar(start, stop, part, palette.TIER_COLOURS[kind], share, letter)

    if overview.parts:
        return [bar(*part) for part in sorted(overview.parts)]
    return _joined(overview, [part_name(str(tier)) for tier in overview.trial_tier], bar)


def kind_bars(overview: Overview) -> list[record.Bar]:
    """Return a bar per kind of stimulus and time; an unknown one looks like none."""

    def bar(start: float, stop: float, kind: str) -> record.Bar:
        colour = palette.KIND_COLOURS.get(kind, palette.KIND_COLOURS["none"])
        return record.Bar(start, stop, kind, colour, palette.KIND_HEIGHTS.get(kind, 0.2))

    return _joined(overview, overview.trial_kind, bar)


def _joined(
    overview: Overview,
    kinds: Sequence[str] | np.ndarray,
    make: Callable[[float, float, str], record.Bar],
) -> list[record.Bar]:
    """Return the bars in order of time; close trials of one kind are merged."""
    bars: list[record.Bar] = []
    for at in np.argsort(overview.trial_on, kind="stable"):
        start, stop = float(overview.trial_on[at]), float(overview.trial_off[at])
        last, kind = bars[-1] if bars else None, str(kinds[at])
        if last and last.kind == kind and start - last.stop_s <= JOIN_S:
            # max: trials may overlap, and a bar must not become shorter.
            bars[-1] = make(last.start_s, max(stop, last.stop_s), kind)
        elif stop > start:
            bars.append(make(start, stop, kind))
    return bars


def cursor_block(state: LiveState) -> record.Block:
    """Return the block of a panel that draws the time cursor over its traces."""

    def read() -> Sequence[record.Item]:
        window = state.window
        x = np.zeros(0) if window is None else window.timestamps["responses"][[state.cursor]]
        return [record.Overlay("cursor", "traces", palette.CURSOR, x, x)]

    return record.Block(read, [state.events.cursor, state.events.window])


def move_cursor(state: LiveState, navigation: Navigation, time_s: float) -> None:
    """Move the cursor to the sample of the window nearest to a time."""
    if state.window is not None:
        time = state.window.timestamps["responses"]
        navigation.set_cursor(cursor_sample(time_s, time))


def signs_of(lanes: Sequence[record.Lane]) -> tuple[tuple[str, str, str], ...]:
    """Return letter, colour and name of each tier whose letter is on a bar.

    A bar that is too narrow for its letter has the colour alone.
    """
    on_screen = {bar.letter for lane in lanes for bar in lane.bars}
    return tuple(
        (letter, palette.TIER_COLOURS[kind], kind)
        for kind, letter in palette.TIER_LETTERS.items()
        if letter and letter in on_screen
    )


def tier_at(bars: Sequence[record.Bar], time_s: float) -> str:
    """Return the tier of the bar at a time, or "" between bars."""
    for bar in bars:
        if bar.start_s <= time_s < bar.stop_s:
            return bar.kind
    return ""


def step_text(spec: WindowSpec, n: int = 1) -> str:
    """Return how far `n` steps of the window go: "2 s", or "1 trial"."""
    if spec.align == "trial":
        return f"{n} trial{'s' * (n != 1)}"
    return f"{n * spec.duration_s:.3g} s"


def in_unit(values: np.ndarray) -> np.ndarray:
    """Scale values from the 1st-99.5th percentile to 0-1 and clip; keep NaN."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return values
    low, high = np.percentile(finite, (1, 99.5))
    # 1e-9: constant values would divide by zero.
    return np.clip((values - low) / max(high - low, 1e-9), 0, 1)


def place_text(window: Window, bars: Sequence[record.Bar]) -> str:
    """Return where a window is, e.g. `433.2 s · test`."""
    tier = tier_at(bars, (window.start_s + window.stop_s) / 2)
    if not tier and len(window.session.trials.t_on) and not window.session.split:
        tier = BETWEEN_TRIALS
    return f"{window.start_s:z.1f} s · {tier}" if tier else f"{window.start_s:z.1f} s"
