import csv
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from omnimouse_model.analysis.direction_tuning import RECORDED
from omnimouse_model.analysis.stimulus_edits import Contrast
from omnimouse_model.display import number_text
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_widgets import palette
from omnimouse_widgets.jupyter.panel import rows_message
from omnimouse_widgets.jupyter.results import (
    BehaviorDecoder,
    Neuron,
    NeuronScores,
    NeuronTable,
    Repeats,
    Traces,
    Trials,
    WhatIf,
)
from omnimouse_widgets.views.neurons import NeuronsView, title_of
from omnimouse_widgets.views.record import record
from omnimouse_widgets.views.repeats import NO_CLIPS
from omnimouse_widgets.views.rows.traces import Trace
from tests.predictors import NoisyPredictor, open_controller
from tests.small_sessions import simulate_mouse

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
def neurons(controller):
    return NeuronTable(controller)


@pytest.fixture
def table_page(neurons, page):
    return page(neurons, TABLE)


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


def test_only_the_rows_asked_for_travel(neurons, controller, table_page):
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


def test_sorting_keeps_unknown_values_last(neurons, controller, table_page):
    controller.editor.paint_cells([8, 4, 6], slice(30, 60), TARGET)
    scores = controller.results.scores
    for descending in (False, True):
        table_page.forget()
        neurons.set_state({"sort_by": "score", "descending": descending})
        expected = sorted([4, 6, 8], key=lambda neuron: scores[neuron], reverse=descending)
        table_page.wait_for(TABLE, lambda *_, keys=expected: rows(table_page)["keys"][:3] == keys)


def test_words_filter_the_rows(neurons, controller, table_page):
    controller.editor.paint_cells([3, 9], slice(0, 60), VISIBLE)
    table_page.say("fill", name="filter", field="text", typed=" visible ")
    assert (neurons.filter, neurons.shown) == ("visible", 2)
    table_page.wait_for(TABLE, has(2))
    assert rows(table_page)["keys"] == [3, 9]
    assert list(neurons.neurons) == [3, 9]
    controller.editor.paint_cells([11], slice(0, 60), VISIBLE)  # the filter follows the mask
    table_page.wait_for(TABLE, has(3))
    neurons.filter = "id<5"
    assert neurons.shown == 5


def test_nonsense_is_refused_in_words_and_keeps_the_rows(neurons, table_page):
    neurons.filter = "id<5"
    table_page.say("fill", name="filter", field="text", typed="size>3")
    message, _ = table_page.wait_for("block0", lambda one, _: bool(field_of(one)["reason"]))
    assert "'size'" in field_of(message)["reason"]
    assert (neurons.filter, neurons.shown) == ("id<5", 5)
    with pytest.raises(ValueError, match="'size'"):
        neurons.filter = "size>3"
    table_page.say("press", name="paint visible")
    assert "'size'" in neurons.problem


def test_a_filter_that_waits_for_a_column_is_applied_once_it_is_computed(
    neurons, controller, table_page, monkeypatch
):
    filled = {"name": "filter", "field": "text", "typed": "recorded_osi<0.01"}
    table_page.say("fill", **filled)
    table_page.wait_for("block0", lambda one, _: "Compute all" in field_of(one)["reason"])
    assert (neurons.filter, neurons.shown) == ("", 40)
    computed = {name: np.full(40, np.nan) for name in RECORDED}
    computed["recorded_osi"][[3, 7]] = 0.001, 0.02
    monkeypatch.setattr(Colouring, "measured_columns", lambda _: computed)
    table_page.forget()
    controller.colouring.changed.emit()
    table_page.wait_for("block0", lambda one, _: not field_of(one)["reason"])
    table_page.wait_for(TABLE, has(1))
    assert (neurons.filter, neurons.shown) == ("recorded_osi<0.01", 1)
    computed["recorded_osi"] = np.where(np.arange(40) < 5, 0.001, np.nan)
    controller.colouring.changed.emit()
    assert neurons.shown == 5


