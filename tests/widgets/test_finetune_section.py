"""Fine-tuning in the model's section: offered, run to its end, stopped, used."""

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from omnimouse_model.live.controller import Controller
from omnimouse_model.predict.catalogue import load_in_process
from omnimouse_widgets.qt.control_model import ModelSection
from omnimouse_widgets.qt.hop import qt_post
from tests.model.finetune_process import KNOWN, NEW, write_place

LEFT = Qt.MouseButton.LeftButton
LONG_MS = 120_000


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_place(tmp_path_factory.mktemp("finetuning"))


@pytest.fixture
def unknown(place, tmp_path, qtbot):
    """The new mouse on screen, and the model that does not know it."""
    made = Controller(post=qt_post(), load=load_in_process)
    made.finetuning.folder = tmp_path / "models"
    made.choose_predictor(place / "base.safetensors")
    made.open_session(place / NEW)
    qtbot.waitUntil(lambda: made.finetuning.is_offered, timeout=LONG_MS)
    yield made
    made.close(1.0)


@pytest.fixture
def model(unknown, show, qtbot):
    section: ModelSection = show(ModelSection(unknown), 330, 620)
    qtbot.waitUntil(section.finetune.open.isVisible)
    return section


@pytest.fixture
def section(model):
    return model.finetune


def test_it_is_offered_with_its_time_and_ends_with_the_result_chosen(
    unknown, model, section, qtbot
):
    assert not section.start.isVisible()
    QTest.mouseClick(section.open, LEFT)
    assert not section.open.isVisible()
    assert section.title.text() == f"Fine-tune base.safetensors to {NEW}:"
    assert "roughly" in section.words.text()
    section.steps.setValue(5)
    assert section.start.hasFocus()
    QTest.keyClick(section.start, Qt.Key.Key_Space)
    qtbot.waitUntil(section.stop.isVisible)
    assert not section.steps.isVisible()
    qtbot.waitUntil(lambda: unknown.finetuning.is_finished, timeout=LONG_MS)
    qtbot.waitUntil(lambda: section.words.text().startswith("✓ Learned, and is the"))
    before, best = unknown.finetuning.before, unknown.finetuning.best
    assert f"{before:.3f} → {best:.3f}" in section.words.text()
    assert not section.stop.isVisible()
    assert not section.use.isVisible()
    assert section.plot.canvas.isVisible()
    assert list(section.plot.losses.getData()[0]) == [1, 2, 3, 4, 5]
    assert list(section.plot.scores.getData()[0]) == list(range(6))
    assert model.model.currentText() == f"base, fine-tuned to {NEW}"
    qtbot.waitUntil(
        lambda: "9 of 9 neurons known" in model.knows.line.words, timeout=LONG_MS
    )
    QTest.mouseClick(section.dismiss, LEFT)
    assert not section.words.isVisible()
    assert not section.open.isVisible()


def test_a_stop_offers_what_was_reached_and_to_go_on(unknown, section, qtbot):
    QTest.mouseClick(section.open, LEFT)
    section.steps.setValue(4000)
    QTest.mouseClick(section.start, LEFT)
    qtbot.waitUntil(lambda: unknown.finetuning.step >= 2, timeout=LONG_MS)
    qtbot.waitUntil(lambda: "of 4000" in section.words.text())
    QTest.mouseClick(section.stop, LEFT)
    qtbot.waitUntil(lambda: "what was reached is kept" in section.words.text())
    assert section.start.text() == "Go on"
    QTest.mouseClick(section.start, LEFT)
    reached = unknown.finetuning.of
    assert reached == 4000
    qtbot.waitUntil(lambda: unknown.finetuning.step >= 3, timeout=LONG_MS)
    QTest.mouseClick(section.stop, LEFT)
    qtbot.waitUntil(section.use.isVisible)
    assert section.use.text() == "Use what was reached"
    QTest.mouseClick(section.use, LEFT)
    qtbot.waitUntil(lambda: unknown.finetuning.is_chosen, timeout=LONG_MS)


def test_a_model_that_knows_the_recording_is_offered_nothing(
    unknown, section, place, qtbot
):
    unknown.open_session(place / KNOWN)
    qtbot.waitUntil(lambda: not section.open.isVisible())
    unknown.open_session(place / NEW)
    qtbot.waitUntil(section.open.isVisible)
    unknown.choose_predictor("mean")
    qtbot.waitUntil(lambda: not section.open.isVisible(), timeout=LONG_MS)


def test_what_is_in_the_way_is_told_in_place(unknown, section, place, qtbot):
    session = unknown.state.session
    assert session is not None
    stale = unknown.finetuning.place(str(place / "base.safetensors"), session)
    stale.mkdir(parents=True)
    (stale / "finetune.json").write_text('{"model": "other", "session": "x"}')
    QTest.mouseClick(section.open, LEFT)
    section.steps.setValue(1)
    QTest.mouseClick(section.start, LEFT)
    qtbot.waitUntil(section.problem.isVisible, timeout=LONG_MS)
    assert "another fine-tuning" in section.problem.text()
    assert section.start.text() == "Start over"
    QTest.mouseClick(section.start, LEFT)
    qtbot.waitUntil(lambda: unknown.finetuning.is_finished, timeout=LONG_MS)
    qtbot.waitUntil(lambda: not section.problem.isVisible())
