from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_widgets.jupyter.results import NeuronTable
from omnimouse_widgets.views.neurons import NeuronsView
from omnimouse_widgets.views.record import record
from tests.predictors import open_controller

TABLE = "block2"


def content(message):
    """The long table that a page got."""
    (table,) = message["items"]
    return table


def field_of(message):
    """The filter as a page got it."""
    return message["items"][0]["form"][0]


def has(n):
    return lambda message, _: content(message)["n_rows"] == n


@pytest.fixture
def part(controller):
    return NeuronTable(controller)


@pytest.fixture
def table_page(part, page):
    return page(part, TABLE)


def rows(table_page: Any, start: int = 0, stop: int = 40) -> dict[str, Any]:
    """Ask for rows as the page does."""
    table_page.say("rows", name="rows", start=start, stop=stop)
    fields, _ = table_page.wait_for("rows")
    return dict(fields)


def pick(table_page: Any, row: int, how: str = "one", anchor: int = 0) -> None:
    shown = rows(table_page)["keys"]
    of = {"row": anchor, "key": shown[anchor]}
    picked = {"row": row, "key": shown[row], "mode": how, "anchor": of}
    table_page.say("pick_rows", name="rows", picks=[picked])


def test_only_the_rows_asked_for_travel(part, controller, table_page):
    told = content(table_page.wait_for(TABLE)[0])
    assert told["n_rows"] == 40
    assert not table_page.of("rows")
    found = rows(table_page, 10, 14)
    assert found["view"] == "page"
    assert found["start"] == 10
    assert found["keys"] == [10, 11, 12, 13]
    assert found["version"] == told["version"]
    assert [len(row) for row in found["cells"]] == [6] * 4
    assert rows(table_page, 38, 90)["keys"] == [38, 39]
    assert rows(table_page, 90, 99)["keys"] == []


def test_a_recording_names_no_file_outside_of_the_folder(page, session, tmp_path):
    for hostile in (f"{tmp_path}/written", "../../written", "a/b"):
        with open_controller(replace(session, id=hostile)) as controller:
            opened = page(NeuronTable(controller), TABLE)
            opened.say("press", name="export")
            opened.wait_for("settings")
            opened.say("apply")
            message, (table,) = opened.wait_for("file")
            assert message["name"] in ("written.csv", "b.csv")
            assert b"," in bytes(table)
    assert not list(tmp_path.iterdir())


def test_sorting_keeps_unknown_values_last(part, controller, table_page):
    controller.editor.paint_cells([8, 4, 6], slice(30, 60), TARGET)
    for descending in (False, True):
        table_page.forget()
        part.set_state({"sort_by": "score", "descending": descending})

        def is_sorted(*_: Any, descending: bool = descending) -> bool:
            first = rows(table_page)["keys"][:3]
            steps = np.diff(controller.results.scores[first])
            in_order = (steps <= 0).all() if descending else (steps >= 0).all()
            return sorted(first) == [4, 6, 8] and bool(in_order)

        table_page.wait_for(TABLE, is_sorted)  # the stroke is drawn before the order
    with pytest.raises(Exception, match="sort_by"):
        part.sort_by = "size"


def test_properties_of_unit_tables_are_columns(part, controller, table_page, tmp_path):
    path = tmp_path / "units.csv"
    ids = controller.state.session.units.unit_id
    rows_of_table = [f"{unit},{40 - k},L{k % 5}" for k, unit in enumerate(ids)]
    path.write_text("\n".join(["unit_id,osi,layer", *rows_of_table]))
    table_page.forget()
    controller.loader.reopen(unit_tables=str(path))

    def is_joined(fields: Any, _: Any) -> bool:
        return [column["name"] for column in content(fields)["columns"]][6:] == ["osi", "layer"]

    told = content(table_page.wait_for(TABLE, is_joined)[0])
    assert [column["is_text"] for column in told["columns"]][6:] == [False, True]
    assert all(column["tip"] for column in told["columns"])
    table_page.forget()
    part.set_state({"sort_by": "osi", "descending": False})
    table_page.wait_for(TABLE)
    found = rows(table_page)
    assert found["keys"][:2] == [39, 38]
    assert found["cells"][0][6:] == ["1", "L4"]


def test_words_filter_the_rows(part, controller, table_page):
    controller.editor.paint_cells([3, 9], slice(0, 60), VISIBLE)
    table_page.say("fill", name="filter", field="text", typed=" visible ")
    assert (part.filter, part.shown) == ("visible", 2)
    table_page.wait_for(TABLE, has(2))
    assert rows(table_page)["keys"] == [3, 9]
    assert list(part.neurons) == [3, 9]
    controller.editor.paint_cells([11], slice(0, 60), VISIBLE)  # the filter follows the mask
    table_page.wait_for(TABLE, has(3))
    part.filter = "id<5"
    assert part.shown == 5