def test_columns_have_plain_titles_and_tell_the_name_for_the_filter(controller, monkeypatch):
    computed = {name: np.zeros(40) for name in RECORDED}
    monkeypatch.setattr(Colouring, "measured_columns", lambda _: computed)
    columns = {one.name: one for one in record(NeuronsView.of(controller))["rows"].columns}
    assert columns["recorded_preferred_deg"].title == "preferred direction (°)"
    assert not any("_" in one.title for one in columns.values())
    assert "recorded_preferred_deg" in columns["recorded_preferred_deg"].tip
    key = "sparse_fields_sd_longer_px"
    assert title_of(key, {key: "sparse_fields"}) == "model, sparse fields: sd longer (px)"


def test_clicked_rows_are_everyones_selection(neurons, controller, table_page):
    pick(table_page, 4)
    assert controller.state.selection == neurons.selection == (4,)
    pick(table_page, 2, "toggle")
    assert controller.state.selection == (4, 2)
    pick(table_page, 4, "toggle")
    assert controller.state.selection == (2,)
    pick(table_page, 5, "range", anchor=8)
    assert controller.state.selection == (8, 7, 6, 5)
    neurons.filter = "id<8"  # what it hides stays selected
    table_page.wait_for(TABLE, has(8))
    pick(table_page, 1, "toggle")
    assert controller.state.selection == (8, 7, 6, 5, 1)


def test_a_row_that_is_not_loaded_is_picked_by_place(neurons, controller, table_page):
    table_page.forget()
    neurons.descending = True
    table_page.wait_for(TABLE)
    with pytest.raises(Exception, match="sort_by"):
        neurons.sort_by = "size"
    last = {"row": 39, "key": None}
    table_page.say("pick_rows", name="rows", picks=[{**last, "mode": "one", "anchor": last}])
    assert controller.state.selection == (0,)
    gone = {"row": 40}
    table_page.say("pick_rows", name="rows", picks=[{**gone, "mode": "one", "anchor": gone}])
    assert controller.state.selection == (0,)


def test_what_is_listed_is_painted_as_one_step(neurons, controller, table_page):
    neurons.filter = "id>=35"
    table_page.wait_for(TABLE, has(5))
    table_page.say("press", name="paint visible")
    visible = np.flatnonzero(controller.state.mask.visible.all(axis=0))
    assert list(visible) == [35, 36, 37, 38, 39]
    assert controller.editor.undo_name == "Paint 5 neurons visible"
    controller.editor.undo()
    assert not controller.state.mask.visible.any()
    neurons.filter = "id<2"
    neurons.paint(VISIBLE)  # in a cell, as it is now, whatever a page has drawn
    assert list(np.flatnonzero(controller.state.mask.visible.all(axis=0))) == [0, 1]


def test_a_page_downloads_the_table_with_its_condition(neurons, controller, table_page):
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


def test_a_page_chooses_the_rows_and_the_kind_of_an_export(
    neurons, controller, table_page, tmp_path
):
    neurons.filter = "id<3"
    table_page.say("press", name="export")
    for field in ("rows", "kind"):
        table_page.say("fill", name="asked", asked=True, field=field, typed=1)
    table_page.say("apply")
    fields, buffers = table_page.wait_for("file")
    path = tmp_path / fields["name"]
    path.write_bytes(buffers[0])
    assert path.suffix == ".parquet"
    written = pyarrow.parquet.read_table(path)["neuron"].to_pylist()
    assert written == neurons.neurons.tolist() == [0, 1, 2]


def test_without_a_session_nothing_is_painted_or_downloaded(empty_controller, page):
    neurons = NeuronTable(empty_controller, filter="V1 depth<250")
    neurons.paint(VISIBLE)
    assert neurons.shown == 0
    page(neurons).say("press", name="export")
    assert neurons.problem


def test_it_says_how_many_neurons_are_computed_so_far(controller, monkeypatch):
    view = NeuronsView.of(controller)
    assert record(view)["count"].text == "40 of 40 neurons"
    monkeypatch.setattr(Colouring, "n_so_far", 24)
    count = record(view)["count"]
    assert count.text == "40 of 40 · ◌ tuning of 24"
    assert "still computed" in count.tip


