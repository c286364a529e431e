"""Download of a recording from the model hub, once; archives are unpacked."""

from pathlib import Path

from omnimouse_model.data.formats import is_recording
from omnimouse_model.data.hub.fetch import fetch_place, require_place
from omnimouse_model.data.hub.ibl_sessions import fetch_ibl_session, ibl_session_name
from omnimouse_model.data.hub.listing import Listing, list_files
from omnimouse_model.errors import FetchError, SessionFormatError
from omnimouse_model.progress import QUIET, Job
from omnimouse_model.storage.archives import is_archive, unpack

_DOWNLOAD_SHARE = 0.8
"""Estimated share of the time for the download; the rest is for unpacking."""


def fetch_session(name: str, to: str | Path | None = None, job: Job | None = None) -> Path:
    """Fetch a recording; one fetched before is used without a request to the hub.

    Examples
    --------
    >>> path = om.fetch_session("hf://datasets/owner/name/mouse-1")  # doctest: +SKIP
    >>> session = om.open_session(path)  # doctest: +SKIP

    Parameters
    ----------
    name
        Name of a released recording, or `hf://datasets/owner/name/path` of a folder, a
        file or an archive, which is unpacked; or `ibl:` and the id (eid) or the place
        `subject/date/number` of a session of the International Brain Laboratory.
    to
        The folder that will contain the recording; by default a folder of the cache.
    job
        Progress and stop request; see `progress.Job`.

    Raises
    ------
    FetchError
        The recording does not exist, the user has no access, or the download is
        incomplete.
    SessionFormatError
        The archive is damaged, or has members that must not be written.
    """
    if (ibl_name := ibl_session_name(name)) is not None:
        return fetch_ibl_session(ibl_name, to, QUIET if job is None else job)
    place = require_place(name)
    if place.kind != "dataset":
        raise FetchError(
            "not_found",
            f"{name} is a checkpoint; recordings are in datasets: hf://datasets/owner/name/path.",
        )
    return fetch_place(place, to, job, _DOWNLOAD_SHARE, list_files, _put)


def _put(listing: Listing, files: Path, target: Path, job: Job) -> None:
    """Move the download to its target; unpack it if it is an archive."""
    download = files / listing.place.path
    # A recording can itself be an archive that a reader opens without unpacking.
    if not is_archive(download) or is_recording(download):
        download.replace(target)
        return
    try:
        unpack(download, target, job)
    except SessionFormatError:
        download.unlink()  # otherwise the next call would find it again
        raise
