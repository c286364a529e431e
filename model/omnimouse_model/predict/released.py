"""Checkpoints from the model hub: fetched once, made one file without pickles, kept."""

from pathlib import Path, PurePosixPath

from omnimouse_model.data.fetching import known_place, part_of, shown, target_of
from omnimouse_model.data.hub import (
    Listing,
    Told,
    fetch_files,
    listing,
    making,
    write_origin,
)
from omnimouse_model.data.hub_names import HubPlace
from omnimouse_model.errors import FetchError

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
    """
    place = known_place(name)
    if place.kind != "model":
        raise FetchError(
            "not_found", f"{name} is a dataset; checkpoints are at hf://owner/name."
        )
    target = target_of(place, to)
    with shown(told) as tell, making(target, tell) as work:
        if work is not None:
            found = _of_one_checkpoint(listing(place))
            files = work / "files"
            fetch_files(found, files, part_of(tell, 0.0, _FETCHING))
            write_origin(target, found)
            folder = files / PurePosixPath(found.files[0].path).parent
            if found.files[0].path.endswith(".ckpt"):
                tell(_FETCHING, "writing one file without pickles")
                folder = _converted(folder, work / "converted", found)
            folder.replace(target)
    return target


def _converted(shards: Path, folder: Path, found: Listing) -> Path:
    from omnimouse_model.nets.official import convert_official

    folder.mkdir(exist_ok=True)
    card = {"address": str(found.place), "commit": found.commit}
    if found.licence:
        card["licence"] = found.licence
    convert_official(shards, folder / f"{found.place.name}.safetensors", card)
    return folder


def _of_one_checkpoint(found: Listing) -> Listing:
    """Only the files of the checkpoint, of which there must be one."""
    folders: dict[str, list[str]] = {}
    for file in found.files:
        path = PurePosixPath(file.path)
        is_shard = path.match("rank_*.ckpt")
        if is_shard or path.suffix == ".safetensors":
            key = str(path.parent if is_shard else path.with_suffix(".json"))
            folders.setdefault(key, []).append(file.path)
    if len(folders) != 1:
        raise FetchError("not_found", _not_one(found.place, sorted(folders)))
    ((key, wanted),) = folders.items()
    keep = {key, *wanted}
    files = tuple(file for file in found.files if file.path in keep)
    return Listing(found.place, found.commit, files, found.licence)


def _not_one(place: HubPlace, folders: list[str]) -> str:
    if not folders:
        return f"{place} holds no checkpoint: no rank_*.ckpt and no *.safetensors."
    shown = ", ".join(folders[:6]) + (", …" if len(folders) > 6 else "")
    return f"{place} holds several checkpoints: {shown}. Name one of them."
