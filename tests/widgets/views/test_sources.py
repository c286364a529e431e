"""The panel *Sources* without a toolkit: questions, bars, curves, matrix, colours, exports."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.sources.errors import Errors
from omnimouse_model.analysis.sources.informants import ALONE
from omnimouse_model.display import interval_text, number_text
from omnimouse_model.evaluation.tier_windows import scored_starts
from omnimouse_model.inference import registry
from omnimouse_model.live import sources as live_sources
from omnimouse_model.live.inference import background_task
from omnimouse_model.live.neurons.colour_by import UNPREDICTABLE
from omnimouse_model.live.report import report_of_screen
from omnimouse_model.live.results import NOT_FITTED
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_model.predict.compatibility import FALLBACK
from omnimouse_model.simulate.coupled_neurons import CoupledSpec, simulate_coupled
from omnimouse_widgets.report.page import write_page
from omnimouse_widgets.views.context.sources import (
    NOT_RUN,
    OTHER_SETTINGS,
    SourcesView,
    area_cells,
    bar_order,
)
from omnimouse_widgets.views.context.view import ContextView
from omnimouse_widgets.views.record import (
    Clipboard,
    Curves,
    LongTable,
    Matrix,
    Message,
    choose,
    pick,
    press,
    record,
)
from tests.predictors import EchoPredictor


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Forty neurons of two areas with behaviour, two minutes, in a file."""
    spec = CoupledSpec(n_neurons=40, minutes=2.0, n_driven=2, driven_by_running=0.3)
    path = tmp_path_factory.mktemp("coupled") / "coupled.npz"
    np.savez(path, **simulate_coupled(spec).arrays)
    return om.open_session(path)


@pytest.fixture
def view(controller, session, tmp_path, monkeypatch):
    # Times do not depend on what else this machine does.
    monkeypatch.setattr(background_task, "is_processor_busy", lambda: False)
    controller.sources.folder = tmp_path
    controller.loader.open_now(session)
    controller.sources.set(windows=12)
    return SourcesView.of(controller)


def run(view, controller, neurons=None, **choices):
    """Select neurons if they are given, choose by name, and run."""
    if neurons is not None:
        controller.selection.select(neurons)
    for name, value in choices.items():
        choose(view, name, value)
    press(view, "run")


def test_before_a_run_the_panel_says_what_to_do(view, controller):
    assert record(view)["content"] == Message("content", "Sources", NOT_RUN)
    controller.selection.select([])
    assert record(view)["content"].text == "No neuron is selected: select some, or choose others."
    with pytest.raises(ValueError, match="No neuron is selected"):
        press(view, "run")
    assert controller.sources.targets == "selected"


def test_a_run_says_how_long_it_takes_while_its_model_is_loaded(view, controller):
    said = []
    controller.sources.changed.connect(lambda: said.append(record(view)["cost"].text))
    press(view, "run")
    assert "Loading the model" in said  # nobody has timed an answer yet
    controller.selection.select([1, 2])
    said.clear()
    press(view, "run")
    assert said[0].startswith("Loading, then about ")
    controller.selection.select([1, 2, 3])
    said.clear()
    controller.workers.fit = "40 %, about 3 s left"
    press(view, "run")
    assert said[0] == "Fit: 40 %, about 3 s left"
    # The line is cut at its end in a narrow panel: the bar beside it tells the share.
    measured = [text for text in said if "target" in text]
    assert measured
    name = controller.state.session.id
    assert not any("%" in text or name in text for text in measured)


