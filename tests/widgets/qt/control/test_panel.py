from dataclasses import replace
from unittest.mock import PropertyMock

import numpy as np
import pytest
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLabel

from omnimouse_model.display import number_text
from omnimouse_model.live.mask.presets import preset_named
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.neurons.quantities import QUANTITIES, make_scale, score_quantity
from omnimouse_model.live.results import IN_WINDOW, Results, ScoresOnScreen
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_model.metrics.named import METRICS
from omnimouse_model.predict.predictor import Needs
from omnimouse_widgets.palette import UNKNOWN_RING
from omnimouse_widgets.qt.control.advanced import OTHER_RESPONSES, OTHER_WINDOWS, baseline_text
from omnimouse_widgets.qt.control.panel import BrushPanel, ControlPanel
from omnimouse_widgets.qt.control.view import ColourLegend
from omnimouse_widgets.views.field.colours import scale_colours
from omnimouse_widgets.views.text.model import caveats
from tests.predictors import FaultyPredictor
from tests.widgets.pointer import pick, press, wait


class FieldBrush:
    """As the face with a field of neurons has one."""

    tool_changed, radius_changed = Signal(str), Signal(float)
    tool, radius = "brush", 14.0

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name in ("tool", "radius"):
            getattr(self, f"{name}_changed").emit(value)


@pytest.fixture
def brush():
    return FieldBrush()


@pytest.fixture
def panel(controller, show):
    return show(ControlPanel.of(controller), 400, 1000)


@pytest.fixture
def painting(controller, brush, show):
    return show(BrushPanel.of(controller, brush), 334, 470)


def test_the_session_is_named_with_what_it_holds_and_its_notes(panel, controller):
    section, session = panel.recording, controller.state.session
    assert section.name.full_text == "small"
    assert "40 neurons" in section.summary.text()
    notes = [*session.warnings, *session.assumptions]
    assert str(len(notes)) in section.notes_button.text()
    assert not section.notes.isVisible()
    press(section.notes_button)
    assert section.notes.isVisible()
    assert notes[0].message in section.notes.text()


# -- predictor --------------------------------------------------------------------
@pytest.mark.parametrize(
    ("box", "verb", "field", "choices"),
    [
        ("model", "choose", "predictor_name", ("mean", "last")),
        ("device", "choose_device", "device", ("cpu", "auto")),
    ],
)
def test_model_and_device_are_choices_that_follow_the_state(
    panel, controller, redraw, box, verb, field, choices
):
    combo = getattr(panel.model, box)
    pick(combo, choices[0])
    assert getattr(controller.state, field) == choices[0]
    getattr(controller.model, verb)(choices[1])
    redraw()
    assert combo.currentData() == choices[1]


def test_a_baseline_is_a_choice_with_its_refusal(panel, controller, redraw):
    baseline = panel.baseline
    assert not baseline.summary.isVisible()
    controller.editor.apply_preset("video_behavior")
    pick(baseline.choice, "video-ridge")
    redraw()
    assert controller.state.baseline_name == "video-ridge"
    for scores in (controller.baseline.scores, controller.results.scores):
        assert number_text(np.nanmean(scores)) in baseline.summary.text()
    controller.requests.finish_scores()
    redraw()
    found, other = controller.results.tier_score, controller.baseline.tier_score
    assert f"over {found.n_windows} test windows" in baseline.summary.text()
    for one in (found, other):
        assert number_text(one.estimate.value) in baseline.summary.text()
    controller.model.choose("video-ridge")
    redraw()
    assert "itself" in baseline.summary.text()
    controller.model.choose_baseline("last")
    redraw()
    assert baseline.choice.currentData() == "last"
    assert baseline.summary.text() == controller.baseline.error
    assert panel.model.error.text() == ""
    controller.model.choose_baseline("mtm")
    redraw()
    assert "Fit to this recording…" in baseline.summary.text()
    pick(baseline.choice, "")
    redraw()
    assert not baseline.summary.isVisible()


def test_a_baseline_of_other_windows_has_a_common_score_unless_it_predicts_other_responses(
    panel, controller, redraw
):
    controller.editor.apply_preset("video_behavior")
    controller.model.choose_baseline("video-ridge")
    controller.requests.finish_scores()
    own, baseline = controller.baseline.needs, panel.baseline

    def said_of(**changes):
        controller.baseline.needs = replace(own, spec=replace(own.spec, **changes))
        controller.baseline.changed.emit()
        redraw()
        return baseline.summary.text()

    n_windows = controller.baseline.tier_score.n_windows
    assert f"over {n_windows} test windows" in said_of(warmup_s=1.0)
    controller.baseline.tier_score = None
    assert said_of(warmup_s=1.0) == OTHER_WINDOWS
    assert said_of(responses="count") == OTHER_RESPONSES


