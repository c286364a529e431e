"""The panel Context: curves, mark, form, background and saved sweeps."""

import csv
from dataclasses import replace
from inspect import signature
from types import SimpleNamespace

import numpy as np
import pytest

import omnimouse_model as om
import omnimouse_model.analysis.sweep.live_sweep as live_sweep_module
from omnimouse_model.analysis.sweep.contexts import AXES, Context, SweepPlan, context_mask
from omnimouse_model.analysis.sweep.live_sweep import asked_neurons, live_draw
from omnimouse_model.display import number_text
from omnimouse_model.live.current_point import WINDOW_SWEEP, current_point
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_widgets import palette
from omnimouse_widgets.views import record
from omnimouse_widgets.views.context.curves import (
    POINT_TITLES,
    DrawnSweep,
    point_rows,
    points_of,
    sign_of,
)
from omnimouse_widgets.views.context.settings import ONLY_TARGETS
from omnimouse_widgets.views.context.view import (
    AWAITED,
    BOTH,
    IN_WINDOW,
    NOT_LIVE,
    OTHER,
    OTHER_QUESTION,
    OTHER_RECORDING,
    PAUSED,
    TITLES,
    ContextView,
    mark_signs,
    plan_texts,
    refused_text,
    sweep_text,
)
from omnimouse_widgets.views.record import SaveFile
from tests.predictors import NoisyPredictor, open_controller
from tests.small_sessions import write_session

SELECTED = [3, 11, 30]
FORM = {"neurons": "0, 8", "history": "0, 10", "draws": "2", "windows": "2", "name": "mine"}
FORM |= {"video": (True, False), "behavior": (True, False)}


@pytest.fixture
def predictor():
    return NoisyPredictor()


@pytest.fixture
def controller(session, predictor, tmp_path):
    with open_controller(session, predictor) as made:
        made.sweeps.folder = tmp_path / "kept"
        made.selection.select(SELECTED)
        yield made


@pytest.fixture
def view(controller):
    made = ContextView.of(controller)
    made.blocks()[0].follow(True)
    return made


def assert_drawn(view, sweep, line=0):
    """The lines of a record have the points and bars of a sweep."""
    items, dash = record.record(view), ("solid", "dashed")[line]
    for curve in sweep.curves():
        lines = items["plots"] if "plots" in items else items[curve.axis].lines
        own = [
            one
            for one in lines
            if one.dash == dash
            and [tip.split("\n")[1].partition(" · ")[0] for tip in one.tips[:1]] == [curve.label]
        ]
        known = [point for point in curve.points if np.isfinite(point.score)]
        [found] = own
        np.testing.assert_allclose(found.y, [point.score for point in known])
        np.testing.assert_allclose(found.ends, [point.ends for point in known])
        assert found.is_open == bool(line)


def paint_task(controller):
    """Eight targets, 16 visible neurons, and all others hidden."""
    controller.editor.paint(range(40), HIDDEN)
    controller.editor.paint(range(8), TARGET)
    controller.editor.paint(range(20, 36), VISIBLE)


def fill(view, **texts):
    for name, text in texts.items():
        view.form.set(name, text)


def test_the_reason_for_missing_points_is_told_once_and_whole():
    reason = "'ndt-demo' reads responses alone, and the mask shows none."
    rows = tuple(
        SimpleNamespace(context=Context(n, 0, video, False), refusal="" if n else reason)
        for n in (0, 16)
        for video in (True, False)
    )
    assert refused_text(SimpleNamespace(rows=rows, unread=())) == f"No point at 0 neurons: {reason}"
    assert refused_text(SimpleNamespace(rows=rows[2:], unread=())) == ""


def test_missing_points_of_one_condition_are_not_told_of_others():
    def text(*refusals):
        contexts = [Context(n, h, v, False) for n, h in ((0, 0), (16, 0), (16, 5)) for v in (1, 0)]
        rows = [
            SimpleNamespace(context=context, refusal=refusal)
            for context, refusal in zip(contexts, refusals, strict=True)
        ]
        return refused_text(SimpleNamespace(rows=rows, unread=()))

    found = text("", "dark", "", "dark", "", "")
    assert found == "No point at 0 neurons, 16 neurons of nothing: dark"
    assert text(*["dark"] * 4, "", "") == "No point at 0 neurons, 16 neurons: dark"
    # Each reason once, and the axis of each point.
    found = text("none", "none", "", "dark", "", "dark")
    assert found == (
        "No point at 0 neurons: none · No point at 16 neurons, 5 samples of nothing: dark"
    )


