import csv
from time import monotonic, sleep

import numpy as np
import pytest

from omnimouse_model.analysis.sweep.run import context_sweep
from omnimouse_model.live.sweep.live_sweeps import WINDOW_SWEEP
from omnimouse_widgets.drawn.context.points import dodge, place_on
from omnimouse_widgets.jupyter.sweep import ContextSweep
from tests.predictors import NoisyPredictor

SELECTED = [3, 11, 30]
FORM = {"neurons": "0, 8", "history": "10", "draws": "2", "windows": "2", "name": "mine"}


@pytest.fixture
def noisy_controller(empty_controller, session, tmp_path):
    made = empty_controller
    made.sweeps.folder = tmp_path / "kept"
    made.model.choose(NoisyPredictor())
    made.loader.open_now(session)
    made.selection.select(SELECTED)
    return made


@pytest.fixture
def part(noisy_controller):
    return ContextSweep(noisy_controller)


@pytest.fixture
def sweep_page(part, page):
    opened = page(part, "saved")
    wait_for_points(part, opened, part.controller.results.sweep)
    return opened


def wait_for_points(part, page, sweep, line=0):
    """Wait until the pen has drawn every point of a sweep."""
    wanted = {
        (c.axis, c.label, line): [p.score for p in c.points if np.isfinite(p.score)]
        for c in sweep.curves()
    }

    def is_drawn(*_):
        found = {key: [y for _, y, _ in part.chart.points(key)] for key in wanted}
        return found == wanted

    page.wait_for("figure", is_drawn)


def assert_drawn(part, sweep, line=0):
    checked = 0
    for curve in sweep.curves():
        known = [p for p in curve.points if np.isfinite(p.score)]
        points = part.chart.points((curve.axis, curve.label, line))
        places, scores, sems = zip(*points, strict=True)
        np.testing.assert_allclose(scores, [p.score for p in known])
        np.testing.assert_allclose(sems, np.nan_to_num([p.sem for p in known]), atol=1e-9)
        if line == 0:
            aside = dodge(curve.label, curve.axis, curve.values)
            expected = [place_on(curve.axis, v) + aside for v in curve.values]
            np.testing.assert_allclose(places, expected)
        checked += len(known)
    assert checked


def test_the_live_curves_are_drawn(part, noisy_controller, sweep_page):
    assert part.sweep == noisy_controller.results.sweep
    assert_drawn(part, part.sweep)
    assert f"{len(SELECTED)} neurons" in part.status


def test_live_curves_are_computed_while_somebody_looks(part, noisy_controller, page):
    assert not noisy_controller.state.sweep_shown
    opened = page(part)
    opened.look()
    assert noisy_controller.state.sweep_shown
    opened.say("gone")
    assert not noisy_controller.state.sweep_shown
    opened.look()
    part.is_live = False
    assert not noisy_controller.state.sweep_shown
    part.is_live = True
    assert noisy_controller.state.sweep_shown
    part.close()
    assert not noisy_controller.state.sweep_shown


def test_a_sweep_of_a_cell_replaces_the_live_one(part, noisy_controller, sweep_page):
    ask = {"neurons": [0, 8], "seeds": 2, "max_windows": 2}
    found = context_sweep(NoisyPredictor(), noisy_controller.state.session, **ask)
    heard = []
    part.observe(heard.append, "is_live")
    part.sweep = found
    wait_for_points(part, sweep_page, found)
    assert not part.is_live
    assert len(heard) == 1
    assert_drawn(part, found)
    part.is_live = True
    assert part.sweep is noisy_controller.results.sweep


def fill(part, **texts):
    for name, text in texts.items():
        part.form.controls[name].set_state({"value": text})


def wait_until(is_true, timeout_s=60.0):
    end_s = monotonic() + timeout_s
    while not is_true():
        assert monotonic() < end_s
        sleep(0.01)


def press_start(part):
    part.start_button._handle_custom_msg({"event": "click"}, [])


def test_a_form_starts_a_sweep_that_is_kept(part, noisy_controller, sweep_page):
    assert part.form_box.layout.display == "none"
    part.set_state({"_is_form_open": True})
    assert part.form_box.layout.display is None
    fill(part, **FORM)
    part.form.controls["behavior"].set_state({"index": 0})
    wait_until(lambda: "predictions" in part.estimate.value)
    assert not part.start_button.disabled
    press_start(part)
    assert part.form_box.layout.display == "none"
    (entry,) = noisy_controller.sweeps.entries
    assert entry.name == "mine"
    assert entry.is_complete
    assert part.progress == 1.0
    wait_for_points(part, sweep_page, entry.sweep, line=1)
    assert_drawn(part, entry.sweep, line=1)
    content, _ = sweep_page.wait_for("saved", lambda m, _: bool(m["entries"]))
    assert content["entries"][0]["line"] == 1
    sweep_page.say("export")
    content, (table,) = sweep_page.wait_for("csv")
    rows = list(csv.DictReader(table.decode().splitlines()))
    assert {row["sweep"] for row in rows} == {WINDOW_SWEEP, "mine"}


def test_what_cannot_be_asked_is_said_and_not_begun(part, noisy_controller, sweep_page):
    part.set_state({"_is_form_open": True})
    fill(part, history="5")
    assert "history" in part.form.reasons["history"].value
    wait_until(lambda: part.start_button.disabled)
    fill(part, history="10", neurons="many")
    press_start(part)
    assert "Neurons" in part.problem
    assert part.form_box.layout.display is None
    assert not noisy_controller.sweeps.entries
    noisy_controller.sweeps._client.choose(None)
    with pytest.raises(ValueError, match="model"):
        part.start(neurons=(0, 8))


def test_a_page_pauses_and_ends_a_sweep(noisy_controller, sweep_page, monkeypatch):
    sweeps = noisy_controller.sweeps
    monkeypatch.setattr(type(sweeps), "is_busy", property(lambda _: True))
    sweep_page.say("pause")
    assert sweeps.is_paused
    content, _ = sweep_page.wait_for("running", lambda m, _: m["is_paused"])
    assert content["is_busy"]
    sweep_page.say("pause")
    assert not sweeps.is_paused
    sweep_page.say("cancel")
    assert sweeps._gate.is_stopped
