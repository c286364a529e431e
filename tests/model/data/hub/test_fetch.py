import http.client
import io
import json
import shutil
import tarfile
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import omnimouse_model as om
from omnimouse_model.data.hub.exchange import CHECKPOINTS, HubPlace, hub_headers, hub_place
from omnimouse_model.data.hub.fetch import local_path, work_folder
from omnimouse_model.errors import FetchError, SessionFormatError, StoppedError
from omnimouse_model.families.omnimouse import checkpoint as official
from omnimouse_model.families.omnimouse.checkpoint import read_checkpoint
from omnimouse_model.progress import QUIET, CallbackJob
from tests.cli.runner import run_command
from tests.hub_server import COMMIT, Hub, Pause, Repository
from tests.model.experanto_folder import write_folder
from tests.model.official_shards import SESSIONS, SMALL, write_shards
from tests.model.small_net import save_checkpoint
from tests.soak.killed_process import Moment, end_of, forked

SESSION = "dynamic29513-3-5-Video-" + "9b" * 16 + "_30hz"
DATASET = ("dataset", "the-enigma-project/omnimouse-dataset")
MODEL = ("model", "the-enigma-project/omnimouse-1M")
MICE = ("dataset", "lab/mice")
TOKEN = "hf_" + "x" * 34
FILE = f"experiments/{SESSION}.tar"
ADDRESS = f"hf://datasets/{DATASET[1]}/{FILE}"
PLACE = HubPlace("dataset", DATASET[1], FILE)
NOWHERE = "http://127.0.0.1:9"
WAIT_S = 60


@pytest.fixture(autouse=True)
def token_file(tmp_path, monkeypatch):
    """Tokens are stored in a file of this test; any token is accepted."""
    folder = "huggingface_hub.constants.HF"
    monkeypatch.setattr(f"{folder}_TOKEN_PATH", str(tmp_path / "hf" / "token"))
    monkeypatch.setattr(f"{folder}_STORED_TOKENS_PATH", str(tmp_path / "hf" / "tokens"))
    access = {"displayName": "mine", "role": "read"}
    user = {"name": "me", "auth": {"accessToken": access}}
    monkeypatch.setattr("huggingface_hub.hf_api.whoami", lambda token: user)
    return tmp_path / "hf" / "token"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def session_folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("source") / SESSION)


@pytest.fixture(scope="module")
def session_tar(session_folder):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(session_folder, SESSION)
    return out.getvalue()


@pytest.fixture
def hub(server, cache, session_tar, monkeypatch):
    files = {FILE: session_tar, "README.md": b"# Data\n"}
    hub = server.serve(Hub({DATASET: Repository(files, "cc-by-4.0")}))
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("omnimouse_model.data.hub.fetch._PAUSE_S", 0.0)
    return hub


@pytest.fixture(scope="module")
def official_folder(net, tmp_path_factory):
    return write_shards(net, tmp_path_factory.mktemp("official") / "0-1000")


@pytest.fixture
def official_files(hub, official_folder, monkeypatch):
    """Files of a repository with a checkpoint of an official size, which is small."""
    monkeypatch.setattr(official, "SIZES", {"1M": SMALL})
    files = {f"0-1000/{p.name}": p.read_bytes() for p in official_folder.iterdir()}
    hub.repositories[MODEL] = Repository({**files, ".gitattributes": b"*"}, "mit")
    return hub.repositories[MODEL].files


def stop_at(least: float) -> CallbackJob:
    """Progress that stops a download at a share."""

    def stop(share: float, total: float, what: str) -> None:
        if share >= least:
            raise StoppedError

    return CallbackJob(stop)


def fetch(name: str, to: Path | None = None) -> Path:
    return om.fetch_session(name, to, QUIET)


def fetch_checkpoint(name: str, to: Path | None = None) -> Path:
    return om.fetch_checkpoint(name, to, QUIET)


