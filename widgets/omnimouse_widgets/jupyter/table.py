"""Neuron table widget: a table with sorting, filter and the common selection.

The kernel sorts and filters, and sends only the rows in view.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Thread
from typing import Any, Final

import numpy as np
from traitlets import Bool, Dict, Int, TraitError, Tuple, Unicode, validate

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.project import exports
from omnimouse_model.live.state import MAX_SELECTED
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_model.masks.neuron_table import matching_neurons
from omnimouse_widgets import palette
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawing, Part
from omnimouse_widgets.views.neurons import (
    COLUMNS,
    FILTER_TIP,
    OLDER,
    cell_text,
    column_names,
    columns_of,
    property_names,
    sorted_rows,
    state_code,
    tooltips_of,
)

logger = logging.getLogger(__name__)

MAX_ROWS: Final = 500
"""Maximum number of rows in one message; no page shows more at once."""
TABLE = 0  # index of `_draw_table` in `drawings`
CONSTANTS: Final[dict[str, Any]] = {
    "columns": COLUMNS,
    "older": OLDER,
    "filter_tip": FILTER_TIP,
    "states": [[code, palette.STATE_NAMES[code]] for code in (VISIBLE, TARGET, HIDDEN)],
    "colours": palette.STATE_COLOURS,
    "max_selected": MAX_SELECTED,
}


@dataclass(frozen=True, slots=True, eq=False)
class TableRows:
    """Columns and order of the rows in the latest drawing.

    Requests and actions of a page refer to these rows, also if the state has changed
    since.

    Attributes
    ----------
    version
        Number of the drawing.
    names
        Names of the displayed columns, from left to right: `COLUMNS`, then the
        properties of joined tables and experiments.
    columns
        Values (P,) of all neurons, by column.
    neurons
        int (rows,): neuron of each row.
    """

    version: int
    names: tuple[str, ...]
    columns: Mapping[str, np.ndarray]
    neurons: np.ndarray


class NeuronTable(Part):
    """Table of the neurons, with sorting and a filter.

    Attributes
    ----------
    filter
        Words and comparisons that must all hold: `V1 target depth<250`; see
        `omnimouse_model.masks.neuron_table`. An invalid filter raises an error.
    sort_by, descending
        Column for sorting, or a property of joined tables, and whether the largest
        value comes first.
    selection
        Indices of the selected neurons in the order of selection, at most 64.
    shown
        Number of neurons that pass the filter; read-only.
    height
        Height of the rows in CSS pixels.
    """

    _esm = script("table")
    _css = style()
    filter = Unicode("").tag(sync=True)
    sort_by = Unicode("id").tag(sync=True)
    descending = Bool(False).tag(sync=True)
    selection = Tuple().tag(sync=True)
    shown = Int(0, read_only=True).tag(sync=True)
    height = Int(320, min=80).tag(sync=True)
    _constants = Dict(CONSTANTS).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        # No rows before the first drawing: early messages of a page then find none.
        self._arrangement = TableRows(0, COLUMNS, dict.fromkeys(COLUMNS, np.empty(0)), np.empty(0))
        super().__init__(controller, **traits)
        events = controller.state.events
        self.bind_field("selection", controller.selection.select)
        self.bind("shown", (events.session, events.mask), self._n_shown)
        self.observe(self._rearrange, ["filter", "sort_by", "descending"])

    def drawings(self) -> list[Drawing]:
        """Return the drawing functions of the rows and of the selection."""
        events, results = self.controller.state.events, self.controller.results.events
        return [
            Drawing(self._draw_table, [events.session, events.mask, events.active_span,
                                results.neuron_scores, results.population_freshness]),
            Drawing(self._draw_selection, [events.selection, events.session]),
        ]  # fmt: skip

    @property
    def neurons(self) -> np.ndarray:
        """Neurons that pass the filter, in the order of the rows."""
        return self._neurons_of(columns_of(self.controller))

    def paint(self, code: int | None = None) -> None:
        """Paint every neuron that passes the filter, as one undo step.

        `code` is 0 hidden, 1 visible or 2 target; it defaults to that of the brush.
        """
        self._paint(self.neurons, code)

    @validate("sort_by")
    def _valid_column(self, proposal: Any) -> str:
        names = (*COLUMNS, *property_names(self.controller))
        if proposal["value"] not in names:
            raise TraitError(
                f"sort_by: found {proposal['value']!r}, expected one of {', '.join(names)}."
            )
        return str(proposal["value"])

    @validate("filter")
    def _valid_filter(self, proposal: Any) -> str:
        text = str(proposal["value"]).strip()
        matching_neurons(text, columns_of(self.controller))  # raises if invalid
        return text

    # -- from the page ----------------------------------------------------------------
    def on_filter(self, content: dict[str, Any], _: Any) -> None:
        """Set the filter."""
        self.filter = content["text"]

    def on_rows(self, content: dict[str, Any], _: Any) -> None:
        """Send the rows `start` to `stop` - 1 of the latest drawing."""
        table, start = self._arrangement, max(int(content["start"]), 0)
        stop = min(int(content["stop"]), start + MAX_ROWS, len(table.neurons))
        neurons = table.neurons[start:stop]
        cells = [
            [cell_text(name, value) for value in table.columns[name][neurons]]
            for name in table.names
        ]
        states = table.columns["state"][neurons]
        self.send_now(
            "rows",
            view=content["view"],
            version=table.version,
            start=start,
            neurons=neurons.tolist(),
            cells=[list(row) for row in zip(*cells, strict=True)],
            states=[state_code(str(state)) for state in states],
        )

    def on_pick(self, content: dict[str, Any], _: Any) -> None:
        """Apply clicks and keys of a page to the selection, in their order."""
        # Several at once: a page collects them while an acknowledgement is missing.
        for pick in content["picks"]:
            neuron = self._neuron_of(pick)
            if neuron is None:
                continue
            if pick["mode"] == "one":
                self.controller.selection.select([neuron])
            elif pick["mode"] == "toggle":
                self._toggle(neuron)
            else:
                self.controller.selection.select(self._between(pick["anchor"], neuron))

    def on_paint(self, content: dict[str, Any], _: Any) -> None:
        """Paint the neurons of all rows, as one undo step."""
        self._paint(self._arrangement.neurons, int(content["code"]))

    def on_csv(self, content: dict[str, Any], _: Any) -> None:
        """Send the table of all neurons with its condition, as a CSV file."""
        # Read here, on the thread of the message: an error appears in `problem`, and
        # the table is that of the moment of the click.
        controller = self.controller
        screen = exports.screen_content(controller.state, controller.results, controller.colouring)
        view = str(content["view"])
        # On a thread, because 10,000 rows take 0.5 s.
        thread = Thread(target=self._send_csv, args=(screen, view))
        thread.start()

    def _send_csv(self, screen: exports.ScreenContent, view: str) -> None:
        """Write and send the table."""
        try:
            table = exports.neuron_csv(screen)
            self.send_now("csv", [table], view=view, name=f"{screen.session.id}.csv")
        except Exception as error:
            logger.exception("The table could not be written.")
            self.show_problem(error)

    # -- rows -------------------------------------------------------------------------
    def _neurons_of(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        if not len(columns["id"]):
            return np.empty(0, np.int64)
        neurons = matching_neurons(self.filter, columns)
        # A property is no column any more after another recording was opened.
        values = columns.get(self.sort_by, columns["id"])[neurons]
        return np.asarray(neurons[sorted_rows(values, descending=self.descending)])

    def _rearrange(self, _: Any) -> None:
        # `shown` changes at once, for code that reads it; the rows follow with the next
        # drawing, and only while a page shows them.
        self.set_trait("shown", len(self.neurons))
        self._board.request(TABLE)

    def _n_shown(self) -> int:
        """Return the number of rows; while a page shows them, `_draw_table` counts."""
        return int(self.shown) if self._views else len(self.neurons)

    def _paint(self, neurons: np.ndarray, code: int | None) -> None:
        if len(neurons):
            self.controller.editor.paint(neurons, code)

    def _neuron_of(self, pick: Mapping[str, Any]) -> int | None:
        """Return the neuron of a click; None if the row no longer exists.

        A page that has not received the row yet sends its position only.
        """
        neurons = self._arrangement.neurons
        if pick.get("neuron") is not None:
            return int(pick["neuron"])
        return int(neurons[pick["row"]]) if pick["row"] < len(neurons) else None

    def _toggle(self, neuron: int) -> None:
        selection = self.controller.state.selection
        others = [other for other in selection if other != neuron]
        is_selected = neuron in selection
        self.controller.selection.select(others if is_selected else [*others, neuron])

    def _between(self, anchor: Mapping[str, Any], neuron: int) -> list[int]:
        """Return the neurons of the rows from the anchor to `neuron`, which is last."""
        neurons, start = self._arrangement.neurons, self._neuron_of(anchor)
        ends = [np.flatnonzero(neurons == end) for end in (start, neuron)]
        # The filter may have removed the anchor since the first click.
        if not all(len(end) for end in ends):
            return [neuron]
        first, last = int(ends[0][0]), int(ends[1][0])
        # Towards `neuron`, so that it remains if more than 64 are selected.
        step = 1 if last >= first else -1
        return [int(neurons[row]) for row in range(first, last + step, step)]

    # -- to the page ------------------------------------------------------------------
    def _draw_table(self) -> None:
        columns = columns_of(self.controller)
        # A recording that is being opened can have names before it has values.
        names = tuple(n for n in column_names(self.controller) if n in columns)
        version = self._arrangement.version + 1
        neurons = self._neurons_of(columns)
        self._arrangement = TableRows(version, names, columns, neurons)
        self.set_trait("shown", len(self._arrangement.neurons))
        self.add_message(
            "table",
            version=version,
            n=len(self._arrangement.neurons),
            total=len(columns["id"]),
            is_old=self.controller.results.are_scores_old,
            titles=names,
            tips=tooltips_of(self.controller),
            is_text=[columns[name].dtype.kind == "U" for name in names],
        )

    def _draw_selection(self) -> None:
        """Scroll to the neuron that was selected last."""
        selection = self.controller.state.selection
        rows = np.flatnonzero(np.isin(self._arrangement.neurons, selection[-1:]))
        if len(rows):
            self.add_message("selected", row=int(rows[0]), version=self._arrangement.version)
