"""Record of a panel: plain values that both front ends draw, and what actions return.

A view is an object with `blocks()`. Each block has the signals after which it is read
again, and returns *items*: texts, tables, plots, fields and actions, or rows of them.
The front end draws the items one below the other, keeps what did not change, and calls
`press` and `choose`. It computes no content and holds no text.

Arrays are float or, for pixels, uint8. A number that is not known is NaN in arrays and
None elsewhere.

The module is longer than usual because the kinds of items are one vocabulary: whoever
writes a panel, or a front end that draws it, reads them together.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
from jaxtyping import Float, UInt8

from omnimouse_model.data.session import Window
from omnimouse_widgets import palette
from omnimouse_widgets.views.form import Form
from omnimouse_widgets.views.rows.raster import RasterPicture, RasterRows
from omnimouse_widgets.views.rows.traces import Scale, Trace

NO_SESSION: Final = "No recording is open"
"""What an empty panel says."""
Tone = Literal["plain", "quiet", "warning", "problem"]
Dash = Literal["solid", "dashed", "dotted", "dash-dot", "long-dash", "long-dash-dot", "none"]
Outline = Literal["", "rectangle", "lasso"]
"""Shape that a drag draws, "" for none."""
REST_S: Final = 0.15
"""Least time between two readings of what grows while a job runs: results can arrive
faster, and each drawing makes a front end compose its whole window again."""
_nothing, _no_points = partial(np.zeros, 0), partial(np.zeros, (0, 2))
BRIGHT_SHARE: Final = 0.55
"""Share of the largest value of a matrix above which a cell is bright."""


# -- what is read --------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Text:
    """Text; an empty one takes no place. `is_line` cuts it to one line."""

    name: str
    text: str
    tone: Tone = "plain"
    tip: str = ""
    is_line: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Share from 0 to 1 that is done, None if not known."""

    name: str
    label: str
    share: float | None


@dataclass(frozen=True, slots=True)
class Legend:
    """Signs of a plot: glyph, colour and meaning of each."""

    name: str
    signs: tuple[tuple[str, str, str], ...]


# -- contents, each of which takes the free height -----------------------------------
@dataclass(frozen=True, slots=True)
class Table:
    """Titles and rows of texts.

    Attributes
    ----------
    pick
        Called with the number of a row that is pressed; None if rows are not pressed.
    colours
        Colour of the first text of each row, such as the sign of a curve; () without.
    """

    name: str
    label: str
    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    pick: Callable[[int], object] | None = None
    colours: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """Column of a long table; pale while its values belong to an older request."""

    name: str
    title: str
    tip: str
    is_text: bool = False
    is_pale: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class LongTable:
    """Table of many rows, of which a front end reads those in view.

    Attributes
    ----------
    version
        Number of the content; another one after a change of rows or values.
    signed
        Column whose cells begin with a sign in the colour of their row.
    sorted_by, is_descending, sort
        Column of the order, and what is called with the column of a pressed title.
    order
        Key of each row, int (row,).
    read
        Returns texts and colour of each row from the first number to before the last.
    chosen, choose
        Return and set the keys of the chosen rows, in the order of their choice.
    """

    name: str
    label: str
    version: int
    columns: tuple[Column, ...]
    n_rows: int
    signed: str
    sorted_by: str
    is_descending: bool
    sort: Callable[[str], object]
    order: np.ndarray
    read: Callable[[int, int], Sequence[tuple[tuple[str, ...], str]]]
    chosen: Callable[[], Sequence[int]]
    choose: Callable[[Sequence[int]], object]


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """Keys of the chosen rows of a long table, and the row that comes into view."""

    name: str
    content: str
    keys: tuple[int, ...]
    row: int | None


