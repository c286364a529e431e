"""Safe unpacking of untrusted archives: plain files only, inside the target only.

All members are checked before the first is written, and the target is complete or
absent. Links to files of the archive become copies; every other member that is not a
file or folder is refused.
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

# Limits against archives made to fill memory or drive. The limit of names is in bytes,
# below the 255 that most file systems allow.
MOST_MEMBERS = 200_000
_MOST_HEADER = 2**20
_LONGEST_NAME = 240
_BLOCK = 1 << 20
# Characters and names that Windows cannot store or treats as devices.
_ODD = re.compile(r'[\x00-\x1f\\:*?"<>|]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)

Told = Callable[[float], None]
"""Callback for the finished share; may raise to stop."""


@dataclass(frozen=True, slots=True)
class _Member:
    """A file or folder of an archive, with a function that opens its bytes.

    A link is written as a copy of the member named by `copied`.
    """

    name: str
    size: int
    is_folder: bool = False
    open: Callable[[], IO[bytes] | None] = lambda: None
    copied: str | None = None


class _BoundedInfo(tarfile.TarInfo):
    """A tar member with a limit on the size of its long names and extended headers.

    tarfile reads these completely into memory while it iterates over the members.
    """

    # Type flags of GNU long names and links, and of pax and Solaris headers.
    _NOTES = (b"L", b"K", b"x", b"g", b"X")

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in self._NOTES and self.size > _MOST_HEADER:
            raise tarfile.ReadError(f"a member has notes of {self.size:,} bytes")
        # Not in the stubs; the only hook between a header and the data after it.
        made: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return made


def is_archive(path: Path) -> bool:
    """Return whether a file is a tar (also compressed) or zip archive, by its magic."""
    try:
        with path.open("rb") as stream:
            # A plain tar has its magic "ustar" at byte 257.
            head = stream.read(262)
    except OSError:
        return False
    magics = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
    return head.startswith(magics) or head[257:262] == b"ustar"


def without_ending(name: str) -> str:
    """Return the name of an archive without its ending; "" if nothing is left."""
    return re.sub(r"\.(tar|tar\.(gz|bz2|xz)|tgz|tbz2|txz|zip)$", "", name, flags=re.I)


def unpack(archive: Path, into: Path, told: Told | None = None) -> Path:
    """Unpack a tar or zip archive to `into`, which must not exist.

    Parameters
    ----------
    archive
        The file. If its only top-level member is a folder, that folder becomes `into`.
    into
        Written to a temporary folder beside it and renamed at the end.
    told
        Called with the finished share; may raise to stop, which leaves no files.

    Raises
    ------
    SessionFormatError
        The archive is damaged, or has members that must not be written. Then no file
        is written.
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
        part.chmod(0o755)  # mkdtemp gives access to its owner alone
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
        # Links come last in the list, so their file exists already.
        if member.copied is not None:
            shutil.copyfile(folder / member.copied, target)
            continue
        with _told_as_broken(archive, member.name), target.open("xb") as out:
            stream = member.open()
            # Never more than the declared size, which was checked against the free
            # space.
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
    """Return all members; raise for the first that must not be written."""
    kept: list[_Member] = []
    files: set[str] = set()
    folders: set[str] = set()
    declared = 0
    for member in members:
        # Names that differ in case or in Unicode form alone are one file on macOS and
        # Windows; the second would overwrite the first.
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
    """Return whether an untrusted name leads outside its folder on any system."""
    # Drive letters and backslashes are checked on every system, so that an archive is
    # either safe everywhere or refused everywhere.
    is_rooted = name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name)
    return bool(is_rooted) or ".." in re.split(r"[/\\]", name)


def is_plain_name(name: str) -> bool:
    """Return whether every system can store a file with this relative name."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return not any(
        _ODD.search(part)
        or part[-1] in " ."
        or _RESERVED.fullmatch(part)
        or len(part.encode()) > _LONGEST_NAME
        for part in parts
    )


def _safe_name(archive: Path, name: str) -> str:
    """Return the normalised relative name of a member; "" for the archive's root.

    Raises
    ------
    SessionFormatError
        The name leads outside, or not every system can store it.
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
    """Open an archive and yield an iterator over its members."""
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
    # Links are resolved after all files: a link may precede its file, and only the
    # complete list shows whether it names one.
    regular: dict[str, tarfile.TarInfo] = {}
    links: list[tuple[str, str]] = []
    for info in tar:
        name = _safe_name(archive, info.name)
        if info.issym() or info.islnk():
            # A symbolic link is relative to its own folder, a hard link to the root.
            base = PurePosixPath(name).parent if info.issym() else PurePosixPath()
            links.append((name, _aim(archive, name, base, info.linkname)))
        elif info.isdir():
            if name:
                yield _Member(name, 0, is_folder=True)
        # A sparse file can declare terabytes in a few bytes.
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
    """Return the name of the member that a link points to."""
    if link.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", link):
        raise _outside(archive, name, link)
    aim = os.path.normpath((base / link).as_posix()).replace(os.sep, "/")
    if aim.split("/")[0] == "..":
        raise _outside(archive, name, link)
    return aim


def _zip_members(archive: Path, zipped: zipfile.ZipFile) -> Iterator[_Member]:
    for info in zipped.infolist():
        # The name as stored: zipfile cuts it at a NUL, which the check must see.
        name = _safe_name(archive, info.orig_filename)
        # The upper half is the Unix mode; 0 where the archive was made on Windows.
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
    """Raise damage found by the standard library as `SessionFormatError`."""
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
            raise  # an error of the drive, not of the archive
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
