import os

import pytest
from huggingface_hub import constants

from omnimouse_model.data.hub.exchange import save_token, token_for_hub
from omnimouse_model.errors import FetchError
from tests.hub_server import Hub, hub_endpoint

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
    assert token_for_hub() == place.read_text() == TOKEN
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