@dataclass(frozen=True, slots=True)
class CurrentRow:
    """Row of a table that is marked; it moves without drawing the table again."""

    name: str
    content: str
    row: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """Coloured cells with a text and a tip each; `high` and `low` end the colours."""

    name: str
    label: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Float[np.ndarray, "row column"]
    texts: tuple[tuple[str, ...], ...]
    tips: tuple[tuple[str, ...], ...]
    low: float
    high: float

    @property
    def shares(self) -> Float[np.ndarray, "row column"]:
        """Place of each value between `low` (0) and `high` (1); NaN without a value."""
        return np.asarray((self.values - self.low) / max(self.high - self.low, 1e-12))


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Points joined by a line.

    Attributes
    ----------
    symbol
        Mark of the points: "o", "s", "t1" or "d"; "" without marks.
    sd
        Half lengths of the error bars; NaN or empty without.
    tips
        A text for each point, or none.
    fit_x, fit_y
        Points of a fitted line, drawn dotted; empty without one.
    error
        Half heights of a band around the line; NaN or empty without.
    ends
        Lower and upper end of a bar at each point; empty without.
    is_open, is_pale
        Whether the marks are open, and whether the line is pale: it is preliminary.
    bar
        Width of bars from 0 to the points, in place of the line; 0 without bars.
    """

    label: str
    colour: str
    x: Float[np.ndarray, " point"]
    y: Float[np.ndarray, " point"]
    symbol: str = "o"
    sd: Float[np.ndarray, " bar"] = field(default_factory=_nothing)
    tips: tuple[str, ...] = ()
    fit_x: Float[np.ndarray, " fitted"] = field(default_factory=_nothing)
    fit_y: Float[np.ndarray, " fitted"] = field(default_factory=_nothing)
    error: Float[np.ndarray, " band"] = field(default_factory=_nothing)
    dash: Dash = "solid"
    ends: Float[np.ndarray, "point 2"] = field(default_factory=_no_points)
    is_open: bool = False
    is_pale: bool = False
    bar: float = 0.0


Limits = tuple[float, float, float, float]
"""Left, right, low and high end of a plot, or of a part of it, on its axes."""


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """Picture behind curves; its first row is at the high end of its place."""

    pixels: UInt8[np.ndarray, "row column 4"]
    place: Limits


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Lines over one axis; `ticks` are (position, text) on it, None for round numbers.

    Attributes
    ----------
    baseline
        Height and label of a dashed horizontal line, None without.
    in_view
        Heights that are always in view, e.g. 0.
    up_ticks
        Ticks of the vertical axis; None for round numbers.
    limits
        Ends of the axes; None to show all lines.
    title, tip
        Text above the plot; what it shows and what a press does, beside the label.
    pick
        Called with the place (x, y) of a press; None without an answer to it.
    outline, select
        Shape of a drag, and what is called at its end: with the outline (point, 2), of
        one point for a press, and whether Shift or Ctrl is held.
    keeps_colours
        Whether the lines keep their colours on a light page: they are those of the field
        and of tables.
    """

    name: str
    label: str
    lines: tuple[Line, ...]
    across: str
    up: str
    ticks: tuple[tuple[float, str], ...] | None
    baseline: tuple[float, str] | None = None
    is_log: bool = False
    in_view: tuple[float, ...] = ()
    up_ticks: tuple[tuple[float, str], ...] | None = None
    limits: Limits | None = None
    raster: Raster | None = None
    title: str = ""
    tip: str = ""
    pick: Callable[[float, float], object] | None = None
    outline: Outline = ""
    select: Callable[[np.ndarray, bool], object] | None = None
    keeps_colours: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """Line over curves, which moves without drawing them again; empty for none.

    With a `symbol`, such as "star", it is a mark at each point, and `tip` describes it.
    """

    name: str
    content: str
    colour: str
    x: Float[np.ndarray, " point"] = field(default_factory=_nothing)
    y: Float[np.ndarray, " point"] = field(default_factory=_nothing)
    dash: Dash = "solid"
    symbol: str = ""
    tip: str = ""
    is_pale: bool = False
    bar: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Traces:
    """Rows of recorded and predicted values on one time axis; an overlay is the cursor.

    Attributes
    ----------
    missing
        What is said without rows.
    pick
        Called with the time of a press or drag.
    colours
        Colours of the first curve of a row, solid, and of the second one, dashed.
    scale
        Whether rows have scales of their own.
    request
        Number of the request whose result the rows show, or of an older one.
    """

    name: str
    label: str
    rows: tuple[Trace, ...]
    missing: str = ""
    tip: str = ""
    pick: Callable[[float], object] | None = None
    colours: tuple[str, str] = (palette.RECORDED, palette.PREDICTED)
    scale: Scale = "own"
    request: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Neurons by samples under a mask that is painted.

    Parts that did not change are the same objects, so that a front end draws the others
    alone.

    Attributes
    ----------
    rows, ticks
        Binned rows in view, None without a window; (row, text) on their axis.
    rows_shown, n_homes
        First row in view and the one after the last, (0, 0) for all; number of times
        that the user went back to all rows and samples.
    pictures, codes
        Values in their colours, from left to right; display codes of the rows.
    window
        Window whose spikes are drawn as ticks where there is room.
    tool
        Returns what the left button does.
    begin, end, paint
        A stroke; `paint` is called with neurons and samples.
    select, set_cursor
        Called with neurons; with a sample.
    show_rows
        Called with the first row in view and the one after the last.
    point_at, point_away
        Called with sample and row under the pointer; when it has gone.
    """

    name: str
    label: str
    tip: str
    rows: RasterRows | None
    ticks: Sequence[tuple[float, str]]
    n_samples: int
    rows_shown: tuple[float, float]
    n_homes: int
    pictures: tuple[RasterPicture, ...]
    codes: np.ndarray | None
    window: Window | None
    tool: Callable[[], str]
    begin: Callable[[], object]
    end: Callable[[], object]
    paint: Callable[[Any, Any], object]
    select: Callable[[Sequence[int]], object]
    set_cursor: Callable[[int], object]
    show_rows: Callable[[float, float], object]
    point_at: Callable[[int, float], object]
    point_away: Callable[[], object]


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Video frame at the cursor, above a strip of the frames of the window.

    A front end that keeps the frames of the session itself plays them; it ignores
    `pixels` and `tick`.

    Attributes
    ----------
    pixels
        The frame; empty if there is none, and `missing` says why.
    note, colour
        Why the frame is no input of the model, "" if it is; such a frame is dimmed.
        Colour of its border, which is dashed with a note.
    visible
        1 for each frame of the window that the model sees, 0 for a hidden one.
    at
        Number of the frame at the cursor.
    strip_label, strip_tip
        What the strip is, and what a drag on it does.
    stroke
        Name of the undo step of a drag with Shift.
    scrub, paint
        Called with the frame of a press or drag; with the first frame of a stroke, the
        one after its last, and whether they become visible.
    tick
        Called about 30 times per second while the video plays; None while it does not.
    """

    name: str
    label: str
    tip: str
    pixels: UInt8[np.ndarray, "height width"]
    missing: str
    note: str
    colour: str
    visible: UInt8[np.ndarray, " frame"]
    at: int
    strip_label: str
    strip_tip: str
    stroke: str
    scrub: Callable[[int], object]
    paint: Callable[[int, int, bool], object]
    tick: Callable[[], object] | None


