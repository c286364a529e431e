import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.live.neurons.neuron_info import NeuronInfo, NeuronProperties
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_widgets import palette
from omnimouse_widgets.jupyter.painter import MaskPainter


@pytest.fixture
def painter(controller):
    return MaskPainter(controller)


@pytest.fixture
def painter_page(painter, page):
    """A page that has drawn everything once."""
    return page(painter, "field", "codes")


def neuron_bytes(*neurons):
    return np.array(neurons, np.uint32).tobytes()


def stroke(page, code, *batches):
    for seq, batch in enumerate(batches):
        opening = {"begin": {"code": code}} if seq == 0 else {}
        page.say("paint", neuron_bytes(*batch), code=code, field=1, seq=seq, **opening)
    page.say("end")


def test_the_page_gets_the_states_the_mask_has(controller, painter, painter_page):
    controller.editor.paint([1, 2], VISIBLE)
    controller.editor.paint_cells([5], slice(30, 60), TARGET)
    painter_page.say("gone")
    painter_page.forget()
    painter_page.look()
    codes = np.frombuffer(painter_page.wait_for("codes")[1][0], np.uint8)
    assert codes[[1, 2]].tolist() == [VISIBLE, VISIBLE]
    assert codes[5] == TARGET  # hidden, then target
    assert codes[0] == HIDDEN


def test_a_stroke_paints_the_mask_and_is_one_step(controller, painter_page):
    stroke(painter_page, TARGET, (3, 4), (5,), (5, 6))
    start, stop = controller.editor._spans.span_of(TARGET)
    assert (controller.state.mask.cells[start:stop, [3, 4, 5, 6]] == TARGET).all()
    assert controller.editor.undo_name == "Paint 4 neurons target"
    controller.editor.undo()
    assert not controller.state.mask.target.any()


@pytest.mark.parametrize("is_code", [False, True])
def test_pages_get_only_the_painted_neurons(painter, painter_page, controller, is_code):
    painter_page.forget()
    if is_code:
        painter.paint([7, 9], VISIBLE)
    else:
        stroke(painter_page, VISIBLE, (7, 9))
    assert controller.editor.undo_name == "Paint 2 neurons visible"
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
    controller.editor.apply_preset("video_behavior")
    painter_page.forget()
    painter.colour_by = "score"
    _, buffers = painter_page.wait_for("codes", lambda _, b: len(b) == 3)
    rows = np.frombuffer(buffers[2], np.uint8).reshape(2, -1, 4)
    scores = controller.results.scores
    best = int(np.nanargmax(scores))
    step = round(float(np.clip(scores[best], 0, 1)) * 255)
    assert rows[0, best, :3].tolist() == palette.viridis_table()[step].tolist()


def test_the_legend_of_a_quantity_that_is_not_computed_names_it(controller, painter):
    painter.colour_by = "osi"
    assert painter._legend["label_of_action"] == "Compute all"
    assert (
        painter._legend["text"]
        == "Orientation selectivity · 0 of 40 neurons known · colours: states"
    )


def test_the_legend_counts_the_neurons_that_are_not_tuned(controller, painter, monkeypatch):
    tuned, untuned = (
        SimpleNamespace(problem="", osi=0.2, dsi=0.1, p_orientation=p, p_direction=p)
        for p in (0.01, 0.3)
    )
    known = [NeuronProperties(0, tuning=tuned), NeuronProperties(1, tuning=untuned)]
    monkeypatch.setattr(NeuronInfo, "computed", known)
    painter.colour_by = "osi"
    assert painter._legend["outlines"] == [(VISIBLE, "#56b4e9"), (HIDDEN, "#9aa0a8")]
    ring = palette.UNKNOWN_RING
    assert painter._legend["unmarked"] == [
        ("unknown (empty): 38", "transparent", ring),
        ("not orientation tuned: 1", palette.UNSCORED, ring),
    ]


def test_an_area_that_nobody_knows_is_refused_by_name(painter, painter_page):
    with pytest.raises(ValueError, match="'V9'"):
        painter.paint_area("V9")
    painter_page.say("area", name="V9", code=1)
    painter_page.say("hover", y=0.0, x=0.0)  # a pointer that passes leaves it told
    assert "V9" in painter.problem