def test_bars_are_stacked_and_a_press_selects_the_neuron(view, controller):
    choose(view, "targets", "area V1")
    assert "150 input sets × 12 windows" in record(view)["cost"].text
    press(view, "run")
    items = record(view)
    assert items["error"].text == ""
    bars, found = items["content"], controller.sources.found["sources"]
    assert isinstance(bars, Curves)
    named = [line for line in bars.lines if line.label]
    assert [line.label for line in named][::-1] == [
        "behaviour",
        "own past",
        "same area",
        "other areas",
    ]
    tops = np.array([line.y for line in named])
    assert (np.diff(tops, axis=0) <= 1e-9).all()
    bottoms = np.array([line.y for line in bars.lines if not line.label])
    assert (np.diff(bottoms, axis=0) >= -1e-9).all()
    assert bottoms.min() < 0, "no negative share is drawn"
    assert bars.limits[2] < bottoms.min()
    total = found.total().value[bar_order(found)]
    np.testing.assert_allclose(tops[0] + bottoms[0], total, atol=1e-6)
    half = bars.lines[0].bar / 2
    assert bars.limits[0] < bars.lines[0].x[0] - half
    assert bars.limits[1] > bars.lines[0].x[-1] + half
    assert bars.limits[3] > tops.max()
    pick(bars, 0.2, 0.1)
    best = int(found.neurons[np.argmax(found.total().value)])
    assert controller.state.selection == (best,)
    assert "all sources: " in items["found"].text
    size = "150 input sets × 12 windows"
    assert record(view)["cost"].text == f"Measured: {size}"
    choose(view, "page", "means")
    means = record(view)["content"]
    assert [line.label for line in means.lines] == ["alone", "share", "unique"]
    assert means.baseline == (found.mean_total().value, "all sources")


def test_a_table_has_all_numbers_and_exports_write_them(view, controller, tmp_path):
    run(view, controller, [3, 30])
    choose(view, "page", "table")
    table = record(view)["content"]
    assert isinstance(table, LongTable)
    assert table.n_rows == 12
    rows = [
        dict(zip((one.name for one in table.columns), texts, strict=True))
        for texts, _ in table.read(0, 12)
    ]
    found, means, rows = controller.sources.found["sources"], rows[:4], rows[4:]
    past = found.mean_of("unique", found.names[1])
    told = [means[1][name] for name in ("unit", "unique", "unique from", "unique to")]
    assert told == ["mean", *(number_text(one, 3) for one in (past.value, past.low, past.high))]
    table.choose([0])
    assert controller.state.selection == (3, 30), "a mean is no neuron"
    names = ("unique from", "unique", "unique to")
    ends = [float(rows[0][name].replace("−", "-")) for name in names]
    assert ends == sorted(ends)
    assert [row["source"] for row in rows[:4]] == [
        "behaviour",
        "own past",
        "same area",
        "other areas",
    ]
    assert rows[0]["all sources"] >= rows[-1]["all sources"]
    table.choose([int(table.order[-1])])
    assert controller.state.selection == (int(rows[-1]["unit"]),)
    controller.selection.select([3, 30])
    table.sort("share")
    least = record(view)["content"]
    assert least.read(0, 1)[0][0][0] == "mean"
    shares = [float(texts[6].replace("−", "-")) for texts, _ in least.read(4, 12)]
    assert shares == sorted(shares)
    least.sort("share")
    assert record(view)["content"].is_descending
    assert record(view)["content"].version > table.version
    (written,) = press(view, "csv").write(tmp_path / "mine.csv")
    assert written.read_text().count("\n") == 9
    copied = press(view, "python")
    assert isinstance(copied, Clipboard)
    assert "found = om.sources(predictor, session, targets=om.NeuronGroup(" in copied.text
    assert "max_windows=12" in copied.text


def test_painted_neurons_are_targets_and_a_source(view, controller):
    controller.editor.paint([5, 6], VISIBLE)
    controller.editor.paint([0, 1], TARGET)
    run(view, controller, targets="of the mask", group=True)
    found = controller.sources.found["sources"]
    assert found.names[-1] == "visible neurons"
    assert 0 in found.neurons
    assert 5 not in found.neurons


