"""Experiments in the background: results, colours, export, and what stops them."""

import csv
import gc
import json
import shutil
from dataclasses import replace
from weakref import ref

import numpy as np
import pytest

from omnimouse_model.analysis.barcodes import learned_neurons
from omnimouse_model.analysis.stimulus_edits import Blank
from omnimouse_model.errors import ExportError
from omnimouse_model.families.classical.predictor import naive_predictor
from omnimouse_model.lab.experiments import run_experiment
from omnimouse_model.live import laboratory_jobs
from omnimouse_model.live.analysis_file import ExperimentEntry
from omnimouse_model.live.inference import background_task
from omnimouse_model.live.report import report_of_screen
from omnimouse_widgets.report.page import report_page
from omnimouse_widgets.views.context.view import live_lines
from omnimouse_widgets.views.laboratory import LaboratoryView, run_text
from omnimouse_widgets.views.record import ShowPanel, press, record
from tests.model.lab.energy_neurons import EnergyNeurons
from tests.predictors import open_controller
from tests.small_sessions import write_session
from tests.toy_predictors import FramePredictor


class AreaCodes(EnergyNeurons):
    """A model whose barcodes differ between areas."""

    needs = replace(EnergyNeurons.needs, methods=frozenset({"embeddings"}))

    def embeddings(self, session, cancelled):
        areas = session.units.area.astype(str)
        codes = np.eye(len(set(areas)))[np.unique(areas, return_inverse=True)[1]]
        noise = np.random.default_rng(0).standard_normal((len(areas), 3))
        return np.concatenate([codes, 0.1 * noise], axis=1).astype(np.float32)


def with_areas(session):
    """The session, with neurons of two areas in turns."""
    area = np.resize(["V1", "LM"], session.n_neurons)
    return replace(session, units=replace(session.units, area=area))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_session(tmp_path_factory.mktemp("lab") / "mouse", 9)


@pytest.fixture
def model():
    return EnergyNeurons()


@pytest.fixture
def controller(folder, model, tmp_path):
    with open_controller(folder, model) as made:
        made.editor.apply_preset("video_only")
        made.laboratory.folder = tmp_path / "kept"
        made.laboratory.set_repeats(1)
        yield made


@pytest.mark.slow
def test_directions_are_those_of_the_library_and_colour_the_field(controller, model):
    colouring, laboratory = controller.colouring, controller.laboratory
    controller.colouring.choose("lab")
    assert not colouring.scale.is_known
    assert "Laboratory" in colouring.message
    laboratory.start()
    assert laboratory.error is None
    scale = colouring.scale
    alone = run_experiment("directions", model, controller.state.session, repeats=1)
    np.testing.assert_array_equal(scale.values, alone.values)
    assert (scale.low, scale.high, scale.quantity.period) == (0.0, 360.0, 360.0)
    assert "model" in scale.quantity.label
    assert "lab" in {quantity.name for quantity in colouring.choices}


@pytest.fixture
def named(folder, model, tmp_path):
    """A model that is loaded by its name, whose responses are kept."""
    with open_controller(folder, "energy", load=lambda *_: model) as made:
        made.laboratory.folder = tmp_path / "kept"
        made.laboratory.set_repeats(1)
        yield made


def stop_after(laboratory, share):
    """Press Stop once a share of the videos is finished."""

    def press():
        if laboratory.is_busy and (laboratory.share or 0) >= share:
            laboratory.stop()

    laboratory.changed.connect(press)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(background_task, "REPORT_EVERY_S", 0.0)  # this model takes no time
        laboratory.start()
    laboratory.changed.disconnect(press)


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_a_finished_one_is_read_again(named, model):
    laboratory = named.laboratory
    assert laboratory.kept is None
    stop_after(laboratory, 0.3)
    assert laboratory.result is None
    done, of = laboratory.kept
    assert (0 < done < of, of) == (True, 16)
    text = run_text(laboratory)
    assert text.endswith(f"{done} of 16 videos are kept. Run goes on there.")
    laboratory.set_repeats(2)
    assert laboratory.kept is None
    laboratory.set_repeats(1)
    asked = model.asked
    laboratory.start()
    assert model.asked - asked <= of - done
    assert laboratory.kept is None
    assert run_text(laboratory) == "Measured: 16 predictions"
    first, asked = laboratory.result, model.asked
    laboratory.start()  # is read from the responses that are kept
    assert model.asked == asked
    np.testing.assert_array_equal(laboratory.result.responses, first.responses)
    laboratory.set_repeats(2)
    assert "32 predictions" in run_text(laboratory)
    assert "Measured" not in run_text(laboratory)
    laboratory.start()
    assert model.asked > asked


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "torn"])
def test_damaged_responses_are_computed_again(named, model, damage):
    named.laboratory.start()
    first, asked = named.laboratory.result, model.asked
    [kept] = named.laboratory.folder.iterdir()
    if damage == "missing":
        shutil.rmtree(kept / "done")
    else:
        chunk = kept / "responses" / "c" / "3" / "0"
        chunk.write_bytes(chunk.read_bytes()[:5])
    named.laboratory.start()
    assert named.laboratory.error is None
    assert model.asked > asked
    again = named.laboratory.result
    np.testing.assert_array_equal(again.responses, first.responses)