def test_a_baseline_that_is_fitted_is_not_said_to_be_fitted_again(controller):
    """After a change of the window, the fit stays and only the prediction is missing."""
    state, model = controller.state, controller.results
    waiting = Results(is_awaited=True)
    assert baseline_text("last", waiting, model, state.metric) == "Fitting…"
    waiting.needs = model.needs
    assert baseline_text("last", waiting, model, state.metric) == "Predicting…"


def test_what_a_model_makes_of_a_question_is_told(panel, controller):
    controller.editor.apply_preset("video_behavior")
    mask = controller.state.mask
    leaky = Needs(sees_video=True, sees_behavior=True, withholds_video=False)
    assert caveats(mask, leaky) == []
    assert len(caveats(mask.with_frames(False), leaky)) == 1
    assert len(caveats(mask, Needs())) == 2
    assert panel.task.caveat.text() == ""


def test_an_error_is_told_in_place_with_a_way_on(panel, controller, redraw):
    controller.model.choose(FaultyPredictor())
    controller.editor.paint_cells(slice(None), slice(30, 60), TARGET)
    redraw()
    assert "a fault in the model" in panel.model.error.text()
    assert "✕" in panel.model.dot.text()
    before = controller.results.newest_request
    press(panel.model.again)
    assert controller.results.newest_request == before + 1


def test_a_preset_asks_its_question_and_is_explained(panel, controller, redraw):
    pick(panel.task.preset, "random_half_video_behavior")
    redraw()
    preset, state = preset_named("random_half_video_behavior"), controller.state
    assert state.mask == preset.make(state.session, state.selection)
    assert preset.explanation in panel.task.meaning.text()
    controller.editor.paint_cells([0], slice(0, 60), VISIBLE)
    redraw()
    assert panel.task.preset.currentIndex() == -1  # the user's own
    assert preset.explanation not in panel.task.meaning.text()


def test_presets_that_the_session_cannot_have_are_grey_with_the_reason(
    panel, controller, redraw, monkeypatch
):
    reason = "This recording has no video."
    box, problems = panel.task.preset, {"video_only": reason}
    monkeypatch.setattr(type(controller.editor), "preset_problems", problems)
    pick(box, "random_half_video_behavior")
    redraw()
    at = box.findData("video_only")
    assert not box.model().flags(box.model().index(at, 0)) & Qt.ItemIsEnabled
    assert box.itemData(at, Qt.ToolTipRole) == reason
    at = box.findData("video_behavior")
    assert box.model().flags(box.model().index(at, 0)) & Qt.ItemIsEnabled


def test_video_and_behaviour_are_switched_and_shown(panel, controller, redraw):
    task = panel.task
    press(task.video.button("first"))
    frames = controller.state.mask.frames
    assert frames[:30].all()
    assert not frames[30:].any()
    press(task.behavior.button("target"))
    assert controller.state.mask.behavior == "target"
    controller.editor.set_frames(True)
    controller.editor.set_behavior("visible")
    redraw()
    assert (task.video.value, task.behavior.value) == ("all", "visible")
    controller.editor.set_frames(slice(3, 9))
    redraw()
    assert task.video.value is None


# -- brush ------------------------------------------------------------------------
def test_a_step_that_is_too_long_for_its_button_ends_with_dots(painting, controller, redraw):
    controller.editor.paint(range(5), VISIBLE)
    redraw()
    undo = painting.brush.undo
    assert undo.text() == undo.shown_text == "Undo: 5 neurons visible"
    undo.setFixedWidth(undo.fontMetrics().horizontalAdvance("↶ 5 neurons visible") + 16)
    assert undo.shown_text == "↶ 5 neurons visible"
    undo.setFixedWidth(90)
    assert undo.shown_text.startswith("↶ 5 n")
    assert undo.shown_text.endswith("…")
    assert undo.fontMetrics().horizontalAdvance(undo.shown_text) < 90
    assert undo.toolTip() == "Undo Paint 5 neurons visible (Ctrl+Z)"


