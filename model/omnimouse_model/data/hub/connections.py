"""Servers that the content of a file names: connected to only where the user has said so.

An address that a user types is the user's choice. A recording or model that an analysis,
an ensemble or saved results name is the choice of whoever made that file.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from omnimouse_model.data.hub.auth import endpoint
from omnimouse_model.data.hub.ibl_sessions import SERVER
from omnimouse_model.data.hub.names import hub_place
from omnimouse_model.errors import ConnectError, FetchError
from omnimouse_model.storage.files import is_there
from omnimouse_model.storage.http_file import web_address

VARIABLE = "OMNIMOUSE_CONNECT"
"""Environment variable with the allowed hosts, which worker processes inherit."""
_DANDI = "https://api.dandiarchive.org"


def allow_connections(hosts: Iterable[str]) -> None:
    """Allow files to name these hosts, in this process and those that it starts."""
    if hosts := [*_allowed(), *map(str.lower, hosts)]:
        os.environ[VARIABLE] = ",".join(dict.fromkeys(hosts))


def host_of(name: str | Path) -> str:
    """Return the host that opening a name connects to; "" for a place on this machine.

    It includes the port, if the address has one.
    """
    text = str(name)
    if text.startswith("ibl:"):
        return urlsplit(SERVER).netloc
    if (address := web_address(text)) is not None:
        return urlsplit(address if "://" in address else _DANDI).netloc.rsplit("@", 1)[-1].lower()
    try:
        is_on_hub = not is_there(text) and hub_place(text) is not None
    except (FetchError, OSError, ValueError):  # no valid name; opening it says what is wrong
        return ""
    return urlsplit(endpoint()).netloc.lower() if is_on_hub else ""


def check_connection(name: str | Path, file: Path, connect: Iterable[str] = ()) -> None:
    """Refuse a name in a file that leads to a server which the user has not allowed.

    Raises
    ------
    ConnectError
        The message has the host, and how to allow it.
    """
    host = host_of(name)
    if host and host not in {*_allowed(), *map(str.lower, connect)}:
        raise ConnectError(
            host,
            f"{file.name} names {str(name)[:200]}, on the server {host}. To connect to it, "
            f'use --connect {host}, or connect=["{host}"] in Python.',
        )


def _allowed() -> list[str]:
    return [host for host in os.environ.get(VARIABLE, "").lower().split(",") if host]
