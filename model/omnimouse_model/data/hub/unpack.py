"""Unpacking archives of strangers: only plain files, only inside, whole or not at all.

All members are looked at before the first is written. Links to files of the archive
become copies; anything else that is no file or folder is refused.
"""

import lzma
import os
import re
import shutil
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from omnimouse_model.errors import SessionFormatError

MOST_MEMBERS = 200_000
_MOST_HEADER = 2**20
_LONGEST_NAME = 240
_BLOCK = 1 << 20
_ODD = re.compile(r'[\x00-\x1f\\:*?"<>|]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)

Told = Callable[[float], None]
"""Is told the finished share; may raise to stop."""


@dataclass(frozen=True, slots=True)
class _Member:
    """A file or folder of an archive: where it goes, and how its bytes are had.

    A link is a copy of the member that `copied` names.
    """

    name: str
    size: int
    is_folder: bool = False
    open: Callable[[], IO[bytes] | None] = lambda: None
    copied: str | None = None


class _BoundedInfo(tarfile.TarInfo):
    """A member of a tar whose names and notes are no longer than names are.

    tarfile reads them whole into memory while it goes through the members.
    """

    _NOTES = (b"L", b"K", b"x", b"g", b"X")

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in self._NOTES and self.size > _MOST_HEADER:
            raise tarfile.ReadError(f"a member has notes of {self.size:,} bytes")
        # not in the stubs; the only place between a header and what follows it
        made: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return made


def is_archive(path: Path) -> bool:
    """Whether a file is a tar (also compressed) or zip archive, by its first bytes."""
    try:
        with path.open("rb") as stream:
            head = stream.read(262)
    except OSError:
        return False
    magics = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
    return head.startswith(magics) or head[257:262] == b"ustar"


def without_ending(name: str) -> str:
    """An archive's name without what tells its kind; "" where nothing is left."""
    return re.sub(r"\.(tar|tar\.(gz|bz2|xz)|tgz|tbz2|txz|zip)$", "", name, flags=re.I)


def unpack(archive: Path, into: Path, told: Told | None = None) -> Path:
    """Unpack a tar or zip archive to `into`, which must not exist.

    Parameters
    ----------
    archive
        The file. Where it holds one folder and nothing else, that folder becomes
        `into`.
    into
        Made beside its place and moved there at the end.
    told
        Is told the finished share; may raise to stop, and nothing is left.

    Raises
    ------
    SessionFormatError
        The archive is not whole, or holds what must not be written; then nothing is.
    """
    if into.exists():
        raise SessionFormatError(
            into, "exists", f"{into} exists already", "remove it, or choose another"
        )
    into.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{into.name[:99]}.", dir=into.parent))
    try:
        with _opened(archive) as members:
            checked = _checked(archive, members, shutil.disk_usage(into.parent).free)
            _write(archive, checked, part, told)
        part.chmod(0o755)  # mkdtemp's is for its maker alone
        inner = list(part.iterdir())
        whole = inner[0] if len(inner) == 1 and inner[0].is_dir() else part
        whole.replace(into)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return into


def _write(
    archive: Path, members: list[_Member], folder: Path, told: Told | None
) -> None:
    total = max(1, sum(m.size for m in members if m.copied is None))
    done = 0
    for member in members:
        target = folder / member.name
        if member.is_folder:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if member.copied is not None:
            shutil.copyfile(folder / member.copied, target)
            continue
        with _told_as_broken(archive, member.name), target.open("xb") as out:
            stream = member.open()
            left = member.size
            while stream is not None and left:
                block = stream.read(min(_BLOCK, left))
                if not block:
                    break
                out.write(block)
                left -= len(block)
                done += len(block)
                if told is not None:
                    told(done / total)
        if left:
            raise _broken(archive, f"'{member.name}' is cut short")


def _checked(archive: Path, members: Iterator[_Member], free: int) -> list[_Member]:
    """All members, or the error for the first that must not be written."""
    kept: list[_Member] = []
    files: set[str] = set()
    folders: set[str] = set()
    declared = 0
    for member in members:
        # one file on systems that do not tell such names apart
        plain = unicodedata.normalize("NFC", member.name).casefold()
        if plain in files or (plain in folders and not member.is_folder):
            raise _refused(archive, f"'{member.name}' is in it twice")
        (folders if member.is_folder else files).add(plain)
        folders.update(str(p) for p in PurePosixPath(plain).parents)
        if member.size < 0:
            raise _broken(archive, f"'{member.name}' has {member.size} bytes")
        kept.append(member)
        declared += member.size
        if len(kept) > MOST_MEMBERS:
            raise _refused(archive, f"it holds more than {MOST_MEMBERS:,} members")
        if declared > free:
            raise _refused(
                archive,
                f"it unpacks to {declared / 2**30:,.1f} GiB or more, and "
                f"{free / 2**30:,.1f} GiB are free",
                "make room, or choose another drive",
            )
    if clash := sorted(files & folders):
        raise _refused(archive, f"'{clash[0]}' is both a file and a folder")
    if not files:
        raise _refused(archive, "it holds no file")
    return kept


def leads_outside(name: str) -> bool:
    """Whether a name from elsewhere is no place below a folder, on any system."""
    is_rooted = name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name)
    return bool(is_rooted) or ".." in re.split(r"[/\\]", name)


