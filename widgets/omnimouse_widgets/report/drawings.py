"""Pictures of the report: mask, field, distribution, traces and context curves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from omnimouse_model.analysis.sweep.plan import AXES, ContextAxis
from omnimouse_model.analysis.sweep.table import ContextSweep, Curve
from omnimouse_model.data.units import Units
from omnimouse_model.masks import HIDDEN, MIXED, TARGET, VISIBLE, Mask
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.context.points import AXIS_WORDS, place_on
from omnimouse_widgets.report import svg
from omnimouse_widgets.report.markup import Markup, tag
from omnimouse_widgets.report.style import SCORE_STEPS, STATE_CLASSES
from omnimouse_widgets.report.svg import Frame

WIDTH: Final = 940.0
"""Width of a picture that fills the page, in SVG units."""
HALF: Final = 450.0
# SVG paths of the markers, by pyqtgraph's symbol names as the palette has them.
_MARKERS: Final = {
    "o": "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "s": "M-3.5,-3.5h7v7h-7z",
    "t1": "M0,-4.5L4.5,3.5H-4.5z",
    "d": "M0,-5L5,0L0,5L-5,0z",
}


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One line of a trace, with the CSS class of its style."""

    class_: str
    values: np.ndarray


# -- the mask -----------------------------------------------------------------------
def mask_picture(mask: Mask) -> Markup:
    """Return the counts of hidden, visible and target neurons, and the frames."""
    n_samples = mask.n_samples
    frame = Frame(0, 4, WIDTH, 74, (0, n_samples), (0, max(mask.n_neurons, 1)))
    parts, step = [], WIDTH / n_samples
    for at in range(n_samples):
        base = 0
        for code in (VISIBLE, TARGET, HIDDEN):
            n = int((mask.cells[at] == code).sum())
            top, bottom = float(frame.down(base + n)), float(frame.down(base))
            if n:
                words = f"sample {at}: {n:,} {STATE_CLASSES[code]}"
                name = f"fill-{STATE_CLASSES[code]}"
                parts.append(
                    # 0.3 units of overlap avoid visible gaps between bars.
                    svg.box(at * step, top, step + 0.3, bottom - top, name, words)
                )
            base += n
    step = WIDTH / max(len(mask.frames), 1)
    for at, is_visible in enumerate(mask.frames.tolist()):
        state = "visible" if is_visible else "hidden"
        words = f"video frame {at}: {state}"
        parts.append(svg.box(at * step + 0.5, 84, step - 1, 8, f"fill-{state}", words))
    for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end")):
        words = f"{share * mask.spec.duration_s:g} s"
        parts.append(svg.label(share * WIDTH, 108, words, anchor))
    return svg.picture(WIDTH, 112, "The mask over the window", parts)


# -- the field ----------------------------------------------------------------------
def positions(units: Units) -> tuple[np.ndarray, str]:
    """Return positions (P, 2) of neurons, (right, down), and their unit; "" for a grid.

    Neurons without a known position are NaN. If no position is known, all neurons are
    placed on a grid in their order.
    """
    microns, pixels = units.xyz_um[:, :2].astype(float), units.xy_px.astype(float)
    for places, words in ((microns, "µm"), (pixels, "px")):
        known = np.isfinite(places).all(axis=1)
        # Some files store one dummy position for all neurons.
        if known.any() and len(np.unique(places[known], axis=0)) > 1:
            return np.where(known[:, None], places, np.nan), words
    columns = int(np.ceil(np.sqrt(max(len(units), 1))))
    row, column = np.divmod(np.arange(len(units)), columns)
    return np.stack([column, row], axis=1).astype(float), ""


