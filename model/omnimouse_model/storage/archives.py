"""Unpack tar and zip archives of unknown origin safely: all of it, or nothing.

All members are checked before the first is written. Links to files of the archive are
written as copies; other members that are not files or folders are refused.

The extraction filters of the standard library do not replace these checks. The filter
"data" of tarfile (Python 3.11) writes `/etc/x` as `etc/x` instead of refusing it. It
creates links, and it accepts a name twice and names that Windows cannot hold (`C:/x`,
`aux.npy`). It has no limit on size, number of members or header size. zipfile has no
filter.
"""

import lzma
import os
import re
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import IO

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.progress import QUIET, Job, advance
from omnimouse_model.storage.files import bad_file, head_of, open_binary
from omnimouse_model.storage.write import put_in_place, sole_writer, temporary_folder

# Limits against archives made to fill memory or drive. The limit of names is in bytes,
# below the 255 that most file systems allow.
MAX_MEMBERS = 100_000
_MAX_HEADER = 2**20
_LONGEST_NAME, _LONGEST_PATH = 240, 1000
_BLOCK = 1 << 20
_MOST_COPIES = 4
"""Most bytes of the copies that links stand for, in multiples of those of the files."""
# Characters that control a terminal, and characters and names that Windows cannot store
# or treats as devices.
_ODD = re.compile(r'[\x00-\x1f\x7f-\x9f\\:*?"<>|]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)


@dataclass(frozen=True, slots=True)
class _Member:
    """A member of an archive: a file with `open`, a copy of `copied`, or a folder."""

    name: str
    size: int = 0
    open: Callable[[], IO[bytes] | None] | None = None
    copied: str | None = None

    @property
    def is_folder(self) -> bool:
        return self.open is None and self.copied is None


class _BoundedInfo(tarfile.TarInfo):
    """Tar member whose long name and extended headers have a size limit.

    tarfile reads them into memory while it lists the members.
    """

    # Type flags of GNU long names and links, and of pax and Solaris headers.
    _NOTES = (b"L", b"K", b"x", b"g", b"X")

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in self._NOTES and self.size > _MAX_HEADER:
            raise tarfile.ReadError(f"a member has notes of {self.size:,} bytes")
        # Not in the stubs; the only hook between a header and the data after it.
        return super()._proc_member(archive)  # type: ignore[misc]


def is_archive(path: Path) -> bool:
    """Return whether a file is a tar or zip archive, by its first bytes."""
    # A plain tar has its magic "ustar" at byte 257.
    head = head_of(path, 262)
    magics = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
    return head.startswith(magics) or head[257:262] == b"ustar"


def without_ending(name: str) -> str:
    """Return an archive's name without its ending; "" if nothing is left."""
    return re.sub(r"\.(tar|tar\.(gz|bz2|xz)|tgz|tbz2|txz|zip)$", "", name, flags=re.I)


def unpack(archive: Path, into: Path, job: Job = QUIET) -> Path:
    """Unpack a tar or zip archive to `into`, which must not exist.

    Parameters
    ----------
    archive
        The file. If it contains one folder and nothing else, that folder becomes
        `into`.
    into
        The target folder. It is written under another name and renamed at the end.
    job
        Progress and stop request; see `progress.Job`.

    Raises
    ------
    SessionFormatError
        The archive is damaged, or a member must not be written; nothing is written.
    OutputBusyError
        Another process unpacks to the same folder.
    """
    into.parent.mkdir(parents=True, exist_ok=True)
    with sole_writer(into):
        _unpack(archive, into, job)
    return into


def _unpack(archive: Path, into: Path, job: Job) -> None:
    with temporary_folder(into) as part:
        if into.exists():
            raise bad_file(into, "exists", "exists already", "remove it, or choose another")
        with _opened(archive) as members:
            checked = _checked(archive, members, shutil.disk_usage(into.parent).free)
            _write(archive, checked, part, job)
        inner = list(part.iterdir())
        is_single = len(inner) == 1 and inner[0].is_dir()
        put_in_place(inner[0] if is_single else part, into)


def _write(archive: Path, members: list[_Member], folder: Path, job: Job) -> None:
    total = max(1, sum(m.size for m in members if m.copied is None))
    done = 0
    for member in members:
        target = folder / member.name
        (target if member.is_folder else target.parent).mkdir(parents=True, exist_ok=True)
        if member.copied is not None:
            shutil.copyfile(folder / member.copied, target)
        if member.open is None:
            continue
        end = done + member.size
        with _as_broken_archive(archive, member.name), target.open("xb") as out:
            stream = member.open()
            # Never more than the declared size, which was compared with the free space.
            while stream and (block := stream.read(min(_BLOCK, end - done))):
                out.write(block)
                done += len(block)
                advance(job, done, total, "unpacking")
        if done < end:
            raise _broken(archive, f"'{member.name}' is cut short")


def _checked(archive: Path, members: Iterator[_Member], free: int) -> list[_Member]:
    """Return all members; raise for the first that must not be written."""
    checked: list[_Member] = []
    files: set[str] = set()
    folders: set[str] = set()
    declared = copied = 0
    for member in members:
        # Windows and macOS do not distinguish case, macOS nor composed letters.
        plain = unicodedata.normalize("NFC", member.name).casefold()
        if plain in files or (plain in folders and not member.is_folder):
            raise _refused(archive, f"'{member.name}' is in it twice")
        (folders if member.is_folder else files).add(plain)
        while (plain := plain.rpartition("/")[0]) and plain not in folders:
            folders.add(plain)
        if member.size < 0:
            raise _broken(archive, f"'{member.name}' has {member.size} bytes")
        checked.append(member)
        declared += member.size
        copied += member.size if member.copied is not None else 0
        if len(checked) > MAX_MEMBERS:
            raise _refused(archive, f"it holds more than {MAX_MEMBERS:,} members")
        if declared > free:
            raise _refused(
                archive,
                f"it unpacks to {declared / 2**30:,.1f} GiB or more, and "
                f"{free / 2**30:,.1f} GiB are free",
                "make room, or choose another drive",
            )
    if copied > _MOST_COPIES * (declared - copied):
        raise _refused(archive, f"its links repeat its files to {copied / 2**20:,.0f} MiB")
    if clash := sorted(files & folders):
        raise _refused(archive, f"'{clash[0]}' is both a file and a folder")
    if not files:
        raise _refused(archive, "it holds no file")
    return checked


def leads_outside(name: str) -> bool:
    """Return whether a name leads out of its folder on any operating system."""
    is_rooted = name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name)
    return bool(is_rooted) or ".." in re.split(r"[/\\]", name)


