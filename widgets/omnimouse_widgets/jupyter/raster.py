"""Raster widget: the panel *Raster* in a notebook, with a mask that can be painted."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from traitlets import CaselessStrEnum, Float, Int, Tuple

from omnimouse_model.data.session import Window
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import VISIBLE
from omnimouse_model.predict.devices import MemoryCache
from omnimouse_widgets import palette
from omnimouse_widgets.jupyter.panel import RecordPart
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawing
from omnimouse_widgets.views.raster import (
    ALL_ROWS,
    COLUMNS,
    GREY,
    HATCHED,
    LEAST_BIN_PX,
    LEAST_ROW_PX,
    OVERLAYS,
    RESIDUAL,
    TICK_HEIGHT,
    TITLES,
    TOOLS,
    VIEWS,
    RasterView,
    is_same,
    names_of,
    overlay_table,
    spike_ticks,
)
from omnimouse_widgets.views.record import Cells
from omnimouse_widgets.views.rows.raster import ORDERINGS, RasterPicture, RasterRows

Buffers = list[np.ndarray]
_MAX_LAYOUTS: Final = 8
"""Number of row layouts that messages of a page may still refer to."""


class Raster(RecordPart):
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
        "look", "paint", "box", "columns" or "rows".
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

    _esm = script("trace_stack", "raster", "panel")
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
        self._neuron_order = controller.neuron_order
        self._results, self._selection = controller.results, controller.selection
        # `_layouts` maps revisions to row layouts that messages of the page may refer
        # to. `_sent` contains the objects in the latest drawing; see `_draw_rows`.
        self._raster = raster = RasterView.of(controller)
        self._layouts = MemoryCache[RasterRows](_MAX_LAYOUTS)
        self._revision = 0
        self._sent: dict[str, tuple[Any, ...]] = {}
        super().__init__(raster, controller, **traits)
        # Rows of an earlier recording hold other neurons.
        self._link(controller.state.events.session, self._layouts.clear)
        set_option = partial(setattr, controller.state)
        self.bind_field("order", partial(set_option, "raster_order"), "raster_order")
        self.bind_field("view", partial(set_option, "raster_view"), "raster_view")
        self.bind("tool", raster.tool_changed, lambda: raster.tool, raster.set_tool)
        self.bind_field("code", controller.editor.set_brush, "brush_code")
        self.bind_field("cursor", controller.navigation.set_cursor)
        self.bind_field("selection", controller.selection.select)
        self.bind(
            "rows_shown",
            raster.rows_moved,
            lambda: raster.rows_shown,
            lambda rows: raster.show_rows(*rows),
        )

    def drawings(self) -> Sequence[Drawing]:
        """Return the drawing functions of the record, of constants, and of the cells."""
        state, results = self._state.events, self._results.events
        cells = Drawing(
            self._draw_cells,
            signals=(
                *(state.session, state.active_span, state.selection),
                *(state.raster_order, state.raster_view),
                *(self._neuron_order.changed, self._raster.rows_moved),
            ),
            results=(
                *(state.window, results.population),
                *(results.population_freshness, results.neuron_scores),
            ),
            requests=(state.mask, self._editor.history_changed),
        )
        *others, frame, _ = super().drawings()
        # The frame and constants have no signals: they are drawn once for each page.
        return *others, Drawing(frame.draw), Drawing(self._draw_constants), cells

    def is_awaiting(self) -> bool:
        """Return whether the prediction of the population is still to come."""
        return self._results.population_freshness in ("stale", "running")

    def deactivate(self) -> None:
        """Stop computing the similarity order and release the last recording."""
        super().deactivate()
        # `_sent` holds the window, and with it the session and its open files.
        self._sent = {}

    # -- what code may call -----------------------------------------------------------
    def paint(
        self,
        neurons: Sequence[int] | np.ndarray | slice,
        samples: slice = slice(None),
        code: int | None = None,
    ) -> None:
        """Paint cells of the mask; `code` defaults to that of the brush."""
        code = self.code if code is None else code
        self._editor.paint_cells(neurons, samples, code)

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
        rows = self._layouts.peek(int(content["rows"]))
        if rows is None:
            raise ValueError("The rows changed during the stroke: paint it again.")
        for first, last, start, stop in np.frombuffer(buffers[0], np.uint16).reshape(-1, 4):
            # A stroke over columns also includes the neurons that are not in view.
            neurons: np.ndarray | slice = slice(None)
            if not content.get("all"):
                neurons = rows.neurons(rows.edges[first], rows.edges[last - 1])
            samples = slice(int(start), int(stop))
            self._editor.paint_cells(neurons, samples, int(content["code"]))

    def on_select(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Select the neurons of a row."""
        rows, row = self._layouts.peek(int(content["rows"])), int(content["row"])
        if rows is not None and 0 <= row < len(rows):
            neurons = rows.neurons(rows.edges[row], rows.edges[row])
            self._selection.select(neurons)

    # -- to the page ------------------------------------------------------------------
    def _draw_constants(self) -> None:
        """Send the constants: colour tables, tints of the mask and texts."""
        # Called when a page begins to show the raster: it has no rows or values yet.
        self._sent = {}
        tints = [overlay_table(OVERLAYS[name]) for name in TITLES]
        self.add_message(
            "constants",
            [_table(GREY), _table(RESIDUAL), *tints],
            pictures=list(TITLES),
            states=palette.STATE_NAMES,
            colours=palette.STATE_COLOURS,
            # JSON has no numbers as keys.
            columns=COLUMNS,
            hatch_texts={str(code): text for code, text in HATCHED.items()},
            cursor_colour=palette.CURSOR,
            tick={"bin": LEAST_BIN_PX, "row": LEAST_ROW_PX, "height": TICK_HEIGHT},
        )

    def _draw_cells(self) -> None:
        """Send rows, values and mask, each only if it differs from that of the page."""
        # Read before the state: see `Part.handled`.
        handled = dict(self.handled)
        (cells,), (marks,) = self._raster.cells(), self._raster.over()
        rows, window = cells.rows, cells.window
        if rows is None or window is None:
            # A recording, or a model that reads other windows, may just be set: its next
            # signal requests a drawing.
            if self._state.session is None:
                self._sent = {}
                self.add_message("nothing")
            return
        if rows is not self._layouts.peek(self._revision):
            self._revision += 1
            self._layouts.get(self._revision, lambda: rows)
        # Each field depends only on the objects in its key. All keys contain the
        # revision, because codes and values are in the order of the rows.
        keys: dict[str, tuple[Any, ...]] = {
            "layout": (self._revision, cells.n_samples),
            "codes": (self._revision, cells.codes),
            "values": (self._revision, cells.pictures),
            "ticks": (self._revision, window),
        }
        is_new = {name: not is_same(key, self._sent.get(name, ())) for name, key in keys.items()}
        # Buffers are numbered by their position, which depends on the fields included.
        buffers: Buffers = []
        fields: dict[str, Any] = {}
        if is_new["layout"]:
            fields["layout"] = _layout(cells, rows, window)
        if is_new["codes"] and cells.codes is not None:
            fields["codes"] = len(buffers)
            buffers.append(cells.codes)
        if is_new["values"]:
            fields["values"] = []
            for picture in cells.pictures:
                number = {"picture": picture.image, "buffer": len(buffers)}
                fields["values"].append({**number, "title": picture.title, "ends": picture.ends})
                buffers.append(_places_in_table(picture, rows))
        if is_new["ticks"]:
            ticks = spike_ticks(window, rows, 0, window.spec.n_samples)
            fields["ticks"] = None if ticks is None else len(buffers)
            buffers += [] if ticks is None else [ticks]
        facts = {
            "handled": handled,
            **fields,
            "rows": self._revision,
            # Not of the layout: another mask can name the same rows anew.
            "labels": [[float(row), text] for row, text in cells.ticks],
            "marks": marks.rows,
            "span": marks.span,
            "span_colour": marks.colour,
            "is_old": marks.is_old,
        }
        # Without new fields, the small facts are sent only if they changed.
        if fields:
            self.add_message("raster", buffers, **facts)
        else:
            self.add_if_changed("raster", **facts)
        self._sent = keys


def _layout(cells: Cells, rows: RasterRows, window: Window) -> dict[str, Any]:
    """Return the rows in view with the names of their neurons, and the axis."""
    return {
        "neurons": len(rows.order),
        "start": rows.start,
        "stop": rows.stop,
        "size": rows.members.shape[0],
        "samples": cells.n_samples,
        "names": names_of(rows, window),
    }


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
