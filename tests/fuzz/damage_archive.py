"""Ways to damage a tar or zip archive: names, links, devices, sizes."""

import io
import tarfile
import zipfile
import zlib
from lzma import LZMAError
from pathlib import Path
from random import Random

from tests.fuzz.damage import RAN, SECRET

_NAMES = (
    *("../ran", "../../etc/x", f"/tmp/{RAN}", "C:/x", "\\x", "a\\..\\..\\x", "aux.npy"),
    *("x/../../ran", "./../ran", "a:b", "x\n", " ", ".", "..", "trailing.", "é\u202e"),
    *("meta.json", "./meta.json", "META.JSON", "responses", "responses/data.npy/x"),
)
_AIMS = (f"../{SECRET}", "/etc/passwd", "..", ".", "meta.json", "responses", "nothing")
_KINDS = (tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.CONTTYPE, b"Z")


def damage_archive(draw: Random, root: Path) -> str:
    """Write the archive again, as tar or zip, with hostile members."""
    try:
        with tarfile.open(root) as tar:
            members = [(info, _bytes(tar, info)) for info in tar]
    except (tarfile.TarError, OSError, EOFError, LZMAError, zlib.error):
        return "left a broken archive as it was"
    if not members:
        return "left an empty archive as it was"
    if draw.random() < 0.3:
        return _as_zip(draw, root, members)
    said = _odd_tar(draw, members)
    mode = draw.choice(["w", "w", "w:gz", "w:xz"])
    with tarfile.open(root, mode) as tar:  # type: ignore[call-overload]
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return f"{said}, written as {mode}"


def _bytes(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    # An earlier damage may have declared a false, very large size.
    is_small = info.isreg() and info.size < 2**24
    stream = tar.extractfile(info) if is_small else None
    return b"" if stream is None else stream.read()


def _odd_tar(draw: Random, members: list[tuple[tarfile.TarInfo, bytes]]) -> str:
    kind = draw.choice(["name", "link", "device", "drop", "rename", "size", "twice"])
    at = draw.randrange(len(members))
    chosen, data = members[at]
    odd = tarfile.TarInfo(draw.choice(_NAMES))
    if kind == "name":
        odd.size = 3
        members.insert(at, (odd, b"odd"))
    elif kind == "link":
        odd.type = draw.choice([tarfile.SYMTYPE, tarfile.LNKTYPE])
        odd.linkname = draw.choice(_AIMS)
        if draw.random() < 0.5:
            odd.name = draw.choice(["linked", "responses/linked.npy", chosen.name])
        members.insert(at, (odd, b""))
    elif kind == "device":
        odd.name, odd.type = "device", draw.choice(_KINDS)
        members.insert(at, (odd, b""))
    elif kind == "drop":
        del members[at]
    elif kind == "rename":
        chosen.name = draw.choice(_NAMES)
        odd = chosen
    elif kind == "size":
        chosen.pax_headers = {"size": str(2 ** draw.choice([20, 45, 62]))}
        odd = chosen
    else:
        members.append((chosen, data))
        odd = chosen
    return f"{kind} {odd.name!r} {odd.linkname!r}"


def _as_zip(draw: Random, root: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> str:
    odd = zipfile.ZipInfo(draw.choice(_NAMES))
    odd.external_attr = draw.choice([0, 0o120777, 0o010644, 0o100644]) << 16
    with zipfile.ZipFile(root, "w", zipfile.ZIP_DEFLATED) as zipped:
        for info, data in members:
            if info.isreg():
                zipped.writestr(info.name, data)
        if draw.random() < 0.8:
            zipped.writestr(odd, draw.choice(_AIMS))
    stored = bytearray(root.read_bytes())
    if draw.random() < 0.3:  # sizes that the directory at the end declares
        place = stored.rfind(b"PK\x01\x02")
        stored[place + 24 : place + 28] = draw.randbytes(4)
        root.write_bytes(bytes(stored))
    return f"zip with {odd.filename!r} {odd.external_attr >> 16:o}"
