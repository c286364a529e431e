"""Fetching from the hub, against a stand-in on loopback: no network is used.

Over 600 lines because it is one protocol: every case needs the same stand-in, and a
way of failing without a test shows.
"""

import io
import json
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import keyring
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring
from keyring.backends.null import Keyring as Forgetful

import omnimouse_model as om
from omnimouse_app.cli import group
from omnimouse_model.data.fetching import target_of
from omnimouse_model.data.hub import listing
from omnimouse_model.data.hub_names import CHECKPOINTS, HubPlace, hub_place
from omnimouse_model.errors import FetchError, SessionFormatError, StoppedError
from omnimouse_model.live.opener import Opener
from omnimouse_model.live.opening import View
from omnimouse_model.nets import official
from omnimouse_model.nets.checkpoint import read_checkpoint, save_checkpoint
from omnimouse_model.nets.omnimouse import OmniMouse
from omnimouse_model.nets.start import initialise
from tests.hub_server import COMMIT, Hub, Repository, serving
from tests.model.experanto_folder import write_folder
from tests.model.official_shards import ANIMALS, SESSIONS, SMALL, write_shards

SESSION = "dynamic29513-3-5-Video-" + "9b" * 16 + "_30hz"
DATASET = ("dataset", "the-enigma-project/omnimouse-dataset")
MODEL = ("model", "the-enigma-project/omnimouse-1M")
TOKEN = "hf_" + "x" * 34
FILE = f"experiments/{SESSION}.tar"
ADDRESS = f"hf://datasets/{DATASET[1]}/experiments/{SESSION}.tar"


