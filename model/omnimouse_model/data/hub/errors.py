"""Conversion of errors of `huggingface_hub` to errors that state a solution."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path
from urllib.parse import urlsplit

from omnimouse_model.data.hub.auth import (
    TOKENS_PAGE,
    endpoint,
    missing_package,
    read_token,
)
from omnimouse_model.data.hub.names import HubPlace
from omnimouse_model.errors import FetchError

# By name, because huggingface_hub changed its HTTP library between versions and the
# classes changed with it.
_UNREACHED = ("ConnectError", "ConnectTimeout", "ProxyError")
"""Names of the errors for a failed connection."""


@contextmanager
def told_as_fetch_errors(place: HubPlace, folder: Path | None = None) -> Iterator[None]:
    """Raise errors of `huggingface_hub` and of the network as `FetchError`.

    If `folder` has downloaded bytes, the message states that they are kept.
    """
    try:
        from huggingface_hub import errors
    except ImportError as error:
        raise missing_package(error) from error
    http_error = http_errors()
    try:
        yield
    # The order matters: a gated repository is a subclass of one that is not found.
    except errors.GatedRepoError as error:
        raise FetchError("gated", _gated(place)) from error
    except errors.RepositoryNotFoundError as error:
        words = f"{place.repo} is not on the hub, or not for you to see. "
        raise FetchError("not_found", words + _how_to_sign_in(place)) from error
    except errors.RevisionNotFoundError as error:
        raise FetchError(
            "not_found", f"{place.repo} has no revision {place.revision!r}."
        ) from error
    except errors.EntryNotFoundError as error:
        raise FetchError(
            "not_found",
            f"{place} is not in its repository; {place.page}/tree/main shows what is.",
        ) from error
    except errors.HFValidationError as error:
        raise FetchError("not_found", f"{place}: {error}") from error
    except FetchError:
        raise
    except ValueError as error:  # not JSON: often a network's sign-in page
        raise FetchError(
            "interrupted",
            f"What answered at {endpoint()} is not the hub ({_first_line(error)}); "
            "is there a page to sign in to the network?",
        ) from error
    except (http_error, OSError) as error:
        # Errors of the network and of the local drive are both OSErrors. Only those of
        # the drive have an errno and are not connection errors.
        of_the_net = isinstance(error, http_error | ConnectionError | TimeoutError)
        if not of_the_net and isinstance(error, OSError) and error.errno is not None:
            if error.errno == ENOSPC:
                raise FetchError(
                    "no_space", f"The drive is full: {error}. What arrived is kept."
                ) from error
            raise  # an error of a local drive, not of the hub
        raise FetchError("interrupted", _interrupted(place, error, folder)) from error


def _interrupted(place: HubPlace, error: BaseException, folder: Path | None) -> str:
    kept = "the same command tries again."
    if folder is not None and arrived_bytes(folder):
        kept = "what arrived is kept, and the same command goes on from there."
    if type(error).__name__ in _UNREACHED:
        return (
            f"No connection to {_host_of(error)} ({_first_line(error)}). Check the "
            f"network, or the proxy (HTTPS_PROXY); {kept}"
        )
    return f"The hub did not send {place}: {_first_line(error)}; {kept}"


def _host_of(error: BaseException) -> str:
    """Return the host of the failed request, which is not always the hub."""
    try:
        return str(error.request.url.host)  # type: ignore[attr-defined]  # httpx's
    except (AttributeError, RuntimeError):  # the error has no request
        return urlsplit(endpoint()).hostname or endpoint()


def arrived_bytes(folder: Path) -> int:
    """Return the total size in bytes of the files at and below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def http_errors() -> type[BaseException]:
    """Return the base error of the HTTP library that `huggingface_hub` uses."""
    from huggingface_hub.errors import HfHubHTTPError

    # Found through its subclass, because the HTTP library differs between versions
    # (requests or httpx).
    return HfHubHTTPError.__bases__[0]


def _first_line(error: BaseException) -> str:
    """Return the first line of an error, without the query parts of addresses."""
    lines = str(error).splitlines() or [type(error).__name__]
    plain = re.sub(r"^\[Errno -?\d+\] ", "", lines[0])
    # Addresses of storage have signatures in their query that grant access; they must
    # not get into messages and logs.
    return re.sub(r"\?[^\s'\"]+", "?…", plain)[:300]


def _gated(place: HubPlace) -> str:
    if read_token() is None:
        return f"{place.repo} is open to those who asked. {_how_to_sign_in(place)}"
    return (
        f"{place.repo} is open to those who asked, and your token is not of one: ask "
        f"for access at {place.page}, wait for the answer, and give the token leave "
        "to read gated repositories."
    )


def _how_to_sign_in(place: HubPlace) -> str:
    return (
        f"Ask for access at {place.page}, make a read token at "
        f"{TOKENS_PAGE}, then run `omnimouse fetch --login` or "
        "set HF_TOKEN."
    )
