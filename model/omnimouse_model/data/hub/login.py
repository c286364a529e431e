"""Storage of the user's token of the hub, where `huggingface_hub` reads it."""

import re
from pathlib import Path

from omnimouse_model.data.hub.auth import (
    TOKENS_PAGE,
    endpoint,
    http_error,
    is_private,
    missing_package,
)
from omnimouse_model.data.hub.errors import first_line
from omnimouse_model.data.hub.exchange import answer_to
from omnimouse_model.errors import FetchError
from omnimouse_model.storage.write import write_text


def save_token(token: str) -> None:
    """Store a read token of the hub for this user, after the hub has accepted it.

    `huggingface_hub.login` would send it over a connection without encryption, and read
    an answer of any size.

    Raises
    ------
    FetchError
        The connection is not encrypted, or the hub cannot be reached or does not accept
        the token.
    """
    try:
        from huggingface_hub import constants
    except ImportError as error:
        raise missing_package(error) from error
    token = token.strip()
    if not is_private():
        raise _not_saved(
            f"{endpoint()} is not encrypted: set HF_ENDPOINT to an address that begins "
            "with https://"
        )
    # Checked here: errors of the HTTP library would show the token.
    if not re.fullmatch(r"[\w.-]+", token, re.ASCII):
        raise _not_saved("it has characters that no token has")
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
    try:
        with answer_to(f"{endpoint()}/api/whoami-v2", headers):
            pass  # the status says it all
    except (http_error(), OSError) as error:
        raise _not_saved(f"{endpoint()} did not accept it ({first_line(error)})") from error
    place = Path(constants.HF_TOKEN_PATH)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_text(place, token, is_private=True)


def _not_saved(reason: str) -> FetchError:
    return FetchError(
        "refused",
        f"The token was not saved: {reason}. {TOKENS_PAGE} makes read tokens.",
    )
