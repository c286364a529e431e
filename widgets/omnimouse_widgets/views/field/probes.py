"""Places of units on probes: one column per probe, depth downwards.

Probes are much longer than wide, so x and depth have scales of their own. All probes
share the scale of depth. Where all units of a probe have one x, or none, they are
spread across it in the order of depth: marks on one line would be tiny. Units without a
depth have no place; the field lists them, and a probe of such units has no column.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from omnimouse_model.data.neurons import Units
from omnimouse_model.display import number_text

FIELD_SIDE: Final = 1024
"""Side in pixels of a field drawn from positions alone."""
_ABOVE, _BELOW, LEFT = 0.1, 0.14, 0.14
"""Shares of the side around units on probes: room for names, for hints and depths."""
_MAX_WIDTH = 0.25
"""Greatest width of a probe as a share of the side."""
_GOLDEN = (np.sqrt(5) - 1) / 2
"""Multiples of it, modulo 1, fill the width evenly, and neighbours lie far apart."""
_MAX_DEPTHS = 7
_MARGIN = 0.025
"""Share of the side between the outermost units and the outline of a probe."""
_MAX_LISTED = 8
"""Units without a place that are listed by name."""


def has_depths(units: Units) -> bool:
    """Return whether units are on probes, and some of them at known depths."""
    return units.probe is not None and bool(_is_placed(units).any())


def probe_places(units: Units) -> np.ndarray:
    """Return centres (P, 2) as (y, x) in pixels; NaN for units without a depth."""
    probes = _probe_numbers(units)
    places = np.asarray(units.xyz_um, float)
    across, column = np.full(len(places), np.nan), np.zeros(len(places))
    for number, probe in enumerate(probes.tolist()):
        own = _in_depth_order(units, probe)
        column[own] = number
        known = places[own, 0][np.isfinite(places[own, 0])]
        if len(np.unique(known)) < 2:
            across[own] = (0.5 + np.arange(len(own)) * _GOLDEN) % 1
            continue
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
    numbers = _probe_numbers(units)
    top, left = _ABOVE / 3 * FIELD_SIDE, 0.5 * LEFT * FIELD_SIDE
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
        (at, left, f"{number_text(mark, 0)} µm")
        for at, mark in zip(_y(units, marks).tolist(), marks.tolist(), strict=True)
    ]
    bottom = (1 - 0.7 * _BELOW) * FIELD_SIDE
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
        _box(units, number, *_ends(units, _in_depth_order(units, number)))
        for number in _probe_numbers(units).tolist()
    )


def probe_areas(units: Units) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield name, probe and outline float (5, 2) of each area along each probe.

    A border lies in the middle between the depths of two units of different areas.
    """
    assert units.area is not None
    for number in _probe_numbers(units).tolist():
        own = _in_depth_order(units, number)
        names, y = units.area[own], _y(units, units.xyz_um[own, 2])
        first = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
        top, bottom = _ends(units, own)
        borders = [top, *((y[first[1:] - 1] + y[first[1:]]) / 2).tolist(), bottom]
        for at, begin, end in zip(first.tolist(), borders, borders[1:], strict=False):
            if names[at]:
                # Two lines that share a border would hide each other.
                yield str(names[at]), number, _box(units, number, begin + 2, end - 2)


def _probe_numbers(units: Units) -> np.ndarray:
    """Return the numbers of the probes with placed units, ascending."""
    return np.unique(np.asarray(units.plane)[_is_placed(units)])


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
    numbers = _probe_numbers(units)
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
    low, high = float(depth.min()), float(depth.max())
    # The scale begins at 0 unless most of it would then be empty.
    return (min(low, 0.0) if low <= high - low else low), high


def _column_x(column: Any, across: Any, count: int) -> Any:
    """Return x in pixels from the column of a probe and a share of its width."""
    step = (1 - LEFT) / count
    width = min(0.8 * step, _MAX_WIDTH)
    return FIELD_SIDE * (LEFT + step * (column + 0.5) + width * (across - 0.5))


def _share(values: np.ndarray) -> np.ndarray:
    """Scale values that differ to 0-1; 0.5 where they are unknown."""
    low, high = np.nanmin(values), np.nanmax(values)
    return np.asarray(np.nan_to_num((values - low) / (high - low), nan=0.5))
