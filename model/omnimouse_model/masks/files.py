"""Masks as JSON text that a person can read, and reading what anyone may have written.

    {"format": "omnimouse-mask", "version": 1, "n_neurons": 1000,
     "cells": {"30v 30t": "0-499", "60t": "500-999"}, "frames": "0-59",
     "behavior": "visible", "order": "0-999", "cuts": [], "context_span": [0, 60], …}

Cells are runs of hidden (h), visible (v) and target (t) samples, with the neurons that
share them; neurons that are not listed are hidden throughout. Nothing is unpickled, and
nothing is made larger than the million neurons that a mask may have.

Version 1 is a mask for windows of OmniMouse. Version 2 holds the spec of another model
and no token layout.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, get_args

import numpy as np

from omnimouse_model.atomic import atomic_path
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec, spec_from_dict
from omnimouse_model.errors import MaskError
from omnimouse_model.masks.cells import BehaviorMode
from omnimouse_model.masks.token_layout import TOKEN_STRIDE, TokenLayout

FORMAT = "omnimouse-mask"
OMNIMOUSE_VERSION, OTHER_VERSION = 1, 2
MOST_SAMPLES = 100_000
MOST_NEURONS = 1_000_000
MOST_BYTES = 256 * 2**20
_LETTERS = "hvt"
"""By code."""
_RUN = re.compile(r"([0-9]{1,6})([hvt])")
_RANGE = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7}))?")
_COMMON = (
    "format", "version", "n_neurons", "cells", "frames", "behavior", "guarded", "name",
    "note",
)  # fmt: skip
_LAYOUT = ("order", "cuts", "context_span", "query_phase")
_FIELDS = {
    OMNIMOUSE_VERSION: _COMMON + _LAYOUT,
    OTHER_VERSION: (*_COMMON, "spec"),
}


# -- to values --------------------------------------------------------------------
def facts_from(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a mask as plain JSON values."""
    layout, behavior = fields["token_layout"], fields["behavior"]
    facts: dict[str, Any] = {
        "format": FORMAT,
        "version": OTHER_VERSION if layout is None else OMNIMOUSE_VERSION,
        "n_neurons": fields["cells"].shape[1],
        "cells": _cells_text(fields["cells"]),
        "frames": _ranges_text(np.flatnonzero(fields["frames"])),
        "behavior": list(behavior) if isinstance(behavior, tuple) else behavior,
    }
    if layout is None:
        facts["spec"] = asdict(fields["spec"])
    else:
        facts["order"] = _ranges_text(layout.order)
        facts["cuts"] = [int(cut) for cut in layout.cuts]
        facts["context_span"] = [int(sample) for sample in layout.context_span]
        facts["query_phase"] = layout.query_phase
    return facts | {name: fields[name] for name in ("guarded", "name", "note")}


def _cells_text(cells: np.ndarray) -> dict[str, str]:
    columns = np.ascontiguousarray(cells.T).view(f"V{len(cells)}")[:, 0]
    patterns, which = np.unique(columns, return_inverse=True)
    by_pattern = np.argsort(which, kind="stable")
    stops = np.cumsum(np.bincount(which, minlength=len(patterns)))
    members = np.split(by_pattern, stops[:-1]) if len(patterns) else []
    return {
        _runs_text(np.frombuffer(pattern.tobytes(), np.uint8)): _ranges_text(neurons)
        for pattern, neurons in zip(patterns, members, strict=True)
        if any(pattern.tobytes())
    }


def _runs_text(codes: np.ndarray) -> str:
    starts = np.flatnonzero(np.diff(codes, prepend=255))
    lengths = np.diff(starts, append=len(codes))
    runs = zip(lengths, codes[starts], strict=True)
    return " ".join(f"{length}{_LETTERS[code]}" for length, code in runs)


def _ranges_text(numbers: np.ndarray) -> str:
    if not len(numbers):
        return ""
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    firsts = numbers[np.concatenate([[0], breaks])].tolist()
    lasts = numbers[np.concatenate([breaks - 1, [len(numbers) - 1]])].tolist()
    pairs = zip(firsts, lasts, strict=True)
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in pairs)


# -- from values ------------------------------------------------------------------
def fields_from(facts: object) -> dict[str, Any]:
    """Arguments of `Mask` from values of any origin; raises `MaskError`."""
    if not isinstance(facts, Mapping):
        raise _wrong("the whole", facts, "an object of fields")
    version = _version(facts)
    for field in facts:
        if field not in _FIELDS[version]:
            raise _wrong("fields", field, f"only {', '.join(_FIELDS[version])}")
    spec = OMNIMOUSE if version == OMNIMOUSE_VERSION else _spec(facts)
    n = _whole(facts, "n_neurons", 0, MOST_NEURONS)
    frames = np.zeros(spec.n_frames, bool)
    frames[_ranges(_text(facts, "frames"), spec.n_frames, "frames")] = True
    layout = None
    if version == OMNIMOUSE_VERSION:
        layout = TokenLayout(
            order=_ranges(_text(facts, "order"), n, "order"),
            cuts=tuple(_samples(facts, "cuts", spec.n_samples)),
            context_span=_span(facts, spec.n_samples),
            query_phase=_whole(facts, "query_phase", 0, TOKEN_STRIDE - 1),
        )
    return {
        "cells": _cells(facts, n, spec.n_samples),
        "frames": frames,
        "behavior": _mode(facts),
        "spec": spec,
        "token_layout": layout,
        "guarded": _flag(facts, "guarded"),
        "name": _text(facts, "name"),
        "note": _text(facts, "note"),
    }


