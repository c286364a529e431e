"""`omnimouse train`: trains, says how it goes, stops, goes on, under torchrun too."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from omnimouse_app.cli.progress import TrainingProgress
from omnimouse_model.train.config import config_path
from omnimouse_model.train.metrics_log import FILE, log_rows
from tests.cli.test_commands import run
from tests.small_sessions import write_session

plain_progress = TrainingProgress.__call__


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    root = tmp_path_factory.mktemp("recordings")
    for name in ("m1-1-1", "m2-1-1"):
        write_session(root / name, 12)
    return root


@pytest.fixture
def config(tmp_path):
    """The smoke config in two phases of two steps, without validation."""
    text = config_path("smoke").read_text("utf-8")
    for before, after in (("steps: 80", 2), ("steps: 20", 2), ("warmup: 20", 1)):
        text = text.replace(before, f"{before.partition(':')[0]}: {after}")
    path = tmp_path / "short.yaml"
    path.write_text(text.replace("batch: 4", "batch: 2"))
    return path


def steps(out: Path) -> list[float]:
    return [row["step"] for row in log_rows(out / FILE)]


def interrupted(self: TrainingProgress, facts: dict[str, float]) -> None:
    """Show the progress of a step; press Ctrl-C at the first one."""
    plain_progress(self, facts)
    if facts["step"] == 1:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
def test_ctrl_c_saves_the_run(config, recordings, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    command = ["train", str(config), "--out", str(out), "--sessions", str(recordings)]
    command += ["--device", "cpu", "--accumulate", "2"]
    with monkeypatch.context() as patch:
        patch.setattr(TrainingProgress, "__call__", interrupted)
        assert run(*command) == 130
    assert f"saved in {out}" in capsys.readouterr().err
    assert steps(out) == [1]
    assert run(*command) == 0
    assert steps(out) == [1, 2, 3, 4]
    row = list(log_rows(out / FILE))[-1]
    assert row["windows"] == 2 * 2
    assert {"loss", "lr", "seconds", "windows_per_s", "tokens_per_s"} <= row.keys()
    assert str(out / "model.safetensors") in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.process
def test_torchrun_shares_the_sessions_and_trains_one_core(config, recordings, tmp_path):
    out = tmp_path / "run"
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["train", str(config), "--out", str(out), "--sessions", str(recordings)]
    command += ["--device", "cpu"]
    command = [sys.executable, *launch, "-m", "omnimouse_app", *command]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    made = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert made.returncode == 0, made.stderr
    assert made.stderr.count(str(out / "model.safetensors")) == 1
    assert steps(out) == [1, 2, 3, 4]
    assert all(row["windows"] == 2 * 2 for row in log_rows(out / FILE))
    facts = json.loads((out / "model.json").read_text())
    assert sorted(facts["sessions"]) == ["m1-1-1", "m2-1-1"]
