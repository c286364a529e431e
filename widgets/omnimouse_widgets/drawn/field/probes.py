"""Places of units on probes: one column per probe, depth downwards.

Probes are much longer than wide, so x and depth have scales of their own. All probes
share the scale of depth. Units without a depth have no place; the field lists them.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from omnimouse_model.data.session import Units

FIELD_SIDE: Final = 1024
"""Side in pixels of a field drawn from positions alone."""
_ABOVE, _BELOW, _LEFT = 0.1, 0.06, 0.14
"""Shares of the side around units on probes: room for names and for depths."""
_MAX_DEPTHS = 7
_MARGIN = 0.015
"""Share of the side between the outermost units and the outline of a probe."""
_MAX_LISTED = 8
"""Units without a place that are listed by name."""


def has_depths(units: Units) -> bool:
    """Return whether units are on probes, and some of them at known depths."""
    return units.probe is not None and bool(_is_placed(units).any())


def probe_places(units: Units) -> np.ndarray:
    """Return centres (P, 2) as (y, x) in pixels; NaN for units without a depth."""
    probes, column = np.unique(units.plane, return_inverse=True)
    places = np.asarray(units.xyz_um, float)
    across = np.full(len(places), np.nan)
    placed = _is_placed(units)
    for number in range(len(probes)):
        own = np.flatnonzero((column == number) & placed)
        across[own] = _share(places[own, 0])
        # Several units of one channel have one place: put them side by side.
        _, same = np.unique(places[own][:, [0, 2]], axis=0, return_inverse=True)
        for group in np.flatnonzero(np.bincount(same.ravel()) > 1):
            members = own[same.ravel() == group]
            across[members] = (np.arange(len(members)) + 0.5) / len(members)
    x = _column_x(column, across, len(probes))
    return np.stack([_y(units, places[:, 2]), x], axis=1)


def probe_texts(units: Units) -> tuple[tuple[float, float, str], ...]:
    """Return (y, x, text): names of the probes, depths, and units without a place."""
    numbers = np.unique(units.plane)
    top, left = _ABOVE / 3 * FIELD_SIDE, 0.5 * _LEFT * FIELD_SIDE
    names = [
        (top, _column_x(column, 0.5, len(numbers)), units.group_name(n))
        for column, n in enumerate(numbers.tolist())
    ]
    low, high = _depth_range(units)
    power = 10.0 ** np.floor(np.log10(max(high - low, 1.0)))
    steps = (share * power for share in (0.1, 0.2, 0.5, 1.0, 2.0))
    step = next(s for s in steps if (high - low) / s < _MAX_DEPTHS)
    marks = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    depths = [
        (at, left, f"{mark:,.0f} µm")
        for at, mark in zip(_y(units, marks).tolist(), marks.tolist(), strict=True)
    ]
    bottom = (1 - _BELOW / 5) * FIELD_SIDE
    unplaced = [(bottom, FIELD_SIDE / 2, text) for text in unplaced_text(units)]
    return (*names, *depths, *unplaced)


def unplaced_text(units: Units) -> tuple[str, ...]:
    """Return a line that lists the units without a depth; none if all have one."""
    names = units.names[~_is_placed(units)].tolist()
    if not names:
        return ()
    listed = ", ".join(map(str, names[:_MAX_LISTED]))
    more = len(names) - _MAX_LISTED
    rest = f" and {more:,} more" if more > 0 else ""
    return (f"No depth, not placed: {listed}{rest}",)


def probe_outlines(units: Units) -> tuple[np.ndarray, ...]:
    """Return the outline of each probe with placed units: float (5, 2) as (y, x)."""
    return tuple(
        _box(units, number, *_ends(units, own))
        for number in np.unique(units.plane).tolist()
        if len(own := _in_depth_order(units, number))
    )


def probe_areas(units: Units) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield name, probe and outline float (5, 2) of each area along each probe.

    A border lies in the middle between the depths of two units of different areas.
    """
    assert units.area is not None
    for number in np.unique(units.plane).tolist():
        own = _in_depth_order(units, number)
        if not len(own):
            continue
        names, y = units.area[own], _y(units, units.xyz_um[own, 2])
        first = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
        top, bottom = _ends(units, own)
        borders = [top, *((y[first[1:] - 1] + y[first[1:]]) / 2).tolist(), bottom]
        for at, begin, end in zip(first.tolist(), borders, borders[1:], strict=False):
            if names[at]:
                # Two lines that share a border would hide each other.
                yield str(names[at]), number, _box(units, number, begin + 2, end - 2)


def _in_depth_order(units: Units, number: int) -> np.ndarray:
    """Return the placed units of a probe, the shallowest first."""
    own = np.flatnonzero((np.asarray(units.plane) == number) & _is_placed(units))
    return own[np.argsort(units.xyz_um[own, 2], kind="stable")]


def _ends(units: Units, own: np.ndarray) -> tuple[float, float]:
    """Return y of the ends of a probe, a margin beyond its outermost units."""
    top, bottom = _y(units, units.xyz_um[own[[0, -1]], 2]).tolist()
    return top - _MARGIN * FIELD_SIDE, bottom + _MARGIN * FIELD_SIDE


def _box(units: Units, number: int, top: float, bottom: float) -> np.ndarray:
    """Return the outline of a part of a probe, float (5, 2) as (y, x)."""
    numbers = np.unique(units.plane)
    column = int(np.searchsorted(numbers, number))
    left = _column_x(column, 0.0, len(numbers)) - _MARGIN * FIELD_SIDE
    right = _column_x(column, 1.0, len(numbers)) + _MARGIN * FIELD_SIDE
    corners = [(top, left), (top, right), (bottom, right), (bottom, left), (top, left)]
    return np.array(corners)


def _y(units: Units, depth_um: np.ndarray) -> np.ndarray:
    """Return y in pixels of depths; NaN where they are unknown."""
    low, high = _depth_range(units)
    share = (depth_um - low) / (high - low) if high > low else 0.5 + 0 * depth_um
    return np.asarray(FIELD_SIDE * (_ABOVE + share * (1 - _ABOVE - _BELOW)))


def _is_placed(units: Units) -> np.ndarray:
    return np.asarray(np.isfinite(units.xyz_um[:, 2]))


def _depth_range(units: Units) -> tuple[float, float]:
    depth = np.asarray(units.xyz_um, float)[_is_placed(units), 2]
    return float(depth.min()), float(depth.max())


def _column_x(column: Any, across: Any, count: int) -> Any:
    """Return x in pixels from the column of a probe and a share of its width."""
    return FIELD_SIDE * (_LEFT + (1 - _LEFT) * (column + 0.1 + 0.8 * across) / count)


def _share(values: np.ndarray) -> np.ndarray:
    """Scale values to 0-1; 0.5 where they are unknown or all equal."""
    finite = values[np.isfinite(values)]
    extent = float(np.ptp(finite)) if len(finite) else 0.0
    if extent == 0:
        return np.full(len(values), 0.5)
    return np.asarray(np.nan_to_num((values - finite.min()) / extent, nan=0.5))
