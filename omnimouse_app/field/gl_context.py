"""What VisPy frees is freed in the canvas's own OpenGL context.

When a layer goes, napari 0.9 empties VisPy's queue of deletions at once, in whichever
context is current; after a frame that is the one Qt composes the window with. Mesa
ends the process over it at the next frame, for the program it draws with has lost its
vertex shader, and other drivers read where nothing is.
"""

import logging
from contextlib import suppress
from typing import Any

logger = logging.getLogger(__name__)


def free_in_own_context(viewer: Any) -> None:
    """Make the canvas's context current whenever VisPy's queue is emptied for good.

    Uses private names of napari; without them nothing is changed.
    """
    try:
        canvas = viewer.window._qt_viewer.canvas._scene_canvas
        context, finish = canvas.context, canvas.context.finish
    except AttributeError:
        logger.warning("The canvas frees in any context: napari changed", exc_info=True)
        return
    if "finish" in vars(context):
        return

    def finish_here() -> None:
        with suppress(RuntimeError):  # the window is gone, and its context with it
            canvas.set_current()
        finish()

    context.finish = finish_here
