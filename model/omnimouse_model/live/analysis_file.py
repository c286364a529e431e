"""Analysis file: the session, mask, predictor and view on screen as one JSON file.

    {"format": "omnimouse-analysis", "version": 1,
     "recording": {"path": …, "beside": …, "id": …, "fingerprint": …, "options": {}},
     "predictor": "demo", "baseline": "", "start_s": 12.4, "preset": "", "mask": {…},
     "selection": [3, 14], "view": {"cursor": 0, "active_span": [0, 60], …}}

Optional fields: what-if edits `"edits": [{"edit": "contrast", "factor": 0.5, …}]` and
pinned conditions `"pins": [{"slot": 0, "name": …, "mask": {…}, …}]`; in the view, if
they differ from their defaults, `"areas_shown": true`, `"plane_shown": 2`,
`"raster_order": "depth"`, `"raster_view": "pair"` and `"compared": ["A", "B"]`, the
predictors of the colour of a difference; `"predictor_id"`, the id of the
predictor with the hash of its weights; `"sweeps"`, file names of the drawn sweeps;
`"experiments"`, what the laboratory has measured; `"sources"`, file names of the results
of sources, informants and areas; `"groups"`, named groups of neurons
`[{"name": "mine", "ids": [3, 14]}]`, also an empty list beside `"sources"`.
`beside` is the recording's path relative to the file's folder, so that both can be
moved together; `tables_beside` is that of joined tables of neuron properties. The mask
has the format of `Mask.to_dict`. Unknown fields are errors.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from omnimouse_model.analysis.counterfactual import edits_from_json, edits_to_json, sort_edits
from omnimouse_model.data.hub.servers import share_of
from omnimouse_model.data.readers.build.notes import ReadOptions
from omnimouse_model.data.window_spec import Edit, default_spec
from omnimouse_model.errors import AnalysisFileError, MaskError, SessionFormatError
from omnimouse_model.live.pin import MAX_PINS, Pin
from omnimouse_model.live.state import (
    ALL_PLANES,
    COMPARED,
    MAX_SELECTED,
    ColourBy,
    Compared,
    RasterOrder,
    RasterView,
)
from omnimouse_model.masks import TARGET, VISIBLE, Mask
from omnimouse_model.masks.selection import NeuronGroup
from omnimouse_model.storage.files import exists, read_bytes
from omnimouse_model.storage.trees import Within, decode, read_json, refused_as, shown
from omnimouse_model.storage.write import sole_writer, write_json

FORMAT, VERSION = "omnimouse-analysis", 1
SUFFIX = ".omnimouse.json"
MAX_BYTES = 256 * 2**20
MAX_SWEEPS = 100
MAX_EXPERIMENTS, MAX_REPEATS = 100, 100
MAX_SOURCES, MAX_GROUPS = 3, 1000
STATE_FIELDS = (
    "mask", "preset", "selection", "cursor", "active_span", "brush_code", "colour_by",
    "compared", "edits", "pins", "groups", "areas_shown", "plane_shown", "raster_order",
    "raster_view",
)  # fmt: skip
"""Fields of the live state that an analysis has under the same name."""
Sample = Annotated[int, Within(0, 10**6)]


# -- what a file holds --------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Recording:
    path: str
    id: str
    fingerprint: str
    options: dict[str, Any]
    beside: str = ""
    tables_beside: str = ""


@dataclass(frozen=True, slots=True)
class _View:
    cursor: Sample
    active_span: tuple[Sample, Sample]
    brush_code: Annotated[int, Within(0, TARGET)]
    colour_by: ColourBy
    areas_shown: bool = False
    plane_shown: Annotated[int, Within(ALL_PLANES, 10**4)] = ALL_PLANES
    raster_order: RasterOrder = "state"
    raster_view: RasterView = "truth"
    compared: tuple[Compared, Compared] = COMPARED


@dataclass(frozen=True, slots=True)
class ExperimentEntry:
    """An experiment of the laboratory that has a result; `predictor` is the id of its model."""

    name: str
    repeats: Annotated[int, Within(1, MAX_REPEATS)]
    predictor: str


@dataclass(frozen=True, slots=True)
class _File:
    format: str
    version: Literal[1]
    recording: _Recording
    predictor: str
    baseline: str
    start_s: float
    preset: str
    mask: dict[str, Any] | None
    selection: Annotated[tuple[Annotated[int, Within(0, 10**6)], ...], Within(0, MAX_SELECTED)]
    view: _View
    edits: list[dict[str, Any]] = field(default_factory=list)
    pins: Annotated[list[Any], Within(0, MAX_PINS)] = field(default_factory=list)
    predictor_id: str = ""
    sweeps: Annotated[tuple[str, ...], Within(0, MAX_SWEEPS)] = ()
    experiments: Annotated[tuple[ExperimentEntry, ...], Within(0, MAX_EXPERIMENTS)] = ()
    sources: Annotated[tuple[str, ...], Within(0, MAX_SOURCES)] = ()
    groups: Annotated[tuple[NeuronGroup, ...], Within(0, MAX_GROUPS)] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """The screen's content, which can be saved and shown again.

    Attributes
    ----------
    recording, recording_id, fingerprint, options
        Path or address, session id, fingerprint of the files, and read options.
    predictor, baseline
        Names or paths, "" for none.
    mask, preset
        Mask, and the name of its preset ("" for a mask painted by hand).
    edits
        What-if edits of video and behaviour.
    pins
        Pinned conditions.
    predictor_id
        Id of the predictor with the hash of its weights, if any; "" if not known.
    sweeps
        File names of the saved sweeps that are drawn.
    experiments
        Experiments of the laboratory that have a result.
    sources
        File names of the results of sources, informants and areas.
    groups
        Named groups of neurons; None in older files, whose kept results have them.
    """

    recording: str = ""
    recording_id: str = ""
    fingerprint: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    predictor: str = ""
    baseline: str = ""
    start_s: float = 0.0
    mask: Mask | None = None
    preset: str = ""
    selection: tuple[int, ...] = ()
    cursor: int = 0
    active_span: tuple[int, int] = (0, default_spec().n_samples)
    brush_code: int = VISIBLE
    colour_by: ColourBy = "state"
    edits: tuple[Edit, ...] = ()
    pins: tuple[Pin, ...] = ()
    groups: tuple[NeuronGroup, ...] | None = ()
    areas_shown: bool = False
    plane_shown: int = ALL_PLANES
    predictor_id: str = ""
    sweeps: tuple[str, ...] = ()
    experiments: tuple[ExperimentEntry, ...] = ()
    sources: tuple[str, ...] = ()
    raster_order: RasterOrder = "state"
    raster_view: RasterView = "truth"
    compared: tuple[Compared, Compared] = COMPARED

    def is_same_task(self, other: "Analysis") -> bool:
        """Whether everything but the view options and saved sweeps is equal."""
        # A view option, such as a colour, is no work that would be lost: it must not
        # ask to save.
        plain = ("recording", "predictor", "baseline", "start_s", "selection", "edits", "groups")
        return (
            all(getattr(self, name) == getattr(other, name) for name in plain)
            and dict(self.options) == dict(other.options)
            and (self.mask is other.mask or self.mask == other.mask)
            and [pin.key for pin in self.pins] == [pin.key for pin in other.pins]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        # Fields at their defaults are left out, so that versions without these fields,
        # which refuse unknown fields, can read the file.
        optional: dict[str, Any] = {
            "edits": edits_to_json(self.edits),
            "pins": [pin.to_dict() for pin in self.pins],
            "predictor_id": self.predictor_id,
            "sweeps": list(self.sweeps),
            "experiments": [asdict(one) for one in self.experiments],
            "sources": list(self.sources),
        }
        optional = {name: value for name, value in optional.items() if value}
        # Beside results also an empty list: without one, the groups of the results come back.
        if self.groups or (self.sources and self.groups is not None):
            optional["groups"] = [{"name": one.name, "ids": list(one.ids)} for one in self.groups]
        one_plane = self.plane_shown != ALL_PLANES
        raster = {"raster_order": self.raster_order, "raster_view": self.raster_view}
        default = {"raster_order": "state", "raster_view": "truth"}
        return {
            "format": FORMAT,
            "version": VERSION,
            "recording": {
                "path": self.recording,
                "id": self.recording_id,
                "fingerprint": self.fingerprint,
                "options": dict(self.options),
            },
            "predictor": self.predictor,
            "baseline": self.baseline,
            "start_s": self.start_s,
            "preset": self.preset,
            "mask": None if self.mask is None else self.mask.to_dict(),
            "selection": list(self.selection),
            "view": {
                "cursor": self.cursor,
                "active_span": list(self.active_span),
                "brush_code": self.brush_code,
                "colour_by": self.colour_by,
                **({"areas_shown": True} if self.areas_shown else {}),
                **({"plane_shown": self.plane_shown} if one_plane else {}),
                **{name: raster[name] for name in raster if raster != default},
                **({"compared": list(self.compared)} if self.compared != COMPARED else {}),
            },
        } | optional

    @classmethod
    def from_dict(cls, values: object) -> "Analysis":
        """Make an analysis from `to_dict`'s values; any input is checked.

        Raises
        ------
        AnalysisFileError
            A field is wrong; the message has the field, its value and what is expected.
        """
        _check_version(values)
        with refused_as(partial(AnalysisFileError, "field")):
            file = decode(_File, values, "the analysis")
            options = decode(ReadOptions, file.recording.options, "the analysis", "options")
        # The mask first: its spec limits the samples of cursor and span.
        mask = _mask(file.mask)
        n_samples = default_spec().n_samples if mask is None else mask.n_samples
        start, stop = file.view.active_span
        if not (start < stop <= n_samples and file.view.cursor < n_samples):
            found = {"cursor": file.view.cursor, "active_span": [start, stop]}
            _refuse("view", found, f"samples in 0..{n_samples}")
        return cls(
            recording=file.recording.path,
            recording_id=file.recording.id,
            fingerprint=file.recording.fingerprint,
            options=options.changed(),
            predictor=file.predictor,
            baseline=file.baseline,
            start_s=file.start_s,
            mask=mask,
            preset=file.preset,
            # A neuron selected twice would have two traces.
            selection=tuple(dict.fromkeys(file.selection)),
            edits=_edits(file.edits),
            pins=_pins(file.pins),
            predictor_id=file.predictor_id,
            sweeps=_names("sweeps", file.sweeps),
            sources=_names("sources", file.sources),
            groups=None if file.groups is None and file.sources else _groups(file.groups or ()),
            experiments=_experiments(file.experiments),
            **asdict(file.view),
        )


@dataclass(frozen=True, slots=True, eq=False)
class ReopenedAnalysis:
    """An analysis that is being opened again.

    Attributes
    ----------
    path
        Its file; None if it was never saved.
    messages
        Messages about differences from the saved state, one sentence each.
    saved
        Content of the file; None if it could not be read.
    is_restored
        Whether it is the last saved session; then the chosen predictor stays.
    digest
        `digest_of` the file when this program read or wrote it; "" if it is not known.
    """

    analysis: Analysis
    path: Path | None = None
    messages: tuple[str, ...] = ()
    saved: Analysis | None = None
    is_restored: bool = False
    digest: str = ""


# -- on disk ------------------------------------------------------------------------
def write_analysis(path: Path, analysis: Analysis) -> None:
    """Write an analysis atomically, readable by the user only."""
    values = analysis.to_dict()
    places = {"beside": analysis.recording}
    if analysis.options.get("unit_tables") is not None:
        places["tables_beside"] = analysis.options["unit_tables"]
    for name, place in places.items():
        with suppress(ValueError):  # no relative path between two Windows drives
            relative = os.path.relpath(place, path.parent)
            values["recording"][name] = Path(relative).as_posix()
    # A crash while writing leaves the old file as it was.
    write_json(path, values, is_private=True)


def digest_of(path: Path) -> str:
    """Return a hash of the content of a file; "" if there is none."""
    if not path.is_file():
        return ""
    return blake2b(read_bytes(path, MAX_BYTES), digest_size=16).hexdigest()


def replace_analysis(path: Path, analysis: Analysis, known: str) -> str:
    """Write an analysis in place of the content with a known digest; return the new digest.

    Raises
    ------
    AnalysisFileError
        Another program has saved the file since: its content stays.
    """
    # Locked, so that no other window saves between the comparison and the writing.
    with sole_writer(path, wait=True):
        if known and digest_of(path) not in ("", known):
            raise AnalysisFileError(
                "unsaved",
                f"another program has saved {path.name} since it was opened or saved here, "
                "and that is kept. Save this under another name, or open the other one.",
            )
        write_analysis(path, analysis)
        return digest_of(path)


def read_analysis(path: Path) -> Analysis:
    """Read an analysis file; find a recording and tables that were moved with it.

    Raises
    ------
    AnalysisFileError
        The file is incomplete, of another kind or a newer version, or a field is wrong.
    OSError
        The file cannot be read.
    """
    try:
        values = read_json(path, nan=True)  # a field without a number is named below
    except SessionFormatError as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise AnalysisFileError(
            "torn" if error.code in ("bad_json", "bad_text") else "foreign",
            f"{path.name} is no analysis, or was cut short: {error.message}. Open a copy of "
            "it, or save the analysis anew.",
        ) from None
    try:
        analysis = Analysis.from_dict(values)
    except AnalysisFileError as error:
        raise AnalysisFileError(error.code, f"{path.name}: {error.message}") from None
    found, options = values["recording"], dict(analysis.options)
    recording = _place(analysis.recording, found.get("beside", ""), path.parent)
    if options.get("unit_tables") is not None:
        tables, beside = options["unit_tables"], found.get("tables_beside", "")
        options["unit_tables"] = _place(tables, beside, path.parent)
    return replace(analysis, recording=recording, options=options)


def _place(path: str, relative: str, folder: Path) -> str:
    """Return a path, or the one relative to the analysis if only that one exists."""
    # The absolute path takes precedence while it exists.
    if relative and not share_of(path) and not exists(path):
        moved = Path(os.path.normpath(folder / relative))
        if moved.drive == folder.drive and exists(moved):
            return str(moved)
    return path


# -- values of any origin -----------------------------------------------------------
def _check_version(values: object) -> None:
    if not isinstance(values, Mapping):
        _refuse("content", values, "an object of fields")
    if values.get("format") != FORMAT:
        raise AnalysisFileError(
            "foreign",
            f"this is no analysis of OmniMouse (its format is {shown(values.get('format'))}). "
            f"Analyses end in {SUFFIX}.",
        )
    # `type`, not `isinstance`: JSON's `true` equals version 1.
    version = values.get("version")
    if type(version) is int and version > VERSION:
        raise AnalysisFileError(
            "newer",
            f"it was saved by a newer OmniMouse (version {version}, this one reads "
            f"{VERSION}). Update OmniMouse to open it.",
        )


def _mask(value: dict[str, Any] | None) -> Mask | None:
    try:
        return None if value is None else Mask.from_dict(value)
    except MaskError as error:
        raise AnalysisFileError("field", str(error)) from None


def _edits(value: list[dict[str, Any]]) -> tuple[Edit, ...]:
    try:
        return sort_edits(edits_from_json(value))
    except ValueError as error:
        raise AnalysisFileError("field", f"its edits: {error}") from None


def _pins(value: list[Any]) -> tuple[Pin, ...]:
    pins = []
    for values in value:
        try:
            pins.append(Pin.from_dict(values, ""))
        except (MaskError, KeyError, TypeError, ValueError) as error:
            raise AnalysisFileError("field", f"its pins: {error!s:.200}") from None
    # Two pins in one slot would have the same letter and colour.
    if len({pin.slot for pin in pins}) < len(pins):
        _refuse("pins", [pin.slot for pin in pins], "each in a slot of its own")
    return tuple(sorted(pins, key=lambda pin: pin.slot))


def _groups(groups: tuple[NeuronGroup, ...]) -> tuple[NeuronGroup, ...]:
    names = [one.name for one in groups]
    if "" in names or len({*names}) < len(names) or not all(one.ids for one in groups):
        _refuse("groups", names, "groups of neurons, each with a name of its own")
    return groups


def _names(field: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return checked file names; a name with a path is refused."""
    # The names are joined to a folder of results: a path such as "../x" from a foreign
    # file must not lead out of it. ":" is refused because of Windows drives.
    for name in names:
        if set(name) & set("/\\:") or name in ("", ".", ".."):
            _refuse(field, name, "names of files")
    return tuple(dict.fromkeys(names))


def _experiments(found: tuple[ExperimentEntry, ...]) -> tuple[ExperimentEntry, ...]:
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        _refuse("experiments", names, "different experiments")
    # A name of a later version is no fault: it is left out when shown.
    return found


def _refuse(name: str, value: object, expected: str) -> NoReturn:
    raise AnalysisFileError("field", f"its {name}: found {shown(value)}, expected {expected}.")
