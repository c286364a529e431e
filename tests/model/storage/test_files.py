import os
import stat
from contextlib import suppress
from errno import EMFILE
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage import files
from omnimouse_model.storage.arrays.matlab import open_mat
from omnimouse_model.storage.arrays.npy import Npz, load_small_array
from omnimouse_model.storage.byte_source import folder_fingerprint
from omnimouse_model.storage.files import (
    folders_in,
    label,
    open_binary,
    read_bytes,
    read_text,
    stamped_files,
    unless_missing,
)
from omnimouse_model.storage.tables import read_parquet_columns
from tests.model.data.refusals import OTHER_USER, give_away


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A session folder with one file in a folder of its own."""
    (tmp_path / "session/inner").mkdir(parents=True)
    (tmp_path / "session/inner/a.txt").write_text("inside")
    (tmp_path / "secret.txt").write_text("outside")
    return tmp_path / "session"


def refusal(path: Path, inside: Path | None = None, **options: bool) -> SessionFormatError:
    with pytest.raises(SessionFormatError) as error, open_binary(path, inside, **options):
        read_bytes(path, 1000, inside)
    return error.value


def test_a_file_of_the_folder_is_read(folder):
    assert read_bytes(folder / "inner/a.txt", 6, folder) == b"inside"


@pytest.mark.parametrize("place", ["home/alice/recordings/26845", "data/26845", "26845"])
def test_a_recording_that_is_a_number_is_named_alone(folder, place):
    assert label(folder / place) == "26845"


def test_a_link_to_itself_is_neither_a_file_nor_a_folder(folder):
    before = folder_fingerprint(folder), stamped_files(folder).keys(), folders_in(folder)
    (folder / "loop.csv").symlink_to("loop.csv")
    assert (folder_fingerprint(folder), stamped_files(folder).keys(), folders_in(folder)) == before


def test_a_chunk_is_named_with_its_array(folder):
    chunk = folder / "p.zarr/responses/c/1/0"
    chunk.mkdir(parents=True)
    assert refusal(chunk, folder).message == "p.zarr/responses/c/1/0 is not a plain file"


def test_names_that_climb_out_are_refused(folder):
    assert refusal(folder / "../secret.txt", folder).code == "outside"
    assert refusal(folder / "inner/../../secret.txt", folder).code == "outside"
    assert refusal(folder.parent / "secret.txt", folder).code == "outside"
    (folder.parent / "session2").mkdir()
    (folder.parent / "session2/a.txt").write_text("x")
    assert refusal(folder.parent / "session2/a.txt", folder).code == "outside"


@pytest.mark.parametrize("name", ["pipe", "folder", "/dev/zero", "/dev/null", "/dev/tty"])
def test_only_plain_files_are_opened_and_nothing_waits(folder, name):
    path = folder / name
    if name == "pipe":
        os.mkfifo(path)
    elif name == "folder":
        path.mkdir()
    elif not path.exists():
        pytest.skip(f"this system has no {name}")
    assert refusal(path).code == "unreadable"
    if not name.startswith("/"):
        assert "not a plain file" in refusal(path, folder).message
        (folder / "link").symlink_to(path)
        assert "no plain file" in refusal(folder / "link", folder).message


def test_a_link_of_the_owner_leads_to_a_plain_file_anywhere(folder):
    (folder / "link").symlink_to("../secret.txt")
    (folder / "two").symlink_to(folder / "link")
    assert read_bytes(folder / "link", 100, folder) == b"outside"
    assert read_bytes(folder / "two", 100, folder) == b"outside"


def test_a_link_inside_is_followed_also_by_another_way(folder):
    (folder / "inner/back").symlink_to(f"../../{folder.name}/inner/a.txt")
    (folder / "other").symlink_to("inner")
    with open_binary(folder / "other/back", folder, is_named=True) as stream:
        assert stream.read() == b"inside"


def test_a_link_that_a_file_names_never_leads_out(folder):
    (folder / "link").symlink_to("../secret.txt")
    assert refusal(folder / "link", folder, is_named=True).code == "outside"


def test_no_link_is_followed_where_links_are_not_allowed(folder):
    (folder / "link").symlink_to("inner/a.txt")
    (folder / "other").symlink_to("inner")
    for name in ("link", "other/a.txt"):
        assert refusal(folder / name, folder, follows=False).code == "outside"
    assert refusal(folder / "link", follows=False).code == "unreadable"


def test_linked_folders_that_lead_out_are_not_followed(folder):
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "elsewhere/b.txt").write_text("x")
    (folder / "linked").symlink_to("../elsewhere")
    error = refusal(folder / "linked/b.txt", folder)
    assert "linked is a link to a folder" in error.message
    assert str(folder.parent / "elsewhere") in error.hint


def test_links_of_another_user_are_not_followed(folder, monkeypatch):
    (folder / "link").symlink_to("inner/a.txt")
    give_away(folder / "link", monkeypatch)
    assert f"belongs to user {OTHER_USER}" in refusal(folder / "link", folder).message


def test_a_circle_of_links_ends(folder):
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("one")
    assert refusal(folder / "one", folder).code == "unreadable"


def test_a_link_that_is_exchanged_after_its_owner_was_read_is_refused(folder, monkeypatch):
    (folder / "link").symlink_to("inner/a.txt")
    real = os.readlink

    def exchanged(name: str, **options: int) -> str:
        (folder / "link").unlink()
        (folder / "link").symlink_to("../secret.txt")
        return real(name, **options)

    monkeypatch.setattr(os, "readlink", exchanged)
    assert refusal(folder / "link", folder).code == "changed"


def test_a_folder_that_is_exchanged_on_the_way_does_not_lead_out(folder, monkeypatch):
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "elsewhere/a.txt").write_text("outside")
    real = os.open

    def exchanged(name: str, flags: int, **options: int) -> int:
        handle = real(name, flags, **options)
        if name == "inner":
            (folder / "inner").rename(folder / "moved")
            (folder / "inner").symlink_to("../elsewhere")
        return handle

    monkeypatch.setattr(os, "open", exchanged)
    assert read_bytes(folder / "inner/a.txt", 100, folder) == b"inside"


def test_no_open_file_is_left(folder):
    (folder / "link").symlink_to("../secret.txt")
    (folder / "out").symlink_to("..")
    before = len(list(Path("/dev/fd").iterdir()))
    for name in ("inner/a.txt", "link", "out/secret.txt", "inner/none", "inner/a.txt/b"):
        for is_named in (False, True):
            with suppress(SessionFormatError):
                open_binary(folder / name, folder, is_named=is_named).close()
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_where_folders_cannot_be_walked_the_resolved_path_is_compared(folder, monkeypatch):
    monkeypatch.setattr(files, "_OPENS_FROM_FOLDERS", False)
    (folder / "link").symlink_to("../secret.txt")
    (folder / "inner/link").symlink_to("a.txt")
    assert read_bytes(folder / "inner/link", 100, folder) == b"inside"
    assert refusal(folder / "link", folder).code == "outside"
    monkeypatch.setattr(os.path, "samestat", lambda *_: False)
    assert refusal(folder / "inner/a.txt", folder).code == "changed"


def test_a_file_that_grows_stays_within_the_limit(folder, monkeypatch):
    path = folder / "inner/a.txt"
    path.write_bytes(b"x" * 5000)
    small = os.stat_result((stat.S_IFREG | 0o644, 0, 0, 1, 0, 0, 10, 0, 0, 0))
    monkeypatch.setattr(os, "fstat", lambda _: small)
    with pytest.raises(SessionFormatError, match="at most 1,000 are read"):
        read_bytes(path, 1000)


@pytest.mark.parametrize("name", ["a\0b.txt", "x" * 5000])
def test_names_that_no_file_can_have_are_one_line(folder, name):
    assert refusal(folder / name).code == "unreadable"
    assert refusal(folder / name, folder).code == "unreadable"


def test_a_mark_of_byte_order_is_no_text(folder):
    (folder / "a.txt").write_bytes("ä".encode("utf-8-sig"))
    assert read_text(folder / "a.txt", 100) == "ä"


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_other_encodings_are_refused(folder, encoding):
    (folder / "a.txt").write_bytes("1\nä".encode(encoding))
    with pytest.raises(SessionFormatError, match="not UTF-8"):
        read_text(folder / "a.txt", 100)


def test_the_stream_has_the_name_of_its_file(folder):
    with open_binary(folder / "inner/a.txt", folder) as stream:
        assert Path(stream.name) == folder / "inner/a.txt"


def parquet_values(path: Path, inside: Path) -> list[float]:
    return read_parquet_columns(path, inside)[0]["x"].tolist()


def npz_values(path: Path, inside: Path) -> np.ndarray:
    return Npz(path, inside=inside)["x"]


def write_hdf5(path: Path, values: np.ndarray) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        file["x"] = values[None]


def mat_values(path: Path, inside: Path) -> list[float]:
    return open_mat(path, inside).array("x").read(0, 9).ravel().tolist()


READERS = {
    "npy": (np.save, load_small_array),
    "npz": (lambda path, x: np.savez(path, x=x), npz_values),
    "packed.npz": (lambda path, x: np.savez_compressed(path, x=x), npz_values),
    "pqt": (lambda path, x: pq.write_table(pa.table({"x": x}), path), parquet_values),
    "mat": (lambda path, x: scipy.io.savemat(path, {"x": x}), mat_values),
    "hdf5.mat": (write_hdf5, mat_values),
}


@pytest.mark.parametrize("n_before", range(3))
@pytest.mark.parametrize("kind", READERS)
def test_a_folder_that_is_exchanged_between_two_openings_does_not_lead_out(
    folder, kind, n_before, monkeypatch
):
    write, read = READERS[kind]
    (folder.parent / "outside").mkdir()
    for value, place in ((1.0, folder / "inner"), (2.0, folder.parent / "outside")):
        write(place / f"x.{kind}", np.full(3, value))
    n_opened, before = 0, os.open

    def opened(name, *rest, **options):
        nonlocal n_opened
        handle = before(name, *rest, **options)
        n_opened += Path(name).name == f"x.{kind}"
        if n_opened == n_before + 1 and not (folder / "inner").is_symlink():
            (folder / "inner").rename(folder / "before")
            (folder / "inner").symlink_to(folder.parent / "outside")
        return handle

    monkeypatch.setattr(os, "open", opened)
    with suppress(SessionFormatError):
        assert list(read(folder / "inner" / f"x.{kind}", folder)) == [1.0] * 3


def test_a_file_that_only_points_to_content_is_not_taken_for_a_missing_one(folder):
    path = folder / "a.json"
    read = partial(read_bytes, path, 1000, folder)
    assert unless_missing(read) is None
    path.symlink_to("../.git/annex/objects/x/y")
    assert unless_missing(read) is None
    path.unlink()
    path.write_text("/annex/objects/SHA256E-s12--0a.json\n")
    with pytest.raises(SessionFormatError, match="git annex get"):
        unless_missing(read)


def test_too_many_open_files_are_not_a_missing_file(folder, monkeypatch):
    def full(*_: object, **__: object) -> int:
        raise OSError(EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(SessionFormatError, match="Too many open files"):
        files.is_there(folder / "inner/a.txt")