def refusal(name, to=None, fetch=fetch) -> FetchError:
    with pytest.raises(FetchError) as caught:
        fetch(name, to)
    return caught.value


def test_names_of_the_hub_are_known():
    assert str(hub_place("omnimouse-5M")) == "hf://the-enigma-project/omnimouse-5M"
    for name in (SESSION, f"hf://{SESSION}", f"hf:/{SESSION}", ADDRESS):
        assert hub_place(name) == PLACE
    assert (PLACE.name, str(PLACE)) == (SESSION, ADDRESS)
    place = hub_place("hf://lab/model@v2/a/b.nwb")
    assert place == HubPlace("model", "lab/model", "a/b.nwb", "v2")
    assert hub_place(str(place)) == place
    for other in ("demo", "/data/mouse", "omnimouse-6M", "C:/hf", SESSION + "x"):
        assert hub_place(other) is None


@pytest.mark.parametrize(
    "name", ["hf://lab", "hf://lab/../x", "hf://datasets/lab", "hf://a/b/../../c"]
)
def test_an_address_that_cannot_be_read_says_how_to_write_one(name):
    with pytest.raises(FetchError, match="hf://owner/model"):
        hub_place(name)


@pytest.mark.slow
def test_a_recording_is_fetched_once_and_opened_by_its_address(hub, session_folder):
    shares, words = [], set()

    def tell(share: float, total: float, what: str) -> None:
        shares.append(share)
        words.add(what.split()[0])

    path = om.fetch_session(SESSION, None, CallbackJob(tell))
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert words == {"fetching", "unpacking"}
    n_requests = len(hub.requests)
    session, source = om.open_session(ADDRESS), om.open_session(session_folder)
    assert om.open_session(SESSION).path == session.path == path
    assert len(hub.requests) == n_requests
    np.testing.assert_array_equal(session.responses.data, source.responses.data)
    record = json.loads((path.parent / f"{SESSION}.hub.json").read_text())
    assert (record["commit"], record["licence"]) == (COMMIT, "cc-by-4.0")
    assert record["address"] == ADDRESS
    left = {p.name for p in path.parent.iterdir()} - {f".{SESSION}.lock"}
    assert left == {SESSION, f"{SESSION}.hub.json"}  # and not the archive


def test_a_hostile_archive_is_refused_and_leaves_nothing(hub, cache, session_tar):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("../../escaped")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    files = hub.repositories[DATASET].files
    files[FILE] = out.getvalue()
    with pytest.raises(SessionFormatError, match="outside the target folder"):
        fetch(SESSION)
    assert not [*cache.rglob("escaped"), *cache.rglob(SESSION)]
    files[FILE] = session_tar  # mended, as the same commit
    assert fetch(SESSION).is_dir()


def test_the_next_call_removes_what_a_kill_at_the_end_has_left(hub):
    path = fetch(SESSION)
    (work_folder(path) / COMMIT[:12]).mkdir(parents=True)
    n_requests = len(hub.requests)
    assert fetch(SESSION) == path
    assert len(hub.requests) == n_requests
    assert {p.name for p in path.parent.iterdir() if p.is_dir()} == {SESSION}


def test_a_stop_at_any_point_loses_nothing_and_leaves_no_half_session(hub):
    for share in (0.3, 0.6):
        with pytest.raises(StoppedError):
            om.fetch_session(SESSION, None, stop_at(share))
        assert not local_path(PLACE, None).exists()
    assert om.open_session(fetch(SESSION)).n_neurons == 9
    # The hub redirects, so that it is asked for each range, too.
    ranges = [r.range for r in hub.requests if r.range and r.path.startswith("/store/")]
    first, second = (int(r.removeprefix("bytes=").rstrip("-")) for r in ranges)
    assert 0 < first < second