class RowsMessage:
    """What a page reads out of a message of rows."""

    def __init__(self, message: tuple[dict[str, Any], list[bytes]]) -> None:
        self.fields, buffers = message
        self.rows = self.fields["rows"]
        self.labels = [row["label"] for row in self.rows]
        lengths, names = self.fields["lengths"], self.fields["curves"]
        numbers = np.frombuffer(buffers[0], np.float32) if buffers else np.empty(0)
        parts = np.split(numbers, np.cumsum(lengths)[:-1]) if lengths else []
        self.times, rest = parts, numbers[sum(lengths) :]
        if parts:
            self.times = [*parts[:-1], parts[-1][: lengths[-1]]]
        self.curves: list[dict[str, np.ndarray]] = []
        for row in self.rows:
            n = lengths[row["axis"]]
            of = {name: rest[k * n : (k + 1) * n] for k, name in enumerate(names)}
            self.curves.append(of)
            rest = rest[len(names) * n :]
        assert not len(rest)
        shades = np.frombuffer(buffers[1], np.uint8) if buffers else np.empty(0)
        self.shades = shades.reshape(len(self.rows), -1) if buffers else shades


def item_of(message: dict[str, Any], kind: str, name: str = "") -> dict[str, Any]:
    """Return the item of a kind in a drawn block."""
    (item,) = [i for i in message["items"] if i["kind"] == kind and (not name or i["name"] == name)]
    return item


def signs_of(message: dict[str, Any], name: str) -> list[list[str]]:
    return item_of(message, "legend", name)["signs"]


def rows_of(message: dict[str, Any], buffers: list[bytes]) -> RowsMessage:
    return RowsMessage((item_of(message, "traces"), buffers))


@pytest.fixture
def traces_part(controller):
    controller.selection.select([7, 3, 21])
    return Traces(controller)


def test_rows_are_the_selection_with_truth_and_prediction(traces_part, controller, page):
    controller.editor.paint_cells(slice(None), slice(30, 60), TARGET)
    controller.editor.paint_cells([3], slice(0, 30), VISIBLE)
    found = rows_of(*page(traces_part, "block2").wait_for("block2"))
    window, selected = controller.state.window, controller.results.selected
    assert found.labels[0] == "unit 7 · scoring…"
    for row, neuron in enumerate((7, 3, 21)):
        truth = window.responses[:, neuron]
        np.testing.assert_allclose(found.curves[row]["truth"], truth, rtol=1e-6)
        predicted = selected.responses[:, row]
        np.testing.assert_allclose(found.curves[row]["predicted"], predicted, rtol=1e-6)
        mask = controller.state.mask.cells[:, neuron]
        np.testing.assert_array_equal(found.shades[row], mask)
    assert np.isnan(found.curves[0]["predicted"][:30]).all()
    times = found.times[0] + found.fields["start_s"]
    np.testing.assert_allclose(times, window.timestamps["responses"], atol=1e-4)


def test_selection_is_everyones_both_ways(traces_part, controller):
    assert traces_part.selection == (7, 3, 21)
    controller.selection.select([5])
    assert traces_part.selection == (5,)
    traces_part.selection = [9, 2]
    assert controller.state.selection == (9, 2)
    with pytest.raises(ValueError, match=r"0\.\.39"):
        traces_part.selection = [40]
    assert traces_part.selection == (9, 2)
    traces_part.set_state({"selection": [99]})  # a page is told, not raised at
    assert "0..39" in traces_part.problem
    assert traces_part.selection == controller.state.selection == (9, 2)


def test_presses_and_keys_move_the_cursor(traces_part, controller, page):
    controller.navigation.seek(4.0)
    seen = page(traces_part, "block2")
    seen.wait_for("block2")
    times = controller.state.window.timestamps["responses"]
    seen.say("pick", seq=1, name="traces", place=[float(times[20]) + 0.004])
    assert controller.state.cursor == traces_part.cursor == 20
    assert seen.of("ack") == [({"op": "ack", "seq": 1, "view": "page"}, [])]
    at = pytest.approx(float(times[20]))
    seen.wait_for("block4", lambda _, arrays: np.frombuffer(arrays[0], np.float32) == at)
    # Between two samples nothing changes; the page still gets the place of the sample.
    seen.forget()
    seen.say("pick", name="traces", place=[float(times[20]) + 0.006])
    seen.wait_for("block4")
    seen.say("steps", samples=-3)
    assert traces_part.cursor == 17
    start_s = controller.state.window.start_s
    seen.say("step", n=1)
    assert traces_part.cursor == 18
    seen.say("steps", windows=1)
    assert controller.state.window.start_s == pytest.approx(start_s + 2)
    traces_part.cursor = 44
    assert controller.state.cursor == 44


