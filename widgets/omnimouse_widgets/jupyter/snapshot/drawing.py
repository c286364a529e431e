"""A sheet to draw on: lines, words and pictures, in points of two pixels; by Pillow."""

import io
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from omnimouse_widgets import palette

SCALE: Final = 2
"""Pixels of a point: screens of today have as many."""
PACKED: Final = 7
"""A few per cent larger than the smallest, in a quarter of the time."""
MOST_BYTES: Final = 150_000
COLOURS: Final = 256
MOST_EXACT: Final = 128
"""Colours that stay as they are: those of lines and words; pictures share the rest."""
GROUND: Final = "#16181D"
TEXT: Final = "#D6D9DF"
QUIET: Final = "#9AA0A8"
WIDTH: Final = 960
EDGE: Final = 10
GAP: Final = 8
"""Of every picture in points, its margin, and between what stands side by side."""
_PLAIN: Final = str.maketrans(
    {"–": "-", "−": "-", "→": ">", "µ": "u", "×": "x", "≤": "<=", "≥": ">="}
)
"""What Pillow's own font lacks; it is the one font that is there everywhere."""

Places = Sequence[tuple[float, float]] | np.ndarray


class Sheet:
    """An empty sheet; everything is placed in points from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        size = (round(SCALE * width), round(SCALE * height))
        self._image = Image.new("RGB", size, GROUND)
        self._draw = ImageDraw.Draw(self._image)
        self._exact = dict.fromkeys((GROUND,))

    def words(
        self, x: float, y: float, words: str, colour: str, size: float = 11
    ) -> float:
        """Write words below and right of a place; return where they end."""
        self.keep(colour)
        text = plain(words)
        place = (SCALE * x, SCALE * y)
        self._draw.text(place, text, fill=colour, font=_font(size))
        return x + width_of(words, size)

    def picture(
        self, pixels: np.ndarray, x: float, y: float, width: float, height: float
    ) -> None:
        """Lay uint8 (rows, columns, 3) over a rectangle; pixels stay sharp.

        Its colours are approximate in the finished picture: see `keep`.
        """
        size = (round(SCALE * width), round(SCALE * height))
        drawn = Image.fromarray(np.ascontiguousarray(pixels))
        is_smaller = size[0] < drawn.width or size[1] < drawn.height
        how = Image.Resampling.BOX if is_smaller else Image.Resampling.NEAREST
        place = (round(SCALE * x), round(SCALE * y))
        self._image.paste(drawn.resize(size, how), place)

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """Fill a rectangle."""
        ends = [SCALE * x, SCALE * y, SCALE * (x + width) - 1, SCALE * (y + height) - 1]
        self.keep(colour)
        if ends[2] >= ends[0] and ends[3] >= ends[1]:
            self._draw.rectangle(ends, fill=colour)

    def disk(self, x: float, y: float, radius: float, core: str, rim: str) -> None:
        """A disk in a ring."""
        box = [SCALE * v for v in (x - radius, y - radius, x + radius, y + radius)]
        self.keep(core, rim)
        self._draw.ellipse(box, fill=core, outline=rim, width=SCALE)

    def wedge(self, x: float, y: float, colour: str) -> None:
        """A small triangle that points at a place from the left."""
        self.keep(colour)
        corners = [(x - 4, y - 2.5), (x, y), (x - 4, y + 2.5)]
        self._draw.polygon([(SCALE * a, SCALE * b) for a, b in corners], fill=colour)

    def line(
        self,
        places: Places,
        colour: str,
        dashes: tuple[float, float] | None = None,
    ) -> None:
        """A line through places (n, 2), broken where one is not known (NaN)."""
        self.keep(colour)
        at = SCALE * np.asarray(places, float).reshape(-1, 2)
        known = np.isfinite(at).all(axis=1)
        ends = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]])))
        for start, stop in ends.reshape(-1, 2):
            pieces = [at[start:stop]]
            if dashes is not None:
                pieces = _dashed(at[start:stop], SCALE * dashes[0], SCALE * dashes[1])
            for piece in pieces:
                self._draw.line([tuple(p) for p in piece.tolist()], colour, SCALE)

    def png(self) -> bytes:
        """The picture in few colours; with a pixel a point where it is too large."""
        file = self._written(self._image)
        if len(file) > MOST_BYTES:
            file = self._written(self._image.reduce(SCALE))
        return file

    def _written(self, image: Image.Image) -> bytes:
        exact = list(self._exact)[:MOST_EXACT]
        rest = image.quantize(COLOURS - len(exact), dither=_NO_DITHER)
        known = [part for colour in exact for part in palette.rgb(colour)]
        few = Image.new("P", (1, 1))
        few.putpalette([*known, *(rest.getpalette() or [])])
        file = io.BytesIO()
        drawn = image.quantize(palette=few, dither=_NO_DITHER)
        drawn.save(file, "PNG", compress_level=PACKED)
        return file.getvalue()

    def keep(self, *colours: str) -> None:
        """Have these colours in the finished picture, to within 4 of 255."""
        self._exact.update(dict.fromkeys(colours))


_NO_DITHER: Final = Image.Dither.NONE


def plain(words: str) -> str:
    """Words in what the font has: letters without their marks, `?` for others."""
    found = unicodedata.normalize("NFKD", words.translate(_PLAIN))
    kept = "".join(c for c in found if not unicodedata.combining(c))
    return "".join(c if c.isascii() or c in "·…±" else "?" for c in kept)


def width_of(words: str, size: float = 11) -> float:
    """How wide words are."""
    return float(_font(size).getlength(plain(words))) / SCALE


def cut(words: str, width: float, size: float = 11) -> str:
    """Words, or as many of them as fit."""
    if width_of(words, size) <= width:
        return words
    while words and width_of(f"{words}…", size) > width:
        words = words[:-1]
    return f"{words.rstrip()}…"


def mixed(colour: str, share: float, ground: str = GROUND) -> str:
    """A colour that lets the ground through."""
    pairs = zip(palette.rgb(colour), palette.rgb(ground), strict=True)
    return hex_of([share * a + (1 - share) * b for a, b in pairs])


def hex_of(parts: Sequence[float] | np.ndarray) -> str:
    """`#RRGGBB` of red, green and blue, 0 to 255."""
    red, green, blue = (round(float(part)) for part in parts[:3])
    return f"#{red:02X}{green:02X}{blue:02X}"


@cache
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(SCALE * size)


def _dashed(at: np.ndarray, on: float, off: float) -> list[np.ndarray]:
    """Pieces of a line that are drawn, by the way along it."""
    way = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(at, axis=0).T))])
    pieces = []
    for start in np.arange(0.0, way[-1], on + off):
        stop = min(start + on, way[-1])
        within = way[(way > start) & (way < stop)]
        stops = np.concatenate([[start], within, [stop]])
        pieces.append(np.stack([np.interp(stops, way, v) for v in at.T], axis=1))
    return pieces