def test_the_only_condition_has_a_switch_while_it_is_hidden(view, controller):
    plan = SweepPlan(neurons=(0, 8), video=(True,), behavior=(False,))
    table = replace(controller.results.sweep, plan=plan)
    rows = tuple(row for row in table.rows if row.context in plan.contexts)
    view.show(replace(table, rows=rows))
    assert "condition video" not in record.record(view)
    view.hide(["video"])
    assert not record.record(view)["neurons"].lines
    record.choose(view, "condition video", True)
    assert record.record(view)["neurons"].lines


def test_without_a_session_nothing_is_swept_or_saved(empty_controller):
    view = ContextView.of(empty_controller)
    items = record.record(view)
    assert items["curves"].text == record.NO_SESSION
    assert items["status"].text == " ", "the reason stands below the curves, too"
    assert record.NO_SESSION in items["csv"].refusal
    record.choose(view, "sweep", True)
    assert record.record(view)["start"].refusal == record.NO_SESSION


def test_the_live_curves_are_those_of_the_results(view, controller):
    assert_drawn(view, controller.results.sweep)
    record.choose(view, "condition video", False)
    shown = [line.tips[0] for line in record.record(view)["neurons"].lines]
    assert shown
    assert not any("\nvideo ·" in tip for tip in shown)
    assert WINDOW_SWEEP in record.record(view)["sweeps"].signs[0][2]
    record.choose(view, "live", False)
    assert "Switch Live on" in record.record(view)["curves"].text


def test_a_saved_picture_says_what_its_marks_and_lines_mean(view):
    record.choose(view, "condition video", False)
    picture = record.press(view, "png")
    marks, line, bars, mask = picture.description.split("\n")
    assert bars == "│ bars: s.e.m. over draws"
    assert mask.endswith("┊ this mask: 0 visible")
    assert marks.split("   ") == ["● video + behaviour", "▲ behaviour", "◆ nothing"]
    assert line == f"── {record.record(view)['sweeps'].signs[0][2]}"


def test_a_stroke_moves_the_mark_and_keeps_the_curves(view, controller):
    before = record.record(view)["neurons"]
    controller.editor.paint_cells(range(40), slice(15, 25), VISIBLE)
    items = record.record(view)
    assert items["line history_samples"].x == pytest.approx([10, 10])
    assert items["neurons"].lines[0].y.tolist() == before.lines[0].y.tolist()


def test_only_a_panel_in_sight_asks_for_curves(view, controller):
    follow = view.blocks()[0].follow
    assert controller.state.sweep_shown
    follow(False)
    assert not controller.state.sweep_shown
    view.set_live(False)
    follow(True)
    assert not controller.state.sweep_shown


def test_a_sweep_asks_what_the_mask_or_the_form_says(view, controller, session):
    paint_task(controller)
    plan = view.form.read().plan(controller.state)
    assert plan.asked == "target neurons from visible neurons"
    assert plan.targets.indices(session).tolist() == list(range(8))
    assert plan.pool.indices(session).tolist() == list(range(20, 36))
    # Contexts that the pool has.
    assert max(plan.neurons) == 16
    fill(view, targets="selected", pool="all others")
    plan = view.form.read().plan(controller.state)
    assert plan.asked == "3 selected neurons from all others"
    fill(view, targets="all others")
    assert view.form.read().plan(controller.state).asked == "held-out neurons from all others"
    fill(view, targets="selected")
    controller.selection.select([])
    record.choose(view, "sweep", True)
    items = record.record(view)
    assert "No neuron is selected" in items["estimate"].text
    assert "No neuron is selected" in items["start"].refusal
    fill(view, targets="all others", neurons=" ", history=" ")
    assert "needs neurons" in record.record(view)["estimate"].text
    # What the sweep itself would refuse after its start.
    fill(view, pool="of the mask", neurons="17", history=" ")
    fill(view, targets="of the mask")
    items = record.record(view)
    assert "has 16 neurons that are no targets, fewer than the 17" in items["estimate"].text
    assert items["start"].refusal == items["estimate"].text


def test_sizes_that_the_pool_does_not_have_are_left_out_and_all_named(view, controller):
    paint_task(controller)
    record.choose(view, "sweep", True)
    fill(view, neurons="0, 8, 64, 1024", history=" ", draws="1", windows="2")
    text = record.record(view)["estimate"].text
    assert "without 64, 1,024 neurons: the pool has 16 that are no targets" in text
    record.press(view, "start")
    assert controller.sweeps.entries[0].sweep.plan.neurons == (0, 8)