@pytest.mark.slow
def test_a_run_that_another_recording_stops_is_told_with_what_is_kept(named, tmp_path):
    laboratory, before = named.laboratory, named.state.session
    other = write_session(tmp_path / "other", 12)

    def open_other():
        if laboratory.is_busy and (laboratory.share or 0) >= 0.3:
            laboratory.changed.disconnect(open_other)
            named.loader.open_now(other)

    laboratory.changed.connect(open_other)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(background_task, "REPORT_EVERY_S", 0.0)
        laboratory.start()
    assert not laboratory.is_busy
    assert laboratory.dropped.startswith(f"Direction: gratings was stopped when {before.id}")
    assert laboratory.dropped.endswith("of 16 videos are kept for another run.")
    laboratory.start()
    assert laboratory.dropped == ""


def test_responses_of_a_model_object_are_not_kept(controller, model):
    stop_after(controller.laboratory, 0.3)
    assert controller.laboratory.kept == (0, 16)
    text = run_text(controller.laboratory)
    assert text.endswith("16 predictions. Nothing is kept of the stopped run.")
    controller.laboratory.start()
    asked = model.asked
    controller.laboratory.start()
    assert model.asked > asked


def test_what_a_model_without_responses_can_answer_is_offered_and_explained(controller):
    assert not controller.results.needs.sees_responses
    assert "all_response_only" not in dict(controller.editor.presets)
    evidence, _ = live_lines(controller.state, controller.results)
    assert evidence.startswith("This model reads no neurons")
    controller.editor.apply_preset("all_response_only")
    assert "all_response_only" in dict(controller.editor.presets)  # on screen


def test_results_are_of_the_chosen_model_and_come_back_with_it(folder, model, tmp_path):
    other = EnergyNeurons()
    other.predictor_id = "other"
    by_name = {"energy": model, "other": other}
    with open_controller(folder, "energy", load=lambda name, *_: by_name[name]) as made:
        laboratory = made.laboratory
        laboratory.folder = tmp_path / "kept"
        laboratory.set_repeats(1)
        laboratory.start()
        first, seen = laboratory.result, []
        laboratory.measured.connect(lambda: seen.append(dict(laboratory.results)))
        made.colouring.choose("lab")
        made.model.choose("other")
        assert laboratory.results == {}
        assert laboratory.neuron_columns() == {}
        assert not made.colouring.scale.is_known
        assert seen[-1] == {}
        made.model.choose("energy")
        assert laboratory.result is first
        assert laboratory.neuron_columns()


def test_a_model_object_is_held_while_its_results_are_known_by_its_address(folder):
    with open_controller(folder, EnergyNeurons()) as made:
        model = EnergyNeurons()
        made.model.choose(model)
        made.editor.apply_preset("video_only")
        made.laboratory.set_repeats(1)
        made.laboratory.start()
        measured = ref(model)
        del model
        made.model.choose(EnergyNeurons())
        assert made.laboratory.results == {}
        # Another request and another run, so that nobody else holds the first model.
        made.editor.apply_preset("video_behavior")
        made.laboratory.start()
        gc.collect()
        assert measured() is not None


def test_a_recording_without_video_offers_no_experiment(session):
    with open_controller(replace(session, stimulus=None), EnergyNeurons()) as made:
        assert "has no video" in made.laboratory.problem


def test_a_first_prediction_that_may_have_fitted_the_model_tells_no_time(session):
    class Fitted(EnergyNeurons):
        needs = replace(EnergyNeurons.needs, fits=1)

    with open_controller(session, Fitted()) as made:
        assert made.results.population is not None
        assert made.laboratory.seconds is None
        made.editor.apply_preset("video_only")
        assert made.laboratory.seconds > 0


def test_the_cost_is_told_before(controller):
    laboratory = controller.laboratory
    once, seconds = laboratory.n_windows, laboratory.seconds
    laboratory.set_repeats(3)
    assert (once, laboratory.n_windows) == (16, 48)
    assert laboratory.seconds == pytest.approx(3 * seconds)
    laboratory.choose("contrast")
    assert laboratory.repeats == 2
    with pytest.raises(ValueError, match="1 to 100"):
        laboratory.set_repeats(0)


