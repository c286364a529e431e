"""Analysis file: the session, mask, predictor and view on screen as one JSON file.

    {"format": "omnimouse-analysis", "version": 1,
     "recording": {"path": …, "beside": …, "id": …, "fingerprint": …, "options": {}},
     "predictor": "demo", "baseline": "", "start_s": 12.4, "preset": "", "mask": {…},
     "selection": [3, 14], "view": {"cursor": 0, "active_span": [0, 60], …}}

Optional fields: what-if edits `"edits": [{"edit": "contrast", "factor": 0.5, …}]` and
pinned conditions `"pins": [{"slot": 0, "name": …, "mask": {…}, …}]`; in the view, if
they differ from their defaults, `"areas_shown": true`, `"plane_shown": 2`,
`"raster_order": "depth"` and `"raster_view": "pair"`; `"predictor_id"`, the id of the
predictor with the hash of its weights; `"sweeps"`, file names of the drawn sweeps;
`"experiments"`, what the laboratory has measured.
`beside` is the recording's path relative to the file's folder, so that both can be
moved together; `tables_beside` is that of joined tables of neuron properties. The mask
has the format of `Mask.to_dict`. Unknown fields are errors.
"""

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, NoReturn, get_args

from omnimouse_model.analysis.in_silico.edit_lists import (
    edits_from_json,
    edits_to_json,
    sort_edits,
)
from omnimouse_model.data.edit_protocol import Edit
from omnimouse_model.data.read_options import ReadOptions
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.errors import AnalysisFileError, MaskError
from omnimouse_model.lab.experiments import EXPERIMENTS
from omnimouse_model.live.laboratory_jobs import MAX_REPEATS, ExperimentEntry
from omnimouse_model.live.pin import MAX_PINS, Pin
from omnimouse_model.live.state import (
    ALL_PLANES,
    MAX_SELECTED,
    ColourBy,
    RasterOrder,
    RasterView,
)
from omnimouse_model.masks import TARGET, VISIBLE, Mask
from omnimouse_model.storage.files import read_bytes
from omnimouse_model.storage.locks import sole_writer
from omnimouse_model.storage.write import write_json

