"""Masks as JSON text that a person can read, and a reader for untrusted text.

    {"format": "omnimouse-mask", "version": 1, "n_neurons": 1000,
     "cells": {"30v 30t": "0-499", "60t": "500-999"}, "frames": "0-59",
     "behavior": "visible", "spec": {…}, "attachment": {"name": …, "values": {…}}, …}

Cells are runs of hidden (h), visible (v) and target (t) samples, with the neurons that
share them; neurons that are not listed are hidden. Nothing is unpickled, and no array
is larger than a mask of a million neurons.

The attachment of a family that is not installed is written again as it was read. Older
versions are read: version 1 has the default spec and fields of OmniMouse's token layout,
version 2 another spec and no attachment.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, get_args

import numpy as np

from omnimouse_model.data.window_spec import (
    ASSUMED_RATE_HZ,
    WindowSpec,
    default_spec,
    is_positive_number,
    spec_from_dict,
)
from omnimouse_model.errors import MaskError
from omnimouse_model.masks.attachment import Attachment, attachment_of, first_attachment
from omnimouse_model.masks.cells import BehaviorMode
from omnimouse_model.storage import trees
from omnimouse_model.storage.trees import refused_as

FORMAT = "omnimouse-mask"
VERSION = 3
# Limits of what a file may ask for: a few bytes of text can describe a huge array.
MAX_SAMPLES = 100_000
MAX_NEURONS = 1_000_000
MAX_CELLS = 2**28
"""Samples of all neurons: a quarter of a GiB."""
_LETTERS = "hvt"
"""By code."""
_RUN = re.compile(r"([0-9]{1,6})([hvt])")
_RANGE = re.compile(r"[0-9]{1,7}(?:-[0-9]{1,7})?")
_RANGES = re.compile(rf"{_RANGE.pattern}(?:,{_RANGE.pattern})*")
_COMMON = (
    "format", "version", "n_neurons", "cells", "frames", "behavior", "guarded",
    "recording_rate_hz", "name", "note",
)  # fmt: skip
_LAYOUT = ("order", "cuts", "context_span", "query_phase")
_FIELDS = {
    1: _COMMON + _LAYOUT,
    2: (*_COMMON, "spec"),
    VERSION: (*_COMMON, "spec", "attachment"),
}


# -- to JSON values -----------------------------------------------------------------
def to_json_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a mask as JSON values."""
    attachment, behavior = fields["attachment"], fields["behavior"]
    if attachment is not None:
        attachment = {"name": attachment.name, "values": attachment.to_json()}
    values: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "n_neurons": fields["cells"].shape[1],
        "cells": _cells_text(fields["cells"]),
        "frames": ranges_text(np.flatnonzero(fields["frames"])),
        "behavior": list(behavior) if isinstance(behavior, tuple) else behavior,
        "spec": asdict(fields["spec"]),
        "attachment": attachment,
    }
    as_stored = ("guarded", "recording_rate_hz", "name", "note")
    return values | {name: fields[name] for name in as_stored}


def _cells_text(cells: np.ndarray) -> dict[str, str]:
    # Each column as one opaque value: `unique` then groups the neurons with equal
    # codes in one pass, without a loop over neurons.
    columns = np.ascontiguousarray(cells.T).view(f"V{len(cells)}")[:, 0]
    patterns, number = np.unique(columns, return_inverse=True)
    by_pattern = np.argsort(number, kind="stable")
    stops = np.cumsum(np.bincount(number, minlength=len(patterns)))
    members = np.split(by_pattern, stops[:-1]) if len(patterns) else []
    return {
        _runs_text(np.frombuffer(pattern.tobytes(), np.uint8)): ranges_text(neurons)
        for pattern, neurons in zip(patterns, members, strict=True)
        if any(pattern.tobytes())
    }


def _runs_text(codes: np.ndarray) -> str:
    # 255 is no code, so the first sample always starts a run.
    starts = np.flatnonzero(np.diff(codes, prepend=255))
    lengths = np.diff(starts, append=len(codes))
    runs = zip(lengths, codes[starts], strict=True)
    return " ".join(f"{length}{_LETTERS[code]}" for length, code in runs)