def test_what_cannot_run_says_why(controller):
    laboratory = controller.laboratory
    laboratory.choose("exciting")
    laboratory.start()
    assert "gradient" in str(laboratory.error)
    with pytest.raises(ExportError, match="Run it first"):
        laboratory.write(controller.laboratory.folder)
    laboratory.choose("contrast")
    with pytest.raises(ExportError, match="Run it first"):
        laboratory.write(controller.laboratory.folder)
    laboratory.choose("barcodes")
    assert "No functional fingerprints" in laboratory.problem
    laboratory.choose("contrast")
    controller.model.choose(naive_predictor("mean"))
    laboratory.start()
    assert "sees no video" in str(laboratory.error)
    with pytest.raises(ValueError, match="contrast"):
        laboratory.choose("colour")


@pytest.mark.slow
def test_results_are_written_as_tables_and_belong_to_the_recording(controller, tmp_path):
    controller.laboratory.start()
    path = tmp_path / "directions.csv"
    assert controller.laboratory.write(path) == [path]
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = controller.state.session.units.names
    assert [int(row["unit_id"]) for row in rows] == names.tolist()
    values = [float(row["preferred_deg"]) for row in rows]
    np.testing.assert_allclose(values, controller.laboratory.result.values, rtol=1e-6)
    assert {row["predictor"] for row in rows} == {"energy"}
    path = tmp_path / "neurons.csv"
    controller.exports.export(path)
    assert controller.exports.error is None
    lines = path.read_text().splitlines()
    assert any("directions_osi: Direction: gratings in energy" in one for one in lines)
    rows = list(csv.DictReader(one for one in lines if not one.startswith("#")))
    values = [float(row["directions_preferred_deg"]) for row in rows]
    np.testing.assert_allclose(values, controller.laboratory.result.values, rtol=1e-6)
    controller.loader.open_now(write_session(tmp_path / "other", 12))
    assert controller.laboratory.result is None
    assert not controller.colouring.scale_of("lab").is_known


@pytest.mark.slow
def test_the_script_prints_what_was_found(controller, folder, capsys):
    with pytest.raises(ExportError, match="by name"):
        controller.laboratory.as_python()
    with open_controller(folder, "video-ridge") as named:
        named.laboratory.set_repeats(2)
        script = named.laboratory.as_python()
        assert "repeats=2" in script
        named.laboratory.start()
        exec(compile(script, "script", "exec"), {})
        assert capsys.readouterr().out == f"{named.laboratory.result.summary}\n"
    loads = {"frames": FramePredictor(), "areas": AreaCodes()}
    names = {"frames": ("exciting", "inhibiting", "exciting_video"), "areas": ("barcodes",)}
    for source, model in loads.items():
        with open_controller(folder, source, load=lambda *_, model=model: model) as named:
            named.state.session = with_areas(named.state.session)
            named.selection.select([3, 5])
            for name in names[source]:
                named.laboratory.choose(name)
                compile(named.laboratory.as_python(), "script", "exec")


@pytest.fixture
def searching(folder, monkeypatch):
    """Of a model that offers its gradient; searches are short."""
    monkeypatch.setattr(laboratory_jobs, "STEPS", 2)
    with open_controller(folder, FramePredictor()) as made:
        made.selection.select([3, 5])
        yield made


@pytest.mark.slow
def test_a_found_input_names_its_model_without_the_hash_of_its_weights(folder, monkeypatch):
    monkeypatch.setattr(laboratory_jobs, "STEPS", 2)
    with open_controller(folder, "models/twin-demo", load=lambda *_: FramePredictor()) as named:
        named.selection.select([3])
        named.laboratory.choose("exciting")
        named.laboratory.start()
        assert named.laboratory.picture().label == "most exciting image of 1 neuron, twin-demo"


