"""The neurons as a table: sorted, filtered, its selection everyone's selection.

Order and filter are the kernel's; of the rows only those in view travel.
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
from omnimouse_model.masks.neuron_table import kept_rows
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.neurons.columns import (
    COLUMNS,
    FILTER_TIP,
    OLDER,
    TITLES,
    TOOLTIPS,
    columns_of,
    sorted_rows,
    state_code,
    words_of,
)
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawn, Part

logger = logging.getLogger(__name__)

MOST_ROWS: Final = 500
"""No page sees more at once."""
TABLE = 0  # the place among `parts` of what draws the rows
LOOKS: Final[dict[str, Any]] = {
    "columns": COLUMNS,
    "titles": TITLES,
    "tips": TOOLTIPS,
    "words": [name in ("area", "state") for name in COLUMNS],
    "older": OLDER,
    "filter_tip": FILTER_TIP,
    "states": [[code, palette.STATE_WORDS[code]] for code in (VISIBLE, TARGET, HIDDEN)],
    "colours": palette.STATE_COLOURS,
    "most": MAX_SELECTED,
}


@dataclass(frozen=True, slots=True, eq=False)
class Arranged:
    """The rows as they were drawn: their number, columns, and the neuron of each row.

    A page asks for rows by place, and paints what it shows: both mean these.
    """

    version: int
    columns: Mapping[str, np.ndarray]
    neurons: np.ndarray


class NeuronTable(Part):
    """A sortable, filterable table of the neurons.

    Attributes
    ----------
    filter
        Words and comparisons, all of which must hold: `V1 target depth<250`; see
        `omnimouse_model.masks.neuron_table`. Nonsense is refused.
    sort_by, descending
        The column the rows are sorted by, and whether from its greatest value on.
    selection
        Neurons that are selected: indices in the order they were chosen, at most 64.
    shown
        How many neurons the filter keeps; to be read.
    height
        Of the rows, in the page's pixels.
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
        """The rows, and which of them is selected last."""
        events, results = self.controller.state.events, self.controller.results.events
        return [
            Drawn(self._draw_table, [events.session, events.mask, events.active_span,
                                results.scores, results.population_freshness]),
            Drawn(self._draw_selection, [events.selection, events.session]),
        ]  # fmt: skip

    @property
    def neurons(self) -> np.ndarray:
        """Neurons that the filter keeps, from the first row to the last."""
        return self._neurons_of(columns_of(self.controller))

    def paint(self, code: int | None = None) -> None:
        """Paint every neuron that the filter keeps, as one undo step.

        `code` is 0 hidden, 1 visible or 2 target, the brush's by default.
        """
        self._paint(self.neurons, code)

    @validate("filter")
    def _known_filter(self, proposal: Any) -> str:
        text = str(proposal["value"]).strip()
        kept_rows(text, columns_of(self.controller))
        return text

    # -- from the page ----------------------------------------------------------------
    def on_filter(self, content: dict[str, Any], _: Any) -> None:
        """Keep the rows that the words ask for."""
        self.filter = content["text"]

    def on_rows(self, content: dict[str, Any], _: Any) -> None:
        """Give rows from `start` to before `stop` of what was drawn last."""
        arranged, start = self._arranged, max(int(content["start"]), 0)
        stop = min(int(content["stop"]), start + MOST_ROWS, len(arranged.neurons))
        neurons = arranged.neurons[start:stop]
        cells = [
            [words_of(name, value) for value in arranged.columns[name][neurons]]
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
        """Select as the clicks and keys of a page say, one after the other."""
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
        """Paint every neuron of the table, as one undo step."""
        self._paint(self._arranged.neurons, int(content["code"]))

    def on_csv(self, content: dict[str, Any], _: Any) -> None:
        """Give the table of all neurons with its condition, for a download."""
        what = exports.shown(self.controller.state, self.controller.results)
        view = str(content["view"])
        work = Thread(target=self._say_csv, args=(what, view), name="omnimouse-csv")
        work.start()

    # -- within -----------------------------------------------------------------------
    def _say_csv(self, what: exports.Shown, view: str) -> None:
        """Ten thousand rows take half a second, which no message waits for."""
        try:
            table = exports.csv_bytes(what)
            self.say("csv", [table], view=view, name=f"{what.session.id}.csv")
        except Exception as error:
            logger.exception("The table could not be written.")
            self._failed(error)

    def _neurons_of(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        if not len(columns["id"]):
            return np.empty(0, np.int64)
        kept = kept_rows(self.filter, columns)
        values = columns[self.sort_by][kept]
        arranged = sorted_rows(values, descending=self.descending)
        return np.asarray(kept[arranged])

    def _arrange_again(self, _: Any) -> None:
        self.set_trait("shown", len(self.neurons))
        self._board.ask(TABLE)

    def _n_shown(self) -> int:
        """Counted here while nobody looks, with the drawing while somebody does."""
        return int(self.shown) if self._views else len(self.neurons)

    def _paint(self, neurons: np.ndarray, code: int | None) -> None:
        if len(neurons):
            self.controller.paint(neurons, code)

    def _picked(self, pick: Mapping[str, Any]) -> int | None:
        """The neuron that a page showed there; one whose row it had not yet, by place.

        None where there is no such row any more.
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
        """Neurons of the rows from one to the other, that one last."""
        neurons, begin = self._arranged.neurons, self._picked(anchor)
        ends = [np.flatnonzero(neurons == end) for end in (begin, neuron)]
        if not all(len(end) for end in ends):
            return [neuron]
        first, last = int(ends[0][0]), int(ends[1][0])
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
        """Bring the newest of the selection into view."""
        selection = self.controller.state.selection
        rows = np.flatnonzero(np.isin(self._arranged.neurons, selection[-1:]))
        if len(rows):
            self.show("selected", row=int(rows[0]), version=self._arranged.version)
