"""Build a predictor from a name, a checkpoint, an ensemble or the model hub.

Official shards of the hub are pickles; the cache contains one safetensors file instead.
"""

import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from reprlib import Repr
from typing import NoReturn

import numpy as np

from omnimouse_model.data.hub.exchange import CHECKPOINTS, HubPlace, hub_place
from omnimouse_model.data.hub.fetch import (
    HubFile,
    Listing,
    fetch_place,
    list_files,
    local_path,
    require_place,
)
from omnimouse_model.data.hub.servers import connecting
from omnimouse_model.data.session import Session, Window
from omnimouse_model.errors import CheckpointError, FetchError, UnsupportedRequestError
from omnimouse_model.inference.families import (
    builders,
    built,
    converted,
    load_of_family,
    small_config,
    training_plan,
)
from omnimouse_model.masks import Mask
from omnimouse_model.predict.compatibility import FALLBACK
from omnimouse_model.predict.predictor import Encoded, Needs, Predictor, of_family
from omnimouse_model.progress import Cancelled, Job, never
from omnimouse_model.storage.files import exists
from omnimouse_model.storage.trees import read_json
from omnimouse_model.storage.write import put_in_place, write_json

Source = str | Callable[[], Predictor]
"""What `load_predictor` knows, or a function that makes a predictor."""
_SHORT = Repr()
_SHORT.maxstring = 200
"""Names in messages: a file can hold one without end."""


def predictor_names() -> tuple[str, ...]:
    """Return the names that `load_predictor` knows without a file or the hub."""
    return tuple(builders())


def is_predictor(name: str) -> bool:
    """Return whether a name is registered, a path, or an address of the hub."""
    if name in builders() or small_config(name) is not None:
        return True
    try:
        # Without a request to the hub: a view asks while the user types.
        return bool(name) and (exists(name) or hub_place(name) is not None)
    except FetchError:  # a malformed address
        return False


def check_predictor(name: str) -> None:
    """Refuse a name that `is_predictor` does not know.

    Raises
    ------
    CheckpointError
        Nothing has the name; the message lists the names.
    FetchError
        It is no possible address of the hub.
    """
    if not is_predictor(name):
        hub_place(name)  # raises the error of a malformed address
        raise _unknown(name)


def must_be_fetched(name: str) -> bool:
    """Return whether a predictor is on the hub and not yet on this machine."""
    try:
        if not name or exists(name):
            return False
        place = hub_place(name)
        if place is None or exists(local_path(place, None)):
            return False
    except FetchError:  # a malformed address: fetching reports what is wrong with it
        pass
    # The last question: it imports all families, which the start of a window awaits.
    return name not in builders()


def load_predictor(
    name_or_path: str | Path,
    sessions: Sequence[Session] | None = None,
    device: str = "auto",
    *,
    connect: Collection[str] = (),
) -> Predictor:
    """Build a predictor by name, or from a checkpoint file or folder.

    Examples
    --------
    >>> om.load_predictor("ridge", [session]).predictor_id
    'ridge'
    >>> om.load_predictor("demo").needs.sees_video
    True

    Parameters
    ----------
    name_or_path
        One of `predictor_names()`; the path of a checkpoint, of an ensemble or of a
        file of predictions (`open_predictions`); or an entry of the model hub such as
        `omnimouse-5M` or `hf://owner/name`, which is downloaded the first time
        (`fetch_checkpoint`). The name of a family alone, such as `latent-zig`, gives a
        predictor that refuses sessions until it is trained (`fit`).
    sessions
        Sessions to prepare now; any other is prepared on its first use.
    device
        "auto", "cpu", "cuda" or "mps".
    connect
        Hosts such as "huggingface.co" from which members that the file of an ensemble
        names may be downloaded.
    """
    with connecting(connect):
        predictor = _build(str(name_or_path), device)
    for session in sessions or ():
        with of_family(predictor.predictor_id):
            predictor.prepare(session)
    return predictor


def load_line(name: str, device: str) -> str:
    """Return the line of a script that loads a predictor for its recording."""
    chosen = "" if device == "auto" else f", device={device!r}"
    return f"predictor = om.load_predictor({name!r}, [session]{chosen})"


