"""`omnimouse bench ndt` on a small network: its rows, and a wrong checkout."""

from functools import partial

import pytest

from omnimouse_model.families.ndt import network
from tests.bench import ndt as bench_ndt
from tests.cli.runner import rows_of_command, run_command

ARGUMENTS = ["bench", "ndt", "--neurons", "9", "--held-out", "3", "--trials", "12"]
ARGUMENTS += ["--steps", "1", "--repeats", "1", "--device", "cpu"]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    sizes = {"d_token": 8, "d_model": 16, "n_heads": 2, "n_layers": 2, "d_inner": 16}
    monkeypatch.setattr(network, "NdtConfig", partial(network.NdtConfig, **sizes))
    monkeypatch.setattr(bench_ndt, "BINS", 10)
    monkeypatch.setattr(bench_ndt, "BATCH", 2)


@pytest.mark.slow
def test_evaluation_and_steps_are_timed():
    rows = rows_of_command(*ARGUMENTS)
    assert [row["name"] for row in rows] == ["ndt_evaluation_ms", "ndt_step_ms"]
    for row in rows:
        assert row["value"] > 0
        assert row["floor_gflop"] > 0
        assert (row["neurons"], row["held_out"], row["n"]) == (9, 3, 1)


def test_a_folder_without_the_public_code_is_refused(tmp_path):
    done = run_command(*ARGUMENTS, "--mtm", tmp_path)
    assert done.exit_code == 2
    assert "no checkout" in done.stderr
