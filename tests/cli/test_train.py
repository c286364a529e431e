import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from omnimouse_app.cli import main
from omnimouse_app.cli.terminal import TrainingProgress
from omnimouse_model.errors import StoppedError
from omnimouse_model.inference.families import config_path
from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.training.checkpoints import last_state, rank_files, read_state
from omnimouse_model.training.metrics_log import FILE, log_rows
from tests.cli.test_main import run
from tests.model.poisson_world import poisson_arrays
from tests.model.train_process import run_ranks
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


def command_of(config: Path, sessions: Path, out: Path) -> list[str]:
    words = ["train", config, "--out", out, "--sessions", sessions, "--device", "cpu"]
    return [str(word) for word in words]


def test_a_family_that_stops_unasked_is_not_called_trained(
    config, recordings, tmp_path, monkeypatch, capsys
):
    def stops(*_: object, **__: object) -> None:
        raise StoppedError

    monkeypatch.setattr("omnimouse_model.analysis.fit.run_steps", stops)
    with pytest.raises(SystemExit) as end:
        main(command_of(config, recordings, tmp_path / "out"))
    assert end.value.code == 1
    assert "trained" not in capsys.readouterr().err


def begin(command: list[str], out: Path, monkeypatch, capsys) -> None:
    """Train until Ctrl-C after the first step, which is saved."""
    with monkeypatch.context() as patch:
        patch.setattr(TrainingProgress, "__call__", interrupted)
        assert run(*command) == 130
    assert f"saved in {out}" in capsys.readouterr().err
    assert steps(out) == [1]


@pytest.mark.slow
def test_ctrl_c_saves_the_run(config, recordings, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    command = [*command_of(config, recordings, out), "--accumulate", "2"]
    begin(command, out, monkeypatch, capsys)
    assert run(*command) == 0
    assert steps(out) == [1, 2, 3, 4]
    row = list(log_rows(out / FILE))[-1]
    assert row["windows"] == 2 * 2
    assert {"loss", "lr", "seconds", "windows_per_s", "tokens_per_s"} <= row.keys()
    assert f"the weights are in {out}" in capsys.readouterr().err


def check_shared_run(out: Path) -> None:
    """Check that two processes have trained one core for both recordings."""
    assert steps(out) == [1, 2, 3, 4]
    assert all(row["windows"] == 2 * 2 for row in log_rows(out / FILE))
    facts = json.loads((out / "model.json").read_text())
    assert sorted(facts["sessions"]) == ["m1-1-1", "m2-1-1"]


@pytest.mark.slow
@pytest.mark.process
def test_processes_share_the_sessions_and_train_one_core(config, recordings, tmp_path):
    out = tmp_path / "run"
    run_ranks(2, main, command_of(config, recordings, out))
    check_shared_run(out)


@pytest.mark.acceptance
@pytest.mark.process
def test_torchrun_shares_the_sessions_and_trains_one_core(config, recordings, tmp_path):
    out = tmp_path / "run"
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launch, "-m", "omnimouse_app"]
    command += command_of(config, recordings, out)
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    made = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert made.returncode == 0, made.stderr
    assert made.stderr.count(f"the weights are in {out}") == 1
    check_shared_run(out)


@pytest.fixture
def twin_config(tmp_path):
    """A tiny twin of recordings with 18 x 32 pixels, over three steps."""
    path = tmp_path / "twin.yaml"
    path.write_text(
        "family: twin\nseed: 1\nframe_size: [18, 32]\nclips: 1\nframes: 8\n"
        "burn_in: 1\ncycles: 1\ncycle_epochs: 3\nepoch_steps: 1\nwarmup_epochs: 1\n"
        "model: {streams: 2, retina_height: 12, retina_width: 18, "
        "block_channels: [4], block_groups: [1], block_layers: [1], "
        "block_temporals: [2], block_spatials: [3], block_pools: [2], "
        "feedforward_channels: 4, core: conv-lstm, recurrent_channels: 4, "
        "hidden_channels: 4, common_channels: 4, out_channels: 4, groups: 1}\n"
    )
    return path