def test_a_press_outside_the_window_takes_the_window_there(traces_part, controller, page):
    controller.navigation.seek(4.0)
    seen = page(traces_part, "block2")
    seen.wait_for("block2")
    seen.say("pick", name="traces", place=[9.0])  # the window is all that is shown
    assert controller.state.window.start_s == pytest.approx(4.0, abs=0.05)
    traces_part.span = "10 s"
    seen.say("pick", name="traces", place=[7.5])
    assert controller.state.window.start_s == pytest.approx(6.5, abs=0.05)
    times = controller.state.window.timestamps["responses"]
    assert float(times[traces_part.cursor]) == pytest.approx(7.5, abs=0.02)


def test_a_pinned_condition_is_overlaid(traces_part, controller, page):
    controller.editor.paint_cells(slice(None), slice(30, 60), TARGET)
    seen = page(traces_part, "block2")
    seen.say("press", name="pin")
    assert [pin.letter for pin in controller.state.pins] == ["A"]
    found = rows_of(
        *seen.wait_for("block2", lambda m, _: "0" in item_of(m, "traces").get("curves", ()))
    )
    letter, score, colour = found.rows[0]["marks"][0]
    assert (letter, colour) == ("A", palette.PINS[0])
    assert score == number_text(controller.results.scores[7])
    np.testing.assert_array_equal(found.curves[0]["0"], found.curves[0]["predicted"])
    message, _ = seen.wait_for("block1", lambda m, _: signs_of(m, "pins"))
    assert signs_of(message, "pins")[0][2] == f"A {controller.state.pins[0].name}"
    seen.say("press", name="rename0")
    assert seen.wait_for("ask_text")[0]["value"] == controller.state.pins[0].name
    seen.say("take", text="half")
    seen.say("choose", name="pin0", value=False)
    assert controller.state.pins[0].name == "half"
    assert not controller.state.pins[0].is_shown
    seen.say("press", name="pin")  # it is pinned already: shown again, and told so
    message, _ = seen.wait_for("block1", lambda m, _: item_of(m, "text")["text"])
    assert "A half" in item_of(message, "text")["text"]
    controller.editor.apply_preset("nothing")
    seen.say("press", name="restore0")
    assert (controller.state.mask.cells[30:] == TARGET).all()
    seen.say("press", name="unpin0")
    assert controller.state.pins == ()


def test_the_legend_names_a_baseline(traces_part, controller, page):
    controller.editor.paint_cells(slice(None), slice(30, 60), TARGET)
    controller.model.choose_baseline("mean")
    legend = signs_of(page(traces_part, "block1").wait_for("block1")[0], "legend")
    assert ("┅", "mean") in [(sign, text) for sign, _, text in legend]


def test_rows_of_different_axes_keep_their_own():
    shade = np.zeros(3, np.uint8)
    fast, slow = np.arange(4.0), np.arange(3.0) + 0.5
    rows = [
        Trace("a", "a", fast, fast, None, shade),
        Trace(
            "b",
            "b",
            slow,
            slow,
            slow + 1,
            shade,
            baseline=slow + 3,
            band=np.stack([slow, slow + 2]),
        ),
    ]
    found = RowsMessage(rows_message(rows, "own"))
    assert [row["axis"] for row in found.rows] == [0, 1]
    np.testing.assert_allclose(found.times[1] + found.fields["start_s"], slow)
    assert np.isnan(found.curves[0]["predicted"]).all()
    np.testing.assert_allclose(found.curves[1]["predicted"], slow + 1)
    np.testing.assert_allclose(found.curves[1]["high"], slow + 2)
    np.testing.assert_allclose(found.curves[1]["baseline"], slow + 3)
    assert np.isnan(found.curves[0]["low"]).all()