def test_the_brush_and_its_span_follow_each_other(painting, controller, redraw):
    brush, state = painting.brush, controller.state
    press(brush.code.button(TARGET))
    redraw()
    assert state.brush_code == TARGET
    assert (brush.start.value(), brush.stop.value()) == (30, 60)
    brush.start.setValue(40)
    assert state.active_span == (40, 60)
    brush.start.setValue(59)
    brush.stop.setValue(20)
    assert state.active_span == (19, 20)
    press(brush.code.button(VISIBLE))
    redraw()
    assert (brush.start.value(), brush.stop.value()) == state.active_span == (0, 60)


def test_tool_and_radius_are_those_of_the_field(painting, brush, redraw):
    press(painting.brush.tool.button("lasso"))
    assert brush.tool == "lasso"
    brush.tool = "select"
    brush.radius = 33.0
    redraw()
    assert painting.brush.tool.value == "select"
    assert painting.brush.radius.value() == 33
    painting.brush.radius.setValue(20)
    assert brush.radius == 20.0


def test_undo_names_what_it_undoes_at_once(painting, controller, redraw):
    with controller.editor.stroke():
        controller.editor.paint_cells([1, 2, 3], slice(0, 60), VISIBLE)
    for button in (painting.brush.undo, painting.brush.redo):
        redraw()
        assert "3 neurons visible" in button.text()
        press(button)
        cells = controller.state.mask.cells[:, 1:4]
        assert (cells == (HIDDEN if button is painting.brush.undo else VISIBLE)).all()


def test_counts_and_changes_are_those_of_the_active_span(painting, controller, redraw):
    counts = painting.counts
    numbers, changes = counts.numbers, counts.changes
    controller.editor.paint_cells(range(10), slice(0, 60), VISIBLE)
    controller.editor.paint_cells(range(10, 15), slice(30, 60), TARGET)
    redraw()
    shown = {code: int(label.text()) for code, label in numbers.items()}
    assert shown == {VISIBLE: 10, TARGET: 5, HIDDEN: 25}
    assert changes.text() == ""
    assert counts.samples.text() == ""  # all samples
    assert counts.toolTip().endswith("Targets hidden: 5 at the start.")
    controller.editor.set_active_span(30, 60)
    redraw()
    assert numbers[TARGET].text() == "5"
    assert "30–60" in counts.samples.text()
    assert changes.text() == ""
    controller.editor.paint_cells(range(5), slice(30, 40), HIDDEN)
    controller.editor.paint_cells(range(5, 8), slice(40, 50), HIDDEN)
    controller.editor.paint_cells([8], slice(50, 60), TARGET)
    redraw()
    words = "5 hidden, then visible; 3 visible at both ends; 1 other"
    assert changes.text() == words


def test_a_neuron_visible_only_between_its_ends_is_told_as_such(painting, controller, redraw):
    controller.editor.paint_cells(range(10), slice(30, 60), TARGET)
    controller.editor.paint_cells(range(4), slice(10, 20), VISIBLE)
    redraw()
    counts = painting.counts
    assert counts.numbers[TARGET].text() == "6"
    assert counts.changes.text() == "4 hidden, visible, then target"
    assert "hidden: 6 at the start" in counts.toolTip()
    controller.editor.set_active_span(30, 60)
    redraw()
    assert (counts.numbers[TARGET].text(), counts.changes.text()) == ("10", "")
    assert "at the start" not in counts.toolTip()


def test_cuts_context_and_guard_can_be_edited(panel, controller, redraw):
    press(panel.advanced_section.title)
    advanced = panel.advanced
    advanced.cuts.setText("20, 40")
    advanced.cuts.editingFinished.emit()
    advanced.start.setValue(10)
    advanced.guarded.setChecked(False)
    redraw()
    mask = controller.state.mask
    layout = mask.attachment
    assert (layout.cuts, layout.context_span, mask.guarded) == ((20, 40), (10, 60), False)
    assert advanced.warning.isVisible()


def test_the_rate_of_the_recording_can_be_stated(panel, controller, redraw):
    press(panel.advanced_section.title)
    start_s = controller.state.window.start_s
    panel.advanced.rate.setValue(4.0)
    redraw()
    assert controller.state.session.recording_rate_hz == 4.0
    assert controller.state.window.start_s == start_s
    assert controller.state.mask.recording_rate_hz == 4.0
    assert panel.advanced.rate.value() == 4.0


def test_in_a_low_window_the_legend_of_chosen_colours_comes_into_view(controller, show, qtbot):
    painting = show(BrushPanel.of(controller, FieldBrush()), 334, 288)
    compute = painting.view.legend.compute
    assert painting.scroll_area.verticalScrollBar().value() == 0
    pick(painting.view.colour_by, "osi")
    wait(qtbot, lambda: compute.visibleRegion().boundingRect() == compute.rect())
    assert compute.text() == "Compute all"


