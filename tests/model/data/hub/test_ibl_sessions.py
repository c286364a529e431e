import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

import omnimouse_model as om
from omnimouse_model.data.hub.ibl_sessions import ibl_session_name, needed_datasets
from omnimouse_model.errors import FetchError
from tests.model.alf_folder import ProbeFiles, write_alf

EID = "4ecb5d24-f5cc-402c-be28-9d0f7cb14b3a"


class StandIn:
    """The parts of the ONE client that are used, for sessions in a local folder."""

    served: Path
    loaded: list[str]
    error: Exception | None = None

    def __init__(self, *, base_url, password, silent, cache_dir):
        assert base_url.startswith("https://")
        self.cache = Path(cache_dir)

    def list_datasets(self, eid):
        if self.error is not None:
            raise self.error
        files = [p for p in self.served.rglob("*") if p.is_file()]
        return [p.relative_to(self.served).as_posix() for p in files]

    def load_dataset(self, eid, dataset, *, download_only):
        assert download_only
        target = self.cache / "lab/Subjects/mouse_1/2024-05-06/001" / dataset
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.served / dataset, target)
        self.loaded.append(dataset)
        return target


@pytest.fixture
def client(tmp_path, monkeypatch):
    class Client(StandIn):
        served = tmp_path / "served"

    Client.loaded = []
    write_alf(Client.served, ProbeFiles(sorter=""), ProbeFiles(revision="#2024-05-06#"))
    (Client.served / "raw_video_data").mkdir()
    (Client.served / "raw_video_data" / "_iblrig_leftCamera.raw.mp4").touch()
    module = ModuleType("one.api")
    vars(module)["ONE"] = Client
    monkeypatch.setitem(sys.modules, "one", ModuleType("one"))
    monkeypatch.setitem(sys.modules, "one.api", module)
    return Client


@pytest.mark.parametrize("name", [EID, "mouse_1/2024-05-06/001"])
def test_a_session_is_fetched_and_opens(client, tmp_path, name):
    steps = []
    to = tmp_path / "cache"
    path = om.fetch_session(f"ibl:{name}", to, lambda share, step: steps.append(share))
    assert path == to / "lab/Subjects/mouse_1/2024-05-06/001"
    session = om.open_session(path)
    assert session.id == "mouse_1_2024-05-06_001"
    assert session.series == "pykilosort"
    assert len(session.trials) == 20
    assert session.behavior_names == ("wheel_speed",)
    assert all("pykilosort" in name for name in client.loaded if "probe" in name)
    assert not any("video" in name for name in client.loaded)
    assert steps == sorted(steps)
    assert steps[-1] == 1.0


def test_of_each_dataset_the_latest_revision_is_needed():
    paths = [
        "alf/probe00/pykilosort/spikes.times.npy",
        "alf/probe00/pykilosort/#2023-01-01#/spikes.times.npy",
        "alf/probe00/pykilosort/#2024-05-06#/spikes.times.npy",
        "alf/probe00/pykilosort/spikes.clusters.npy",
        "alf/probe00/pykilosort/spikes.amps.npy",
        "alf/probe00/iblsorter/#2025-01-01#/spikes.times.npy",
        "alf/probe01/spikes.times.npy",
        "alf/task_00/_ibl_trials.table.pqt",
        "alf/../../outside/spikes.times.npy",
        "raw_ephys_data/spikes.times.npy",
    ]
    assert needed_datasets(paths) == [paths[5], paths[6], paths[7]]
    assert needed_datasets(paths[:5]) == [paths[2], paths[3]]


@pytest.mark.parametrize("name", ["ibl:", "ibl:../..", "ibl:4ecb5d24", "ibl:a/b/c"])
def test_other_names_are_refused(name):
    with pytest.raises(FetchError) as caught:
        ibl_session_name(name)
    assert caught.value.code == "not_found"
    assert ibl_session_name("omnimouse-5M") is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConnectionError("no route"), "interrupted"),
        (OSError(28, "No space left on device"), "no_space"),
        (ValueError("unknown eid"), "not_found"),
        (RuntimeError("odd"), "damaged"),
    ],
)
def test_errors_of_the_client_are_typed(client, tmp_path, error, code):
    client.error = error
    with pytest.raises(FetchError) as caught:
        om.fetch_session(f"ibl:{EID}", tmp_path / "cache")
    assert caught.value.code == code


def test_a_session_without_spikes_is_not_found(client, tmp_path):
    shutil.rmtree(client.served / "alf" / "probe00")
    with pytest.raises(FetchError, match="no sorted spikes") as caught:
        om.fetch_session(f"ibl:{EID}", tmp_path / "cache")
    assert caught.value.code == "not_found"


def test_a_missing_client_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "one", None)
    monkeypatch.setitem(sys.modules, "one.api", None)
    with pytest.raises(FetchError, match="pip install ONE-api") as caught:
        om.fetch_session(f"ibl:{EID}", tmp_path / "cache")
    assert caught.value.code == "missing_package"