# -- repeats and trials in a page: what it is sent, what it presses, and its traits --
def item(message, name):
    return next(one for one in message["items"] if one["name"] == name)


def test_the_trait_says_which_part_of_the_neuron_is_shown(spiking_controller, page):
    part = Neuron(spiking_controller)
    assert part.part == ""
    page(part, "block1")
    spiking_controller.neuron_info.follow()
    assert part.part == "spikes"
    with pytest.raises(ValueError, match="repeats, model, laboratory, not 'fields'"):
        part.part = "fields"
    part.part = "tuning"
    assert part.part == "tuning"
    # No model has learned of this recording.
    part.part = "model"
    assert part.part == "spikes"


def test_the_page_presses_a_trial_and_code_chooses_a_condition(spiking_controller, page):
    part = Trials(spiking_controller)
    opened = page(part, "block1", "block2", "block3")
    assert part._constants["columns"] == [0, 0, 0, 1]
    message, _ = opened.wait_for("block2")
    table = item(message, "trials")
    assert table["titles"] == ["trial", "onset", "part", "side", "choice", "stim_id"]
    assert "pick" not in table
    opened.say("pick", name="trials", place=[2])
    message, _ = opened.wait_for("block1", lambda one, _: item(one, "current")["row"] == 2)
    assert item(message, "trial")["text"].startswith("trial 3 · choice right")
    spiking_controller.requests.finish_scores()
    for condition in ("choice", "stim_id"):
        part.condition = condition
        wanted = spiking_controller.trial_averages.of(3)[0].recorded[:, 0]

        def is_drawn(message, buffers, wanted=wanted):
            names = [one["name"] for one in message["items"]]
            if "predicted" not in names:
                return False
            if "predicted for all" not in item(message, "predicted")["text"]:
                return False
            arrays = [np.frombuffer(buffer, np.float32) for buffer in buffers]
            return any(len(a) == len(wanted) and np.allclose(a, wanted) for a in arrays)

        opened.wait_for("block3", is_drawn)
    assert part.tier == "test"
    part.tier = "validation"
    with pytest.raises(ValueError, match="No trial of a tier"):
        part.tier = "other"
    assert part.tier == "validation"
    opened.say("gone")
    assert not spiking_controller.state.peri_event_shown


def test_a_recording_without_repeats_says_so(spiking_controller, page):
    part = Repeats(spiking_controller)
    opened = page(part, "block1")
    message, _ = opened.wait_for("block1")
    assert item(message, "repeats")["text"] == NO_CLIPS
    assert (part.clip, part.repeat) == (None, None)
    with pytest.raises(IndexError):
        part.clip = 0
    assert part.clip is None


@pytest.mark.slow
def test_code_goes_to_a_repeat(tmp_path, page):
    mouse = simulate_mouse(tmp_path / "mouse", 9, 1.6, times=3)
    with open_controller(mouse) as spiking_controller:
        part = Repeats(spiking_controller)
        part.clip = 0
        assert (spiking_controller.repeats.clip, spiking_controller.repeats.repeat) == (
            spiking_controller.repeats.clips[0],
            0,
        )
        part.repeat = 1
        assert spiking_controller.repeats.repeat == 1
        spiking_controller.repeats.step(-1)
        assert part.repeat == 0
        opened = page(part, "block1")
        message, _ = opened.wait_for(
            "block1", lambda one, _: item(one, "repeats")["kind"] == "curves"
        )
        assert item(message, "window")["kind"] == "overlay"
        part.close()


@pytest.fixture
def decoder(controller):
    return BehaviorDecoder(controller)


def test_mode_and_cursor_are_the_states_both_ways(decoder, controller):
    decoder.cursor = 44
    assert controller.state.cursor == 44
    controller.navigation.set_cursor(12)
    assert decoder.cursor == 12
    assert decoder.mode == "hidden"
    decoder.mode = "visible"
    assert controller.state.mask.behavior == "visible"
    controller.editor.undo()
    assert decoder.mode == "hidden"
    decoder.set_state({"mode": "sometimes"})
    assert "sometimes" in decoder.problem
    assert decoder.mode == controller.state.mask.behavior == "hidden"


