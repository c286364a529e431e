import pickle

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.readers.build import statistics
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage import http_file
from tests.hub_server import Hub, Repository, local_server
from tests.model.data.refusals import check_refusal
from tests.model.nwb_files import Nwb, Plane, write_nwb

KEY = ("dataset", "lab/mice")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A file of some 7 MB, most of it responses."""
    what = Nwb(planes=(Plane(n=100, seconds=1800.0),))
    return write_nwb(tmp_path_factory.mktemp("nwb") / "mouse.nwb", what)


@pytest.fixture(scope="module")
def server():
    with local_server() as server:
        yield server


@pytest.fixture
def hub(server, recording):
    files = {"mouse.nwb": recording.read_bytes(), "text.nwb": b"no such thing" * 9}
    return server.serve(Hub({KEY: Repository(files)}))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Blocks and samples for statistics as small beside the file as of a real one."""
    monkeypatch.setattr(http_file, "_BLOCK", 2**17)
    monkeypatch.setattr(statistics, "_MAX_ROWS", 640)
    monkeypatch.setattr(statistics, "_RUNS", 4)


def address(hub: Hub, name: str = "mouse.nwb") -> str:
    return f"{hub.store}/{KEY[0]}/{KEY[1]}/{name}"


@pytest.mark.slow
def test_values_are_those_of_the_file_and_little_of_it_is_sent(hub, recording):
    here, there = om.open_session(recording), om.open_session(address(hub))
    total = recording.stat().st_size
    assert hub.sent < total / 3
    window, wanted = there.window(start_s=30.0), here.window(start_s=30.0)
    np.testing.assert_array_equal(window.responses, wanted.responses)
    assert hub.sent < total / 2
    assert (there.format, there.n_neurons, there.id) == ("nwb", 100, here.id)


def read_all(session: om.Session) -> None:
    for start in session.start_grid[::600] - session.t0:
        _ = session.window(float(start)).responses


@pytest.mark.slow
def test_a_file_that_is_replaced_is_never_read_as_a_mixture(hub, monkeypatch):
    session = om.open_session(address(hub))
    files = hub.repositories[KEY].files
    files["mouse.nwb"] = files["mouse.nwb"][:-1] + b"!"
    with pytest.raises(SessionFormatError, match="changed while"):
        read_all(session)
    monkeypatch.setattr(http_file, "_TRUSTED_S", 0.0)
    with pytest.raises(SessionFormatError, match="changed while"):
        _ = session.window(30.0).responses


@pytest.mark.slow
def test_secrets_of_an_address_stay_in_it(hub):
    secret = address(hub).replace("http://", "http://me:PASS@") + "?sig=SIGNATURE"
    session = om.open_session(secret)
    assert session.source == secret
    assert pickle.loads(pickle.dumps(session)).fingerprint == session.fingerprint
    refused = check_refusal(secret.replace("mouse.nwb", "none.nwb"))
    public = (session.path, session.id, session.warnings, session.assumptions)
    for text in (str(public), str(refused)):
        assert "PASS" not in text
        assert "SIGNATURE" not in text


@pytest.mark.parametrize(("name", "code"), [("none.nwb", "missing_file"), ("text.nwb", "not_hdf5")])
def test_what_cannot_be_read_is_told(hub, name, code):
    assert check_refusal(address(hub, name)).code == code


def test_servers_of_whole_files_and_servers_that_are_not_there_are_told(hub):
    hub.sends_parts = False
    check_refusal(address(hub), "cannot be read in parts")
    check_refusal("http://127.0.0.1:9/mouse.nwb", "cannot be reached")
