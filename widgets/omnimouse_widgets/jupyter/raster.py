"""Raster widget: values of neurons by samples, with a mask that can be painted."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np
from psygnal import SignalInstance
from traitlets import CaselessStrEnum, Float, Int, Tuple

from omnimouse_model.data.session import Session, Window
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import VISIBLE, Mask
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
from omnimouse_widgets.drawn.raster.rows import RasterRows, rows_in_view
from omnimouse_widgets.drawn.raster.text import (
    HATCHED,
    VIEW_TIP,
    hatch_text,
    status_text,
)
from omnimouse_widgets.drawn.raster.ticks import (
    LEAST_BIN_PX,
    LEAST_ROW_PX,
    TICK_HEIGHT,
    spike_ticks,
)
from omnimouse_widgets.drawn.raster.values import (
    GREY,
    RESIDUAL,
    TITLES,
    VIEWS,
    RasterPicture,
    images_of,
    picture,
)
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawing, Part

TOOLS: Final = {
    "look": "Click to select neurons, drag to move the cursor",
    "paint": "Drag to paint the cells under the pointer",
    "columns": "Drag over samples to paint them for all neurons",
    "rows": "Drag over rows to paint all samples of their neurons",
}
ALL_ROWS: Final = (0.0, 0.0)
Buffers = list[np.ndarray]
_MAX_LAYOUTS: Final = 8
"""Number of row layouts that messages of a page may still refer to."""
_MAX_NAMES: Final = 4
"""Maximum number of neuron names in the description of a row."""


class Raster(Part):
    """Values of neurons by samples of the window, with the mask drawn over them.

    At most 250 rows are drawn. With more neurons, several share a row, and painting a
    row paints all of its neurons. Spikes are ticks if rows and bins are large enough.
    The page draws a stroke at once and sends it to the kernel 30 times per second. A
    stroke is one undo step.

    Attributes
    ----------
    order
        Order of the rows: "stored", "state", "score", "similarity", "area", "depth",
        "x" or "y".
    view
        "truth", "prediction", "residual", "pair" (recorded and predicted) or "beside"
        (all three).
    tool
        "look", "paint", "columns" or "rows".
    code
        Code of the brush: 0 hidden, 1 visible, 2 target.
    cursor
        Sample of the window, from 0.
    selection
        Indices of the selected neurons, at most 64; marked at the left edge.
    rows_shown
        First row in view and last row + 1; (0, 0) shows all rows.
    radius
        Radius of the brush in CSS pixels.
    """

    # At most 20 drawings per second: one contains up to three pictures and the mask.
    INTERVAL_S = 0.05
    AHEAD = 3

    _esm = script("raster")
    _css = style("raster")

    order = CaselessStrEnum(tuple(ORDERINGS), "state").tag(sync=True)
    view = CaselessStrEnum(tuple(VIEWS), "truth").tag(sync=True)
    tool = CaselessStrEnum(tuple(TOOLS), "paint").tag(sync=True)
    code = Int(VISIBLE).tag(sync=True)
    cursor = Int(0).tag(sync=True)
    selection = Tuple().tag(sync=True)
    rows_shown = Tuple(Float(), Float(), default_value=ALL_ROWS).tag(sync=True)
    radius = Float(6.0, min=1.0, max=60.0).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        # `_layouts` maps revisions to row layouts that messages of the page may refer
        # to. `_sent` contains the objects in the latest drawing; see `_draw`.
        self._rows_moved = SignalInstance()
        self._arrangement: Arrangement | None = None
        self._layouts: OrderedDict[int, RasterRows] = OrderedDict()
        self._revision = 0
        self._sent: dict[str, tuple[Any, ...]] = {}
        self._hatch_texts: tuple[str, ...] = ()
        super().__init__(controller, **traits)
        set_option = partial(setattr, controller.state)
        self.bind_field("order", partial(set_option, "raster_order"), "raster_order")
        self.bind_field("view", partial(set_option, "raster_view"), "raster_view")
        self.bind_field("code", controller.editor.set_brush, "brush_code")
        self.bind_field("cursor", controller.navigation.set_cursor)
        self.bind_field("selection", controller.selection.select)
        self.observe(lambda _: self._rows_moved.emit(), "rows_shown")

    def drawings(self) -> Sequence[Drawing]:
        """Return the drawing functions: constants; rows, values and mask."""
        controller = self._controller
        state, results = controller.state.events, controller.results.events
        rows = Drawing(
            self._draw,
            signals=(
                *(state.session, state.active_span, state.selection),
                *(state.raster_order, state.raster_view),
                *(controller.neuron_order.changed, self._rows_moved),
            ),
            results=(
                *(state.window, results.population),
                *(results.population_freshness, results.neuron_scores),
            ),
            requests=(state.mask, controller.editor.history_changed),
        )
        # Constants have no signals: they are drawn once for each page.
        return Drawing(self._draw_constants), rows

    def is_awaiting(self) -> bool:
        """Return whether the prediction of the population is still to come."""
        return self._controller.results.population_freshness in ("stale", "running")

    def deactivate(self) -> None:
        """Stop computing the similarity order and release the last recording."""
        self._controller.neuron_order.pause()
        # `_sent` holds the window, and with it the session and its open files.
        self._forget()

    # -- what code may call -----------------------------------------------------------
    def paint(
        self,
        neurons: Sequence[int] | np.ndarray | slice,
        samples: slice = slice(None),
        code: int | None = None,
    ) -> None:
        """Paint cells of the mask; `code` defaults to that of the brush."""
        code = self.code if code is None else code
        self._controller.editor.paint_cells(neurons, samples, code)

    # -- from the page ----------------------------------------------------------------
    def on_paint(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Paint the blocks of cells touched since the last message.

        The buffer is uint16 (n, 4): first row, last row + 1, first sample, last sample
        + 1 of each block.

        Raises
        ------
        ValueError
            If the row layout of the page is no longer known.
        """
        # The page counts rows in the layout that it shows, which may be older than the
        # latest one: look the layout up by its number.
        rows = self._layouts.get(int(content["rows"]))
        if rows is None:
            raise ValueError("The rows changed during the stroke: paint it again.")
        for first, last, start, stop in np.frombuffer(buffers[0], np.uint16).reshape(-1, 4):
            # A stroke over columns also includes the neurons that are not in view.
            neurons: np.ndarray | slice = slice(None)
            if not content.get("all"):
                neurons = rows.neurons(rows.edges[first], rows.edges[last - 1])
            samples = slice(int(start), int(stop))
            self._controller.editor.paint_cells(neurons, samples, int(content["code"]))

    def on_select(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Select the neurons of a row."""
        rows, row = self._layouts.get(int(content["rows"])), int(content["row"])
        if rows is not None and 0 <= row < len(rows):
            neurons = rows.neurons(rows.edges[row], rows.edges[row])
            self._controller.selection.select(neurons)

    def on_similarity(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Stop or restart the computation of the similarity order."""
        press_similarity(self._controller)

    # -- to the page ------------------------------------------------------------------
    def _draw_constants(self) -> None:
        """Send the constants: colour tables, tints of the mask and texts."""
        # Called when a page begins to show the raster: it has no rows or values yet.
        self._forget()
        self.add_message(
            "constants",
            [
                _table(GREY),
                _table(RESIDUAL),
                *(overlay_table(OVERLAYS[name]) for name in TITLES),
            ],
            pictures=list(TITLES),
            orders=[[name, text, MEANINGS[name]] for name, text in ORDERINGS.items()],
            views=list(VIEWS.items()),
            view_tip=VIEW_TIP,
            tools=list(TOOLS.items()),
            states=palette.STATE_NAMES,
            colours=palette.STATE_COLOURS,
            # JSON has no numbers as keys.
            hatch_texts={str(code): text for code, text in HATCHED.items()},
            cursor_colour=palette.CURSOR,
            tick={"bin": LEAST_BIN_PX, "row": LEAST_ROW_PX, "height": TICK_HEIGHT},
        )

    def _draw(self) -> None:
        """Send rows, values and mask, each only if it differs from that of the page."""
        # Read before the state: see `Part.handled`.
        handled = dict(self.handled)
        state = self._controller.state
        session, mask, window = state.session, state.mask, state.window
        if session is None or mask is None or window is None:
            self._forget()
            self.add_message("nothing")
            return
        if window.session is not session or mask.n_neurons != session.n_neurons:
            return  # a new recording is being set; its next signal requests a drawing
        if mask.n_samples != window.spec.n_samples:
            return  # likewise for a model that reads other windows
        rows = self._place_rows(session, mask)
        prediction = self._controller.results.population
        # Each field depends only on the objects in its key. All keys contain the
        # revision, because codes and values are in the order of the rows.
        # Most windows have no missing response, and the same codes.
        is_missing = window.missing is not None
        keys: dict[str, tuple[Any, ...]] = {
            "layout": (self._revision, mask.n_samples),
            "codes": (self._revision, mask, window if is_missing else None),
            "values": (self._revision, window, prediction, state.raster_view),
            "ticks": (self._revision, window),
        }
        # Buffers are numbered by their position, which depends on the fields included.
        buffers: list[np.ndarray] = []
        fields: dict[str, Any] = {}
        for name, key in keys.items():
            if not _is_same(key, self._sent.get(name, ())):
                draw = getattr(self, f"_{name}")
                fields[name] = draw(buffers, rows, session, mask, window)
        facts = {"handled": handled, **fields, **self._facts(rows)}
        # Without new fields, the small facts are sent only if they changed.
        if buffers or fields:
            self.add_message("raster", buffers, **facts)
        else:
            self.add_if_changed("raster", **facts)
        self._sent = keys

    def _facts(self, rows: RasterRows) -> dict[str, Any]:
        """Return the small fields, which are sent with every drawing."""
        controller, state = self._controller, self._controller.state
        view = state.raster_view
        return {
            "rows": self._revision,
            "marks": _positions(rows.order, state.selection),
            "span": list(state.active_span),
            "is_old": controller.results.is_population_old,
            "text": status_text(controller, rows, view, self._hatch_texts),
            "similarity": similarity_button(controller, state.raster_order),
        }

    def _place_rows(self, session: Session, mask: Mask) -> RasterRows:
        """Return the rows in view; a new layout increments `_revision`.

        The order is not updated during a stroke: rows must not move under the pointer.
        """
        last, n = self._arrangement, mask.n_neurons
        # Another number of neurons means another recording.
        if last is not None and len(last.order) != n:
            last, self.rows_shown = None, ALL_ROWS
        if last is None or not self._controller.editor.in_stroke:
            self._arrangement = self._arrange(session, mask)
        assert self._arrangement is not None
        order, (low, high) = self._arrangement.order, self.rows_shown
        start, stop = rows_in_view(n, low, high) if low < high else (0, n)
        latest = self._layouts.get(self._revision)
        # Without `last`, the page may be new and needs the layout in any case.
        if latest is not None and last is not None:
            is_same_view = (latest.start, latest.stop) == (start, stop)
            if is_same_view and np.array_equal(latest.order, order):
                return latest
        self._revision += 1
        rows = self._layouts[self._revision] = RasterRows.of(order, start, stop)
        while len(self._layouts) > _MAX_LAYOUTS:
            self._layouts.popitem(last=False)
        return rows

    def _arrange(self, session: Session, mask: Mask) -> Arrangement:
        controller, state = self._controller, self._controller.state
        # Similarity is computed in the background, and only while it is the order.
        ordering = state.raster_order
        if ordering == "similarity":
            controller.neuron_order.request()
        else:
            controller.neuron_order.pause()
        span, scores = state.active_span, controller.results.shown_scores
        alike = controller.neuron_order.order
        return arrange(ordering, session.units, mask, span, scores, alike)

    def _layout(
        self, _: Buffers, rows: RasterRows, session: Session, mask: Mask, __: Window
    ) -> dict[str, Any]:
        """Return the rows in view with the names of their neurons, and the axis."""
        assert self._arrangement is not None
        units, size = session.units.names, rows.members.shape[0]
        more = "…" if size > _MAX_NAMES else ""
        names = [
            ", ".join(map(str, units[rows.order[a : min(b, a + _MAX_NAMES)]])) + more
            for a, b in pairwise(rows.edges.tolist())
        ]
        return {
            "neurons": len(rows.order),
            "start": rows.start,
            "stop": rows.stop,
            "size": size,
            "samples": mask.n_samples,
            "ticks": [[float(row), text] for row, text in self._arrangement.ticks],
            "names": names,
        }

    def _codes(
        self, buffers: Buffers, rows: RasterRows, _: Session, mask: Mask, window: Window
    ) -> int:
        """Append uint8 (rows, n_samples) codes; return the number of the buffer."""
        codes = rows.codes(mask, window)
        self._hatch_texts = hatch_text(codes)
        buffers.append(codes)
        return len(buffers) - 1

    def _values(
        self, buffers: Buffers, rows: RasterRows, _: Session, __: Mask, window: Window
    ) -> list[dict[str, Any]]:
        """Append the pictures of the view from left to right; return their fields."""
        pictures = []
        unit = "spikes/s" if window.spec.responses == "count" else ""
        for name in images_of(self._controller.state.raster_view):
            drawn = picture(name, window, self._controller.results.population)
            fields: dict[str, Any] = {"picture": name, "title": TITLES[name]}
            fields["buffer"] = len(buffers)
            if name == "residual":
                low, high = (f"{x:+z.2g}".replace("-", "−") for x in drawn.levels)
                fields["ends"] = [low, f"{high} {unit}" if unit else high]
            pictures.append(fields)
            buffers.append(_places_in_table(drawn, rows))
        return pictures

    def _ticks(
        self, buffers: Buffers, rows: RasterRows, _: Session, __: Mask, window: Window
    ) -> int | None:
        """Append the spikes as float32 (n, 2), sample and row, if they can be ticks."""
        ticks = spike_ticks(window, rows, 0, window.spec.n_samples)
        if ticks is None:
            return None
        buffers.append(ticks)
        return len(buffers) - 1

    def _forget(self) -> None:
        """Make the next drawing complete."""
        self._arrangement = None
        self._sent = {}


def _is_same(key: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Return whether two keys contain the same objects, or equal numbers and texts.

    Masks, windows and predictions are compared by identity, because a comparison of
    their arrays would take as long as a drawing.
    """
    return len(key) == len(other) and all(
        a is b or (isinstance(a, int | str) and a == b) for a, b in zip(key, other, strict=True)
    )


def _places_in_table(drawn: RasterPicture, rows: RasterRows) -> np.ndarray:
    """Return uint8 (rows, n_samples) places in the colour table; 0 if unknown."""
    values = rows.mean(drawn.values)
    low, high = drawn.levels
    is_known = np.isfinite(values)
    scaled = np.where(is_known, (values - low) * (255 / (high - low)), 0)
    return np.where(is_known, np.clip(scaled, 1, 255), 0).astype(np.uint8)


def _table(colours: np.ndarray) -> np.ndarray:
    """Return uint8 (256, 3): the colour table with black, for unknown values, first."""
    table = colours.copy()
    table[0] = 0
    return table


def _positions(order: np.ndarray, neurons: Sequence[int]) -> list[int]:
    """Return the position of each neuron in the order."""
    # Inverse permutation: O(P) once, instead of a search for each neuron.
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    # The selection is read after the session, so it may belong to a newer session.
    known = [neuron for neuron in neurons if neuron < len(order)]
    return [int(place) for place in position[known]]