def test_the_form_says_how_many_neurons_a_choice_has(view, controller, session):
    paint_task(controller)
    labels = {
        field.name: {value: label for value, label, _ in field.options}
        for field in view.form.fields()
    }
    assert labels["targets"]["of the mask"] == "mask (8)"
    assert labels["pool"]["of the mask"] == "mask (16)"
    assert labels["pool"]["selected"] == "selected (3)"
    assert labels["pool"]["all others"] == "all (40)"


def test_a_sweep_of_few_windows_says_why_it_has_no_interval(view, controller):
    controller.sweeps.start(SweepPlan(neurons=(0, 8), seeds=(0, 1), max_windows=2), "mine")
    view.set_live(False)
    told = "none over 2 windows (at least 8 are needed)"
    assert f"95 % interval: {told}" in record.record(view)["refused"].text
    sweep = controller.sweeps.entries[0].sweep
    assert f"intervals 95 %: of scores {told}, of gains over draws" in str(sweep)
    rows = tuple(replace(row, n_windows=9, ci_low=0.1, ci_high=0.2) for row in sweep.rows)
    assert replace(sweep, rows=rows).no_interval == ""


def test_the_form_of_a_sweep_begins_with_the_defaults_of_the_library(view, controller):
    defaults = {name: one.default for name, one in signature(om.context_sweep).parameters.items()}
    plan = view.form.read().plan(controller.state)
    assert plan.seeds == tuple(range(defaults["seeds"]))
    for name in ("video", "behavior", "tier", "max_windows", "grid"):
        assert getattr(plan, name) == defaults[name], name


def test_a_mask_that_shows_nothing_or_its_targets_alone_gives_a_reason(view, controller):
    record.choose(view, "sweep", True)
    controller.editor.paint(range(40), HIDDEN)
    controller.editor.paint(range(8), TARGET)
    fill(view, pool="of the mask")
    items = record.record(view)
    assert "has no visible neurons" in items["estimate"].text
    assert "has no visible neurons" in items["start"].refusal
    fill(view, pool="all others")
    assert view.form.read().plan(controller.state).asked == "target neurons from all others"
    fill(view, targets="all others", pool="of the mask")
    fill(view, targets="of the mask")
    controller.editor.paint_cells(range(8), slice(0, 20), VISIBLE)
    assert record.record(view)["start"].refusal == ONLY_TARGETS


def test_a_model_that_does_not_know_the_recording_says_so_before_a_sweep(view, controller):
    results = controller.results
    results.needs = replace(results.needs, sessions=frozenset({"another"}), n_neurons={})
    record.choose(view, "sweep", True)
    items = record.record(view)
    assert items["start"].refusal == items["estimate"].text
    assert items["estimate"].text.startswith("The model does not know this recording")


def test_the_form_begins_with_the_question_of_the_live_curves(view, controller, session):
    record.choose(view, "sweep", True)
    found = {}
    for name, _ in controller.editor.presets:
        controller.editor.apply_preset(name)
        items = record.record(view)
        plan = view.form.read().plan(controller.state)
        assert items["start"].refusal == ""
        assert items["estimate"].text.startswith(f"{plan.asked}: ")
        found[name] = plan.asked
        for asked, chosen in zip(
            asked_neurons(controller.state.mask), (plan.targets, plan.pool), strict=True
        ):
            # None are held-out neurons, and all others.
            shown = [] if chosen is None else chosen.indices(session).tolist()
            assert shown == np.flatnonzero(asked).tolist() or (not shown and asked.all())
    assert found["video_only"] == "held-out neurons from all others"
    assert len(set(found.values())) > 1


def test_an_open_form_asks_for_targets_and_pool_once_for_a_mask(view, controller, monkeypatch):
    n_asked = []
    find = live_sweep_module.scored_cells
    monkeypatch.setattr(
        live_sweep_module, "scored_cells", lambda mask: n_asked.append(1) or find(mask)
    )
    record.choose(view, "sweep", True)
    controller.editor.paint(range(8), TARGET)
    first = record.record(view)["estimate"]
    n_asked.clear()
    assert record.record(view)["estimate"].text == first.text
    assert not n_asked
    controller.editor.paint(range(20, 36), VISIBLE)
    assert record.record(view)["estimate"].text
    assert len(n_asked) == 1


def test_what_is_chosen_in_the_form_stays_when_a_stroke_empties_the_pool(view, controller):
    paint_task(controller)
    fill(view, targets="selected")
    controller.editor.paint(range(40), TARGET)
    settings = view.form.read()
    assert (settings.targets, settings.pool) == ("selected", "all others")


