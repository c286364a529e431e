"""Status text of the raster: reasons for hatching, and missing data."""

from typing import Final

import numpy as np

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.state import RasterView
from omnimouse_model.masks import TOKEN_SAMPLES
from omnimouse_widgets.drawn.raster.order import order_text
from omnimouse_widgets.drawn.raster.rows import (
    MISSING,
    UNREAD,
    UNSCORED_TARGET,
    RasterRows,
)
from omnimouse_widgets.drawn.raster.values import age_text

VIEW_TIP: Final = (
    "What the raster shows (V: the next).\n"
    "Residual: predicted − recorded; blue too low, orange too high"
)
HATCHED: Final = {
    UNREAD: f"too short: the model reads runs of {TOKEN_SAMPLES} samples or more",
    UNSCORED_TARGET: "not predicted: the first samples, or right after visible ones",
    MISSING: "not recorded: hidden from the model and not scored",
}
"""Why cells are hatched."""


def hatch_text(codes: np.ndarray | None) -> tuple[str, ...]:
    """Return the reasons for hatching among these display codes."""
    if codes is None:
        return ()
    return tuple(f"▨ {parts}" for code, parts in HATCHED.items() if (codes == code).any())


def status_text(
    controller: Controller,
    rows: RasterRows | None,
    view: RasterView,
    hatched: tuple[str, ...],
) -> str:
    """Return the status line: missing data and the number of neurons per row."""
    if rows is None:
        return "no session"
    size = rows.members.shape[0]
    age = "" if view == "truth" else age_text(controller.results)
    order = order_text(controller, controller.state.raster_order)
    parts = (order, age, *hatched, f"{size} neurons / row" if size > 1 else "")
    return " · ".join(part for part in parts if part)