def ranges_text(numbers: np.ndarray) -> str:
    """Return whole numbers as text, ascending runs as ranges: "0-9,12"."""
    if not len(numbers):
        return ""
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    firsts = numbers[np.concatenate([[0], breaks])].tolist()
    lasts = numbers[np.concatenate([breaks - 1, [len(numbers) - 1]])].tolist()
    pairs = zip(firsts, lasts, strict=True)
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in pairs)


# -- from JSON values ---------------------------------------------------------------
def from_json_values(values: object) -> dict[str, Any]:
    """Return the arguments of `Mask` from JSON values; raise `MaskError`."""
    if not isinstance(values, Mapping):
        raise _invalid("content", values, "an object of fields")
    version = _version(values)
    for field in values:
        if field not in _FIELDS[version]:
            raise _invalid("fields", field, f"only {', '.join(_FIELDS[version])}")
    spec = default_spec() if version == 1 else _spec(values)
    n = _integer(values, "n_neurons", min(MAX_NEURONS, MAX_CELLS // max(1, spec.n_samples)))
    frames = np.zeros(spec.n_frames, bool)
    frames[ranges(_text(values, "frames"), spec.n_frames, "frames")] = True
    return {
        "cells": _cells(values, n, spec.n_samples),
        "frames": frames,
        "behavior": _mode(values),
        "spec": spec,
        "attachment": _attachment(values, version, spec, n),
        "guarded": _checked(
            values, "guarded", "true or false", lambda value: isinstance(value, bool)
        ),
        # Older files do not have the rate.
        "recording_rate_hz": _checked(
            {"recording_rate_hz": ASSUMED_RATE_HZ} | dict(values),
            "recording_rate_hz",
            "a number of Hz above 0",
            is_positive_number,
        ),
        "name": _text(values, "name"),
        "note": _text(values, "note"),
    }


def _attachment(
    values: Mapping[str, Any], version: int, spec: WindowSpec, n_neurons: int
) -> Attachment | None:
    stored: Any = values.get("attachment")
    if version == 1:
        layout = {
            key: _checked(values, key, "a value", lambda value: value is not None)
            for key in _LAYOUT
        }
        stored = {"name": "omnimouse", "values": layout}
    if stored is None and (version == 2 or "attachment" in values):
        return first_attachment(spec, n_neurons)
    is_valid = isinstance(stored, Mapping) and stored.keys() == {"name", "values"}
    if not (is_valid and isinstance(stored["name"], str) and isinstance(stored["values"], Mapping)):
        raise _invalid("attachment", stored, "null, or an object of name and values")
    return attachment_of(stored["name"], stored["values"], spec, n_neurons)


def _version(values: Mapping[str, Any]) -> int:
    if values.get("format") != FORMAT:
        raise _invalid("format", values.get("format"), f"{FORMAT!r}: is it a mask?")
    version = values.get("version")
    # `type` and not `isinstance`, here and below: True is an int in Python.
    if type(version) is not int or version not in _FIELDS:
        versions = " or ".join(map(str, _FIELDS))
        raise _invalid("version", version, f"{versions}; a newer release may read it")
    return version


def _spec(values: Mapping[str, Any]) -> WindowSpec:
    try:
        spec = spec_from_dict(values.get("spec"))
    except ValueError as error:
        expected = f"a window spec: {error}"
        raise _invalid("spec", values.get("spec"), expected) from None
    if max(spec.n_samples, spec.n_frames) > MAX_SAMPLES:
        raise _invalid("spec", spec.n_samples, f"at most {MAX_SAMPLES} samples")
    return spec


def _cells(values: Mapping[str, Any], n_neurons: int, n_samples: int) -> np.ndarray:
    expected = "an object of runs and neurons"
    stored = _checked(values, "cells", expected, lambda value: isinstance(value, Mapping))
    cells = np.zeros((n_samples, n_neurons), np.uint8)
    is_set = np.zeros(n_neurons, bool)
    for runs, neurons in stored.items():
        if not isinstance(neurons, str):
            raise _invalid(f"cells[{shortened(runs)}]", neurons, "neurons such as '0-99,105'")
        columns = ranges(neurons, n_neurons, f"cells[{shortened(runs)}]")
        if is_set[columns].any():
            twice = int(columns[is_set[columns]][0])
            raise _invalid("cells", f"neuron {twice} twice", "each neuron once")
        is_set[columns] = True
        cells[:, columns] = _codes(runs, n_samples)[:, None]
    return cells


def _codes(runs: object, n_samples: int) -> np.ndarray:
    # Longer text is invalid for any window; the limit bounds the work on it.
    words = str(runs)[: 8 * n_samples].split(" ")
    matches = [match for word in words if (match := _RUN.fullmatch(word))]
    lengths = [int(match[1]) for match in matches]
    if len(matches) != len(words) or sum(lengths) != n_samples:
        half = n_samples // 2
        example = f"'{half}v {n_samples - half}t'"
        raise _invalid("cells", runs, f"runs of {n_samples} samples, such as {example}")
    codes = [_LETTERS.index(match[2]) for match in matches]
    return np.repeat(np.array(codes, np.uint8), lengths)


def ranges(text: str, count: int, field: str) -> np.ndarray:
    """Return numbers below `count`, each at most once, in the order of the text."""
    expected = f"numbers 0..{count - 1}, each once, such as '0-9,12'"
    words = text.split(",") if text else []
    if words and not _RANGES.fullmatch(text):
        word = next(word for word in words if not _RANGE.fullmatch(word))
        raise _invalid(field, word, expected)
    # All words at once: a random order of neurons has as many as there are neurons.
    is_span = np.array(["-" in word for word in words], np.int64)
    ends = np.array(text.replace("-", ",").split(",") if words else [], np.int64)
    at_last = np.arange(len(words)) + np.cumsum(is_span)
    firsts, lasts = ends[at_last - is_span], ends[at_last]
    lengths = lasts - firsts + 1
    stops = np.cumsum(lengths)
    # The total is checked before the numbers exist: repeated ranges in a short text could
    # fill the memory.
    wrong = np.flatnonzero((lengths < 1) | (lasts >= count) | (stops > count))
    if len(wrong):
        raise _invalid(field, words[wrong[0]], expected)
    numbers = np.repeat(lasts + 1 - stops, lengths)
    numbers += np.arange(len(numbers))
    if len(np.unique(numbers)) != len(numbers):
        raise _invalid(field, text, expected)
    return numbers


def _mode(values: Mapping[str, Any]) -> str | tuple[str, ...]:
    value, modes = values.get("behavior"), get_args(BehaviorMode)
    if isinstance(value, list) and value and all(mode in modes for mode in value):
        return tuple(value)
    if isinstance(value, str) and value in modes:
        return value
    raise _invalid("behavior", value, "'visible', 'target' or 'hidden'")


def _text(values: Mapping[str, Any], field: str) -> str:
    return _checked(values, field, "text", lambda value: isinstance(value, str))


def _integer(values: Mapping[str, Any], field: str, most: int) -> int:
    return _checked(
        values,
        field,
        f"a whole number 0..{most}",
        lambda value: type(value) is int and 0 <= value <= most,
    )


def _checked(
    values: Mapping[str, Any], field: str, expected: str, is_valid: Callable[[Any], bool]
) -> Any:
    """Return the value of a field if it is valid, else raise `MaskError`."""
    value = values.get(field)
    if not is_valid(value):
        raise _invalid(field, value, expected)
    return value


def _invalid(field: str, value: object, expected: str) -> MaskError:
    return MaskError(f"A stored mask's {field}: found {shortened(value)}, expected {expected}.")


# -- on disk ----------------------------------------------------------------------
def read_json(path: str | Path) -> Any:
    """Return the values of a JSON file; raise `MaskError` for other files."""
    with refused_as(MaskError):
        return trees.read_json(Path(path))


@contextmanager
def error_names(path: str | Path) -> Iterator[None]:
    """Begin the message of every `MaskError` in the context with the path."""
    try:
        yield
    except MaskError as error:
        raise MaskError(f"{path}: {error}") from error