def test_the_numbers_of_neurons_follow_the_pool_until_the_user_types(view, controller):
    controller.editor.paint(range(40), HIDDEN)
    controller.editor.paint(range(8), TARGET)
    controller.editor.paint([20, 21], VISIBLE)
    # The last one is the whole pool.
    assert view.form.value("neurons") == (0, 2)
    fill(view, pool="all others")
    assert view.form.value("neurons") == (0, 16, 32)
    fill(view, pool="of the mask")
    assert view.form.value("neurons") == (0, 2)
    fill(view, neurons="0, 1")
    fill(view, pool="all others")
    assert view.form.value("neurons") == (0, 1)


def test_the_numbers_of_neurons_follow_another_recording(view, controller, tmp_path):
    controller.editor.apply_preset("video_only")
    record.choose(view, "sweep", True)
    fill(view, targets="selected")
    assert view.form.value("neurons") == (0, 16, 37)
    for is_open in (True, False):
        view.open("sweep" if is_open else "")
        n = 38 - is_open
        controller.loader.open_now(om.open_session(write_session(tmp_path / f"{n}", n)))
        controller.editor.apply_preset("video_only")
        controller.selection.select([1, 2])
        record.choose(view, "sweep", True)
        assert record.record(view)["estimate"].text
        labels = {value: label for value, label, _ in view.form.fields()[0].options}
        assert labels["of the mask"] == f"mask ({n})"
        assert view.form.value("neurons") == (0, 16, n - 2)


def test_live_curves_that_made_room_for_a_sweep_come_back_with_the_next_recording(
    view, controller, session
):
    record.choose(view, "sweep", True)
    fill(view, targets="selected", neurons="0", history=" ", draws="1", windows="1")
    record.press(view, "start")
    assert not view.is_live
    assert not len(record.record(view)["line neurons"].x), "curves are of other neurons"
    controller.loader.open_now(om.open_session(session.path))
    assert view.is_live


def test_the_star_is_drawn_again_with_the_curves_that_its_text_follows(view, controller):
    blocks = {type(item): block.signals for block in view.blocks() for item in block.read()}
    # A sweep that ends can put the star beside its curves.
    assert controller.sweeps.changed in list(blocks[record.Overlay])


def test_a_mark_stands_only_beside_curves_of_its_question(view, controller):
    paint_task(controller)
    assert view.mark.startswith("This mask: r"), "curves over neurons have no history"
    controller.editor.paint_cells(range(40), slice(0, 30), HIDDEN)
    assert "★ this mask: r" in view.mark
    assert record.record(view)["sweeps"].signs[-1][::2] == ("★┊", "this mask: 16 visible")
    items = record.record(view)
    # The curves over history are of no other neurons: there, the mask has a line alone.
    assert len(items["star neurons"].x)
    assert not len(items["star history_samples"].x)
    assert len(items["line history_samples"].x)
    # More visible neurons than the curves have.
    mark = current_point(controller.state, controller.results)
    mark = replace(mark, context=replace(mark.context, neurons=4000))
    plots = [one for one in record.record(view).values() if isinstance(one, record.Curves)]
    assert mark_signs(mark, plots)[0][2] == "this mask: 4,000 visible, beyond the axis"
    view.set_live(False)
    assert view.mark.startswith("This mask: r"), "no star beside an empty plot"
    view.set_live(True)
    ask = {"neurons": (0, 8), "max_windows": 1, "centred": False}
    controller.sweeps.start(SweepPlan(**ask), "held out")
    view.set_live(False)
    assert OTHER in view.mark
    assert not len(record.record(view)["star neurons"].x)
    plan = view.form.read().plan(controller.state)
    controller.sweeps.start(SweepPlan(**ask, targets=plan.targets, pool=plan.pool), "same")
    assert IN_WINDOW in view.mark
    assert view.mark.startswith("This mask: ")
    controller.requests.finish_scores()
    assert len(record.record(view)["star neurons"].x)
    # Live curves of the selected neurons in this window are of another question; a sweep
    # that was stopped at its start has no curve.
    same = controller.sweeps.entries[0]
    controller.sweeps.entries = (replace(same, sweep=replace(same.sweep, rows=())),)
    view.set_live(True)
    controller.results.tier_curves = None
    items, score = record.record(view), controller.results.tier_score
    assert not len(items["star neurons"].x)
    assert len(items["line neurons"].x)
    mean = number_text(score.estimate.value)
    assert view.mark == f"This mask: r = {mean} over {score.n_windows} windows"
    assert items["sweeps"].signs[-1][2] == OTHER_QUESTION


