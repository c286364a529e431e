"""The section that chooses the model: the hub, what it knows, where it computes."""

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QInputDialog

from omnimouse_model.data.hub.servers import VARIABLE
from omnimouse_model.errors import FinetuneError
from omnimouse_model.inference.registry import load_in_process
from omnimouse_model.live.controller import Controller
from omnimouse_model.predict.compatibility import Compatibility
from omnimouse_model.predict.devices import Residence
from omnimouse_widgets.qt.control import model
from omnimouse_widgets.qt.control.model import ADDRESS, FILE, FOLDER, ModelSection
from omnimouse_widgets.qt.control.panel import ControlPanel, Sections
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.qt.style.redraw import qt_post
from omnimouse_widgets.views.finetune import NOT_OFFERED, FinetuneView
from omnimouse_widgets.views.scores import ScoresView
from omnimouse_widgets.views.text.model import NOT_FITTED
from tests.model.finetune_process import NEW
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
         "+0.03 [+0.01, +0.05] over linear-gaussian (16 windows)"],
        ["r = 0.37 [0.31, 0.43]", "172 of 172 test windows",
         "+0.03 [+0.01, +0.05] over linear-gaussian · paused"],
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


# -- the panel Fine-tuning in the window: offered, run to its end, stopped, used -----
LONG_MS = 120_000


@pytest.fixture
def tuned_controller(mouse_folder, script, tmp_path, qtbot):
    """The new mouse on screen, and the model that does not know it."""
    made = Controller(post=qt_post(), load=load_in_process)
    made.finetuning.folder = tmp_path / "models"
    made.model.choose(mouse_folder / "base.safetensors")
    made.loader.open_now(mouse_folder / NEW)
    qtbot.waitUntil(lambda: made.finetuning.is_offered, timeout=LONG_MS)
    yield made
    made.close(1.0)


@pytest.fixture
def panel(tuned_controller, show, qtbot):
    made = show(RecordPanel.of(FinetuneView.of(tuned_controller), tuned_controller), 400, 500)
    qtbot.waitUntil(lambda: is_shown(made, "start"), timeout=LONG_MS)
    return made


def is_shown(panel, name):
    return name in panel.widgets and panel.widgets[name].isVisible()


def text(panel, name="message"):
    return panel.widgets[name].text()


def begin_finetuning(panel, steps: int, qtbot) -> None:
    form, start = panel.widgets["settings"], panel.widgets["start"]
    box = form.controls["steps"].native
    box.setFocus()
    box.selectAll()
    QTest.keyClicks(box, "-1")
    qtbot.waitUntil(lambda: "0 to 100,000" in form.reasons["steps"].text())
    qtbot.waitUntil(lambda: not start.isEnabled())
    box.selectAll()
    QTest.keyClicks(box, str(steps))
    qtbot.waitUntil(start.isEnabled)
    QTest.keyClick(box, Qt.Key.Key_Return)  # only takes the value
    press(start)


@pytest.mark.slow
def test_it_ends_with_the_result_chosen(tuned_controller, panel, script, show, qtbot):
    model: ModelSection = show(Sections.of(tuned_controller).model, 330, 620)
    qtbot.waitUntil(model.finetune.isVisible, timeout=LONG_MS)
    with qtbot.waitSignal(model.panel_wanted) as wanted:
        press(model.finetune)
    assert wanted.args == ["Fine-tuning"]
    begin_finetuning(panel, 5, qtbot)
    assert NEW in panel.widgets["title"].full_text
    assert "base.safetensors" in panel.widgets["title"].full_text
    qtbot.waitUntil(lambda: is_shown(panel, "stop"), timeout=LONG_MS)
    assert not is_shown(panel, "settings")
    script.last = 5
    qtbot.waitUntil(lambda: "0.000 → 0.050" in text(panel), timeout=LONG_MS)
    qtbot.waitUntil(lambda: tuned_controller.finetuning.is_chosen, timeout=LONG_MS)
    qtbot.waitUntil(lambda: not is_shown(panel, "use"))
    assert not is_shown(panel, "stop")
    loss, scores = (panel.plots[name].shown.lines[0] for name in ("loss", "scores"))
    assert list(loss.x) == [1, 2, 3, 4, 5]
    assert list(scores.x) == list(range(6))
    qtbot.waitUntil(lambda: NEW in model.model.currentText(), timeout=LONG_MS)
    qtbot.waitUntil(lambda: "9 of 9" in model.info.line.full_text, timeout=LONG_MS)
    press(panel.widgets["dismiss"])
    qtbot.waitUntil(lambda: text(panel) == NOT_OFFERED)
    qtbot.waitUntil(lambda: not model.finetune.isVisible())


