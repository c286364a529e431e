"""The metadata of a file of predictions: session, predictor, spec, mask and units.

They are the attributes of the root of a zarr group, or JSON text in an NWB file:

    {"format": "omnimouse-predictions", "version": 1, "session": "a-1-1",
     "n_neurons": 1000, "units": "normalised", "spec": {"duration_s": 2.0, …}, …}

Files come from other programs too, so every value is checked.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from omnimouse_model.data.window_spec import WindowSpec, spec_from_dict
from omnimouse_model.errors import MaskError, PredictionsFileError
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import UNITS

FORMAT, VERSION = "omnimouse-predictions", 1
BEHAVIOR_UNITS = ("z-score", "recorded")
_REQUIRED = ("session", "n_neurons", "units", "spec")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What the arrays of a file of predictions are.

    Attributes
    ----------
    session, fingerprint
        Id of the recording, and the hash of its contents; "" if unknown.
    n_neurons
        Neurons of the recording, of which the file may hold some.
    units
        `Prediction.units` of the responses.
    spec
        Windows for which the predictions were made.
    predictor
        Name and weights hash of the predictor; "" if unknown.
    mask
        The mask of every window; None if unknown.
    tier
        Tier of the windows; None for the whole recording.
    behavior_names, behavior_units
        Channels of decoded behaviour, and "z-score" or "recorded".
    remarks
        Remarks of the predictor on windows, each once.
    question
        Everything that determines the predictions, for comparison with another run.
    written_by
        Program and version.
    """

    session: str
    n_neurons: int
    units: str
    spec: WindowSpec
    predictor: str = ""
    fingerprint: str = ""
    mask: Mask | None = None
    tier: str | None = None
    behavior_names: tuple[str, ...] = ()
    behavior_units: str = "z-score"
    remarks: tuple[str, ...] = ()
    question: Mapping[str, Any] = field(default_factory=dict, repr=False)
    written_by: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON values, with format and version."""
        names = (
            *("session", "n_neurons", "units", "predictor", "fingerprint", "tier"),
            *("behavior_units", "written_by"),
        )
        return {
            "format": FORMAT,
            "version": VERSION,
            **{name: getattr(self, name) for name in names},
            "spec": asdict(self.spec),
            "mask": None if self.mask is None else self.mask.to_dict(),
            "behavior_names": list(self.behavior_names),
            "remarks": list(self.remarks),
            "question": dict(self.question),
        }

    @classmethod
    def from_dict(cls, path: Path, values: Mapping[str, Any]) -> "Metadata":
        """Return the metadata of `to_dict`; optional values may be absent.

        Raises
        ------
        PredictionsFileError
            A value is missing or wrong; the message names it.
        """
        reader = _Reader(path, values)
        reader.check_format()
        for name in _REQUIRED:
            if name not in values:
                raise reader.wrong(name, "a value")
        n_neurons = values["n_neurons"]
        if isinstance(n_neurons, bool) or not isinstance(n_neurons, int):
            raise reader.wrong("n_neurons", "a whole number")
        if n_neurons < 1:
            raise reader.wrong("n_neurons", "at least 1")
        question = values.get("question") or {}
        if not isinstance(question, Mapping):
            raise reader.wrong("question", "an object")
        return cls(
            session=reader.text("session"),
            n_neurons=n_neurons,
            units=reader.text("units", choices=UNITS),
            spec=reader.spec(),
            predictor=reader.text("predictor"),
            fingerprint=reader.text("fingerprint"),
            mask=reader.mask(n_neurons),
            tier=reader.text("tier") or None,
            behavior_names=reader.texts("behavior_names"),
            behavior_units=reader.text("behavior_units", choices=BEHAVIOR_UNITS),
            remarks=reader.texts("remarks"),
            question=dict(question),
            written_by=reader.text("written_by"),
        )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Checked access to the values of a file."""

    path: Path
    values: Mapping[str, Any]

    def wrong(self, name: str, expected: str) -> PredictionsFileError:
        found = repr(self.values[name])[:80] if name in self.values else "nothing"
        return PredictionsFileError(
            "field", f"{self.path}: {name} is {found}; expected {expected}."
        )

    def check_format(self) -> None:
        if self.values.get("format") != FORMAT:
            raise PredictionsFileError(
                "foreign",
                f"{self.path} is no file of predictions: format is "
                f"{shortened(self.values.get('format'))}; expected {FORMAT!r}.",
            )
        version = self.values.get("version")
        if version != VERSION:
            raise PredictionsFileError(
                "newer",
                f"{self.path} has version {shortened(version)} of the format; this package "
                f"reads version {VERSION}.",
            )

    def text(self, name: str, choices: tuple[str, ...] = ()) -> str:
        value = self.values.get(name)
        if value is None:
            value = choices[0] if choices else ""
        if not isinstance(value, str) or (choices and value not in choices):
            raise self.wrong(name, " or ".join(choices) or "text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.values.get(name) or []
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise self.wrong(name, "a list of texts")
        return tuple(value)

    def spec(self) -> WindowSpec:
        try:
            return spec_from_dict(self.values["spec"])
        except ValueError as error:
            raise PredictionsFileError("field", f"{self.path}: spec: {error}") from error

    def mask(self, n_neurons: int) -> Mask | None:
        if self.values.get("mask") is None:
            return None
        try:
            mask = Mask.from_dict(self.values["mask"])
        except MaskError as error:
            raise PredictionsFileError("field", f"{self.path}: mask: {error}") from error
        if mask.n_neurons != n_neurons:
            raise PredictionsFileError(
                "field",
                f"{self.path}: the mask has {mask.n_neurons} neurons; expected "
                f"n_neurons, {n_neurons}.",
            )
        return mask