def _version(facts: Mapping[str, Any]) -> int:
    if facts.get("format") != FORMAT:
        raise _wrong("format", facts.get("format"), f"{FORMAT!r}: is it a mask?")
    version = facts.get("version")
    if type(version) is not int or version not in _FIELDS:
        known = " or ".join(map(str, _FIELDS))
        raise _wrong("version", version, f"{known}; a newer release may read it")
    return version


def _spec(facts: Mapping[str, Any]) -> WindowSpec:
    try:
        spec = spec_from_dict(facts.get("spec"))
    except ValueError as error:
        raise _wrong("spec", facts.get("spec"), f"a window spec: {error}") from None
    if max(spec.n_samples, spec.n_frames) > MOST_SAMPLES:
        raise _wrong("spec", spec.n_samples, f"at most {MOST_SAMPLES} samples")
    return spec


def _cells(facts: Mapping[str, Any], n_neurons: int, n_samples: int) -> np.ndarray:
    written = facts.get("cells")
    if not isinstance(written, Mapping):
        raise _wrong("cells", written, "an object of runs and neurons")
    cells = np.zeros((n_samples, n_neurons), np.uint8)
    is_set = np.zeros(n_neurons, bool)
    for runs, neurons in written.items():
        if not isinstance(neurons, str):
            raise _wrong(f"cells[{runs!r}]", neurons, "neurons such as '0-99,105'")
        columns = _ranges(neurons, n_neurons, f"cells[{shortened(runs)}]")
        if is_set[columns].any():
            twice = int(columns[is_set[columns]][0])
            raise _wrong("cells", f"neuron {twice} twice", "each neuron once")
        is_set[columns] = True
        cells[:, columns] = _codes(runs, n_samples)[:, None]
    return cells


def _codes(runs: object, n_samples: int) -> np.ndarray:
    matches = [_RUN.fullmatch(word) for word in str(runs)[:1000].split(" ")]
    found = [match for match in matches if match is not None]
    lengths = [int(match[1]) for match in found]
    if len(found) != len(matches) or sum(lengths) != n_samples:
        half = n_samples // 2
        example = f"'{half}v {n_samples - half}t'"
        raise _wrong("cells", runs, f"runs of {n_samples} samples, such as {example}")
    codes = [_LETTERS.index(match[2]) for match in found]
    return np.repeat(np.array(codes, np.uint8), lengths)


def _ranges(text: str, count: int, field: str) -> np.ndarray:
    """Numbers below `count`, each at most once, in the order they are written."""
    expected = f"numbers 0..{count - 1}, each once, such as '0-9,12'"
    parts, total = [], 0
    for word in text.split(",") if text else ():
        match = _RANGE.fullmatch(word)
        if match is None:
            raise _wrong(field, word, expected)
        first, last = int(match[1]), int(match[2] or match[1])
        total += last - first + 1
        if not first <= last < count or total > count:
            raise _wrong(field, word, expected)
        parts.append(np.arange(first, last + 1))
    numbers = np.concatenate([np.empty(0, np.int64), *parts])
    if len(np.unique(numbers)) != len(numbers):
        raise _wrong(field, text, expected)
    return numbers


def _text(facts: Mapping[str, Any], field: str) -> str:
    value = facts.get(field)
    if not isinstance(value, str):
        raise _wrong(field, value, "text")
    return value


def _mode(facts: Mapping[str, Any]) -> str | tuple[str, ...]:
    value, words = facts.get("behavior"), get_args(BehaviorMode)
    if isinstance(value, list) and value and all(word in words for word in value):
        return tuple(value)
    if isinstance(value, str) and value in words:
        return value
    raise _wrong("behavior", value, "'visible', 'target' or 'hidden'")


def _flag(facts: Mapping[str, Any], field: str) -> bool:
    value = facts.get(field)
    if not isinstance(value, bool):
        raise _wrong(field, value, "true or false")
    return value


def _whole(facts: Mapping[str, Any], field: str, low: int, high: int) -> int:
    value = facts.get(field)
    if type(value) is not int or not low <= value <= high:
        raise _wrong(field, value, f"a whole number {low}..{high}")
    return value


def _samples(facts: Mapping[str, Any], field: str, n_samples: int) -> list[int]:
    values = facts.get(field)
    if (
        not isinstance(values, (list, tuple))
        or len(values) > n_samples
        or any(type(value) is not int for value in values)
    ):
        raise _wrong(field, values, f"a list of samples 0..{n_samples}")
    return list(values)


def _span(facts: Mapping[str, Any], n_samples: int) -> tuple[int, int]:
    values = _samples(facts, "context_span", n_samples)
    if len(values) != 2:
        raise _wrong("context_span", values, f"[start, stop] in 0..{n_samples}")
    return values[0], values[1]


def _wrong(field: str, found: object, expected: str) -> MaskError:
    return MaskError(
        f"A written mask's {field}: found {shortened(found)}, expected {expected}."
    )


# -- on disk ----------------------------------------------------------------------
def write_facts(path: str | Path, facts: Mapping[str, Any]) -> Path:
    """Write values as JSON, atomically; folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    return path


def read_facts(path: str | Path) -> Any:
    """Values of a JSON file; `MaskError` for anything that is none."""
    size = Path(path).stat().st_size
    if size > MOST_BYTES:
        raise _wrong("file", f"{size} bytes", f"at most {MOST_BYTES}")
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _wrong("file", str(error), "JSON text") from None


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Put the file's name before whatever is wrong with the mask in it."""
    try:
        yield
    except MaskError as error:
        raise MaskError(f"{path}: {error}") from error
