"""The panel Fine-tuning in the window: offered, run to its end, stopped, used."""

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_model.errors import FinetuneError
from omnimouse_model.inference.registry import load_in_process
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.control.model import ModelSection
from omnimouse_widgets.qt.control.panel import Sections
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.qt.style.ui_thread import qt_post
from omnimouse_widgets.views.finetune import NOT_OFFERED, FinetuneView
from tests.model.finetune_process import NEW
from tests.widgets.pointer import press

pytestmark = pytest.mark.slow
LONG_MS = 120_000


@pytest.fixture
def controller(mouse_folder, script, tmp_path, qtbot):
    """The new mouse on screen, and the model that does not know it."""
    made = Controller(post=qt_post(), load=load_in_process)
    made.finetuning.folder = tmp_path / "models"
    made.model.choose(mouse_folder / "base.safetensors")
    made.loader.open_now(mouse_folder / NEW)
    qtbot.waitUntil(lambda: made.finetuning.is_offered, timeout=LONG_MS)
    yield made
    made.close(1.0)


@pytest.fixture
def panel(controller, show, qtbot):
    made = show(RecordPanel.of(FinetuneView.of(controller), controller), 400, 500)
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
    QTest.keyClick(box, Qt.Key.Key_Return)


def test_it_ends_with_the_result_chosen(controller, panel, script, show, qtbot):
    model: ModelSection = show(Sections.of(controller).model, 330, 620)
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
    qtbot.waitUntil(lambda: controller.finetuning.is_chosen, timeout=LONG_MS)
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


def test_one_press_chooses_the_unfamiliar_model_and_opens_its_form(
    controller, show, qtbot, monkeypatch
):
    monkeypatch.setattr(controller.model, "unfamiliar", "mean")
    model: ModelSection = show(Sections.of(controller).model, 330, 620)
    qtbot.waitUntil(model.info.finetune.isVisible, timeout=LONG_MS)
    with qtbot.waitSignal(model.panel_wanted) as wanted:
        press(model.info.finetune)
    assert wanted.args == ["Fine-tuning"]
    assert controller.state.predictor_name == "mean"


def test_a_stop_offers_the_result_and_to_go_on(controller, panel, script, qtbot):
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
    qtbot.waitUntil(lambda: controller.finetuning.is_chosen, timeout=LONG_MS)


def test_what_is_in_the_way_is_told_in_place(controller, panel, script, qtbot):
    script.fault = FinetuneError("other_run", "another one lies there")
    begin_finetuning(panel, 0, qtbot)
    qtbot.waitUntil(lambda: is_shown(panel, "problem"), timeout=LONG_MS)
    assert "another one lies there" in text(panel, "problem")
    press(panel.widgets["start"])
    qtbot.waitUntil(lambda: controller.finetuning.is_finished, timeout=LONG_MS)
    qtbot.waitUntil(lambda: not is_shown(panel, "problem"), timeout=LONG_MS)
