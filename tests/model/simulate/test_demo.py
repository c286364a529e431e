"""The demo's sessions: where they are kept, and the command that writes mice."""

import json
import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import omnimouse_model as om
import omnimouse_model.simulate.demo as demo
from omnimouse_app.cli import main
from omnimouse_app.cli import simulate as command
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.progress import CallbackJob
from omnimouse_model.simulate import HeldOut, MouseSpec, has_truth, open_truth
from tests.small_sessions import rough_calibration

TINY = MouseSpec("tiny", "70004-1-1", 6, 7, 8, 1.0, HeldOut(1, 1, 1, 2))


@pytest.fixture(autouse=True)
def quick_simulation():
    with rough_calibration():
        yield


def exit_code(words: list[str]) -> object:
    with pytest.raises(SystemExit) as end:
        main(words)
    return end.value.code


@pytest.mark.parametrize(
    "ask",
    [
        om.recorded_tuning,
        om.check_alignment,
        partial(om.sources, "linear-gaussian"),
        partial(om.informants, "linear-gaussian", targets=[0]),
        partial(om.area_matrix, "linear-gaussian"),
        partial(om.predict_session, "mean", mask="test/video_behavior", path="m.zarr"),
        partial(om.fit, "sensorium-factorised"),
        partial(om.finetune, "demo", out="tuned"),
        partial(om.lab.run_experiment, "directions", "video-ridge"),
    ],
)
def test_public_functions_open_a_session_by_its_name(ask, monkeypatch):
    """An unknown name raises the error of `om.open_session`."""
    with pytest.raises(SessionFormatError, match="no_such_mouse"):
        ask(session="no_such_mouse.npz")
    opened = []
    monkeypatch.setitem(demo.SESSIONS, "demo", lambda: opened.append("demo") or "no_such_mouse")
    with pytest.raises(SessionFormatError, match="no_such_mouse"):
        ask(session="demo")
    assert opened == ["demo"]


_WRONG = """
import numpy as np

import omnimouse_app as om

mask = "test/video_behavior"
session = om.open_session({"responses": [[0.0] * 3] * 900, "rate_hz": 30.0})
for ask in (
    lambda: om.open_session(5),
    lambda: om.recorded_tuning(5),
    lambda: om.evaluate("mean", 5, mask),
    lambda: om.sources("linear-gaussian", 5),
    lambda: om.Explorer(5),
    lambda: om.Ensemble([5, 6]),
    lambda: om.Ensemble(5),
    lambda: om.evaluate(5, session, mask),
    lambda: om.sources(5, session),
    lambda: om.evaluate("mean", session, 5),
    lambda: om.Mask.from_strategy(5, session),
    lambda: om.evaluate("mean", session, mask, neurons="LM"),
    lambda: om.context_sweep("mean", session, neurons=16),
    lambda: om.context_sweep("mean", session, neurons="16"),
    lambda: om.context_sweep("mean", session, neurons=[1.7]),
    lambda: om.context_sweep("mean", session, neurons=[0], video=True),
    lambda: om.context_sweep("mean", session, neurons=[0], video=["no"]),
    lambda: om.context_sweep("mean", session, neurons=[0], seeds=np.int64(0)),
):
    try:
        ask()
    except ValueError as error:
        print(type(error).__name__, str(error).split(":")[0].split(";")[0])
"""


@pytest.mark.slow
def test_what_is_no_session_predictor_or_strategy_is_refused_in_words(capfd):
    """In a process without the checks of types that the tests have."""
    subprocess.run([sys.executable, "-c", _WRONG], check=True)
    place = "SessionFormatError an int is no place of a recording"
    predictor = "CheckpointError There is no predictor '5'"
    strategy = "MaskError There is no strategy '5'"
    found = capfd.readouterr().out.splitlines()
    chosen = "MaskError neurons"
    plan = "MaskError neurons is a list of values, such as [0, 16]"
    none = "ValueError A sweep needs at least one value of seeds."
    switch = "MaskError video is a list of values, such as [True, False]"
    wrong = [chosen, plan, plan, plan, switch, switch, none]
    assert found == [place] * 5 + [predictor] * 4 + [strategy] * 2 + wrong


@pytest.mark.slow
def test_the_demo_session_is_made_once_and_kept_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path))
    monkeypatch.setattr(demo, "DEMO_SHOWN", TINY)
    monkeypatch.setattr(demo, "UNSEEN", TINY)
    calls: list[float] = []
    job = CallbackJob(lambda done, total, _: calls.append(done / total))
    folder = demo.demo_session(job)
    assert folder.is_relative_to(tmp_path)
    assert has_truth(folder)
    assert calls[-1] == 1
    calls.clear()
    assert demo.demo_session(job) == demo.unseen_session() == folder
    assert calls == []
    # A script of it runs on other machines, too.
    assert demo.open_line(om.open_session(folder)) == "session = om.open_session('demo')"
    other = om.open_session(shutil.copytree(folder, tmp_path / "other"))
    assert demo.open_line(other) == f"session = om.open_session({str(other.path)!r})"


@pytest.mark.slow
def test_the_command_writes_the_mice_it_is_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(command.SPECS, "unseen", TINY)
    arguments = ["simulate", str(tmp_path), "--mouse", "unseen"]
    assert exit_code([*arguments, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["session"] == "70004-1-1"
    ceilings = open_truth(tmp_path / "tiny").ceilings
    assert row["ceiling_drive"] == pytest.approx(np.median(ceilings.drive))
    assert exit_code(arguments) == 0
    assert "tiny" in capsys.readouterr().out


@pytest.mark.slow
def test_an_animal_with_spikes_is_written_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path))
    session = demo.open_session("unseen-spikes")
    assert session.path == demo.unseen_spiking_session()
    assert demo.is_demo(session.path)
    assert demo.model_for(session.path) == ""
    assert demo.model_for(session.path.with_name("spikes.npz")) == "ndt-demo"
    words = ["simulate", str(session.path.parent), "--mouse", "unseen-spikes", "--json"]
    assert exit_code(words) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["session"] == "unseen-spikes"
    assert 0.35 < row["ceiling_bits"] < 0.5