FORMAT, VERSION = "omnimouse-analysis", 1
SUFFIX = ".omnimouse.json"
MAX_BYTES = 256 * 2**20
MAX_SWEEPS = 100
_LARGEST_NEURON = 10**6
_FIELDS = (
    "format", "version", "recording", "predictor", "baseline", "start_s", "preset",
    "mask", "selection", "view", "edits", "pins", "predictor_id", "sweeps",
    "experiments",
)  # fmt: skip
_RECORDING = ("path", "beside", "id", "fingerprint", "options", "tables_beside")
_LARGEST_PLANE = 10**4
STATE_FIELDS = (
    "mask", "preset", "selection", "cursor", "active_span", "brush_code", "colour_by",
    "edits", "pins", "areas_shown", "plane_shown", "raster_order", "raster_view",
)  # fmt: skip
"""Fields of the live state that an analysis has under the same name."""
_VIEW = (
    "cursor", "active_span", "brush_code", "colour_by", "areas_shown", "plane_shown",
    "raster_order", "raster_view",
)  # fmt: skip


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
    active_span: tuple[int, int] = (0, OMNIMOUSE.n_samples)
    brush_code: int = VISIBLE
    colour_by: ColourBy = "state"
    edits: tuple[Edit, ...] = ()
    pins: tuple[Pin, ...] = ()
    areas_shown: bool = False
    plane_shown: int = ALL_PLANES
    predictor_id: str = ""
    sweeps: tuple[str, ...] = ()
    experiments: tuple[ExperimentEntry, ...] = ()
    raster_order: RasterOrder = "state"
    raster_view: RasterView = "truth"

    def is_same_task(self, other: "Analysis") -> bool:
        """Whether everything but the view options and saved sweeps is equal."""
        # A view option, such as a colour, is no work that would be lost: it must not
        # ask to save.
        plain = ("recording", "predictor", "baseline", "start_s", "selection", "edits")
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
        optional: dict[str, Any] = {}
        if self.edits:
            optional["edits"] = edits_to_json(self.edits)
        if self.pins:
            optional["pins"] = [pin.to_dict() for pin in self.pins]
        if self.predictor_id:
            optional["predictor_id"] = self.predictor_id
        if self.sweeps:
            optional["sweeps"] = list(self.sweeps)
        if self.experiments:
            optional["experiments"] = [
                {
                    "name": one.name,
                    "repeats": one.repeats,
                    "predictor": one.predictor_id,
                }
                for one in self.experiments
            ]
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
        content = _object(values, "the whole", _FIELDS, _check_version)
        place = _object(content.get("recording"), "recording", _RECORDING)
        view = _object(content.get("view"), "view", _VIEW)
        # The mask first: its spec limits the samples of cursor and span.
        mask = _mask(content.get("mask"))
        n_samples = OMNIMOUSE.n_samples if mask is None else mask.n_samples
        return cls(
            recording=_text(place, "path"),
            recording_id=_text(place, "id"),
            fingerprint=_text(place, "fingerprint"),
            options=_options(place.get("options")),
            predictor=_text(content, "predictor"),
            baseline=_text(content, "baseline"),
            start_s=_seconds(content.get("start_s")),
            mask=mask,
            preset=_text(content, "preset"),
            selection=_selection(content.get("selection")),
            cursor=_integer(view.get("cursor"), "cursor", 0, n_samples - 1),
            active_span=_span(view.get("active_span"), n_samples),
            brush_code=_integer(view.get("brush_code"), "brush_code", 0, TARGET),
            colour_by=_one_of(view.get("colour_by"), "colour_by", ColourBy),
            edits=_edits(content.get("edits", [])),
            pins=_pins(content.get("pins", [])),
            predictor_id=_text(content, "predictor_id", ""),
            sweeps=_names(content.get("sweeps", [])),
            experiments=_experiments(content.get("experiments", [])),
            **_optional_view(view),
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
    # Checked before reading, so that a huge foreign file does not fill the memory.
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise AnalysisFileError("foreign", f"{path.name} is no analysis: it has {size:,} bytes.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    # Deeply nested JSON raises `RecursionError`.
    except (ValueError, RecursionError) as error:
        raise AnalysisFileError(
            "torn",
            f"{path.name} is no analysis, or was cut short: it is not whole JSON text "
            f"({shortened(str(error))}). Open a copy of it, or save the analysis anew.",
        ) from None
    try:
        analysis = Analysis.from_dict(values)
    except AnalysisFileError as error:
        raise AnalysisFileError(error.code, f"{path.name}: {error.message}") from None
    found, options = values["recording"], dict(analysis.options)
    recording = _place(analysis.recording, found.get("beside"), path.parent)
    if options.get("unit_tables") is not None:
        tables, beside = options["unit_tables"], found.get("tables_beside")
        options["unit_tables"] = _place(tables, beside, path.parent)
    return replace(analysis, recording=recording, options=options)


def _place(path: str, relative: object, folder: Path) -> str:
    """Return a path, or the one relative to the analysis if only that one exists."""
    # The absolute path takes precedence while it exists.
    if not _exists(Path(path)) and isinstance(relative, str) and relative:
        moved = Path(os.path.normpath(folder / relative))
        if _exists(moved):
            return str(moved)
    return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # longer than a path can be
        return False


# -- values of any origin -----------------------------------------------------------
def _object(
    values: object, name: str, fields: tuple[str, ...], check: Any = None
) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        _refuse(name, values, "an object of fields")
    if check is not None:
        check(values)
    for key in values:
        if key not in fields:
            _refuse(name, key, f"only {', '.join(fields)}")
    return values


def _check_version(values: Mapping[str, Any]) -> None:
    if values.get("format") != FORMAT:
        raise AnalysisFileError(
            "foreign",
            f"this is no analysis of OmniMouse (its format is "
            f"{shortened(values.get('format'))}). Analyses end in {SUFFIX}.",
        )
    # `type`, not `isinstance`: JSON's `true` equals version 1.
    version = values.get("version")
    if type(version) is int and version > VERSION:
        raise AnalysisFileError(
            "newer",
            f"it was saved by a newer OmniMouse (version {version}, this one reads "
            f"{VERSION}). Update OmniMouse to open it.",
        )
    if type(version) is not int or version != VERSION:
        _refuse("version", version, str(VERSION))


def _text(values: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = values.get(name, default)
    if not isinstance(value, str) or "\0" in value:
        _refuse(name, value, "text")
    return value


def _options(value: object) -> dict[str, Any]:
    expected = "options of reading, by name"
    if not isinstance(value, dict):
        _refuse("options", value, expected)
    if "unit_tables" in value:
        _text(value, "unit_tables")
    try:
        return ReadOptions(**value).changed()
    except TypeError:
        _refuse("options", value, expected)


def _optional_view(view: Mapping[str, Any]) -> dict[str, Any]:
    """Return the view options that are left out at their defaults."""
    plane = view.get("plane_shown", ALL_PLANES)
    order, images = view.get("raster_order", "state"), view.get("raster_view", "truth")
    return {
        "areas_shown": _switch(view.get("areas_shown", False), "areas_shown"),
        "plane_shown": _integer(plane, "plane_shown", ALL_PLANES, _LARGEST_PLANE),
        "raster_order": _one_of(order, "raster_order", RasterOrder),
        "raster_view": _one_of(images, "raster_view", RasterView),
    }


def _seconds(value: object) -> float:
    # JSON's `true` is an int in Python.
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse("start_s", value, "seconds")
    if not math.isfinite(value):
        _refuse("start_s", value, "seconds")
    return float(value)


def _mask(value: object) -> Mask | None:
    if value is None:
        return None
    try:
        return Mask.from_dict(value)
    except MaskError as error:
        raise AnalysisFileError("field", str(error)) from None


def _edits(value: object) -> tuple[Edit, ...]:
    if not isinstance(value, list) or not all(isinstance(row, Mapping) for row in value):
        _refuse("edits", value, "a list of edits")
    try:
        return sort_edits(edits_from_json(value))
    except ValueError as error:
        raise AnalysisFileError("field", f"its edits: {error}") from None


def _pins(value: object) -> tuple[Pin, ...]:
    expected = f"at most {MAX_PINS} pinned conditions, each in a slot of its own"
    if not isinstance(value, list) or len(value) > MAX_PINS:
        _refuse("pins", value, expected)
    pins = []
    for values in value:
        try:
            pins.append(Pin.from_dict(values, ""))
        except (MaskError, KeyError, TypeError, ValueError) as error:
            raise AnalysisFileError("field", f"its pins: {error!s:.200}") from None
    # Two pins in one slot would have the same letter and colour.
    if len({pin.slot for pin in pins}) < len(pins):
        _refuse("pins", [pin.slot for pin in pins], expected)
    return tuple(sorted(pins, key=lambda pin: pin.slot))


def _names(value: object) -> tuple[str, ...]:
    """Return checked file names; a name with a path is refused."""
    # The names are joined to the sweeps' folder: a path such as "../x" from a foreign
    # file must not lead out of it. ":" is refused because of Windows drives.
    expected = f"at most {MAX_SWEEPS} names of files"
    if not isinstance(value, list) or len(value) > MAX_SWEEPS:
        _refuse("sweeps", value, expected)
    for name in value:
        is_plain = isinstance(name, str) and not set(name) & set("/\\\0:")
        if not is_plain or name in ("", ".", ".."):
            _refuse("sweeps", name, expected)
    return tuple(dict.fromkeys(value))


def _experiments(value: object) -> tuple[ExperimentEntry, ...]:
    expected = f"at most {len(EXPERIMENTS)} different experiments"
    if not isinstance(value, list) or len(value) > len(EXPERIMENTS):
        _refuse("experiments", value, expected)
    found = []
    for row in value:
        content = _object(row, "experiments", ("name", "repeats", "predictor"))
        repeats = content.get("repeats")
        found.append(
            ExperimentEntry(
                # A name of a later version is no fault: it is left out when shown.
                _text(content, "name"),
                _integer(repeats, "experiments: repeats", 1, MAX_REPEATS),
                _text(content, "predictor"),
            )
        )
    if len({one.name for one in found}) < len(found):
        _refuse("experiments", [one.name for one in found], expected)
    return tuple(found)


def _selection(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > MAX_SELECTED:
        _refuse("selection", value, f"at most {MAX_SELECTED} neurons")
    neurons = [_integer(v, "selection", 0, _LARGEST_NEURON) for v in value]
    # A neuron selected twice would have two traces.
    return tuple(dict.fromkeys(neurons))


def _integer(value: object, name: str, low: int, high: int) -> int:
    # `type`, not `isinstance`: True is an instance of int.
    if type(value) is not int or not low <= value <= high:
        _refuse(name, value, f"a whole number {low}..{high}")
    return value


def _switch(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        _refuse(name, value, "true or false")
    return value


def _span(value: object, n_samples: int) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        _refuse("active_span", value, f"[start, stop] in 0..{n_samples}")
    start = _integer(value[0], "active_span", 0, n_samples - 1)
    return start, _integer(value[1], "active_span", start + 1, n_samples)


def _one_of(value: object, name: str, literal: Any) -> Any:
    """Return `value` if it is one of the values of a `Literal`."""
    if value not in get_args(literal):
        _refuse(name, value, " or ".join(get_args(literal)))
    return value


def _refuse(name: str, value: object, expected: str) -> NoReturn:
    raise AnalysisFileError("field", f"its {name}: found {shortened(value)}, expected {expected}.")
