"""The panel *Repeats*: rasters, frame of the window, texts, and where a press goes."""

import numpy as np
import pytest

from omnimouse_widgets import palette
from omnimouse_widgets.views import repeats as text
from omnimouse_widgets.views.record import NO_SESSION, Curves, Message, choose, pick, press, record
from omnimouse_widgets.views.repeats import MAX_ROWS, RepeatsView, binned_rows, pitch_s
from tests.predictors import open_controller
from tests.small_sessions import simulate_mouse

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mouse(tmp_path_factory):
    """Twenty neurons, a clip that is shown four times."""
    return simulate_mouse(tmp_path_factory.mktemp("clips") / "mouse", 20, 1.6, times=4)


@pytest.fixture
def controller(mouse):
    with open_controller(mouse) as made:
        made.selection.select([7, 3, 11])
        made.repeats.go_to_clip(0)
        yield made


@pytest.fixture
def view(controller):
    """The view while it is in sight, which reads the repeats."""
    made = RepeatsView.of(controller)
    (follow,) = (block.follow for block in made.blocks() if block.follow is not None)
    follow(True)
    yield made
    follow(False)


def test_the_record_has_a_raster_the_means_and_the_frame_of_the_window(view, controller):
    found, items = controller.repeats.responses, record(view)
    plot = items["repeats"]
    assert isinstance(plot, Curves)
    rows, columns = plot.raster.pixels.shape[:2]
    assert rows == 3
    assert columns > found.responses.shape[1] * found.responses.shape[2]
    gap = plot.raster.pixels[:, found.responses.shape[2], 3]
    assert gap.tolist() == [0, 0, 0]
    assert [label for _, label in plot.ticks] == [f"{at:z.0f} s" for at in found.onset_s]
    # Each label stands where its repeat begins, and each row has the name of its unit.
    pitch = pitch_s(found)
    assert [at for at, _ in plot.ticks] == pytest.approx(
        [k * pitch for k in range(len(plot.ticks))]
    )
    names = [f"unit {controller.state.session.units.names[neuron]}" for neuron in found.neurons]
    assert [label for _, label in plot.up_ticks] == [*names, "mean"]
    heights = [at for at, _ in plot.up_ticks]
    assert heights == sorted(heights, reverse=True)
    assert [
        (line.colour, sign)
        for line, (_, _, sign) in zip(plot.lines[::-1], items["legend"].signs, strict=True)
    ] == [(palette.RECORDED, "mean over neurons"), (text.AVERAGE, "mean over repeats")]
    assert items["clip"].value == "0"
    # The id of a simulated clip is a hash.
    assert items["clip"].options[0][1] == "clip 1 · 3 × 10.0 s · oracle"
    assert items["ceiling"].text.startswith("Reliability: one repeat ")
    assert items["repeat"].text == f"repeat 1 of {len(found.onset_s)}"
    frame, start_s = items["window"], controller.state.window.start_s
    assert frame.x.min() == pytest.approx(max(start_s - found.onset_s[0], 0.0), abs=1e-6)
    assert frame.x.max() == pytest.approx(start_s + 2.0 - found.onset_s[0], abs=1e-6)
    # A moved window draws its frame alone.
    press(view, "next_repeat")
    assert record(view)["repeats"] is plot
    assert controller.repeats.repeat == 1
    assert record(view)["window"].x.min() == pytest.approx(pitch_s(found) + frame.x.min(), abs=0.1)


def test_a_press_goes_to_that_moment_of_that_repeat(view, controller):
    found = controller.repeats.responses
    pick(record(view)["repeats"], 2 * pitch_s(found) + 4.0, 0.5)
    middle = controller.state.window.start_s + 1
    assert middle == pytest.approx(found.onset_s[2] + 4.0, abs=0.1)
    before = controller.state.window.key
    pick(record(view)["repeats"], -1.0, 0.5)
    assert controller.state.window.key == before


def test_away_from_repeats_it_says_so_and_a_choice_goes_there(view, controller):
    trials = controller.state.session.trials
    once = int(np.flatnonzero(trials.tier == "train")[0])
    controller.navigation.seek(float(trials.t_on[once]) + 1)
    items = record(view)
    assert items["repeats"] == Message("repeats", text.LABEL, text.NOT_REPEATED)
    assert len(items["window"].x) == 0
    assert items["clip"].value == ""
    with pytest.raises(ValueError, match="no repeats; choose"):
        press(view, "next_repeat")
    choose(view, "clip", "0")
    assert controller.repeats.repeat == 0


def test_nothing_is_read_out_of_sight(view, controller):
    (follow,) = (block.follow for block in view.blocks() if block.follow is not None)
    follow(False)
    controller.selection.select([1, 2])
    assert isinstance(record(view)["repeats"], Message)
    follow(True)
    assert isinstance(record(view)["repeats"], Curves)


def test_without_a_session_the_record_says_so(empty_controller):
    assert record(RepeatsView.of(empty_controller))["repeats"].text == NO_SESSION


def test_many_neurons_share_rows():
    values = np.arange(256 * 2 * 3, dtype=float).reshape(256, 2, 3)
    rows = binned_rows(values)
    assert len(rows) == MAX_ROWS
    np.testing.assert_allclose(rows[5], values[20:24].mean(axis=0))
