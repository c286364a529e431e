"""The benchmark of reading: its session, its table, its check of the values."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from omnimouse_app.bench_session import Size, write_session
from omnimouse_app.cli import bench_read, group
from omnimouse_model.data.open import open_session


def test_the_session_is_as_described(tmp_path: Path) -> None:
    session = open_session(write_session(tmp_path / "s", Size(20, 0.7)))
    assert session.n_neurons == 20
    assert session.responses.n_samples == int(0.7 * 60 * 30) + 1
    assert session.responses.shift_s is not None
    assert session.trials.n_slots[:2].tolist() == [300, 1]
    assert set(session.trials.tier.tolist()) == {"train", "blank"}
    np.testing.assert_allclose(
        session.units.std, session.responses.data.std(0), rtol=0.2
    )
    assert len(session.window_starts("train"))


def test_a_hollow_session_takes_no_space_and_opens(tmp_path: Path) -> None:
    root = write_session(tmp_path / "s", Size(500, 20.0, is_hollow=True))
    blocks = sum(p.stat().st_blocks * 512 for p in root.rglob("*") if p.is_file())
    assert blocks < 20 * 2**20  # 72 MB of responses, 80 MB of frames
    window = open_session(root).window(60.0)
    assert not window.responses.any()
    assert window.frames_u8.shape == (60, 36, 64)


def test_the_table_has_a_row_per_way(tmp_path: Path) -> None:
    words = ["bench", "read", "--neurons", "40", "--minutes", "0.5", "--windows", "5"]
    words += ["--passes", "1", "--no-opening", "--json", "--folder", str(tmp_path)]
    done = CliRunner().invoke(group, words)
    assert done.exit_code == 0, done.output
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert list(rows) == [
        *("in place", "store, default", "store, fast", "store, none", "by the rule")
    ]
    for row in rows.values():
        assert row["x_rule"] == pytest.approx(
            row["value"] / rows["by the rule"]["value"]
        )
    assert rows["store, none"]["mib"] > 0


def test_ways_that_differ_are_found() -> None:
    ways = {"in place": lambda s: (np.ones(3),), "other": lambda s: (np.zeros(3),)}
    with pytest.raises(ValueError, match="'other' reads other values at 1"):
        bench_read._compare(ways, np.array([1.0]))
