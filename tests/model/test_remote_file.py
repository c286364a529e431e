"""NWB files at web addresses: only what is needed is sent."""

import pickle
from pathlib import Path

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.readers import statistics
from omnimouse_model.data.remote_file import web_address
from omnimouse_model.errors import SessionFormatError
from tests.hub_server import Hub, Repository, serving
from tests.model.nwb_files import Nwb, Plane, write_nwb

KEY = ("dataset", "lab/mice")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A file of some 60 MB, most of it responses."""
    what = Nwb(planes=(Plane(n=400, seconds=3600.0),))
    return write_nwb(tmp_path_factory.mktemp("nwb") / "mouse.nwb", what)


@pytest.fixture
def hub(recording):
    files = {"mouse.nwb": recording.read_bytes(), "text.nwb": b"no such thing" * 9}
    with serving(Hub({KEY: Repository(files)})) as hub:
        yield hub


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    """Statistics are computed from 20,000 samples: few only of a long recording."""
    monkeypatch.setattr(statistics, "_MAX_ROWS", 1280)
    monkeypatch.setattr(statistics, "_RUNS", 8)


def address(hub: Hub, name: str = "mouse.nwb") -> str:
    return f"{hub.store}/{KEY[0]}/{KEY[1]}/{name}"


def test_an_address_is_known_also_as_a_path():
    assert web_address("https://host/a.nwb?v=1") == "https://host/a.nwb?v=1"
    assert web_address(Path("https://host/a.nwb")) == "https://host/a.nwb"
    assert web_address("http:\\host\\a.nwb") == "http://host/a.nwb"
    for other in ("file:///etc/passwd", "C:/a.nwb", "a.nwb", "httpx://host/a"):
        assert web_address(other) is None


def test_values_are_those_of_the_file_and_little_of_it_is_sent(hub, recording):
    here, there = om.open_session(recording), om.open_session(address(hub))
    total = recording.stat().st_size
    assert hub.sent < total / 3
    window, wanted = there.window(start_s=30.0), here.window(start_s=30.0)
    np.testing.assert_array_equal(window.responses, wanted.responses)
    assert hub.sent < total / 2
    assert (there.format, there.n_neurons, there.id) == ("nwb", 400, here.id)


def test_it_travels_to_another_process_as_its_address(hub):
    session = om.open_session(address(hub))
    again = pickle.loads(pickle.dumps(session))
    assert again.fingerprint == session.fingerprint
    data = hub.repositories[KEY].files
    packed = pickle.dumps(om.open_session(address(hub)))
    data["mouse.nwb"] = data["mouse.nwb"] + b"x"
    with pytest.raises(SessionFormatError, match="changed"):
        _forgotten(packed)


def _forgotten(packed: bytes) -> object:
    from omnimouse_model.data import open as opening

    opening._reopened.clear()
    return pickle.loads(packed)


def test_a_file_that_is_replaced_is_never_read_as_a_mixture(hub, monkeypatch):
    session = om.open_session(address(hub))
    files = hub.repositories[KEY].files
    files["mouse.nwb"] = files["mouse.nwb"][:-1] + b"!"
    with pytest.raises(SessionFormatError, match="changed while"):
        _read_all(session)
    monkeypatch.setattr("omnimouse_model.data.remote_file._TRUSTED_S", 0.0)
    with pytest.raises(SessionFormatError, match="changed while"):
        _ = session.window(30.0).responses


def _read_all(session: om.Session) -> None:
    for start in session.start_grid[::600] - session.t0:
        _ = session.window(float(start)).responses


def test_secrets_of_an_address_stay_in_it(hub):
    secret = address(hub).replace("http://", "http://me:PASS@") + "?sig=SIGNATURE"
    session = om.open_session(secret)
    assert session.place == secret
    shown = f"{session.path} {session.id} {session.warnings} {session.assumptions}"
    assert "PASS" not in shown
    assert "SIGNATURE" not in shown
    assert pickle.loads(pickle.dumps(session)).fingerprint == session.fingerprint
    with pytest.raises(SessionFormatError) as caught:
        om.open_session(secret.replace("mouse.nwb", "none.nwb"))
    assert "PASS" not in str(caught.value)
    assert "SIGNATURE" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [("none.nwb", "is not there"), ("text.nwb", "not a sound HDF5 file")],
)
def test_what_cannot_be_read_is_told(hub, name, words):
    with pytest.raises(SessionFormatError, match=words):
        om.open_session(address(hub, name))


def test_a_server_that_sends_only_whole_files_is_told(hub):
    hub.sends_parts = False
    with pytest.raises(SessionFormatError, match="cannot be read in parts"):
        om.open_session(address(hub))


def test_a_server_that_is_not_there_is_told():
    with pytest.raises(SessionFormatError, match="cannot be reached"):
        om.open_session("http://127.0.0.1:9/mouse.nwb")