def name_group(view, controller, name, neurons):
    """Paint neurons visible, all others hidden, and name them."""
    controller.editor.paint(np.arange(40), HIDDEN)
    controller.editor.paint(neurons, VISIBLE)
    press(view, "name").take(name)


def test_named_groups_are_sources_of_their_own_and_targets(view, controller):
    controller.selection.select([9])
    name_group(view, controller, "lower", [5, 6])
    name_group(view, controller, " upper ", [30, 31])
    assert not controller.sources.has_group
    press(view, "run")
    found = controller.sources.found["sources"]
    assert found.names[-2:] == ("lower", "upper")
    assert found.plan.sources[-2].ids == (5, 6)
    choose(view, "targets", "group upper")
    assert "om.NeuronGroup('upper', (30, 31))" in press(view, "python").text
    press(view, "run")
    assert controller.sources.found["sources"].neurons.tolist() == [30, 31]
    # The same name again is the same group with other neurons.
    name_group(view, controller, "upper", [32])
    assert [one.ids for one in controller.state.groups] == [(5, 6), (32,)]
    press(view, "forget upper")
    assert controller.sources.targets == "selected"
    assert [one.name for one in controller.state.groups] == ["lower"]


def test_a_group_without_neurons_or_with_the_name_of_a_source_is_refused(view, controller):
    controller.editor.paint(np.arange(40), HIDDEN)
    with pytest.raises(ValueError, match="no visible neurons"):
        press(view, "name")
    controller.editor.paint([5], VISIBLE)
    for name in ("same area", "LM", "running", "visible neurons", "  "):
        with pytest.raises(ValueError, match="another name"):
            press(view, "name").take(name)
    assert not controller.state.groups


def test_the_field_is_coloured_by_the_largest_source_and_by_informants(view, controller):
    run(view, controller, [0])
    press(view, "colour")
    scale = controller.colouring.scale
    assert controller.state.colour_by == "source"
    assert scale.categories == ("behaviour", "own past", "same area", "other areas")
    n_known = int(np.isfinite(scale.values).sum())
    unpredictable = "" if n_known else ", 1 not predictable"
    assert controller.colouring.unknown_text == f"empty: 39 not asked{unpredictable}"
    run(view, controller, question="informants")
    press(view, "colour")
    scale = controller.colouring.scale
    assert np.isnan(scale.values[0])
    assert np.isfinite(scale.values[1:]).all()
    assert scale.quantity.label == "Informants: share lost"
    assert controller.colouring.unknown_text == "empty: 1 target"
    curves = record(view)["content"]
    assert [line.label for line in curves.lines] == ["informants", "random neurons"]
    assert curves.baseline[1] == "all neurons"
    choose(view, "view", "values")
    values = record(view)["content"].rows
    assert [row[0] for row in values] == ["1", "2", "4", "8", "16", "all 39"]
    second = controller.sources.found["informants"].curve()[1]
    assert values[1][1].startswith(f"{number_text(second.value)} [{number_text(second.low)}, ")
    choose(view, "view", "table")
    first = record(view)["content"].rows[0]
    assert first[0] == "1"
    # Neurons add little each: two digits, not 0.000.
    best = controller.sources.found["informants"].order[0]
    adds = controller.sources.found["informants"].adds[best]
    assert float(first[3]) == pytest.approx(adds, rel=0.05)


def test_a_neuron_of_which_nothing_is_predictable_has_no_colour(view, controller):
    run(view, controller, targets="all")
    press(view, "colour")
    total = controller.sources.found["sources"].total()
    is_open = total.low <= 0
    assert (is_open & (total.value > 0)).any()
    np.testing.assert_array_equal(np.isfinite(controller.colouring.scale.values), ~is_open)
    assert controller.colouring.unknown_text == f"empty: {is_open.sum()} not predictable"
    controller.selection.select(np.flatnonzero(is_open)[:2].tolist())
    run(view, controller, targets="selected")
    assert controller.colouring.message == UNPREDICTABLE


