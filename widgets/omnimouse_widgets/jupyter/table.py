"""Neuron table widget: a table with sorting, filter and the common selection.

The kernel sorts and filters, and sends only the rows in view.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Thread
from typing import Any, Final

import numpy as np
from traitlets import Bool, Dict, Enum, Int, Tuple, Unicode, validate

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.project import exports
from omnimouse_model.live.state import MAX_SELECTED
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_model.masks.neuron_table import matching_neurons
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.neurons.columns import (
    COLUMNS,
    FILTER_TIP,
    OLDER,
    TITLES,
    TOOLTIPS,
    cell_text,
    columns_of,
    sorted_rows,
    state_code,
)
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawn, Part

logger = logging.getLogger(__name__)

MOST_ROWS: Final = 500
"""Maximum number of rows in one message; no page shows more at once."""
TABLE = 0  # index of `_draw_table` in `parts`
LOOKS: Final[dict[str, Any]] = {
    "columns": COLUMNS,
    "titles": TITLES,
    "tips": TOOLTIPS,
    "words": [name in ("area", "state") for name in COLUMNS],
    "older": OLDER,
    "filter_tip": FILTER_TIP,
    "states": [[code, palette.STATE_NAMES[code]] for code in (VISIBLE, TARGET, HIDDEN)],
    "colours": palette.STATE_COLOURS,
    "most": MAX_SELECTED,
}


@dataclass(frozen=True, slots=True, eq=False)
class Arranged:
    """Columns and order of the rows in the latest drawing.

    Requests and actions of a page refer to these rows, also if the state has changed
    since.

    Attributes
    ----------
    version
        Number of the drawing.
    columns
        Values (P,) of all neurons, by column.
    neurons
        int (rows,): neuron of each row.
    """

    version: int
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
        Column for sorting, and whether the largest value comes first.
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
    sort_by = Enum(COLUMNS, "id").tag(sync=True)
    descending = Bool(False).tag(sync=True)
    selection = Tuple().tag(sync=True)
    shown = Int(0, read_only=True).tag(sync=True)
    height = Int(320, min=80).tag(sync=True)
    _looks = Dict(LOOKS).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        # No rows before the first drawing: early messages of a page then find none.
        self._arranged = Arranged(0, dict.fromkeys(COLUMNS, np.empty(0)), np.empty(0))
        super().__init__(controller, **traits)
        state = controller.state
        self.bind(
            "selection",
            state.events.selection,
            lambda: state.selection,
            controller.select,
        )
        counted = (state.events.session, state.events.mask)
        self.bind("shown", counted, self._n_shown)
        self.observe(self._arrange_again, ["filter", "sort_by", "descending"])

    def parts(self) -> list[Drawn]:
        """Return the drawing functions of the rows and of the selection."""
        events, results = self.controller.state.events, self.controller.results.events
        return [
            Drawn(self._draw_table, [events.session, events.mask, events.active_span,
                                results.scores, results.population_freshness]),
            Drawn(self._draw_selection, [events.selection, events.session]),
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

    @validate("filter")
    def _known_filter(self, proposal: Any) -> str:
        text = str(proposal["value"]).strip()
        matching_neurons(
            text, columns_of(self.controller)
        )  # raises if the text is invalid
        return text

    # -- from the page ----------------------------------------------------------------
    def on_filter(self, content: dict[str, Any], _: Any) -> None:
        """Set the filter."""
        self.filter = content["text"]

    def on_rows(self, content: dict[str, Any], _: Any) -> None:
        """Send the rows `start` to `stop` - 1 of the latest drawing."""
        arranged, start = self._arranged, max(int(content["start"]), 0)
        stop = min(int(content["stop"]), start + MOST_ROWS, len(arranged.neurons))
        neurons = arranged.neurons[start:stop]
        cells = [
            [cell_text(name, value) for value in arranged.columns[name][neurons]]
            for name in COLUMNS
        ]
        states = arranged.columns["state"][neurons]
        self.say(
            "rows",
            view=content["view"],
            version=arranged.version,
            start=start,
            neurons=neurons.tolist(),
            cells=[list(row) for row in zip(*cells, strict=True)],
            states=[state_code(str(word)) for word in states],
        )

    def on_pick(self, content: dict[str, Any], _: Any) -> None:
        """Apply clicks and keys of a page to the selection, in their order."""
        # Several at once: a page collects them while an acknowledgement is missing.
        for pick in content["picks"]:
            neuron = self._picked(pick)
            if neuron is None:
                continue
            if pick["how"] == "one":
                self.controller.select([neuron])
            elif pick["how"] == "toggle":
                self._toggle(neuron)
            else:
                self.controller.select(self._between(pick["anchor"], neuron))

    def on_paint(self, content: dict[str, Any], _: Any) -> None:
        """Paint the neurons of all rows, as one undo step."""
        self._paint(self._arranged.neurons, int(content["code"]))

    def on_csv(self, content: dict[str, Any], _: Any) -> None:
        """Send the table of all neurons with its condition, as a CSV file."""
        # Read here, on the thread of the message: an error appears in `problem`, and
        # the table is that of the moment of the click.
        what = exports.screen_content(self.controller.state, self.controller.results)
        view = str(content["view"])
        work = Thread(target=self._say_csv, args=(what, view), name="omnimouse-csv")
        work.start()

    # -- within -----------------------------------------------------------------------
    def _say_csv(self, what: exports.ScreenContent, view: str) -> None:
        """Write and send the table; on a thread, because 10,000 rows take 0.5 s."""
        try:
            table = exports.csv_bytes(what)
            self.say("csv", [table], view=view, name=f"{what.session.id}.csv")
        except Exception as error:
            logger.exception("The table could not be written.")
            self._failed(error)

    def _neurons_of(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        if not len(columns["id"]):
            return np.empty(0, np.int64)
        kept = matching_neurons(self.filter, columns)
        values = columns[self.sort_by][kept]
        arranged = sorted_rows(values, descending=self.descending)
        return np.asarray(kept[arranged])

    def _arrange_again(self, _: Any) -> None:
        # `shown` changes at once, for code that reads it; the rows follow with the next
        # drawing, and only while a page shows them.
        self.set_trait("shown", len(self.neurons))
        self._board.ask(TABLE)

    def _n_shown(self) -> int:
        """Return the number of rows; while a page shows them, `_draw_table` counts."""
        return int(self.shown) if self._views else len(self.neurons)

    def _paint(self, neurons: np.ndarray, code: int | None) -> None:
        if len(neurons):
            self.controller.paint(neurons, code)

    def _picked(self, pick: Mapping[str, Any]) -> int | None:
        """Return the neuron of a click; None if the row no longer exists.

        A page that has not received the row yet sends its position only.
        """
        neurons = self._arranged.neurons
        if pick.get("neuron") is not None:
            return int(pick["neuron"])
        return int(neurons[pick["row"]]) if pick["row"] < len(neurons) else None

    def _toggle(self, neuron: int) -> None:
        selection = self.controller.state.selection
        others = [other for other in selection if other != neuron]
        is_there = len(others) < len(selection)
        self.controller.select(others if is_there else [*others, neuron])

    def _between(self, anchor: Mapping[str, Any], neuron: int) -> list[int]:
        """Return the neurons of the rows from the anchor to `neuron`, which is last."""
        neurons, begin = self._arranged.neurons, self._picked(anchor)
        ends = [np.flatnonzero(neurons == end) for end in (begin, neuron)]
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
        version = self._arranged.version + 1
        self._arranged = Arranged(version, columns, self._neurons_of(columns))
        self.set_trait("shown", len(self._arranged.neurons))
        self.show(
            "table",
            version=version,
            n=len(self._arranged.neurons),
            total=len(columns["id"]),
            is_old=self.controller.results.is_population_old,
        )

    def _draw_selection(self) -> None:
        """Scroll to the neuron that was selected last."""
        selection = self.controller.state.selection
        rows = np.flatnonzero(np.isin(self._arranged.neurons, selection[-1:]))
        if len(rows):
            self.show("selected", row=int(rows[0]), version=self._arranged.version)