def test_the_empty_panel_does_nothing_and_has_no_error(empty_controller, show):
    panel = show(ControlPanel.of(empty_controller), 400, 800)
    painting = show(BrushPanel.of(empty_controller), 400, 800)
    control = Qt.KeyboardModifier.ControlModifier
    for each in (panel, painting):
        for key in (Qt.Key.Key_1, Qt.Key.Key_Period, Qt.Key.Key_C, Qt.Key.Key_Comma):
            QTest.keyClick(each, key)
        for keys in (control, control | Qt.KeyboardModifier.ShiftModifier):
            QTest.keyClick(each, Qt.Key.Key_Z, keys)
    assert empty_controller.state.cursor == 0
    assert not panel.task.video.isEnabled()
    assert {label.text() for label in painting.counts.numbers.values()} == {"0"}


# -- the legend of the field's colours -----------------------------------------------
@pytest.mark.parametrize("evidence", [IN_WINDOW, "over 172 windows"])
def test_only_scores_of_one_window_are_called_noisy(controller, show, monkeypatch, evidence):
    n = controller.state.session.n_neurons
    shown = ScoresOnScreen(np.linspace(0.0, 0.9, n), evidence=evidence)
    scale = make_scale(score_quantity(METRICS["correlation"], shown), shown.values, ())
    monkeypatch.setattr(Colouring, "scale", PropertyMock(return_value=scale))
    controller.state.colour_by = "score"
    legend = show(ColourLegend(controller.state, controller.results, controller.colouring), 300)
    legend.draw()
    tip = legend.bar.toolTip()
    assert evidence in tip
    assert ("noisy" in tip) == (evidence == IN_WINDOW)


def test_unknown_is_an_empty_ring_in_legend_help_and_field(controller, show, monkeypatch):
    n = controller.state.session.n_neurons
    values = np.where(np.arange(n) < 3, np.nan, np.linspace(0.0, 0.9, n))
    scale = make_scale(score_quantity(METRICS["correlation"], None), values, ())
    scale = replace(scale, quantity=replace(scale.quantity, name="depth"))
    monkeypatch.setattr(Colouring, "scale_of", lambda self, name: scale)
    controller.state.colour_by = "depth"
    legend = show(ColourLegend(controller.state, controller.results, controller.colouring), 300)
    legend.draw()
    assert legend.unknown_ring.isVisible()
    assert "Empty ring: unknown" in legend.bar.toolTip()
    assert not legend.untuned_disk.isVisible()
    icon = legend.unknown_ring.findChild(QLabel).pixmap().toImage()
    places = range(icon.width()), [icon.height() // 2]
    colours = [icon.pixelColor(x, y).name().upper() for x in places[0] for y in places[1]]
    assert UNKNOWN_RING in colours
    assert colours[icon.width() // 2] == "#000000"
    for code in (HIDDEN, TARGET):
        states, untuned = np.full(n, code), np.arange(n) == 0
        core, rim = scale_colours(scale, states, states, untuned)
        assert core[:3, 3].tolist() == pytest.approx([0.9, 0, 0])
        drawn = "#{:02X}{:02X}{:02X}".format(*(255 * rim[1, :3]).round().astype(int))
        assert drawn == UNKNOWN_RING
        # Also a target that fails its test is seen on the image.
        assert (rim[0] == rim[1]).all() == (code == TARGET)
    visible = np.full(n, VISIBLE)
    # Visible ones have the outline of the legend, known or not.
    rim = scale_colours(scale, visible, visible)[1]
    assert (rim == rim[0]).all()


@pytest.mark.parametrize("width", [180, 300, 500])
def test_names_of_categories_are_whole_at_any_width(controller, show, monkeypatch, width):
    names = ("video", "behaviour", "own past", "same area", "other areas", "upper & deep")
    source = next(one for one in QUANTITIES if one.name == "source")
    scale = make_scale(source, np.arange(controller.state.session.n_neurons) % 6.0, names)
    monkeypatch.setattr(Colouring, "scale", PropertyMock(return_value=scale))
    legend = show(ColourLegend(controller.state, controller.results, controller.colouring), width)
    legend.draw()
    legend.adjustSize()
    legend.resize(width, legend.heightForWidth(width))
    label = legend.swatches
    assert label.isVisible()
    assert label.height() >= label.heightForWidth(label.width())
    assert label.width() <= width
    assert "upper &amp; deep" in label.text()