@pytest.mark.parametrize(
    ("n_shown", "history", "axes"),
    [(16, 0, {"neurons"}), (0, 10, {"history_samples"}), (0, 0, {*AXES}), (16, 10, set())],
)
def test_a_star_stands_on_curves_of_the_same_other_context(
    view, controller, n_shown, history, axes
):
    session = controller.state.session
    mask = controller.state.mask
    draw = live_draw(session, np.arange(8))
    mask = context_mask(Context(n_shown, history), draw, mask.spec)
    controller.editor.set_mask(mask)
    controller.requests.finish_scores()
    items = record.record(view)
    assert {axis for axis in AXES if len(items[f"star {axis}"].x)} == axes
    assert view.mark.startswith("★") == bool(axes)
    assert (items["sweeps"].signs[-1][2] == BOTH) == (not axes)
    assert all(len(items[f"line {axis}"].x) for axis in AXES)


def test_a_mask_without_a_score_has_no_place_among_curves_of_others(view, controller):
    paint_task(controller)
    plan = replace(view.form.read().plan(controller.state), neurons=(0, 8), max_windows=1)
    controller.sweeps.start(replace(plan, centred=False), "of the targets")
    view.set_live(False)
    controller.editor.paint(range(8), VISIBLE)
    assert not np.isfinite(current_point(controller.state, controller.results).score)
    assert view.mark == f"This mask: {OTHER}"
    assert not len(record.record(view)["line neurons"].x)
    # A saved sweep of another mouse.
    entry = controller.sweeps.entries[0]
    rows = tuple(replace(row, session="mouse") for row in entry.sweep.rows)
    sweep = replace(entry.sweep, rows=rows, sessions=("mouse",))
    controller.sweeps.entries = (replace(entry, sweep=sweep),)
    assert view.mark == f"This mask: {OTHER_RECORDING}"
    items = record.record(view)
    assert not len(items["line neurons"].x)
    assert not any("visible" in sign[2] for sign in items["sweeps"].signs)


def test_a_stopped_sweep_says_what_it_has(view, controller):
    sweeps, plan = controller.sweeps, SweepPlan(neurons=(0, 8), seeds=(0, 1), max_windows=1)

    def stop():
        entry = sweeps.entries[0]
        if sweeps.is_busy and entry.sweep is not None and len(entry.sweep.rows) == 1:
            sweeps.cancel()

    sweeps.changed.connect(stop)
    sweeps.start(plan, "mine")
    sweeps.changed.disconnect(stop)
    view.set_live(False)
    n_rows = len(sweeps.entries[0].sweep.rows)
    assert n_rows < 4
    assert view.status[0].endswith("1 test windows, 1 of 2 draws")
    legend = f"mine (stopped at {n_rows} of 4 points)"
    assert record.record(view)["sweeps"].signs[0][2] == legend
    assert legend in record.press(view, "png").description


def test_a_running_sweep_of_another_recording_names_it_and_what_a_stop_keeps(
    view, controller, session
):
    sweeps, told, kept = controller.sweeps, [], set()

    def look():
        if sweeps.is_busy and sweeps.entries and sweeps.entries[0].sweep is not None:
            items = record.record(view)
            told.append(items["other"].text if "other" in items else "")
            kept.add(items["cancel"].help)
            other = replace(sweeps.entries[0].sweep, sessions=("mouse",))
            sweeps.entries = (replace(sweeps.entries[0], sweep=other),)

    sweeps.changed.connect(look)
    sweeps.start(SweepPlan(neurons=(0, 8), seeds=(0, 1), max_windows=1), "mine")
    sweeps.changed.disconnect(look)
    # The first rows of the file put the entry of the recording in place of the other once.
    assert told[0] == ""
    assert "Of another recording: mouse" in told
    assert "Stop the sweep. No point is finished yet: nothing of it is kept" in kept
    assert any("1 of 4 points are kept" in one for one in kept)


def test_a_sweep_that_was_stopped_before_its_first_point_is_not_drawn(view, controller):
    sweeps = controller.sweeps
    sweeps.start(SweepPlan(neurons=(0, 8), max_windows=1), "mine")
    view.set_live(False)
    view.open("saved")
    sweeps.entries = tuple(
        replace(one, sweep=replace(one.sweep, rows=())) for one in sweeps.entries
    )
    assert view.drawn() == []
    record.pick(record.record(view)["saved sweeps"], 0)
    assert "nothing is kept" in record.record(view)["about"].text


def test_curves_over_other_windows_are_told_to_be_not_comparable(view, controller):
    view.set_live(False)
    controller.sweeps.start(SweepPlan(neurons=(0,), max_windows=2), "two")
    assert "not comparable" not in record.record(view)["refused"].text
    controller.sweeps.start(SweepPlan(neurons=(0,), max_windows=1), "one")
    text = "Curves over 2 test and 1 test windows are not comparable"
    assert text in record.record(view)["refused"].text


