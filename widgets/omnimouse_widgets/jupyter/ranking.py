"""Ranking widget: matrix, table, curves and gains of a stored ranking of sessions."""

from collections.abc import Sequence
from typing import Any, Final

from psygnal import SignalInstance
from traitlets import Dict, Enum, Unicode

from omnimouse_model.analysis.ranking.results_file import StoredRanking
from omnimouse_model.demo import RANKING
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.models.ranking import RankingContent
from omnimouse_widgets.drawn import ranking as text
from omnimouse_widgets.figures.ranking import pretrain_figure, ranking_figure
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawing
from omnimouse_widgets.jupyter.transport.plotly_widget import (
    FigurePart,
    new_figure_widget,
)

CONSTANTS: Final[dict[str, Any]] = {
    "views": [[name, *label] for name, label in text.VIEWS.items()],
    "axes": list(text.AXES.items()),
    "tips": text.TIPS,
}


class Ranking(FigurePart):
    """Stored ranking of pretraining sessions: matrix, table, curves and gains.

    The results file is that of `omnimouse rank` or `om.rank_sessions`, which take hours
    and are not started here. To place controls and figure in a box, use `widget`.

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

    _esm = script("ranking")
    _css = style()
    INTERVAL_S = 0.2  # each figure is drawn as a whole

    file = Unicode("").tag(sync=True)
    view = Enum(list(text.VIEWS), "matrix").tag(sync=True)
    heldout = Unicode("").tag(sync=True)
    axis = Enum(list(text.AXES), "k").tag(sync=True)
    _constants = Dict(CONSTANTS).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._options_changed = SignalInstance()
        self._drawn: tuple[Any, ...] = ()
        super().__init__(controller, **traits)
        ranking = controller.ranking
        self.bind(
            "file",
            ranking.changed,
            lambda: "" if ranking.path is None else str(ranking.path),
            self._open,
        )
        self.observe(lambda _: self._options_changed.emit(), ["view", "heldout", "axis"])

    def drawings(self) -> Sequence[Drawing]:
        """Return the drawing functions of texts and table, and of the figure."""
        signals = [self._controller.ranking.changed, self._options_changed]
        return [
            Drawing(self._draw_view, signals),
            Drawing(self._draw_figure, signals),
            *super().drawings(),
        ]

    # -- what code may call -----------------------------------------------------------
    @property
    def stored(self) -> StoredRanking | None:
        """Ranking and curve of the file; None before they are read."""
        content = self._controller.ranking.content
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
        ranking = self._controller.ranking
        if not ranking.wait(timeout_s):
            raise TimeoutError(f"Not read after {timeout_s} s: {ranking.path}.")
        if ranking.error is not None:
            raise ranking.error
        return self

    # -- from the page ----------------------------------------------------------------
    def on_example(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Open the ranking of simulated animals."""
        self._controller.ranking.open(RANKING)

    def on_refresh(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Read the file again."""
        self._controller.ranking.read_again()

    def on_command(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Send the command that ranks sessions for the open recording."""
        self.send_now("command", text=text.rank_command(self._controller))

    def _open(self, path: str) -> None:
        # An empty text is no file: the trait returns to the open one.
        if path:
            self._controller.ranking.open(path)

    # -- to the page ------------------------------------------------------------------
    def _draw_view(self) -> None:
        ranking, content = self._controller.ranking, self._controller.ranking.content
        names: tuple[str, ...] = ()
        heldout, table = "", text.Table((), ())
        if content is not None:
            names = content.stored.ranking.heldout
            heldout = text.shown_heldout(content, self.heldout)
            table = text.shown_table(content, self.view, heldout)
        self.add_if_changed(
            "view",
            view=self.view,
            message=ranking.message,
            error="" if ranking.error is None else str(ranking.error),
            can_refresh=ranking.path is not None and not ranking.is_busy,
            summary="" if content is None else text.summary(content),
            warnings=() if content is None else text.warnings_of(content),
            note=text.note(content, self.view),
            names=names,
            heldout=heldout,
            titles=table.titles,
            rows=table.rows,
            has_figure=self._has_figure(content),
        )

    def _has_figure(self, content: RankingContent | None) -> bool:
        if content is None or self.view in ("table", "gains"):
            return False
        return self.view == "matrix" or content.stored.curve is not None

    def _draw_figure(self) -> None:
        content = self._controller.ranking.content
        wanted = content, self.view, self.heldout, self.axis
        if wanted != self._drawn:
            self._drawn = wanted
            before = self.widget.children[1:]
            # Another figure has other traces: a new widget draws it as a whole.
            self.widget.children = (self, *self._figures(content))
            for figure in before:
                figure.close()
        for figure in self.widget.children[1:]:
            self.add_point_counts(figure)

    def _figures(self, content: RankingContent | None) -> list[Any]:
        """Return the figure of the view in a list; an empty one for a table."""
        if content is None or not self._has_figure(content):
            return []
        stored = content.stored
        if self.view == "matrix" or stored.curve is None:
            figure = ranking_figure(stored.ranking, theme="dark", has_notes=False)
        else:
            heldout = text.shown_heldout(content, self.heldout)
            figure = pretrain_figure(
                text.curve_of(stored.curve, heldout),
                axis=self.axis,
                theme="dark",
                has_notes=False,
            )
        content_of = figure.update_layout(autosize=True).to_dict()
        return [new_figure_widget(content_of["data"], content_of["layout"])]

    def __repr__(self) -> str:
        return "Run this cell to see the ranking."
