"""Drawing surface based on Pillow, 1 point = 2 pixels, and the traces drawn on it."""

import io
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.models.finetune import model_name
from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_widgets import palette
from omnimouse_widgets.views.rows.raster import groups
from omnimouse_widgets.views.rows.traces import Trace, low_and_scale, time_extent
from omnimouse_widgets.views.traces import BASELINE_SIGN, shown_name

SCALE: Final = 2
"""Pixels per point, as on common high-resolution screens."""
PACKED: Final = 7
"""PNG compression level: nearly the smallest file, in a quarter of the time."""
MAX_BYTES: Final = 150_000
COLOURS: Final = 256
MAX_EXACT: Final = 128
"""Maximum number of exact colours, for lines and texts; images share the others."""
BACKGROUND: Final = "#16181D"
TEXT: Final = "#D6D9DF"
QUIET: Final = "#9AA0A8"
WIDTH: Final = 960
EDGE: Final = 10
GAP: Final = 8
"""Width of every picture, its margin, and the gap between adjacent items, in points."""
_PLAIN: Final = str.maketrans(
    {
        **{"–": "-", "−": "-", "→": "then", "µ": "u", "×": "x", "≤": "<=", "≥": ">="},
        **{"┃": "|", "┅": "--", "≈": "~"},
    }
)
"""Replacements for characters that Pillow's built-in font lacks.

This font is used because it exists on every machine."""

Places = Sequence[tuple[float, float]] | np.ndarray


