"""Repairs of napari's canvas: release of VisPy objects and of old grids, the first circle.

All use private names of napari 0.9; if they are missing, a warning is logged and nothing
is changed.
"""

import logging
from contextlib import suppress
from typing import Any

logger = logging.getLogger(__name__)


def repair_canvas(viewer: Any) -> None:
    """Correct three faults of napari's canvas; a second call changes nothing."""
    for repair in (_free_in_own_context, _release_old_grids, _hide_first_circle):
        try:
            repair(viewer.window._qt_viewer.canvas)
        except AttributeError:
            logger.warning("napari's canvas is not repaired: it changed", exc_info=True)


def _hide_first_circle(canvas: Any) -> None:
    """Keep the circle of the brush out of sight until the pointer is on the canvas.

    Before that, napari draws a quarter of it in the corner.
    """
    circle = canvas.viewer.canvas.overlays._brush_circle
    if circle.position == (0, 0):
        circle.position = (-(2**14), -(2**14))


def _free_in_own_context(canvas: Any) -> None:
    """Make the canvas's context current whenever VisPy's deletion queue is emptied.

    When a layer is removed, napari empties the queue at once, in the context that is
    current. After a frame this is the context with which Qt composes the window. Mesa
    then ends the process at the next frame, because a program of that context has lost
    its vertex shader; other drivers read freed memory.
    """
    scene = canvas._scene_canvas
    context, finish = scene.context, scene.context.finish
    if "finish" in vars(context):
        return

    def finish_here() -> None:
        with suppress(RuntimeError):  # the window and its context no longer exist
            scene.set_current()
        finish()

    context.finish = finish_here


def _release_old_grids(canvas: Any) -> None:
    """Remove the old grid of napari's grid mode when napari makes a new grid.

    In grid mode, napari makes a new grid whenever its shape changes, and takes the old
    one out of the scene, but not out of the list of the canvas. All old grids and their
    views would stay in memory, and be laid out again when the window changes.
    """
    central = canvas.central_widget
    widgets, add_grid = central._widgets, central.add_grid
    if "add_grid" in vars(central):
        return

    def replace_grid(*args: Any, **options: Any) -> Any:
        for grid in [widget for widget in widgets if widget.parent is None]:
            for view in grid.children:
                # While their view exists: otherwise its clipper stays on a layer, and
                # the layer is cut off, or invisible, in its next view.
                for node in [*view.scene.children, *view.children]:
                    if node is not view.scene:
                        node.parent = None
            central.remove_widget(grid)
        return add_grid(*args, **options)

    central.add_grid = replace_grid