def test_nonsense_is_refused_in_words_and_keeps_the_rows(part, table_page):
    part.filter = "id<5"
    table_page.say("fill", name="filter", field="text", typed="size>3")
    message, _ = table_page.wait_for("block0", lambda one, _: bool(field_of(one)["reason"]))
    assert "'size'" in field_of(message)["reason"]
    assert (part.filter, part.shown) == ("id<5", 5)
    with pytest.raises(ValueError, match="'size'"):
        part.filter = "size>3"
    table_page.say("press", name="paint visible")
    assert "'size'" in part.problem


def test_clicked_rows_are_everyones_selection(part, controller, table_page):
    pick(table_page, 4)
    assert controller.state.selection == part.selection == (4,)
    pick(table_page, 2, "toggle")
    assert controller.state.selection == (4, 2)
    pick(table_page, 4, "toggle")
    assert controller.state.selection == (2,)
    pick(table_page, 5, "range", anchor=8)
    assert controller.state.selection == (8, 7, 6, 5)
    part.filter = "id<8"  # what it hides stays selected
    table_page.wait_for(TABLE, has(8))
    pick(table_page, 1, "toggle")
    assert controller.state.selection == (8, 7, 6, 5, 1)


def test_a_row_that_is_not_loaded_is_picked_by_place(part, controller, table_page):
    table_page.forget()
    part.descending = True
    table_page.wait_for(TABLE)
    last = {"row": 39, "key": None}
    table_page.say("pick_rows", name="rows", picks=[{**last, "mode": "one", "anchor": last}])
    assert controller.state.selection == (0,)
    gone = {"row": 40}
    table_page.say("pick_rows", name="rows", picks=[{**gone, "mode": "one", "anchor": gone}])
    assert controller.state.selection == (0,)


def test_what_is_listed_is_painted_as_one_step(part, controller, table_page):
    part.filter = "id>=35"
    table_page.wait_for(TABLE, has(5))
    table_page.say("press", name="paint visible")
    visible = np.flatnonzero(controller.state.mask.visible.all(axis=0))
    assert list(visible) == [35, 36, 37, 38, 39]
    assert controller.editor.undo_name == "Paint 5 neurons visible"
    controller.editor.undo()
    assert not controller.state.mask.visible.any()
    part.filter = "id<2"
    part.paint(VISIBLE)  # in a cell, as it is now, whatever a page has drawn
    assert list(np.flatnonzero(controller.state.mask.visible.all(axis=0))) == [0, 1]


def test_a_page_downloads_the_table_with_its_condition(part, controller, table_page):
    controller.editor.paint_cells([5], slice(30, 60), TARGET)
    table_page.say("press", name="export")
    message, _ = table_page.wait_for("settings")
    assert [field["value"] for field in message["fields"]] == ["all", "csv"]
    table_page.say("apply")
    fields, buffers = table_page.wait_for("file")
    assert fields["name"] == f"{controller.state.session.id}.csv"
    lines = buffers[0].decode().splitlines()
    assert lines[0] == "# predictor: echo"
    assert sum(not line.startswith("#") for line in lines) == 41


def test_a_page_chooses_the_rows_and_the_kind_of_an_export(part, controller, table_page, tmp_path):
    part.filter = "id<3"
    table_page.say("press", name="export")
    for field in ("rows", "kind"):
        table_page.say("fill", name="asked", asked=True, field=field, typed=1)
    table_page.say("apply")
    fields, buffers = table_page.wait_for("file")
    path = tmp_path / fields["name"]
    path.write_bytes(buffers[0])
    assert path.suffix == ".parquet"
    written = pyarrow.parquet.read_table(path)["neuron"].to_pylist()
    assert written == part.neurons.tolist() == [0, 1, 2]


def test_without_a_session_nothing_is_painted_or_downloaded(empty_controller, page):
    part = NeuronTable(empty_controller, filter="V1 depth<250")
    part.paint(VISIBLE)
    assert part.shown == 0
    page(part).say("press", name="export")
    assert part.problem


def test_it_says_how_many_neurons_are_computed_so_far(controller, monkeypatch):
    view = NeuronsView.of(controller)
    assert record(view)["count"].text == "40 of 40 neurons"
    monkeypatch.setattr(Colouring, "n_so_far", 24)
    count = record(view)["count"]
    assert count.text == "40 of 40 · ◌ tuning of 24"
    assert "still computed" in count.tip
