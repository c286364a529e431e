"""Recordings from the model hub: downloaded once, unpacked and cached."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from omnimouse_model.cache import cache_dir
from omnimouse_model.data.formats import is_recording
from omnimouse_model.data.hub.download import (
    Listing,
    Told,
    commit_folder,
    fetch_files,
    listing,
    making,
    work_of,
    write_origin,
)
from omnimouse_model.data.hub.errors import arrived_bytes
from omnimouse_model.data.hub.names import CHECKPOINTS, HubPlace, hub_place
from omnimouse_model.data.hub.unpack import is_archive, unpack
from omnimouse_model.errors import FetchError, SessionFormatError

_FETCHING = 0.8
"""Estimated share of the time for the download; the rest is for unpacking."""


def fetch_session(
    name: str, to: str | Path | None = None, told: Told | None = None
) -> Path:
    """Fetch a recording; one fetched before is used without a request to the hub.

    Parameters
    ----------
    name
        Name of a released recording, or `hf://datasets/owner/name/path` of a folder, a
        file or an archive, which is unpacked.
    to
        The folder that will contain the recording; by default a folder of the cache.
    told
        Called with the finished share and the current step; may raise to stop. By
        default a progress bar is shown.

    Raises
    ------
    FetchError
        The recording does not exist, the user has no access, or the download is
        incomplete.
    SessionFormatError
        The archive is damaged, or has members that must not be written.

    Examples
    --------
    >>> path = om.fetch_session("hf://datasets/owner/name/mouse-1")  # doctest: +SKIP
    >>> session = om.open_session(path)  # doctest: +SKIP
    """
    place = known_place(name)
    if place.kind != "dataset":
        raise FetchError(
            "not_found",
            f"{name} is a checkpoint; recordings are in datasets: "
            "hf://datasets/owner/name/path.",
        )
    return fetched(place, to, told, _FETCHING, listing, _put)


Put = Callable[[Listing, Path, Path, Told], None]
"""Function that makes the target from (listing, downloaded folder, target, told)."""


def fetched(
    place: HubPlace,
    to: str | Path | None,
    told: Told | None,
    share: float,
    listed: Callable[[HubPlace], Listing],
    put: Put,
) -> Path:
    """Fetch a place of the hub once and return its path on this machine.

    Parameters
    ----------
    place, to, told
        Place on the hub, folder and callback; see `fetch_session`.
    share
        Estimated share of the time for the download; the rest is for `put`.
    listed, put
        Function that lists the files, and function that makes the target from them.
    """
    target = target_of(place, to)
    with _shown(told) as tell, making(place, target, tell) as work:
        if work is not None:
            found = listed(place)
            files = commit_folder(work, found)
            fetch_files(found, files, _part_of(tell, 0.0, share))
            # Written before the target: a target without its origin would later be
            # taken for something else of the user.
            write_origin(target, found)
            put(found, files, target, _part_of(tell, share, 1.0))
    return target


def _put(found: Listing, files: Path, target: Path, told: Told) -> None:
    """Move the download to its target; unpack it if it is an archive."""
    whole = files / found.place.path
    # A recording can itself be an archive that a reader opens without unpacking.
    if not is_archive(whole) or is_recording(whole):
        whole.replace(target)
        return
    try:
        unpack(whole, target, lambda share: told(share, "unpacking"))
    except SessionFormatError:
        whole.unlink()  # otherwise the next call would find it again
        raise


def known_place(name: str) -> HubPlace:
    """Return the place on the hub for a name.

    Raises
    ------
    FetchError
        The name is not known.
    """
    place = hub_place(name)
    if place is None:
        listed = ", ".join(CHECKPOINTS)
        if name.lower().startswith("omnimouse"):
            raise FetchError(
                "not_found", f"There is no checkpoint {name!r}; there are {listed}."
            )
        raise FetchError(
            "not_found",
            f"{name!r} is no name of the hub; there are {listed}, released recordings "
            "(dynamic…_30hz; `omnimouse fetch --list` names them), and addresses "
            "(hf://datasets/owner/name/path).",
        )
    return place


def target_of(place: HubPlace, to: str | Path | None) -> Path:
    """Return the path of a place on this machine."""
    if to is not None:
        return Path(to).expanduser().absolute() / place.name
    owner, _, name = place.repo.partition("/")
    # One folder per address, so that a target is never inside another target.
    own = hashlib.blake2b(str(place).encode(), digest_size=6).hexdigest()
    return cache_dir() / "hub" / f"{place.kind}s" / owner / name / own / place.name


def kept_bytes(name: str, to: str | Path | None = None) -> int:
    """Return the bytes of an unfinished download, which the next call resumes."""
    return arrived_bytes(work_of(target_of(known_place(name), to)))


def _part_of(told: Told, first: float, last: float) -> Told:
    """Return a callback that maps the share of a step to the share of the whole."""
    return lambda share, what: told(first + (last - first) * share, what)


@contextmanager
def _shown(told: Told | None) -> Iterator[Told]:
    """Yield the given callback, or a progress bar for a terminal or notebook."""
    if told is not None:
        yield told
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:  # part of huggingface_hub, whose absence is reported later
        yield lambda share, what: None
        return
    with ExitStack() as shown:

        @cache  # created at the first call, so that no bar is drawn before
        def bar() -> tqdm:
            words = "{desc}: {percentage:3.0f} %|{bar}|"
            return shown.enter_context(tqdm(total=100, unit="%", bar_format=words))

        def tell(share: float, what: str) -> None:
            bar().set_description_str(what, refresh=False)
            bar().update(100 * share - bar().n)

        yield tell
