"""Files of the DANDI archive, from a stand-in of its API and of its store."""

import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PureWindowsPath
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.hub import servers
from omnimouse_model.data.hub.servers import ibl_session_name, needed_datasets
from omnimouse_model.errors import ConnectError, FetchError, SessionFormatError
from omnimouse_model.progress import CallbackJob
from omnimouse_model.storage import web
from omnimouse_model.storage.web import display_address, web_address
from tests.hub_server import Hub, Repository
from tests.model.alf_folder import ProbeFiles, write_alf
from tests.model.data.refusals import check_refusal
from tests.model.nwb_files import Plane, write_nwb
from tests.raw_server import running

ID, VERSION, ASSET = "000728", "0.240827.1809", "4ecb5d24-f5cc-402c-be28-9d0f7cb14b3a"
PATH = "sub-1/sub-1_ses-2.nwb"
ADDRESS = f"dandi:{ID}/{PATH}"
KEY = ("dataset", "lab/mice")


@dataclass
class Api:
    """Answers of the API by path, and the paths that were asked for."""

    address: str
    answers: dict[str, object] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@contextmanager
def api_server():
    api = Api("")

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def log_message(self, *_):
            pass

        def do_GET(self):
            parts = urlsplit(self.path)
            api.asked.append(parts.path)
            answer = api.answers.get(parts.path)
            if isinstance(answer, dict) and "results" in answer:
                prefix = parse_qs(parts.query)["path"][0]
                found = [one for one in answer["results"] if one["path"].startswith(prefix)]
                answer = {"results": found}
            status = api.status.get(parts.path, 404 if answer is None else 200)
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api.address = f"http://localhost:{server.server_port}/api"
    with running(server):
        yield api


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return write_nwb(tmp_path_factory.mktemp("nwb") / "a.nwb", Plane(n=8))


@pytest.fixture
def store(server, recording):
    return server.serve(Hub({KEY: Repository({"content": recording.read_bytes()})}))


@pytest.fixture
def api(store, monkeypatch):
    with api_server() as api:
        monkeypatch.setattr(servers, "API", api.address)
        place = f"/api/dandisets/{ID}"
        assets = f"{place}/versions/{VERSION}/assets/"
        blob = f"{store.store}/{KEY[0]}/{KEY[1]}/content"
        api.answers = {
            f"{place}/": {"most_recent_published_version": {"version": VERSION}},
            assets: {"results": [{"path": PATH, "asset_id": ASSET}]},
            f"{assets}{ASSET}/": {"contentUrl": [f"{api.address}/assets/download/", blob]},
        }
        yield api


def test_parts_of_a_file_are_read_by_its_address(api, store, recording):
    session = om.open_session(ADDRESS)
    here = om.open_session(recording)
    np.testing.assert_array_equal(session.responses.data, here.responses.data)
    assert session.source == ADDRESS
    assert str(session.path) == ADDRESS
    assert any(request.range for request in store.requests)
    assert not any("download" in path for path in api.asked)


def test_blocks_are_read_from_the_cache_afterwards(api, store):
    session = om.open_session(ADDRESS)
    _ = session.responses.read(0, 30)
    before = store.sent
    _ = session.responses.read(0, 30)
    assert store.sent == before


def test_a_version_is_used_if_it_is_named(api):
    place = f"/api/dandisets/{ID}/versions"
    for path in [f"{place}/{VERSION}/assets/", f"{place}/{VERSION}/assets/{ASSET}/"]:
        api.answers[path.replace(VERSION, "draft")] = api.answers[path]
    om.open_session(f"dandi:{ID}@draft/{PATH}")
    assert not any(VERSION in path for path in api.asked)
    assert f"/api/dandisets/{ID}/" not in api.asked


def test_a_path_that_is_not_there_is_refused_with_those_that_begin_so(api):
    error = check_refusal(f"dandi:{ID}/sub-1", f"is not in version {VERSION}.*: {PATH}")
    assert error.code == "missing_file"


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda api, path: api.status.update({path: 403}), "gated", "embargoed"),
        (lambda api, path: api.status.update({path: 404}), "missing_file", "not in the archive"),
        (lambda api, path: api.status.update({path: 500}), "unreadable", "status 500"),
        (lambda api, path: api.answers.update({path: b"<html>"}), "unreadable", "JSON"),
        (lambda api, path: api.answers.update({path: [1]}), "unreadable", "no object"),
        (lambda api, path: api.answers.update({path: b"1" * 2**23}), "unreadable", "more than"),
    ],
)
def test_each_fault_of_the_archive_is_one_line(api, change, code, words):
    change(api, f"/api/dandisets/{ID}/")
    assert check_refusal(ADDRESS, words).code == code


