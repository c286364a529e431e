"""Fetching of a recording or model from the hub, once, into a local folder."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from omnimouse_model.data.hub.download import (
    commit_folder,
    fetch_files,
    locked_target,
    work_folder,
    write_origin,
)
from omnimouse_model.data.hub.errors import folder_bytes
from omnimouse_model.data.hub.listing import Listing
from omnimouse_model.data.hub.names import CHECKPOINTS, HubPlace, hub_place
from omnimouse_model.errors import FetchError
from omnimouse_model.progress import Job, part_of, shown_job
from omnimouse_model.storage.cache import cache_dir

Put = Callable[[Listing, Path, Path, Job], None]
"""Function of (listing, downloaded folder, target, job) that makes the target."""


def fetch_place(
    place: HubPlace,
    to: str | Path | None,
    job: Job | None,
    share: float,
    list_of: Callable[[HubPlace], Listing],
    put: Put,
) -> Path:
    """Fetch a place of the hub once and return its path on this machine.

    Parameters
    ----------
    place, to, job
        Place on the hub, folder and job; see `fetch_session.fetch_session`.
    share
        Estimated share of the time for the download; the rest is for `put`.
    list_of, put
        Function that lists the files, and function that makes the target from them.
    """
    target = local_path(place, to)
    with (
        shown_job(job) as shown,
        locked_target(place, target, shown) as work,
    ):
        if work is not None:
            listing = list_of(place)
            files = commit_folder(work, listing)
            fetch_files(listing, files, part_of(shown, 0.0, share))
            # Written before the target: a target without its origin would later be
            # taken for something else of the user.
            write_origin(target, listing)
            put(listing, files, target, part_of(shown, share, 1.0))
    return target


def require_place(name: str) -> HubPlace:
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
            raise FetchError("not_found", f"There is no checkpoint {name!r}; there are {listed}.")
        raise FetchError(
            "not_found",
            f"{name!r} is no name of the hub; there are {listed}, released recordings "
            "(dynamic…_30hz; `omnimouse fetch --list` names them), and addresses "
            "(hf://datasets/owner/name/path).",
        )
    return place


def local_path(place: HubPlace, to: str | Path | None) -> Path:
    """Return the path of a place on this machine."""
    if to is not None:
        return Path(to).expanduser().absolute() / place.name
    owner, _, name = place.repo.partition("/")
    # One folder per address, so that a target is never inside another target.
    own = hashlib.blake2b(str(place).encode(), digest_size=6).hexdigest()
    return cache_dir() / "hub" / f"{place.kind}s" / owner / name / own / place.name


def saved_bytes(name: str, to: str | Path | None = None) -> int:
    """Return how many bytes an unfinished download has; the next call adds the rest."""
    return folder_bytes(work_folder(local_path(require_place(name), to)))