class FieldPictures:
    """Pictures of the neurons at their positions, by mask state and by score."""

    def __init__(self, units: Units) -> None:
        places, self.unit = positions(units)
        self.known = np.isfinite(places).all(axis=1)
        some = places[self.known] if self.known.any() else np.zeros((1, 2))
        low, high = some.min(axis=0), some.max(axis=0)
        span = np.maximum(high - low, 1e-9)
        self._side = HALF - 24
        self._scale = self._side / float(span.max())
        self._height = float(span[1] * self._scale) + 24
        self._places = 12 + (places - low) * self._scale
        # Marks cover a fixed share of the area of the field: with more neurons they are
        # smaller. `or 1.0` handles neurons on one line, where the span is 0.
        room = self._side**2 * float(span.min() / span.max() or 1.0)
        self._size = float(np.clip(0.8 * np.sqrt(room / max(len(units), 1)), 2.2, 11))

    @property
    def words(self) -> str:
        """Description of the positions."""
        left_out = int((~self.known).sum())
        words = f" {left_out:,} without a position are not drawn." if left_out else ""
        if not self.unit:
            return "The recording has no positions: neurons stand in their order."
        kind = {"µm": "the microscope's frame", "px": "the mean image"}[self.unit]
        return f"Positions in {kind}.{words}"

    def by_state(self, states: np.ndarray, is_asked: np.ndarray) -> Markup:
        """Return the field by state: visible full, target rings, hidden small.

        A neuron whose state changes within the window has a ring, in the target's
        colour if any sample is target, else in the visible colour.
        """
        parts = []
        for code, asked in ((HIDDEN, False), (VISIBLE, False), (TARGET, True),
                            (MIXED, False), (MIXED, True)):  # fmt: skip
            own = self._places[self.known & (states == code) & (is_asked == asked)]
            parts += _marks(own, self._size, code, is_asked=asked)
        return self._picture("The field by state", parts)

    def by_score(self, scores: np.ndarray) -> Markup:
        """Return the field by score, clipped to 0-1; without a score small and grey."""
        scored = self.known & np.isfinite(scores)
        without = self._places[self.known & ~scored]
        parts = [
            svg.dots(without, 0.4 * self._size, "dot hidden"),
            # A slightly larger dot below gives every score colour an edge, on light and
            # on dark.
            svg.dots(self._places[scored], self._size + 0.8, "dot edge"),
        ]
        steps = np.full(len(scores), -1)
        steps[scored] = (np.clip(scores[scored], 0, 1) * (SCORE_STEPS - 1)).round()
        for step in range(SCORE_STEPS):
            parts.append(
                svg.dots(self._places[steps == step], self._size, f"dot s{step}")
            )
        return self._picture("The field by score", parts)

    def _picture(self, words: str, parts: list[Markup]) -> Markup:
        below = self._height
        if self.unit:
            length = _round_below(0.3 * self._side / self._scale)
            parts.append(svg.rule(12, below + 8, 12 + length * self._scale, below + 8))
            right = 12 + length * self._scale + 6
            parts.append(
                svg.label(right, below + 12, f"{length:g} {self.unit}", "start")
            )
        return svg.picture(HALF, below + 20, words, parts, data_field="")

    @property
    def places(self) -> np.ndarray:
        """Position of each neuron on the pictures (P, 2); NaN for those not drawn."""
        return np.asarray(self._places)


def score_scale() -> Markup:
    """Return the colour bar of the scores."""
    parts = [
        svg.box(40 + at * 6, 2, 6.4, 10, f"fill-s{at}") for at in range(SCORE_STEPS)
    ]
    end = 40 + SCORE_STEPS * 6
    ends = [svg.label(36, 11, "r ≤ 0", "end"), svg.label(end + 5, 11, "1", "start")]
    return svg.picture(end + 24, 14, "Colours of scores from 0 to 1", [*parts, *ends])


def _round_below(value: float) -> float:
    power = 10.0 ** np.floor(np.log10(max(value, 1e-9)))
    return float(max(s * power for s in (1, 2, 5) if s * power <= value * 1.0001))


# -- the distribution ---------------------------------------------------------------
def distribution(scores: np.ndarray, median: float) -> Markup:
    """Return the histogram of the scores, in bins of 0.05."""
    # The axis reaches down to -0.2 or lower, so that most reports have the same axis.
    known = scores[np.isfinite(scores)]
    low = min(-0.2, np.floor(float(known.min()) * 5) / 5)
    edges = np.linspace(low, 1.0, round((1.0 - low) / 0.05) + 1)
    counts, _ = np.histogram(np.clip(known, low, 1.0), edges)
    frame = Frame(
        52, 10, WIDTH - 68, 150, (low, 1.0), (0, max(int(counts.max()), 1) * 1.05)
    )
    ticks = [t for t in svg.ticks_between(0, frame.y[1], 4) if t == round(t)]
    parts = svg.left_axis(frame, ticks, 0)
    width = float(frame.across(edges[1]) - frame.across(edges[0]))
    for n, edge in zip(counts.tolist(), edges[:-1], strict=True):
        left, top = float(frame.across(edge)), float(frame.down(n))
        words = f"{edge:.2f} to {edge + 0.05:.2f}: {n:,} neurons"
        parts.append(svg.box(left + 1, top, width - 2, 160 - top, "bar", words))
    at = float(frame.across(median))
    parts.append(svg.rule(at, 10, at, 160, "median"))
    ends = [(t, f"{t:.1f}".replace("-", "−")) for t in svg.ticks_between(low, 1.0, 8)]
    parts += svg.bottom_axis(frame, ends, "single-trial correlation r (dashed: median)")
    return svg.picture(WIDTH, 198, "Distribution of the scores", parts)