def test_the_matrix_of_areas_has_its_intervals(view, controller):
    run(view, controller, question="areas")
    matrix = record(view)["content"]
    assert isinstance(matrix, Matrix)
    assert matrix.rows == ("LM", "V1", "baseline")
    assert matrix.tips[2][1].startswith("behaviour alone → V1: ")
    assert "LM → V1: " in matrix.tips[0][1]
    assert "* the 95 % interval lies above 0" in record(view)["found"].text
    assert "as in about 0.1 of the 4 cells by chance" in record(view)["found"].text
    base = controller.sources.result.inputs_alone("beyond", "V1")
    assert matrix.texts[2][1] == number_text(base.value, 3)
    assert np.isnan(matrix.values[2]).all()
    unit = (
        "beyond behaviour: gain of the squared correlation r² (at most 1); "
        "baseline: r² of behaviour alone, to which the gains add"
    )
    assert record(view)["quantity"].text == unit
    assert f"What rows tell columns, {unit}\n" in press(view, "png").description
    choose(view, "kind", "alone")
    unit = "alone: share of the targets' variance (1: all); baseline: share of behaviour alone"
    assert record(view)["quantity"].text == unit
    assert f"What rows tell columns, {unit}\n" in press(view, "png").description
    alone = record(view)["content"]
    assert f"{unit}. Colours from 0.000" in alone.label
    _, low, high = controller.sources.result.matrix("alone")
    np.testing.assert_array_equal(np.isfinite(alone.values[:2]), (low > 0) | (high < 0))
    choose(view, "sheet", "table")
    assert record(view)["content"].titles == ("from", "to", "value [95 %]")
    assert "without colour" not in record(view)["found"].text
    rows = [row[2] for row in record(view)["content"].rows]
    assert [row.endswith(" *") for row in rows] == [
        text.endswith(" *") for texts in alone.texts for text in texts
    ]
    assert any(row.endswith(" *") for row in rows)
    choose(view, "kind", "beyond")
    assert record(view)["content"].rows[-1] == (
        "behaviour alone", "V1", interval_text(base.value, base.low, base.high),
    )  # fmt: skip
    choose(view, "lagged", True)
    assert "lagged=True" in press(view, "python").text


def test_only_cells_whose_interval_contains_0_have_no_colour():
    values = np.array([[-0.05, 0.02], [0.3, np.nan]])
    ends = values, values - 0.03, values + 0.03
    found = SimpleNamespace(
        plan=SimpleNamespace(labels=("LM", "V1"), inputs=()), matrix=lambda kind: ends
    )
    matrix = area_cells(found, "alone")
    np.testing.assert_array_equal(matrix.values, [[-0.05, np.nan], [0.3, np.nan]])
    assert (matrix.low, matrix.high) == (-0.05, 0.3)
    assert matrix.texts[0] == ("−0.050", "0.020")
    found.matrix = lambda kind: tuple(-0.1 - abs(end) for end in ends)
    assert area_cells(found, "alone").high == 0.0


def test_a_matrix_of_some_draws_says_of_how_many(view, controller):
    sources, said, costs = controller.sources, [], []
    sources.set(question="areas", windows=12)
    assert "25 input sets × 12 windows" in record(view)["cost"].text
    sources.measured.connect(lambda: said.append(record(view)["found"].text))
    sources.changed.connect(lambda: costs.append(record(view)["cost"].text))
    press(view, "run")
    assert any(text.startswith("So far, 1 of 5 draws: ") for text in said)
    assert any("\npreliminary: * the 95 % interval" in text for text in said)
    assert any(
        text.startswith("So far, ") and " windows of the first of 5 draws: " in text
        for text in said
    )
    assert record(view)["found"].text.startswith("5 draws: ")
    assert not any("%" in text for text in costs if "target" in text)


