"""Release of VisPy objects in the OpenGL context of the canvas.

When a layer is removed, napari 0.9 empties VisPy's deletion queue at once, in the
context that is current. After a frame this is the context with which Qt composes the
window. Mesa then ends the process at the next frame, because a program of that context
has lost its vertex shader; other drivers read freed memory.
"""

import logging
from contextlib import suppress
from typing import Any

logger = logging.getLogger(__name__)


def free_in_own_context(viewer: Any) -> None:
    """Make the canvas's context current whenever VisPy's deletion queue is emptied.

    Uses private names of napari; if they are missing, a warning is logged and nothing
    is changed.
    """
    try:
        canvas = viewer.window._qt_viewer.canvas._scene_canvas
        context, finish = canvas.context, canvas.context.finish
    except AttributeError:
        logger.warning("The canvas frees in any context: napari changed", exc_info=True)
        return
    # The context is patched already, by an earlier call for the same viewer.
    if "finish" in vars(context):
        return

    def finish_here() -> None:
        with suppress(RuntimeError):  # the window and its context no longer exist
            canvas.set_current()
        finish()

    context.finish = finish_here