@pytest.mark.slow
@pytest.mark.parametrize("name", list(laboratory_jobs.SEARCHES))
def test_a_found_input_becomes_a_what_if_edit(searching, name, tmp_path):
    laboratory, search = searching.laboratory, laboratory_jobs.SEARCHES[name]
    view = LaboratoryView.of(searching)
    laboratory.choose(name)
    with pytest.raises(ValueError, match="Run it first"):
        press(view, "what_if")
    laboratory.start()
    assert laboratory.error is None
    found = laboratory.exciting
    assert "colour" not in record(view)
    shown = record(view)["content"].pixels
    np.testing.assert_array_equal(shown[..., 0], found.videos[0, 0])
    assert run_text(laboratory).startswith("Measured: ")
    is_still = (found.videos[0] == found.videos[0, :1]).all()
    assert bool(is_still) != search.is_video
    sign = -1 if search.is_inhibiting else 1
    assert sign * (found.best_response - found.courses[0, 0]) >= 0
    searching.stimulus_edits.put(Blank())
    assert press(view, "what_if") == ShowPanel("What if")
    assert record(view)["what_if"].label == "As recorded"
    (edit,) = searching.stimulus_edits.edits
    shown = searching.stimulus_edits.window.frames_u8
    np.testing.assert_array_equal(shown, found.videos[0])
    assert "2 neurons, toy-frames" in edit.label
    assert searching.results.what_if.description == edit.label
    searching.editor.undo()
    assert searching.stimulus_edits.edits == (Blank(),)
    for _ in range(2):  # the second press takes it back
        press(view, "what_if")
    assert searching.stimulus_edits.edits == ()
    saved = press(view, "files")
    suffixes = {path.suffix for path in saved.write(tmp_path / saved.name)}
    assert suffixes >= {".npz"} | (set() if search.is_video else {".png"})


@pytest.mark.slow
def test_a_label_is_decoded_and_tabulated(session, tmp_path):
    with open_controller(with_areas(session), AreaCodes()) as controller:
        laboratory = controller.laboratory
        laboratory.choose("barcodes")
        laboratory.set_label("area")
        assert (laboratory.n_windows, laboratory.seconds) == (0, None)
        # As soon as the screen knows the barcodes, their length gives the cost.
        area_session = controller.state.session
        controller.results.learned = learned_neurons(AreaCodes(), area_session)
        assert 0 < laboratory.seconds < 600
        assert run_text(laboratory).startswith("About ")
        with pytest.raises(ValueError, match="a few values; there are area"):
            laboratory.set_label("colour")
        laboratory.start()
        assert laboratory.error is None
        assert run_text(laboratory) == "Measured: 10 outer folds"
        decoding = laboratory.decoding
        assert decoding.found.balanced_accuracy == 1.0
        assert decoding.shuffled.balanced_accuracy < 0.9
        (path,) = laboratory.write(tmp_path / "barcodes.csv")
        rows = list(csv.DictReader(path.open(newline="")))
        assert [row["area"] for row in rows] == list(decoding.found.classes)
        assert float(rows[0][f"predicted_{rows[0]['area']}"]) == 1.0
        assert laboratory.neuron_columns() == {}


@pytest.mark.slow
def test_results_are_part_of_the_report(searching):
    laboratory = searching.laboratory
    laboratory.set_repeats(1)
    for name in ("directions", "exciting"):
        laboratory.choose(name)
        laboratory.start()
        assert laboratory.error is None
    page = report_page(report_of_screen(searching))
    section = page[page.index("<h2>Laboratory</h2>") :]
    assert "property of the model" in section
    osi = laboratory.results["directions"].findings.columns["osi"][3]
    assert f"{osi:.2f}" in section
    assert f"response {laboratory.exciting.best_response:.2f} s.d." in section
    assert section.count("<rect") > 36


@pytest.mark.slow
@pytest.mark.parametrize("is_kept", [True, False])
def test_a_saved_analysis_has_its_experiments(named, folder, model, tmp_path, is_kept):
    named.laboratory.start()
    first, path = named.laboratory.result, tmp_path / "a.omnimouse.json"
    assert named.project.save(path)
    if not is_kept:
        shutil.rmtree(named.laboratory.folder)
    asked = model.asked
    with open_controller(folder, "energy", load=lambda *_: model) as again:
        again.laboratory.folder = named.laboratory.folder
        again.project.open(path)
        laboratory = again.laboratory
        assert (laboratory.chosen, laboratory.repeats) == ("directions", 1)
        if is_kept:
            assert laboratory.error is None
            np.testing.assert_array_equal(laboratory.result.values, first.values)
        else:
            assert laboratory.result is None
            assert "Direction: gratings was not kept" in str(laboratory.error)
            assert not named.laboratory.folder.exists()
        # Saving again does not forget them.
        (done,) = again.project.current.experiments
        assert done == ExperimentEntry("directions", 1, "energy")
        # Besides the prediction on screen, nothing was predicted.
        assert model.asked - asked <= 2


@pytest.mark.slow
def test_experiments_of_another_model_are_told(named, tmp_path):
    path = tmp_path / "a.omnimouse.json"
    named.laboratory.start()
    assert named.project.save(path)
    content = json.loads(path.read_text())
    content["experiments"][0]["predictor"] = "another (12345678)"
    path.write_text(json.dumps(content))
    named.project.open(path)
    assert named.laboratory.result is None
    assert "measured with another (12345678)" in str(named.laboratory.error)