def test_a_matrix_of_other_settings_says_so(view, controller):
    run(view, controller, question="areas")
    assert "of each area, past and present, " in record(view)["found"].text
    assert not record(view)["other"].text
    choose(view, "lagged", True)
    assert record(view)["other"].text == OTHER_SETTINGS
    press(view, "run")
    assert "of each area, past only, " in record(view)["found"].text
    assert not record(view)["other"].text
    choose(view, "windows", 9)
    assert record(view)["other"].text == OTHER_SETTINGS


@pytest.mark.parametrize("question", ["sources", "informants"])
def test_neurons_of_other_targets_say_so_but_not_others_that_are_selected(
    view, controller, question
):
    controller.selection.select([0])
    run(view, controller, question=question)
    assert not record(view)["other"].text
    controller.selection.select([1])
    assert not record(view)["other"].text
    for targets in ("area V1", "all"):  # informants of all neurons are refused
        choose(view, "targets", targets)
        assert record(view)["other"].text == OTHER_SETTINGS


def test_a_stopped_question_goes_on_where_it_was(view, controller):
    sources = controller.sources
    choose(view, "targets", "area V1")
    n_parts = []

    def stop():
        n_parts.append(len(sources.found["sources"].neurons))
        if len(n_parts) == 4:
            sources.stop()

    sources.measured.connect(stop)
    press(view, "run")
    sources.measured.disconnect(stop)
    assert n_parts[-1] < 20
    # The time of the whole question is not that of its rest.
    assert record(view)["cost"].text == live_sources.KEPT
    press(view, "run")
    assert sources.found["sources"].is_complete


def test_a_kept_answer_says_so_before_its_run_and_needs_no_model(view, controller, monkeypatch):
    run(view, controller, question="areas")
    found = controller.sources.found["areas"]
    # As after a restart: another recording has no results, and the quick model is not loaded.
    controller.loader.open_now(replace(controller.state.session))
    choose(view, "question", "areas")
    assert record(view)["cost"].text == live_sources.KEPT

    def load(*arguments):
        raise AssertionError("loaded")

    monkeypatch.setattr(live_sources, "background_predictor", load)
    press(view, "run")
    assert record(view)["error"].text == ""
    again = controller.sources.found["areas"]
    assert again is not found
    np.testing.assert_array_equal(again.matrix("beyond"), found.matrix("beyond"))
    assert record(view)["cost"].text.startswith("Measured: ")


def test_what_an_older_version_kept_is_replaced(view, controller, tmp_path):
    run(view, controller, [3])
    (kept,) = tmp_path.glob("*.sources.jsonl")
    kept.write_text(kept.read_text().replace('"n_planned": 1', '"n_planned": 2'))
    press(view, "run")
    assert om.SourceScores.open(kept).is_complete


def informants_while_measured(view, controller):
    """Records of the panel, in which informants are looked for."""
    seen = []

    def look():
        seen.append(record(view))

    controller.sources.measured.connect(look)
    run(view, controller, [3], question="informants")
    controller.sources.measured.disconnect(look)
    return seen


def test_informants_are_shown_before_their_values(view, controller):
    shown = [found["content"] for found in informants_while_measured(view, controller)]
    assert shown[0].across == "rank of the informant"
    assert len(shown[0].lines[0].y) == 16
    assert shown[-1].across == "visible neurons"


def test_informants_without_values_have_only_their_figure(view, controller):
    view.set(page="values")
    seen = informants_while_measured(view, controller)
    for found, has_values in ((seen[0], False), (seen[-1], True)):
        refused = {one.name: bool(one.refusal) for one in found["export"].actions}
        assert isinstance(found["content"], Curves) != has_values
        assert (refused["png"], refused["svg"]) == (has_values, has_values)
        assert refused["values"] != has_values


def test_the_points_of_the_curve_of_informants_are_a_file(view, controller, tmp_path):
    run(view, controller, [3], question="informants")
    (path,) = press(view, "values").write(tmp_path / "curve.csv")
    lines = path.read_text().splitlines()
    assert lines[0].startswith("choice,n_visible,value,low,high,n_targets")
    assert len(lines) == 1 + 5 + 5 + 1