@pytest.mark.slow
@pytest.mark.process
def test_a_kill_before_any_change_of_a_file_leaves_no_half_session(
    hub, cache, session_folder, tmp_path
):
    for change in range(1, 1000, 7):
        shutil.rmtree(cache, ignore_errors=True)
        work = forked(lambda: fetch(ADDRESS) and 0, {}, tmp_path)
        ended = end_of(work, tmp_path / "log", Moment(change=change), WAIT_S)
        target = local_path(PLACE, None)
        if not ended.is_killed:
            assert ended.status == 0, ended.text
            assert change > 10
            break
        if target.exists():  # it has its name when it is whole
            assert files_of(target) == files_of(session_folder)
        # What is left over is continued or removed by the next call.
        assert files_of(fetch(ADDRESS)) == files_of(session_folder)
        assert {path.name for path in target.parent.iterdir()} == {
            target.name,
            f"{target.name}.hub.json",
        }


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_busy_hub_and_a_connection_that_drops_are_tried_again(hub, session_tar):
    hub.busy, hub.cut_after = 3, len(session_tar) // 2
    assert om.open_session(fetch(SESSION)).n_neurons == 9
    assert hub.sent < 1.2 * len(session_tar)


def test_a_file_of_no_bytes_that_does_not_arrive_is_told(hub, monkeypatch):
    def slow(*_):
        raise TimeoutError("too slow")

    hub.repositories[DATASET].files[FILE] = b""
    monkeypatch.setattr(http.client.HTTPResponse, "read1", slow)
    assert refusal(SESSION).code == "interrupted"


def test_what_arrives_damaged_is_not_taken(hub, cache):
    hub.damage.add(FILE)
    error = refusal(SESSION)
    assert error.code == "damaged"
    assert FILE in error.message
    assert not list(cache.rglob("*.part"))
    hub.damage.clear()
    assert fetch(SESSION).is_dir()


def test_a_stuck_server_is_given_up_and_what_arrived_is_kept(hub, tmp_path):
    hub.sends_parts, hub.cut_after = False, 100_000
    error = refusal(SESSION, tmp_path / "to")
    assert error.code == "interrupted"
    assert "the downloaded part is saved" in error.message
    assert list((tmp_path / "to").rglob("*.part"))
    assert len(hub.requests) < 40


def test_a_server_without_ranges_sends_a_file_again_from_its_beginning(hub, tmp_path):
    with pytest.raises(StoppedError):
        om.fetch_session(SESSION, tmp_path, stop_at(0.3))
    (part,) = tmp_path.rglob("*.part")
    assert part.stat().st_size
    hub.sends_parts = False
    assert om.open_session(fetch(SESSION, tmp_path)).n_neurons == 9


def test_files_of_two_commits_are_never_mixed(hub):
    old, new = b"old" * 9, b"new" * 90_000
    hub.repositories[MICE] = Repository({"m/a": old, "m/b": new})

    def stop(share: float, total: float, what: str) -> None:
        if what.endswith("b"):
            raise StoppedError

    with pytest.raises(StoppedError):
        om.fetch_session("hf://datasets/lab/mice/m", None, CallbackJob(stop))
    hub.commit = "ab" * 20
    hub.repositories[MICE] = Repository({"m/a": new, "m/c": old})
    path = fetch("hf://datasets/lab/mice/m")
    assert {p.name: p.read_bytes() for p in path.iterdir()} == {"a": new, "c": old}


def test_what_lies_within_another_is_no_answer_for_it(hub, tmp_path):
    hub.repositories[MICE] = Repository({"e/x.bin": b"x", "e/y.bin": b"y"})
    hub.repositories["dataset", "lab/rats"] = Repository({"e/x.bin": b"rat"})
    fetch("hf://datasets/lab/mice/e/x.bin")
    assert refusal("hf://datasets/lab/mice/f/typo.bin").code == "not_found"
    path = fetch("hf://datasets/lab/mice/e")
    assert {p.name for p in path.iterdir()} == {"x.bin", "y.bin"}
    assert refusal("hf://datasets/lab/mice/f").code == "not_found"
    fetch("hf://datasets/lab/mice/e/x.bin", tmp_path)
    error = refusal("hf://datasets/lab/rats/e/x.bin", tmp_path)
    assert (error.code, "lab/mice/e/x.bin" in error.message) == ("exists", True)
    (tmp_path / "y.bin").write_bytes(b"mine")
    error = refusal("hf://datasets/lab/mice/e/y.bin", tmp_path)
    assert (error.code, str(tmp_path / "y.bin") in error.message) == ("exists", True)


