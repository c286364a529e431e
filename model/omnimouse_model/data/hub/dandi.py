"""Addresses of the DANDI archive: `dandi:ID[@version]/path` of an NWB file."""

import re
from typing import Any
from urllib.parse import quote, urlsplit

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.http_file import RemoteFile, read_web_json
from omnimouse_model.storage.web import AnswerError

API = "https://api.dandiarchive.org/api"
_STORE = "dandiarchive.s3.amazonaws.com"
"""Server that has the files of public data sets."""
_ADDRESS = re.compile(r"dandi:(?P<id>\d{6})(?:@(?P<version>draft|\d+\.\d{6}\.\d{4}))?/(?P<path>.+)")
_LISTED = 5


def dandi_file(address: str) -> RemoteFile:
    """Return the file of an address, of which parts are read as of any web address.

    Without a version, it is the newest published one, or the draft if none is.

    Raises
    ------
    SessionFormatError
        The address is wrong, the archive has no such file, or it cannot be reached.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        expected = "dandi:000728/sub-1/sub-1_ses-2.nwb, with a version dandi:000728@0.240827.1809/…"
        raise _refused(address, "not_found", "is no address of a file", f"expected {expected}")
    number, path = match["id"], match["path"]
    if path.endswith(".zarr"):
        hint = "download it with the client of DANDI, and open the folder"
        raise _refused(address, "zarr", "is a zarr folder, of which no parts are read", hint)
    place = f"{API}/dandisets/{number}"
    version = match["version"] or _newest(address, _ask(address, f"{place}/"))
    assets = f"{place}/versions/{version}/assets/"
    found = _ask(address, f"{assets}?path={quote(path, safe='')}&page_size=100&order=path")
    listed = [one for one in found.get("results") or () if isinstance(one, dict)]
    names = [str(one.get("path")) for one in listed]
    if path not in names:
        near = ", ".join(names[:_LISTED]) or "none"
        problem = f"is not in version {version}; files that begin so: {near}"
        raise _refused(address, "missing_file", problem, "check the path on dandiarchive.org")
    number_of_asset = str(listed[names.index(path)].get("asset_id"))
    if not re.fullmatch(r"[0-9a-f-]{36}", number_of_asset):
        raise _refused(address, "unreadable", "has no id in the answer of the archive")
    about = _ask(address, f"{assets}{number_of_asset}/")
    return RemoteFile(_place_of(address, about), address)


def _newest(address: str, about: dict[str, Any]) -> str:
    published = about.get("most_recent_published_version")
    version = str(published.get("version")) if isinstance(published, dict) else "draft"
    if not re.fullmatch(r"draft|\d+\.\d{6}\.\d{4}", version):
        raise _refused(address, "unreadable", f"has the version {version[:40]!r}")
    return version


def _place_of(address: str, about: dict[str, Any]) -> str:
    """Return the address of the content, on a server of the archive only."""
    places = about.get("contentUrl")
    stated = [str(one) for one in places] if isinstance(places, list) else []
    api = urlsplit(API)
    # That of the store first: the one of the API leads there, and expires.
    for place in sorted(stated, key=lambda one: one.rstrip("/").endswith("download")):
        parts = urlsplit(place)
        if parts.scheme == api.scheme and parts.hostname in (_STORE, api.hostname):
            return place
    hosts = ", ".join(sorted({str(urlsplit(one).hostname) for one in stated})) or "nowhere"
    raise _refused(address, "outside", f"is stored at {hosts[:200]}, not at the archive")


def _ask(address: str, url: str) -> dict[str, Any]:
    """Return the answer of the archive to a request."""
    try:
        answer = read_web_json(url)
    except AnswerError as error:
        if error.status in (401, 403):
            hint = "download it with the client of DANDI, and open the file"
            raise _refused(address, "gated", "is embargoed", hint) from error
        if error.status == 404:
            raise _refused(address, "missing_file", "is not in the archive") from error
        problem = f"cannot be found: {API}: {error}"
        raise _refused(address, "unreadable", problem, "check the connection") from error
    if not isinstance(answer, dict):
        raise _refused(address, "unreadable", "cannot be found: the archive sends no object")
    return answer


def _refused(address: str, code: str, problem: str, hint: str = "") -> SessionFormatError:
    return SessionFormatError(address, code, f"{address} {problem}", hint)
