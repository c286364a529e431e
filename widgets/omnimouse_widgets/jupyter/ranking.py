"""Ranking widget: the panel *Ranking* in a notebook, with traits and `wait`."""

from typing import Any

from traitlets import Enum, Unicode

from omnimouse_model.analysis.ranking.results_file import StoredRanking
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.jupyter.panel import RecordPart
from omnimouse_widgets.views.ranking import AXES, VIEWS, RankingView


class Ranking(RecordPart):
    """Stored ranking of pretraining sessions: matrix, table, curves and gains.

    The results file is that of `omnimouse rank` or `om.rank_sessions`, which take hours
    and are not started here.

    Attributes
    ----------
    file
        Path of the results file; set it to open another one.
    view
        "matrix", "table", "curves" or "gains".
    heldout
        Held-out session of table, curves and gains; "" is the first one.
    axis
        Horizontal axis of the curves: "k", the number of sessions, or "trials".
    """

    file = Unicode("").tag(sync=True)
    view = Enum(list(VIEWS), "matrix").tag(sync=True)
    heldout = Unicode("").tag(sync=True)
    axis = Enum(list(AXES), "k").tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._ranking = controller.ranking
        panel, ranking = RankingView.of(controller), controller.ranking
        super().__init__(panel, controller, **traits)
        self.bind(
            "file",
            ranking.changed,
            lambda: "" if ranking.path is None else str(ranking.path),
            # An empty text is no file: the trait returns to the open one.
            lambda path: ranking.open(path) if path else None,
        )
        self.bind("view", panel.changed, lambda: panel.view, lambda to: panel.set(view=to))
        self.bind("heldout", panel.changed, lambda: panel.heldout, lambda to: panel.set(heldout=to))
        self.bind("axis", panel.changed, lambda: panel.axis, lambda to: panel.set(axis=to))

    @property
    def stored(self) -> StoredRanking | None:
        """Ranking and curve of the file; None before they are read."""
        content = self._ranking.content
        return None if content is None else content.stored

    def wait(self, timeout_s: float | None = None) -> "Ranking":
        """Wait until the file is read.

        Raises
        ------
        TimeoutError
            If it takes longer than `timeout_s`.
        Exception
            If the file cannot be read.
        """
        ranking = self._ranking
        if not ranking.wait(timeout_s):
            raise TimeoutError(f"Not read after {timeout_s} s: {ranking.path}.")
        if ranking.error is not None:
            raise ranking.error
        return self

    def __repr__(self) -> str:
        return "Run this cell to see the ranking."