def test_without_its_usual_model_a_run_says_how_to_install_it(view, controller, monkeypatch):
    names = registry.builders()
    others = {name: build for name, build in names.items() if name != FALLBACK}
    monkeypatch.setattr(registry, "builders", lambda: others)
    press(view, "run")
    text = record(view)["error"].text
    assert text.startswith(f"✕ {FALLBACK} is missing: its family cannot be imported")
    assert "pip install --force-reinstall omnimouse-app" in text


def test_a_model_that_nobody_timed_says_so(view, controller, monkeypatch):
    controller.model.choose(EchoPredictor())
    choose(view, "model", "chosen")
    monkeypatch.setattr(controller.sources._client, "_fastest", (None, np.inf))
    assert record(view)["cost"].text.endswith("; no time known yet")


def test_a_time_says_that_it_is_longer_on_a_busy_processor(view, controller, monkeypatch):
    controller.model.choose(EchoPredictor())
    choose(view, "model", "chosen")
    monkeypatch.setattr(type(controller.sources._client), "population_s", 0.5)
    for is_busy in (False, True):
        monkeypatch.setattr(background_task, "is_processor_busy", lambda is_busy=is_busy: is_busy)
        cost = record(view)["cost"].text
        assert ", a first guess" in cost
        assert (" (busy: longer): " in cost) == is_busy


def test_the_form_of_a_sweep_says_how_many_neurons_an_area_has(controller, session):
    controller.loader.open_now(session)
    n = int((session.units.area == "V1").sum())
    for field in ContextView.of(controller).form.fields()[:2]:
        labels = {value: label for value, label, _ in field.options}
        assert labels["area V1"] == f"V1 ({n})"


def test_a_look_tells_the_time_of_a_run(view, controller):
    choose(view, "targets", "area V1")
    size = "150 input sets × 12 windows"
    assert record(view)["cost"].text == f"{size}; no time known yet"
    view.blocks()[0].follow(True)
    assert ", targets='V1', max_windows=12)" in press(view, "python").text
    cost = record(view)["cost"].text
    assert cost.startswith("About ")
    assert cost.endswith(f": {size}")
    choose(view, "question", "informants")
    assert record(view)["cost"].text.startswith("About ")


def test_the_time_of_a_run_is_announced_while_its_model_is_loaded(view, controller):
    said = []
    controller.sources.changed.connect(lambda: said.append(record(view)["cost"].text))
    choose(view, "question", "areas")
    view.blocks()[0].follow(True)
    assert any(text.endswith("; no time known yet") for text in said)
    assert said[-1].startswith("About ")


def test_an_answer_of_older_weights_is_not_told_to_be_kept(view, controller, monkeypatch):
    """A kept answer of other weights with the same name is not offered."""
    controller.model.choose(EchoPredictor())
    monkeypatch.setattr(type(controller.sources), "_source", property(lambda self: "a folder"))
    controller.selection.select([3])
    controller.sources.set(is_quick=False)
    path = controller.sources._path(controller.state.session)
    controller.editor.paint(range(8), TARGET)
    loaded = controller.results.population.predictor_id
    for predictor, is_kept in ((loaded, True), (f"{loaded}@older", False)):
        header = {"omnimouse_sources": 1, "definition": {"predictor": predictor}}
        path.write_text(json.dumps(header) + "\n")
        assert (record(view)["cost"].text == live_sources.KEPT) == is_kept
    controller.results.population = None
    assert record(view)["cost"].text != live_sources.KEPT


def test_no_number_of_windows_stands_for_all(view, controller):
    choose(view, "windows", 0)
    box = record(view)["windows"]
    assert (box.value, box.none) == (0, "all windows")
    assert controller.sources.windows is None
    assert re.search(r"input sets × all \d+ windows", record(view)["cost"].text)
    assert "max_windows" not in press(view, "python").text
    choose(view, "windows", 8)
    choose(view, "windows", 7)  # the arrow down
    assert record(view)["windows"].value == 0