def test_the_curves_are_exported_as_numbers_and_as_a_picture(decoder, controller, page):
    controller.editor.set_behavior("target")
    opened = page(decoder, "block0")
    opened.say("press", name="csv")
    message, buffers = opened.wait_for("file")
    assert message["name"] == "behaviour.csv"
    rows = list(csv.DictReader(io.StringIO(bytes(buffers[0]).decode())))
    decoded = [float(row["running_decoded"]) for row in rows]
    np.testing.assert_allclose(decoded, controller.results.behavior[:, 4], rtol=1e-5)
    opened.say("press", name="png")
    message, _ = opened.wait_for("picture")
    assert message["content"] == "traces"
    assert controller.state.session.id in message["description"]


# -- what if in a page: settings, a drag of a slider, and the rows of both predictions
@pytest.fixture
def what_if(video_controller):
    return WhatIf(video_controller)


def test_both_predictions_are_drawn_until_the_edits_are_reset(what_if, video_controller, page):
    opened = page(what_if, "block1", "block3")
    opened.say("fill", name="settings", field="mirror", typed=1)
    found = rows_of(
        *opened.wait_for("block3", lambda message, _: message["items"][1].get("rows", ()))
    )
    expected = video_controller.results.what_if
    column = list(expected.neurons).index(39)
    for name, prediction in (("truth", expected.before), ("predicted", expected.after)):
        np.testing.assert_allclose(
            found.curves[1][name], prediction.responses[:, column], atol=1e-5
        )
    opened.say("press", name="reset")
    assert what_if.edits == "nothing"


def test_a_drag_of_a_slider_is_one_undo_step_also_if_its_page_goes(what_if, video_controller, page):
    opened, before = page(what_if, "block1"), video_controller.editor.undo_name
    field = {"name": "settings", "field": "contrast"}
    begin = {"stroke": "What if: contrast"}
    opened.say("fill", seq=1, **field, typed="80", begin=begin)
    opened.say("fill", seq=2, **field, typed="60")
    opened.say("fill", seq=3, **field, typed="40", end=True)
    assert video_controller.stimulus_edits.edits == (Contrast(0.4),)
    assert what_if.edits == "contrast × 0.4"
    assert video_controller.editor.undo_name == "What if: contrast"
    video_controller.editor.undo()
    assert video_controller.stimulus_edits.edits == ()
    assert video_controller.editor.undo_name == before
    opened.say("fill", seq=4, **field, typed="80", begin=begin)
    opened.say("gone")
    opened.say("fill", seq=5, **field, typed="50")
    video_controller.editor.undo()
    assert video_controller.stimulus_edits.edits == (Contrast(0.8),)


def test_a_value_that_is_not_possible_stays_with_its_reason(what_if, video_controller, page):
    opened = page(what_if, "block1")
    opened.say("fill", name="settings", field="right", typed="900")

    def right(message):
        return next(each for each in message["items"][0]["form"] if each["name"] == "right")

    message, _ = opened.wait_for("block1", lambda message, _: right(message)["value"] == "900")
    field = right(message)
    assert "-64 to 64" in field["reason"]
    assert video_controller.stimulus_edits.edits == ()


# -- the notebook's scores: what a page gets and selects, and what code reads --------
def test_a_page_gets_the_plots_and_selects(controller, page):
    controller.model.choose(NoisyPredictor())
    controller.editor.apply_preset("video_behavior")
    controller.requests.score_tier(False)
    part = NeuronScores(controller)
    opened = page(part, "block2")
    message, _ = opened.wait_for("block2", lambda one, _: bool(one["items"]))
    kinds = [item["kind"] for item in message["items"][0]["items"]]
    assert kinds == ["curves", "curves"]
    spread = part.spread
    bar = int(np.argmax(spread.counts))
    outline = np.array([[spread.places[bar], 0.5]], np.float32)
    opened.say("select", outline.tobytes(), name="histogram", add=False)
    assert list(part.selection) == spread.in_bar(bar).tolist()
    part.tool = "lasso"
    assert part.view.tool == "lasso"