def test_the_first_points_of_a_sweep_are_awaited_where_only_it_is_drawn(view, controller):
    sweeps, seen = controller.sweeps, set()
    view.set_live(False)
    assert view.missing() == NOT_LIVE

    def look():
        if sweeps.is_busy and not sweeps.entries[0].sweep.rows:
            items = record.record(view)
            seen.update([items["curves"].text, view.status[0]])
            assert "Wait for the first points" in items["csv"].refusal

    sweeps.changed.connect(look)
    sweeps.start(SweepPlan(neurons=(0, 8), seeds=(0, 1), max_windows=1), "mine")
    sweeps.changed.disconnect(look)
    assert seen == {AWAITED}
    seen.clear()
    sweeps.compare(sweeps.entries[0].path, False)

    def pause():
        if sweeps.is_busy and not (sweeps.entries[0].sweep.rows or sweeps.is_paused):
            sweeps.changed.disconnect(pause)
            sweeps.pause()
            look()
            sweeps.resume()

    sweeps.changed.connect(pause)
    sweeps.start(SweepPlan(neurons=(0, 8), seeds=(0, 1), max_windows=1), "paused")
    assert seen == {PAUSED}
    seen.clear()
    view.set_live(False)
    sweeps.compare(sweeps.entries[0].path, False)
    sweeps.changed.connect(look)
    sweeps.start(SweepPlan(neurons=(0, 8), seeds=(0, 1), tier="train"), "long")
    sweeps.changed.disconnect(look)
    assert any("appear together, when about 50 % is computed" in text for text in seen)
    assert "curves" not in record.record(view)


def test_form_list_and_share_count_the_same_points_of_a_whole_pool(view, controller):
    paint_task(controller)
    # Five draws of 8 of the 16 neurons of the pool, and one of none and of all.
    fill(view, neurons="0, 8, 16", history=" ", draws="5", tier="train")
    sweeps, counted, told = controller.sweeps, set(), set()
    record.choose(view, "sweep", True)
    assert ": 7 points × " in record.record(view)["estimate"].text
    view.set_live(False)

    def look():
        sweep = sweeps.entries[0].sweep
        counted.add(sweep.point_counts()[1])
        if sweeps.is_busy and not sweep.rows and view.page == "":
            told.add(record.record(view)["curves"].text)

    view.open("")
    sweeps.changed.connect(look)
    view.start()
    sweeps.changed.disconnect(look)
    assert sweeps.entries[0].sweep.point_counts() == (7, 7)
    assert counted == {7}
    first = "The first 3 of 7 points appear together, when about 43 % is computed"
    assert told == {f"{AWAITED}\n{first}"}


def test_the_values_of_the_points_are_a_table_that_can_be_copied(view, controller):
    controller.sweeps.start(SweepPlan(neurons=(0, 8), seeds=(0, 1), max_windows=2), "mine")
    view.set_live(False)
    sweep = controller.sweeps.entries[0].sweep
    record.choose(view, "table", True)
    items = record.record(view)
    table = items["point table"]
    rows = [dict(zip(table.titles, row, strict=True)) for row in table.rows]
    assert "plots" not in items
    assert [row["neurons"] for row in rows] == ["0", "8"]
    for row, point in zip(rows, sweep.curves()[0].points, strict=True):
        assert row["score"] == f"r = {number_text(point.score, 3)}"
        assert row["s.e.m."] == number_text(point.sem, 3)
        assert (row["draws"], row["windows"]) == ("2", "2")
        assert row["targets"] == str(sweep.rows[0].n_neurons)
    gain = sweep.gains(sweep.curves()[0])[1]
    assert [row["gain [95 % over draws]"] for row in rows] == [
        "– smallest context", str(gain),
    ]  # fmt: skip
    one = replace(sweep, rows=sweep.rows[:2], plan=replace(sweep.plan, seeds=(0,)))
    at = POINT_TITLES.index("gain [95 % over draws]")
    assert point_rows([DrawnSweep("one", one)], ())[1][at].endswith(" of one draw")
    # One curve has no switch that tells its inputs.
    assert [sign[2] for sign in items["sweeps"].signs] == ["mine", rows[0]["inputs"]]
    copied = record.press(view, "copy")
    titles, *cells = (line.split("\t") for line in copied.text.split("\n"))
    table = [dict(zip(titles, row, strict=True)) for row in cells]
    assert [(row["sweep"], row["neurons"], row["metric"]) for row in table] == [
        ("mine", "0", "r"), ("mine", "8", "r"),
    ]  # fmt: skip
    # Numbers alone, which a spreadsheet reads as such; empty where there is none.
    for row, point in zip(table, sweep.curves()[0].points, strict=True):
        assert float(row["score"]) == pytest.approx(point.score, rel=1e-5)
        assert float(row["s.e.m. over draws"]) == pytest.approx(point.sem, rel=1e-5)
    assert table[0]["gain"] == ""
    assert float(table[1]["gain"]) == pytest.approx(gain.value, rel=1e-5)
    assert float(table[1]["gain 95 % low"]) == pytest.approx(gain.ci_low, rel=1e-5)
    assert items["png"].refusal
    record.choose(view, "table", False)
    tips = record.record(view)["neurons"].lines[0].tips
    for row, tip in zip(rows, tips, strict=True):
        for text in (row["score"].replace("r = ", "mean r = "), f"{row['draws']} draws"):
            assert text in tip


