"""Pictures of the report: mask, field, distribution, traces and context curves.

Own SVG instead of the figures of `omnimouse_widgets.figures`, which was measured: a
report of the demo has 0.22 MB, 0.09 MB of them pictures. A page with plotly contains
4.8 MB of scripts, shows no picture without them, and its policy would have to allow
them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from omnimouse_model.analysis.sweep.contexts import AXES, ContextAxis
from omnimouse_model.analysis.sweep.table import ContextSweep, Curve, distinct_curves
from omnimouse_model.data.neurons import Units
from omnimouse_model.display import number_text
from omnimouse_model.masks import HIDDEN, MIXED, TARGET, VISIBLE, Mask
from omnimouse_model.metrics.named import Metric
from omnimouse_widgets import palette
from omnimouse_widgets.report import markup
from omnimouse_widgets.report.markup import SCORE_STEPS, STATE_CLASSES, Frame, Markup, tag
from omnimouse_widgets.views.context.curves import AXIS_TEXT, dodge, place_on
from omnimouse_widgets.views.field import probes
from omnimouse_widgets.views.rows.raster import groups
from omnimouse_widgets.views.scores import score_bins

WIDTH: Final = 940.0
"""Width of a picture that fills the page, in SVG units."""
HALF: Final = 450.0
# SVG paths of the markers, by the symbol names of pyqtgraph in the palette.
_MARKERS: Final = {
    "o": "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "s": "M-3.5,-3.5h7v7h-7z",
    "t1": "M0,-4.5L4.5,3.5H-4.5z",
    "d": "M0,-5L5,0L0,5L-5,0z",
}


@dataclass(frozen=True, slots=True, eq=False)
class PlotLine:
    """One line of a trace, with the CSS class of its style."""

    class_: str
    values: np.ndarray


# -- the mask -----------------------------------------------------------------------
def mask_picture(mask: Mask) -> Markup:
    """Return the counts of hidden, visible and target neurons, and the frames."""
    n_samples = mask.n_samples
    frame = Frame(0, 4, WIDTH, 74, (0, n_samples), (0, max(mask.n_neurons, 1)))
    parts, step = [], WIDTH / n_samples
    codes = (VISIBLE, TARGET, HIDDEN)
    counts = np.stack([(mask.cells == code).sum(axis=1) for code in codes], axis=1)
    for first, last in _spans(counts):
        base = 0
        for code, n in zip(codes, counts[first].tolist(), strict=True):
            top, bottom = float(frame.down(base + n)), float(frame.down(base))
            if n:
                state = STATE_CLASSES[code]
                title = f"{_span_text('sample', first, last)}: {n:,} {state}"
                # 0.3 units of overlap avoid visible gaps between bars.
                box = (first * step, top, (last + 1 - first) * step + 0.3, bottom - top)
                parts.append(markup.box(*box, f"fill-{state}", title))
            base += n
    step = WIDTH / max(len(mask.frames), 1)
    for first, last in _spans(mask.frames[:, None]):
        state = "visible" if mask.frames[first] else "hidden"
        title = f"{_span_text('video frame', first, last)}: {state}"
        box = (first * step + 0.5, 84, (last + 1 - first) * step - 1, 8)
        parts.append(markup.box(*box, f"fill-{state}", title))
    for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end")):
        label = f"{share * mask.spec.duration_s:.3g} s"
        parts.append(markup.label(share * WIDTH, 108, label, anchor))
    return markup.picture(WIDTH, 112, "The mask over the window", parts)


def _spans(rows: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield first and last index of each run of equal rows."""
    if len(rows):
        starts = [0, *(np.flatnonzero((rows[1:] != rows[:-1]).any(axis=1)) + 1).tolist()]
        yield from zip(starts, [*(at - 1 for at in starts[1:]), len(rows) - 1], strict=True)


def _span_text(unit: str, first: int, last: int) -> str:
    return f"{unit} {first}" if first == last else f"{unit}s {first}–{last}"


