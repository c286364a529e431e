"""Selection of responses in an NWB file: one kind, from all planes that have it."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omnimouse_model.data.readers.build.decode_text import text_of
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.nwb.file import NwbFile
from omnimouse_model.errors import SessionFormatError

if TYPE_CHECKING:
    import h5py

# Kinds by priority: the models expect deconvolved activity.
_ORDER = ("deconvolved", "DfOverF", "Fluorescence")


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Selected responses and the alternatives.

    Attributes
    ----------
    name, groups
        Name of the selected kind or single series, and its series.
    choices
        Selectable name -> description, best first.
    """

    name: str
    groups: list["h5py.Group"]
    choices: dict[str, str]


def choose_series(nwb: NwbFile, name: str | None, notes: Notes) -> Chosen:
    """Return the requested kind or series, or the best kind.

    Raises
    ------
    SessionFormatError
        If there are no responses, or not the requested ones.
    """
    kinds = _kinds(nwb)
    single = {short_name(g): [g] for groups in kinds.values() for g in groups}
    choices = _choices(kinds)
    if name is not None:
        groups = kinds.get(name) or single.get(name)
        if groups is None:
            raise SessionFormatError(
                nwb.file.path,
                "no_series",
                f"{nwb.file.path.name} has no series {name!r}; it has "
                f"{', '.join([*kinds, *single])}",
                "choose one of these",
            )
        # A series that is the only one of its kind is named by the kind.
        alone = (kind for kind, members in kinds.items() if members == groups)
        return Chosen(next(alone, name), groups, choices)
    best, used = next(iter(kinds.items()))
    # Only if there was a choice.
    if sum(map(len, kinds.values())) > len(used):
        others = [other for other, (group,) in single.items() if group not in used]
        notes.assume(
            "series",
            f"responses are {best} ({', '.join(map(short_name, used))}); there are "
            f"also {', '.join(others)}",
        )
    return Chosen(best, used, choices)


def _kinds(nwb: NwbFile) -> dict[str, list["h5py.Group"]]:
    """Return the series by kind, best kind first.

    Raises
    ------
    SessionFormatError
        If the file contains no `RoiResponseSeries`.
    """
    all_series = [*nwb.groups_of("RoiResponseSeries")]
    if not all_series:
        inside = ", ".join(sorted(nwb.groups)[:12]) or "nothing that NWB knows"
        raise SessionFormatError(
            nwb.file.path,
            "no_responses",
            f"{nwb.file.path.name} holds no RoiResponseSeries, and no Units with "
            f"spike_times; it holds {inside}",
            "only extracted traces of calcium imaging and sorted spikes can be read",
        )
    kinds: dict[str, list[h5py.Group]] = {}
    for group in all_series:
        kinds.setdefault(_kind_of(nwb, group), []).append(group)
    place = {kind: at for at, kind in enumerate(_ORDER)}
    return dict(sorted(kinds.items(), key=lambda k: place.get(k[0], len(_ORDER))))


def _choices(kinds: dict[str, list["h5py.Group"]]) -> dict[str, str]:
    """Return all kinds, then the single series of kinds with several."""
    choices = {k: ", ".join(map(short_name, groups)) for k, groups in kinds.items()}
    for kind, groups in kinds.items():
        if len(groups) > 1:
            choices |= {short_name(group): f"one of {kind}" for group in groups}
    return choices


def _kind_of(nwb: NwbFile, group: "h5py.Group") -> str:
    kind = text_of(nwb.file.attribute(group.parent, "neurodata_type", ""))
    names = short_name(group).lower()
    # NWB has no type for deconvolved activity; only names tell.
    if re.search(r"deconv|spike|event", names):
        return "deconvolved"
    if "neuropil" in names:
        return "neuropil"
    if kind == "DfOverF" or re.search(r"dff|df_?over_?f|delta_?f", names):
        return "DfOverF"
    # A series in any other container is a kind of its own.
    return "Fluorescence" if kind == "Fluorescence" else short_name(group)


def short_name(group: "h5py.Group") -> str:
    """Return the name of a series with that of its container: `container/series`."""
    return "/".join(group.name.split("/")[-2:])