# -- traces -------------------------------------------------------------------------
def traces(
    times: np.ndarray,
    lines: Sequence[Line],
    shade: np.ndarray,
    *,
    has_axis: bool,
    unit: str = "",
) -> Markup:
    """Return the lines over the window, above a strip with the mask states.

    A second plot shows the same lines at the predicted samples only, each with its mean
    subtracted and divided by its standard deviation: these are the values that enter
    the correlation.
    """
    # Half a sample on each side, so that the strip below has a full box per sample.
    height, half = 88.0, float(times[1] - times[0]) / 2
    span = (float(times[0]) - half, float(times[-1]) + half)
    low, high = _ends(lines)
    frame = Frame(44, 4, 586, height, span, (low, high))
    parts = svg.left_axis(
        frame, svg.ticks_between(low, high, 3)[:4], _digits(low, high)
    )
    step = frame.width / len(times)
    for start, stop, code in _runs(shade):
        name = STATE_CLASSES[int(code)]
        left = frame.left + start * step
        words = f"{name}, samples {start} to {stop - 1}"
        wide = (stop - start) * step
        parts.append(svg.box(left, height + 6, wide, 4, f"fill-{name}", words))
    parts += [svg.line(frame, times, line.values, line.class_) for line in lines]
    if unit:
        parts.append(svg.label(frame.left + 4, frame.top + 10, unit, "start"))
    frames = [frame]
    scaled = _standardised(lines)
    if scaled:
        known = np.flatnonzero(np.isfinite(scaled[0].values))
        span = (float(times[known[0]]) - half, float(times[known[-1]]) + half)
        beside = Frame(678, 4, 250, height, span, _ends(scaled))
        parts += svg.left_axis(beside, svg.ticks_between(*beside.y, 3)[:4], 0)
        parts += [svg.line(beside, times, line.values, line.class_) for line in scaled]
        frames.append(beside)
    if has_axis:
        names = ("seconds of the recording", "the same, standardised")
        for own, name in zip(frames, names, strict=False):
            ticks = [(t, f"{t:.1f}") for t in svg.ticks_between(*own.x, 5)]
            below = Frame(own.left, 14, own.width, height, own.x, own.y)
            parts += svg.bottom_axis(below, ticks, name)
    return svg.picture(WIDTH, height + (50 if has_axis else 12), "Traces", parts)


def _ends(lines: Sequence[Line]) -> tuple[float, float]:
    known = np.concatenate([np.ravel(line.values) for line in lines])
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    room = max(0.06 * (high - low), 1e-6)
    return low - room, high + room


def _standardised(lines: Sequence[Line]) -> list[Line]:
    """Return the standardised lines at the predicted samples; [] without a prediction.

    The first line is the recording. Samples count if at least one other line is finite
    there.
    """
    asked = [np.isfinite(line.values) for line in lines[1:]]
    if not asked:
        return []
    where = np.logical_or.reduce(asked) & np.isfinite(lines[0].values)
    found = []
    for line in lines:
        values = np.where(where, line.values, np.nan)
        known = values[np.isfinite(values)]
        if known.size > 1 and known.std() > 0:
            found.append(Line(line.class_, (values - known.mean()) / known.std()))
    return found if len(found) > 1 else []


def _runs(codes: np.ndarray) -> Iterator[tuple[int, int, int]]:
    ends = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    for start, stop in pairwise(ends):
        yield start, stop, int(codes[start])


def _digits(low: float, high: float) -> int:
    return int(np.clip(np.ceil(-np.log10(max(high - low, 1e-9) / 3)), 0, 4))


# -- curves over context ------------------------------------------------------------
def curves(sweeps: Sequence[ContextSweep]) -> list[Markup]:
    """Return one picture of score against context per axis, on a common scale.

    The dash pattern of a line identifies its sweep.
    """
    drawn = [
        (at, curve)
        for at, sweep in enumerate(sweeps)
        for curve in sweep.curves()
        if not curve.fixed and any(np.isfinite(p.score) for p in curve.points)
    ]
    if not drawn:
        return []
    points = [p for _, c in drawn for p in c.points if np.isfinite(p.score)]
    score = np.array([p.score for p in points])
    spread = np.nan_to_num([p.sem for p in points])
    low, high = float((score - spread).min()), float((score + spread).max())
    # One range for the pictures of both axes, so that their curves can be compared.
    room = max(0.05, 0.12 * (high - low))
    found = []
    for axis in AXES:
        own = [(at, curve) for at, curve in drawn if curve.axis == axis]
        found += [_curves(own, axis, (low - room, high + room))] if own else []
    return found


