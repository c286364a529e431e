from typing import Any

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.window_spec import N_SAMPLES
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_widgets.jupyter.painter import MaskPainter
from omnimouse_widgets.jupyter.raster import Raster
from omnimouse_widgets.views.raster import levels_of
from tests.small_sessions import write_session


@pytest.fixture
def raster(controller):
    """In stored order: neuron n is row n."""
    controller.state.raster_order, controller.state.raster_view = "stored", "truth"
    return Raster(controller)


@pytest.fixture
def raster_page(raster, page):
    """A page that has drawn the raster once."""
    return page(raster, "raster")


def rows_of(buffer: bytes) -> np.ndarray:
    return np.frombuffer(buffer, np.uint8).reshape(-1, N_SAMPLES)


def codes_of(message: dict[str, Any], buffers: list[bytes]) -> np.ndarray:
    return rows_of(buffers[message["codes"]])


def stroke(raster_page: Any, *blocks: tuple[int, int, int, int], **fields: Any) -> None:
    """A whole stroke of one message, as the page sends it."""
    message, _ = raster_page.wait_for("raster")
    code = fields.pop("code", VISIBLE)
    packed = np.array(blocks, np.uint16).tobytes()
    fields = {"seq": 1, "rows": message["rows"], "code": code, **fields}
    raster_page.say("paint", packed, begin={"code": code}, end=True, **fields)


def row_block(start: int, stop: int) -> bytes:
    """Some rows, all samples."""
    return np.array([[start, stop, 0, N_SAMPLES]], np.uint16).tobytes()


def test_a_page_is_sent_rows_values_and_the_mask(raster_page, controller):
    message, buffers = raster_page.wait_for("raster", lambda m, _: "layout" in m)
    layout = message["layout"]
    assert (layout["start"], layout["stop"], layout["size"]) == (0, 40, 1)
    assert layout["names"][7] == "7"
    assert (codes_of(message, buffers) == HIDDEN).all()
    window = controller.state.window
    low, high = levels_of(window)
    drawn = rows_of(buffers[message["values"][0]["buffer"]])
    expected = np.clip((window.responses.T - low) * 255 / (high - low), 1, 255)
    np.testing.assert_allclose(drawn, expected, atol=1)


def test_windows_of_another_model_have_their_own_samples(raster_page, controller):
    painter, session = MaskPainter(controller), controller.state.session
    spec = om.WindowSpec(3.0, 50.0)
    controller.state.mask = om.Mask.nothing(session, spec).show([7], (100, 150))
    controller.state.window = session.window(4.0, spec)
    message, buffers = raster_page.wait_for(
        "raster", lambda m, _: m.get("layout", {}).get("samples") == 150
    )
    codes = np.frombuffer(buffers[message["codes"]], np.uint8).reshape(40, 150)
    assert np.flatnonzero(codes[7] == VISIBLE).tolist() == list(range(100, 150))
    assert painter._n_samples == 150


def test_a_stroke_paints_its_blocks_as_one_step(raster_page, controller):
    stroke(raster_page, (2, 4, 10, 20), (6, 7, 30, 31), code=TARGET)
    cells = controller.state.mask.cells
    found = {(n, t) for t, n in np.argwhere(cells == TARGET).tolist()}
    expected = {(n, t) for n in (2, 3) for t in range(10, 20)} | {(6, 30)}
    assert found == expected
    assert controller.editor.undo_name == "Paint 3 neurons target"
    controller.editor.undo()
    assert (controller.state.mask.cells == HIDDEN).all()


def test_columns_are_painted_for_all_neurons(raster, raster_page, controller):
    raster.rows_shown = (10.0, 20.0)
    raster_page.wait_for("raster", lambda m, _: m.get("layout", {}).get("start") == 10)
    stroke(raster_page, (0, 10, 5, 8), all=True)
    assert (controller.state.mask.cells[5:8] == VISIBLE).all()


def test_labels_of_the_rows_follow_a_mask_that_leaves_their_order(raster, raster_page, controller):
    raster.order = "state"
    controller.editor.apply_preset("video_behavior")
    raster_page.wait_for("raster", lambda m, _: m["labels"] == [[20.0, "hidden\n→ target"]])
    controller.editor.apply_preset("all_response_only")
    raster_page.wait_for("raster", lambda m, _: m["labels"] == [[20.0, "visible"]])


def test_rows_do_not_move_under_an_open_stroke(raster, raster_page, controller):
    raster.order = "state"
    raster_page.wait_for("raster", lambda m, _: "layout" in m)
    before = raster_page.wait_for("raster")[0]["rows"]
    fields = {"seq": 1, "rows": before, "code": TARGET, "all": False}
    raster_page.say("paint", row_block(30, 31), begin={"code": TARGET}, **fields)
    held, buffers = raster_page.wait_for(
        "raster", lambda m, _: m["handled"].get("page") == 1 and "codes" in m
    )
    assert held["rows"] == before
    assert (codes_of(held, buffers)[30, 10:] == TARGET).all()
    raster_page.say("end")
    moved, buffers = raster_page.wait_for("raster", lambda m, _: m["rows"] != before)
    assert (codes_of(moved, buffers)[0, 10:] == TARGET).all()


def test_a_stroke_on_former_rows_is_refused(raster, raster_page, controller):
    raster_page.say("paint", row_block(0, 1), seq=1, rows=10_000, code=1, all=False)
    assert raster.problem
    assert (controller.state.mask.cells == HIDDEN).all()


def test_a_stroke_on_rows_of_an_earlier_recording_is_refused(
    raster, raster_page, controller, tmp_path
):
    message, _ = raster_page.wait_for("raster")
    controller.loader.open_now(write_session(tmp_path / "other", 12))
    before = controller.state.mask
    raster_page.say("paint", row_block(0, 30), seq=1, rows=message["rows"], code=1, all=False)
    assert "paint it again" in raster.problem
    assert controller.state.mask is before