class Ring(KeyringBackend):
    """A keyring in memory."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password


@pytest.fixture(autouse=True)
def ring():
    before, ring = keyring.get_keyring(), Ring()
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


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
def hub(cache, session_tar, monkeypatch):
    files = {f"experiments/{SESSION}.tar": session_tar, "README.md": b"# Data\n"}
    with serving(Hub({DATASET: Repository(files, "cc-by-4.0")})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


@pytest.fixture
def model_hub(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(official, "SIZES", {"1M": SMALL})
    net = OmniMouse(SMALL, SESSIONS, ANIMALS)
    initialise(net, torch.Generator().manual_seed(0))
    folder = write_shards(net.eval(), tmp_path / "0-1000")
    files = {f"0-1000/{p.name}": p.read_bytes() for p in folder.iterdir()}
    hub.repositories[MODEL] = Repository({**files, ".gitattributes": b"*"}, "mit")
    return net


def quiet(share: float, what: str) -> None:
    pass


def refused(name: str, fetch: object = om.fetch_session) -> FetchError:
    with pytest.raises(FetchError) as caught:
        fetch(name, None, quiet)  # type: ignore[operator]
    return caught.value


# -- names ---------------------------------------------------------------------------
def test_names_of_the_hub_are_known():
    assert hub_place("omnimouse-5M") == HubPlace(
        "model", "the-enigma-project/omnimouse-5M"
    )
    short = HubPlace("dataset", DATASET[1], f"experiments/{SESSION}.tar")
    for name in (SESSION, f"hf://{SESSION}", f"hf:/{SESSION}", ADDRESS):
        assert hub_place(name) == short
    assert short.name == SESSION
    assert str(short) == ADDRESS
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


# -- recordings ----------------------------------------------------------------------
def test_a_recording_is_opened_by_its_address_once_fetched_then_kept(
    hub, cache, session_folder
):
    session = om.open_session(ADDRESS)
    source = om.open_session(session_folder)
    np.testing.assert_array_equal(session.responses.data, source.responses.data)
    asked = len(hub.requests)
    again = om.open_session(SESSION)
    assert again.path == session.path
    assert len(hub.requests) == asked  # nobody was asked
    folder = session.path.parent
    record = json.loads((folder / f"{SESSION}.hub.json").read_text())
    assert (record["commit"], record["licence"]) == (COMMIT, "cc-by-4.0")
    assert record["address"] == ADDRESS
    left = {p.name for p in folder.iterdir()} - {f".{SESSION}.lock"}
    assert left == {SESSION, f"{SESSION}.hub.json"}  # and not the archive


def test_it_is_put_where_it_is_wanted_and_the_share_is_told(hub, tmp_path):
    told: list[tuple[float, str]] = []
    path = om.fetch_session(
        SESSION, tmp_path / "mine", lambda s, w: told.append((s, w))
    )
    assert path == tmp_path / "mine" / SESSION
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert {w.split()[0] for _, w in told} == {"fetching", "unpacking"}


def test_folders_and_single_files_are_fetched_as_they_are(
    hub, session_folder, tmp_path
):
    files = {
        f"mice/m1/{p.relative_to(session_folder).as_posix()}": p.read_bytes()
        for p in session_folder.rglob("*")
        if p.is_file()
    }
    np.savez(tmp_path / "plain.npz", responses=np.ones((90, 2)), rate_hz=30.0)
    files["plain.npz"] = (tmp_path / "plain.npz").read_bytes()
    hub.repositories["dataset", "lab/mice"] = Repository(files)
    session = om.open_session("hf://datasets/lab/mice/mice/m1")
    assert session.n_neurons == om.open_session(session_folder).n_neurons
    assert om.open_session("hf://datasets/lab/mice/plain.npz").n_neurons == 2


def test_a_hostile_archive_is_refused_and_nothing_is_left_to_open(
    hub, cache, session_tar
):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("../../escaped")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    hub.repositories[DATASET].files[f"experiments/{SESSION}.tar"] = out.getvalue()
    with pytest.raises(SessionFormatError, match="outside the target folder"):
        om.fetch_session(SESSION, None, quiet)
    assert not list(cache.rglob("escaped"))
    assert not list(cache.rglob(SESSION))
    hub.repositories[DATASET].files[FILE] = session_tar  # mended, as the same commit
    assert om.fetch_session(SESSION, None, quiet).is_dir()


def test_the_live_instrument_fetches_off_the_thread_that_draws_and_says_how_far(hub):
    words: list[str] = []
    views: list[View] = []
    opener = Opener(views.append, lambda: "video_only", synchronous=True)
    opener.changed.connect(lambda: words.append(opener.words))
    opener.open(ADDRESS)
    assert opener.fault is None
    assert views[0].session.path.name == SESSION
    assert any("100 %" in w for w in words)


# -- on the way ----------------------------------------------------------------------
def test_a_stop_loses_nothing(hub, session_tar):
    def stop(share: float, what: str) -> None:
        if share > 0.4:
            raise StoppedError

    hub.bytes_per_s = 4e6
    with pytest.raises(StoppedError):
        om.fetch_session(SESSION, None, stop)
    hub.bytes_per_s = None
    begun = len(hub.requests)
    path = om.fetch_session(SESSION, None, quiet)
    assert om.open_session(path).n_neurons == 9
    (asked,) = [r.range for r in hub.requests[begun:] if r.range]
    first = int(asked.removeprefix("bytes=").split("-")[0])
    assert 0.3 * len(session_tar) < first < len(session_tar)


def test_a_kill_at_any_point_loses_nothing_and_leaves_no_half_session(
    hub, cache, session_folder
):
    command = [sys.executable, "-m", "omnimouse_app", "fetch", SESSION]
    hub.bytes_per_s = 1.2e5
    target = target_of(HubPlace("dataset", DATASET[1], FILE), None)
    sent = [0]
    for _ in range(3):
        running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while hub.sent <= sent[-1] + 60_000 and time.monotonic() < deadline:
            time.sleep(0.01)
        running.kill()
        running.wait()
        assert not target.exists()
        sent.append(hub.sent)
    hub.bytes_per_s = None
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert str(target) in done.stdout
    source = om.open_session(session_folder)
    np.testing.assert_array_equal(
        om.open_session(target).responses.data, source.responses.data
    )
    firsts = [int(r.range[6:].rstrip("-")) for r in hub.requests if r.range]
    assert len(firsts) == 3
    assert firsts == sorted(firsts)
    assert firsts[0] > 0


def test_a_connection_that_drops_is_taken_up_again(hub, session_tar, monkeypatch):
    monkeypatch.setattr("omnimouse_model.data.hub._PAUSE_S", 0.0)
    hub.cut_after = len(session_tar) // 2
    assert om.open_session(om.fetch_session(SESSION, None, quiet)).n_neurons == 9
    assert hub.sent < 1.2 * len(session_tar)


def test_what_arrives_damaged_is_not_taken(hub, cache):
    file = f"experiments/{SESSION}.tar"
    hub.damage.add(file)
    error = refused(SESSION)
    assert error.code == "damaged"
    assert file in error.message
    assert not list(cache.rglob("*.part"))
    hub.damage.clear()
    assert om.fetch_session(SESSION, None, quiet).is_dir()


def test_a_busy_hub_is_asked_again(hub, monkeypatch):
    monkeypatch.setattr("omnimouse_model.data.hub._PAUSE_S", 0.0)
    hub.busy = 3
    assert om.fetch_session(SESSION, None, quiet).is_dir()


def test_a_server_that_never_gets_on_is_given_up(hub, monkeypatch):
    monkeypatch.setattr("omnimouse_model.data.hub._PAUSE_S", 0.0)
    hub.sends_parts, hub.cut_after = False, 100_000
    assert refused(SESSION).code == "interrupted"
    assert len(hub.requests) < 40


def test_files_of_two_commits_are_never_mixed(hub):
    old, new = b"old" * 9, b"new" * 90_000
    hub.repositories["dataset", "lab/mice"] = Repository({"m/a": old, "m/b": new})

    def stop(share: float, what: str) -> None:
        if what.endswith("b"):
            raise StoppedError

    with pytest.raises(StoppedError):
        om.fetch_session("hf://datasets/lab/mice/m", None, stop)
    hub.commit = "ab" * 20
    hub.repositories["dataset", "lab/mice"] = Repository({"m/a": new, "m/c": old})
    path = om.fetch_session("hf://datasets/lab/mice/m", None, quiet)
    assert {p.name: p.read_bytes() for p in path.iterdir()} == {"a": new, "c": old}


def test_what_lies_within_another_is_no_answer_for_it(hub, tmp_path):
    files = {"e/x.bin": b"x", "e/y.bin": b"y"}
    hub.repositories["dataset", "lab/mice"] = Repository(files)
    hub.repositories["dataset", "lab/rats"] = Repository({"e/x.bin": b"rat"})
    om.fetch_session("hf://datasets/lab/mice/e/x.bin", None, quiet)
    assert refused("hf://datasets/lab/mice/f/typo.bin").code == "not_found"
    path = om.fetch_session("hf://datasets/lab/mice/e", None, quiet)
    assert {p.name for p in path.iterdir()} == {"x.bin", "y.bin"}
    assert refused("hf://datasets/lab/mice/f").code == "not_found"
    om.fetch_session("hf://datasets/lab/mice/e/x.bin", tmp_path, quiet)
    with pytest.raises(FetchError, match=r"lab/mice/e/x\.bin; choose another"):
        om.fetch_session("hf://datasets/lab/rats/e/x.bin", tmp_path, quiet)
    (tmp_path / "y.bin").write_bytes(b"mine")
    with pytest.raises(FetchError, match="was not fetched from the hub"):
        om.fetch_session("hf://datasets/lab/mice/e/y.bin", tmp_path, quiet)


@pytest.mark.parametrize("name", ["../x", "C:/x", "a\\..\\x", "/x"])
def test_a_repository_cannot_name_a_place_outside(hub, name):
    hub.repositories["dataset", "lab/mice"] = Repository({name: b"x", "fine": b"y"})
    assert refused("hf://datasets/lab/mice").code == "refused"


def test_what_answers_and_is_no_hub_is_told(hub, monkeypatch):
    monkeypatch.setattr("json.dumps", lambda _: "<html>sign in</html>")
    assert "sign in to the network" in refused(SESSION).message


def test_two_programs_fetch_it_once(hub, session_tar):
    hub.bytes_per_s = 4e5
    words: list[str] = []
    paths: list[Path] = []

    def fetch() -> None:
        paths.append(om.fetch_session(SESSION, None, lambda s, w: words.append(w)))

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert paths[0] == paths[1]
    assert hub.sent == len(session_tar)
    assert any("another program is fetching" in w for w in words)


def test_too_little_room_is_said_before_anything_is_asked_for(hub, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Use", (), {"free": 10}))
    error = refused(SESSION)
    assert error.code == "no_space"
    assert hub.sent == 0


# -- who may -------------------------------------------------------------------------
def test_what_is_gated_says_what_to_do(hub, monkeypatch):
    hub.repositories[DATASET].is_gated = True
    error = refused(SESSION)
    assert error.code == "gated"
    for words in (
        f"https://huggingface.co/datasets/{DATASET[1]}",
        "https://huggingface.co/settings/tokens",
        "omnimouse fetch --login",
        "HF_TOKEN",
    ):
        assert words in error.message
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    error = refused(SESSION)
    assert error.code == "gated"
    assert "your token is not of one" in error.message
    assert TOKEN not in error.message
    hub.readers.add(TOKEN)
    assert om.fetch_session(SESSION, None, quiet).is_dir()


def test_a_token_in_the_keyring_is_used_and_only_the_hub_sees_it(hub, ring):
    hub.repositories[DATASET].is_gated = True
    hub.readers.add(TOKEN)
    done = CliRunner().invoke(group, ["fetch", "--login", SESSION], input=f"{TOKEN}\n")
    assert done.exit_code == 0, done.output
    assert list(ring.kept.values()) == [TOKEN]
    assert TOKEN not in done.output
    at_store = [r for r in hub.requests if r.path.startswith("/store/")]
    assert at_store
    assert {r.authorization for r in at_store} == {None}
    assert f"Bearer {TOKEN}" in {r.authorization for r in hub.requests}


def test_a_system_without_a_keyring_is_told_what_else_to_do():
    for none in (NoKeyring(), Forgetful()):
        keyring.set_keyring(none)
        done = CliRunner().invoke(group, ["fetch", "--login"], input="t\n")
        assert "HF_TOKEN" in str(done.exception)
        assert done.output == ""  # the token is not asked for


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf://datasets/lab/none/x.tar", "is not on the hub, or not for you to see"),
        (f"hf://datasets/{DATASET[1]}/nothing.tar", "is not in its repository"),
        (f"hf://datasets/{DATASET[1]}@v9/x.tar", "has no revision 'v9'"),
        ("omnimouse-1M", "is a checkpoint; recordings are in datasets"),
        ("mouse", "is no name of the hub"),
    ],
)
def test_what_is_not_there_is_told(hub, name, words):
    error = refused(name)
    assert error.code == "not_found"
    assert words in error.message


def test_without_a_connection_it_says_so(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert refused(SESSION).code == "interrupted"


def said(*words: str) -> subprocess.CompletedProcess[str]:
    """What the command line answers, in a process of its own."""
    command = [sys.executable, "-m", "omnimouse_app", "fetch", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_without_a_connection_one_line_says_what_to_do_and_nothing_is_left(
    hub, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    done = said("omnimouse-5M", "--to", str(tmp_path / "a" / "b"))
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("omnimouse: No connection to 127.0.0.1 (")
    assert "HTTPS_PROXY" in line
    assert "the same command tries again" in line
    assert "kept" not in line
    assert not (tmp_path / "a").exists()


def test_without_a_connection_no_bar_is_drawn(hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(FetchError):
        om.fetch_session(SESSION)
    assert capsys.readouterr().err == ""


def test_what_arrived_before_the_line_went_down_is_kept_and_said_so(
    hub, tmp_path, monkeypatch
):
    monkeypatch.setattr("omnimouse_model.data.hub._PAUSE_S", 0.0)
    hub.sends_parts, hub.cut_after = False, 100_000
    with pytest.raises(FetchError, match="what arrived is kept"):
        om.fetch_session(SESSION, tmp_path / "to", quiet)
    assert list((tmp_path / "to").rglob("*.part"))


def test_what_is_not_for_this_user_leaves_no_empty_folder(hub, tmp_path):
    hub.repositories[DATASET].is_gated = True
    with pytest.raises(FetchError, match="open to those who asked"):
        om.fetch_session(SESSION, tmp_path / "to", quiet)
    assert not (tmp_path / "to").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(FetchError):
        om.fetch_session(SESSION, tmp_path / "mine", quiet)
    assert list((tmp_path / "mine").iterdir()) == []


def test_ctrl_c_ends_in_one_line_and_the_same_command_goes_on(hub, cache, session_tar):
    hub.bytes_per_s = 1.2e5
    command = [sys.executable, "-m", "omnimouse_app", "fetch", SESSION]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while hub.sent <= 200_000 and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    (line,) = [t for t in told.splitlines() if "%" not in t]  # progress, off a terminal
    assert line.startswith("stopped; 0.")
    assert line.endswith(" MiB are kept: the same command goes on from there")
    hub.bytes_per_s = None
    sent = hub.sent
    assert said(SESSION).returncode == 0
    assert hub.sent - sent < len(session_tar) - 100_000


def test_what_can_be_had_is_listed_without_a_name(hub, monkeypatch):
    done = said("--list")
    assert done.returncode == 0
    for name in (*CHECKPOINTS, SESSION, "licence cc-by-4.0"):
        assert name in done.stdout
    assert "README" not in done.stdout
    rows = json.loads(said("--list", "--json").stdout)["rows"]
    assert [row["name"] for row in rows] == [*CHECKPOINTS, SESSION]
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    done = said("--list")  # the checkpoints are known all the same
    assert done.returncode == 1
    assert "omnimouse-300M" in done.stdout
    assert "No connection to 127.0.0.1" in done.stderr
    assert said("--list", "--json").stdout == ""


def test_a_size_that_is_not_there_lists_those_that_are(hub):
    done = said("omnimouse-7M")
    assert done.returncode == 1
    assert "no checkpoint 'omnimouse-7M'" in done.stderr
    assert all(name in done.stderr for name in CHECKPOINTS)
    with pytest.raises(om.CheckpointError, match="omnimouse-20M, omnimouse-80M"):
        om.load_predictor("omnimouse-7M")


def test_offline_what_is_there_is_used_and_nothing_is_asked(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert refused(SESSION).code == "offline"
    assert hub.requests == []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    om.fetch_session(SESSION, None, quiet)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert om.open_session(ADDRESS).n_neurons == 9


# -- checkpoints ---------------------------------------------------------------------
def test_an_official_checkpoint_is_fetched_converted_once_and_loaded(
    hub, cache, model_hub
):
    predictor = om.load_predictor("omnimouse-1M")
    folder = target_of(HubPlace("model", MODEL[1]), None)
    assert folder.is_relative_to(cache)
    names = {p.name for p in folder.iterdir()}
    assert names == {"omnimouse-1M.safetensors", "omnimouse-1M.json"}
    read = read_checkpoint(folder)
    weights = model_hub.state_dict()
    assert read.state.keys() == weights.keys()
    assert all(torch.equal(read.state[k], weights[k]) for k in weights)
    assert read.card == {
        "address": f"hf://{MODEL[1]}",
        "commit": COMMIT,
        "licence": "mit",
    }
    assert "from the table of released sizes" in read.assumed[0]
    asked = len(hub.requests)
    again = om.load_predictor("omnimouse-1M")
    assert len(hub.requests) == asked
    assert again.predictor_id == predictor.predictor_id


def test_a_checkpoint_of_ours_is_taken_as_it_is(hub, model_hub, tmp_path):
    path = save_checkpoint(tmp_path / "mine", model_hub)
    files = {p.name: p.read_bytes() for p in (path, path.with_suffix(".json"))}
    hub.repositories["model", "lab/mine"] = Repository({**files, "README.md": b"#"})
    folder = om.fetch_checkpoint("hf://lab/mine", None, quiet)
    assert {p.name for p in folder.iterdir()} == set(files)
    assert read_checkpoint(folder).sessions == SESSIONS


def test_several_checkpoints_are_named(hub, model_hub):
    files = hub.repositories[MODEL].files
    files |= {n.replace("0-1000", "0-2000"): d for n, d in files.items()}
    error = refused("omnimouse-1M", om.fetch_checkpoint)
    assert "several checkpoints: 0-1000, 0-2000" in error.message
    path = om.fetch_checkpoint(f"hf://{MODEL[1]}/0-2000", None, quiet)
    assert read_checkpoint(path).sessions == SESSIONS


def test_one_of_our_own_checkpoints_is_named_by_its_file(hub, model_hub, tmp_path):
    files = {}
    for name in ("a", "b"):
        path = save_checkpoint(tmp_path / name, model_hub)
        files |= {p.name: p.read_bytes() for p in (path, path.with_suffix(".json"))}
    files["torn.safetensors"] = b"x"
    hub.repositories["model", "lab/mine"] = Repository(files)
    error = refused("hf://lab/mine", om.fetch_checkpoint)
    assert "a.safetensors, b.safetensors. Name one" in error.message
    folder = om.fetch_checkpoint("hf://lab/mine/b.safetensors", None, quiet)
    assert {p.name for p in folder.iterdir()} == {"b.safetensors", "b.json"}
    error = refused("hf://lab/mine/torn.safetensors", om.fetch_checkpoint)
    assert "no *.safetensors with its .json" in error.message


def test_info_of_a_released_checkpoint_fetches_it(model_hub):
    done = CliRunner().invoke(group, ["info", "omnimouse-1M", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["rows"][0]["name"] == "checkpoint"


def test_a_hostile_checkpoint_is_refused(hub, model_hub, cache):
    shard = hub.repositories[MODEL].files
    shard["0-1000/rank_1.ckpt"] = b"\x80\x04cos\nsystem\n(S'touch x'\ntR."
    with pytest.raises(om.CheckpointError, match="refused"):
        om.fetch_checkpoint("omnimouse-1M", None, quiet)
    assert not list(cache.rglob("*.safetensors"))


# -- the command ---------------------------------------------------------------------
def test_the_command_lists_and_fetches(hub, tmp_path):
    listed = CliRunner().invoke(
        group, ["fetch", f"hf://datasets/{DATASET[1]}", "--list", "--json"]
    )
    names = [row["name"] for row in json.loads(listed.stdout)["rows"]]
    assert names == ["README.md", f"experiments/{SESSION}.tar"]
    shown = CliRunner().invoke(group, ["fetch", SESSION, "--list"])
    assert "licence cc-by-4.0" in shown.output
    words = ["fetch", SESSION, "--to", str(tmp_path), "--json"]
    (row,) = json.loads(CliRunner().invoke(group, words).stdout)["rows"]
    assert row["path"] == str(tmp_path / SESSION)
    assert row["value"] > 0


def test_an_archive_on_this_machine_is_unpacked(tmp_path, session_tar):
    path = tmp_path / f"{SESSION}.tar"
    path.write_bytes(session_tar)
    done = CliRunner().invoke(group, ["fetch", str(path)])
    assert done.exit_code == 0, done.output
    assert om.open_session(tmp_path / SESSION).n_neurons == 9


def test_an_official_folder_is_converted_by_hand(model_hub, tmp_path):
    out = tmp_path / "model.safetensors"
    done = CliRunner().invoke(group, ["convert", str(tmp_path / "0-1000"), str(out)])
    assert done.exit_code == 0, done.output
    assert read_checkpoint(out).sessions == SESSIONS


def test_a_listing_holds_the_checksums_the_hub_gives(hub):
    place = hub_place(SESSION)
    assert place is not None
    (file,) = listing(place).files
    assert len(file.checksum) == 64
