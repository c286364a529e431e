"""Text on the canvas until the first stroke or other colours: what is shown, how good it is."""

from textwrap import fill
from typing import Any, Self

from psygnal import SignalInstance

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.live.state_store import StateStore
from omnimouse_widgets.views.text.tier_score import guide_text

_FONT_POINTS, _LETTER_PX = 9, 9.0
"""Size of the text, and width of a wide letter of it."""


class FirstHint:
    """Hint for a user who has not used the application before.

    Parameters
    ----------
    viewer
        The napari viewer, whose text overlay shows the hint if it is not in use.
    state, results, baseline, colouring
        What the hint tells about.
    editor, store
        Whether something was changed, which ends the hint, or was before.
    """

    def __init__(
        self,
        viewer: Any,
        state: LiveState,
        results: Results,
        baseline: Results,
        editor: MaskEditor,
        colouring: Colouring,
        store: StateStore,
    ) -> None:
        self._canvas = viewer.canvas
        self._overlay = viewer.canvas.overlays.text
        self._state, self._results, self._baseline = state, results, baseline
        self._editor, self._colouring = editor, colouring
        self._is_shown = False
        # Another plugin may show a text of its own.
        is_free = not (self._overlay.visible and self._overlay.text)
        if is_free and not store.load().session:
            # What a model reads is known once it is loaded; its score is refined.
            for signal in self._signals():
                signal.connect(self._follow)
            self._canvas.events.size.connect(self._follow)
            self._follow()

    @classmethod
    def of(cls, viewer: Any, controller: Controller) -> Self:
        """Return the hint of a controller."""
        c = controller
        return cls(viewer, c.state, c.results, c.baseline, c.editor, c.colouring, c.store)

    def _signals(self) -> tuple[SignalInstance, ...]:
        return (
            *(self._state.events.mask, self._state.events.colour_by),
            self._results.changed,
            self._baseline.changed,
            self._colouring.changed,
        )

    def close(self) -> None:
        """Remove the hint for good."""
        for signal in self._signals():
            signal.disconnect(self._follow, missing_ok=True)
        self._canvas.events.size.disconnect(self._follow)
        if self._is_shown:
            self._overlay.visible = self._is_shown = False

    def _follow(self, _: object = None) -> None:
        mask = self._state.mask
        # It explains the colours of the states.
        if self._editor.can_undo or self._state.colour_by != "state":
            self.close()
        elif mask is not None:
            text = guide_text(self._state, self._results, self._baseline, self._colouring)
            # napari cuts a line that is wider than the canvas.
            n_letters = max(20, int(self._canvas.size[1] / _LETTER_PX))
            self._overlay.position = "bottom_center"
            self._overlay.font_size = _FONT_POINTS
            self._overlay.text = "\n".join(fill(line, n_letters) for line in text.split("\n"))
            self._overlay.visible = self._is_shown = True
