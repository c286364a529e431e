"""Outputs that one process writes at a time."""

import os
import subprocess
import sys
from contextvars import Context

import pytest

import omnimouse_model as om
from omnimouse_model.analysis.predictions.run import predict_session
from omnimouse_model.data.conversion.write import convert
from omnimouse_model.storage.archives import unpack
from omnimouse_model.storage.locks import OutputBusyError, open_without_links, sole_writer
from omnimouse_model.train.scaling.plan import plan_path, read_plan
from omnimouse_model.train.scaling.study import models_folder, run_study
from tests.model.finetune_process import NEW
from tests.predictors import EchoPredictor

HOLD = """
import sys
from pathlib import Path
from omnimouse_model.storage.locks import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("mode", ["rb", "r+b", "a+b"])
def test_a_pipe_in_place_of_a_file_is_named(mode, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"pipe is no file: choose another path"):
        open_without_links(tmp_path / "pipe", mode)


@pytest.mark.process
def test_a_second_process_is_refused_until_the_first_is_killed(session, tmp_path):
    store = tmp_path / "mouse.zarr"
    command = [sys.executable, "-c", HOLD, str(store)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(OutputBusyError, match=r"mouse\.zarr"):
            convert(session, store)
        assert not list(tmp_path.iterdir())
        with sole_writer(tmp_path / "other.zarr"):
            holder.kill()
    assert convert(session, store).is_dir()


@pytest.mark.slow
def test_work_on_one_output_is_done_by_one_process(session, mouse_folder, tmp_path):
    out, recording = tmp_path / "out.zarr", om.open_session(mouse_folder / NEW)
    results = tmp_path / "a.scaling.jsonl"
    plan, model = read_plan(plan_path("simulated")), mouse_folder / "base.safetensors"
    mask = om.Mask.nothing(session).ask([0])
    calls = [
        (out, predict_session, EchoPredictor(), session, mask, out),
        (out, om.finetune, model, recording, out),
        (out, unpack, tmp_path / "a.tar", out),
        (models_folder(results), run_study, plan, results),
    ]
    for held, function, *arguments in calls:
        with sole_writer(held):
            with sole_writer(held):  # the same thread may
                pass
            # Another context stands for another process.
            with pytest.raises(OutputBusyError, match=held.name):
                Context().run(function, *arguments)
    assert not list(tmp_path.iterdir())
