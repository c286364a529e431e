"""Address of the model hub, and the token of the user."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from omnimouse_model.errors import FetchError

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

TOKENS_PAGE = "https://huggingface.co/settings/tokens"
_KEYRING = "omnimouse-hub"


def endpoint() -> str:
    """Return the address of the hub, without a slash at the end."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def read_token() -> str | None:
    """Return the token from HF_TOKEN, `hf auth login` or the system's keyring."""
    from huggingface_hub import get_token

    # huggingface_hub reads HF_TOKEN and the login file; the keyring is our own place.
    if found := get_token():
        return found
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        return None
    try:
        kept: str | None = keyring.get_password(_KEYRING, "token")
        return kept
    except KeyringError:  # a keyring that is locked or has no backend has no token
        return None


def keep_token(token: str) -> None:
    """Store a read token in the system's keyring.

    Raises
    ------
    FetchError
        This system has no keyring.
    """
    with _needed_keyring() as keyring:
        keyring.set_password(_KEYRING, "token", token.strip())


def check_keyring() -> None:
    """Check that a keyring can store a token, before the user is asked for one.

    Raises
    ------
    FetchError
        This system has no keyring.
    """
    with _needed_keyring() as keyring:
        keyring.get_password(_KEYRING, "token")


@contextmanager
def _needed_keyring() -> Iterator["KeyringBackend"]:
    try:
        import keyring
        from keyring.backends import null
        from keyring.errors import KeyringError
    except ImportError as error:
        raise missing_package(error) from error
    found = keyring.get_keyring()
    try:
        if isinstance(found, null.Keyring):  # stores nothing, without an error
            raise KeyringError("switched off")
        yield found
    except KeyringError as error:
        raise FetchError(
            "missing_package",
            "This system has no keyring that a token could be kept in (or it is "
            "locked). Set the environment variable HF_TOKEN to a read token from "
            f"{TOKENS_PAGE} instead, or use `hf auth login`.",
        ) from error


def missing_package(error: ImportError) -> FetchError:
    """Return the error that names the package to install for fetching."""
    return FetchError(
        "missing_package",
        f"Fetching needs {error.name}: pip install 'omnimouse-app[hub]'",
    )