# -- the field ----------------------------------------------------------------------
def positions(units: Units) -> tuple[np.ndarray, str]:
    """Return positions (P, 2) of neurons, (right, down), and their unit; "" for a grid.

    Units on probes have one column per probe, by depth; their unit is "probes".
    Neurons without a known position are NaN. If no position is known, all neurons are
    placed on a grid in their order.
    """
    if probes.has_depths(units):
        return probes.probe_places(units)[:, ::-1], "probes"
    microns, pixels = units.xyz_um[:, :2].astype(float), units.xy_px.astype(float)
    for places, unit in ((microns, "µm"), (pixels, "px")):
        is_known = np.isfinite(places).all(axis=1)
        # Some files store one dummy position for all neurons.
        if is_known.any() and len(np.unique(places[is_known], axis=0)) > 1:
            return np.where(is_known[:, None], places, np.nan), unit
    columns = int(np.ceil(np.sqrt(max(len(units), 1))))
    row, column = np.divmod(np.arange(len(units)), columns)
    return np.stack([column, row], axis=1).astype(float), ""


class FieldPictures:
    """Pictures of the neurons at their positions, by mask state and by score.

    Attributes
    ----------
    places
        Position of each neuron on the pictures (P, 2); NaN for those not drawn.
    unit
        Unit of the recorded positions; "" without positions.
    """

    def __init__(self, units: Units) -> None:
        places, self.unit = positions(units)
        self.is_known = np.isfinite(places).all(axis=1)
        known = places[self.is_known] if self.is_known.any() else np.zeros((1, 2))
        low, high = known.min(axis=0), known.max(axis=0)
        self._texts: tuple[tuple[float, float, str], ...] = ()
        self._outlines: tuple[np.ndarray, ...] = ()
        if self.unit == "probes":  # their names and depths stand around them
            low, high = np.zeros(2), np.full(2, float(probes.FIELD_SIDE))
            self._texts, self._outlines = probes.probe_texts(units), probes.probe_outlines(units)
        span = np.maximum(high - low, 1e-9)
        self._side = HALF - 24
        self._scale = self._side / float(span.max())
        self._height = float(span[1] * self._scale) + 24
        self.places = 12 + (places - low) * self._scale
        # Marks cover a fixed share of the area of the field: with more neurons they are
        # smaller. `or 1.0` handles neurons on one line, where the span is 0.
        area = self._side**2 * float(span.min() / span.max() or 1.0)
        self._size = float(np.clip(0.8 * np.sqrt(area / max(len(units), 1)), 2.2, 11))

    @property
    def description(self) -> str:
        """Description of the positions."""
        if not self.unit:
            return "The recording has no positions: neurons are drawn in their order."
        if self.unit == "probes":
            unplaced = int((~self.is_known).sum())
            more = f" {unplaced:,} without a depth are not drawn." if unplaced else ""
            return f"One column per probe, by depth.{more}"
        n_unknown = int((~self.is_known).sum())
        more = f" {n_unknown:,} without a position are not drawn." if n_unknown else ""
        frame = {"µm": "the microscope's frame", "px": "the mean image"}[self.unit]
        return f"Positions in {frame}.{more}"

    def by_state(self, states: np.ndarray, is_target: np.ndarray) -> Markup:
        """Return the field by state: visible full, target rings, hidden small.

        A neuron whose state changes within the window has a ring, in the target's
        colour if any sample is target, else in the visible colour.
        """
        parts = []
        # SVG draws in document order: mixed neurons, the rarest, are in front.
        for code, has_target in ((HIDDEN, False), (VISIBLE, False), (TARGET, True),
                                 (MIXED, False), (MIXED, True)):  # fmt: skip
            is_drawn = self.is_known & (states == code) & (is_target == has_target)
            places = self.places[is_drawn]
            parts += _marks(places, self._size, code, has_target=has_target)
        return self._picture("The field by state", parts)

    def by_score(self, scores: np.ndarray) -> Markup:
        """Return the field by score, clipped to 0-1; without a score small and grey."""
        is_scored = self.is_known & np.isfinite(scores)
        unscored = self.places[self.is_known & ~is_scored]
        parts = [
            markup.dots(unscored, 0.4 * self._size, "dot hidden"),
            # A slightly larger dot below gives every score colour an edge, on light and
            # on dark.
            markup.dots(self.places[is_scored], self._size + 0.8, "dot edge"),
        ]
        # One path per colour: -1 has no colour.
        steps = np.full(len(scores), -1)
        shares = np.clip(scores[is_scored], 0, 1)
        steps[is_scored] = (shares * (SCORE_STEPS - 1)).round()
        parts += [
            markup.dots(self.places[steps == step], self._size, f"dot s{step}")
            for step in range(SCORE_STEPS)
        ]
        return self._picture("The field by score", parts)

    def _picture(self, label: str, parts: list[Markup]) -> Markup:
        y = self._height
        for down, right, text in self._texts:
            at = 12 + right * self._scale, 16 + down * self._scale
            parts.append(markup.label(*at, text, "middle"))
        for path in self._outlines:
            corners = 12 + path[:, ::-1] * self._scale
            for start, end in pairwise(corners.tolist()):
                parts.append(markup.rule(*start, *end))
        if self.unit and self.unit != "probes":
            # A scale bar of a round length, about 30 % of the picture.
            length = _round_below(0.3 * self._side / self._scale)
            right = 12 + length * self._scale
            parts.append(markup.rule(12, y + 8, right, y + 8))
            scale = f"{length:g} {self.unit}"
            parts.append(markup.label(right + 6, y + 12, scale, "start"))
        return markup.picture(HALF, y + 20, label, parts, data_field="")