@pytest.fixture
def two_planes(controller, session):
    """The recording with two planes of 20 neurons, each with two areas."""
    number = np.arange(40)
    places = np.stack([number % 5, number % 20 // 5, number // 20], axis=1) * 8.0
    places[[19, 39], :2] = 200.0  # the planes are much larger than the neurons
    units = replace(
        session.units,
        roi=None,
        xy_px=places[:, :2],
        xyz_um=places,
        plane=number // 20,
        area=np.where(number % 5 < 2, "LM", "V1"),
    )
    controller.loader.open_now(replace(session, units=units))
    return controller


def test_one_plane_is_shown_and_painted_alone(two_planes, painter, painter_page):
    content, buffers = painter_page.wait_for("field", lambda _, b: b[5])
    assert np.frombuffer(buffers[5], np.uint16).tolist() == [0] * 20 + [1] * 20
    # Neurons of a plane are 8 µm apart; disks are drawn at whole pixels.
    first, second = painter.field.centres[:2]
    distance_um = np.linalg.norm(second - first) * content["um_per_pixel"]
    assert distance_um == pytest.approx(8, rel=0.05)
    painter.plane = 1
    content, _ = painter_page.wait_for("planes", lambda m, _: m["number"] == 1)
    (name,) = content["names"]
    assert name[2] == two_planes.planes.label_of(1)
    top, left, bottom, right = content["region"]
    y, x = painter.field.centres.T
    inside = (y > top) & (y < bottom) & (x > left) & (x < right)
    assert np.flatnonzero(inside).tolist() == list(range(20, 40))
    painter.paint_area("LM", VISIBLE)
    painted = np.flatnonzero(two_planes.state.mask.visible.any(axis=0))
    assert painted.tolist() == [20, 21, 25, 26, 30, 31, 35, 36]


def test_areas_are_outlined_on_request(two_planes, painter, painter_page):
    painter_page.wait_for("areas", lambda m, _: not m["outlines"])
    painter.areas_shown = True
    content, _ = painter_page.wait_for("areas", lambda m, _: m["outlines"])
    found = {(o["area"], o["plane"]) for o in content["outlines"] if o["is_named"]}
    assert found == {("LM", 0), ("LM", 1), ("V1", 0), ("V1", 1)}
    assert two_planes.state.areas_shown


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_stroke_ends_with_its_page_or_part(controller, painter_page, is_closed):
    opening = {"code": VISIBLE}
    painter_page.say("paint", neuron_bytes(3, 4), code=VISIBLE, field=1, seq=1, begin=opening)
    painter_page.part._handle_custom_msg({"op": "gone", "view": "another"}, [])
    assert controller.editor.in_stroke
    if is_closed:
        painter_page.part.close()
    else:
        painter_page.say("gone")
    assert not controller.editor.in_stroke
    assert controller.editor.undo_name == "Paint 2 neurons visible"


def test_a_stroke_over_an_earlier_recording_changes_nothing(controller, painter, painter_page):
    before = controller.state.mask
    painter_page.say("paint", neuron_bytes(3, 4), code=VISIBLE, field=0, seq=1)
    assert controller.state.mask is before
    assert not painter.problem


def test_a_stroke_that_is_refused_is_drawn_as_the_mask_is(painter, painter_page):
    painter_page.forget()
    painter_page.say("paint", neuron_bytes(4_000), code=VISIBLE, field=1, seq=1)
    assert "neurons: found 4000, expected 0..39" in painter.problem
    content, buffers = painter_page.wait_for("codes")
    assert content["handled"] == {"page": 1}
    assert not np.frombuffer(buffers[0], np.uint8).any()


N = 70_000


def test_neurons_beyond_the_limit_of_the_field_are_painted(empty_controller, page):
    responses = np.random.default_rng(0).random((120, N), np.float32)
    # The ids confirm that there are more neurons than samples.
    arrays = {"responses": responses, "rate_hz": 30.0, "unit_ids": np.arange(N)}
    session = open_session(arrays)
    empty_controller.loader.open_now(session)
    empty_controller.selection.select([])
    painter, told = MaskPainter(empty_controller), threading.Event()
    opened = page(painter)
    painter.observe(lambda _: told.set(), "problem")
    opened.look()
    assert told.wait(60)
    assert "65,535" in painter.problem
    neurons = np.array([4, N - 1], np.uint32)
    painter.paint(neurons, HIDDEN)
    states = empty_controller.state.mask.state_in((0, 60))
    assert states[neurons].tolist() == [HIDDEN, HIDDEN]
    assert painter.counts["hidden"] >= 2
