"""Fetching of a recording or model from the hub, once, into a local folder."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from omnimouse_model.data.hub.download import (
    Progress,
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
from omnimouse_model.storage.cache import cache_dir

Put = Callable[[Listing, Path, Path, Progress], None]
"""Function of (listing, downloaded folder, target, progress) that makes the target."""


def fetch_place(
    place: HubPlace,
    to: str | Path | None,
    progress: Progress | None,
    share: float,
    list_of: Callable[[HubPlace], Listing],
    put: Put,
) -> Path:
    """Fetch a place of the hub once and return its path on this machine.

    Parameters
    ----------
    place, to, progress
        Place on the hub, folder and callback; see `fetch_session.fetch_session`.
    share
        Estimated share of the time for the download; the rest is for `put`.
    list_of, put
        Function that lists the files, and function that makes the target from them.
    """
    target = local_path(place, to)
    with (
        _progress_bar(progress) as report,
        locked_target(place, target, report) as work,
    ):
        if work is not None:
            listing = list_of(place)
            files = commit_folder(work, listing)
            fetch_files(listing, files, _part_of(report, 0.0, share))
            # Written before the target: a target without its origin would later be
            # taken for something else of the user.
            write_origin(target, listing)
            put(listing, files, target, _part_of(report, share, 1.0))
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


def _part_of(progress: Progress, first: float, last: float) -> Progress:
    """Return a callback that maps the share of a step to the share of all steps."""
    return lambda share, step: progress(first + (last - first) * share, step)


@contextmanager
def _progress_bar(progress: Progress | None) -> Iterator[Progress]:
    """Yield the callback, or a progress bar for a terminal or notebook."""
    if progress is not None:
        yield progress
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:  # part of huggingface_hub, whose absence is reported later
        yield lambda share, step: None
        return
    with ExitStack() as stack:

        @cache  # created at the first call, so that no bar is drawn before
        def bar() -> tqdm:
            layout = "{desc}: {percentage:3.0f} %|{bar}|"
            return stack.enter_context(tqdm(total=100, unit="%", bar_format=layout))

        def report(share: float, step: str) -> None:
            bar().set_description_str(step, refresh=False)
            bar().update(100 * share - bar().n)

        yield report