def _build(name: str, device: str) -> Predictor:
    # Registered names first: a folder named "demo" must not replace the demo model.
    if name in builders():
        return builders()[name](device)
    path = Path(name)
    is_there = exists(path)
    if not is_there and (place := hub_place(name)) is not None:
        path, is_there = fetch_checkpoint(str(place)), True
    if not is_there and (config := small_config(name)) is not None:
        return Unfitted(name, Needs(spec=training_plan(config).spec, is_fitted=False))
    if not is_there:
        raise _unknown(name)
    return load_of_family(path, device)


def load_member(name: str, device: str) -> Predictor:
    """Build a member that a file names: its name stands for no file of the working folder."""
    if not Path(name).is_absolute() and name not in builders() and hub_place(name) is None:
        raise _unknown(name)
    return _build(name, device)


def resolve_predictor(
    source: Predictor | Source | Path, device: str, connect: Collection[str] = ()
) -> Predictor:
    """Return a predictor from itself, its name, its path or a factory function."""
    # A value of another type gets the error of `load_predictor`.
    if isinstance(source, str | Path) or not (callable(source) or isinstance(source, Predictor)):
        return load_predictor(source, device=device, connect=connect)
    # A predictor class has the methods of the protocol too, so it would pass the
    # `isinstance` check alone; it is a factory here.
    if isinstance(source, Predictor) and not isinstance(source, type):
        return source
    return built(getattr(source, "__name__", type(source).__name__), source)


# -- names without weights ------------------------------------------------------------
@dataclass(slots=True, eq=False, repr=False)
class Unfitted(Predictor):
    """A family's name without weights: refuses every session, and says what to do."""

    predictor_id: str
    needs: Needs

    def prepare(self, session: Session) -> NoReturn:
        """Refuse the session.

        Raises
        ------
        UnsupportedRequestError
            Always; the message names `om.fit`.
        """
        name = self.predictor_id
        raise UnsupportedRequestError(
            f"{name!r} has no weights: om.fit({name!r}, session) trains them on a recording, "
            "and om.load_predictor(PATH) loads those of a training."
        )

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> NoReturn:
        """Refuse the window."""
        self.prepare(window.session)

    def decode(
        self, encoded: Encoded, neurons: np.ndarray | None = None, cancelled: Cancelled = never
    ) -> NoReturn:
        """Refuse the window."""
        self.prepare(encoded.window.session)


def _unknown(name: str) -> CheckpointError:
    if name == FALLBACK:  # a default of commands and panels, which nobody typed
        return CheckpointError(
            f"{FALLBACK} is missing: its family cannot be imported; the log says why. Install "
            "the package anew (pip install --force-reinstall omnimouse-app), or choose another "
            f"model: {', '.join(builders())}."
        )
    return CheckpointError(
        f"There is no predictor {_SHORT.repr(name)}: no such file or folder, and "
        f"the names are {', '.join(builders())} and, from the model hub, "
        f"{', '.join(CHECKPOINTS)}."
    )


def load_in_process(name: str, device: str = "auto") -> Predictor:
    """Build a predictor in this process; the live engine prepares the session."""
    return load_predictor(name, device=device)


# -- checkpoints of the model hub: downloaded once, converted, cached ------------------
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
    put_in_place(folder, target)


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
    folder = place.path.rpartition("/")[0]
    listing = list_files(replace(place, path=folder) if is_file else place)
    checkpoints: dict[str, list[HubFile]] = {}
    by_path = {file.path: file for file in listing.files}
    for file in listing.files:
        path = PurePosixPath(file.path)
        description = by_path.get(str(path.with_suffix(".json")))
        if path.match("rank_*.ckpt"):
            # "" for the root of the repository.
            checkpoints.setdefault(file.path.rpartition("/")[0], []).append(file)
        elif path.suffix == ".safetensors" and description is not None:
            checkpoints[file.path] = [file, description]
    if is_file:
        name = str(stem.with_suffix(".safetensors"))
        checkpoints = {key: files for key, files in checkpoints.items() if key == name}
    if len(checkpoints) != 1:
        raise FetchError("not_found", _not_one_text(place, sorted(checkpoints)))
    (files,) = checkpoints.values()
    return Listing(place, listing.commit, tuple(files), listing.licence)


def _not_one_text(place: HubPlace, names: list[str]) -> str:
    if not names:
        return (
            f"{place} holds no checkpoint: no rank_*.ckpt, and no *.safetensors with "
            "its .json beside it."
        )
    listed = ", ".join(name or "the shards at its top" for name in names[:6])
    more = ", …" if len(names) > 6 else ""
    return f"{place} holds several checkpoints: {listed}{more}. Name one of them."