def _curves(
    drawn: Sequence[tuple[int, Curve]], axis: ContextAxis, y: tuple[float, float]
) -> Markup:
    values = sorted({v for _, curve in drawn for v in curve.values})
    places = [place_on(axis, value) for value in values]
    pad = 0.06 * max(places[-1] - places[0], 1.0)
    frame = Frame(46, 8, HALF - 62, 190, (places[0] - pad, places[-1] + pad), y)
    ticks: list[tuple[float, str]] = []
    for value, place in zip(values, places, strict=True):
        if not ticks or place - ticks[-1][0] > 0.09 * (frame.x[1] - frame.x[0]):
            ticks.append((place, f"{value:,}"))
    parts = svg.left_axis(frame, svg.ticks_between(*frame.y, 5), 2)
    parts += svg.bottom_axis(frame, ticks, AXIS_WORDS[axis])
    parts += [_curve(frame, at, curve) for at, curve in drawn]
    return svg.picture(HALF, 240, f"Correlation against {AXIS_WORDS[axis]}", parts)


def _curve(frame: Frame, at: int, curve: Curve) -> Markup:
    """Return one curve, shifted slightly so that equal conditions stay visible."""
    look = list(palette.CONDITION_COLOURS).index(curve.label)
    # Four conditions, centred around the true value.
    dodge = (look - 1.5) * 0.012 * (frame.x[1] - frame.x[0])
    x = np.array([place_on(curve.axis, value) + dodge for value in curve.values])
    y = np.array([point.score for point in curve.points])
    parts = [svg.line(frame, x, y, f"given{look} sweep{at}")]
    for place, point in zip(x, curve.points, strict=True):
        if not np.isfinite(point.score):
            continue
        left, sem = float(frame.across(place)), float(np.nan_to_num(point.sem))
        ends = frame.down(np.array([point.score - sem, point.score + sem]))
        parts.append(svg.rule(left, ends[0], left, ends[1], f"given{look}"))
        parts.append(marker(look, left, float(frame.down(point.score))))
    return tag("g", *parts, class_=f"curve given{look} sweep{at}")


def marker(look: int, x: float, y: float) -> Markup:
    """Return the marker of a condition at a position."""
    name = list(palette.CONDITION_COLOURS)[look]
    shape = _MARKERS[palette.CONDITION_SYMBOLS[name]]
    place = f"translate({x:.1f} {y:.1f})"
    return tag("path", d=shape, transform=place, class_=f"fill-given{look} marker")


# -- legends ------------------------------------------------------------------------
def legend(
    entries: Sequence[tuple[Markup, str]],
    toggles: Sequence[str] = (),
    conditions: Sequence[str] = (),
) -> Markup:
    """Return the legend: small pictures, each with its text.

    Parameters
    ----------
    toggles
        CSS selector of the marks that each entry shows and hides.
    conditions
        Key of the condition of each entry, "" for none.
    """
    spans = [
        tag(
            "span",
            picture,
            words,
            data_toggles=toggles[at] if toggles else None,
            data_condition=(conditions[at] or None) if conditions else None,
        )
        for at, (picture, words) in enumerate(entries)
    ]
    return tag("div", *spans, class_="legend")


def stroke_sample(class_: str) -> Markup:
    """Return a short line in a style."""
    return svg.picture(28, 10, "", [tag("path", d="M1,5H27", class_=f"line {class_}")])


def marker_sample(look: int) -> Markup:
    """Return a marker in a style."""
    return svg.picture(12, 12, "", [marker(look, 6, 6)])


def state_sample(code: int, *, is_asked: bool = True) -> Markup:
    """Return the mark of a neuron in a state."""
    marks = _marks(np.array([[6.0, 6.0]]), 10, code, is_asked=is_asked)
    return svg.picture(12, 12, "", marks)


def _marks(
    places: np.ndarray, size: float, code: int, *, is_asked: bool
) -> list[Markup]:
    if code == HIDDEN:
        return [svg.dots(places, 0.55 * size, "dot hidden")]
    if code == VISIBLE:
        return [svg.dots(places, size, "dot visible")]
    rim = "target" if is_asked else "visible"
    core = "mixed" if code == MIXED else "paper"
    return [
        svg.dots(places, size, f"dot {rim}"),
        svg.dots(places, 0.5 * size, f"dot {core}"),
    ]
