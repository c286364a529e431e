"""Recordings from the model hub: fetched once, unpacked, and kept on this machine."""

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
"""Share of the time that goes into fetching; the rest unpacks or converts."""


def fetch_session(
    name: str, to: str | Path | None = None, told: Told | None = None
) -> Path:
    """Fetch a recording; what was fetched before is used without asking the hub.

    Parameters
    ----------
    name
        A released recording, or `hf://datasets/owner/name/path` of a folder, a file or
        an archive, which is unpacked.
    to
        The folder it is put in; by default one in the cache.
    told
        Is told the finished share and what is being done; may raise to stop. By default
        a bar is shown.

    Raises
    ------
    FetchError
        It is not there, not for this user, or did not arrive whole.
    SessionFormatError
        The archive is not whole, or holds what must not be written.

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
"""Makes the result of what was fetched to a folder: listing, folder, target, told."""


def fetched(
    place: HubPlace,
    to: str | Path | None,
    told: Told | None,
    share: float,
    listed: Callable[[HubPlace], Listing],
    put: Put,
) -> Path:
    """What a place holds, fetched and put in its own place once.

    Parameters
    ----------
    place, to, told
        What, where to, and who is told; see `fetch_session`.
    share
        Of the time that goes into fetching; the rest is `put`'s.
    listed, put
        Which files it takes, and what is made of them.
    """
    target = target_of(place, to)
    with _shown(told) as tell, making(place, target, tell) as work:
        if work is not None:
            found = listed(place)
            files = commit_folder(work, found)
            fetch_files(found, files, _part_of(tell, 0.0, share))
            write_origin(target, found)
            put(found, files, target, _part_of(tell, share, 1.0))
    return target


def _put(found: Listing, files: Path, target: Path, told: Told) -> None:
    """Move what was fetched into its place, unpacked where it is an archive."""
    whole = files / found.place.path
    if not is_archive(whole) or is_recording(whole):
        whole.replace(target)
        return
    try:
        unpack(whole, target, lambda share: told(share, "unpacking"))
    except SessionFormatError:
        whole.unlink()  # the next call shall not meet it again
        raise


def known_place(name: str) -> HubPlace:
    """The place of the hub that a name stands for.

    Raises
    ------
    FetchError
        It stands for none.
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
    """Where on this machine a place is put."""
    if to is not None:
        return Path(to).expanduser().absolute() / place.name
    owner, _, name = place.repo.partition("/")
    # a folder for every address: no result lies in another
    own = hashlib.blake2b(str(place).encode(), digest_size=6).hexdigest()
    return cache_dir() / "hub" / f"{place.kind}s" / owner / name / own / place.name


def kept_bytes(name: str, to: str | Path | None = None) -> int:
    """How much of what is being fetched has arrived, and is gone on with."""
    return arrived_bytes(work_of(target_of(known_place(name), to)))


def _part_of(told: Told, first: float, last: float) -> Told:
    """Tells of a part of the work as of that share of the whole."""
    return lambda share, what: told(first + (last - first) * share, what)


@contextmanager
def _shown(told: Told | None) -> Iterator[Told]:
    """Whom to tell: the one given, else a bar on the terminal or in the notebook."""
    if told is not None:
        yield told
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:  # it comes with huggingface_hub; fetching will say so
        yield lambda share, what: None
        return
    with ExitStack() as shown:

        @cache  # none is drawn before something arrives
        def bar() -> tqdm:
            words = "{desc}: {percentage:3.0f} %|{bar}|"
            return shown.enter_context(tqdm(total=100, unit="%", bar_format=words))

        def tell(share: float, what: str) -> None:
            bar().set_description_str(what, refresh=False)
            bar().update(100 * share - bar().n)

        yield tell
