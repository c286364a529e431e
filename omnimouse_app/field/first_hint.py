"""Text on the canvas until the first stroke: what is shown, how good, and what to try."""

from typing import Any

from psygnal import SignalInstance

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.views.text.tier_score import guide_text


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
            # What a model reads is known once it is loaded; its score is refined.
            for signal in self._signals():
                signal.connect(self._follow)
            self._follow()

    def _signals(self) -> tuple[SignalInstance, ...]:
        controller = self._controller
        return (
            controller.results.changed,
            controller.baseline.changed,
            controller.colouring.changed,
        )

    def close(self) -> None:
        """Remove the hint for good."""
        self._controller.state.events.mask.disconnect(self._follow, missing_ok=True)
        for signal in self._signals():
            signal.disconnect(self._follow, missing_ok=True)
        if self._is_shown:
            self._overlay.visible = self._is_shown = False

    def _follow(self) -> None:
        mask = self._controller.state.mask
        if self._controller.editor.can_undo:
            self.close()
        elif mask is not None:
            self._overlay.position, self._overlay.font_size = "bottom_center", 9
            self._overlay.text = guide_text(self._controller)
            self._overlay.visible = self._is_shown = True
