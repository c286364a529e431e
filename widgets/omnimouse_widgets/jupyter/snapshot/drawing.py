"""Drawing surface for lines, texts and images, based on Pillow; 1 point = 2 pixels."""

import io
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from omnimouse_widgets import palette

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
        **{"–": "-", "−": "-", "→": ">", "µ": "u", "×": "x", "≤": "<=", "≥": ">="},
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

    def line(
        self,
        places: Places,
        colour: str,
        dashes: tuple[float, float] | None = None,
    ) -> None:
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


def cut(text: str, width: float, size: float = 11) -> str:
    """Return a text, shortened with "…" to fit a width in points."""
    if width_of(text, size) <= width:
        return text
    while text and width_of(f"{text}…", size) > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


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
