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
    http_error,
    missing_package,
)
from omnimouse_model.data.hub.names import HubPlace
from omnimouse_model.display import printable
from omnimouse_model.errors import FetchError
from omnimouse_model.storage.files import is_folder, paths_in, size_of

# By name, because huggingface_hub changed its HTTP library between versions and the
# classes changed with it.
_UNREACHED = ("ConnectError", "ConnectTimeout", "ProxyError")
"""Names of the errors for a failed connection."""


@contextmanager
def as_fetch_errors(place: HubPlace, folder: Path | None = None) -> Iterator[None]:
    """Raise errors of `huggingface_hub` and of the network as `FetchError`.

    If `folder` has downloaded bytes, the message states that they are saved.
    """
    try:
        from huggingface_hub import errors
    except ImportError as error:
        raise missing_package(error) from error
    try:
        yield
    # The order matters: a gated repository is a subclass of one that is not found.
    except errors.GatedRepoError as error:
        raise FetchError("gated", _gated(place)) from error
    except errors.RepositoryNotFoundError as error:
        problem = f"{place.repo} is not on the hub, or you have no access. "
        raise FetchError("not_found", problem + _sign_in_hint(place)) from error
    except errors.RevisionNotFoundError as error:
        raise FetchError(
            "not_found", f"{place.repo} has no revision {place.revision!r}."
        ) from error
    except errors.EntryNotFoundError as error:
        raise FetchError(
            "not_found",
            f"{place} is not in its repository; {place.page}/tree/main lists files.",
        ) from error
    except errors.HFValidationError as error:
        raise FetchError("not_found", f"{place}: {error}") from error
    except FetchError:
        raise
    except ValueError as error:  # not JSON: often a network's sign-in page
        raise FetchError(
            "interrupted",
            f"The server at {endpoint()} is not the hub ({first_line(error)}); "
            "is there a page to sign in to the network?",
        ) from error
    except (http_error(), OSError) as error:
        # Errors of the network and of the local drive are both OSErrors. Only those of
        # the drive have an errno and are not connection errors.
        network = (http_error(), ConnectionError, TimeoutError)
        is_local = isinstance(error, OSError) and error.errno is not None
        if is_local and not isinstance(error, network):
            if getattr(error, "errno", None) == ENOSPC:
                raise FetchError(
                    "no_space",
                    f"The drive is full: {error}. The downloaded part is saved.",
                ) from error
            raise  # an error of a local drive, not of the hub
        raise FetchError("interrupted", _interrupted(place, error, folder)) from error


def _interrupted(place: HubPlace, error: BaseException, folder: Path | None) -> str:
    hint = "the same command tries again."
    if folder is not None and folder_bytes(folder):
        hint = "the downloaded part is saved, and the same command continues."
    if type(error).__name__ in _UNREACHED:
        return (
            f"No connection to {_host_of(error)} ({first_line(error)}). Check the "
            f"network, or the proxy (HTTPS_PROXY); {hint}"
        )
    return f"The hub did not send {place}: {first_line(error)}; {hint}"


def _host_of(error: BaseException) -> str:
    """Return the host of the failed request, which is not always the hub."""
    try:
        return str(error.request.url.host)  # type: ignore[attr-defined]  # httpx's
    except (AttributeError, RuntimeError):  # the error has no request
        return urlsplit(endpoint()).hostname or endpoint()


def folder_bytes(folder: Path) -> int:
    """Return the total size in bytes of the files at and below a folder."""
    return sum(
        folder_bytes(path) if is_folder(path, follows=False) else size_of(path)
        for path in paths_in(folder)
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error, without the query parts of addresses."""
    lines = str(error).splitlines() or [type(error).__name__]
    plain = re.sub(r"^\[Errno -?\d+\] ", "", lines[0])
    # Addresses of storage have signatures in their query that grant access; they must
    # not get into messages and logs.
    return printable(re.sub(r"\?[^\s'\"]+", "?…", plain))[:300]


def _gated(place: HubPlace) -> str:
    from huggingface_hub import get_token

    if get_token() is None:
        return f"{place.repo} requires access. {_sign_in_hint(place)}"
    return (
        f"{place.repo} requires access, and your token has none: ask for it at "
        f"{place.page}, wait for the answer, and allow the token to read gated "
        "repositories."
    )


def _sign_in_hint(place: HubPlace) -> str:
    return (
        f"Ask for access at {place.page}, make a read token at {TOKENS_PAGE}, then run "
        "`omnimouse fetch --login` or set HF_TOKEN."
    )