def is_plain_name(name: str) -> bool:
    """Return whether every operating system allows this relative file name."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return len(name.encode()) <= _LONGEST_PATH and not any(
        _ODD.search(part)
        or part[-1] in " ."
        or _RESERVED.fullmatch(part)
        or len(part.encode()) > _LONGEST_NAME
        for part in parts
    )


def _safe_name(archive: Path, name: str) -> str:
    """Return a member's relative name, "" for the root; raise if it is not allowed."""
    if leads_outside(name):
        raise _outside(archive, name)
    if not is_plain_name(name):
        raise _refused(archive, f"member {name!r} has a name that not every system can hold")
    return "/".join(part for part in name.split("/") if part not in ("", "."))


# -- the two kinds -------------------------------------------------------------------
@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[_Member]]:
    """Open an archive and yield an iterator over its members."""
    with _as_broken_archive(archive), BufferedReader(open_binary(archive)) as stream:
        if stream.peek(2).startswith(b"PK"):
            with zipfile.ZipFile(stream) as zipped:
                yield _zip_members(archive, zipped)
            return
        with tarfile.open(fileobj=stream, tarinfo=_BoundedInfo) as tar:
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
                yield _Member(name)
        elif info.isreg() and not info.issparse() and name:
            regular[name] = info
            yield _Member(name, info.size, partial(tar.extractfile, info))
        else:
            raise _refused(archive, f"member '{info.name}' is no plain file or folder")
    for name, aim in links:
        if aim not in regular:
            raise _refused(archive, f"member '{name}' is a link to '{aim}', which is no file in it")
        yield _Member(name, regular[aim].size, copied=aim)


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
        # The stored name: zipfile cuts `filename` at a NUL.
        name = _safe_name(archive, info.orig_filename)
        # The upper half is the Unix mode; 0 where the archive was made on Windows.
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(archive, f"member '{name}' is no plain file or folder")
        if info.flag_bits & 1:
            raise _refused(archive, f"member '{name}' is encrypted")
        if info.is_dir():
            if name:
                yield _Member(name)
        elif name:
            yield _Member(name, info.file_size, partial(zipped.open, info))


# -- errors --------------------------------------------------------------------------
@contextmanager
def _as_broken_archive(archive: Path, name: str = "") -> Iterator[None]:
    """Turn errors of the standard library about damage into SessionFormatError."""
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
        problem = f"'{name}' cannot be read: {error}" if name else str(error)
        raise _broken(archive, problem) from error


def _broken(archive: Path, problem: str) -> SessionFormatError:
    return bad_file(archive, "broken_archive", f"is not a whole archive: {problem}")


def _outside(archive: Path, name: str, link: str = "") -> SessionFormatError:
    through = f" (a link to '{link}')" if link else ""
    return _refused(archive, f"member '{name}'{through} would be written outside the target folder")


def _refused(archive: Path, why: str, hint: str = "nothing was unpacked") -> SessionFormatError:
    return bad_file(archive, "refused_archive", f"was refused: {why}", hint)
