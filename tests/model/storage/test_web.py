"""Requests to servers that send something else than they were asked for."""

import json
import pickle
import socket
import ssl

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.readers.build import finalise
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.simulate.demo import open_line
from omnimouse_model.storage import web
from omnimouse_model.storage.web import AnswerError, Place, RemoteFile, Requests, checked_addresses
from tests.hub_server import Hub, Repository
from tests.model.data.refusals import check_refusal
from tests.model.nwb_files import Plane, write_nwb
from tests.raw_server import serving

CONTENT = bytes(range(256)) * 40


def reply(status: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, "Connection: close"]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def part(first: int, last: int, **change: int) -> bytes:
    """Return a right answer, or one with other numbers in it."""
    begin, end = first + change.get("begin", 0), last + change.get("end", 0)
    told = f"Content-Range: bytes {begin}-{end}/{change.get('size', len(CONTENT))}"
    return reply("206 Partial Content", CONTENT[first : last + 1], told, 'ETag: "1"')


def test_bytes_are_those_of_the_file():
    with serving(part) as server:
        stream = RemoteFile(server.url).open()
        stream.seek(-300, 2)
        assert stream.read() == CONTENT[-300:]
        stream.seek(5)
        assert stream.read(7) == CONTENT[5:12]
        stream.close()
    assert all("Accept-Encoding: identity" in head for head in server.asked)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda first, last: reply("200 OK", CONTENT), "the whole file is sent"),
        (lambda first, last: reply("206 Partial", b"a"), "status 206 is sent"),
        (lambda first, last: part(first, last, begin=1), "were asked"),
        (lambda first, last: part(first, last, end=1), "were asked"),
        (lambda first, last: part(first, last + 1), "sends more than"),
        (lambda first, last: reply("200 OK", b"", length=2**60), "whole file"),
        (
            lambda first, last: part(first, last).replace(b"ETag", b"Content-Encoding: gzip\r\nA"),
            "is sent as .gzip",
        ),
        (lambda first, last: part(first, last, size=10**19), "status 206 is sent"),
        (
            lambda first, last: part(first, last).replace(b"bytes 0", b"bytes " + b"0" * 5000),
            "status 206 is sent",
        ),
        (lambda first, last: reply("416 Range Not Satisfiable", b""), "status 416"),
        (lambda first, last: b"no HTTP\r\n\r\n", "cannot be reached"),
        (lambda first, last: b"HTTP/1.1 206 OK\r\n" + b"A: b\r\n" * 200, "cannot be reached"),
    ],
)
def test_an_answer_with_other_bytes_is_one_line(answer, words):
    with serving(answer) as server, pytest.raises(SessionFormatError, match=words) as caught:
        RemoteFile(server.url)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("change", [{"size": 5}, {"size": 10**9}])
def test_a_size_that_changes_is_one_line(change):
    with serving(part) as server:
        stream = RemoteFile(server.url).open()
        server.answer = lambda first, last: part(first, last, **change)
        with pytest.raises(SessionFormatError, match="changed while"):
            stream.read(1)


def test_a_server_that_falls_silent_is_one_line(monkeypatch):
    monkeypatch.setattr(web, "_HEAD_S", 0.05)
    refused = pytest.raises(SessionFormatError, match="cannot be reached")
    with serving(lambda first, last: b"") as server, refused:
        RemoteFile(server.url)


def test_redirects_without_end_are_one_line():
    refused = pytest.raises(SessionFormatError, match="redirects more than 10 times")
    with (
        serving(lambda first, last: reply("302 Found", b"", "Location: /a.nwb")) as server,
        refused,
    ):
        RemoteFile(server.url)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect"])
def test_a_redirect_to_another_place_of_this_machine_is_refused(status, monkeypatch):
    with serving(part) as inner:
        told = f"Location: http://127.0.0.1:{inner.port}/secret"
        with serving(lambda first, last: reply(status, b"", told)) as server:
            with pytest.raises(SessionFormatError, match=f"--trust 127.0.0.1:{inner.port}"):
                RemoteFile(server.url)
            assert not inner.asked
            monkeypatch.setenv(web.TRUSTED_HOSTS, f"example.org, 127.0.0.1:{inner.port}")
            RemoteFile(server.url)
            assert inner.asked