@pytest.mark.slow
def test_the_form_of_the_replaced_model_opens_and_changes_nothing(
    tuned_controller, panel, script, show, qtbot
):
    name = tuned_controller.state.predictor_name
    tuned_controller.model.stand_in()
    qtbot.waitUntil(lambda: tuned_controller.results.freshness == "fresh", timeout=LONG_MS)
    model: ModelSection = show(Sections.of(tuned_controller).model, 330, 620)
    qtbot.waitUntil(model.info.finetune.isVisible, timeout=LONG_MS)
    with qtbot.waitSignal(model.panel_wanted) as wanted:
        press(model.info.finetune)
    assert wanted.args == ["Fine-tuning"]
    assert tuned_controller.state.predictor_name == "linear-gaussian"
    assert not model.finetune.isVisible()
    qtbot.waitUntil(lambda: is_shown(panel, "settings"))
    assert "base.safetensors" in panel.widgets["title"].full_text
    assert tuned_controller.finetuning.estimate(5).startswith(("roughly", "at least"))
    begin_finetuning(panel, 5, qtbot)
    assert tuned_controller.finetuning.request.model == name
    assert tuned_controller.finetuning.request.expected
    assert tuned_controller.state.predictor_name == "linear-gaussian"


@pytest.mark.slow
def test_a_stop_offers_the_result_and_to_go_on(tuned_controller, panel, script, qtbot):
    begin_finetuning(panel, 4000, qtbot)
    for step in (2, 3):
        script.last = step
        told = f"step {step} of 4000"
        qtbot.waitUntil(lambda told=told: told in text(panel), timeout=LONG_MS)
        press(panel.widgets["stop"])
        qtbot.waitUntil(lambda: is_shown(panel, "start"), timeout=LONG_MS)
        if step == 2:
            press(panel.widgets["start"])
    press(panel.widgets["use"])
    qtbot.waitUntil(lambda: tuned_controller.finetuning.is_chosen, timeout=LONG_MS)


@pytest.mark.slow
def test_what_is_in_the_way_is_told_in_place(tuned_controller, panel, script, qtbot):
    script.fault = FinetuneError("other_run", "another one lies there: choose another folder.")
    begin_finetuning(panel, 0, qtbot)
    qtbot.waitUntil(lambda: is_shown(panel, "problem"), timeout=LONG_MS)
    assert "choose another folder. Start over takes a new one." in text(panel, "problem")
    assert panel.widgets["start"].text() == "Start over"
    press(panel.widgets["start"])
    qtbot.waitUntil(lambda: tuned_controller.finetuning.is_finished, timeout=LONG_MS)
    qtbot.waitUntil(lambda: not is_shown(panel, "problem"), timeout=LONG_MS)


def test_the_tooltip_of_the_line_speaks_of_embeddings_where_the_model_has_some():
    place = Residence(hardware="CPU, 2 threads")
    own = "Neurons of this recording for which the model has embeddings"
    assert model.place_tooltip(place, Compatibility(8, 8)).startswith(own)
    assert own not in model.place_tooltip(place, Compatibility(8, None))
    assert model.place_tooltip(place, None) == "Device: CPU, 2 threads"
