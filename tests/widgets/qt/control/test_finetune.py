"""Fine-tuning in the model's section: offered, run to its end, stopped, used."""

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_model.errors import FinetuneError
from omnimouse_model.live.controller import Controller
from omnimouse_model.predict.registry import load_in_process
from omnimouse_widgets.qt.control.model import ModelSection
from omnimouse_widgets.qt.style.ui_thread import qt_post
from omnimouse_widgets.views.finetune import gain_text
from tests.model.finetune_process import NEW

pytestmark = pytest.mark.slow
LEFT = Qt.MouseButton.LeftButton
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
def model(controller, show, qtbot):
    section: ModelSection = show(ModelSection(controller), 330, 620)
    qtbot.waitUntil(section.finetune.open.isVisible, timeout=LONG_MS)
    return section


@pytest.fixture
def section(model):
    return model.finetune


def begin_finetuning(section, steps: int, qtbot) -> None:
    QTest.mouseClick(section.open, LEFT)
    # Of its window, which need not be the active one of the screen.
    assert section.window().focusWidget() is section.start
    box = section.settings.controls["steps"].native
    box.setFocus()
    box.selectAll()
    QTest.keyClicks(box, "-1")
    reason = section.settings.reasons["steps"]
    qtbot.waitUntil(lambda: "0 to 100,000" in reason.text())
    assert not section.start.isEnabled()
    box.selectAll()
    QTest.keyClicks(box, str(steps))
    QTest.keyClick(box, Qt.Key.Key_Return)


def test_it_ends_with_the_result_chosen(controller, model, section, script, qtbot):
    assert not section.start.isVisible()
    begin_finetuning(section, 5, qtbot)
    assert not section.open.isVisible()
    assert "base.safetensors" in section.title.text()
    assert NEW in section.title.text()
    qtbot.waitUntil(section.stop.isVisible, timeout=LONG_MS)
    assert not section.settings.isVisible()
    script.last = 5
    qtbot.waitUntil(lambda: "0.000 → 0.050" in section.message.text(), timeout=LONG_MS)
    qtbot.waitUntil(lambda: controller.finetuning.is_chosen, timeout=LONG_MS)
    assert not section.stop.isVisible()
    assert not section.use.isVisible()
    assert section.plot.canvas.isVisible()
    assert list(section.plot.losses.getData()[0]) == [1, 2, 3, 4, 5]
    assert list(section.plot.scores.getData()[0]) == list(range(6))
    qtbot.waitUntil(lambda: NEW in model.model.currentText(), timeout=LONG_MS)
    qtbot.waitUntil(lambda: "9 of 9" in model.info.line.full_text, timeout=LONG_MS)
    QTest.mouseClick(section.dismiss, LEFT)
    assert not section.message.isVisible()
    assert not section.open.isVisible()


def test_a_stop_offers_the_result_and_to_go_on(controller, section, script, qtbot):
    begin_finetuning(section, 4000, qtbot)
    for step in (2, 3):
        script.last = step
        told = f"step {step} of 4000"
        qtbot.waitUntil(lambda told=told: told in section.message.text(), timeout=LONG_MS)
        QTest.mouseClick(section.stop, LEFT)
        qtbot.waitUntil(section.start.isVisible, timeout=LONG_MS)
        if step == 2:
            QTest.mouseClick(section.start, LEFT)
    QTest.mouseClick(section.use, LEFT)
    qtbot.waitUntil(lambda: controller.finetuning.is_chosen, timeout=LONG_MS)


def test_what_is_in_the_way_is_told_in_place(controller, section, script, qtbot):
    script.fault = FinetuneError("other_run", "another one lies there")
    begin_finetuning(section, 0, qtbot)
    qtbot.waitUntil(section.problem.isVisible, timeout=LONG_MS)
    assert "another one lies there" in section.problem.text()
    QTest.mouseClick(section.start, LEFT)
    qtbot.waitUntil(lambda: controller.finetuning.is_finished, timeout=LONG_MS)
    qtbot.waitUntil(lambda: not section.problem.isVisible(), timeout=LONG_MS)


def test_a_run_whose_steps_were_all_worse_says_so_at_its_end():
    assert gain_text(0.25, 0.3) == "held-out score 0.250 → 0.300"
    assert gain_text(0.25, 0.25).startswith("no step beat the start")
    assert gain_text(0.25, 0.25, is_over=False) == "held-out score 0.250 → 0.250"
