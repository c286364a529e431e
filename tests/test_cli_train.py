"""`omnimouse train`: trains, says how it goes, stops, goes on, under torchrun too."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from omnimouse_app.cli import main
from omnimouse_app.cli.output import Progress
from omnimouse_app.cli.train_report import TrainReport, duration
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
    """The smoke config in two phases of four steps, without validation."""
    text = config_path("smoke").read_text("utf-8")
    text = text.replace("steps: 80", "steps: 4").replace("steps: 20", "steps: 4")
    path = tmp_path / "short.yaml"
    path.write_text(text.replace("warmup: 20", "warmup: 2"))
    return path


def steps(out: Path) -> list[float]:
    return [row["step"] for row in log_rows(out / FILE)]


def test_ctrl_c_saves_and_says_how_to_go_on(
    config, recordings, tmp_path, monkeypatch, capsys
):
    plain = TrainReport.__call__

    def interrupted(self: TrainReport, facts: dict[str, float]) -> None:
        plain(self, facts)
        if facts["step"] == 3:
            signal.raise_signal(signal.SIGINT)

    out = tmp_path / "run"
    command = ["train", str(config), "--out", str(out), "--sessions", str(recordings)]
    command += ["--device", "cpu", "--accumulate", "2"]
    monkeypatch.setattr(TrainReport, "__call__", interrupted)
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code == 130
    said = capsys.readouterr().err
    assert f"stopped; saved in {out}: the same command goes on from there." in said
    assert steps(out) == [1, 2, 3]
    monkeypatch.setattr(TrainReport, "__call__", plain)
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code == 0
    assert steps(out) == list(range(1, 9))
    row = list(log_rows(out / FILE))[-1]
    assert row["windows"] == 2 * 4
    assert {"loss", "lr", "seconds", "windows_per_s", "tokens_per_s"} <= row.keys()
    assert "weights are in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("omnimouse-5M",), "The config names no sessions: give --sessions FOLDER"),
        (("smoke", "--sessions", "."), "is no session, nor a folder of sessions"),
    ],
)
def test_a_run_without_sessions_is_refused(
    options, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["train", *options, "--out", str(tmp_path / "run")])
    assert end.value.code != 0
    assert message in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_torchrun_shares_the_sessions_and_trains_one_core(config, recordings, tmp_path):
    out = tmp_path / "run"
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    given = ["train", str(config), "--out", str(out), "--sessions", str(recordings)]
    made = subprocess.run(
        [sys.executable, "-m", *launch, "-m", "omnimouse_app", *given, "--device=cpu"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert made.returncode == 0, made.stderr
    assert made.stderr.count("the weights are in") == 1
    assert steps(out) == list(range(1, 9))
    assert all(row["windows"] == 2 * 4 for row in log_rows(out / FILE))
    facts = json.loads((out / "model.json").read_text())
    assert sorted(facts["sessions"]) == ["m1-1-1", "m2-1-1"]


def test_the_report_tells_losses_throughput_and_time_left(capsys):
    clock = iter(range(0, 1000, 10))
    report = TrainReport(Progress(lambda: next(clock)), 100)
    common = {"windows_per_s": 16.0, "tokens_per_s": 12_345.6}
    report({"step": 1, "loss": 2.0, "seconds": 3.0} | common)
    report({"step": 2, "loss": 1.0, "seconds": 5.0, "validation": 0.25} | common)
    report.finish()
    first, second, validation = capsys.readouterr().err.splitlines()
    assert "step 1/100  loss 2" in first
    assert "left" not in first
    assert "loss 1.5" in second
    assert "16 windows/s  12,346 tokens/s  3 min 16 s left" in second
    assert validation.startswith("step 2: validation 0.250")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (4.4, "4 s"),
        (61, "1 min 1 s"),
        (3 * 3600 + 120, "3 h 2 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_a_time_is_told_in_its_two_largest_units(seconds, told):
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("options", "expected"),
    [((), "fp32"), (("--precision", "fp32"), "fp32"), (("--precision=bf16",), "bf16")],
)
def test_a_bench_of_training_says_what_it_computed_in(
    options, expected, recordings, capsys
):
    session = str(recordings / "m1-1-1")
    command = ["bench", "train", "--config", "smoke", "--session", session]
    command += ["--steps", "1", "--threads", "1", "--device", "cpu", "--json"]
    with pytest.raises(SystemExit) as end:
        main([*command, *options])
    assert end.value.code == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    names = ["train_step_forwards", "train_draw_share", "train_waited_share"]
    assert [row["name"] for row in rows] == names
    assert {row["precision"] for row in rows} == {expected}
    assert all(row["neurons"] == 12 and row["n"] == 1 for row in rows)
    assert rows[0]["value"] > 1