def score_scale(metric: Metric) -> Markup:
    """Return the colour bar of the scores."""
    # 0.4 units of overlap avoid visible gaps between the colours.
    parts = [markup.box(40 + k * 6, 2, 6.4, 10, f"fill-s{k}") for k in range(SCORE_STEPS)]
    end = 40 + SCORE_STEPS * 6
    is_r = metric.symbol == "r"
    last = "1" if is_r else f"1 {metric.symbol}"
    ends = [
        markup.label(36, 11, "r ≤ 0" if is_r else "≤ 0", "end"),
        markup.label(end + 5, 11, last, "start"),
    ]
    width = end + 24 + 6 * (len(last) - 1)
    return markup.picture(width, 14, "Colours of scores from 0 to 1", [*parts, *ends])


def _round_below(value: float) -> float:
    power = 10.0 ** np.floor(np.log10(max(value, 1e-9)))
    return float(max(s * power for s in (1, 2, 5) if s * power <= value * 1.0001))


# -- the distribution ---------------------------------------------------------------
def distribution(scores: np.ndarray, median: float, metric: Metric) -> Markup:
    """Return the histogram of the scores."""
    # The axis contains -0.2 to 1, so that most reports have the same axis.
    finite = scores[np.isfinite(scores)]
    edges = score_bins([np.array([-0.2, 1.0]), finite])
    low, high = float(edges[0]), float(edges[-1])
    counts, _ = np.histogram(finite, edges)
    highest = max(int(counts.max()), 1) * 1.05
    frame = Frame(52, 10, WIDTH - 68, 150, (low, high), (0, highest))
    # Neurons are counted, so ticks are whole numbers.
    ticks = [t for t in markup.ticks_between(0, frame.y[1], 4) if t == round(t)]
    parts = markup.left_axis(frame, ticks, 0)
    width = float(frame.across(edges[1]) - frame.across(edges[0]))
    for n, edge in zip(counts.tolist(), edges[:-1], strict=True):
        left, top = float(frame.across(edge)), float(frame.down(n))
        title = f"{number_text(edge)} to {number_text(edge + edges[1] - edges[0])}: {n:,} neurons"
        parts.append(markup.box(left + 1, top, width - 2, 160 - top, "bar", title))
    x = float(frame.across(median))
    parts.append(markup.rule(x, 10, x, 160, "median"))
    ends = [(t, number_text(t, 1)) for t in markup.ticks_between(low, high, 8)]
    name = metric.unit if metric.symbol != "r" else f"{metric.unit} r"
    parts += markup.bottom_axis(frame, ends, f"{name} (dashed: median)")
    return markup.picture(WIDTH, 198, "Distribution of the scores", parts)