@dataclass(frozen=True, slots=True)
class Bar:
    """Span of time in a lane, in seconds; `share` of the height of the lane is filled."""

    start_s: float
    stop_s: float
    kind: str
    colour: str
    share: float
    letter: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """Bars, or a curve from 0 to 1 over the times of the timeline."""

    name: str
    bars: tuple[Bar, ...] = ()
    colour: str = ""
    curve: Float[np.ndarray, " bin"] = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Lanes over the time of a session, the first on top; a `Place` marks the window.

    Attributes
    ----------
    extent_s
        Start and stop of the session.
    time_s
        Times of the points of all curves.
    missing
        What is said without lanes.
    pick
        Called with the time of a press or drag.
    """

    name: str
    label: str
    tip: str
    extent_s: tuple[float, float]
    time_s: Float[np.ndarray, " bin"]
    lanes: tuple[Lane, ...]
    missing: str
    pick: Callable[[float], object]


@dataclass(frozen=True, slots=True, eq=False)
class Polar:
    """Value in each direction; 0° is right, 90° is up.

    Attributes
    ----------
    spokes
        Direction, colour, and whether it is dotted, of lines from the centre.
    error, level
        Half lengths of bars at the values, empty without; a dotted circle, None without.
    """

    name: str
    label: str
    degrees: Float[np.ndarray, " level"]
    values: Float[np.ndarray, " level"]
    colour: str
    spokes: tuple[tuple[float, str, bool], ...] = ()
    error: Float[np.ndarray, " bar"] = field(default_factory=_nothing)
    level: float | None = None
    title: str = ""
    tip: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """Picture with a mark and an outline, in pixels from the upper left corner.

    `circle` is a second mark: x, y and colour.
    """

    name: str
    label: str
    pixels: UInt8[np.ndarray, "height width 3"]
    colour: str
    place: tuple[float, float] | None = None
    outline: Float[np.ndarray, "point 2"] = field(default_factory=_no_points)
    circle: tuple[float, float, str] | None = None
    title: str = ""
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """Text in the middle of an empty plot."""

    name: str
    label: str
    text: str
    title: str = ""


Plot = Curves | Polar | Image | Message
Content = Table | LongTable | Matrix | Traces | Cells | Frames | Timeline | Plot


# -- results of an action ------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Clipboard:
    """Text for the clipboard, and what is said about it."""

    text: str
    note: str


@dataclass(frozen=True, slots=True)
class SaveFile:
    """File or files to be written; `write` gets the chosen path and returns them all.

    `name` is suggested. A folder is asked for if it has no suffix.
    """

    name: str
    write: Callable[[Path], Sequence[Path]]


@dataclass(frozen=True, slots=True)
class WriteFile:
    """File that is written in the background; `begin` gets the chosen path.

    The record says how far it is, and offers to stop it. `name` is suggested.
    """

    name: str
    begin: Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class SavePicture:
    """Picture of a content as it is drawn, with a description below it.

    Without the name of a content, it has all plots.
    """

    name: str
    content: str
    description: str


@dataclass(frozen=True, slots=True)
class OpenFile:
    """File to be chosen; `suffix` is that of the usual files."""

    label: str
    suffix: str
    near: Path | None
    read: Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class AskText:
    """Text to be typed; `value` is suggested."""

    label: str
    value: str
    take: Callable[[str], object]


@dataclass(frozen=True, slots=True, eq=False)
class AskSettings:
    """Form to be filled; `take` receives the settings, and returns what follows.

    `label` and `help` are those of the action that waits for it.
    """

    label: str
    help: str
    form: Form[Any]
    take: Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class ShowPanel:
    """Panel to be brought to the front, by title; a notebook shows all its parts."""

    title: str


Result = (
    Clipboard
    | SaveFile
    | WriteFile
    | SavePicture
    | OpenFile
    | AskText
    | AskSettings
    | ShowPanel
    | None
)


# -- what is pressed and set ---------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Action:
    """Button; `refusal` says why it is disabled, "" if it is not.

    `key` presses it while the focus is in the panel, such as "Left" or "Ctrl+C"; without
    a label, it is this key alone. With the name of a content in `over`, it stands in a
    corner of that content. With a `form`, that opens first, and `run` receives its
    settings.
    """

    name: str
    label: str
    help: str
    run: Callable[..., object]
    refusal: str = ""
    key: str = ""
    over: str = ""
    form: Form[Any] | None = None


@dataclass(frozen=True, slots=True)
class Menu:
    """Button that offers several actions."""

    name: str
    label: str
    help: str
    actions: tuple[Action, ...]
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several (value, label, help); as joined buttons if `is_row`.

    `key` chooses the next one while the focus is in the panel.

    `refusal` says why it is disabled, "" if it is not.
    """

    name: str
    label: str
    help: str
    options: tuple[tuple[str, str, str], ...]
    value: str
    set: Callable[[str], object]
    is_row: bool = False
    refusal: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Number:
    """Whole number from `low` to `high`; with `none`, 0 is shown as that text."""

    name: str
    label: str
    help: str
    value: int
    low: int
    high: int
    set: Callable[[int], object]
    unit: str = ""
    prefix: str = ""
    none: str = ""


