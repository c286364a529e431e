"""The section that chooses the model: the hub, what it knows, where it computes."""

import pytest
from qtpy.QtCore import QPoint
from qtpy.QtWidgets import QFileDialog, QInputDialog

from omnimouse_model.data.hub.servers import VARIABLE
from omnimouse_widgets.qt.control import model
from omnimouse_widgets.qt.control.model import ADDRESS, FILE, FOLDER
from omnimouse_widgets.qt.control.panel import ControlPanel, Sections
from omnimouse_widgets.views.scores import ScoresView
from omnimouse_widgets.views.text.model import NOT_FITTED
from tests.model.official_shards import official_net
from tests.model.small_net import save_checkpoint
from tests.predictors import FarPredictor
from tests.widgets.pointer import pick, press, wait


@pytest.fixture
def section(controller, show):
    return show(Sections.of(controller).model, 400, 300)


def test_controls_below_the_score_stay_while_it_is_refined(controller, show, redraw, monkeypatch):
    panel = show(ControlPanel.of(controller), 400, 900)
    steps = [
        [],
        ["r = 0.01", "4 of 172 test windows, preliminary"],
        ["r = 0.37 [0.31, 0.43]", "64 of 172 test windows",
         "+.03 ± .02 over linear-gaussian (16 windows)"],
        ["r = 0.37 [0.31, 0.43]", "172 of 172 test windows",
         "+.03 ± .02 over linear-gaussian · paused"],
    ]  # fmt: skip
    decoded = (
        "decoded r: pupil size 0.07, change of pupil size 0.01, pupil x 0.44, pupil y 0.51, "
        "running 0.90"
    )
    shown = []
    monkeypatch.setattr(model, "shown_tier_score_lines", lambda *_: shown)
    for behavior, more in (("visible", []), ("target", [decoded])):
        controller.editor.set_behavior(behavior)
        places = set()
        for step in steps:
            shown[:] = [*step, *more] if step else []
            controller.results.changed.emit()
            redraw()
            places.add(panel.task.preset.mapTo(panel, QPoint()).y())
        assert len(places) == 1


def test_a_model_that_does_not_answer_is_reported_with_wait_and_restart(
    section, controller, redraw
):
    rows = (section.silent, section.wait, section.restart)
    for is_silent in (False, True, False):
        controller.workers.is_silent = is_silent
        controller.workers.changed.emit()
        redraw()
        assert [row.isVisible() for row in rows] == 3 * [is_silent]


def test_a_server_that_a_model_names_is_asked_about(section, controller, redraw, monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    controller.editor.apply_preset("video_behavior")
    controller.model.choose(FarPredictor())
    redraw()
    assert section.connect_button.text() == "Connect to data.example"
    assert section.connect_button.isVisible()
    section.connect_button.click()
    redraw()
    assert not section.connect_button.isVisible()


def test_files_folders_and_addresses_are_asked_for(
    section, controller, tmp_path, redraw, monkeypatch
):
    path = save_checkpoint(tmp_path / "mine" / "net", official_net())
    folder = path.parent
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    monkeypatch.setattr(QInputDialog, "getText", lambda *_: ("", False))
    for choice, chosen in ((FILE, path), (FOLDER, folder), (ADDRESS, folder)):
        pick(section.model, choice)
        redraw()
        assert controller.state.predictor_name == str(chosen)
        assert section.model.currentText() == chosen.name


def test_an_unseen_session_is_told_with_a_baseline(section, controller, qtbot):
    controller.model.choose("demo")
    info = section.info
    wait(qtbot, info.remedy.isVisible)
    assert "40 neurons" in info.remedy.text()
    assert info.line.full_text.startswith("✕")
    assert not section.error.isVisible()
    press(info.instead)
    assert controller.state.predictor_name == "linear-gaussian"
    wait(qtbot, lambda: not info.remedy.isVisible())
    assert info.line.full_text.startswith("✓")


def test_a_model_to_be_fitted_is_told_in_one_quiet_line_with_its_action(
    section, controller, redraw
):
    controller.editor.apply_preset("video_behavior")
    controller.model.choose("latent-zig")
    assert controller.requests.wait(60)
    redraw()
    info = section.info
    assert info.stand_in.text() == NOT_FITTED
    assert section.finetune.text() == "Fit to this recording…"
    assert section.finetune.isVisible()
    for row in (info.line, section.error, section.again):
        assert not row.isVisible()
    assert ScoresView.of(controller).summary == NOT_FITTED
    controller.model.choose("linear-gaussian")
    assert controller.requests.wait(60)
    redraw()
    assert not info.stand_in.isVisible()


def test_a_sample_is_told_with_its_model(section, controller, qtbot, monkeypatch):
    monkeypatch.setattr("omnimouse_model.live.models.choice.model_for", lambda _: "ridge")
    controller.model.choose("demo")
    instead = section.info.instead
    wait(qtbot, lambda: instead.isVisible() and instead.text() == "Use ridge instead")
    press(instead)
    assert controller.state.predictor_name == "ridge"
