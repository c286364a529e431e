"""The benchmark of reading: its session, its table, its check of the values."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from omnimouse_app.bench import read as bench_read
from omnimouse_app.bench.recordings import Size, write_session
from omnimouse_app.bench.reference_package import ReferencePackage
from omnimouse_app.cli import group
from omnimouse_model.data.open import open_session


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
    ways = {
        "experanto-folder": lambda s: (np.ones(3),),
        "other": lambda s: (np.zeros(3),),
    }
    with pytest.raises(ValueError, match="'other' reads other values at 1"):
        bench_read._compare(ways, np.array([1.0]))


# -- the reference package -----------------------------------------------------------
OMEGACONF = """
class Config(dict):
    def __getattr__(self, name):
        return self[name]


class OmegaConf:
    @staticmethod
    def create(value):
        if isinstance(value, dict):
            return Config({k: OmegaConf.create(v) for k, v in value.items()})
        return value
"""

STAND_IN = """
# What the two revisions of the package share of their interface, read by our own rules.
import numpy as np
import torch
from omnimouse_model.data.open import open_session

print("the package may print what it likes")


class Experiment:
    def __init__(self, root_folder, modality_config, cache_data=False):
        self.session = open_session(root_folder)

    def interpolate(self, times, device=None):
        return self.session.streams[device].sample(times)


class ChunkDataset:
    def __init__(
        self, root_folder, global_sampling_rate, global_chunk_size,
        modality_config=None, MORE
    ):
        self._experiment = Experiment(root_folder, modality_config)
        self.names = list(modality_config)
        assert modality_config.responses.chunk_size == 60
        scaling = modality_config.responses.transforms.normalization
        assert scaling == "SCALING"

    def __getitem__(self, index):
        session = self._experiment.session
        window = session.window(self._valid_screen_times[index] - session.t0)
        out = {name: window.stream(name)[0] for name in self.names if name != "screen"}
        out["screen"] = window.video[None]
        return {name: torch.from_numpy(values) for name, values in out.items()}
"""


def checkout(root: Path, revision: str) -> Path:
    """A stand-in for the package's source, with what it needs beside it."""
    is_main = revision == "main"
    (root / "experanto").mkdir(parents=True)
    (root / "experanto" / "__init__.py").touch()
    more = "interpolate_precision=5" if is_main else "seed=None"
    scaling = "normalize_variance_only" if is_main else "standardize"
    text = STAND_IN.replace("MORE", more).replace("SCALING", scaling)
    (root / "experanto" / "datasets.py").write_text(text)
    (root / "omegaconf.py").write_text(OMEGACONF)
    return root


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("revision", ["foundation_model", "main"])
def test_the_package_reads_the_same_windows_in_turn(revision, bench_folder, tmp_path):
    source = checkout(tmp_path / "checkout", revision)
    rows = rows_of(run(bench_folder, "--experanto", str(source)))
    row, store = rows["experanto-package"], rows["store-fast"]
    assert row["revision"] == revision
    assert row["value"] > 0 < row["wall"]
    assert store["x_package"] == pytest.approx(store["value"] / row["value"])


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
