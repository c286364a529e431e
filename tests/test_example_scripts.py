"""The scripts of `examples/`, with settings that are quick."""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data import open as opening
from omnimouse_model.errors import SessionFormatError
from tests import SUITE2P

SCRIPTS = Path(__file__).parent.parent / "examples"


def run(script: str, **settings: object) -> dict[str, object]:
    """Run a script with other values of its settings; return its global names."""
    tree = ast.parse((SCRIPTS / f"{script}.py").read_text("utf-8"))
    found = set()
    for node in list(tree.body):
        if isinstance(node, ast.Assign):
            targets = node.targets[0]
            names = targets.elts if isinstance(targets, ast.Tuple) else [targets]
            if {name.id for name in names} <= settings.keys():
                found |= {name.id for name in names}
                tree.body.remove(node)
    assert found == settings.keys(), f"{script} has no {sorted(settings.keys() - found)}"
    values = {"__name__": script, **settings}
    exec(compile(tree, script, "exec"), values)
    return values


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Small mice in place of the generated ones, and a small model of the demo."""
    from omnimouse_model.families import omnimouse
    from omnimouse_model.simulate import demo
    from tests.model.finetune_process import few_windows
    from tests.model.small_net import save_checkpoint, small_net
    from tests.small_sessions import rough_calibration

    root = tmp_path_factory.mktemp("examples")
    held_out = replace(demo.UNSEEN.held_out, validation=1, final_test_1=1, oracle_repeats=1)
    mouse = replace(demo.UNSEEN, n_neurons=40, minutes=1.5, held_out=held_out)
    with pytest.MonkeyPatch.context() as patch, few_windows(), rough_calibration():
        patch.setenv("OMNIMOUSE_CACHE", str(root))
        patch.setattr(omnimouse, "DEMO", root / "demo.safetensors")
        patch.setattr(demo, "UNSEEN", mouse)
        patch.setattr(demo, "DEMO_SHOWN", replace(mouse, name="shown", data_key="9-1-1"))
        save_checkpoint(root / "demo.safetensors", small_net({"9-1-1": 40}))
        yield


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_a_suite2p_folder_is_opened_and_predicted(capsys):
    found = run("open_suite2p", FOLDER=SUITE2P)
    assert found["window"].responses.shape == (60, found["session"].n_neurons)
    assert "half by half: r = " in capsys.readouterr().out


def test_a_reader_of_authors_opens_a_folder(tmp_path, monkeypatch):
    import importlib.util

    spec = importlib.util.spec_from_file_location("a_reader", SCRIPTS / "a_reader.py")
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    monkeypatch.setitem(opening.readers(), "my-format", reader)
    folder = tmp_path / "m1"
    folder.mkdir()
    traces = np.random.default_rng(0).random((900, 5))
    np.save(folder / "traces.npy", traces)
    (folder / "about.json").write_text('{"id": "m1-2", "rate_hz": 15.0}')
    session = om.open_session(folder)
    assert (session.id, session.format, session.n_neurons) == ("m1-2", "my-format", 5)
    np.testing.assert_allclose(session.responses.read(3, 5), traces[3:5], rtol=1e-6)
    (folder / "about.json").write_text("{}")
    with pytest.raises(SessionFormatError, match="states no rate_hz"):
        om.open_session(folder)


@pytest.mark.slow
class TestOnTheDemo:
    pytestmark = pytest.mark.usefixtures("demo")

    def test_a_painted_mask_is_predicted_and_saved(self, capsys):
        found = run("paint_and_predict", VISIBLE="V1", TARGETS="RL", MAX_WINDOWS=3)
        assert found["predicted"].neurons.tolist() == found["asked"].tolist()
        assert np.isfinite(found["predicted"].responses[30:]).all()
        assert "RL from V1: r = " in capsys.readouterr().out
        assert om.Mask.load("mask.json") == found["mask"]

    def test_a_context_curve_has_a_point_for_each_number(self):
        quick = {"MODEL": "context-ridge", "DRAWS": 2, "MAX_WINDOWS": 3}
        found = run("context_curve", FROM="V1", TO="RL", NEURONS=[0, 4], **quick)
        assert found["curve"].values == (0, 4)
        assert found["sweep"].is_complete
        # Without visible neurons, the two draws are one.
        assert len(Path("context_curve.csv").read_text().splitlines()) == 1 + 1 + 2

    def test_shares_of_sources_add_up_to_the_whole(self):
        found = run("sources", MODEL="linear-gaussian", TARGETS="RL", MAX_WINDOWS=3)["found"]
        assert sum(found.mean_of("share", name).value for name in found.names) == pytest.approx(
            found.mean_total().value
        )
        assert Path("sources.csv").is_file()

    def test_two_models_are_compared_by_a_paired_difference(self):
        found = run("compare_models", MODELS=["demo", "video-ridge"], MAX_WINDOWS=3)
        difference = found["first"].value - found["second"].value
        assert found["gain"].value == pytest.approx(difference)
        assert len(Path("neurons.csv").read_text().splitlines()) == 1 + 2 * 40

    def test_running_is_decoded(self, capsys):
        run("decode_running", MODELS=["demo", "context-ridge"], N_NEURONS=10, MAX_WINDOWS=3)
        assert capsys.readouterr().out.count("running by") == 2

    def test_a_model_learns_an_own_mouse(self):
        found = run("own_mouse", STEPS=1, MAX_WINDOWS=3)
        assert found["mine"].needs.n_neurons[found["session"].id] == 40
        assert om.load_predictor("my_mouse").predictor_id == found["mine"].predictor_id

    def test_gratings_are_shown_to_a_model(self, monkeypatch):
        ridge = om.load_predictor("video-ridge", [om.open_session("demo")])
        monkeypatch.setattr("omnimouse_app.load_predictor", lambda name: ridge)
        found = run("twin_tuning", REPEATS=1)
        assert found["found"].findings.curves.shape == (40, 16)
        assert len(Path("tuning.csv").read_text().splitlines()) == 41

    def test_all_recordings_of_a_folder_are_scored(self, capsys):
        folder = om.open_session("unseen").path.parent
        found = run("batch_over_folder", FOLDER=folder, MODEL="last", MAX_WINDOWS=2)
        ids = {entry.id for entry in found["catalogue"]}
        assert {score.session for score in found["results"]["test"].scores} == ids


@pytest.mark.slow
def test_spikes_are_predicted_and_labels_decoded(tmp_path, capsys):
    from omnimouse_model.families.ndt.network import NdtConfig
    from omnimouse_model.families.ndt.training import NdtTrainConfig, NdtTraining, trial_session
    from omnimouse_model.simulate.spiking_laboratory import spiking_arrays
    from omnimouse_model.training.loop import train

    arrays = spiking_arrays()
    small = NdtConfig(d_token=16, d_model=32, n_layers=2, n_heads=2, d_inner=64)
    config = NdtTrainConfig(seed=1, model=small, steps=2, validate_every=2)
    train(NdtTraining, config, [trial_session(om.open_session(arrays), config.spec)], tmp_path)
    run("spikes", RECORDING=arrays, MODEL=tmp_path / "model.safetensors", MAX_TRIALS=3)
    said = capsys.readouterr().out
    assert said.count("bits per spike") >= 3
    assert "of the trials, chance" in said


def test_every_script_is_in_the_documentation_and_short(root):
    page = (root / "docs" / "examples.md").read_text("utf-8")
    for path in sorted(SCRIPTS.glob("*.py")):
        assert f'--8<-- "examples/{path.name}"' in page
        assert 10 <= len(path.read_text("utf-8").splitlines()) <= 45