def test_a_server_that_does_not_answer_in_time_is_one_line(api, monkeypatch):
    monkeypatch.setattr(web, "_JSON_S", 1e-6)
    assert check_refusal(ADDRESS, "cannot be found").code == "unreadable"


PLACES = ("http://10.0.0.1/blob", "https://example.org/blob", "file:///etc/passwd", "http://[", 7)


@pytest.mark.parametrize(
    ("asset", "answer", "code", "words"),
    [
        *((f"{ASSET}/", {"contentUrl": [p]}, "outside", "not at the archive") for p in PLACES),
        ("", b'{"results": 5}', "missing_file", "files that begin so: none"),
        ("", {"results": [{"path": PATH, "asset_id": "../../x"}]}, "unreadable", "has no id"),
    ],
)
def test_answers_that_lead_to_no_file_of_the_archive_are_refused(api, asset, answer, code, words):
    api.answers[f"/api/dandisets/{ID}/versions/{VERSION}/assets/{asset}"] = answer
    assert check_refusal(ADDRESS, words).code == code


@pytest.mark.parametrize("name", [f"dandi:{ID}", f"dandi:{ID}@new/{PATH}", f"dandi:{ID}/"])
def test_addresses_of_no_file_are_refused_without_a_request(name):
    assert check_refusal(name, "is no address of a file").code == "not_found"


def test_zarr_folders_are_refused_without_a_request():
    assert check_refusal(f"dandi:{ID}/a.nwb.zarr", "zarr folder").code == "zarr"


def test_an_address_stays_one_in_every_part_of_the_program():
    assert web_address(ADDRESS) == ADDRESS
    assert display_address(ADDRESS) == ADDRESS
    assert web_address(f"DANDI://dandi/{ID}/{PATH}") == ADDRESS
    assert web_address("dandi.nwb") is None
    with pytest.raises(SessionFormatError, match="does not exist"):
        om.open_session("dandi:here.nwb")


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
    ("change", "code", "words"),
    [
        (lambda one: one.write("raise ConnectionError('no route')"), "interrupted", ""),
        (lambda one: one.write("raise OSError(28, 'No space left')"), "no_space", ""),
        (lambda one: one.write("raise ValueError('unknown eid')"), "not_found", ""),
        (lambda one: one.write("raise RuntimeError('odd')"), "damaged", ""),
        (lambda one: one.write("import os; os._exit(1)"), "interrupted", ""),
        (lambda one: one.write(without_account=True), "gated", r"/signup.*username="),
        (lambda one: shutil.rmtree(one.served / "alf/probe00"), "not_found", "no sorted spikes"),
        (lambda one: (one.package / "api.py").unlink(), "missing_package", r"app\[ibl\]"),
    ],
)
@pytest.mark.process
def test_errors_of_the_client_are_typed(client, tmp_path, change, code, words):
    change(client)
    with pytest.raises(FetchError, match=words) as caught:
        om.fetch_session(f"ibl:{EID}", tmp_path / "cache")
    assert caught.value.code == code


@pytest.mark.process
def test_an_address_opens_as_a_session(client, tmp_path, monkeypatch):
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path / "cache"))
    session = om.open_session(f"ibl:{EID}")
    assert session.path.is_relative_to(tmp_path / "cache")
    assert session.id == "mouse_1_2024-05-06_001"


@pytest.mark.parametrize(
    ("name", "host"),
    [
        (r"\\Lab-Server\data\mouse", "lab-server"),
        ("//lab-server/data/mouse", "lab-server"),
        (r"\\?\UNC\lab-server\data\mouse", "lab-server"),
        ("//?/unc/lab-server/data/mouse", "lab-server"),
        (r"\\?\C:\data\mouse", ""),
        (r"C:\data\mouse", ""),
        ("data/mouse", ""),
    ],
)
def test_a_share_of_windows_is_a_server(monkeypatch, name, host):
    monkeypatch.setattr(servers, "Path", PureWindowsPath)
    assert servers.share_of(name) == host
    if host:
        with pytest.raises(ConnectError) as caught:
            servers.check_connection(name, Path("a.omnimouse.json"))
        assert caught.value.code == host


def test_secrets_of_an_address_in_a_file_are_not_shown():
    with pytest.raises(ConnectError) as caught:
        servers.check_connection("https://user:secret@h.example/x.nwb?token=t", Path("a.json"))
    assert "names https://h.example/x.nwb, on the server h.example" in str(caught.value)
