"""Panel *Repeats*: all repeats of the clip on screen, with the ceiling they imply."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np

from omnimouse_model.data.recording import part_name
from omnimouse_model.display import interval_text, number_text
from omnimouse_model.evaluation.repeats import (
    ClipRepeats,
    RepeatedClip,
    ceiling_problem,
    most_frequent_status,
)
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.neurons.repeats import RepeatsOnScreen
from omnimouse_model.live.state import LiveState
from omnimouse_model.metrics.correlation import nanmean
from omnimouse_widgets import palette
from omnimouse_widgets.views import record

# Orange, so that it differs from the white means of single repeats.
AVERAGE: Final = "#E69F00"
LABEL: Final = "Repeats of the clip, side by side"
TIP: Final = (
    "All repeats of the clip, at their times in the recording. Rows: selected neurons\n"
    "(without a selection, a sample of all), from dark to yellow. Below: mean over\n"
    "neurons and, orange, over repeats; frame: the window.\n"
    "Press: move the window there · ← →: same moment of the previous or next repeat"
)
CEILING_TIP: Final = (
    "Correlation of a perfect prediction from the clip alone with the mean over\n"
    "repeats (CC_max, Schoppe et al. 2016), or with one repeat. A model that also\n"
    "sees behaviour or other neurons can exceed it.\n"
    "Oracle: correlation of each repeat with the mean of the others."
)
NO_CLIPS: Final = "No clip of this recording was presented more than once"
NOT_REPEATED: Final = "This clip has no repeats; choose a repeated clip above"
GAP: Final = 0.06
"""Gap between repeats as a fraction of the clip."""
MEAN_HEIGHT: Final = 0.45
"""Height of the means as a fraction of that of the rasters."""
RASTER_LOW: Final = 0.03
"""Lower edge of the rasters; their upper one is at 1."""
MAX_ROWS: Final = 64
MAX_LABELLED: Final = 5
"""Most neurons whose rows have room for their names."""
MAX_TICKS: Final = 10


class RepeatsView(OfController):
    """Rasters of all repeats; a press moves the window to that time.

    Repeat k begins at k times the length of a clip and its gap on the horizontal axis.
    """

    name = "repeats"

    def __init__(self, repeats: RepeatsOnScreen, state: LiveState) -> None:
        self._clips, self._state = repeats, state
        self._plot: tuple[ClipRepeats | None, record.Plot] = (
            None,
            record.Message("repeats", LABEL, ""),
        )

    def blocks(self) -> Sequence[record.Block]:
        """Return the record, which is one block."""
        events = self._state.events
        signals = [events.session, events.window, events.selection, self._clips.changed]
        # Without the last signal: what was read must not be asked for again.
        return [
            record.Block(tuple, signals[:-1], follow=self._follow),
            record.Block(self._items, signals),
        ]

    def _follow(self, is_visible: bool) -> None:
        """Read repeats only while the panel is visible."""
        if is_visible:
            self._clips.follow()
        else:
            self._clips.stop()

    def _items(self) -> Sequence[record.Item | record.Row]:
        text = self._ceiling()
        tip = f"{text}\n{CEILING_TIP}" if text else ""
        head: tuple[record.Item, ...] = (
            *self._choices(),
            *self._steps(),
            record.Text("repeat", self._place(), is_line=True),
            *self._signs(),
        )
        return [
            record.Row("head", head, wide="repeat"),
            # A line of its own: beside the buttons, half of it would be cut.
            record.Text("ceiling", text, "quiet", tip, is_line=True),
            self._content(),
            self._window(),
        ]

    def _choices(self) -> tuple[record.Choice, ...]:
        clips, current = self._clips.clips, self._clips.clip
        if not clips:
            return ()
        options = [(str(number), clip_text(clip, number), "") for number, clip in enumerate(clips)]
        if current is None:
            options.insert(0, ("", "repeated clips…", ""))
        return (
            record.Choice(
                "clip",
                "Clip",
                "Move the window to a clip that was presented more than once",
                tuple(options),
                "" if current is None else str(clips.index(current)),
                lambda number: self._clips.go_to_clip(int(number)) if number else None,
            ),
        )

    def _steps(self) -> tuple[record.Action, ...]:
        refusal = "" if self._clips.clip is not None else self._missing()
        return tuple(
            record.Action(
                f"{which}_repeat",
                sign,
                f"Same moment of the {which} repeat ({arrow})",
                partial(self._clips.step, by),
                refusal,
                key,
            )
            for which, sign, arrow, by, key in (
                ("previous", "◂", "←", -1, "Left"),
                ("next", "▸", "→", 1, "Right"),
            )
        )

    def _ceiling(self) -> str:
        repeats, session = self._clips.responses, self._state.session
        if repeats is None or session is None:
            return ""
        return reliability_text(repeats, str(session.units.names[repeats.neurons[0]]))

    def _place(self) -> str:
        repeats, number = self._clips.responses, self._clips.repeat
        if repeats is None or number is None:
            return ""
        return f"repeat {number + 1} of {len(repeats.onset_s)}"

    def _signs(self) -> tuple[record.Legend, ...]:
        """Return what the lines are; beside the buttons there is room in a low window."""
        repeats = self._clips.responses
        if repeats is None:
            return ()
        each = "mean over neurons" if len(repeats.neurons) > 1 else "response"
        signs = ("━", palette.RECORDED, each), ("━", AVERAGE, "mean over repeats")
        return (record.Legend("legend", signs),)

    def _content(self) -> record.Plot:
        repeats, session = self._clips.responses, self._state.session
        if repeats is None or session is None:
            return record.Message("repeats", LABEL, self._missing())
        # The window moves often; the repeats of a clip stay the same object.
        if repeats is not self._plot[0]:
            names = [str(session.units.names[neuron]) for neuron in repeats.neurons]
            self._plot = repeats, repeats_plot(repeats, names, self._go_to)
        return self._plot[1]

    def _missing(self) -> str:
        """Return why no repeats are shown."""
        if self._state.session is None:
            return record.NO_SESSION
        if not self._clips.clips:
            return NO_CLIPS
        if self._clips.clip is None:
            return NOT_REPEATED
        if self._clips.error is not None:
            return f"⚠ Not read: {self._clips.error}"
        return f"◌ {self._clips.message or 'Reading repeats'}"

    def _window(self) -> record.Overlay:
        """Return the frame around the part of the repeat that lies in the window."""
        repeats, number, window = self._clips.responses, self._clips.repeat, self._state.window
        if repeats is None or number is None or window is None:
            return record.Overlay("window", "repeats", palette.CURSOR)
        onset, length = float(repeats.onset_s[number]), repeats.clip.duration_s
        left, right = (
            # The window may extend beyond the clip: limit it to the repeat.
            number * pitch_s(repeats) + min(max(at - onset, 0.0), length)
            for at in (window.start_s, window.stop_s)
        )
        x = np.array([left, right, right, left, left])
        y = np.array([-MEAN_HEIGHT, -MEAN_HEIGHT, 1.0, 1.0, -MEAN_HEIGHT])
        return record.Overlay("window", "repeats", palette.CURSOR, x, y)

    def _go_to(self, x: float, _: float) -> None:
        repeats = self._clips.responses
        if repeats is None:
            return
        number, time_s = divmod(x, pitch_s(repeats))
        if 0 <= number < len(repeats.onset_s):
            # A press in the gap counts as the end of the repeat before it.
            self._clips.go_to(int(number), min(time_s, repeats.clip.duration_s))


def pitch_s(repeats: ClipRepeats) -> float:
    """Return the distance between the starts of two repeats on the axis, in seconds."""
    time_s = repeats.time_s
    step_s = float(time_s[-1] - time_s[0]) / max(len(time_s) - 1, 1)
    return len(time_s) * step_s * (1 + GAP)


def repeats_plot(
    repeats: ClipRepeats,
    names: Sequence[str],
    pick: Callable[[float, float], object] | None = None,
) -> record.Curves:
    """Return rasters and means of the repeats; `names` of the units label a few rows."""
    pitch, count, n = pitch_s(repeats), len(repeats.onset_s), len(repeats.neurons)
    step = -(-count // MAX_TICKS)  # ceiling division
    # The first row is the upper one.
    height = (1.0 - RASTER_LOW) / n
    rows = [(1.0 - (row + 0.5) * height, _row_label(name, n)) for row, name in enumerate(names)]
    if n > MAX_LABELLED:
        rows = [(0.5, f"{n}\nneurons")]
    return record.Curves(
        "repeats",
        LABEL,
        _means(repeats),
        "",
        "",
        tuple((k * pitch, f"{repeats.onset_s[k]:z.0f} s") for k in range(0, count, step)),
        up_ticks=(*rows, (-MEAN_HEIGHT / 2, "mean")),
        limits=(0.0, count * pitch - GAP, -MEAN_HEIGHT, 1.0),
        raster=record.Raster(
            _pixels(binned_rows(repeats.responses)), (0.0, count * pitch, RASTER_LOW, 1.0)
        ),
        tip=TIP,
        pick=pick,
    )


def _row_label(name: str, count: int) -> str:
    """Return the label of one of `count` rows; there is room for about eight letters."""
    if count == 1:
        return f"unit\n{name}"
    return f"unit {name}" if len(name) < 5 else name


def _pixels(rows: np.ndarray) -> np.ndarray:
    """Return the colours of responses (row, repeat, time), with transparent gaps."""
    gap = max(round(rows.shape[2] * GAP), 1)
    padded = np.pad(rows, ((0, 0), (0, 0), (0, gap)), constant_values=np.nan)
    return response_pixels(padded.reshape(len(rows), -1))


def brightest_response(values: np.ndarray) -> float:
    """Return the least response that `response_pixels` draws yellow."""
    known = values[np.isfinite(values)]
    # The 99th percentile keeps single large responses from darkening the rest.
    return max(float(np.percentile(known, 99)) if len(known) else 1.0, 1e-6)


def response_pixels(values: np.ndarray) -> np.ndarray:
    """Return uint8 (row, column, 4): dark to yellow; transparent where unknown."""
    is_known = np.isfinite(values)
    shares = np.clip(np.where(is_known, values, 0.0) / brightest_response(values), 0.0, 1.0)
    colours = palette.viridis_table()[(255 * shares).astype(np.uint8)]
    alpha = np.where(is_known, 255, 0).astype(np.uint8)
    return np.concatenate([colours, alpha[..., None]], axis=-1)


def _means(repeats: ClipRepeats) -> tuple[record.Line, record.Line]:
    """Return the mean over repeats, and that over neurons, at the height of the means."""
    each = nanmean(repeats.responses, 0)  # (repeat, time)
    average = nanmean(repeats.average, 0)
    finite = np.concatenate([each.ravel(), average])
    finite = finite[np.isfinite(finite)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    # All repeats share one scale; the means lie below the rasters.
    scale = (MEAN_HEIGHT - 0.05) / max(float(high - low), 1e-9)

    def placed(values: np.ndarray) -> np.ndarray:
        # NaN breaks the line between repeats.
        return np.append(-MEAN_HEIGHT + 0.02 + (values - low) * scale, np.nan)

    pitch = pitch_s(repeats)
    places = [np.append(repeats.time_s + k * pitch, np.nan) for k in range(len(each))]
    x = np.concatenate(places)
    means = np.concatenate([placed(values) for values in each])
    return (
        record.Line("", AVERAGE, x, np.concatenate([placed(average)] * len(each)), ""),
        record.Line("", palette.RECORDED, x, means, ""),
    )


def binned_rows(responses: np.ndarray) -> np.ndarray:
    """Average adjacent neurons of (neuron, repeat, time) to at most 64 rows."""
    size = -(-len(responses) // MAX_ROWS)
    if size <= 1:
        return responses
    groups = [nanmean(responses[at : at + size], 0) for at in range(0, len(responses), size)]
    return np.stack(groups)


def clip_text(clip: RepeatedClip, number: int) -> str:
    """Return text such as `clip 2 · 10 × 8.0 s · oracle`, with its name instead of 2 if any."""
    counts = Counter(part_name(tier) for tier in clip.tiers if tier).most_common()
    parts = ", ".join(f"{n} {part}" if len(counts) > 1 else part for part, n in counts)
    text = f"clip {clip.name or number + 1} · {len(clip.trials)} × {clip.duration_s:z.1f} s"
    return f"{text} · {parts}" if parts else text


def reliability_text(repeats: ClipRepeats, name: str = "") -> str:
    """Return the reliability as text: the median over neurons that have one.

    `name` is the neuron's name, used if there is only one neuron.
    """
    is_known = np.isfinite(repeats.cc_max)
    n = len(repeats.neurons)
    if not is_known.any():
        status = most_frequent_status(repeats.status)
        problem = ceiling_problem(status, len(repeats.onset_s))
        return f"no reliability: {problem or 'no neuron is selected'}"
    scope = f"{n} neurons, median" if n > 1 else f"unit {name}".rstrip()
    if n > 1 and not is_known.all():
        scope = f"{is_known.sum()} of {n} neurons, median"
    top, single, oracle = (
        _median(values[is_known])
        for values in (repeats.cc_max, repeats.single_trial_max, repeats.oracle)
    )
    one = interval_text(single, *repeats.interval, 2)
    return (
        f"Reliability: one repeat {one}, mean {number_text(top)} · "
        f"oracle {number_text(oracle)} ({scope})"
    )


def _median(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else np.nan
