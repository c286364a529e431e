"""Scale bar of the field in micrometres: napari's own, through the private names that it needs."""

import logging
from types import MethodType
from typing import Any

logger = logging.getLogger(__name__)

_LENGTH_PX = 100.0
"""Greatest length on screen; napari's own is 150."""


def show_scale(viewer: Any, um_per_pixel: float | None) -> None:
    """Show the scale bar of the field, or hide it if micrometres per pixel are not known.

    napari takes the unit from the layers, of which each would have to be scaled, and with it
    all positions on the field. A private name of napari 0.9 takes it here; without that,
    the bar stays hidden.
    """
    overlay = viewer.canvas.overlays.scale_bar
    overlay.visible = False
    if um_per_pixel is None:
        return
    # As in the notebook: white on dark, on any image and any canvas.
    overlay.colored, overlay.color = True, "white"
    overlay.box, overlay.box_color = True, "#0000008c"
    overlay.ticks, overlay.font_size = False, 8
    overlay.position = "top_right"  # texts for a new user are at the lower edge
    overlay.visible = True

    def in_micrometres(bar: Any) -> None:
        # Of the class that napari uses for its units.
        bar._unit, bar._target_length = type(bar._unit)(um_per_pixel, "um"), _LENGTH_PX
        bar._on_size_or_zoom_change(force=True)

    try:
        # napari makes the bar when it is first shown.
        for bar in viewer.window._qt_viewer.canvas._viewer_overlay_to_visual[overlay]:
            bar._on_unit_change = MethodType(in_micrometres, bar)
            bar._on_unit_change()
    except (AttributeError, KeyError):
        logger.warning("The scale bar is off: napari differs", exc_info=True)
        overlay.visible = False