@dataclass(frozen=True, slots=True)
class Switch:
    """Button that stays pressed while it is on; an arrow beside it offers `actions`.

    `sign` is a glyph before the label, and its colour. `key` presses it while the focus
    is in the panel.
    """

    name: str
    label: str
    help: str
    is_on: bool
    set: Callable[[bool], object]
    sign: tuple[str, str] | None = None
    actions: tuple[Action, ...] = ()
    key: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """Fields of a form; Enter in one of them presses the action `apply`."""

    name: str
    form: Form[Any]
    apply: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Span of a timeline that is marked, with a text beside it; None for no span.

    `moments` are times that are marked in the lane `lane`.
    """

    name: str
    content: str
    colour: str
    span_s: tuple[float, float] | None
    text: str = ""
    moments: tuple[float, ...] = ()
    lane: str = ""


@dataclass(frozen=True, slots=True)
class CellMarks:
    """Rows of selected neurons, samples of the brush, and cursor over cells.

    `is_old` fades the predicted values: they belong to an older request.
    """

    name: str
    content: str
    rows: tuple[int, ...]
    span: tuple[int, int]
    colour: str
    cursor: int
    is_old: bool


Mark = Overlay | CurrentRow | ChosenRows | Place | CellMarks
"""What is drawn over a content and takes no place."""
Item = (
    Text | Progress | Legend | Content | Mark | Action | Menu | Choice | Number | Switch | Settings
)


@dataclass(frozen=True, slots=True)
class Row:
    """Items beside each other; the one named `wide` takes the free width."""

    name: str
    items: tuple[Item, ...]
    wide: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Part of a record that is read again after its signals.

    Attributes
    ----------
    column
        Column of the panel in which it stands, from the left; columns share the width.
    follow
        Called with True when the panel comes in sight, and after the signals while it
        is; with False when it goes. For work that only a visible panel needs.
    grows
        Whether it grows while a job runs: it is then read at most every `REST_S`.
    """

    read: Callable[[], Sequence[Item | Row]]
    signals: Sequence[Any]
    column: int = 0
    follow: Callable[[bool], object] | None = None
    grows: bool = False


