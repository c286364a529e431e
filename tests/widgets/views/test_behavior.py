"""The panel *Behaviour*: rows of channels, what is said of them, and the cursor."""

from dataclasses import replace

import numpy as np
import pytest

from omnimouse_model.evaluation.tier_score import TierScoring
from omnimouse_widgets.views.behavior import BehaviorView
from omnimouse_widgets.views.record import NO_SESSION, pick, record
from tests.predictors import EchoPredictor


@pytest.fixture
def view(controller):
    return BehaviorView.of(controller)


def test_channels_have_their_recording_their_decode_and_its_correlation(view, controller):
    assert record(view)["traces"].rows[0].label == "pupil size"  # not asked
    controller.editor.set_behavior("target")
    items, window = record(view), controller.state.window
    names = ["pupil size", "change of pupil size", "pupil x", "pupil y", "running"]
    assert [row.label for row in items["traces"].rows] == [f"{n} · r = 1.00 here" for n in names]
    running = items["traces"].rows[4]
    np.testing.assert_allclose(running.truth, window.behavior[:, 4])
    np.testing.assert_allclose(running.predicted, controller.results.behavior[:, 4])
    assert "echo" in items["status"].text
    controller.editor.set_behavior("visible")
    items = record(view)
    assert items["traces"].rows[4].predicted is None
    assert "nothing to decode" in items["status"].text


def test_a_press_moves_the_cursor_and_never_the_window(view, controller):
    controller.navigation.seek(4.0)
    controller.pins.choose_span("10 s")
    pick(record(view)["traces"], 6.01)
    assert controller.state.cursor == 59
    assert controller.state.window.start_s == pytest.approx(4.0, abs=0.05)
    times = controller.state.window.timestamps["responses"]
    assert record(view)["cursor"].x.tolist() == [times[59]]


def test_the_bar_of_behaviour_has_no_unit_of_spikes(look_at):
    signs = record(BehaviorView.of(look_at()))["legend"].signs
    assert signs[-1][2] == "1 s.d."


def test_without_a_session_the_record_says_so(empty_controller):
    items = record(BehaviorView.of(empty_controller))
    assert items["traces"].missing == NO_SESSION
    assert len(items["cursor"].x) == 0


def test_pinned_decodings_are_compared_by_their_paired_difference(view, controller, session):
    controller.editor.set_behavior("target")
    controller.pins.pin("same")
    items = record(view)
    row = items["traces"].rows[4]
    np.testing.assert_allclose(row.overlays[0], controller.results.behavior[:, 4])
    assert items["pins"].titles == ("channel", "now", "A", "now − A")
    assert items["pins"].rows[4][2:] == ("–", "–")
    *_, found = TierScoring(EchoPredictor(), session, controller.state.mask).refine(lambda: False)
    # The blocks of time vary far more than the difference does.
    rest = np.linspace(0.2, 0.6, 10)
    now, pinned = (
        replace(found, behavior=tuple(
            replace(one, value=value, left_out=rest + value) for one in found.behavior
        ))
        for value in (0.5, 0.4)
    )  # fmt: skip
    answers = controller.pins.predictions.windows
    answers[0] = replace(answers[0], find_tier_score=lambda: pinned)
    controller.results.tier_score = now
    assert record(view)["pins"].rows[4] == ("running", "0.50", "0.40", "+0.10")
    assert "paired" in record(view)["pins_note"].text
    answers[0] = replace(answers[0], find_tier_score=lambda: replace(pinned, n_windows=0))
    assert record(view)["pins"].rows[4][2:] == ("–", "–")