@pytest.mark.parametrize("name", ["../x", "C:/x", "a\\..\\x", "/x", "\x9b31mx"])
def test_a_repository_cannot_name_a_place_outside(hub, name):
    hub.repositories[MICE] = Repository({name: b"x", "fine": b"y"})
    assert refusal("hf://datasets/lab/mice").code == "refused"


@pytest.mark.parametrize("names", [("m", "m/a"), ("m/A", "m/a/b"), ("m/a/b", "m/a-b")])
def test_no_file_of_a_repository_is_the_folder_of_another(hub, names):
    hub.repositories[MICE] = Repository(dict.fromkeys(names, b"x"))
    if names[1] == "m/a-b":
        assert fetch("hf://datasets/lab/mice/m").is_dir()
    else:
        assert refusal("hf://datasets/lab/mice/m").code == "refused"


@pytest.mark.parametrize(
    "change",
    [
        {"commit": "../../../../"},
        {"checksum": "/../../../../name"},
        {"checksum": "../" * 21 + "a"},
        {"answer": b"[1, 2]"},
        {"answer": b'{"id": "lab/mice", "siblings": "text"}'},
        {"answer": b'{"siblings": ' + b"[" * 100_000},
        {"answer": b'{"siblings": [{"rfilename": 3}]}'},
        {"answer": b" " * 2**26},
        {"encoding": "gzip"},
        {"excess": 100},
    ],
    ids=lambda change: f"{next(iter(change))}-{str(*change.values())[:8]}",
)
def test_a_hostile_hub_writes_and_deletes_nothing_outside(hub, tmp_path, change):
    folder = tmp_path / "a" / "b" / "c" / "to"
    (tmp_path / "name").write_text("mine")
    files = {"x.bin": b"x" * 3000}
    hub.repositories[MICE] = Repository(files)
    for field, value in change.items():
        setattr(hub, field, value)
    error = refusal("hf://datasets/lab/mice/x.bin", folder)
    assert error.code in ("refused", "damaged", "interrupted", "not_found")
    assert "\n" not in error.message
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    inside = (folder, tmp_path / "cache", tmp_path / "hf")
    outside = [p for p in written if not any(p.is_relative_to(f) for f in inside)]
    assert outside == [tmp_path / "name"]
    assert sum(path.stat().st_size for path in folder.rglob("*.part")) <= 3000


@pytest.mark.parametrize("change", [{"excess": 100}, {"damage": {"m\u202e.bin"}}])
def test_control_characters_of_names_are_not_shown(hub, tmp_path, change):
    hub.repositories[MICE] = Repository({"m\u202e.bin": b"x" * 3000})
    for field, value in change.items():
        setattr(hub, field, value)
    shown = []
    with pytest.raises(FetchError) as caught:
        om.fetch_session(
            "hf://datasets/lab/mice",
            tmp_path / "to",
            CallbackJob(lambda done, total, text: shown.append(text)),
        )
    assert all(text.isprintable() for text in (caught.value.message, *shown))