def test_the_interval_of_one_window_is_told_to_be_over_neurons(view, controller):
    sweep = controller.results.sweep
    assert np.isfinite(sweep.rows[0].ci_low), "over neurons"
    record.choose(view, "table", True)
    at = POINT_TITLES.index("95 % interval")
    table = record.record(view)["point table"]
    told = {row[table.titles.index("95 % interval")] for row in table.rows}
    first = sweep.rows[0]
    assert f"[{first.ci_low:.3f}, {first.ci_high:.3f}] over neurons" in told
    assert all(text.endswith(" over neurons") for text in told)
    assert "of scores none over 1 window (at least 8 are needed)" in str(sweep)
    rows = tuple(replace(row, n_windows=9, ci_low=0.1, ci_high=0.2) for row in sweep.rows)
    told = point_rows([DrawnSweep("many", replace(sweep, rows=rows))], ())
    assert {row[at] for row in told} == {"[0.100, 0.200] over time"}


def test_signs_of_the_table_have_the_colours_of_the_curves(view, controller):
    record.choose(view, "table", True)
    table = record.record(view)["point table"]
    labels = [row[table.titles.index("inputs")] for row in table.rows]
    assert len(set(labels)) > 1
    assert list(table.colours) == [palette.CONDITION_COLOURS[label] for label in labels]


def test_a_ceiling_stands_in_the_table_and_beside_the_plots(view, controller):
    sweep, at = controller.results.sweep, POINT_TITLES.index("ceiling")

    def told(*ceilings):
        pairs = zip(sweep.rows, ceilings * len(sweep.rows), strict=False)
        view.show(replace(sweep, rows=tuple(replace(row, ceiling=one) for row, one in pairs)))
        record.choose(view, "table", False)
        texts = [text for _, _, text in record.record(view)["sweeps"].signs]
        record.choose(view, "table", True)
        table = record.record(view)["point table"]
        cells = {row[at] for row in table.rows} if "ceiling" in table.titles else set()
        return [text for text in texts if "ceiling" in text], cells

    assert told(0.8641) == (["ceiling 0.864"], {"0.864"})
    assert told(0.85, 0.9) == (["ceiling 0.850 to 0.900"], {"0.850", "0.900"})
    assert told(float("nan")) == ([], set())


def test_a_fine_tuned_model_is_called_as_in_the_list_of_models(view, controller, tmp_path):
    folder = tmp_path / "demo_90009-1-1_3369a7"
    folder.mkdir()
    about = '{"model": "demo", "session": "90009-1-1", "is_finished": true}'
    (folder / "finetune.json").write_text(about)
    controller.state.predictor_name = str(folder)
    controller.sweeps.start(SweepPlan(neurons=(0, 8), max_windows=1))
    entry = controller.sweeps.entries[0]
    assert entry.name.endswith(" · demo, fine-tuned to 90009-1-1")
    sweep = replace(entry.sweep, predictor=f"{folder.name}@94140597")
    tuned = replace(entry, sweep=sweep, about={"predictor": str(folder)})
    at = TITLES.index("model") - TITLES.index("inputs")
    assert plan_texts(tuned)[at] == "demo, fine-tuned to 90009-1-1"
    # That of a predictor object is without the hash of its weights.
    assert plan_texts(replace(tuned, about={}))[at] == folder.name


def test_marks_of_a_single_condition_stand_at_their_ticks(view, controller):
    plan = SweepPlan(neurons=(0, 8), max_windows=1)
    controller.sweeps.start(plan, "mine")
    view.set_live(False)
    plot = record.record(view)["neurons"]
    assert plot.lines[0].x.tolist() == [at for at, _ in plot.ticks]


