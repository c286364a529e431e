"""What front ends get from a record: JSON with arrays, and what may be pressed and set."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from omnimouse_widgets.views import record
from omnimouse_widgets.views.context.sources import SourcesView
from omnimouse_widgets.views.form import Form, setting
from omnimouse_widgets.views.laboratory import LaboratoryView
from omnimouse_widgets.views.neuron import NeuronView
from omnimouse_widgets.views.record import (
    Action,
    Block,
    Choice,
    Clipboard,
    Line,
    Menu,
    Number,
    Row,
    Settings,
    Switch,
    Text,
)


@pytest.fixture
def view():
    """A view with one item of each kind that acts; it notes what was set."""
    seen = []
    options = (("a", "A", "first"), ("b", "B", "second"))
    inner = Action("copy", "Copy", "", lambda: Clipboard("text", "copied"))
    fields = (
        Choice("letter", "Letter", "", options, "a", seen.append),
        Number("count", "Count", "", 1, 1, 9, seen.append),
    )
    items = [
        Row("fields", fields),
        Menu("more", "More", "", (inner,)),
        Menu("later", "Later", "", (Action("save", "Save", "", print),), "Nothing to save"),
        Action("go", "Go", "", lambda: seen.append("went"), "Not yet"),
        Action("on", "On", "", lambda: seen.append("on")),
    ]
    return SimpleNamespace(name="test", seen=seen, blocks=lambda: [Block(lambda: items, [])])


def test_only_what_is_offered_is_pressed_and_set(view):
    assert record.press(view, "copy") == Clipboard("text", "copied")
    assert record.press(view, "on") is None
    with pytest.raises(ValueError, match="Not yet"):
        record.press(view, "go")
    with pytest.raises(ValueError, match="Nothing to save"):
        record.press(view, "save")
    with pytest.raises(ValueError, match="'letter' cannot be pressed"):
        record.press(view, "letter")
    record.choose(view, "letter", "b")
    record.choose(view, "letter", "c")  # no longer offered
    record.choose(view, "count", 20)
    record.choose(view, "gone", 1)
    assert view.seen == ["on", "b", 9]


def test_a_record_is_json_and_arrays_and_equal_content_is_equal():
    line = Line("ranked", "#FFFFFF", np.arange(2.0), np.array([1.0, np.nan]))
    for part in (line, Row("row", (Text("note", "text"),))):
        assert record.plain(part)[0] == record.plain(part)[0]
    json, arrays = record.plain((line,))
    assert json[0]["kind"] == "line"
    assert json[0]["x"] == {"array": [2], "type": "float32"}
    assert [array.tolist() for array in arrays[:1]] == [[0.0, 1.0]]
    json, arrays = record.plain(Action("go", "Go", "help", print))
    assert "run" not in json
    assert arrays == []
    pixels = np.zeros((2, 3, 3), np.uint8)
    assert record.plain([pixels])[0] == [{"array": [2, 3, 3], "type": "uint8"}]


def test_switches_and_fields_of_a_form_are_set():
    @dataclass(frozen=True, slots=True)
    class Export:
        rate: float = setting("Rate", "Samples per second", 30.0, unit="Hz", low=0.1)
        kind: tuple[bool, ...] = setting(
            "Kind", "", (True,), options=(((True,), "with", ""), ((False,), "without", ""))
        )

    form, seen = Form(Export), []
    items = [Settings("export", form, "save"), Switch("live", "Live", "", True, seen.append)]
    view = SimpleNamespace(name="test", blocks=lambda: [Block(lambda: items, [])])
    record.fill(view, "export", "rate", "0")
    record.fill(view, "export", "kind", 1)  # the number of a choice
    record.fill(view, "export", "gone", 1)
    record.choose(view, "live", False)
    assert seen == [False]
    json, _ = record.plain(items[0])
    assert json["kind"] == "settings"
    assert [field["reason"] for field in json["form"]] == ["at least 0.1 Hz, found 0.0", ""]
    assert form.value("kind") == (False,)


def rows_of(view):
    """Names of the rows of a panel that take a place, without contents."""
    shown = [entry for block in view.blocks() for entry in block.read()]
    texts = [one for one in shown if isinstance(one, Text) and not one.text]
    rows = [one for one in shown if isinstance(one, Row) and not one.items]
    return [one.name for one in shown if one not in texts and one not in rows]


@pytest.mark.parametrize(
    ("make", "work"),
    [
        (NeuronView, "neuron_info"),
        (LaboratoryView, "laboratory"),
        (SourcesView, "sources"),
    ],
)
def test_no_row_comes_or_goes_with_work_in_the_background(controller, monkeypatch, make, work):
    controller.selection.select([3])
    view, owner = make.of(controller), type(getattr(controller, work))
    resting = rows_of(view)
    monkeypatch.setattr(owner, "is_busy", True)
    monkeypatch.setattr(owner, "message", "40 %, about 3 s left")
    assert rows_of(view) == resting
