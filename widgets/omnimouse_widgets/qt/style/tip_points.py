"""Scatter plot with a tooltip for each point."""

from typing import Any

import numpy as np
import pyqtgraph as pg


class TipPoints(pg.ScatterPlotItem):  # type: ignore[misc]  # pyqtgraph is untyped
    """Scatter plot with tooltips, which Python can delete after use.

    pyqtgraph stores an item of each point in the array of its points, and the item
    refers to the plot. Python's garbage collector does not look into arrays, so that
    plot and data would remain once the pointer has been over a point.

    Parameters
    ----------
    settings
        Settings of `pyqtgraph.ScatterPlotItem`; `tip` gives the text of a point.
    """

    def __init__(self, *points: Any, **settings: Any) -> None:
        super().__init__(*points, hoverable=True, **settings)

    def points(self) -> np.ndarray:
        """Return an item of pyqtgraph for each point, object (point,)."""
        items: np.ndarray = super().points().copy()
        self.data["item"] = None
        return items
