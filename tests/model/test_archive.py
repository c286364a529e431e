"""Archives of strangers: what is safe is unpacked whole, anything else not at all."""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from omnimouse_app.cli import group
from omnimouse_model.data import archive as archives
from omnimouse_model.data.archive import is_archive, unpack
from omnimouse_model.data.open import open_session
from omnimouse_model.errors import SessionFormatError, StoppedError
from tests.model.experanto_folder import write_folder


def member(
    name: str, data: bytes = b"x", **facts: object
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in facts.items():
        setattr(info, key, value)
    return info, data


def link(
    name: str, aim: str, kind: bytes = tarfile.SYMTYPE
) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, b"", type=kind, linkname=aim)


def write_tar(
    path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w"
) -> Path:
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


def test_a_session_is_unpacked_with_and_without_a_folder_of_its_own(tmp_path):
    folder = write_folder(tmp_path / "one")
    for name, inside, mode in (("a.tar", "", "w"), ("b.tar.gz", "one", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as tar:  # type: ignore[call-overload]
            tar.add(folder, inside)
        shares: list[float] = []
        out = unpack(tmp_path / name, tmp_path / f"{name}.out", shares.append)
        assert shares[-1] == 1.0
        assert (out / "responses").is_dir()
        first, second = open_session(folder), open_session(out)
        assert (first.responses.data[:] == second.responses.data[:]).all()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_zip_is_unpacked(tmp_path):
    folder = write_folder(tmp_path / "one")
    shutil.make_archive(str(tmp_path / "one"), "zip", folder)
    out = unpack(tmp_path / "one.zip", tmp_path / "out")
    names = {p.relative_to(out) for p in out.rglob("*")}
    assert names == {p.relative_to(folder) for p in folder.rglob("*")}


def test_links_to_files_of_the_archive_become_copies(tmp_path):
    path = write_tar(
        tmp_path / "a.tar",
        member("data/a.npy", b"values"),
        member("b.txt"),
        link("data/same.npy", "a.npy"),
        link("hard.npy", "data/a.npy", tarfile.LNKTYPE),
    )
    out = unpack(path, tmp_path / "out")
    for name in ("data/same.npy", "hard.npy"):
        assert not (out / name).is_symlink()
        assert (out / name).read_bytes() == b"values"


OUTSIDE = "would be written outside the target folder"
BAD = [
    ([member("../../etc/x")], "member '../../etc/x' " + OUTSIDE),
    ([member("a/../../x")], OUTSIDE),
    ([member("/etc/x")], OUTSIDE),
    ([member("C:/x")], OUTSIDE),
    ([member("\\x")], OUTSIDE),
    ([member("a\\..\\x")], OUTSIDE),
    ([member("a\\x")], "not every system can hold"),
    ([member("aux.npy")], "not every system can hold"),
    ([member("a" * 300)], "not every system can hold"),
    ([member("a"), link("b", "../../a")], "(a link to '../../a') " + OUTSIDE),
    ([member("a"), link("b", "/etc/passwd")], OUTSIDE),
    ([member("a"), link("d/b", "../..")], OUTSIDE),
    (
        [member("a"), link("b", "c"), link("c", "b")],
        "is a link to 'c', which is no file",
    ),
    ([member("d/a"), link("d2", "d")], "which is no file"),
    ([member("a"), member("b", b"", type=tarfile.FIFOTYPE)], "no plain file or folder"),
    ([member("a"), member("b", b"", type=tarfile.CHRTYPE)], "no plain file or folder"),
    ([member("a"), member("a", b"y")], "'a' is in it twice"),
    ([member("a"), member("./A", b"y")], "'A' is in it twice"),
    ([member("a"), member("a/b")], "'a' is"),
    ([member("a", b"", type=tarfile.DIRTYPE)], "it holds no file"),
]


@pytest.mark.parametrize("case", range(len(BAD)))
def test_what_must_not_be_written_is_refused_by_name(tmp_path, case):
    members, words = BAD[case]
    assert words in refusal(write_tar(tmp_path / "a.tar", *members))


def test_a_link_is_no_way_to_write_elsewhere(tmp_path):
    (tmp_path / "target").mkdir()
    path = write_tar(
        tmp_path / "a.tar", member("a"), link("d", "target"), member("d/x")
    )
    assert "which is no file" in refusal(path)


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    path = write_tar(tmp_path / "a.tar", *(member(str(k)) for k in range(4)))
    assert "more than 3 members" in refusal(path)


def test_more_than_the_drive_holds_is_refused_before_it_is_read(tmp_path):
    huge = 2**60
    info, _ = member("a")
    info.size = huge
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
    [
        ("../x", 0, OUTSIDE),
        ("a", 0o120777 << 16, "no plain file"),
        ("xx:y", 0, "system"),
    ],
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

    def stop(share: float) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        unpack(path, tmp_path / "out", stop)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar"]
    out = unpack(path, tmp_path / "out")
    assert sorted(p.name for p in out.iterdir()) == ["a", "b"]


def test_two_programs_do_not_disturb_each_other(tmp_path):
    path = write_tar(tmp_path / "a.tar", *(member(str(k)) for k in range(9)))
    second: list[Path] = []

    def meanwhile(share: float) -> None:
        if not second:
            second.append(unpack(path, tmp_path / "out"))

    with pytest.raises(OSError, match="out"):
        unpack(path, tmp_path / "out", meanwhile)
    assert len(list((tmp_path / "out").iterdir())) == 9
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar", "out"]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_notes_that_would_fill_the_memory_are_not_read(tmp_path, mode):
    path = tmp_path / "a.tar"
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        info = tarfile.TarInfo("././@LongLink")
        info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**23
        tar.addfile(info, io.BytesIO(b"a" * 2**23))
        info, data = member("a")
        tar.addfile(info, io.BytesIO(data))
    with pytest.raises(SessionFormatError, match="notes of 8,388,608 bytes"):
        unpack(path, tmp_path / "out")
    with pytest.raises(SessionFormatError, match="is an archive"):
        open_session(path)


def map_bytes(
    made: tuple[tarfile.TarInfo, bytes],
) -> tuple[tarfile.TarInfo, io.BytesIO]:
    return made[0], io.BytesIO(made[1])


def test_an_archive_without_an_ending_is_unpacked_beside_itself(tmp_path):
    path = write_tar(tmp_path / "mouse", member("a"))
    for name in ("mouse", "m.target.tar", "m.tgz"):
        (tmp_path / name).write_bytes(path.read_bytes())
        done = CliRunner().invoke(group, ["fetch", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
    for name in ("mouse.unpacked", "m.target", "m"):
        assert (tmp_path / name / "a").exists()


def test_nothing_is_written_over(tmp_path):
    path = write_tar(tmp_path / "a.tar", member("a"))
    (tmp_path / "out").mkdir()
    with pytest.raises(SessionFormatError, match="exists already"):
        unpack(path, tmp_path / "out")


def test_opening_an_archive_says_how_to_unpack_it(tmp_path):
    path = write_tar(tmp_path / "mouse.tar", member("a"))
    with pytest.raises(SessionFormatError, match=r"omnimouse fetch .*mouse\.tar"):
        open_session(path)
