"""Panel *Time*: the whole session, and positions of the cursor in the window."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np

from omnimouse_model.data.overview import Overview
from omnimouse_model.data.session import Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.live.navigation import Navigation
from omnimouse_model.live.state import LiveState
from omnimouse_widgets import palette
from omnimouse_widgets.views.trace_row import cursor_sample


def cursor_s(state: LiveState) -> float | None:
    """Return the cursor time on the session clock; None without a window."""
    if state.window is None:
        return None
    return float(state.window.timestamps["responses"][state.cursor])


def move_cursor(state: LiveState, navigation: Navigation, time_s: float) -> None:
    """Move the cursor to the sample of the window nearest to a time."""
    if state.window is not None:
        time = state.window.timestamps["responses"]
        navigation.set_cursor(cursor_sample(time_s, time))


def frame_at_sample(spec: WindowSpec, sample: int) -> int:
    """Return the video frame on screen at a response sample; 0 without video."""
    if spec.video is None:
        return 0
    # 1e-6: a sample at the onset of a frame belongs to it in spite of rounding.
    frame = int(sample * spec.video.rate_hz / spec.response_rate_hz + 1e-6)
    return min(frame, spec.n_frames - 1)


def sample_at_frame(spec: WindowSpec, frame: int) -> int:
    """Return the first response sample at which a video frame is on screen."""
    if spec.video is None:
        return 0
    sample = ceil(frame * spec.response_rate_hz / spec.video.rate_hz - 1e-6)
    return min(sample, spec.n_samples - 1)


SESSION_TIP: Final = (
    "The whole session. Click or drag: move the window\n"
    "Bars: trials by tier, T test, V validation, O oracle, low grey: train\n"
    "Above: the stimulus; blue: video, yellow and lower: image, lowest: blank"
)
_TIP: Final = (
    "The whole session. Click or drag: move the window · ← →: move it by {} · "
    "Shift+← →: by {}\nPgUp, PgDown: previous, next trial · , .: previous, next frame\n"
    "Bars: trials by tier, T test, V validation, O oracle, low grey: train\n"
    "Above: the stimulus; blue: video, yellow and lower: image, lowest: blank;\n"
    "white marks: repeats of the current clip"
)
BETWEEN_TRIALS: Final = "between trials"
TRIAL_TIP: Final = "The current trial; type the number of another one (PgUp, PgDown)"
# About one bin per pixel of the strip; more would not be visible.
N_BINS: Final = 1000
LANE_HEIGHT: Final = 0.9
# Name, lower edge and height of each lane in plot units.
LANES: Final = (
    ("stimulus", 4.0, 0.9),
    ("trials", 3.0, 0.9),
    ("pupil", 2.0, 0.9),
    ("running", 1.0, 0.9),
    ("activity", 0.0, 0.9),
)
LINE_COLOURS: Final = {"pupil": "#B8A1D9", "running": "#8FC7A6", "activity": "#C9CDD3"}
# Trials of a long session are only a few pixels wide on the strip; a merged bar has
# room for its letter.
JOIN_S: Final = 1.0
"""Trials of one tier closer than this are drawn as one bar."""
# Tiers not listed are held-out tiers and have the full height.
_HEIGHTS: Final = {"train": 0.45, "none": 0.2}


@dataclass(frozen=True, slots=True)
class TierBar:
    """Time span of one tier, in seconds on the session clock."""

    start_s: float
    stop_s: float
    tier: str

    @property
    def colour(self) -> str:
        """Colour of the kind of tier."""
        return palette.TIER_COLOURS[palette.tier_kind(self.tier)]

    @property
    def letter(self) -> str:
        """V, O or T for held-out tiers, in addition to the colour."""
        return palette.TIER_LETTERS.get(palette.tier_kind(self.tier), "")

    @property
    def height(self) -> float:
        """Relative height: 1 for held-out tiers, less for training, least for none."""
        return _HEIGHTS.get(palette.tier_kind(self.tier), 1.0)


def tier_bars(overview: Overview) -> list[TierBar]:
    """Return the bars in order of time; close trials of one tier are merged."""
    bars: list[TierBar] = []
    for at in np.argsort(overview.trial_on, kind="stable"):
        tier = str(overview.trial_tier[at])
        start, stop = float(overview.trial_on[at]), float(overview.trial_off[at])
        last = bars[-1] if bars else None
        if last and last.tier == tier and start - last.stop_s <= JOIN_S:
            # max: trials may overlap, and a bar must not become shorter.
            bars[-1] = TierBar(last.start_s, max(stop, last.stop_s), tier)
        elif stop > start:
            bars.append(TierBar(start, stop, tier))
    return bars


@dataclass(frozen=True, slots=True)
class KindBar:
    """Time span of one kind of stimulus, in seconds on the session clock."""

    start_s: float
    stop_s: float
    kind: str
    letter: str = ""

    @property
    def colour(self) -> str:
        """Colour of the kind; unknown kinds have the colour of no stimulus."""
        return palette.KIND_COLOURS.get(self.kind, palette.KIND_COLOURS["none"])

    @property
    def height(self) -> float:
        """Relative height: 1 for videos, less for images, least for blanks."""
        return palette.KIND_HEIGHTS.get(self.kind, 0.2)


def kind_bars(overview: Overview) -> list[KindBar]:
    """Return the bars in order of time; close trials of one kind are merged."""
    bars: list[KindBar] = []
    for at in np.argsort(overview.trial_on, kind="stable"):
        start, stop = float(overview.trial_on[at]), float(overview.trial_off[at])
        kind = str(overview.trial_kind[at])
        last = bars[-1] if bars else None
        if last and last.kind == kind and start - last.stop_s <= JOIN_S:
            bars[-1] = KindBar(last.start_s, max(stop, last.stop_s), kind)
        elif stop > start:
            bars.append(KindBar(start, stop, kind))
    return bars


def letters_in(bars: Sequence[TierBar]) -> str:
    """Return the meaning of the letters on the bars, e.g. `T test · O oracle`."""
    on_screen = {bar.letter for bar in bars}
    return " · ".join(
        # No-break space: a letter stays on the line of its meaning.
        f"{letter}\N{NO-BREAK SPACE}{kind}"
        for kind, letter in palette.TIER_LETTERS.items()
        if letter and letter in on_screen
    )


def tier_at(bars: list[TierBar], time_s: float) -> str:
    """Return the tier of the bar at a time, or "" between bars."""
    for bar in bars:
        if bar.start_s <= time_s < bar.stop_s:
            return bar.tier
    return ""


def step_text(spec: WindowSpec, n: int = 1) -> str:
    """Return how far `n` steps of the window go: "2 s", or "1 trial"."""
    if spec.align == "trial":
        return f"{n} trial{'s' * (n != 1)}"
    return f"{n * spec.duration_s:.3g} s"


def tooltip(spec: WindowSpec) -> str:
    """Return the tooltip of the strip, with the steps of the window."""
    return _TIP.format(step_text(spec), step_text(spec, 10))


def in_unit(values: np.ndarray) -> np.ndarray:
    """Scale values from the 1st-99.5th percentile to 0-1 and clip; keep NaN."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return values
    low, high = np.percentile(finite, (1, 99.5))
    # 1e-9: constant values would divide by zero.
    scaled: np.ndarray = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    return scaled


def place_text(window: Window, bars: list[TierBar]) -> str:
    """Return where a window is, e.g. `433.2 s · test`."""
    tier = tier_at(bars, (window.start_s + window.stop_s) / 2)
    if not tier and len(window.session.trials.t_on):
        tier = BETWEEN_TRIALS
    return f"{window.start_s:z.1f} s · {tier}" if tier else f"{window.start_s:z.1f} s"