def test_a_value_that_rests_on_one_block_of_time_says_so(view, controller, monkeypatch):
    run(view, controller, [3, 30])
    assert "One block of time" not in record(view)["found"].text
    monkeypatch.setattr(Errors, "is_one_event", np.array([True, False]))
    found = controller.sources.found["sources"]
    assert f"\n{found.unsure.capitalize()}" in record(view)["found"].text
    assert found.unsure in str(found)


def test_the_least_number_of_windows_says_so(view, controller):
    choose(view, "windows", 3)
    box = record(view)["windows"]
    assert (box.value, box.unit) == (8, " windows (least)")
    choose(view, "windows", 9)
    assert record(view)["windows"].unit == " windows"
    # More than the recording has are not asked.
    choose(view, "windows", 10_000)
    box = record(view)["windows"]
    assert box.value == box.high == controller.sources.n_windows
    assert re.search(r"input sets × all \d+ windows", record(view)["cost"].text)


def test_a_question_that_is_answered_has_no_time_of_a_run(view, controller):
    run(view, controller, [3])
    assert record(view)["cost"].text == "Measured: 15 input sets × 12 windows"
    kept = controller.sources.kept
    controller.loader.open_now(controller.state.session)
    controller.selection.select([3])
    controller.sources.reopen(kept, is_chosen=False)
    assert record(view)["cost"].text == "Measured: 15 input sets × 12 windows"
    controller.sources.set(windows=24)
    assert not record(view)["cost"].text.startswith("Measured")


def test_a_model_that_is_to_be_fitted_says_what_to_do(view, controller):
    controller.selection.select([3])
    controller.model.choose("latent-zig")
    assert not record(view)["run"].refusal
    choose(view, "model", "chosen")
    assert record(view)["run"].refusal == record(view)["content"].text == NOT_FITTED


def test_another_recording_has_no_result(view, controller, session):
    run(view, controller, [3])
    assert controller.sources.found
    controller.loader.open_now(om.open_session(dict(np.load(session.path)) | {"id": "other"}))
    assert not controller.sources.found


def test_a_report_has_what_was_found(view, controller, tmp_path):
    run(view, controller, [3])
    run(view, controller, question="areas")
    controller.requests.wait(30.0)
    page = write_page(report_of_screen(controller), tmp_path / "report.html").read_text()
    found = page.partition("What drives a neuron")[2]
    assert "Information that the model finds, not cause." in found
    assert "own past" in found
    assert "beyond" in found


def test_a_result_of_the_chosen_model_leaves_with_it(view, controller):
    run(view, controller, [3], model="chosen", question="informants")
    run(view, controller, model="quick", question="sources")
    found = controller.sources.found
    assert {name: one.predictor for name, one in found.items()} == {
        "informants": "echo",
        "sources": "linear-gaussian",
    }
    controller.model.choose(EchoPredictor("another"))
    assert list(found) == ["sources"]


def test_a_model_that_cannot_answer_gives_its_reason_before_the_run(view, controller):
    controller.selection.select([3])
    choose(view, "model", "chosen")
    controller.model.choose("video-ridge")
    choose(view, "question", "informants")
    assert record(view)["run"].refusal == "video-ridge does not see responses."
    choose(view, "question", "sources")
    assert not record(view)["run"].refusal
    controller.model.choose_device("cpu")
    assert "('video-ridge', [session], device='cpu')" in press(view, "python").text


def test_a_model_that_does_not_know_the_recording_says_so_before_the_run(view, controller):
    results = controller.results
    results.needs = replace(results.needs, sessions=frozenset({"another"}), n_neurons={})
    assert not record(view)["run"].refusal  # linear-gaussian answers
    choose(view, "model", "chosen")
    assert record(view)["content"].text.startswith("The model does not know this recording")


