"""Text on the canvas: what is shown and what to try, until the first stroke."""

from typing import Any

from omnimouse_model.analysis.sweep.contexts import inputs_label
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import Mask


class FirstHint:
    """Hint for a user who has not used the application before.

    Parameters
    ----------
    viewer
        The napari viewer, whose text overlay shows the hint if it is not in use.
    controller
        Source of the mask; its first undoable change ends the hint.
    """

    def __init__(self, viewer: Any, controller: Controller) -> None:
        self._overlay, self._controller = viewer.canvas.overlays.text, controller
        self._is_shown = False
        # Another plugin may show a text of its own.
        is_free = not (self._overlay.visible and self._overlay.text)
        if is_free and not controller.store.load().session:
            controller.state.events.mask.connect(self._follow)
            # What a model reads is known once it is loaded.
            controller.results.changed.connect(self._follow)
            self._follow()

    def close(self) -> None:
        """Remove the hint for good."""
        self._controller.state.events.mask.disconnect(self._follow, missing_ok=True)
        self._controller.results.changed.disconnect(self._follow, missing_ok=True)
        if self._is_shown:
            self._overlay.visible = self._is_shown = False

    def _follow(self) -> None:
        mask = self._controller.state.mask
        if self._controller.editor.can_undo:
            self.close()
        elif mask is not None:
            self._overlay.position, self._overlay.font_size = "bottom_center", 9
            needs = self._controller.results.needs
            self._overlay.text = hint_text(
                mask, reads_responses=needs is None or needs.sees_responses
            )
            self._overlay.visible = self._is_shown = True


def hint_text(mask: Mask, *, reads_responses: bool = True) -> str:
    """Return what the model predicts from what, and what to try."""
    inputs = inputs_label(bool(mask.frames.any()), mask.has_visible_behavior)
    if mask.visible.any():
        inputs = "neurons" if inputs == "nothing" else f"neurons + {inputs}"
    tip = "Drag over neurons to show them to the model, too."
    if not reads_responses:
        tip = "This model reads no neurons: hide video or behaviour instead."
    return f"Orange neurons are predicted from {inputs}.\n{tip}"
