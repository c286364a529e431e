"""`omnimouse train`: trains, says how it goes, stops, goes on, under torchrun too."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from omnimouse_app.cli import main
from omnimouse_app.cli.progress import TrainingProgress
from omnimouse_model.train.config import config_path
from omnimouse_model.train.metrics_log import FILE, log_rows
from tests.small_sessions import write_session


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


def run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(
    config, recordings, tmp_path, monkeypatch, capsys
):
    plain = TrainingProgress.__call__

    def interrupted(self: TrainingProgress, facts: dict[str, float]) -> None:
        plain(self, facts)
        if facts["step"] == 1:
            signal.raise_signal(signal.SIGINT)

    out = tmp_path / "run"
    command = ["train", str(config), "--out", str(out), "--sessions", str(recordings)]
    command += ["--device", "cpu", "--accumulate", "2"]
    with monkeypatch.context() as patch:
        patch.setattr(TrainingProgress, "__call__", interrupted)
        assert run(command) == 130
    assert f"saved in {out}" in capsys.readouterr().err
    assert steps(out) == [1]
    assert run(command) == 0
    assert steps(out) == [1, 2, 3, 4]
    row = list(log_rows(out / FILE))[-1]
    assert row["windows"] == 2 * 2
    assert {"loss", "lr", "seconds", "windows_per_s", "tokens_per_s"} <= row.keys()
    assert str(out / "model.safetensors") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("omnimouse-5M",), "--sessions FOLDER"),
        (("smoke", "--sessions", "."), "no session"),
    ],
)
def test_a_run_without_sessions_is_refused(
    options, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert run(["train", *options, "--out", str(tmp_path / "run")]) != 0
    assert message in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.process
def test_torchrun_shares_the_sessions_and_trains_one_core(config, recordings, tmp_path):
    out = tmp_path / "run"
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["train", str(config), "--out", str(out), "--sessions", str(recordings)]
    command += ["--device", "cpu"]
    made = subprocess.run(
        [
            sys.executable,
            "-m",
            *launch,
            "-m",
            "omnimouse_app",
            *command,
            "--device=cpu",
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert made.returncode == 0, made.stderr
    assert made.stderr.count(str(out / "model.safetensors")) == 1
    assert steps(out) == [1, 2, 3, 4]
    assert all(row["windows"] == 2 * 2 for row in log_rows(out / FILE))
    facts = json.loads((out / "model.json").read_text())
    assert sorted(facts["sessions"]) == ["m1-1-1", "m2-1-1"]