def test_twins_are_trained_stopped_continued_and_exported(
    twin_config, recordings, tmp_path, monkeypatch, capsys
):
    out, file = tmp_path / "run", tmp_path / "twins.safetensors"
    command = command_of(twin_config, recordings, out)
    begin(command, out, monkeypatch, capsys)
    with monkeypatch.context() as patch:
        # Ctrl-C while the weights are exported, which takes minutes with a context part.
        place = "omnimouse_model.families.twin.training.TwinTraining.export"
        patch.setattr(place, lambda *_: signal.raise_signal(signal.SIGINT))
        assert run(*command, "--export", str(file)) == 130
    assert f"saved in {out}" in capsys.readouterr().err
    assert not file.exists()
    assert run(*command, "--export", str(file)) == 0
    assert steps(out) == [1, 2, 3]
    assert load_predictor(file).needs.sessions == {"m1-1-1", "m2-1-1"}
    capsys.readouterr()
    assert run(*command, "--compile") == 1
    assert "found 'compile'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.process
def test_two_processes_train_twins_as_one_does(twin_config, recordings, tmp_path):
    outs = [tmp_path / "one", tmp_path / "two"]
    alone, shared = (command_of(twin_config, recordings, out) for out in outs)
    assert run(*alone) == 0
    run_ranks(2, main, shared)
    one, two = (load_file(out / "model.safetensors") for out in outs)
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.fixture
def ndt_files(tmp_path):
    """A tiny config of neural data transformers, and a folder of two recordings."""
    folder = tmp_path / "spikes"
    folder.mkdir()
    for number, name in enumerate(("a", "b")):
        arrays, _ = poisson_arrays(name, n_trials=20, n_bins=20, n_neurons=9 + number, seed=number)
        np.savez(folder / f"{name}.npz", **arrays)
    config = tmp_path / "ndt.yaml"
    config.write_text(
        "family: ndt\nseed: 1\nbatch: 4\nsteps: 3\nvalidate_every: 2\n"
        "spec: {duration_s: 0.4, trial_offset_s: 0.0}\n"
        "model: {d_token: 8, n_bins: 20, d_model: 16, n_layers: 2, n_heads: 2, "
        "d_inner: 24}\n"
    )
    return config, folder


@pytest.mark.slow
def test_transformers_of_spikes_are_trained_continued_exported_and_described(
    ndt_files, tmp_path, monkeypatch, capsys
):
    config, folder = ndt_files
    out, file = tmp_path / "run", tmp_path / "ndt.safetensors"
    command = command_of(config, folder, out)
    begin(command, out, monkeypatch, capsys)
    assert run(*command, "--export", str(file)) == 0
    assert steps(out) == [1, 2, 3]
    assert load_predictor(file).needs.n_neurons == {"a": 9, "b": 10}
    capsys.readouterr()
    assert run("info", str(file)) == 0
    told = capsys.readouterr().out
    assert "trials: 20 bins, 20 ms each" in told
    assert "b: 10 neurons" in told


@pytest.mark.slow
@pytest.mark.process
def test_two_processes_train_one_transformer_on_the_sessions_of_all(ndt_files, tmp_path):
    config, folder = ndt_files
    out = tmp_path / "run"
    run_ranks(2, main, command_of(config, folder, out))
    assert steps(out) == [1, 2, 3]
    assert all(row["windows"] == 2 * 4 for row in log_rows(out / FILE))
    one, two = (read_state(path)["net"] for path in rank_files(last_state(out)))
    result = load_file(out / "model.safetensors")
    for name, value in one.items():
        if ".b." in name:
            # Only the second process has trained this session.
            torch.testing.assert_close(result[name], two[name])
            assert not torch.equal(value, two[name])
        else:
            torch.testing.assert_close(result[name], value)
            assert ".a." in name or torch.equal(value, two[name])
