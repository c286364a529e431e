"""What-if edits of the live state: add, remove and describe them.

Edits belong to the session: they apply to every window. Their prediction runs after
the population's, see `inference.stages`; the result is `results.what_if`.
"""

from collections.abc import Iterable
from dataclasses import replace

from omnimouse_model.analysis.counterfactual import (
    apply_edits,
    describe_edits,
    edit_remarks,
    kind_of,
    sort_edits,
)
from omnimouse_model.data.session import Window
from omnimouse_model.data.window_spec import Edit
from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState

VIDEO_KINDS = ("other_clip", "picture", "freeze", "blank")
"""Kinds of edits that replace the whole video; each removes the others."""
Place = tuple[str, str]
"""Kind of an edit, and its behaviour channel or axis; one edit per place."""


def place_of(edit: Edit) -> Place:
    """Return the place of an edit; a new edit replaces one at the same place."""
    where = getattr(edit, "channel", "") or getattr(edit, "axis", "")
    return kind_of(edit), where


class StimulusEdits:
    """What-if edits of the live state, at most one per place."""

    def __init__(self, state: LiveState, results: Results, editor: MaskEditor) -> None:
        self._state, self._results, self._editor = state, results, editor
        self._window: Window | None = None

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits, in the order in which they are applied."""
        return self._state.edits

    @property
    def text(self) -> str:
        """Description of the edits, such as `mirrored, contrast × 0.5`."""
        return describe_edits(self.edits, self._state.spec)

    @property
    def window(self) -> Window | None:
        """The edited window on screen; None without a session."""
        window = self._state.window
        if window is None:
            return None
        # Reuse the edited window while its key, which includes the edits, is unchanged:
        # its edited frames are computed lazily and cached in it.
        key = window.with_edits(self.edits).key
        if self._window is None or self._window.key != key:
            self._window = apply_edits(window, self.edits)
        return self._window

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks for the user about these edits under the current mask."""
        mask = self._state.mask
        if mask is None:
            return ()
        return edit_remarks(self.edits, mask, self._results.needs)

    def get(self, kind: str, where: str = "") -> Edit | None:
        """Return the edit of a kind and channel or axis; None if there is none."""
        edits = (edit for edit in self.edits if place_of(edit) == (kind, where))
        return next(edits, None)

    def put(self, *edits: Edit, instead: Iterable[Place] = ()) -> None:
        """Add edits; they replace edits at the same places and at those in `instead`.

        Without a session, do nothing. Raise `ValueError` if the session lacks the
        edited stream.
        """
        window = self._state.window
        if window is None:
            return
        replaced = {place_of(edit) for edit in edits} | set(instead)
        others = [edit for edit in self.edits if place_of(edit) not in replaced]
        # Called for its errors only: an edit that the session cannot have raises here,
        # before the state changes.
        apply_edits(window, edits)
        self.set((*others, *edits), f"What if: {describe_edits(edits, window.spec)}")

    def put_video(self, *edits: Edit) -> None:
        """Replace the video by an edit of `VIDEO_KINDS`, or show it as recorded."""
        places = [(kind, "") for kind in VIDEO_KINDS]
        if edits:
            self.put(*edits, instead=places)
        else:
            self.remove(*places)

    def remove(self, *places: Place) -> None:
        """Remove the edits at some places."""
        others = [edit for edit in self.edits if place_of(edit) not in places]
        self.set(others, "What if: recorded")

    def reset(self) -> None:
        """Remove all edits."""
        self.set((), "What if: reset")

    def set(self, edits: Iterable[Edit], name: str = "What if") -> None:
        """Replace all edits, sorted in the order of application."""
        # The order in which the user made the edits must not change the result.
        edits = sort_edits(edits)
        if self._state.window is not None and edits != self.edits:
            self._editor.commit(replace(self._editor.task, edits=edits), name)