class View(Protocol):
    """Content and actions of one panel.

    Attributes
    ----------
    name
        Name of the panel in both front ends, for styles and tests.
    """

    name: str

    def blocks(self) -> Sequence[Block]:
        """Return the parts of the record, from top to bottom."""


def items_of(entries: Sequence[Item | Row]) -> Iterator[Item]:
    """Yield all items, also those of rows and menus."""
    for entry in entries:
        if isinstance(entry, Row):
            yield from items_of(entry.items)
            continue
        yield entry
        if isinstance(entry, Switch):
            yield from entry.actions
        if isinstance(entry, Menu):
            # A menu that is disabled offers none of its actions.
            for action in entry.actions:
                yield replace(action, refusal=entry.refusal or action.refusal)


def record(view: View) -> dict[str, Item]:
    """Return the current items of a view by name."""
    return {item.name: item for block in view.blocks() for item in items_of(block.read())}


def press(view: View, name: str) -> Result:
    """Run an action of a view.

    Raises
    ------
    ValueError
        There is no such action now, or it is disabled; the message states the reason.
    """
    item = record(view).get(name)
    if not isinstance(item, Action):
        raise ValueError(f"{name!r} cannot be pressed now.")
    if item.refusal:
        raise ValueError(item.refusal)
    if item.form is not None:
        return AskSettings(item.label, item.help, item.form, item.run)
    return _result(item.run())


def take(asked: AskSettings) -> Result:
    """Run what waits for a form, with its settings.

    Raises
    ------
    ValueError
        The form is not valid; the message states the reason.
    """
    return _result(asked.take(asked.form.read()))


def _result(found: object) -> Result:
    return found if isinstance(found, Result) else None


def choose(view: View, name: str, value: Any) -> None:
    """Set a field of a view; a value that is no longer offered is dropped."""
    item = record(view).get(name)
    if isinstance(item, Choice):
        if not item.refusal and value in [option[0] for option in item.options]:
            item.set(value)
    elif isinstance(item, Number):
        item.set(min(max(int(value), item.low), item.high))
    elif isinstance(item, Switch):
        item.set(bool(value))


def choose_next(view: View, name: str) -> None:
    """Choose the option after that of a field, and after the last one the first."""
    item = record(view).get(name)
    if isinstance(item, Choice):
        values = [option[0] for option in item.options]
        choose(view, name, values[(values.index(item.value) + 1) % len(values)])


def fill(view: View, name: str, field: str, typed: Any) -> None:
    """Set a field of settings to what was typed, or to the number of a choice."""
    item = record(view).get(name)
    if isinstance(item, Settings):
        fill_form(item.form, field, typed)


def fill_form(form: Form[Any], field: str, typed: Any) -> None:
    """Set a field of a form to what was typed, or to the number of a choice."""
    for each in form.fields():
        if each.name == field:
            form.set(field, each.options[int(typed)][0] if each.options else typed)