def test_trusted_hosts_are_a_setting_that_is_kept():
    place, named = Place("http", "127.0.0.1", 8000), Place.of("http://93.184.216.34/")
    with pytest.raises(AnswerError, match="--trust"):
        checked_addresses(place, named)
    web.trust_hosts(["Example.org"])
    path = web.trust_hosts(["127.0.0.1:8000", "example.org"])
    assert json.loads(path.read_text()) == {"trusted_hosts": ["example.org", "127.0.0.1:8000"]}
    assert checked_addresses(place, named) == ["127.0.0.1"]
    path.write_text("[")  # damaged: nothing is trusted, and it is set aside
    with pytest.raises(AnswerError, match="--trust"):
        checked_addresses(place, named)
    assert not path.exists()


def test_a_password_is_sent_to_its_place_only(monkeypatch):
    with serving(part) as other:
        monkeypatch.setenv(web.TRUSTED_HOSTS, f"127.0.0.1:{other.port}")
        told = f"Location: http://127.0.0.1:{other.port}/"
        with serving(lambda first, last: reply("302 Found", b"", told)) as server:
            RemoteFile(server.url.replace("//", "//me:PASS@"))
    assert all("Authorization: Basic" in head for head in server.asked)
    assert not any("Authorization" in head for head in other.asked)


@pytest.mark.parametrize(
    "number",
    [
        *("127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "0.0.0.0"),
        *("::1", "fe80::1%2", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "224.0.0.1"),
        # Numbers of IPv4 that gateways reach, and other networks that are no web.
        *("64:ff9b::10.0.0.1", "64:ff9b:1::1", "2002:7f00:1::1", "::10.0.0.1", "::ffff:0:7f00:1"),
        *("fec0::1", "5f00::1"),
    ],
)
def test_no_redirect_leads_to_a_number_of_this_network(monkeypatch, number):
    numbers = {"near.example": ["93.184.216.34", number], "far.example": ["93.184.216.35"]}
    monkeypatch.setattr(Place, "addresses", lambda place: numbers[place.host])
    near, far = Place("https", "near.example", 443), Place("https", "far.example", 443)
    with pytest.raises(AnswerError, match=r"near\.example:443"):
        checked_addresses(near, far)
    assert checked_addresses(far, near) == numbers["far.example"]
    # The user named it.
    assert checked_addresses(near, near) == numbers["near.example"]


@pytest.mark.parametrize("number", ["2606:4700::1", "64:ff9b::8.8.8.8", "2002:808:808::1"])
def test_a_redirect_leads_to_a_number_of_the_web(monkeypatch, number):
    monkeypatch.setattr(Place, "addresses", lambda place: [number])
    far, near = (Place("https", host, 443) for host in ("far.example", "near.example"))
    assert checked_addresses(far, near) == [number]


@pytest.mark.parametrize("is_trusted", [False, True])
def test_a_named_host_that_was_on_the_web_does_not_move_to_this_network(monkeypatch, is_trusted):
    numbers = ["93.184.216.34"]
    monkeypatch.setattr(web, "_ON_THE_WEB", set())
    monkeypatch.setattr(Place, "addresses", lambda place: numbers)
    place, other = Place("https", "a.example", 443), Place("https", "b.example", 443)
    if is_trusted:
        monkeypatch.setenv(web.TRUSTED_HOSTS, "a.example")
    named = other if is_trusted else place
    assert checked_addresses(place, named) == numbers
    numbers = ["192.168.1.1"]
    with pytest.raises(AnswerError, match=r"a\.example was on the web and is now on this machine"):
        checked_addresses(place, named)


def test_the_number_that_was_checked_is_the_one_connected_to(monkeypatch):
    """A name server could answer with another number the second time."""
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])
    tried = []

    def resolved(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (n, port)) for n in next(answers)]

    def connect(address, timeout):
        tried.append(address)
        raise OSError("not in a test")

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(AnswerError, match="not in a test"):
        Requests("http://far.example/a").get(1, {})
    assert tried == [("93.184.216.34", 80)]


