"""Names on the model hub: checkpoints, recordings, and `hf://` addresses."""

import re
from dataclasses import dataclass
from typing import Literal

from omnimouse_model.errors import FetchError
from omnimouse_model.storage.archives import is_plain_name, leads_outside, without_ending

OWNER = "the-enigma-project"
DATASET = f"{OWNER}/omnimouse-dataset"
RECORDINGS = "experiments"
"""Folder of the data set with one archive per recording."""
_SESSION = re.compile(r"dynamic\d+-\d+-\d+-Video-[0-9a-f]{32}(_30hz)?")
CHECKPOINTS = tuple(f"omnimouse-{s}" for s in ("1M", "5M", "20M", "80M", "300M"))
"""Released models in order of size."""
# The hub's rule for names: word characters, dots and dashes, 96 at most.
_PART = re.compile(r"[\w][\w.-]{0,95}")


@dataclass(frozen=True, slots=True)
class HubPlace:
    """A repository of the hub, or a file or folder in it.

    Attributes
    ----------
    kind
        "model" or "dataset".
    repo
        "owner/name".
    path
        Path inside the repository; "" is the whole repository.
    revision
        A branch, tag or commit.
    """

    kind: Literal["model", "dataset"]
    repo: str
    path: str = ""
    revision: str = "main"

    @property
    def name(self) -> str:
        """Name on this machine: last part of the address, without archive ending."""
        # The readers choose the name of a recording from that of its folder.
        last = (self.path or self.repo).rsplit("/", 1)[-1]
        return without_ending(last) or last

    @property
    def page(self) -> str:
        """Address of the web page of the repository."""
        folder = "datasets/" if self.kind == "dataset" else ""
        return f"https://huggingface.co/{folder}{self.repo}"

    def __str__(self) -> str:
        folder = "datasets/" if self.kind == "dataset" else ""
        revision = "" if self.revision == "main" else f"@{self.revision}"
        path = f"/{self.path}" if self.path else ""
        return f"hf://{folder}{self.repo}{revision}{path}"


def hub_place(name: str) -> HubPlace | None:
    """Return the place on the hub for a name, None if it is not a name of the hub.

    Names are `omnimouse-1M` … `omnimouse-300M`, the names of released recordings, and
    addresses: `hf://[datasets/]owner/name[@revision][/path]`.

    Raises
    ------
    FetchError
        The address is not valid.
    """
    if name in CHECKPOINTS:
        return HubPlace("model", f"{OWNER}/{name}")
    if _SESSION.fullmatch(name):
        return HubPlace("dataset", DATASET, f"{RECORDINGS}/{name}.tar")
    # A Path turns two slashes into one, and into backslashes on Windows.
    address = re.fullmatch(r"hf:/{1,2}(?P<rest>[^/].*)", name.replace("\\", "/"))
    if address is None:
        return None
    rest = address["rest"].rstrip("/")
    # Users also write "hf://omnimouse-5M".
    if short := hub_place(rest):
        return short
    return _place(rest, name)


def short_name(path: str) -> str:
    """Return the short name of a released recording's file; "" for other files."""
    folder, _, file = path.rpartition("/")
    name = file.removesuffix(".tar")
    return name if folder == RECORDINGS and _SESSION.fullmatch(name) else ""


def _place(rest: str, address: str) -> HubPlace:
    parts = rest.split("/")
    kind: Literal["model", "dataset"] = "model"
    if parts[0] in ("datasets", "models"):
        kind = "dataset" if parts.pop(0) == "datasets" else "model"
    owner, name = [*parts, "", ""][:2]
    name, _, revision = name.partition("@")
    path = "/".join(parts[2:])
    is_sound = all(_PART.fullmatch(p) for p in (owner, name, revision or "main"))
    is_sound &= not leads_outside(path) and is_plain_name(path)
    if not is_sound or {"", "."} & set(parts[2:]):
        raise FetchError(
            "not_found",
            f"{address!r} is no address of the hub; write hf://owner/model, "
            "hf://datasets/owner/name/path, or a name such as omnimouse-5M.",
        )
    return HubPlace(kind, f"{owner}/{name}", path, revision or "main")
