"""Scaling curves as rows: the figure, and the fits."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.analysis.evaluate.results import number_or_none
from omnimouse_model.analysis.scaling.fits import DRAWN, FITS, ScalingCurve
from omnimouse_model.storage.tables import columns_of, write_table


def figure_table(curves: Sequence[ScalingCurve]) -> list[dict[str, object]]:
    """Return the figure as rows: "point" per run, "mean" per size, "law" and "line"."""
    return [
        {**_labels(curve), "what": kind, "x": float(x), "y": float(y), "seed": seed}
        | _ends(low, high)
        for curve in curves
        for kind, x, y, seed, low, high in _figure_points(curve)
    ]


def _figure_points(curve: ScalingCurve) -> Iterator[tuple[Any, ...]]:
    """Yield kind, x, y, seed, low and high of everything that is drawn of a curve."""
    nan = float("nan")
    for x, y, seed in zip(curve.x, curve.y, curve.seeds, strict=True):
        yield "point", x, y, seed, nan, nan
    for size in curve.sizes:
        yield "mean", size.x, size.mean, None, size.low, size.high
    for name in FITS:
        fit, unknown = curve.fit(name), np.full(DRAWN, np.nan)
        if fit is not None:
            low, high = curve.bands.get(name, (unknown, unknown))
            for x, y, *ends in zip(curve.along, fit(curve.along), low, high, strict=True):
                yield name, x, y, None, *ends


def _labels(curve: ScalingCurve) -> dict[str, object]:
    return {
        "condition": curve.condition,
        "curve": curve.name,
        "axis": curve.axis,
        "quantity": curve.quantity,
    }


def _ends(low: float, high: float) -> dict[str, object]:
    return {"low": number_or_none(low), "high": number_or_none(high)}


def write_figure(curves: Sequence[ScalingCurve], path: str | Path) -> Path:
    """Write the points and fits of the scaling figure as a table."""
    return write_table(path, columns_of(figure_table(curves)))


def fit_rows(curves: Sequence[ScalingCurve]) -> list[dict[str, object]]:
    """Return one row per curve for `--json`: parameters, intervals, refusals."""
    rows = []
    for curve in curves:
        law, line, far = curve.law, curve.line, curve.extrapolation
        row: dict[str, object] = {
            "name": "fit",
            "value": None if law is None else law.exponent,
            "unit": "exponent",
            **_labels(curve),
            "n": len(curve.x),
            "n_sizes": len(np.unique(curve.x)),
            "sizes": [
                {"x": size.x, "mean": size.mean, "n": size.n} | _ends(size.low, size.high)
                for size in curve.sizes
            ],
            "refusal": curve.refusal,
            "preferred": curve.preferred,
        }
        if law is not None and line is not None:
            row |= {
                "limit": law.limit,
                "amplitude": law.amplitude,
                "exponent": law.exponent,
                "is_at_bound": law.is_at_bound,
                "law_aicc": number_or_none(law.aicc),
                "intercept": line.intercept,
                "slope": line.slope,
                "line_aicc": number_or_none(line.aicc),
            }
        for name, (low, high) in curve.intervals.items():
            row |= {f"{name}_low": low, f"{name}_high": high}
        if far is not None:
            row |= {
                "extrapolated_to": far.size,
                "measured": far.measured,
                "line_says": far.line,
                "line_low": number_or_none(far.low),
                "line_high": number_or_none(far.high),
                "is_inside": far.is_inside,
                "law_says": far.law,
            }
        rows.append(row)
    return rows
