"""Comparing a store with the hashes of what was written, and with its source."""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

from omnimouse_model.data.files import read_json_mapping
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.data.store.sharded import ShardedRows
from omnimouse_model.data.store.write import digest_of
from omnimouse_model.errors import SessionFormatError

Progress = Callable[[float], None]


def verify(
    path: Path, source: Session | None = None, progress: Progress | None = None
) -> None:
    """Read a store to its end.

    Every response and frame is unpacked and hashed; small tables are compared by
    their checksums when the store is opened. With a source its responses are read,
    too, and compared.

    Raises
    ------
    SessionFormatError
        The first piece that differs.
    """
    session = open_session(path)
    hashes = read_json_mapping(path / "zarr.json")["attributes"]["hashes"]
    pieces = list(_pieces(path, hashes))
    for done, (name, rows, first, stop) in enumerate(pieces):
        if progress is not None:
            progress(done / len(pieces))
        if digest_of(rows.read(first, stop)) != hashes[name]:
            raise _differs(path, f"{name} is not what was written")
        if source is not None and name.startswith("responses/"):
            theirs = source.responses.read(first, stop)
            if digest_of(theirs) != hashes[name]:
                raise _differs(path, f"{name} is not what {source.path} holds")
    if source is not None and session.n_neurons != source.n_neurons:
        raise _differs(path, f"it has {session.n_neurons} neurons")


def _pieces(
    path: Path, hashes: Mapping[str, str]
) -> Iterator[tuple[str, ShardedRows, int, int]]:
    """Name of each piece, where its rows are, and which."""
    for array in ("responses/data", "stimulus/frames"):
        named = sorted(
            int(name.rsplit("/", 1)[1])
            for name in hashes
            if name.rsplit("/", 1)[0] == array
        )
        if named:
            rows = ShardedRows(path.joinpath(*array.split("/")), path)
            for first, stop in pairwise([*named, rows.shape[0]]):
                yield f"{array}/{first}", rows, first, stop


def _differs(path: Path, what: str) -> SessionFormatError:
    return SessionFormatError(
        path, "differs", f"{path.name}: {what}", "convert the session again"
    )
