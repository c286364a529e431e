"""Notebook widget that draws the record of a view; `static/panel.js` is its page."""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from traitlets import Dict

from omnimouse_model.live.controller import Controller
from omnimouse_model.storage.files import read_bytes
from omnimouse_widgets import palette
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawing, Part
from omnimouse_widgets.jupyter.transport.trace_message import COLOURS as TRACE_COLOURS
from omnimouse_widgets.jupyter.transport.trace_message import rows_message
from omnimouse_widgets.views.record import (
    BRIGHT_SHARE,
    Block,
    Clipboard,
    Mark,
    OpenFile,
    SaveFile,
    SavePicture,
    Traces,
    View,
    choose,
    fill,
    pick,
    plain,
    press,
)

COLOURS: Final = {
    "shares": palette.viridis_table()[::8].tolist(),
    "cycle": palette.cycle_table()[::8].tolist(),
    "bright": BRIGHT_SHARE,
    "traces": TRACE_COLOURS,
}

MAX_SENT: Final = 2**30
"""Bytes of a file that is sent to the page."""


class RecordPart(Part):
    """Items of a view, one below the other.

    Parameters
    ----------
    panel
        The view: content and actions.
    """

    _esm = script("trace_stack", "panel")
    _css = style()
    INTERVAL_S = 0.1

    _constants = Dict().tag(sync=True)

    def __init__(self, panel: View, controller: Controller, **traits: Any) -> None:
        self._panel, self._blocks = panel, panel.blocks()
        self._read: Callable[[Path], object] | None = None
        self._moving: set[int] = set()
        columns = [block.column for block in self._blocks]
        constants = {"name": panel.name, "columns": columns, "colours": COLOURS}
        super().__init__(controller, _constants=constants, **traits)
        for block in self._blocks:
            for signal in block.signals if block.follow is not None else ():
                self._link(signal, self._follow)

    def drawings(self) -> Sequence[Drawing]:
        """Return a drawing function for each block of the record."""
        return [
            Drawing(partial(self._draw, number, block), block.signals)
            for number, block in enumerate(self._blocks)
        ]

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

    def _draw(self, number: int, block: Block) -> None:
        entries = tuple(block.read())
        if all(isinstance(entry, Mark) for entry in entries):
            self._moving.add(number)
        items, arrays = plain(entries, _packed)
        self.add_if_changed(f"block{number}", arrays, items=items)

    # -- from the page ----------------------------------------------------------------
    def on_choose(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Set a field."""
        choose(self._panel, str(content["name"]), content["value"])

    def on_fill(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Set a field of a form."""
        fill(self._panel, str(content["name"]), str(content["field"]), content["typed"])

    def on_pick(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Press a row of a table, a place of curves, or a time of traces."""
        pick(self._panel, str(content["name"]), *map(float, content["place"]))
        # The page has moved a cursor to the pointer. No signal comes if it was there
        # already, between two samples.
        for number in self._moving:
            self._last.pop(f"block{number}", None)
            self._board.request(number)

    def on_press(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Run an action, and send to the page what its result asks for."""
        match press(self._panel, str(content["name"])):
            case Clipboard(text):
                self.send_now("clipboard", text=text)
            case OpenFile(label, _, near, read):
                self._read = read
                self.send_now("open_file", label=label, near=str(near or ""))
            case SaveFile(name, write):
                with tempfile.TemporaryDirectory() as folder:
                    for path in write(Path(folder) / name):
                        self.send_now("file", [read_bytes(path, MAX_SENT)], name=path.name)
            case SavePicture(name, shown, description):
                self.send_now("picture", name=name, content=shown, description=description)

    def on_read(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Read the file that was asked for, at a path on this machine."""
        if self._read is not None:
            self._read(Path(content["path"]))


def _packed(part: Any) -> Any:
    """Return traces as the message of all rows; the time axes are sent once."""
    if not isinstance(part, Traces):
        return part
    fields, buffers = rows_message(part.rows, "own")
    names = {"kind": "traces", "name": part.name, "label": part.label, "tip": part.tip}
    pressed = {} if part.pick is not None else {"pick": None}
    return {
        **names, **pressed, **fields,
        "missing": part.missing, "colours": part.colours, "buffers": tuple(buffers),
    }  # fmt: skip
