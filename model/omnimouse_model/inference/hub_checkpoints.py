"""Checkpoints from the model hub: downloaded once, converted, cached.

Official shards are pickles; the cache contains one safetensors file instead.
"""

import shutil
from dataclasses import replace
from pathlib import Path, PurePosixPath

from omnimouse_model.data.hub.exchange import HubPlace
from omnimouse_model.data.hub.fetch import HubFile, Listing, fetch_place, list_files, require_place
from omnimouse_model.errors import CheckpointError, FetchError
from omnimouse_model.inference.families import converted
from omnimouse_model.progress import Job
from omnimouse_model.storage.trees import read_json
from omnimouse_model.storage.write import write_json

_FETCHING = 0.9
"""Estimated share of the time for the download; the rest is for the conversion."""


def fetch_checkpoint(name: str, to: str | Path | None = None, job: Job | None = None) -> Path:
    """Download a checkpoint; one downloaded before is used without a request.

    Examples
    --------
    >>> path = om.fetch_checkpoint("omnimouse-5M")  # doctest: +SKIP
    >>> predictor = om.load_predictor(path)  # doctest: +SKIP

    Parameters
    ----------
    name
        A released checkpoint such as `omnimouse-5M`, or `hf://owner/name[/folder]`: a
        repository with official shards (`rank_<r>.ckpt`) or a checkpoint of this
        project.
    to, progress
        As in `fetch_session`.

    Returns
    -------
    Path
        A folder with one .safetensors file and its description.

    Raises
    ------
    FetchError
        The checkpoint does not exist, the user has no access, or the download is
        incomplete.
    CheckpointError
        The files are not safe to read, or not an OmniMouse.
    """
    place = require_place(name)
    if place.kind != "model":
        raise FetchError("not_found", f"{name} is a dataset; checkpoints are at hf://owner/name.")
    return fetch_place(place, to, job, _FETCHING, _list_checkpoint, _put)


def _put(found: Listing, files: Path, target: Path, job: Job) -> None:
    """Move the checkpoint to its target; official shards become one file."""
    folder = files / PurePosixPath(found.files[0].path).parent
    # A listing has the files of one checkpoint, so the first one tells its format.
    if found.files[0].path.endswith(".ckpt"):
        job.progress(0.0, 1.0, "writing one file without pickles")
        folder = _convert(folder, files.with_name("converted"), found)
    folder.replace(target)


def _convert(shards: Path, folder: Path, found: Listing) -> Path:
    # An interrupted conversion left its folder with the files of the download, which
    # are removed together.
    folder.mkdir()
    card = {"address": str(found.place), "commit": found.commit}
    if found.licence:
        card["licence"] = found.licence
    try:
        path = folder / f"{found.place.name}.safetensors"
        converted(shards, path)
        described = path.with_suffix(".json")
        write_json(described, read_json(described) | {"card": card})
    except CheckpointError:
        shutil.rmtree(shards)  # otherwise the next call would find them again
        raise
    return folder


def _list_checkpoint(place: HubPlace) -> Listing:
    """List the files of the one checkpoint at a place of the hub."""
    stem = PurePosixPath(place.path)
    # An address may name one file of a checkpoint; its folder is then listed.
    is_file = stem.suffix in (".safetensors", ".json")
    listing = list_files(replace(place, path=_parent(stem)) if is_file else place)
    checkpoints: dict[str, list[HubFile]] = {}
    by_path = {file.path: file for file in listing.files}
    for file in listing.files:
        path = PurePosixPath(file.path)
        description = by_path.get(str(path.with_suffix(".json")))
        if path.match("rank_*.ckpt"):
            checkpoints.setdefault(_parent(path), []).append(file)
        elif path.suffix == ".safetensors" and description is not None:
            checkpoints[file.path] = [file, description]
    if is_file:
        name = str(stem.with_suffix(".safetensors"))
        checkpoints = {key: files for key, files in checkpoints.items() if key == name}
    if len(checkpoints) != 1:
        raise FetchError("not_found", _not_one_text(place, sorted(checkpoints)))
    (files,) = checkpoints.values()
    return Listing(place, listing.commit, tuple(files), listing.licence)


def _parent(path: PurePosixPath) -> str:
    """Return the folder of a file, "" for the root of the repository."""
    return "" if str(path.parent) == "." else str(path.parent)


def _not_one_text(place: HubPlace, names: list[str]) -> str:
    if not names:
        return (
            f"{place} holds no checkpoint: no rank_*.ckpt, and no *.safetensors with "
            "its .json beside it."
        )
    listed = ", ".join(name or "the shards at its top" for name in names[:6])
    more = ", …" if len(names) > 6 else ""
    return f"{place} holds several checkpoints: {listed}{more}. Name one of them."
