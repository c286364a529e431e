import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import SessionFormatError, StoppedError
from omnimouse_model.progress import CallbackJob
from omnimouse_model.storage import archives
from omnimouse_model.storage.archives import is_archive, unpack
from tests.model.data.refusals import check_refusal
from tests.model.experanto_folder import write_folder

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, data: bytes = b"x", **facts: object) -> Member:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in facts.items():
        setattr(info, key, value)
    return info, data


def link(name: str, aim: str, kind: bytes = tarfile.SYMTYPE) -> Member:
    return member(name, b"", type=kind, linkname=aim)


def write_tar(path: Path, *members: Member, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return path


def refusal(path: Path) -> str:
    """The refusal's message; nothing must be written, here or elsewhere."""
    into = path.parent / "in" / "to"
    into.parent.mkdir()
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(SessionFormatError) as caught:
        unpack(path, into)
    assert sorted(path.parent.rglob("*")) == before
    return caught.value.message


@pytest.mark.slow
def test_a_session_is_unpacked_with_and_without_a_folder_of_its_own(tmp_path):
    folder, shares = write_folder(tmp_path / "one"), []
    job = CallbackJob(lambda n, of, _: shares.append(n / of))
    for name, inside, mode in (("a.tar", "", "w"), ("b.tar.gz", "one", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as tar:  # type: ignore[call-overload]
            tar.add(folder, inside)
        (tmp_path / f".{name}.out.77-01234567.part").mkdir()  # a kill
        out = unpack(tmp_path / name, tmp_path / f"{name}.out", job)
        assert shares[-1] == 1.0
        shares.clear()
        assert (out / "responses").is_dir()
        first, second = open_session(folder), open_session(out)
        assert (first.responses.data[:] == second.responses.data[:]).all()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_zip_is_unpacked(tmp_path):
    (tmp_path / "one" / "a").mkdir(parents=True)
    for name in ("a/b.txt", "c.txt"):
        (tmp_path / "one" / name).write_text(name)
    shutil.make_archive(str(tmp_path / "one"), "zip", tmp_path / "one")
    out = unpack(tmp_path / "one.zip", tmp_path / "out")
    for name in ("a/b.txt", "c.txt"):
        assert (out / name).read_text() == name


def test_links_to_files_of_the_archive_become_copies(tmp_path):
    files = member("data/a.npy", b"values"), member("b.txt")
    hard = link("hard.npy", "data/a.npy", tarfile.LNKTYPE)
    path = write_tar(tmp_path / "a.tar", *files, link("data/same.npy", "a.npy"), hard)
    out = unpack(path, tmp_path / "out")
    for name in ("data/same.npy", "hard.npy"):
        assert not (out / name).is_symlink()
        assert (out / name).read_bytes() == b"values"


OUTSIDE = "outside the target folder"
ODD = "not every system can hold"
NO_FILE = "which is no file"
NOT_PLAIN = "no plain file"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([member("../../etc/x")], f"member '../../etc/x' would be written {OUTSIDE}"),
        ([member("/etc/x")], OUTSIDE),
        ([member("C:/x")], OUTSIDE),
        ([member("a\\x")], ODD),
        ([member("aux.npy")], ODD),
        ([member("a/" * 600 + "x")], ODD),
        ([member("a" * 300)], ODD),
        ([member("a"), link("b", "../../a")], "../../a"),
        ([member("a"), link("b", "c"), link("c", "b")], f"'c', {NO_FILE}"),
        ([member("d/a"), link("d2", "d")], NO_FILE),
        ([member("a"), link("d", "target"), member("d/x")], NO_FILE),
        ([member("a"), member("b", b"", type=tarfile.FIFOTYPE)], NOT_PLAIN),
        ([member("a"), member("a", b"y")], "'a' is in it twice"),
        ([member("a"), member("./A", b"y")], "'A' is in it twice"),
        ([member("a"), member("a/b")], "'a' is"),
        ([member("a", b"", type=tarfile.DIRTYPE)], "it holds no file"),
    ],
)
def test_what_must_not_be_written_is_refused_by_name(tmp_path, members, words):
    (tmp_path / "target").mkdir()
    assert words in refusal(write_tar(tmp_path / "a.tar", *members))


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    path = write_tar(tmp_path / "a.tar", *(member(str(k)) for k in range(4)))
    assert "more than 3 members" in refusal(path)


def test_links_that_repeat_a_file_many_times_are_refused(tmp_path):
    links = [link(f"{k}", "a", tarfile.LNKTYPE) for k in range(5)]
    path = write_tar(tmp_path / "a.tar", member("a", bytes(2**18)), *links)
    assert "its links repeat its files to 1 MiB" in refusal(path)


def test_more_than_the_drive_holds_is_refused_before_it_is_read(tmp_path):
    info, _ = member("a")
    info.size = 2**60
    path = tmp_path / "a.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert "GiB or more" in refusal(path)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_truncated_archive_is_told_as_such(tmp_path, mode):
    noise = bytes(range(256)) * 400
    path = write_tar(tmp_path / "a.tar", member("a"), member("b", noise), mode=mode)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    into = tmp_path / "out"
    assert is_archive(path)
    with pytest.raises(SessionFormatError, match="not a whole archive"):
        unpack(path, into)
    assert not into.exists()


@pytest.mark.parametrize(
    ("name", "mode", "words"),
    [("../x", 0, OUTSIDE), ("a", 0o120777 << 16, NOT_PLAIN), ("xx:y", 0, ODD)],
)
def test_zips_are_held_to_the_same_rules(tmp_path, name, mode, words):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr("fine", b"x")
        zipped.writestr(info, b"x")
    assert words in refusal(tmp_path / "a.zip")


def test_a_damaged_zip_leaves_nothing(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("first", b"1" * 100)
        zipped.writestr("second", b"2" * 100)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"2" * 100, b"3" * 100))
    assert "'second' cannot be read" in refusal(path)


def test_stopping_leaves_nothing(tmp_path):
    path = write_tar(tmp_path / "a.tar", member("a"), member("b"))

    def stop(done: float, total: float, step: str) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        unpack(path, tmp_path / "out", CallbackJob(stop))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar"]
    out = unpack(path, tmp_path / "out")
    assert sorted(p.name for p in out.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_notes_that_would_fill_the_memory_are_not_read(tmp_path, mode):
    notes = b"a" * 2**23
    long_name = member("././@LongLink", notes, type=tarfile.GNUTYPE_LONGNAME)
    path = write_tar(tmp_path / "a.tar", long_name, member("a"), mode=mode)
    with pytest.raises(SessionFormatError, match="notes of 8,388,608 bytes"):
        unpack(path, tmp_path / "out")
    check_refusal(path, "is an archive")


def test_nothing_is_written_over_and_opening_says_how_to_unpack(tmp_path):
    path = write_tar(tmp_path / "mouse.tar", member("a"))
    (tmp_path / "out").mkdir()
    with pytest.raises(SessionFormatError, match="exists already"):
        unpack(path, tmp_path / "out")
    check_refusal(path, r"omnimouse fetch .*mouse\.tar")


def test_a_pipe_in_place_of_an_archive_does_not_wait(tmp_path):
    os.mkfifo(tmp_path / "a.zip")
    assert not is_archive(tmp_path / "a.zip")
    with pytest.raises(SessionFormatError, match="not a plain file"):
        unpack(tmp_path / "a.zip", tmp_path / "into")
    assert not (tmp_path / "into").exists()
