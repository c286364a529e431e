"""The benchmark of reading: its session, its table, its check of the values."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from omnimouse_app.cli import group
from omnimouse_model.data.open import open_session
from tests.bench import read as bench_read
from tests.bench.peers.reference_package import ReferencePackage
from tests.bench.recordings import Size, write_session


@pytest.fixture(scope="module")
def bench_folder(tmp_path_factory):
    """Where the session and its stores are written once for all."""
    return tmp_path_factory.mktemp("bench")


def run(folder: Path, *options: str) -> Result:
    words = ["bench", "read", "--neurons", "40", "--minutes", "0.4", "--windows", "5"]
    words += ["--passes", "1", "--no-opening", "--json", "--folder", str(folder)]
    return CliRunner().invoke(group, [*words, *options])


def rows_of(done: Result) -> dict[str, dict[str, float]]:
    assert done.exit_code == 0, done.output
    return {row["source"]: row for row in json.loads(done.stdout)["rows"]}


@pytest.mark.slow
def test_the_table_has_a_row_per_way(bench_folder):
    rows = rows_of(run(bench_folder))
    assert {row["name"] for row in rows.values()} == {"windows_per_cpu_s"}
    stores = ["store-default", "store-fast", "store-none", "store-default-zarr"]
    assert list(rows) == ["experanto-folder", *stores, "rule"]
    for row in rows.values():
        assert row["x_rule"] == pytest.approx(row["value"] / rows["rule"]["value"])
    assert rows["store-none"]["mib"] > 0


def test_ways_that_differ_are_found():
    ones, zeros = (np.ones(3),), (np.zeros(3),)
    ways = {"experanto-folder": lambda s: ones, "other": lambda s: zeros}
    with pytest.raises(ValueError, match="'other' reads other values at 1"):
        bench_read._compare(ways, np.array([1.0]))


def test_a_package_that_reads_other_values_is_found(tmp_path):
    class OtherPackage:
        revision = "main"

        def samples(self, times):
            return {name: np.zeros(len(values)) for name, values in times.items()}

    session = open_session(write_session(tmp_path / "s", Size(5, 0.2)))
    with pytest.raises(ValueError, match="package reads other"):
        bench_read.compare_package(OtherPackage(), session, np.array([1.0]))


def test_a_folder_without_the_package_is_named(tmp_path):
    with pytest.raises(ModuleNotFoundError, match=r"no experanto/__init__\.py"):
        ReferencePackage(tmp_path, tmp_path, [])
