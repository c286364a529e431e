"""The painter: what a page paints is what the mask becomes, and the other way round."""

import numpy as np
import pytest

from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_widgets import palette
from omnimouse_widgets.jupyter.painter import MaskPainter


@pytest.fixture
def painter(controller):
    return MaskPainter(controller)


@pytest.fixture
def painter_page(painter, page):
    """A page that has drawn everything once."""
    opened = page(painter)
    opened.look()
    opened.wait_for("field")
    opened.wait_for("codes")
    return opened


def neuron_bytes(*neurons):
    return np.array(neurons, np.uint32).tobytes()


def stroke(page, code, *batches):
    for seq, batch in enumerate(batches):
        opening = {"begin": {"code": code}} if seq == 0 else {}
        page.say("paint", neuron_bytes(*batch), code=code, seq=seq, **opening)
    page.say("end")


def codes_of(message):
    return np.frombuffer(message[1][0], np.uint8)


def test_the_page_gets_the_states_the_mask_has(controller, painter, painter_page):
    controller.paint([1, 2], VISIBLE)
    controller.paint_cells([5], slice(30, 60), TARGET)
    painter_page.say("gone")
    painter_page.forget()
    painter_page.look()
    codes = codes_of(painter_page.wait_for("codes"))
    assert codes[[1, 2]].tolist() == [VISIBLE, VISIBLE]
    assert codes[5] == 4  # mixed, of which something is asked
    assert codes[0] == HIDDEN


def test_a_stroke_paints_the_mask_and_is_one_step(controller, painter_page):
    stroke(painter_page, TARGET, (3, 4), (5,), (5, 6))
    start, stop = controller._spans.span_of(TARGET)
    assert (controller.state.mask.cells[start:stop, [3, 4, 5, 6]] == TARGET).all()
    assert controller.undo_name == "Paint 4 neurons target"
    controller.undo()
    assert not controller.state.mask.target.any()


@pytest.mark.parametrize("is_code", [False, True])
def test_the_others_hear_of_the_neurons_of_a_stroke_alone(
    painter, painter_page, controller, is_code
):
    painter_page.forget()
    if is_code:
        painter.paint([7, 9], VISIBLE)
    else:
        stroke(painter_page, VISIBLE, (7, 9))
    assert controller.undo_name == "Paint 2 neurons visible"
    _, buffers = painter_page.wait_for("patch")
    assert np.frombuffer(buffers[0], np.uint32).tolist() == [7, 9]
    assert np.frombuffer(buffers[1], np.uint8).tolist() == [VISIBLE, VISIBLE]
    assert not painter_page.of("codes")
    assert sum(map(len, buffers)) < 100


def test_a_click_selects_and_a_second_one_adds(controller, painter, painter_page):
    field = painter.field
    places = {}
    for neuron in (2, 8):
        y, x = np.argwhere(field.owner == neuron)[0]
        places[neuron] = {"y": float(y), "x": float(x)}
    painter_page.say("pick", **places[2])
    assert controller.state.selection == (2,)
    painter_page.say("pick", add=True, **places[8])
    assert painter.selection == (2, 8)
    painter_page.say("pick", add=True, **places[2])
    assert painter.selection == (8,)


def test_colours_by_score_are_those_of_the_app(controller, painter, painter_page):
    controller.apply_preset("video_behavior")
    painter_page.forget()
    painter.colour_by = "score"
    _, buffers = painter_page.wait_for("codes", lambda _, b: len(b) == 3)
    rows = np.frombuffer(buffers[2], np.uint8).reshape(2, -1, 4)
    scores = controller.results.scores
    best = int(np.nanargmax(scores))
    step = round(float(np.clip(scores[best], 0, 1)) * 255)
    assert rows[0, best, :3].tolist() == palette.viridis_table()[step].tolist()


def test_an_area_that_nobody_knows_is_refused_by_name(painter, painter_page):
    with pytest.raises(ValueError, match="'V9'"):
        painter.paint_area("V9")
    painter_page.say("area", name="V9", code=1)
    painter_page.say("hover", y=0.0, x=0.0)  # a pointer that passes leaves it told
    assert "V9" in painter.problem


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_page_that_goes_away_and_a_part_that_is_closed_end_their_stroke(
    controller, painter_page, is_closed
):
    opening = {"code": VISIBLE}
    painter_page.say("paint", neuron_bytes(3, 4), code=VISIBLE, seq=1, begin=opening)
    painter_page.part._handle_custom_msg({"op": "gone", "view": "another"}, [])
    assert controller.in_stroke
    if is_closed:
        painter_page.part.close()
    else:
        painter_page.say("gone")
    assert not controller.in_stroke
    assert controller.undo_name == "Paint 2 neurons visible"


def test_a_stroke_that_is_refused_is_drawn_as_the_mask_is(painter, painter_page):
    painter_page.forget()
    painter_page.say("paint", neuron_bytes(4_000), code=VISIBLE, seq=1)
    assert "neurons 0..39" in painter.problem
    content, buffers = painter_page.wait_for("codes")
    assert content["handled"] == {"page": 1}
    assert not np.frombuffer(buffers[0], np.uint8).any()
