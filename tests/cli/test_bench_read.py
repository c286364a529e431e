"""The benchmark of reading: its session, its table, its check of the values."""

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from tests.bench import read as bench_read
from tests.bench.peers.reference_package import ReferencePackage
from tests.bench.recordings import Size, write_session
from tests.cli.runner import rows_of_command


@pytest.mark.slow
def test_the_table_has_a_row_per_way(tmp_path):
    words = ("--neurons", 40, "--minutes", 0.4, "--windows", 5, "--passes", 1, "--no-opening")
    found = rows_of_command("bench", "read", *words, "--folder", tmp_path)
    rows = {row["source"]: row for row in found if row["name"] == "windows_per_cpu_s"}
    stores = ["store-default", "store-fast", "store-none", "store-default-zarr"]
    assert list(rows) == ["experanto-folder", *stores, "rule"]
    for row in rows.values():
        assert row["x_rule"] == pytest.approx(row["value"] / rows["rule"]["value"])
    assert rows["store-none"]["mib"] > 0
    floors = {row["source"]: row["value"] for row in found if row["name"] == "decode_floor_ms"}
    assert list(floors) == stores[:3]
    # What the decoders alone take is a part of the reading.
    assert all(0 < ms < 1000 / rows[name]["value"] for name, ms in floors.items())


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