# -- traces -------------------------------------------------------------------------
def traces(
    times: np.ndarray,
    lines: Sequence[PlotLine],
    states: np.ndarray,
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
    parts = markup.left_axis(frame, markup.ticks_between(low, high, 3)[:4], _digits(low, high))
    step = frame.width / len(times)
    for start, stop, code in groups(states):
        name = STATE_CLASSES[code]
        title = f"{name}, samples {start} to {stop - 1}"
        box = (frame.left + start * step, height + 6, (stop - start) * step, 4)
        parts.append(markup.box(*box, f"fill-{name}", title))
    parts += [markup.line(frame, times, line.values, line.class_) for line in lines]
    if unit:
        parts.append(markup.label(frame.left + 4, frame.top + 10, unit, "start"))
    frames = [frame]
    scaled = _standardised(lines)
    if scaled:
        finite = np.flatnonzero(np.isfinite(scaled[0].values))
        span = (float(times[finite[0]]) - half, float(times[finite[-1]]) + half)
        right = Frame(678, 4, 250, height, span, _ends(scaled))
        parts += markup.left_axis(right, markup.ticks_between(*right.y, 3)[:4], 0)
        parts += [markup.line(right, times, line.values, line.class_) for line in scaled]
        frames.append(right)
    if has_axis:
        labels = ("seconds of the recording", "seconds, standardised values")
        # Not strict: without a prediction there is no plot on the right.
        for plot, label in zip(frames, labels, strict=False):
            ticks = [(t, number_text(t, 1)) for t in markup.ticks_between(*plot.x, 5)]
            parts += markup.bottom_axis(replace(plot, top=14), ticks, label)
    return markup.picture(WIDTH, height + (50 if has_axis else 12), "Traces", parts)


def _ends(lines: Sequence[PlotLine]) -> tuple[float, float]:
    values = np.concatenate([np.ravel(line.values) for line in lines])
    finite = values[np.isfinite(values)]
    low, high = float(finite.min(initial=np.inf)), float(finite.max(initial=-np.inf))
    if low > high:
        return 0.0, 1.0
    # A constant line needs a range above 0, too.
    margin = max(0.06 * (high - low), 1e-6)
    return low - margin, high + margin


def _standardised(lines: Sequence[PlotLine]) -> list[PlotLine]:
    """Return the standardised lines at the predicted samples; [] without a prediction.

    The first line is the recording. Samples count if at least one other line is finite
    there.
    """
    predicted = [np.isfinite(line.values) for line in lines[1:]]
    if not predicted:
        return []
    is_used = np.logical_or.reduce(predicted) & np.isfinite(lines[0].values)
    standardised = []
    for line in lines:
        values = np.where(is_used, line.values, np.nan)
        finite = values[np.isfinite(values)]
        # A constant line has no standard deviation to divide by.
        if finite.size > 1 and finite.std() > 0:
            scaled = (values - finite.mean()) / finite.std()
            standardised.append(PlotLine(line.class_, scaled))
    return standardised if len(standardised) > 1 else []


def _digits(low: float, high: float) -> int:
    # Enough decimals to distinguish about three ticks.
    return int(np.clip(np.ceil(-np.log10(max(high - low, 1e-9) / 3)), 0, 4))


# -- curves over context ------------------------------------------------------------
def curves(sweeps: Sequence[ContextSweep]) -> list[Markup]:
    """Return one picture of score against context per axis, on a common scale.

    The dash pattern of a line identifies its sweep.
    """
    # (number of the sweep, curve). Of a grid, the curves at 0 on the other axis.
    numbered = [
        (number, curve)
        for number, sweep in enumerate(sweeps)
        for curve in distinct_curves(sweep)
        if not curve.fixed and any(np.isfinite(p.score) for p in curve.points)
    ]
    if not numbered:
        return []
    points = [p for _, c in numbered for p in c.points if np.isfinite(p.score)]
    ends = np.array([p.ends for p in points])
    low, high = float(ends.min()), float(ends.max())
    # One range for the pictures of both axes, so that their curves can be compared.
    margin = max(0.05, 0.12 * (high - low))
    pictures = []
    for axis in AXES:
        curves = [pair for pair in numbered if pair[1].axis == axis]
        if curves:
            pictures.append(_curves(curves, axis, (low - margin, high + margin)))
    return pictures


def _curves(
    numbered: Sequence[tuple[int, Curve]], axis: ContextAxis, y: tuple[float, float]
) -> Markup:
    values = sorted({v for _, curve in numbered for v in curve.values})
    places = [place_on(axis, value) for value in values]
    margin = 0.06 * max(places[-1] - places[0], 1.0)
    x = (places[0] - margin, places[-1] + margin)
    frame = Frame(46, 8, HALF - 62, 190, x, y)
    ticks: list[tuple[float, str]] = []
    for value, place in zip(values, places, strict=True):
        # Labels closer than 9 % of the axis would overlap.
        if not ticks or place - ticks[-1][0] > 0.09 * (frame.x[1] - frame.x[0]):
            ticks.append((place, f"{value:,}"))
    parts = markup.left_axis(frame, markup.ticks_between(*frame.y, 5), 2)
    parts += markup.bottom_axis(frame, ticks, AXIS_TEXT[axis])
    parts += [_curve(frame, number, curve) for number, curve in numbered]
    return markup.picture(HALF, 240, f"Score against {AXIS_TEXT[axis]}", parts)


def _curve(frame: Frame, number: int, curve: Curve) -> Markup:
    """Return one curve, shifted slightly so that equal conditions stay visible."""
    condition = list(palette.CONDITION_COLOURS).index(curve.label)
    offset = dodge(curve.label, curve.axis, curve.values, palette.CONDITION_COLOURS)
    x = np.array([place_on(curve.axis, value) + offset for value in curve.values])
    y = np.array([point.score for point in curve.points])
    parts = [markup.line(frame, x, y, f"inputs{condition} sweep{number}")]
    for place, point in zip(x, curve.points, strict=True):
        if not np.isfinite(point.score):
            continue
        left, ends = float(frame.across(place)), frame.down(np.array(point.ends))
        parts.append(markup.rule(left, ends[0], left, ends[1], f"inputs{condition}"))
        parts.append(marker(condition, left, float(frame.down(point.score))))
    return tag("g", *parts, class_=f"curve inputs{condition} sweep{number}")


def marker(condition: int, x: float, y: float) -> Markup:
    """Return the marker of a condition at a position."""
    name = list(palette.CONDITION_COLOURS)[condition]
    shape = _MARKERS[palette.CONDITION_SYMBOLS[name]]
    place = f"translate({x:z.1f} {y:z.1f})"
    class_ = f"fill-inputs{condition} marker"
    return tag("path", d=shape, transform=place, class_=class_)


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
            label,
            data_toggles=toggles[k] if toggles else None,
            data_condition=(conditions[k] or None) if conditions else None,
        )
        for k, (picture, label) in enumerate(entries)
    ]
    return tag("div", *spans, class_="legend")


def stroke_sample(class_: str) -> Markup:
    """Return a short line in a style."""
    return markup.picture(28, 10, "", [tag("path", d="M1,5H27", class_=f"line {class_}")])


def marker_sample(condition: int) -> Markup:
    """Return the marker of a condition."""
    return markup.picture(12, 12, "", [marker(condition, 6, 6)])


def state_sample(code: int, *, has_target: bool = True) -> Markup:
    """Return the mark of a neuron in a state."""
    marks = _marks(np.array([[6.0, 6.0]]), 10, code, has_target=has_target)
    return markup.picture(12, 12, "", marks)


def _marks(places: np.ndarray, size: float, code: int, *, has_target: bool) -> list[Markup]:
    if code == HIDDEN:
        return [markup.dots(places, 0.55 * size, "dot hidden")]
    if code == VISIBLE:
        return [markup.dots(places, size, "dot visible")]
    # A ring: a smaller dot covers the middle of a larger one.
    rim = "target" if has_target else "visible"
    core = "mixed" if code == MIXED else "paper"
    return [
        markup.dots(places, size, f"dot {rim}"),
        markup.dots(places, 0.5 * size, f"dot {core}"),
    ]
