"""The raster: neurons by samples of the window, with the mask over them, paintable."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from psygnal import SignalInstance
from traitlets import CaselessStrEnum, Float, Int, List, Tuple

from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import N_SAMPLES, VISIBLE, Mask
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.raster.order import (
    MEANINGS,
    ORDERINGS,
    Arrangement,
    arrange,
    press_similarity,
    similarity_button,
)
from omnimouse_widgets.drawn.raster.pixels import OVERLAYS, overlay_table
from omnimouse_widgets.drawn.raster.rows import Rows, rows_in_view
from omnimouse_widgets.drawn.raster.text import (
    HATCHED,
    VIEW_TIP,
    hatch_words,
    status_words,
)
from omnimouse_widgets.drawn.raster.values import (
    GREY,
    RESIDUAL,
    TITLES,
    VIEWS,
    Picture,
    picture,
    shown_in,
)
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawn, Part

TOOLS: Final = {
    "look": "Click to select neurons, drag to move the cursor",
    "paint": "Drag to paint the cells under the pointer",
    "columns": "Drag over samples to paint them for all neurons",
    "rows": "Drag over rows to paint all samples of their neurons",
}
ALL_ROWS: Final = (0.0, 0.0)
Buffers = list[np.ndarray]
_KEPT_ROWS: Final = 8
"""Arrangements a page may still be painting on."""
_NAMED: Final = 4
"""Neurons of a row that are named."""


class Raster(Part):
    """Neurons by samples of the window: values, and over them the mask.

    At most 250 rows are drawn: more neurons share rows, and what is painted on a row
    is painted on all of its neurons. A stroke is seen at once and told to the kernel
    thirty times a second; it is one step for undo.

    Attributes
    ----------
    order
        Of the rows: "stored", "state", "score", "similarity", "area", "depth", "x" or
        "y".
    view
        "truth", "prediction", "residual", "pair" or "beside".
    tool
        "look", "paint", "columns" or "rows".
    code
        What is painted: 0 hidden, 1 visible, 2 target.
    cursor
        A sample of the window, 0-59.
    selection
        The selected neurons' indices, at most 64; marked at the left edge.
    rows_shown
        First row in view and the one after the last; (0, 0) shows all.
    radius
        Of the brush, in pixels of the screen.
    """

    REST_S = 0.05
    AHEAD = 3

    _esm = script("raster")
    _css = style("raster")

    order = CaselessStrEnum(tuple(ORDERINGS), "state").tag(sync=True)
    view = CaselessStrEnum(tuple(VIEWS), "truth").tag(sync=True)
    tool = CaselessStrEnum(tuple(TOOLS), "paint").tag(sync=True)
    code = Int(VISIBLE).tag(sync=True)
    cursor = Int(0).tag(sync=True)
    selection = List(Int()).tag(sync=True)
    rows_shown = Tuple(Float(), Float(), default_value=ALL_ROWS).tag(sync=True)
    radius = Float(6.0, min=1.0, max=60.0).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._rows_moved = SignalInstance()
        self._arranged: Arrangement | None = None
        self._known: OrderedDict[int, Rows] = OrderedDict()
        self._revision = 0
        self._told: dict[str, tuple[Any, ...]] = {}
        self._hatched: tuple[str, ...] = ()
        super().__init__(controller, **traits)
        state, events = controller.state, controller.state.events
        self.bind(
            "order",
            events.raster_order,
            lambda: state.raster_order,
            lambda order: controller.set_raster(order, state.raster_view),
        )
        self.bind(
            "view",
            events.raster_view,
            lambda: state.raster_view,
            lambda view: controller.set_raster(state.raster_order, view),
        )
        self.bind(
            "code", events.brush_code, lambda: state.brush_code, controller.set_brush
        )
        self.bind("cursor", events.cursor, lambda: state.cursor, controller.set_cursor)
        self.bind(
            "selection",
            events.selection,
            lambda: list(state.selection),
            controller.select,
        )
        self.observe(lambda _: self._rows_moved.emit(), "rows_shown")

    def parts(self) -> Sequence[Drawn]:
        """Colours and words, once for each page; then rows, values and mask."""
        controller = self._controller
        state, results = controller.state.events, controller.results.events
        signals = (
            *(state.session, state.active_span, state.selection),
            *(state.raster_order, state.raster_view),
            *(controller.similarity.changed, self._rows_moved),
        )
        answers = (
            *(state.window, results.population),
            *(results.population_freshness, results.scores),
        )
        questions = state.mask, controller.history_changed
        rows = Drawn(self._draw, signals, answers, questions)
        return Drawn(self._draw_look), rows

    def is_awaiting(self) -> bool:
        """Whether the population's prediction is on its way."""
        return self._controller.results.population_freshness in ("stale", "running")

    def left(self) -> None:
        """Nobody waits for an order, nor needs the last recording kept."""
        self._controller.similarity.let_be()
        self._forget()

    # -- what code may call -----------------------------------------------------------
    def paint(
        self,
        neurons: Sequence[int] | np.ndarray | slice,
        samples: slice = slice(0, N_SAMPLES),
        code: int | None = None,
    ) -> None:
        """Paint cells as a stroke does; `code` is the brush's by default."""
        chosen = self.code if code is None else code
        self._controller.paint_cells(neurons, samples, chosen)

    # -- from the page ----------------------------------------------------------------
    def on_paint(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Blocks of cells touched since the last message: rows and samples, from-to."""
        rows = self._known.get(int(content["rows"]))
        if rows is None:
            raise ValueError("The rows have moved under the stroke: paint it again.")
        for first, last, start, stop in np.frombuffer(buffers[0], np.uint16).reshape(
            -1, 4
        ):
            neurons: np.ndarray | slice = slice(None)
            if not content.get("all"):
                neurons = rows.neurons(rows.edges[first], rows.edges[last - 1])
            samples = slice(int(start), int(stop))
            self._controller.paint_cells(neurons, samples, int(content["code"]))

    def on_select(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Select the neurons of a row."""
        rows, row = self._known.get(int(content["rows"])), int(content["row"])
        if rows is not None and 0 <= row < len(rows):
            neurons = rows.neurons(rows.edges[row], rows.edges[row])
            self._controller.select(neurons)

    def on_compare(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Stop comparing neurons, or begin again."""
        press_similarity(self._controller)

    # -- to the page ------------------------------------------------------------------
    def _draw_look(self) -> None:
        """What stays: tables of colours, tints of the mask, words."""
        self._forget()
        self.show(
            "look",
            [
                _table(GREY),
                _table(RESIDUAL),
                *(overlay_table(OVERLAYS[shown]) for shown in TITLES),
            ],
            pictures=list(TITLES),
            orders=[[name, word, MEANINGS[name]] for name, word in ORDERINGS.items()],
            views=[[name, word] for name, word in VIEWS.items()],
            view_tip=VIEW_TIP,
            tools=[[name, words] for name, words in TOOLS.items()],
            states=list(palette.STATE_WORDS),
            colours=list(palette.STATE_COLOURS),
            hatched={str(code): words for code, words in HATCHED.items()},
            cursor_colour=palette.CURSOR,
        )

    def _draw(self) -> None:
        """Rows, values and mask: of each only what is another than the page has."""
        done = dict(self.done)
        state = self._controller.state
        session, mask, window = state.session, state.mask, state.window
        if session is None or mask is None or window is None:
            self._forget()
            self.show("nothing")
            return
        if window.session is not session or mask.n_neurons != session.n_neurons:
            return  # another recording is being put on screen: this is asked again
        rows = self._place_rows(session, mask)
        prediction = self._controller.results.population
        told: dict[str, tuple[Any, ...]] = {
            "layout": (self._revision,),
            "codes": (self._revision, mask),
            "values": (self._revision, window, prediction, state.raster_view),
        }
        buffers: list[np.ndarray] = []
        fields: dict[str, Any] = {}
        for what, key in told.items():
            if not _is_same(key, self._told.get(what, ())):
                draw = getattr(self, f"_{what}")
                fields[what] = draw(buffers, rows, session, mask, window)
        facts = {"done": done, **fields, **self._facts(rows)}
        if buffers or fields:
            self.show("raster", buffers, **facts)
        else:
            self.keep("raster", **facts)
        self._told = told

    def _facts(self, rows: Rows) -> dict[str, Any]:
        """What is little, and may be another at any time."""
        controller, state = self._controller, self._controller.state
        view = state.raster_view
        return {
            "rows": self._revision,
            "marks": _places(rows.order, state.selection),
            "span": list(state.active_span),
            "old": controller.results.is_population_old,
            "words": status_words(controller, rows, view, self._hatched),
            "compare": similarity_button(controller, state.raster_order),
        }

    def _place_rows(self, session: Session, mask: Mask) -> Rows:
        """The rows in view, ordered anew unless a stroke is open; see `_revision`."""
        before, n = self._arranged, mask.n_neurons
        if before is not None and len(before.order) != n:
            before, self.rows_shown = None, ALL_ROWS
        if before is None or not self._controller.in_stroke:
            self._arranged = self._arrange(session, mask)
        assert self._arranged is not None
        order, (low, high) = self._arranged.order, self.rows_shown
        start, stop = rows_in_view(n, low, high) if low < high else (0, n)
        last = self._known.get(self._revision)
        if last is not None and (last.start, last.stop) == (start, stop):
            is_same = np.array_equal(last.order, order)
            if is_same and before is not None:
                return last
        self._revision += 1
        rows = self._known[self._revision] = Rows.of(order, start, stop)
        while len(self._known) > _KEPT_ROWS:
            self._known.popitem(last=False)
        return rows

    def _arrange(self, session: Session, mask: Mask) -> Arrangement:
        controller, state = self._controller, self._controller.state
        ordering = state.raster_order
        if ordering == "similarity":
            controller.similarity.want()
        else:
            controller.similarity.let_be()
        span, scores = state.active_span, controller.results.scores
        alike = controller.similarity.order
        return arrange(ordering, session.units, mask, span, scores, alike)

    def _layout(
        self, _: Buffers, rows: Rows, session: Session, *__: object
    ) -> dict[str, Any]:
        """Where rows lie, which neurons they hold, and what the axis says."""
        assert self._arranged is not None
        names, size = session.units.names, rows.members.shape[0]
        more = "…" if size > _NAMED else ""
        named = [
            ", ".join(map(str, names[rows.order[a : min(b, a + _NAMED)]])) + more
            for a, b in pairwise(rows.edges.tolist())
        ]
        return {
            "neurons": len(rows.order),
            "start": rows.start,
            "stop": rows.stop,
            "size": size,
            "ticks": [[float(row), word] for row, word in self._arranged.ticks],
            "names": named,
        }

    def _codes(
        self, buffers: Buffers, rows: Rows, _: Session, mask: Mask, __: Window
    ) -> int:
        """Display codes of the mask, (rows, 60)."""
        codes = rows.codes(mask)
        self._hatched = hatch_words(codes)
        buffers.append(codes)
        return len(buffers) - 1

    def _values(
        self, buffers: Buffers, rows: Rows, _: Session, __: Mask, window: Window
    ) -> list[dict[str, Any]]:
        """Pictures of the view, from left to right; each says which buffer it is."""
        found = []
        for shown in shown_in(self._controller.state.raster_view):
            drawn = picture(shown, window, self._controller.results.population)
            fields: dict[str, Any] = {"picture": shown, "title": TITLES[shown]}
            fields["buffer"] = len(buffers)
            if shown == "residual":
                fields["ends"] = [f"{x:+.2g}".replace("-", "−") for x in drawn.levels]
            found.append(fields)
            buffers.append(_places_in_table(drawn, rows))
        return found

    def _forget(self) -> None:
        """The next drawing is whole."""
        self._arranged = None
        self._told = {}


def _is_same(key: tuple[Any, ...], before: tuple[Any, ...]) -> bool:
    """Whether a drawing is of the same things; they are not compared by value."""
    if len(key) != len(before):
        return False
    return all(
        a is b or (isinstance(a, int | str) and a == b)
        for a, b in zip(key, before, strict=True)
    )


def _places_in_table(drawn: Picture, rows: Rows) -> np.ndarray:
    """uint8 (rows, 60): places in the table of a picture, 0 where nothing is known."""
    values = rows.mean(drawn.values)
    low, high = drawn.levels
    known = np.isfinite(values)
    scaled = np.where(known, (values - low) * (255 / (high - low)), 0)
    return np.where(known, np.clip(scaled, 1, 255), 0).astype(np.uint8)


def _table(colours: np.ndarray) -> np.ndarray:
    """uint8 (256, 3): a table whose first colour is that of what is not known."""
    table = colours.copy()
    table[0] = 0
    return table


def _places(order: np.ndarray, neurons: Sequence[int]) -> list[int]:
    """Rows of some neurons."""
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    found: list[int] = place[[n for n in neurons if n < len(order)]].tolist()
    return found
