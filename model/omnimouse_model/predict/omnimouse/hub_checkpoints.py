"""Checkpoints from the model hub: fetched once, made one file without pickles, kept."""

import shutil
from dataclasses import replace
from pathlib import Path, PurePosixPath

from omnimouse_model.data.hub.download import HubFile, Listing, Told, listing
from omnimouse_model.data.hub.fetch_session import fetched, known_place
from omnimouse_model.data.hub.names import HubPlace
from omnimouse_model.errors import CheckpointError, FetchError

_FETCHING = 0.9


def fetch_checkpoint(
    name: str, to: str | Path | None = None, told: Told | None = None
) -> Path:
    """Fetch a checkpoint; what was fetched before is used without asking the hub.

    Parameters
    ----------
    name
        `omnimouse-5M` and its like, or `hf://owner/name[/folder]`, a repository with
        official shards (`rank_<r>.ckpt`) or with a checkpoint of ours.
    to, told
        As `fetch_session` takes them.

    Returns
    -------
    Path
        A folder with one .safetensors file and its description.

    Raises
    ------
    FetchError
        It is not there, not for this user, or did not arrive whole.
    CheckpointError
        What arrived is not safe to read, or no OmniMouse.

    Examples
    --------
    >>> path = om.fetch_checkpoint("omnimouse-5M")  # doctest: +SKIP
    >>> predictor = om.load_predictor(path)  # doctest: +SKIP
    """
    place = known_place(name)
    if place.kind != "model":
        raise FetchError(
            "not_found", f"{name} is a dataset; checkpoints are at hf://owner/name."
        )
    return fetched(place, to, told, _FETCHING, _of_one_checkpoint, _put)


def _put(found: Listing, files: Path, target: Path, told: Told) -> None:
    """Move the checkpoint into its place, official shards as one file."""
    folder = files / PurePosixPath(found.files[0].path).parent
    if found.files[0].path.endswith(".ckpt"):
        told(0.0, "writing one file without pickles")
        folder = _converted(folder, files.with_name("converted"), found)
    folder.replace(target)


def _converted(shards: Path, folder: Path, found: Listing) -> Path:
    from omnimouse_model.nets.official import convert_official

    folder.mkdir()  # what a killed run left there went with the other commits' files
    card = {"address": str(found.place), "commit": found.commit}
    if found.licence:
        card["licence"] = found.licence
    try:
        convert_official(shards, folder / f"{found.place.name}.safetensors", card)
    except CheckpointError:
        shutil.rmtree(shards)  # the next call shall not meet them again
        raise
    return folder


def _of_one_checkpoint(place: HubPlace) -> Listing:
    """Only the files of the checkpoint, of which there must be one."""
    stem = PurePosixPath(place.path)
    is_named = stem.suffix in (".safetensors", ".json")
    found = listing(replace(place, path=_parent(stem)) if is_named else place)
    choices: dict[str, list[HubFile]] = {}
    by_path = {file.path: file for file in found.files}
    for file in found.files:
        path = PurePosixPath(file.path)
        beside = by_path.get(str(path.with_suffix(".json")))
        if path.match("rank_*.ckpt"):
            choices.setdefault(_parent(path), []).append(file)
        elif path.suffix == ".safetensors" and beside is not None:
            choices[file.path] = [file, beside]
    if is_named:
        name = str(stem.with_suffix(".safetensors"))
        choices = {key: files for key, files in choices.items() if key == name}
    if len(choices) != 1:
        raise FetchError("not_found", _not_one(place, sorted(choices)))
    (files,) = choices.values()
    return Listing(place, found.commit, tuple(files), found.licence)


def _parent(path: PurePosixPath) -> str:
    """The folder a file is in, "" for the repository itself."""
    return "" if str(path.parent) == "." else str(path.parent)


def _not_one(place: HubPlace, choices: list[str]) -> str:
    if not choices:
        return (
            f"{place} holds no checkpoint: no rank_*.ckpt, and no *.safetensors with "
            "its .json beside it."
        )
    listed = ", ".join(name or "the shards at its top" for name in choices[:6])
    more = ", …" if len(choices) > 6 else ""
    return f"{place} holds several checkpoints: {listed}{more}. Name one of them."
