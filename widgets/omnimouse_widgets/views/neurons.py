"""Panel *Neurons*: table of all neurons with filter, order and the shared selection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from psygnal import Signal

from omnimouse_model.analysis.direction_tuning import RECORDED, p_text
from omnimouse_model.display import number_text
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.laboratory import Laboratory
from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.neurons.planes import Selection
from omnimouse_model.live.neurons.quantities import score_quantity
from omnimouse_model.live.project import exports
from omnimouse_model.live.project.saved_screen import plain_name
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import MAX_SELECTED, LiveState
from omnimouse_model.masks import HIDDEN, MIXED, STATE_NAMES, TARGET, TRANSITION, VISIBLE
from omnimouse_model.masks.neuron_table import (
    P_VALUES,
    TUNED,
    matching_neurons,
    named_columns,
    table_columns,
)
from omnimouse_model.metrics.tuning import SIGNIFICANCE_LEVEL
from omnimouse_model.storage.write import write_bytes
from omnimouse_widgets import palette
from omnimouse_widgets.views import record
from omnimouse_widgets.views.form import WAITS, Form, setting

COLUMNS: Final = ("id", "area", "score", "state", "depth", "plane")
TEXT_COLUMNS: Final = ("area", "probe", "state")
"""Columns that contain text; the others contain numbers."""
_TITLES: Final = {
    "id": "unit",
    "recorded_field_row_px": "RF row (px)",
    "recorded_field_column_px": "RF column (px)",
    "recorded_field_reliability": "RF reliability (r)",
    "recorded_osi": "OSI",
    "recorded_p_orientation": "p of OSI",
    "recorded_dsi": "DSI",
    "recorded_p_direction": "p of DSI",
    "recorded_preferred_deg": "preferred direction (°)",
    "recorded_preferred_orientation_deg": "preferred orientation (°)",
}
"""Titles that differ from the key of the column, by which a filter and files name it."""
_WORDS: Final = {"osi": "OSI", "dsi": "DSI", "ssi": "SSI", "deg": "(°)", "px": "(px)"}
"""Parts of the keys of experiments that have another form in a title."""
_TOOLTIPS: Final = {
    "id": "Id of the neuron in the recording, as everywhere on screen (in files: unit_id)",
    "area": "Brain area, where the recording says",
    "plane": "Imaging plane, where the recording says",
    "probe": "Probe of the unit",
    "depth": "Depth in µm, where the recording says",
    "state": "State in the samples of the brush; where it changes, its first and last",
}
TUNED_TIP: Final = (
    f"tuned: to orientation or direction in the recording, with p < {SIGNIFICANCE_LEVEL / 2:g} "
    f"in one of the two tests (for two, half of {SIGNIFICANCE_LEVEL:g}), which at most "
    f"{100 * SIGNIFICANCE_LEVEL:g} % of the other neurons reach by chance"
)
FILTER_TIP: Final = (
    "Words and comparisons, all of which must hold:\n"
    "V1 · target · 412 · depth<250 · score>0.3\n"
    "V1 | LM keeps both, !V1 all but V1. Columns of joined tables (osi>0.3, or a word of a "
    "text column) and of experiments (directions_osi>0.3) can be used, too. As in Python: "
    "area == 'LM' and score > 0.3.\n"
    f"{TUNED_TIP}.\n"
    "The number of neurons below lists all columns when you point at it."
)
SCORE_HERE: Final = "score here"
"""Title of the score while it is of the window on screen."""
OLDER: Final = "◐"
"""Sign beside the title while the scores belong to an older request."""
TUNED_TO: Final = "by OSI or DSI"
"""What `tuned` is of in the filter: colours are of one of the two alone."""
UNKNOWN_TUNING: Final = (
    "A neuron of unknown tuning passes neither tuned nor !tuned, and no comparison. Compute all, "
    "under Colour by, Orientation selectivity, computes those that were not looked at."
)
SELECT_TIP: Final = (
    f"Select rows to see their traces (the last {MAX_SELECTED})\nPress a title to sort"
)


def _own_columns(state: LiveState) -> tuple[str, ...]:
    """Return the key of each of `COLUMNS`: units have a probe in place of a plane."""
    session = state.session
    plane = "plane" if session is None or session.units.probe is None else "probe"
    return tuple(plane if name == "plane" else name for name in COLUMNS)


def column_names(state: LiveState, colouring: Colouring) -> tuple[str, ...]:
    """Return the keys of the displayed columns in `columns_of`, from left to right."""
    return (*_own_columns(state), *property_names(state, colouring))


def property_names(state: LiveState, colouring: Colouring) -> tuple[str, ...]:
    """Return the names of columns from tables of the user, and from experiments."""
    session = state.session
    if session is None:
        return ()
    properties = session.units.properties.items()
    joined = (name for name, values in properties if values.ndim == 1)
    return (*joined, *colouring.measured_columns())


def property_tooltip(colouring: Colouring, name: str) -> str:
    """Return where a column of `property_names` comes from."""
    definitions = colouring.definitions()
    return definitions.get(name, "From the unit tables of the recording")


def title_of(name: str, measured: Mapping[str, str]) -> str:
    """Return the title of a column; `measured` are those of experiments, by key.

    Their values are a start of the key, the name of the experiment.
    """
    if name in measured:
        experiment = measured[name]
        words = name.removeprefix(f"{experiment}_").split("_")
        plain = " ".join(_WORDS.get(word, word) for word in words)
        return f"model, {experiment.replace('_', ' ')}: {plain}"
    return _TITLES.get(name, name)


def tooltips_of(state: LiveState, results: Results, colouring: Colouring) -> tuple[str, ...]:
    """Return the tooltip of each of `column_names`."""
    quantity = score_quantity(state.metric, results.neuron_scores)
    score = quantity.explanation
    own = (_TOOLTIPS.get(name, score) for name in _own_columns(state))
    return (
        *own,
        *(
            property_tooltip(colouring, n) + f"\nIn the filter and in files: {n}"
            for n in property_names(state, colouring)
        ),
    )


def columns_of(
    state: LiveState, results: Results, colouring: Colouring
) -> Mapping[str, np.ndarray]:
    """Return (P,) arrays of all columns, and of the positions x and y."""
    if state.session is None or state.mask is None:
        # Sorting and filtering distinguish text by dtype, also in an empty table.
        texts = dict.fromkeys(TEXT_COLUMNS, np.empty(0, str))
        return dict.fromkeys((*COLUMNS, "x", "y"), np.empty(0)) | texts
    columns = table_columns(state.session, state.mask, state.active_span, results.shown_scores)
    return {**columns, **colouring.measured_columns()}


def sorted_rows(values: np.ndarray, *, descending: bool) -> np.ndarray:
    """Return a stable sort order; NaN is last in both directions."""
    if values.dtype.kind == "U":
        # Ranks of the texts: text cannot be negated for descending order.
        values = np.unique(values, return_inverse=True)[1]
    # Negate instead of reversing the order: NaN stays last and ties keep their order.
    keys = -values.astype(float) if descending else values.astype(float)
    return np.argsort(keys, kind="stable")


def _is_same(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one is other or np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return one is other or one == other if isinstance(one, (tuple, str)) else one is other


def state_code(word: str) -> int:
    """Return the mask code of a state text, see `Mask.state_in`."""
    ends = word.split(TRANSITION)
    if len(ends) == 1:
        return STATE_NAMES.index(word)
    return MIXED if STATE_NAMES[VISIBLE] in ends else TARGET


def cell_text(name: str, value: Any) -> str:
    """Return the text of a cell; "–" if the value is not known."""
    if isinstance(value, str):
        return str(value) or "–"
    if np.isnan(value):
        return "–"
    if name.startswith("recorded_p_"):
        return p_text(value).removeprefix("= ")
    if name not in COLUMNS:  # a property, of unknown size
        return number_text(value, 4, kind="g")
    return number_text(value, 2 if name == "score" else 0)


def check_filter(
    text: str, columns: Mapping[str, np.ndarray], *, is_computing: bool = False
) -> None:
    """Raise `ValueError` for a filter that is not valid, with how a column is computed.

    `is_computing` says that those from the recording are being computed.
    """
    missing = [name for name in RECORDED if name in text and name not in columns]
    if not missing and TUNED in text and not any(name in columns for name in P_VALUES):
        missing = [TUNED]
    if missing and is_computing:
        try:
            # A word of a table can be `tuned`, too.
            matching_neurons(text, columns)
        except ValueError:
            raise ValueError(f"{WAITS}'{missing[0]}' is being computed; the filter waits") from None
    elif missing and missing[0] != TUNED:
        raise ValueError(
            f"{missing[0]} is not computed yet: Colour by, Orientation selectivity, Compute all."
        )
    matching_neurons(text, columns)


def n_with_tuning(text: str, columns: Mapping[str, np.ndarray]) -> int | None:
    """Return of how many neurons the tuning is known, for a filter by recorded columns.

    None if it is known of all, and for other filters.
    """
    named = [name for name in named_columns(text, columns) if name in RECORDED]
    # Fields are computed with the tuning; an untuned neuron has p values, but no direction.
    numbers = [columns[p] for p in P_VALUES if named and p in columns]
    is_known = [np.isfinite(values) for values in numbers if values.dtype.kind in "fiu"]
    if not is_known or np.all(is_known):
        return None
    return int(np.all(is_known, axis=0).sum())


def is_by_tuning(text: str, columns: Mapping[str, np.ndarray]) -> bool:
    """Return whether a filter has the term `tuned`, and columns by which it is known."""
    terms = text.lower().replace("|", " ").split()
    is_named = any(term.lstrip("!") == TUNED for term in terms)
    return is_named and any(name in columns for name in P_VALUES)


def columns_text(columns: Mapping[str, np.ndarray]) -> str:
    """List the columns that a filter can use, including those still to be computed."""
    uncomputed = [name for name in RECORDED if name not in columns]
    lines = [f"Columns for the filter: {', '.join(columns)}"]
    if uncomputed:
        lines.append(f"Computed by Colour by, Orientation selectivity: {', '.join(uncomputed)}")
    return "\n".join([*lines, TUNED_TIP, f"By a stricter rule: {P_VALUES[0]}<0.01"])


@dataclass(frozen=True, slots=True)
class FilterSettings:
    """Filter of the table; the context is the view."""

    text: str = setting(
        "Filter",
        FILTER_TIP,
        "",
        empty="V1 target depth<250 score>0.3",
        check=lambda text, view: check_filter(
            text.strip(), view.columns, is_computing=view.is_computing
        ),
    )


def read_rows(
    columns: Mapping[str, np.ndarray],
    names: Sequence[str],
    neurons: np.ndarray,
    first: int,
    last: int,
) -> Sequence[tuple[tuple[str, ...], str]]:
    """Return texts and colour of rows of one version of the table.

    The values are those of the titles that stand above them: a front end also reads rows
    between a change of the columns and the next record.
    """
    return [
        (
            tuple(cell_text(name, columns[name][neuron]) for name in names),
            palette.STATE_COLOURS[state_code(str(columns["state"][neuron]))],
        )
        for neuron in neurons[first:last].tolist()
    ]


LISTED: Final = "listed"
"""Choice of the neurons that pass the filter."""


@dataclass(frozen=True, slots=True)
class TableSettings:
    """Neurons of an exported table, and the kind of its file."""

    rows: str = setting(
        "Neurons",
        "Which neurons the table has",
        "all",
        options=(
            ("all", "all", "All neurons, in the order of the recording"),
            (LISTED, LISTED, "Those that pass the filter, in the order of the rows"),
        ),
    )
    kind: str = setting(
        "File",
        "Kind of the file",
        "csv",
        options=(
            ("csv", "CSV", "Text; the condition stands above the table"),
            ("parquet", "Parquet", "Typed columns; the condition is part of the metadata"),
        ),
    )


class NeuronsView(OfController):
    """Table of the neurons that pass a filter, in the order of a column.

    Attributes
    ----------
    filter
        The last valid filter; one that names a column not yet computed becomes it then.
    sort_by, is_descending
        Column of the order, and whether the largest value comes first.
    """

    name = "neurons"
    changed = Signal()

    def __init__(
        self,
        state: LiveState,
        results: Results,
        editor: MaskEditor,
        selection: Selection,
        laboratory: Laboratory,
        colouring: Colouring,
    ) -> None:
        self._state, self._results, self._editor = state, results, editor
        self._selection, self._laboratory, self._colouring = selection, laboratory, colouring
        self.sort_by, self.is_descending = "id", False
        self.filter = ""
        self.form = Form(FilterSettings, lambda: self)
        self.export_form = Form(TableSettings)
        self._refusal = ""
        self._session_id = "" if state.session is None else state.session.id
        self.form.changed.connect(self._on_form)
        # Of another recording, too, of which a view that is not on screen hears only this way.
        colouring.changed.connect(self._on_session)
        for signal in (colouring.changed, laboratory.measured):
            signal.connect(self._on_columns)
        self._version = 0
        self._columns: tuple[list[object], Mapping[str, np.ndarray]] = ([], {})
        self._arranged: tuple[object, object, np.ndarray] = None, None, np.empty(0, np.int64)

    def blocks(self) -> Sequence[record.Block]:
        """Return the record: filter, actions, table, and the selected rows."""
        events = self._state.events
        results = self._results.events
        values = [self.changed, events.session, events.mask, events.active_span,
                  results.neuron_scores, results.population_freshness,
                  self._laboratory.measured, self._colouring.changed]  # fmt: skip
        return [
            record.Block(self._settings, [self.form.changed, events.session]),
            record.Block(self._actions, values),
            record.Block(self._table, values),
            record.Block(self._chosen, [*values, events.selection]),
        ]

    # -- rows -------------------------------------------------------------------------
    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """Values (P,) of all columns by name; see `columns_of`."""
        state, results = self._state, self._results
        measured = self._colouring.measured_columns()
        key: list[object] = [state.session, state.mask, state.active_span, results.shown_scores,
               tuple(measured), *measured.values()]  # fmt: skip
        before = self._columns[0]
        # By identity: masks and arrays are replaced, never changed.
        if len(key) != len(before) or not all(map(_is_same, key, before)):
            self._columns = key, columns_of(self._state, self._results, self._colouring)
        return self._columns[1]

    @property
    def is_computing(self) -> bool:
        """Whether columns from the recording are being computed for all neurons."""
        return self._colouring.n_so_far is not None

    @property
    def neurons(self) -> np.ndarray:
        """Neurons that pass the filter, in the order of the rows."""
        columns = self.columns
        asked = self.filter, self.sort_by, self.is_descending
        if self._arranged[0] is not columns or self._arranged[1] != asked:
            self._arranged = columns, asked, self._arrange(columns)
            self._version += 1
        return self._arranged[2]

    def _arrange(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        try:
            neurons = matching_neurons(self.filter, columns)
        except ValueError:  # a column of another recording; its field says so
            neurons = np.arange(len(columns["id"]))
        # A property is no column any more after another recording was opened.
        values = columns.get(self.sort_by, columns["id"])[neurons]
        return np.asarray(neurons[sorted_rows(values, descending=self.is_descending)])

    # -- what the user does -----------------------------------------------------------
    def _on_form(self) -> None:
        self._refusal = self.form.refusal
        if not self._refusal:
            self.filter = str(self.form.value("text")).strip()
        self.changed.emit()

    def _on_session(self) -> None:
        """Clear the filter for another recording: ids and columns mean other neurons there."""
        session, before = self._state.session, self._session_id
        self._session_id = "" if session is None else session.id
        # One that was set before the first recording stays.
        if before not in ("", self._session_id):
            self.form.reset()

    def _on_columns(self) -> None:
        """Apply a filter in the box that names a column which is known only now.

        Or say that the column is being computed, or is no longer.
        """
        if self._refusal and self.form.refusal != self._refusal:
            self.form.changed.emit()

    def set_filter(self, text: str) -> None:
        """Set the filter.

        Raises
        ------
        ValueError
            It is not valid; nothing changes.
        """
        matching_neurons(text.strip(), self.columns)
        self.form.set("text", text.strip())

    def sort(self, name: str) -> None:
        """Sort by a column; again in the other direction."""
        self.set_order(name, is_descending=name == self.sort_by and not self.is_descending)

    def set_order(self, name: str, *, is_descending: bool) -> None:
        """Sort by a column.

        Raises
        ------
        ValueError
            There is no such column.
        """
        names = (*COLUMNS, *property_names(self._state, self._colouring))
        if name not in names and name not in column_names(self._state, self._colouring):
            raise ValueError(f"sort_by: found {name!r}, expected one of {', '.join(names)}.")
        self.sort_by, self.is_descending = name, is_descending
        self.changed.emit()

    def paint(self, code: int | None = None) -> None:
        """Paint every neuron that passes the filter, as one undo step."""
        if len(self.neurons):
            self._editor.paint(self.neurons, code)

    def _choose(self, rows: Sequence[int]) -> None:
        """Select rows; earlier neurons keep their order, and hidden ones stay selected."""
        before = self._state.selection
        shown, wanted = set(self.neurons.tolist()), set(rows)
        # A table that is not drawn again yet has rows of the filter or recording before.
        if wanted == set(before) & shown or not wanted <= shown | set(before):
            return
        # The state keeps the latest neurons, so new ones go last.
        still = [neuron for neuron in before if neuron in wanted]
        self._selection.select([*still, *(n for n in rows if n not in set(before))])

    def _save(self, settings: TableSettings) -> record.SaveFile:
        # Of the moment of the press.
        screen = exports.screen_content(self._state, self._results, self._colouring)

        neurons = self.neurons if settings.rows == LISTED else None
        table = exports.neuron_csv if settings.kind == "csv" else exports.neuron_parquet

        def write(path: Path) -> list[Path]:
            write_bytes(path, table(screen, neurons))
            return [path]

        return record.SaveFile(f"{plain_name(screen.session.id)}.{settings.kind}", write)

    # -- content ----------------------------------------------------------------------
    def _settings(self) -> Sequence[record.Item]:
        return [record.Settings("filter", self.form)]

    def _actions(self) -> Sequence[record.Item | record.Row]:
        session, n = self._state.session, len(self.neurons)
        total = 0 if session is None else session.n_neurons
        closed = record.NO_SESSION if session is None else ""
        refusal = closed or self.form.refusal or ("" if n else "No neuron passes the filter")
        paints = tuple(
            record.Action(f"paint {name}", name, f"Paint the listed neurons {name}",
                          partial(self.paint, code))
            for code, name in ((c, palette.STATE_NAMES[c]) for c in (VISIBLE, TARGET, HIDDEN))
        )  # fmt: skip
        text, tip, n_so_far = f"{n:,} of {total:,} neurons", "", self._colouring.n_so_far
        if session is not None:
            tip = columns_text(self.columns)
            if (n_known := n_with_tuning(self.filter, self.columns)) is not None:
                text = f"{n:,} of {total:,} · tuning known of {n_known:,}"
                tip = f"{UNKNOWN_TUNING}\n{tip}"
            if is_by_tuning(self.filter, self.columns):
                text += f" · {TUNED_TO}"
            text += "" if n else ": point here for all columns"
        if n_so_far is not None:
            text = f"{n:,} of {total:,} · ◌ tuning of {n_so_far:,}"
            tip = (
                f"Receptive field and tuning are known of {n_so_far:,} neurons so far; those of "
                "the others are still computed"
            )
        save = "Save the table of all or of the listed neurons, with its condition"
        return [
            record.Row(
                "actions",
                (
                    record.Text("count", text, "quiet", tip, is_line=True),
                    record.Menu("paint", "Paint", "Paint the listed neurons", paints, refusal),
                    record.Action(
                        "export", "Export…", save, self._save, closed, form=self.export_form
                    ),
                ),
                wide="count",
            )
        ]

    def _table(self) -> Sequence[record.Item]:
        columns = self.columns
        everything = column_names(self._state, self._colouring)
        tips = dict(
            zip(everything, tooltips_of(self._state, self._results, self._colouring), strict=True)
        )
        # Beside the unit, so that a narrow table shows by what its rows were chosen.
        order = dict.fromkeys(("id", *named_columns(self.filter, tips), *everything))
        names = [name for name in order if name in columns]
        is_old = self._results.are_scores_old
        older = f"\n{OLDER} Scores of an older task"
        scores = self._results.neuron_scores
        titles = {} if scores is None or scores.tier else {"score": SCORE_HERE}
        measured = {
            f"{experiment}_{column}": experiment
            for experiment, result in self._laboratory.measurements.items()
            for column in result.findings.columns
        }
        described = tuple(
            record.Column(
                name,
                titles.get(name, title_of(name, measured))
                + f" {OLDER}" * (name == "score" and is_old),
                tips[name] + older * (name == "score" and is_old),
                columns[name].dtype.kind == "U",
                name == "score" and is_old,
            )
            for name in names
        )
        neurons = self.neurons
        return [
            record.LongTable(
                "rows", SELECT_TIP, self._version, described, len(neurons), "state",
                self.sort_by, self.is_descending, self.sort, neurons,
                partial(read_rows, columns, names, neurons),
                lambda: self._state.selection, self._choose,
            )
        ]  # fmt: skip

    def _chosen(self) -> Sequence[record.Item]:
        selection = self._state.selection
        rows = np.flatnonzero(np.isin(self.neurons, selection[-1:]))
        return [
            record.ChosenRows("selection", "rows", selection, int(rows[0]) if len(rows) else None)
        ]