def test_a_download_below_the_least_rate_is_given_up(hub, tmp_path, monkeypatch):
    module = "omnimouse_model.data.hub.exchange"
    monkeypatch.setattr(f"{module}._MEASURED_S", 0.0)
    monkeypatch.setattr(f"{module}._SLOWEST", 10**12)
    error = refusal(SESSION, tmp_path / "to")
    assert error.code == "interrupted"
    assert "bytes/s" in error.message
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("address", "is_sent"),
    [
        ("https://hub.org", True),
        ("http://127.0.0.1:9", True),
        ("http://hub.org", False),
    ],
)
def test_a_token_is_sent_over_private_connections_only(monkeypatch, address, is_sent):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert (hub_headers().get("Authorization") == f"Bearer {TOKEN}") == is_sent


def test_what_answers_and_is_no_hub_is_told(hub, monkeypatch):
    monkeypatch.setattr("json.dumps", lambda _: "<html>sign in</html>")
    assert "sign in to the network" in refusal(SESSION).message


def test_two_programs_fetch_it_once(hub, session_tar):
    pause = hub.pause = Pause(len(session_tar) // 3)
    paths: list[Path] = []

    def tell(share: float, total: float, what: str) -> None:
        if "another program is fetching" in what:
            pause.is_over.set()

    def program() -> None:
        paths.append(om.fetch_session(SESSION, None, CallbackJob(tell)))

    threads = [threading.Thread(target=program) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert pause.is_over.is_set()
    assert paths[0] == paths[1]
    assert hub.sent == len(session_tar)


def test_too_little_room_is_said_before_anything_is_asked_for(hub, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    assert refusal(SESSION).code == "no_space"
    assert hub.sent == 0


def test_what_is_gated_says_what_to_do_and_leaves_nothing(hub, tmp_path, monkeypatch):
    hub.repositories[DATASET].is_gated = True
    error = refusal(SESSION, tmp_path / "to")
    assert error.code == "gated"
    page = f"https://huggingface.co/datasets/{DATASET[1]}"
    for words in (page, "settings/tokens", "omnimouse fetch --login", "HF_TOKEN"):
        assert words in error.message
    assert not (tmp_path / "to").exists()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    (tmp_path / "mine").mkdir()
    error = refusal(SESSION, tmp_path / "mine")
    assert error.code == "gated"
    assert "your token" in error.message
    assert TOKEN not in error.message
    assert list((tmp_path / "mine").iterdir()) == []
    hub.readers.add(TOKEN)
    assert fetch(SESSION).is_dir()


def test_a_stored_token_is_used_and_only_the_hub_sees_it(hub, token_file):
    hub.repositories[DATASET].is_gated = True
    hub.readers.add(TOKEN)
    done = run_command("fetch", "--login", SESSION, text=f"{TOKEN}\n")
    assert done.exit_code == 0, done.output
    assert token_file.read_text() == TOKEN
    assert TOKEN not in done.output
    at_store = [r for r in hub.requests if r.path.startswith("/store/")]
    assert {r.authorization for r in at_store} == {None}
    assert f"Bearer {TOKEN}" in {r.authorization for r in hub.requests}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf://datasets/lab/none/x.tar", "lab/none"),
        (f"hf://datasets/{DATASET[1]}/nothing.tar", "nothing.tar"),
        (f"hf://datasets/{DATASET[1]}@v9/x.tar", "no revision 'v9'"),
        ("omnimouse-1M", "omnimouse-1M is a checkpoint"),
        ("mouse", "'mouse'"),
        ("omnimouse-7M", ", ".join(CHECKPOINTS)),
    ],
)
def test_what_is_not_there_is_told(hub, name, words):
    error = refusal(name)
    assert error.code == "not_found"
    assert words in error.message


def test_without_a_connection_it_leaves_nothing(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    assert refusal(SESSION).code == "interrupted"
    with pytest.raises(FetchError):
        om.fetch_session(SESSION)
    assert capsys.readouterr().err == ""  # no bar
    done = run_command("fetch", "omnimouse-5M", "--to", tmp_path / "a" / "b")
    assert (done.exit_code, done.output) == (1, "")
    assert all(w in str(done.exception) for w in ("127.0.0.1", "HTTPS_PROXY"))
    assert "kept" not in str(done.exception)
    assert not (tmp_path / "a").exists()


def test_offline_what_is_there_is_used_and_nothing_is_asked(hub, monkeypatch):
    with monkeypatch.context() as offline:
        offline.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert refusal(SESSION).code == "offline"
        assert hub.requests == []
    fetch(SESSION)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert om.open_session(ADDRESS).n_neurons == 9


@pytest.mark.slow
def test_an_official_checkpoint_is_converted_once(hub, cache, official_files, net):
    predictor = om.load_predictor("omnimouse-1M")
    folder = local_path(HubPlace("model", MODEL[1]), None)
    assert folder.is_relative_to(cache)
    names = {p.name for p in folder.iterdir()}
    assert names == {"omnimouse-1M.safetensors", "omnimouse-1M.json"}
    read = read_checkpoint(folder)
    weights = net.state_dict()
    assert read.state.keys() == weights.keys()
    assert all(torch.equal(read.state[k], weights[k]) for k in weights)
    origin = {"address": f"hf://{MODEL[1]}", "commit": COMMIT, "licence": "mit"}
    assert read.card == origin
    assert "released sizes" in read.assumed[0]
    n_requests = len(hub.requests)
    again = om.load_predictor("omnimouse-1M")
    assert len(hub.requests) == n_requests
    assert again.predictor_id == predictor.predictor_id


@pytest.mark.slow
def test_checkpoints_of_ours_are_taken_as_they_are(hub, net, tmp_path):
    path = save_checkpoint(tmp_path / "a", net)
    files = {p.name: p.read_bytes() for p in (path, path.with_suffix(".json"))}
    hub.repositories["model", "lab/one"] = Repository({**files, "README.md": b"#"})
    folder = fetch_checkpoint("hf://lab/one")
    assert {p.name for p in folder.iterdir()} == set(files)
    assert read_checkpoint(folder).sessions == SESSIONS
    files |= {name.replace("a.", "b."): data for name, data in files.items()}
    files["torn.safetensors"] = b"x"
    hub.repositories["model", "lab/two"] = Repository(files)
    error = refusal("hf://lab/two", fetch=fetch_checkpoint)
    assert "a.safetensors, b.safetensors." in error.message
    folder = fetch_checkpoint("hf://lab/two/b.safetensors")
    assert {p.name for p in folder.iterdir()} == {"b.safetensors", "b.json"}
    error = refusal("hf://lab/two/torn.safetensors", fetch=fetch_checkpoint)
    assert ".json" in error.message


@pytest.mark.slow
def test_a_hostile_checkpoint_is_refused(official_files, cache):
    official_files["0-1000/rank_1.ckpt"] = b"\x80\x04cos\nsystem\n(S'touch x'\ntR."
    with pytest.raises(om.CheckpointError, match="unsafe"):
        fetch_checkpoint("omnimouse-1M")
    assert not list(cache.rglob("*.safetensors"))


def test_the_command_lists_and_fetches(hub, tmp_path):
    listing = json.loads(
        run_command("fetch", f"hf://datasets/{DATASET[1]}", "--list", "--json").stdout
    )
    assert [row["name"] for row in listing["rows"]] == ["README.md", FILE]
    assert "licence cc-by-4.0" in run_command("fetch", SESSION, "--list").output
    done = run_command("fetch", SESSION, "--to", tmp_path, "--json")
    (row,) = json.loads(done.stdout)["rows"]
    assert row["path"] == str(tmp_path / SESSION)
    assert row["value"] > 0


@pytest.mark.slow
@pytest.mark.usefixtures("official_files")
def test_an_official_folder_is_converted_by_hand(official_folder, tmp_path):
    out = tmp_path / "model.safetensors"
    done = run_command("convert", official_folder, out)
    assert done.exit_code == 0, done.output
    assert read_checkpoint(out).sessions == SESSIONS
