"""Notebook widget that draws the record of a view; `static/panel.js` is its page."""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from traitlets import Dict

from omnimouse_model.live.controller import Controller
from omnimouse_model.storage.files import read_bytes
from omnimouse_widgets import palette
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawing, Part
from omnimouse_widgets.views import record
from omnimouse_widgets.views.rows.traces import Scale, Trace, has_overlay, row_ranges

COLOURS: Final = {
    "shares": palette.viridis_table()[::8].tolist(),
    "cycle": palette.cycle_table()[::8].tolist(),
    "bright": record.BRIGHT_SHARE,
    "traces": {
        "baseline": palette.BASELINE,
        "band": palette.BAND,
        "pins": palette.PINS,
        "states": palette.STATE_COLOURS,
        "cursor": palette.CURSOR,
        "cursor_on_light": palette.ON_PAPER[palette.CURSOR],
        "axis": palette.AXIS,
    },
}

LIMITS: Final = ("low", "high")
"""Names of the limits of a band among the curves of traces."""
MAX_ROWS: Final = 500
"""Most rows of a long table in one message; no page shows more at once."""
MAX_SENT: Final = 2**30
"""Bytes of a file that is sent to the page."""


class RecordPart(Part):
    """Items of a view, one below the other.

    Parameters
    ----------
    panel
        The view: content and actions.
    """

    _esm = script("trace_stack", "long_table", "panel")
    _css = style()
    INTERVAL_S = 0.1

    _constants = Dict().tag(sync=True)

    def __init__(self, panel: record.View, controller: Controller, **traits: Any) -> None:
        self._results = controller.results
        self._panel, self._blocks = panel, panel.blocks()
        self._read: Callable[[Path], object] | None = None
        self._take: Callable[[str], object] | None = None
        self._asked: record.AskSettings | None = None
        self._contents: dict[str, record.Content] = {}
        self._moving: set[int] = set()
        columns = [block.column for block in self._blocks]
        constants = {"name": panel.name, "columns": columns, "colours": COLOURS}
        super().__init__(controller, _constants=constants, **traits)
        for block in self._blocks:
            for signal in block.signals if block.follow is not None else ():
                self._link(signal, self._follow)

    def drawings(self) -> Sequence[Drawing]:
        """Return a drawing function for each block of the record."""
        drawings, events = [], self._state.events
        for number, block in enumerate(self._blocks):
            groups: tuple[list[Any], ...] = ([], [], [])
            for signal in block.signals:
                # A change of the mask starts a request; a result or another window may
                # be replaced by the result of that request. Compared by identity.
                is_result = signal in (events.window, self._results.changed)
                groups[2 if signal is events.mask else is_result].append(signal)
            drawings.append(Drawing(partial(self._draw, number, block), *groups))
        return drawings

    def activate(self) -> None:
        """Start the work that only a visible panel needs."""
        for block in self._blocks:
            if block.follow is not None:
                block.follow(True)

    def deactivate(self) -> None:
        """Stop the work that only a visible panel needs."""
        for block in self._blocks:
            if block.follow is not None:
                block.follow(False)

    def _follow(self) -> None:
        if self.is_visible:
            self.activate()

    def _draw(self, number: int, block: record.Block) -> None:
        entries = tuple(block.read())
        if all(isinstance(entry, record.Mark) for entry in entries):
            self._moving.add(number)
        contents = [item for item in record.items_of(entries) if isinstance(item, record.Content)]
        self._contents |= {content.name: content for content in contents}
        items, arrays = record.plain(entries, _packed)
        self.add_if_changed(f"block{number}", arrays, items=items)

    # -- from the page ----------------------------------------------------------------
    def on_choose(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Set a field."""
        record.choose(self._panel, str(content["name"]), content["value"])

    def stroke_name(self, content: dict[str, Any]) -> str:
        """Return the name of the undo step of a drag."""
        return str(content["stroke"]) if "stroke" in content else super().stroke_name(content)

    def on_choose_next(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Choose the next option of a field."""
        record.choose_next(self._panel, str(content["name"]))

    def on_fill(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Set a field of a form, also of one that an action has opened."""
        if "asked" in content and self._asked is not None:
            record.fill_form(self._asked.form, str(content["field"]), content["typed"])
            self._ask(self._asked)
            return
        record.fill(self._panel, str(content["name"]), str(content["field"]), content["typed"])

    def on_pick(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Press a row of a table, a place of curves, or a time of traces."""
        record.pick(self._contents.get(str(content["name"])), *map(float, content["place"]))
        # The page has moved a cursor to the pointer. No signal comes if it was there
        # already, between two samples.
        for number in self._moving:
            self._last.pop(f"block{number}", None)
            self._board.request(number)

    def on_select(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Select what lies in an outline, float32 (point, 2)."""
        outline = np.frombuffer(buffers[0], np.float32).reshape(-1, 2).astype(float)
        record.select(self._contents.get(str(content["name"])), outline, bool(content["add"]))

    def on_rows(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Send the rows `start` to `stop` - 1 of a long table."""
        table, start = self._contents.get(str(content["name"])), max(int(content["start"]), 0)
        if not isinstance(table, record.LongTable):
            return
        stop = min(int(content["stop"]), start + MAX_ROWS, table.n_rows)
        rows = table.read(start, max(stop, start))
        self.send_now(
            "rows",
            name=table.name,
            view=content["view"],
            version=table.version,
            start=start,
            keys=table.order[start:stop].tolist(),
            cells=[list(cells) for cells, _ in rows],
            colours=[colour for _, colour in rows],
        )

    def on_sort(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Sort a long table by a column."""
        table = self._contents.get(str(content["name"]))
        if isinstance(table, record.LongTable):
            table.sort(str(content["column"]))

    def on_pick_rows(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Apply presses and keys on a long table, in their order."""
        table = self._contents.get(str(content["name"]))
        if not isinstance(table, record.LongTable):
            return
        # Several at once: a page collects them while an acknowledgement is missing.
        for picked in content["picks"]:
            record.pick_rows(table, picked["mode"], picked, picked["anchor"])

    def on_press(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Run an action, and send to the page what its result asks for."""
        self._answer(record.press(self._panel, str(content["name"])))

    def on_apply(self, _: dict[str, Any], __: list[bytes]) -> None:
        """Run the action that has opened a form."""
        if self._asked is not None:
            self._answer(record.take(self._asked))
            self.send_now("settings", fields=[])

    def _ask(self, asked: record.AskSettings) -> None:
        self._asked = asked
        self.send_now(
            "settings", label=asked.label, help=asked.help, fields=record.plain(asked.form)[0]
        )

    def _answer(self, result: record.Result) -> None:
        match result:
            case record.AskSettings():
                self._ask(result)
            case record.Clipboard(text, note):
                self.send_now("clipboard", text=text, note=note)
            case record.AskText(label, value, take_text):
                self._take = take_text
                self.send_now("ask_text", label=label, value=value)
            case record.OpenFile(label, _, near, read):
                self._read = read
                self.send_now("open_file", label=label, near=str(near or ""))
            case record.SaveFile(name, write):
                with tempfile.TemporaryDirectory() as folder:
                    # Whatever a file calls its neurons, nothing is written beside the folder.
                    for path in write(Path(folder) / Path(name).name):
                        self.send_now("file", [read_bytes(path, MAX_SENT)], name=path.name)
            case record.SavePicture(name, shown, description):
                self.send_now("picture", name=name, content=shown, description=description)

    def on_take(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Take the text that was asked for."""
        if self._take is not None:
            self._take(str(content["text"]))

    def on_read(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Read the file that was asked for, at a path on this machine."""
        if self._read is not None:
            self._read(Path(content["path"]))


def _packed(part: Any) -> Any:
    """Return traces as the message of all rows; the time axes are sent once.

    Cells are sent by their part, which knows what the page has.
    """
    if isinstance(part, record.Cells):
        return {"kind": "cells", "name": part.name, "label": part.label, "tip": part.tip}
    if not isinstance(part, record.Traces):
        return part
    fields, buffers = rows_message(part.rows, part.scale)
    names = {"kind": "traces", "name": part.name, "label": part.label, "tip": part.tip}
    pressed = {} if part.pick is not None else {"pick": None}
    return {
        **names, **pressed, **fields,
        "missing": part.missing, "colours": part.colours, "request": part.request,
        "buffers": tuple(buffers),
    }  # fmt: skip


def rows_message(rows: Sequence[Trace], scale: Scale) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Return the fields of a message with rows of curves, and its two buffers.

    The first buffer is float32. It contains the distinct time axes in seconds from
    `start_s`, with the numbers of points in `lengths`; then, for every row, the curves
    named in `curves` on time axis number `axis` of the row, NaN where a curve has no
    value. The second buffer is uint8: the shade of each sample, row by row.
    """
    if not rows:
        return {"rows": [], "curves": [], "lengths": [], "n_shades": 0}, []
    start_s, stop_s = rows[0].extent
    # Rows share the array of their time axis. Comparing by identity sends each axis
    # once and compares no values.
    axes = list({id(row.time): row.time for row in rows}.values())
    axis_of = {id(time): number for number, time in enumerate(axes)}
    curves = _curves_of(rows)
    ranges = row_ranges(rows, scale, rows)
    # Subtract in float64: the resolution of float32 falls with the session time.
    numbers = [(time - start_s).astype(np.float32) for time in axes]
    numbers += [_values(row, curve) for row in rows for curve in curves]
    shade_s = rows[0].shade_span or rows[0].extent
    fields = {
        "start_s": start_s,
        "stop_s": stop_s,
        "shade_s": list(shade_s),
        "n_shades": len(rows[0].shade),
        "curves": curves,
        "lengths": [len(time) for time in axes],
        "is_stale": any(row.is_stale for row in rows),
        "is_baseline_stale": any(row.is_baseline_stale for row in rows),
        "rows": [
            {
                "label": row.label,
                "short": row.short_label,
                "marks": row.marks,
                "axis": axis_of[id(row.time)],
                "low": low,
                "span": span,
                "bar": row.bar,
                "predicted_bar": row.predicted_bar,
                "predicted_bar_text": row.predicted_bar_text,
            }
            for row, (low, span) in zip(rows, ranges, strict=True)
        ],
    }
    shades = np.concatenate([row.shade for row in rows])
    return fields, [np.concatenate(numbers), shades.astype(np.uint8)]


def _curves_of(rows: Sequence[Trace]) -> list[str]:
    """Return the names of the curves of any row; a pin's name is its slot number."""
    names = [
        name
        for name in ("truth", "predicted", "baseline")
        if any(getattr(row, name) is not None for row in rows)
    ]
    if any(row.band is not None for row in rows):
        names += LIMITS
    n_slots = max(len(row.overlays) for row in rows)
    return names + [
        str(slot) for slot in range(n_slots) if any(has_overlay(row, slot) for row in rows)
    ]


def _values(row: Trace, curve: str) -> np.ndarray:
    values = None
    if curve in LIMITS:
        values = None if row.band is None else row.band[LIMITS.index(curve)]
    elif not curve.isdigit():
        values = getattr(row, curve)
    elif has_overlay(row, int(curve)):
        values = row.overlays[int(curve)]
    if values is None:
        return np.full(len(row.time), np.nan, np.float32)
    return np.asarray(values, np.float32)
