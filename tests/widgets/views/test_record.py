"""What front ends get from a record: JSON with arrays, and what may be pressed and set."""

from types import SimpleNamespace

import numpy as np
import pytest

from omnimouse_widgets.views import record
from omnimouse_widgets.views.record import (
    Action,
    Block,
    Choice,
    Clipboard,
    Line,
    Menu,
    Number,
    Row,
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