def test_a_recording_of_one_neuron_has_no_informants(view, controller):
    rng = np.random.default_rng(0)
    running = {"running": rng.random(6000), "running_rate_hz": 30.0}
    alone = om.open_session({"responses": rng.random((6000, 1)), "rate_hz": 30.0, **running})
    controller.loader.open_now(alone)
    controller.selection.select([0])
    choose(view, "question", "informants")
    assert record(view)["content"].text == record(view)["run"].refusal == ALONE
    with pytest.raises(ValueError, match=ALONE):
        om.informants("linear-gaussian", alone, [0])


def test_a_recording_without_a_test_part_says_so(view, controller, session):
    arrays = dict(np.load(session.path))
    tiers = np.full(len(arrays["trial_tier"]), "train")
    controller.loader.open_now(om.open_session(arrays | {"id": "train", "trial_tier": tiers}))
    controller.selection.select([3])
    assert "has no window of tier 'test'" in record(view)["run"].refusal


def test_the_windows_are_those_of_the_model_that_answers(look_at):
    controller = look_at()  # on screen: trials of spike counts
    controller.sources.set(windows=10_000)
    n_windows = len(scored_starts(controller.state.session, "test"))
    assert n_windows != len(scored_starts(controller.state.session, spec=controller.state.spec))
    assert f" × all {n_windows:,} windows" in controller.sources.cost


def test_a_script_of_all_windows_names_no_maximum(view, controller):
    controller.selection.select([3])
    controller.sources.set(windows=10_000)
    assert "max_windows" not in press(view, "python").text
    n_windows = int(re.search(r"all (\d+) windows", controller.sources.cost)[1])
    controller.sources.set(windows=n_windows - 1)
    assert f"max_windows={n_windows - 1}" in press(view, "python").text


def test_what_cannot_be_loaded_is_tried_once(view, controller, monkeypatch):
    tried = []

    def load(*arguments):
        tried.append(arguments)
        raise ValueError("no train tier")

    monkeypatch.setattr(live_sources, "background_predictor", load)
    for _ in range(3):
        view.blocks()[0].follow(True)
    assert len(tried) == 1


def test_targets_are_those_of_the_recording(view, controller, session):
    choose(view, "targets", "area LM")
    with pytest.raises(ValueError, match="'area V1', not 'LM'"):
        controller.sources.set(targets="LM")
    assert controller.sources.targets == "area LM"
    with pytest.raises(ValueError, match="At least one window"):
        controller.sources.set(windows=0)
    no_areas = {name: value for name, value in np.load(session.path).items() if name != "area"}
    controller.loader.open_now(om.open_session(no_areas | {"id": "no areas"}))
    assert controller.sources.targets == "selected"


def test_the_expected_time_is_not_that_of_a_question_that_went_on(view, controller, monkeypatch):
    seconds = [0.0]
    monkeypatch.setattr(live_sources, "monotonic", lambda: seconds[0])

    def wait():
        seconds[0] += 10

    controller.sources.measured.connect(wait)
    run(view, controller, targets="area LM")
    choose(view, "targets", "area V1")  # as many groups
    expected = record(view)["cost"].text
    choose(view, "targets", "area LM")
    # Everything is read from the file: the second run takes nearly no time.
    press(view, "run")
    controller.sources.measured.disconnect(wait)
    choose(view, "targets", "area V1")
    assert record(view)["cost"].text == expected
    assert expected.startswith("About 2 min: ")


def test_a_picture_needs_a_figure(view, controller):
    run(view, controller, [3])
    picture = press(view, "png")
    assert picture.content == "content"
    assert picture.description.startswith(f"session: {controller.state.session.id}\n")
    choose(view, "page", "table")
    with pytest.raises(ValueError, match="Choose the figure first"):
        press(view, "png")