def pick(item: Any, *place: float) -> None:
    """Press a row of a table (its number), a place (x, y) of curves, or a time of traces.

    The item is the one that is drawn: a drag over traces would be slow if each of its
    moves read the whole record again. A place that is gone is dropped.
    """
    if isinstance(item, Table) and item.pick is not None and 0 <= place[0] < len(item.rows):
        item.pick(int(place[0]))
    elif isinstance(item, (Curves, Traces, Timeline)) and item.pick is not None:
        item.pick(*place)


def select(item: Any, outline: np.ndarray, is_added: bool) -> None:
    """Select what lies in an outline (point, 2) on curves that are drawn."""
    if isinstance(item, Curves) and item.select is not None and len(outline):
        item.select(outline, is_added)


def pick_rows(table: LongTable, mode: str, picked: dict[str, Any], anchor: dict[str, Any]) -> None:
    """Choose the row of a press: "one", "toggle", or the "range" from the anchor to it.

    Rows are {"key", "row"}: a page that has not received a row yet knows its place only.
    A row that is gone is dropped.
    """
    order = table.order

    def key_of(row: dict[str, Any]) -> int | None:
        if row.get("key") is not None:
            return int(row["key"])
        return int(order[row["row"]]) if row["row"] < len(order) else None

    key, chosen = key_of(picked), list(table.chosen())
    if key is None:
        return
    if mode == "toggle":
        others = [other for other in chosen if other != key]
        table.choose(others if key in chosen else [*others, key])
        return
    ends = [np.flatnonzero(order == end) for end in (key_of(anchor), key)]
    # The anchor may be listed no more since the first press.
    if mode != "range" or not all(len(end) for end in ends):
        table.choose([key])
        return
    first, last = int(ends[0][0]), int(ends[1][0])
    # Towards the row, so that it remains where only the latest ones are kept.
    step = 1 if last >= first else -1
    table.choose([int(order[row]) for row in range(first, last + step, step)])


TABLES: Final = {"csv": "Table (CSV)…", "parquet": "Table (Parquet)…"}
PICTURES: Final = {"png": "Picture (PNG)…", "svg": "Drawing (SVG)…"}
"""Labels of the actions that save a file, by its ending."""


def file_actions(
    kinds: Mapping[str, str], tip: str, save: Callable[[str], object], refusal: str = ""
) -> tuple[Action, ...]:
    """Return the action of each kind of file; `save` gets its ending."""
    made = (Action(end, label, tip, partial(save, end), refusal) for end, label in kinds.items())
    return tuple(made)


def saved_text(paths: Sequence[Path]) -> str:
    """Return what was saved, and where."""
    return f"Saved {', '.join(path.name for path in paths)} in {paths[0].parent}"


def plain(
    value: Any, pack: Callable[[Any], Any] = lambda part: part
) -> tuple[Any, list[np.ndarray]]:
    """Return a value as JSON without functions, and its arrays.

    An array is {"array": shape, "type": "uint8" or "float32"} in the JSON; a record has
    its class as "kind". Equal results are drawn alike. A `pick` is null where there is
    none, and left out where there is one. `pack` replaces parts before they are read.
    """
    arrays: list[np.ndarray] = []

    def convert(part: Any) -> Any:
        # The most frequent kinds first: panels convert their items after each signal.
        if part is None or isinstance(part, (str, int, float)):
            return part
        if isinstance(part, (tuple, list)):
            return [convert(one) for one in part]
        if isinstance(part, np.ndarray):
            kind = "uint8" if part.dtype == np.uint8 else "float32"
            arrays.append(np.ascontiguousarray(part, kind))
            return {"array": list(part.shape), "type": kind}
        if isinstance(part, Form):
            return convert(part.fields())
        part = pack(part)
        if isinstance(part, dict):
            return {name: convert(one) for name, one in part.items()}
        kind_of = type(part)
        if not is_dataclass(kind_of):
            return part
        kept: dict[str, Any] = {"kind": kind_of.__name__.lower()}
        for name in _names_of(kind_of):
            if not callable(one := getattr(part, name)):
                kept[name] = convert(one)
        return kept

    return convert(value), arrays


@cache
def _names_of(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))