def test_the_targets_of_several_recordings_are_told_as_a_range(view, controller):
    sweep = controller.results.sweep
    other = tuple(replace(row, session="b", n_neurons=15) for row in sweep.rows)
    both = replace(sweep, sessions=(*sweep.sessions, "b"), rows=(*sweep.rows, *other))
    expected = f"{sweep.rows[0].n_neurons} to 15"
    for rows in (both.rows, both.rows[::-1]):
        drawn = DrawnSweep("mine", replace(both, rows=rows))
        targets = {row[POINT_TITLES.index("targets")] for row in point_rows([drawn], ())}
        assert targets == {expected}
        assert f"n = {expected} targets, " in next(points_of(drawn)).tip
        assert f": {expected} targets, " in sweep_text(drawn)


def test_points_without_a_score_have_the_reason_and_hidden_conditions_no_row(view, controller):
    sweep = controller.results.sweep
    rows = (replace(sweep.rows[0], score=float("nan"), refusal="dark"), *sweep.rows[1:3])
    view.show(replace(sweep, rows=rows))
    record.choose(view, "table", True)
    table = record.record(view)["point table"]
    assert len(table.rows) == 3, "points that are still to come have no row"
    assert "– dark" in table.rows[0]
    label = table.rows[0][table.titles.index("inputs")]
    assert table.rows[0][0] == f"── {sign_of(label)}"
    view.hide([label])
    assert not any(label in row for row in record.record(view)["point table"].rows)


def test_inputs_that_the_model_does_not_read_have_no_curve_of_their_own(view, controller):
    view.show(replace(controller.results.sweep, unread=("video",)))
    items = record.record(view)
    assert {name for name in items if name.startswith("condition ")} == {
        "condition behaviour", "condition nothing",
    }  # fmt: skip
    assert len(items["neurons"].lines) == 2
    view.show(replace(controller.results.sweep, unread=("video", "behaviour")))
    assert len(record.record(view)["neurons"].lines) == 1


@pytest.mark.parametrize(("pool", "is_live"), [("of the mask", True), ("all others", False)])
def test_live_curves_leave_the_plots_to_a_sweep_of_other_neurons(view, controller, pool, is_live):
    paint_task(controller)
    record.choose(view, "sweep", True)
    fill(view, **FORM | {"pool": pool})
    record.press(view, "start")
    assert record.record(view)["live"].is_on == is_live


def test_a_sweep_of_the_form_is_drawn_saved_and_deleted(view, controller, tmp_path):
    record.choose(view, "sweep", True)
    fill(view, targets="all others", pool="all others", **FORM)
    text = record.record(view)["estimate"].text
    for part in ("held-out neurons from all others", "24 points", "windows"):
        assert part in text
    record.press(view, "start")
    [entry] = controller.sweeps.entries
    assert len(entry.sweep.rows) == 24
    assert_drawn(view, entry.sweep, line=1)
    view.set_live(False)
    signs = record.record(view)["sweeps"].signs
    assert ("│", "bars: s.e.m. over draws") in [sign[::2] for sign in signs]
    asked = "– – held-out neurons from all others: "
    assert view.status[0].startswith(asked)
    assert "targets, 2 test windows, 2 draws" in view.status[0]
    saved = record.press(view, "csv")
    assert isinstance(saved, SaveFile)
    with saved.write(tmp_path / "all.csv")[0].open(newline="") as file:
        assert "mine" in {row["sweep"] for row in csv.DictReader(file)}
    record.choose(view, "saved", True)
    table = record.record(view)["saved sweeps"]
    assert dict(zip(table.titles, table.rows[0], strict=True)) == {
        "line": "– –", "name": "mine", "started": entry.started, "points": "24 of 24",
        "model": "echo", "targets": "held-out neurons", "pool": "all others",
        "inputs": "video on, off + behaviour on, off", "neurons": "0, 8", "history": "0, 10",
        "draws": "2", "windows": "2 test",
    }  # fmt: skip
    record.pick(record.record(view)["saved sweeps"], 0)
    items = record.record(view)
    assert (items["current sweep"].row, items["draw"].is_on) == (0, True)
    assert items["resume"].refusal == "Nothing is missing"
    assert "inputs: video on, off + behaviour on, off" in items["about"].tip
    assert f"exact name of the model: {entry.sweep.predictor}" in items["about"].tip
    record.choose(view, "draw", False)
    assert controller.sweeps.compared == ()
    record.press(view, "delete")
    assert record.record(view)["delete"].label == "Really delete?"
    record.press(view, "delete")
    assert not entry.path.exists()
