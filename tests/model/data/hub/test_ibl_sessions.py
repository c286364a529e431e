import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

import omnimouse_model as om
from omnimouse_model.data.hub.servers import ibl_session_name, needed_datasets
from omnimouse_model.errors import FetchError
from omnimouse_model.progress import CallbackJob
from tests.model.alf_folder import ProbeFiles, write_alf

EID = "4ecb5d24-f5cc-402c-be28-9d0f7cb14b3a"
CLIENT = '''
import shutil
from pathlib import Path

SERVED, LOADED = Path({served!r}), Path({loaded!r})


class ONE:
    """The parts of the ONE client that are used, for sessions in a local folder."""

    def __init__(self, *, base_url, silent, cache_dir):
        assert base_url.startswith("https://")
        if {without_account}:
            raise ValueError("No Alyx username")
        self.cache = Path(cache_dir)

    def list_datasets(self, eid):
        {error}
        files = [p for p in SERVED.rglob("*") if p.is_file()]
        return [p.relative_to(SERVED).as_posix() for p in files]

    def load_dataset(self, eid, dataset, *, download_only):
        assert download_only
        target = self.cache / "lab/Subjects/mouse_1/2024-05-06/001" / dataset
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SERVED / dataset, target)
        with LOADED.open("a") as stream:
            stream.write(dataset + "\\n")
        return target
'''


@dataclass
class StandIn:
    """A package `one` where the process of the client finds it."""

    package: Path
    served: Path

    @property
    def loaded(self) -> list[str]:
        return (self.package / "loaded.txt").read_text().splitlines()

    def write(self, error: str = "pass", *, without_account: bool = False) -> None:
        text = CLIENT.format(
            served=str(self.served),
            loaded=str(self.package / "loaded.txt"),
            error=error,
            without_account=without_account,
        )
        (self.package / "api.py").write_text(text)


@pytest.fixture
def client(tmp_path, monkeypatch):
    stand_in = StandIn(tmp_path / "packages/one", tmp_path / "served")
    stand_in.package.mkdir(parents=True)
    (stand_in.package / "__init__.py").touch()
    stand_in.write()
    monkeypatch.syspath_prepend(str(stand_in.package.parent))
    write_alf(stand_in.served, ProbeFiles(sorter=""), ProbeFiles(revision="#2024-05-06#"))
    (stand_in.served / "raw_video_data").mkdir()
    (stand_in.served / "raw_video_data" / "_iblrig_leftCamera.raw.mp4").touch()
    return stand_in


@pytest.mark.process
@pytest.mark.parametrize("name", [EID, "mouse_1/2024-05-06/001"])
def test_a_session_is_fetched_and_opens(client, tmp_path, name):
    steps = []
    to = tmp_path / "cache"
    path = om.fetch_session(f"ibl:{name}", to, CallbackJob(lambda share, *_: steps.append(share)))
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
        ("raise ConnectionError('no route')", "interrupted"),
        ("raise OSError(28, 'No space left on device')", "no_space"),
        ("raise ValueError('unknown eid')", "not_found"),
        ("raise RuntimeError('odd')", "damaged"),
        ("import os; os._exit(1)", "interrupted"),
    ],
)
@pytest.mark.process
def test_errors_of_the_client_are_typed(client, tmp_path, error, code):
    client.write(error)
    with pytest.raises(FetchError) as caught:
        om.fetch_session(f"ibl:{EID}", tmp_path / "cache")
    assert caught.value.code == code


@pytest.mark.process
def test_a_session_without_spikes_is_not_found(client, tmp_path):
    shutil.rmtree(client.served / "alf" / "probe00")
    with pytest.raises(FetchError, match="no sorted spikes") as caught:
        om.fetch_session(f"ibl:{EID}", tmp_path / "cache")
    assert caught.value.code == "not_found"


@pytest.mark.process
def test_a_missing_client_is_named(client, tmp_path):
    (client.package / "api.py").unlink()
    with pytest.raises(FetchError, match=r"omnimouse-app\[ibl\]") as caught:
        om.fetch_session(f"ibl:{EID}", tmp_path / "cache")
    assert caught.value.code == "missing_package"


@pytest.mark.process
def test_an_address_opens_as_a_session(client, tmp_path, monkeypatch):
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path / "cache"))
    session = om.open_session(f"ibl:{EID}")
    assert session.path.is_relative_to(tmp_path / "cache")
    assert session.id == "mouse_1_2024-05-06_001"


@pytest.mark.process
def test_a_missing_account_is_told_with_the_way_to_make_one(client, tmp_path):
    client.write(without_account=True)
    with pytest.raises(FetchError, match=r"/signup.*username=") as caught:
        om.fetch_session(f"ibl:{EID}", tmp_path / "cache")
    assert caught.value.code == "gated"
