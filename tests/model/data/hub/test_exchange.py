import os
import socket
import threading
from collections.abc import Iterator

import pytest
from huggingface_hub import constants

from omnimouse_model.data.hub.exchange import HubPlace, hub_headers, save_token
from omnimouse_model.data.hub.fetch import list_files
from omnimouse_model.errors import FetchError
from tests.hub_server import Hub, hub_endpoint
from tests.raw_server import serving

OK = b"HTTP/1.1 200 OK\r\n"
MOVED = b"HTTP/1.1 302 Found\r\nLocation: "


def dripping(begin: bytes, more: bytes) -> Iterator[bytes]:
    """Parts of an answer: `begin`, then `more` again and again."""
    yield begin
    while True:
        yield more
        threading.Event().wait(0.01)


@pytest.fixture
def server(monkeypatch):
    """Server whose `answer` a test sets."""
    with serving(lambda *_: b"") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setattr("omnimouse_model.storage.web._HEAD_S", 0.3)
        yield server


@pytest.mark.parametrize(
    ("begin", "more", "code"),
    [
        (b"", b"H", "interrupted"),
        (OK + b"X-Long: ", b"x", "interrupted"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", "interrupted"),
        (MOVED, b"/", "interrupted"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0", "interrupted"),
        (OK + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n", b"0", "interrupted"),
        (MOVED + b"/again\r\n\r\n", b"body", "refused"),
        (MOVED + b"http://[::1\r\n\r\n", b"body", "refused"),
    ],
)
def test_an_answer_that_drips_or_leads_nowhere_is_given_up(server, begin, more, code):
    server.answer = lambda *_: dripping(begin, more)
    with pytest.raises(FetchError) as caught:
        list_files(HubPlace("dataset", "lab/mice", "m"))
    assert caught.value.code == code
    assert ("0.3 s" in caught.value.message) == (code == "interrupted")


def test_a_storage_that_is_not_reached_is_named(server, monkeypatch):
    server.answer = lambda *_: MOVED + b"http://storage.example:81/bytes\r\n\r\n"
    look_up, connect = socket.getaddrinfo, socket.create_connection

    def looked_up(host, port, *rest, **options):
        host = "93.184.216.34" if host == "storage.example" else host
        return look_up(host, port, *rest, **options)

    def to(address, *rest, **options):
        if address[1] == 81:
            raise ConnectionRefusedError(f"no connection to {address}")
        return connect(address, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    monkeypatch.setattr(socket, "create_connection", to)
    with pytest.raises(FetchError, match=r"No connection to storage\.example"):
        list_files(HubPlace("dataset", "lab/mice", "m"))


def test_an_encoded_list_is_refused_with_its_place(server):
    server.answer = lambda *_: OK + b"Content-Encoding: gzip, gzip\r\n\r\n"
    with pytest.raises(FetchError, match="hf://datasets/lab/mice/m is sent as 'gzip"):
        list_files(HubPlace("dataset", "lab/mice", "m"))


TOKEN = "hf_Abc.d-1"


@pytest.fixture
def place(tmp_path, monkeypatch):
    place = tmp_path / "hf" / "token"
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(place))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return place


@pytest.fixture
def hub(place, monkeypatch):
    with hub_endpoint(Hub()) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


def test_a_token_that_the_hub_accepts_is_saved_for_its_owner(hub, place):
    hub.answer = b"not read"
    save_token(f" {TOKEN}\n")
    assert hub_headers()["Authorization"] == f"Bearer {place.read_text()}" == f"Bearer {TOKEN}"
    assert os.name == "nt" or place.stat().st_mode & 0o077 == 0
    [request] = hub.requests
    assert request.authorization == f"Bearer {TOKEN}"


@pytest.mark.parametrize("token", [TOKEN, "hf_Abc\x1b[2J", "hf_\u00e4", "a b", ""])
def test_other_tokens_are_refused_and_not_shown(hub, place, token):
    with pytest.raises(FetchError) as caught:
        save_token(token)
    assert caught.value.code == "refused"
    assert not token or token not in str(caught.value)
    assert not place.exists()
    assert len(hub.requests) == (token == TOKEN)


def test_a_token_is_not_sent_without_encryption(hub, place, monkeypatch):
    # Loopback, but not by a name that is known as such.
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint.replace("127.0.0.1", "127.0.0.2"))
    with pytest.raises(FetchError, match="not encrypted"):
        save_token(TOKEN)
    assert not hub.requests
    assert not place.exists()
