"""Which responses of an NWB file are read: one kind, of every plane that has it."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omnimouse_model.data.readers.build.decode_text import text_of
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.nwb.file import NwbFile
from omnimouse_model.errors import SessionFormatError

if TYPE_CHECKING:
    import h5py

_ORDER = ("deconvolved", "DfOverF", "Fluorescence")


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """What is read, and what else could be.

    Attributes
    ----------
    name, groups
        Of the kind, or of the one series, that is read; its series.
    choices
        What can be asked for by name, best first, and what it is.
    """

    name: str
    groups: list["h5py.Group"]
    choices: dict[str, str]


def chosen_series(nwb: NwbFile, asked: str | None, notes: Notes) -> Chosen:
    """The kind or series that was asked for, else the best kind.

    Raises
    ------
    SessionFormatError
        There are none, or not the ones asked for; with what there is.
    """
    kinds = _kinds(nwb)
    single = {short_name(g): [g] for groups in kinds.values() for g in groups}
    choices = _choices(kinds)
    if asked is not None:
        found = kinds.get(asked) or single.get(asked)
        if found is None:
            raise SessionFormatError(
                nwb.file.path,
                "no_series",
                f"{nwb.file.path.name} has no series {asked!r}; it has "
                f"{', '.join([*kinds, *single])}",
                "choose one of these",
            )
        alone = (kind for kind, groups in kinds.items() if groups == found)
        return Chosen(next(alone, asked), found, choices)
    best, used = next(iter(kinds.items()))
    if sum(map(len, kinds.values())) > len(used):
        others = [name for name, groups in single.items() if groups[0] not in used]
        notes.assume(
            "series",
            f"responses are {best} ({', '.join(map(short_name, used))}); there are "
            f"also {', '.join(others)}",
        )
    return Chosen(best, used, choices)


def _kinds(nwb: NwbFile) -> dict[str, list["h5py.Group"]]:
    """Series by kind, the best kind first."""
    every = [*nwb.of("RoiResponseSeries")]
    if not every:
        inside = ", ".join(sorted(nwb.groups)[:12]) or "nothing that NWB knows"
        raise SessionFormatError(
            nwb.file.path,
            "no_responses",
            f"{nwb.file.path.name} holds no RoiResponseSeries; it holds {inside}",
            "only recordings of calcium imaging with extracted traces can be read",
        )
    kinds: dict[str, list[h5py.Group]] = {}
    for group in every:
        kinds.setdefault(_kind_of(nwb, group), []).append(group)
    place = {kind: at for at, kind in enumerate(_ORDER)}
    return dict(sorted(kinds.items(), key=lambda k: place.get(k[0], len(_ORDER))))


def _choices(kinds: dict[str, list["h5py.Group"]]) -> dict[str, str]:
    """Every kind, then the series of those kinds that have several."""
    choices = {k: ", ".join(map(short_name, groups)) for k, groups in kinds.items()}
    for kind, groups in kinds.items():
        if len(groups) > 1:
            choices |= {short_name(group): f"one of {kind}" for group in groups}
    return choices


def _kind_of(nwb: NwbFile, group: "h5py.Group") -> str:
    kind = text_of(nwb.file.attribute(group.parent, "neurodata_type", ""))
    words = f"{short_name(group)}".lower()
    if re.search(r"deconv|spike|event", words):
        return "deconvolved"
    if "neuropil" in words:
        return "neuropil"
    if kind == "DfOverF" or re.search(r"dff|df_?over_?f|delta_?f", words):
        return "DfOverF"
    return "Fluorescence" if kind == "Fluorescence" else short_name(group)


def short_name(group: "h5py.Group") -> str:
    """A series' name with its container's, by which it can be asked for."""
    return "/".join(group.name.split("/")[-2:])
