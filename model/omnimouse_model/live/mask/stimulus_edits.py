"""The edits on screen: put, taken away, undone; what they change, and what to know.

They belong to the session: another window is edited in the same way. Predicted after
the live answer, see `answering`; `results.what_if` has the difference.
"""

from collections.abc import Callable, Iterable

from omnimouse_model.analysis.in_silico.counterfactual import edit_remarks
from omnimouse_model.analysis.in_silico.stimulus_edits import (
    arranged,
    edit_words,
    edited,
    kind_of,
)
from omnimouse_model.data.edit_protocol import Edit
from omnimouse_model.data.window import Window
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState

Place = tuple[str, str]
"""Kind of an edit, and its channel of behaviour or axis: of each there is one."""


def place_of(edit: Edit) -> Place:
    """What an edit takes the place of."""
    where = getattr(edit, "channel", "") or getattr(edit, "axis", "")
    return kind_of(edit), where


class WhatIfEdits:
    """The edits of the live state, one of a kind.

    Parameters
    ----------
    state, results
        What is on screen, and what was predicted.
    change
        Makes these the edits, as one undo entry of that name.
    """

    def __init__(
        self,
        state: LiveState,
        results: Results,
        change: Callable[[tuple[Edit, ...], str], None],
    ) -> None:
        self._state, self._results, self._change = state, results, change
        self._window: Window | None = None

    @property
    def edits(self) -> tuple[Edit, ...]:
        """What is changed, in the order in which it is."""
        return self._state.edits

    @property
    def words(self) -> str:
        """What is changed, such as `mirrored, contrast × 0.5`."""
        return edit_words(self.edits)

    @property
    def window(self) -> Window | None:
        """The window on screen, edited; None without a session."""
        shown = self._state.window
        if shown is None:
            return None
        key = shown.with_edits(self.edits).key
        if self._window is None or self._window.key != key:
            self._window = edited(shown, self.edits)
        return self._window

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the user should know of these edits under this mask."""
        mask = self._state.mask
        if mask is None:
            return ()
        return edit_remarks(self.edits, mask, self._results.needs)

    def get(self, kind: str, where: str = "") -> Edit | None:
        """The edit of a kind (and channel or axis), None where there is none."""
        found = (edit for edit in self.edits if place_of(edit) == (kind, where))
        return next(found, None)

    def put(self, *edits: Edit, instead: Iterable[Place] = ()) -> None:
        """Put edits in, each in place of its like, and of the kinds in `instead`.

        Nothing without a session; what the session lacks is refused.
        """
        window = self._state.window
        if window is None:
            return
        gone = {place_of(edit) for edit in edits} | set(instead)
        kept = [edit for edit in self.edits if place_of(edit) not in gone]
        edited(window, edits)
        self.set((*kept, *edits), f"What if: {edit_words(edits)}")

    def remove(self, *places: Place) -> None:
        """Take edits of some kinds away."""
        kept = [edit for edit in self.edits if place_of(edit) not in places]
        self.set(kept, "What if: as recorded")

    def reset(self) -> None:
        """Take every edit away."""
        self.set((), "What if: as recorded")

    def set(self, edits: Iterable[Edit], name: str = "What if") -> None:
        """Make these the edits, in the order that none undoes another."""
        edits = arranged(edits)
        if self._state.window is not None and edits != self.edits:
            self._change(edits, name)
