"""Panel *Raster*: neurons by samples of the window, with the mask over them.

The file is long because a panel is one file: its content, actions and texts.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Final, Literal, cast

import numpy as np
from psygnal import SignalInstance

from omnimouse_model.data.recording import cached
from omnimouse_model.data.session import Session, Window
from omnimouse_model.display import number_text
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.live.navigation import Navigation
from omnimouse_model.live.neurons.neuron_order import SimilarityOrder
from omnimouse_model.live.neurons.planes import Selection
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState, RasterOrder
from omnimouse_model.live.state import RasterView as ShownPictures
from omnimouse_model.masks import HIDDEN, STATE_NAMES, TARGET, VISIBLE, Mask, Neurons, Samples
from omnimouse_model.predict.predictor import Prediction
from omnimouse_widgets import palette
from omnimouse_widgets.views import record
from omnimouse_widgets.views.rows.raster import (
    MEANINGS,
    MISSING,
    ORDERINGS,
    UNREAD,
    UNSCORED_TARGET,
    Arrangement,
    RasterImage,
    RasterPicture,
    RasterRows,
    arrange,
    order_text,
    rows_in_view,
)
from omnimouse_widgets.views.text import units

VIEWS: Final[dict[ShownPictures, str]] = {
    "truth": "recorded",
    "prediction": "predicted",
    "residual": "residual",
    "pair": "recorded, predicted",
    "beside": "all three",
}
TITLES: Final[dict[RasterImage, str]] = {
    "truth": "recorded",
    "prediction": "predicted",
    "residual": "residual",
}
GREY: Final = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
RESIDUAL: Final = palette.residual_table()


VIEW_TIP: Final = (
    "What the raster shows (V: the next).\n"
    "Residual: predicted − recorded; blue too low, orange too high"
)
HATCHED: Final = {
    UNREAD: "not read: the run is too short for the model",
    UNSCORED_TARGET: "not predicted: the first samples, or right after visible ones",
    MISSING: "not recorded: hidden from the model and not scored",
}
"""Why cells are hatched."""
Tool = Literal["look", "paint", "box", "columns", "rows"]
TOOLS: Final[dict[Tool, str]] = {
    "look": "Click: select neurons and move the cursor",
    "paint": "Drag to paint the cells under the pointer",
    "box": "Drag a rectangle to paint every cell in it",
    "columns": "Drag over samples to paint them for all neurons",
    "rows": "Drag over rows to paint all samples of their neurons",
}
CODES: Final = (VISIBLE, HIDDEN, TARGET)
"""Codes of the brush, in the order of their keys."""
ALL_ROWS: Final = (0.0, 0.0)
"""Stands for all rows in view."""
LEAST_ROWS: Final = 4.0
"""Rows that are in view at least."""
ZOOM: Final = 1.6
"""Factor of one step of the zoom."""
MAX_NAMES: Final = 4
"""Most names of neurons in the text of a row, which can have dozens of neurons."""
TIP: Final = (
    "Neurons (rows) by samples (columns) of the window.\n"
    "Left drag: use the tool · right drag: pan the rows · drag the time axis: move the cursor\n"
    "Wheel: zoom rows (in a notebook with Ctrl) · in napari Shift+wheel: zoom time"
)
ORDER_TIP: Final = "Order of the rows, from top to bottom"
COLUMNS: Final = "sample"
"""What the numbers below the columns count."""


class RasterView(OfController):
    """Values of neurons by samples, with the mask over them, and how they are shown.

    Attributes
    ----------
    tool
        What the left button does.
    rows_shown
        First row in view and last row + 1; `ALL_ROWS` shows all rows.
    tool_changed, rows_moved
        Emitted after a change of each.
    arrangement, rows
        Order of all neurons, and the binned rows in view; None without a session.
    """

    name = "raster"

    def __init__(
        self,
        state: LiveState,
        results: Results,
        editor: MaskEditor,
        neuron_order: SimilarityOrder,
        selection: Selection,
        navigation: Navigation,
    ) -> None:
        self._state, self._results, self._editor = state, results, editor
        self._neuron_order, self._selection, self._navigation = neuron_order, selection, navigation
        self.tool: Tool = "paint"
        self.rows_shown = ALL_ROWS
        self.tool_changed, self.rows_moved = SignalInstance(), SignalInstance()
        self.arrangement: Arrangement | None = None
        self._arranged_by: tuple[object, ...] = ()
        self.rows: RasterRows | None = None
        self._n_homes = 0
        self._codes: tuple[object, ...] = (None,)
        self._pictures: tuple[object, ...] = (None,)
        self._hatched: tuple[str, ...] = ()
        self._hatched_changed, self._pointed = SignalInstance(), SignalInstance()
        # Of the cell under the pointer, and the session that has it.
        self._pointer_text, self._pointed_in = "", state.session
        self._place: tuple[int, float] | None = None
        self._rows_of: Session | None = None

    def blocks(self) -> Sequence[record.Block]:
        """Return the record: tools, choices with the state of the raster, and the cells."""
        events = self._state.events
        order, results = self._neuron_order.changed, self._results
        looks = [events.raster_order, events.raster_view]
        status = [*looks, results.changed, order, self._hatched_changed, self._pointed]
        placed = [events.session, events.mask, events.active_span, *looks, order,
                  results.events.scores, self._editor.history_changed, self.rows_moved,
                  events.window]  # fmt: skip
        return [
            # The comparison of neurons is costly; a hidden raster does not need it.
            record.Block(tuple, [], follow=self._follow),
            record.Block(self._tools, [self.tool_changed, events.brush_code, events.session]),
            record.Block(self._choices, [*status, events.session, self.rows_moved]),
            record.Block(self.cells, [*placed, results.events.population]),
            record.Block(self.over, [*placed, events.selection, events.brush_code, events.cursor,
                               results.events.population_freshness]),
        ]  # fmt: skip

    def _follow(self, is_visible: bool) -> None:
        if not is_visible:
            self._neuron_order.pause()

    def _tools(self) -> Sequence[record.Row]:
        editor, code = self._editor, self._state.brush_code
        tools = tuple(
            (tool, tool.capitalize().removesuffix("s"), tip) for tool, tip in TOOLS.items()
        )
        codes = tuple((str(each), STATE_NAMES[each], "") for each in CODES)
        return [
            record.Row(
                "tools",
                (
                    record.Choice("tool", "Raster tool", "", tools, self.tool, self.set_tool,
                                  is_row=True),
                    record.Choice("code", "Brush",
                                  "What is painted (1 visible, 2 hidden, 3 target)",
                                  codes, str(code), lambda value: editor.set_brush(int(value))),
                    record.Action("more", "−", "Show more rows (−)",
                                  lambda: self.zoom(ZOOM), "", "-"),
                    record.Action("fewer", "+", "Show fewer rows (+)",
                                  lambda: self.zoom(1 / ZOOM), "", "+"),
                    record.Action("all", "All", "Show all rows (Home)", self.show_all, "", "Home"),
                ),
                wide="tool"
            )
        ]  # fmt: skip

    def _choices(self) -> Sequence[record.Row]:
        state, order = self._state, self._neuron_order
        orders = tuple((name, text, MEANINGS[name]) for name, text in ORDERINGS.items())
        views = tuple((name, text, "") for name, text in VIEWS.items())
        items: list[record.Item] = [
            record.Choice("order", "Order of the rows", ORDER_TIP, orders, state.raster_order,
                          self._set_order),
        ]  # fmt: skip
        if state.raster_order == "similarity" and order.is_busy:
            items.append(record.Action("similarity", "Stop", "Stop the comparison", order.stop))
        elif state.raster_order == "similarity" and order_text(
            self._state, self._results, self._neuron_order
        ):
            items.append(
                record.Action("similarity", "Compare", "Compare the neurons again", order.retry)
            )
        set_view = partial(setattr, state, "raster_view")
        # Again: a new mask or order changes the cell below a pointer that rests.
        is_same = self._pointed_in is self._state.session
        self._pointer_text = self._describe_pointed() if is_same else ""
        text = self._pointer_text or self.status_text()
        items += [
            record.Choice("view", "What the raster shows", VIEW_TIP, views, state.raster_view,
                          set_view, key="V"),
            record.Text("status", text, tip=text, is_line=True),
        ]  # fmt: skip
        return [record.Row("choices", tuple(items), wide="status")]

    # -- what the user does -----------------------------------------------------------
    def set_tool(self, tool: str) -> None:
        """Choose what the left button does."""
        self.tool = cast(Tool, tool)
        self.tool_changed.emit()

    def _set_order(self, order: str) -> None:
        # To the top at the same zoom: the rows in view would be those of no neuron that
        # was there before.
        low, high = self.rows_shown
        self._state.raster_order = cast(RasterOrder, order)
        self.show_rows(0.0, high - low)

    def show_rows(self, low: float, high: float) -> None:
        """Show rows `low` to `high` of the order; all rows if `low` is not less."""
        shown = (float(low), float(high)) if low < high else ALL_ROWS
        if shown != self.rows_shown:
            self.rows_shown = shown
            self.rows_moved.emit()

    def show_all(self) -> None:
        """Show all rows; also emitted if only the time is zoomed."""
        self.rows_shown, self._n_homes = ALL_ROWS, self._n_homes + 1
        self.rows_moved.emit()

    def zoom(self, factor: float) -> None:
        """Show `factor` as many rows around the middle of those in view."""
        mask = self._state.mask
        if mask is None:
            return
        n = mask.n_neurons
        low, high = self.rows_shown if self.rows_shown != ALL_ROWS else (0.0, float(n))
        count = min(max((high - low) * factor, min(LEAST_ROWS, n)), n)
        low = min(max((low + high - count) / 2, 0.0), n - count)
        self.show_rows(*(ALL_ROWS if count == n else (low, low + count)))

    def point_at(self, sample: int, row: float) -> None:
        """Describe the cell under the pointer in the status line."""
        self._point((sample, row))

    def point_away(self) -> None:
        """Describe no cell."""
        self._point(None)

    def _point(self, place: tuple[int, float] | None) -> None:
        session, self._place = self._state.session, place
        text = self._describe_pointed()
        if text != self._pointer_text or session is not self._pointed_in:
            self._pointer_text, self._pointed_in = text, session
            self._pointed.emit()

    def _describe_pointed(self) -> str:
        return "" if self._place is None else self.describe(*self._place)

    def _paint(self, neurons: Neurons, samples: Samples) -> None:
        if self._rows_of is not self._state.session:
            return  # another recording opened during a stroke
        self._editor.paint_cells(neurons, samples, self._state.brush_code)

    # -- what is drawn ----------------------------------------------------------------
    def cells(self) -> tuple[record.Cells]:
        """Return rows, values and mask, as the same objects while they are the same."""
        state, editor, rows = self._state, self._editor, self._place_rows()
        window, mask = state.window, state.mask
        is_whole = (
            rows is not None
            and window is not None
            and mask is not None
            and window.session is state.session
            and mask.n_samples == window.spec.n_samples
        )
        self._rows_of = state.session if is_whole else None
        # Else a recording, or a model that reads other windows, is being set: the next
        # signal reads again.
        ticks = self.arrangement.ticks if self.arrangement is not None else ()
        return (
            record.Cells(
                "cells", "Neurons by samples", TIP,
                rows if is_whole else None, ticks, state.spec.n_samples, self.rows_shown,
                self._n_homes, self._drawn_pictures() if is_whole else (),
                self._drawn_codes() if is_whole else None, window,
                lambda: self.tool, editor.begin_stroke, editor.end_stroke, self._paint,
                self._selection.select, self._navigation.set_cursor, self.show_rows,
                self.point_at, self.point_away,
            ),
        )  # fmt: skip

    def over(self) -> tuple[record.CellMarks]:
        """Return what is drawn over the raster: painted cells, the time span and the cursor."""
        state = self._state
        # The colour of hidden (code 0) is too dark for the black background.
        code = state.brush_code
        colour = palette.STATE_COLOURS[code] if code else palette.AXIS
        return (
            record.CellMarks("marks", "cells", self._marks(), state.active_span, colour,
                             state.cursor, self._results.is_population_old),
        )  # fmt: skip

    def _place_rows(self) -> RasterRows | None:
        """Order and bin the rows in view; return the same object for the same rows.

        The order is kept during a stroke: rows must not move under the pointer.
        """
        state, n = self._state, 0
        if state.session is None or state.mask is None:
            self.arrangement = self.rows = None
            return None
        n = state.mask.n_neurons
        if self.arrangement is not None and len(self.arrangement.order) != n:
            # Another number of neurons means another recording.
            self.arrangement, self.rows_shown = None, ALL_ROWS
        if self.arrangement is None or not self._editor.in_stroke:
            self.arrangement = self._arranged(state.session, state.mask)
        order, (low, high) = self.arrangement.order, self.rows_shown
        start, stop = rows_in_view(n, low, high) if low < high else (0, n)
        rows = self.rows
        if (
            rows is None
            or (rows.start, rows.stop) != (start, stop)
            or not np.array_equal(rows.order, order)
        ):
            self.rows = RasterRows.of(order, start, stop)
        return self.rows

    def _arranged(self, session: Session, mask: Mask) -> Arrangement:
        state, similarity = self._state, self._neuron_order
        # Similarity is computed in the background, and only while it is the order.
        if state.raster_order == "similarity":
            similarity.request()
        else:
            similarity.pause()
        scores = self._results.shown_scores
        span, order = state.active_span, similarity.order
        key = session, mask, span, state.raster_order, scores, order
        # Asked several times after each move of the window, which changes none of them.
        if self.arrangement is None or not is_same(key, self._arranged_by):
            self._arranged_by = key
            return arrange(state.raster_order, session.units, mask, span, scores, order)
        return self.arrangement

    def _drawn_pictures(self) -> tuple[RasterPicture, ...]:
        """Return the pictures of the chosen view, from left to right."""
        state, population = self._state, self._results.population
        assert state.window is not None
        key = state.window, population, state.raster_view
        # By identity: windows and predictions are replaced, never changed.
        if not is_same(key, self._pictures[:-1]):
            shown = images_of(state.raster_view)
            found = tuple(picture(image, state.window, population) for image in shown)
            # A single picture of activity is named by the menu; a residual needs its levels.
            if len(found) == 1 and not found[0].ends:
                found = (replace(found[0], title=""),)
            self._pictures = *key, found
        return cast(tuple[RasterPicture, ...], self._pictures[-1])

    def _drawn_codes(self) -> np.ndarray:
        """Return the display codes of the rows in view."""
        mask, window, rows = self._state.mask, self._state.window, self.rows
        assert mask is not None
        assert window is not None
        assert rows is not None
        # Most windows have no missing response, and the same codes.
        key = rows, mask, None if window.missing is None else window
        if not is_same(key, self._codes[:-1]):
            before = None
            if is_same((rows, key[2]), self._codes[:3:2]):
                before = cast(tuple[Mask, np.ndarray], (self._codes[1], self._codes[-1]))
            self._codes = *key, rows.codes(mask, window, before)
        codes = cast(np.ndarray, self._codes[-1])
        # The status line has the reasons for the hatching.
        reasons = hatch_text(codes)
        if reasons != self._hatched:
            self._hatched = reasons
            self._hatched_changed.emit()
        return codes

    def _marks(self) -> tuple[int, ...]:
        """Return the rows of the selected neurons."""
        if self.arrangement is None:
            return ()
        # Inverse permutation: O(P) once, instead of a search for each neuron.
        order = self.arrangement.order
        position = np.empty(len(order), np.int64)
        position[order] = np.arange(len(order))
        # The selection may belong to a newer session.
        known = [n for n in self._state.selection if n < len(order)]
        return tuple(int(place) for place in position[known])

    def status_text(self) -> str:
        """Return the order, the age of the prediction, hatching, and neurons per row."""
        if self._state.session is None:
            return record.NO_SESSION
        # It is read before the cells, whose rows may be those of the recording before.
        rows = self._place_rows()
        size = 1 if rows is None else rows.members.shape[0]
        is_recorded = self._state.raster_view == "truth"
        age = "" if is_recorded else age_text(self._results)
        per_row = f"{size} neurons / row" if size > 1 else ""
        return " · ".join(
            filter(
                None,
                (
                    order_text(self._state, self._results, self._neuron_order),
                    age,
                    *self._hatched,
                    per_row,
                ),
            )
        )

    def describe(self, sample: int, row: float) -> str:
        """Return e.g. `neuron 412 · target · sample 33`, and why it is hatched."""
        state, rows = self._state, self.rows
        mask, session = state.mask, state.session
        if rows is None or mask is None or session is None or state.window is None:
            return ""
        neurons = rows.neurons(row, row)
        # The pointer may rest where the window of another model has no sample.
        if not len(neurons) or sample >= len(mask.cells):
            return ""
        states = np.unique(mask.cells[sample, neurons])
        word = STATE_NAMES[states[0]] if len(states) == 1 else "several states"
        names = ", ".join(map(str, session.units.names[neurons[:MAX_NAMES]]))
        more = "…" if len(neurons) > MAX_NAMES else ""
        text = f"{names}{more} · {word} · sample {sample}"
        code = int(self._drawn_codes()[rows.bin_at(row), sample])
        return f"{text} · ▨ {HATCHED[code]}" if code in HATCHED else text


def names_of(rows: RasterRows, window: Window) -> list[str]:
    """Return the names of the neurons of each row."""
    units, size = window.session.units.names, rows.members.shape[0]
    more = "…" if size > MAX_NAMES else ""
    return [
        ", ".join(map(str, units[rows.order[a : min(b, a + MAX_NAMES)]])) + more
        for a, b in pairwise(rows.edges.tolist())
    ]


def is_same(key: tuple[object, ...], other: tuple[object, ...]) -> bool:
    """Return whether two keys contain the same objects, or equal numbers and texts.

    Masks, windows and predictions are compared by identity, because a comparison of
    their arrays would take as long as a drawing.
    """
    return len(key) == len(other) and all(
        a is b or (isinstance(a, int | str) and a == b) for a, b in zip(key, other, strict=True)
    )


def images_of(view: ShownPictures) -> tuple[RasterImage, ...]:
    """Return the pictures of a view, from left to right."""
    if view == "beside":
        return ("truth", "prediction", "residual")
    return ("truth", "prediction") if view == "pair" else (view,)


def picture(image: RasterImage, window: Window, prediction: Prediction | None) -> RasterPicture:
    """Return the values to draw; NaN where there is no prediction.

    Truth and prediction use the levels of the window, so that they are comparable.
    """
    low, high = levels_of(window)
    recorded = units.recorded(window)
    if image == "truth":
        return RasterPicture(image, recorded, (low, high), GREY, TITLES[image])
    predicted = all_neurons(prediction, window)
    if image == "prediction":
        return RasterPicture(image, predicted, (low, high), GREY, TITLES[image])
    # Symmetric around 0, so that dark grey always means a residual of 0.
    reach = (high - low) / 2
    # The minus sign U+2212 has the width of the plus sign; a hyphen is shorter.
    least, most = (number_text(level, sign="+", kind="g") for level in (-reach, reach))
    unit = " spikes/s" if window.spec.responses == "count" else ""
    ends = least, f"{most}{unit}"
    levels = (-reach, reach)
    return RasterPicture(image, predicted - recorded, levels, RESIDUAL, TITLES[image], ends)


def age_text(results: Results) -> str:
    """Return a note on a missing or outdated prediction, or ""."""
    if results.population is None:
        return "no prediction yet"
    if results.population_freshness == "streamed":
        return "streamed, not scored"
    return "prediction of an earlier mask or window" if results.is_population_old else ""


def all_neurons(prediction: Prediction | None, window: Window) -> np.ndarray:
    """Predicted responses (n_samples, P) of every neuron, NaN without one."""
    shape = window.spec.n_samples, window.session.n_neurons
    if prediction is not None and np.array_equal(prediction.neurons, np.arange(shape[1])):
        return units.predicted(prediction, window)
    values = np.full(shape, np.nan, np.float32)
    if prediction is not None:
        values[:, prediction.neurons] = units.predicted(prediction, window)
    return values


MAX_LEVEL_NEURONS: Final = 1_000
"""Most neurons, evenly spread over all, whose values give the grey levels of a window."""
_SAMPLED: Final = 16
"""One of so many values bounds those that can be a percentile."""


def levels_of(window: Window) -> tuple[float, float]:
    """Return grey levels of a window: 1st to 99th percentile of a sample of values."""
    return cached(window, "levels", lambda: _levels(window))


def _levels(window: Window) -> tuple[float, float]:
    recorded, is_count = units.recorded(window), window.spec.responses == "count"
    n = recorded.shape[1]
    # Of more neurons than these, sorting the values would take most of the drawing.
    values = recorded[:, :: max(1, -(-n // MAX_LEVEL_NEURONS))]
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = outer_percentiles(values)
    # Most bins have no spike: one spike is then white, not grey.
    least = window.spec.response_rate_hz if is_count else 1e-3
    return float(low), float(max(high, low + least))


def outer_percentiles(values: np.ndarray) -> tuple[float, float]:
    """Return the 1st and the 99th percentile of finite values, as `np.percentile` does.

    Only the values at both ends are put in order: a fifth of the time.
    """
    # A sample of them bounds the ends; 3 % of it rarely hold less than 1 % of all.
    some = np.sort(values[::_SAMPLED])
    bound = 3 * len(some) // 100
    lowest, highest = values[values <= some[bound]], values[values >= some[-1 - bound]]
    place = 0.01 * (len(values) - 1)
    below, share = int(place), place % 1
    if min(len(lowest), len(highest)) < below + 2:
        low, high = np.percentile(values, (1, 99))
        return float(low), float(high)
    # The highest from the top, so that both are found at the same place.
    low, high = (
        float(end[below] + (end[below + 1] - end[below]) * share)
        for end in (np.sort(lowest), np.sort(highest)[::-1])
    )
    return low, high


# Opacities of hidden, visible, target and mixed. Prediction and residual exist for
# target cells, so these stay (almost) clear there.
OVERLAYS: Final[dict[RasterImage, tuple[int, int, int, int]]] = {
    "truth": (185, 75, 90, 80),
    "prediction": (185, 75, 25, 45),
    "residual": (185, 75, 0, 30),
}


def overlay_table(tints: tuple[int, int, int, int]) -> np.ndarray:
    """Return uint8 (7, 4): RGBA of the display codes over the values."""
    excluded = [
        (*palette.rgb(palette.VISIBLE), 30),
        (*palette.rgb(palette.TARGET), 40),
        (0, 0, 0, 0),  # a missing response has no value and no part in the task
    ]
    states = palette.state_table(tints)
    return np.concatenate([states, np.array(excluded, np.uint8)])


def blended(base: np.ndarray, codes: np.ndarray, tints: np.ndarray) -> np.ndarray:
    """Blend colours with the tints of their display codes.

    Parameters
    ----------
    base
        uint8 (rows, columns, 3).
    codes
        uint8 (rows, columns), rows of `tints`.
    tints
        uint8 (codes, 4): red, green, blue and opacity.
    """
    # Integer arithmetic, because every stroke blends again. uint16 holds 255 * 255 +
    # 127; adding 127 before the division rounds to nearest.
    share = tints[:, 3:].astype(np.uint16)
    added = ((tints[:, :3] * share + 127) // 255).astype(np.uint8)
    # `take` is several times as fast as an index that is an array.
    mixed = base * (255 - share).take(codes, axis=0)
    mixed += 127
    mixed //= 255
    return np.asarray(mixed.astype(np.uint8) + added.take(codes, axis=0))


def coloured(values: np.ndarray, levels: tuple[float, float], table: np.ndarray) -> np.ndarray:
    """Map values to 256 colours, uint8 (…, 3); NaN is black."""
    low, high = levels
    is_finite = np.isfinite(values)
    # NaN must be replaced before the cast: NaN to uint8 is undefined.
    scaled = np.where(is_finite, (values - low) * (255 / (high - low)), 0)
    pixels: np.ndarray = table.take(np.clip(scaled, 0, 255).astype(np.uint8), axis=0)
    if not is_finite.all():
        pixels[~is_finite] = 0
    return pixels


LEAST_BIN_PX: Final = 2.5
"""Narrowest bin, in pixels, in which spikes are ticks: their times can then differ."""
LEAST_ROW_PX: Final = 6.0
"""Lowest row, in pixels, on which spikes are ticks."""
MAX_TICKS: Final = 5_000
"""Most ticks of a picture; more of them take longer to draw than a frame."""
TICK_HEIGHT: Final = 0.8
"""Height of a tick, as a share of a row."""


def spike_ticks(window: Window, rows: RasterRows, low: float, high: float) -> np.ndarray | None:
    """Return the spikes between two samples as float32 (spike, 2): sample and row.

    None for recordings without spike times, where rows have several neurons, and for
    more than `MAX_TICKS`.

    Parameters
    ----------
    low, high
        Samples in view; fractions count.
    """
    signal = window.session.responses
    if not signal.has_events or rows.members.shape[0] != 1 or not len(rows):
        return None
    rate_hz, start = window.spec.response_rate_hz, window.native_start
    low, high = max(low, 0.0), min(high, float(window.spec.n_samples))
    unit, time = signal.events(start + low / rate_hz, start + high / rate_hz)
    place = np.full(window.session.n_neurons, -1)
    place[rows.order[rows.start : rows.stop]] = np.arange(rows.start, rows.stop)
    is_shown = place[unit] >= 0
    if int(is_shown.sum()) > MAX_TICKS:
        return None
    sample = (time[is_shown] - start) * rate_hz
    return np.stack([sample, place[unit[is_shown]]], axis=1).astype(np.float32)


def are_ticks(bin_px: float, row_px: float) -> bool:
    """Return whether cells of this size in pixels have room for ticks."""
    return bin_px >= LEAST_BIN_PX and row_px >= LEAST_ROW_PX


def hatch_text(codes: np.ndarray | None) -> tuple[str, ...]:
    """Return the reasons for hatching among these display codes."""
    if codes is None:
        return ()
    return tuple(f"▨ {parts}" for code, parts in HATCHED.items() if (codes == code).any())
