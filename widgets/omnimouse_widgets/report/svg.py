"""Lines, points and axes as SVG; colours are CSS classes, for light and dark pages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from omnimouse_widgets.report.markup import Markup, tag


@dataclass(frozen=True, slots=True)
class Frame:
    """Position of a plot on the picture, and the values at its edges."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, values: np.ndarray | float) -> np.ndarray:
        """Return the horizontal positions of x values."""
        low, high = self.x
        return self.left + (np.asarray(values, float) - low) / (high - low) * self.width

    def down(self, values: np.ndarray | float) -> np.ndarray:
        """Return the vertical positions of y values; SVG counts downwards."""
        low, high = self.y
        share = (np.asarray(values, float) - low) / (high - low)
        return self.top + (1 - share) * self.height


def picture(
    width: float, height: float, label: str, parts: Iterable[Markup], **more: object
) -> Markup:
    """Return an SVG picture with a text label for screen readers."""
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        width=f"{width:g}",
        role="img",
        aria_label=label,
        **more,
    )


def line(frame: Frame, x: np.ndarray, y: np.ndarray, class_: str) -> Markup:
    """Return a line through the known points, interrupted at unknown ones (NaN)."""
    is_known = np.isfinite(y)
    # A path restarts ("M") at each known point that follows an unknown one.
    is_start = is_known & ~np.concatenate([[False], is_known[:-1]])
    points = np.stack([frame.across(x), frame.down(y)], axis=1)[is_known]
    steps = [
        f"{'M' if starts else 'L'}{left:z.1f},{down:z.1f}"
        for (left, down), starts in zip(points, is_start[is_known], strict=True)
    ]
    return tag("path", d="".join(steps), class_=f"line {class_}")


def dots(places: np.ndarray, width: float, class_: str | None, **look: object) -> Markup:
    """Return round marks at positions (n, 2), as one path."""
    if not len(places):
        return Markup()
    # Lines of length 0 with round caps are dots; one path for all is much smaller than
    # one circle per neuron.
    path = "".join(f"M{x:z.1f},{y:z.1f}h0" for x, y in places)
    return tag("path", d=path, class_=class_, stroke_width=f"{width:z.1f}", **look)


def box(
    left: float, top: float, width: float, height: float, class_: str, title: str = ""
) -> Markup:
    """Return a filled rectangle; the title is shown on hovering."""
    return tag(
        "rect",
        *([tag("title", title)] if title else []),
        x=f"{left:z.1f}",
        y=f"{top:z.1f}",
        width=f"{max(width, 0):z.1f}",
        height=f"{max(height, 0):z.1f}",
        class_=class_,
    )


def label(
    x: float, y: float, content: str, anchor: str = "middle", class_: str = "label"
) -> Markup:
    """Return text at a position."""
    return tag("text", content, x=f"{x:z.1f}", y=f"{y:z.1f}", text_anchor=anchor, class_=class_)


def rule(x1: float, y1: float, x2: float, y2: float, class_: str = "axis") -> Markup:
    """Return a straight line."""
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return tag("line", class_=class_, **{k: f"{v:z.1f}" for k, v in ends.items()})


def bottom_axis(frame: Frame, ticks: Sequence[tuple[float, str]], title: str) -> list[Markup]:
    """Return an axis below the plot, with its label."""
    base = frame.top + frame.height
    parts = [rule(frame.left, base, frame.left + frame.width, base)]
    for value, tick in ticks:
        x = float(frame.across(value))
        parts += [rule(x, base, x, base + 4), label(x, base + 16, tick)]
    middle = frame.left + frame.width / 2
    return [*parts, label(middle, base + 32, title)]


def left_axis(frame: Frame, ticks: Sequence[float], digits: int = 1) -> list[Markup]:
    """Return an axis on the left, with faint grid lines."""
    parts = []
    for value in ticks:
        y = float(frame.down(value))
        tick = f"{value:.{digits}f}".replace("-", "−")
        parts += [
            rule(frame.left, y, frame.left + frame.width, y, "grid"),
            label(frame.left - 6, y + 4, tick, "end"),
        ]
    return parts


def ticks_between(low: float, high: float, n_max: int = 5) -> list[float]:
    """Return round values from low to high, about `n_max` of them."""
    span = max(high - low, 1e-9)
    power = 10.0 ** np.floor(np.log10(span / n_max))
    step = next(s * power for s in (1, 2, 5, 10) if span / (s * power) <= n_max)
    # The tolerance keeps a tick at the ends in spite of rounding errors.
    first, last = np.ceil(low / step - 1e-6), np.floor(high / step + 1e-6)
    return [float(k * step) for k in np.arange(first, last + 1)]
