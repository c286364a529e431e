"""Address of the model hub, and the token of the user.

`huggingface_hub` stores the token, as `hf auth login` does, and reads HF_TOKEN.
"""

import os
from typing import Literal
from urllib.parse import urlsplit

from omnimouse_model.errors import FetchError
from omnimouse_model.extras import missing_extra

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKENS_PAGE = "https://huggingface.co/settings/tokens"


def endpoint() -> str:
    """Return the address of the hub, without a slash at the end."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def token_for_hub() -> str | Literal[False]:
    """Return the user's token, False if there is none or it must not be sent.

    It is sent over an encrypted connection, or to a server on this machine.
    """
    from huggingface_hub import get_token

    return (get_token() or False) if is_private() else False


def is_private() -> bool:
    """Return whether nobody between this machine and the hub can read a token."""
    place = urlsplit(endpoint())
    return place.scheme == "https" or place.hostname in _LOOPBACK


def hub_headers() -> dict[str, str]:
    """Return the header fields of a request to the hub, with the token.

    `huggingface_hub` would first request a list from the hub for its own ones, without
    a limit of size and time.
    """
    # Bytes as they are: encoded ones can decode to any size, and cannot be resumed.
    headers = {"User-Agent": "omnimouse-app", "Accept-Encoding": "identity"}
    if token := token_for_hub():
        headers["Authorization"] = f"Bearer {token}"
    return headers


def http_error() -> type[BaseException]:
    """Return the base error of the HTTP library that `huggingface_hub` uses."""
    from huggingface_hub.errors import HfHubHTTPError

    # Found through its subclass, because the HTTP library differs between versions
    # (requests or httpx).
    base: type[BaseException] = HfHubHTTPError.__bases__[0]
    return base


def missing_package(error: ImportError) -> FetchError:
    """Return the error that names the package to install for fetching."""
    return FetchError(
        "missing_package",
        f"Fetching is not possible: {missing_extra(error) or error}",
    )