@pytest.fixture
def proxy(monkeypatch):
    """A proxy that answers itself, named by the environment."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serving(part) as server:
        address = f"http://me:PASS@127.0.0.1:{server.port}"
        monkeypatch.setenv("http_proxy", address)
        monkeypatch.setenv("https_proxy", address)
        yield server


def test_the_proxy_of_the_environment_is_asked_and_gets_its_password(proxy, monkeypatch):
    with RemoteFile("http://far.example/a.nwb").open() as stream:
        assert stream.read() == CONTENT
    assert all(head.startswith("GET http://far.example/a.nwb HTTP") for head in proxy.asked)
    assert all("\r\nProxy-Authorization: Basic" in head for head in proxy.asked)
    assert not any("\r\nAuthorization" in head for head in proxy.asked)
    proxy.asked.clear()
    proxy.answer = lambda first, last: reply("403 Forbidden", b"")
    with pytest.raises(AnswerError, match="403"):
        Requests("https://far.example/a").get(1, {"Authorization": "Bearer SECRET"})
    assert proxy.asked[0].startswith("CONNECT far.example:443 HTTP")
    assert not any("SECRET" in head for head in proxy.asked)
    monkeypatch.delenv("http_proxy")
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(AnswerError, match="socks5, and only http is known"):
        Requests("http://far.example/a").get(1, {})


@pytest.mark.parametrize("place", ["http://127.0.0.1:9/a", "http://near.example/a"])
def test_no_proxy_is_led_to_this_machine_or_its_network(proxy, monkeypatch, place):
    numbers = {"near.example": ["10.0.0.1"], "far.example": ["93.184.216.35"]}
    monkeypatch.setattr(Place, "addresses", lambda place: numbers.get(place.host, [place.host]))
    proxy.answer = lambda first, last: reply("302 Found", b"", f"Location: {place}")
    with pytest.raises(AnswerError, match="on this machine or its network"):
        Requests("http://far.example/a").get(1, {})
    assert len(proxy.asked) == 1


def test_a_machine_without_authorities_has_those_of_a_package(monkeypatch):
    bare, none = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.DefaultVerifyPaths(*[None] * 6)
    monkeypatch.setattr(ssl, "create_default_context", lambda: bare)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: none)
    assert web._with_authorities().get_ca_certs()


def test_a_server_of_this_machine_is_asked_without_proxy(proxy):
    with serving(part) as server:
        RemoteFile(server.url)
        assert server.asked
    assert not proxy.asked


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://a/b", "http://", "http://a:99999/", "http://a:x/"]
)
def test_other_addresses_are_refused(url):
    with pytest.raises(AnswerError, match="no address"):
        Requests(url)


def test_lines_in_an_address_are_not_sent():
    with serving(part) as server, pytest.raises(AnswerError):
        Requests(server.url + "\r\nX: y").get(1, {"X": "a\r\nB: c"})
    assert not server.asked


KEY = ("dataset", "lab/mice")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A file of some 7 MB, most of it responses."""
    path = tmp_path_factory.mktemp("nwb") / "mouse.nwb"
    return write_nwb(path, Plane(n=100, seconds=1800.0))


@pytest.fixture
def hub(server, recording):
    files = {"mouse.nwb": recording.read_bytes(), "text.nwb": b"no such thing" * 9}
    return server.serve(Hub({KEY: Repository(files)}))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Blocks and samples for statistics as small beside the file as of a real one."""
    monkeypatch.setattr(web, "_BLOCK", 2**17)
    monkeypatch.setattr(finalise, "_MAX_ROWS", 640)
    monkeypatch.setattr(finalise, "_RUNS", 4)


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
    found = {"om": om}
    exec(open_line(there), found)
    assert found["session"].fingerprint == there.fingerprint


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
    monkeypatch.setattr(web, "_TRUSTED_S", 0.0)
    with pytest.raises(SessionFormatError, match="changed while"):
        _ = session.window(30.0).responses


@pytest.mark.slow
def test_secrets_of_an_address_stay_in_it(hub):
    secret = address(hub).replace("http://", "http://me:PASS@") + "?sig=SIGNATURE"
    session = om.open_session(secret)
    assert session.source == secret
    assert pickle.loads(pickle.dumps(session)).fingerprint == session.fingerprint
    refused = check_refusal(secret.replace("mouse.nwb", "none.nwb"))
    public = (session.path, session.id, session.warnings, session.assumptions, open_line(session))
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