def is_plain_name(name: str) -> bool:
    """Whether every system can hold a file of this relative name."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return not any(
        _ODD.search(part)
        or part[-1] in " ."
        or _RESERVED.fullmatch(part)
        or len(part.encode()) > _LONGEST_NAME
        for part in parts
    )


def _safe_name(archive: Path, name: str) -> str:
    """A member's name, relative and plain; "" for the archive's own root.

    Raises
    ------
    SessionFormatError
        It leads outside, or not every system can hold it.
    """
    if leads_outside(name):
        raise _outside(archive, name)
    if not is_plain_name(name):
        raise _refused(
            archive, f"member {name!r} has a name that not every system can hold"
        )
    return "/".join(part for part in name.split("/") if part not in ("", "."))


# -- the two kinds -------------------------------------------------------------------
@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[_Member]]:
    """The members of an archive, one after the other."""
    with _told_as_broken(archive):
        with archive.open("rb") as stream:
            is_zip = stream.read(2) == b"PK"
        if is_zip:
            with zipfile.ZipFile(archive) as zipped:
                yield _zip_members(archive, zipped)
            return
        with tarfile.open(archive, tarinfo=_BoundedInfo) as tar:
            yield _tar_members(archive, tar)


def _tar_members(archive: Path, tar: tarfile.TarFile) -> Iterator[_Member]:
    regular: dict[str, tarfile.TarInfo] = {}
    links: list[tuple[str, str]] = []
    for info in tar:
        name = _safe_name(archive, info.name)
        if info.issym() or info.islnk():
            base = PurePosixPath(name).parent if info.issym() else PurePosixPath()
            links.append((name, _aim(archive, name, base, info.linkname)))
        elif info.isdir():
            if name:
                yield _Member(name, 0, is_folder=True)
        elif info.isreg() and not info.issparse() and name:
            regular[name] = info
            yield _Member(name, info.size, open=_tar_opener(tar, info))
        else:
            raise _refused(archive, f"member '{info.name}' is no plain file or folder")
    for name, aim in links:
        if aim not in regular:
            raise _refused(
                archive, f"member '{name}' is a link to '{aim}', which is no file in it"
            )
        yield _Member(name, regular[aim].size, copied=aim)


def _tar_opener(
    tar: tarfile.TarFile, info: tarfile.TarInfo
) -> Callable[[], IO[bytes] | None]:
    return lambda: tar.extractfile(info)


def _aim(archive: Path, name: str, base: PurePosixPath, link: str) -> str:
    """The member that a link names."""
    if link.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", link):
        raise _outside(archive, name, link)
    aim = os.path.normpath((base / link).as_posix()).replace(os.sep, "/")
    if aim.split("/")[0] == "..":
        raise _outside(archive, name, link)
    return aim


def _zip_members(archive: Path, zipped: zipfile.ZipFile) -> Iterator[_Member]:
    for info in zipped.infolist():
        # the name as stored: zipfile shortens it at a NUL
        name = _safe_name(archive, info.orig_filename)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(archive, f"member '{name}' is no plain file or folder")
        if info.flag_bits & 1:
            raise _refused(archive, f"member '{name}' is encrypted")
        if info.is_dir():
            if name:
                yield _Member(name, 0, is_folder=True)
        elif name:
            yield _Member(name, info.file_size, open=_zip_opener(zipped, info))


def _zip_opener(
    zipped: zipfile.ZipFile, info: zipfile.ZipInfo
) -> Callable[[], IO[bytes] | None]:
    return lambda: zipped.open(info)


# -- errors --------------------------------------------------------------------------
@contextmanager
def _told_as_broken(archive: Path, name: str = "") -> Iterator[None]:
    """Damage found by the standard library, as this project's error."""
    try:
        yield
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        NotImplementedError,
        UnicodeError,
        OSError,
    ) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the drive, not of the archive
        what = f"'{name}' cannot be read: {error}" if name else str(error)
        raise _broken(archive, what) from error


def _broken(archive: Path, what: str) -> SessionFormatError:
    return SessionFormatError(
        archive,
        "broken_archive",
        f"{archive.name} is not a whole archive: {what}",
        "fetch it again",
    )


def _outside(archive: Path, name: str, link: str = "") -> SessionFormatError:
    through = f" (a link to '{link}')" if link else ""
    return _refused(
        archive, f"member '{name}'{through} would be written outside the target folder"
    )


def _refused(
    archive: Path, why: str, hint: str = "nothing was unpacked"
) -> SessionFormatError:
    return SessionFormatError(
        archive, "refused_archive", f"{archive.name} was refused: {why}", hint
    )