class Sheet:
    """Image to draw on; coordinates are in points from the upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        size = (round(SCALE * width), round(SCALE * height))
        self._image = Image.new("RGB", size, BACKGROUND)
        self._draw = ImageDraw.Draw(self._image)
        # A dict as an ordered set: if there are too many, the first colours stay exact.
        self._exact = dict.fromkeys((BACKGROUND,))

    def text(self, x: float, y: float, content: str, colour: str, size: float = 11) -> float:
        """Draw a text with its upper left corner at (x, y); return its right end."""
        self.keep_exact(colour)
        place = (SCALE * x, SCALE * y)
        self._draw.text(place, plain(content), fill=colour, font=_font(size))
        return x + width_of(content, size)

    def picture(self, pixels: np.ndarray, x: float, y: float, width: float, height: float) -> None:
        """Draw uint8 (rows, columns, 3) in a rectangle; enlarged pixels stay sharp.

        Its colours are approximate in the finished image: see `keep_exact`.
        """
        size = (round(SCALE * width), round(SCALE * height))
        drawn = Image.fromarray(np.ascontiguousarray(pixels))
        is_smaller = size[0] < drawn.width or size[1] < drawn.height
        # BOX averages the pixels when shrinking; NEAREST would drop rows and columns.
        method = Image.Resampling.BOX if is_smaller else Image.Resampling.NEAREST
        place = (round(SCALE * x), round(SCALE * y))
        self._image.paste(drawn.resize(size, method), place)

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """Fill a rectangle; one without area is not drawn."""
        ends = [SCALE * x, SCALE * y, SCALE * (x + width) - 1, SCALE * (y + height) - 1]
        self.keep_exact(colour)
        # Pillow includes the last pixel (hence -1) and rejects reversed corners.
        if ends[2] >= ends[0] and ends[3] >= ends[1]:
            self._draw.rectangle(ends, fill=colour)

    def disk(self, x: float, y: float, radius: float, core: str, rim: str) -> None:
        """Draw a disk with a rim."""
        box = [SCALE * v for v in (x - radius, y - radius, x + radius, y + radius)]
        self.keep_exact(core, rim)
        self._draw.ellipse(box, fill=core, outline=rim, width=SCALE)

    def wedge(self, x: float, y: float, colour: str) -> None:
        """Draw a small triangle that points at (x, y) from the left."""
        self.keep_exact(colour)
        corners = [(x - 4, y - 2.5), (x, y), (x - 4, y + 2.5)]
        self._draw.polygon([(SCALE * a, SCALE * b) for a, b in corners], fill=colour)

    def line(self, places: Places, colour: str, dashes: tuple[float, float] | None = None) -> None:
        """Draw a line through points (n, 2), with gaps at NaN."""
        self.keep_exact(colour)
        points = SCALE * np.asarray(places, float).reshape(-1, 2)
        is_known = np.isfinite(points).all(axis=1)
        # The difference of booleans is True at both ends of each run of known points.
        ends = np.flatnonzero(np.diff(np.concatenate([[False], is_known, [False]])))
        for start, stop in ends.reshape(-1, 2):
            run = points[start:stop]
            pieces = [run]
            if dashes is not None:
                pieces = _dashed(run, SCALE * dashes[0], SCALE * dashes[1])
            for piece in pieces:
                self._draw.line([tuple(p) for p in piece.tolist()], colour, SCALE)

    def png(self) -> bytes:
        """Return a PNG with 256 colours; at half the resolution if it is too large."""
        file = self._encoded(self._image)
        if len(file) > MAX_BYTES:
            file = self._encoded(self._image.reduce(SCALE))
        return file

    def _encoded(self, image: Image.Image) -> bytes:
        # Quantising alone would merge the rare colours of thin lines with others. The
        # palette therefore begins with them, and quantising chooses the others.
        exact = list(self._exact)[:MAX_EXACT]
        others = image.quantize(COLOURS - len(exact), dither=_NO_DITHER)
        first = [part for colour in exact for part in palette.rgb(colour)]
        # Pillow takes the palette of another image, here of one pixel.
        colours = Image.new("P", (1, 1))
        colours.putpalette([*first, *(others.getpalette() or [])])
        file = io.BytesIO()
        drawn = image.quantize(palette=colours, dither=_NO_DITHER)
        drawn.save(file, "PNG", compress_level=PACKED)
        return file.getvalue()

    def keep_exact(self, *colours: str) -> None:
        """Keep these colours in the finished image, to within 4 of 255."""
        self._exact.update(dict.fromkeys(colours))


_NO_DITHER: Final = Image.Dither.NONE


def plain(text: str) -> str:
    """Return a text without accents, and with `?` for characters the font lacks."""
    # NFKD separates a letter from its accents, which are then removed.
    separated = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    letters = (c for c in separated if not unicodedata.combining(c))
    return "".join(c if c.isascii() or c in "·…±" else "?" for c in letters)


def width_of(text: str, size: float = 11) -> float:
    """Return the width of a text in points."""
    return float(_font(size).getlength(plain(text))) / SCALE


_MOST_LETTERS = 1000


def cut(text: str, width: float, size: float = 11) -> str:
    """Return a text, shortened with "…" to fit a width in points."""
    # Names in files can have a million letters, and measuring them takes long.
    few = text[:_MOST_LETTERS]
    if few == text and width_of(text, size) <= width:
        return text
    n = bisect_right(range(len(few)), width, key=lambda n: width_of(f"{few[:n]}…", size)) - 1
    return f"{few[: max(n, 0)].rstrip()}…"


def blended_over(colour: str, share: float, background: str = BACKGROUND) -> str:
    """Return a colour with opacity `share` over a background."""
    pairs = zip(palette.rgb(colour), palette.rgb(background), strict=True)
    return hex_of([share * a + (1 - share) * b for a, b in pairs])


def hex_of(parts: Sequence[float] | np.ndarray) -> str:
    """Return `#RRGGBB` for red, green and blue from 0 to 255."""
    red, green, blue = (round(float(part)) for part in parts[:3])
    return f"#{red:02X}{green:02X}{blue:02X}"


@cache
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(SCALE * size)


def _dashed(points: np.ndarray, on: float, off: float) -> list[np.ndarray]:
    """Return the dashes of a line as polylines; lengths are in pixels."""
    # Arc length at each vertex: dashes keep their phase across vertices.
    steps = np.hypot(*np.diff(points, axis=0).T)
    length = np.concatenate([[0.0], np.cumsum(steps)])
    pieces = []
    for start in np.arange(0.0, length[-1], on + off):
        stop = min(start + on, length[-1])
        # A dash includes the vertices inside it, so that it follows the bends.
        inside = length[(length > start) & (length < stop)]
        stops = np.concatenate([[start], inside, [stop]])
        pieces.append(np.stack([np.interp(stops, length, v) for v in points.T], axis=1))
    return pieces


# -- traces of the static picture: recorded and predicted responses -------------------
COLUMNS: Final = 2
ROW: Final = 58
"""Height in points of a row: label, then curves."""
LABEL: Final = 16
LEGEND: Final = 24
HEIGHT: Final = ROW - LABEL - 4
SHADES: Final = {VISIBLE: 0.18, TARGET: 0.09}
"""Opacity of the shade of a sample, by its state."""
DASHED: Final = (5.0, 3.0)
DOTTED: Final = (1.5, 2.5)


@dataclass(frozen=True, slots=True, eq=False)
class _Curve:
    """Name, appearance and values of a curve; `dashes` are (on, off) in points."""

    name: str
    colour: str
    dashes: tuple[float, float] | None
    values: np.ndarray | None = None


def traces_height(n_traces: int) -> int:
    """Return the height in points of the rows and their legend; 0 without traces."""
    # -(-n // m) rounds up.
    return -(-n_traces // COLUMNS) * ROW + LEGEND if n_traces else 0


def draw_traces(
    sheet: Sheet, controller: Controller, traces: Sequence[Trace], top: float, n_omitted: int
) -> None:
    """Draw the traces in two columns, with a legend below them."""
    width = (WIDTH - 2 * EDGE - 2 * GAP * (COLUMNS - 1)) / COLUMNS
    # On a common scale, all rows have the range of the widest one.
    widest = max(low_and_scale(trace)[1] for trace in traces)
    for number, trace in enumerate(traces):
        line, column = divmod(number, COLUMNS)
        x, y = EDGE + column * (width + 2 * GAP), top + line * ROW
        span = widest if controller.state.common_scale else low_and_scale(trace)[1]
        _draw_trace(sheet, controller, trace, _Row(x, y, width, trace.extent), span)
    first, last = traces[0].extent
    more = f" · {n_omitted:,} more selected" if n_omitted else ""
    y = top + traces_height(len(traces)) - LEGEND + 4
    unit = " · spikes/s" if controller.state.spec.responses == "count" else ""
    text = f"{first:z.1f} to {last:z.1f} s{unit}{more}"
    x = sheet.text(EDGE, y, text, QUIET, 10) + 20
    for curve in _curves(controller, traces):
        sheet.line([(x, y + 7), (x + 20, y + 7)], curve.colour, curve.dashes)
        x = sheet.text(x + 25, y, cut(curve.name, 140, 10), QUIET, 10) + 14


@dataclass(frozen=True, slots=True)
class _Row:
    """Position and width of a row in points, and its time range in seconds."""

    x: float
    y: float
    width: float
    extent: tuple[float, float]

    def across(self, times: np.ndarray | float) -> np.ndarray:
        """Return the horizontal positions of times."""
        start, stop = self.extent
        return self.x + (np.asarray(times, float) - start) / (stop - start) * self.width


def _draw_trace(sheet: Sheet, controller: Controller, trace: Trace, row: _Row, span: float) -> None:
    top, low = row.y + LABEL, low_and_scale(trace)[0]
    _shade(partial(sheet.box, y=top, height=HEIGHT), trace, row)
    # The line sample of its legend is no letter of this font.
    baseline = model_name(controller.state.compared_baseline) or "baseline"
    label = trace.label.replace(BASELINE_SIGN, baseline)
    end = sheet.text(row.x, row.y, cut(label, 0.75 * row.width), TEXT)
    if trace.predicted_bar_text:
        end = sheet.text(end + 6, row.y, trace.predicted_bar_text, palette.PREDICTED)
        foot, height = top + HEIGHT, HEIGHT * trace.predicted_bar / span
        sheet.line([(row.x, foot), (row.x, foot - height)], palette.PREDICTED)
    for letter, score, colour in trace.marks:
        end = sheet.text(end + 10, row.y, f"{letter} {score}", colour)
    for curve in _curves(controller, [trace]):
        if curve.values is not None:
            # Vertical positions increase downwards.
            down = top + HEIGHT * (1 - (curve.values - low) / span)
            places = np.stack([row.across(trace.time), down], axis=1)
            sheet.line(places, curve.colour, curve.dashes)
    # The cursor is a sample of the window; a longer span is drawn without it.
    window = controller.state.window
    if window is not None and controller.pins.predictions.page is None:
        times = window.timestamps["responses"]
        at = float(row.across(times[min(controller.state.cursor, len(times) - 1)]))
        sheet.line([(at, top), (at, top + HEIGHT)], palette.CURSOR)


def _shade(box: Callable[..., None], trace: Trace, row: _Row) -> None:
    """Shade the samples by their state in the mask."""
    start, stop = trace.shade_span or time_extent(trace.time)
    step = (stop - start) / max(len(trace.shade), 1)
    for first, last, code in groups(trace.shade):
        if code in SHADES:
            left, right = row.across(np.array([first, last]) * step + start)
            colour = blended_over(palette.STATE_COLOURS[code], SHADES[code])
            box(x=float(left), width=float(right - left), colour=colour)


def _curves(controller: Controller, traces: Sequence[Trace]) -> list[_Curve]:
    """Return the curves of any of the rows in drawing order, with values of the first.

    The order is recorded, pins, baseline, predicted; later curves are on top.
    """
    state, first = controller.state, traces[0]
    curves = [_Curve("recorded", palette.RECORDED, None, first.truth)]
    for pin in state.pins:
        if pin.is_shown:
            # A pin without a prediction yet has no overlay.
            has_values = pin.slot < len(first.overlays)
            values = first.overlays[pin.slot] if has_values else None
            name = f"{pin.letter} {shown_name(pin, state.pins)}"
            curves.append(_Curve(name, palette.PINS[pin.slot], None, values))
    if any(trace.baseline is not None for trace in traces):
        colour = blended_over(palette.BASELINE, 0.5 if first.is_baseline_stale else 1)
        name = model_name(state.baseline_name)
        curves.append(_Curve(name, colour, DOTTED, first.baseline))
    if any(trace.predicted is not None for trace in traces):
        colour = blended_over(palette.PREDICTED, 0.5 if first.is_stale else 1)
        name = "predicted, of an older request" if first.is_stale else "predicted"
        curves.append(_Curve(name, colour, DASHED, first.predicted))
    return curves
