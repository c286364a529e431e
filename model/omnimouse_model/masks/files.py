"""Masks as JSON text that a person can read, and reading what anyone may have written.

    {"format": "omnimouse-mask", "version": 1, "n_neurons": 1000,
     "cells": {"30v 30t": "0-499", "60t": "500-999"}, "frames": "0-59",
     "behavior": "visible", "order": "0-999", "cuts": [], "context_span": [0, 60], …}

Cells are runs of hidden (h), visible (v) and target (t) samples, with the neurons that
share them; neurons that are not listed are hidden throughout. Nothing is unpickled, and
nothing is made larger than the million neurons that a mask may have.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, get_args

import numpy as np

from omnimouse_model.atomic import atomic_path
from omnimouse_model.data.clock import N_FRAMES, N_SAMPLES
from omnimouse_model.errors import MaskError
from omnimouse_model.masks.cells import BehaviorMode

FORMAT, VERSION = "omnimouse-mask", 1
MOST_NEURONS = 1_000_000
MOST_BYTES = 256 * 2**20
_LETTERS = "hvt"
"""By code."""
_RUN = re.compile(r"([0-9]{1,2})([hvt])")
_RANGE = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7}))?")
_FIELDS = (
    "format", "version", "n_neurons", "cells", "frames", "behavior", "order", "cuts",
    "context_span", "query_phase", "guarded", "name", "note",
)  # fmt: skip


# -- to values --------------------------------------------------------------------
def facts_from(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a mask as plain JSON values."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "n_neurons": fields["cells"].shape[1],
        **fields,
        "cells": _cells_text(fields["cells"]),
        "frames": _ranges_text(np.flatnonzero(fields["frames"])),
        "order": _ranges_text(fields["order"]),
        "cuts": [int(cut) for cut in fields["cuts"]],
        "context_span": [int(sample) for sample in fields["context_span"]],
    }


def _cells_text(cells: np.ndarray) -> dict[str, str]:
    columns = np.ascontiguousarray(cells.T).view(f"V{N_SAMPLES}")[:, 0]
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
    for field in facts:
        if field not in _FIELDS:
            raise _wrong("fields", field, f"only {', '.join(_FIELDS)}")
    _check_version(facts)
    n = _whole(facts, "n_neurons", 0, MOST_NEURONS)
    frames = np.zeros(N_FRAMES, bool)
    frames[_ranges(_text(facts, "frames"), N_FRAMES, "frames")] = True
    return {
        "cells": _cells(facts, n),
        "frames": frames,
        "behavior": _mode(facts),
        "order": _ranges(_text(facts, "order"), n, "order"),
        "cuts": tuple(_samples(facts, "cuts")),
        "context_span": _span(facts),
        "query_phase": _whole(facts, "query_phase", 0, 4),
        "guarded": _flag(facts, "guarded"),
        "name": _text(facts, "name"),
        "note": _text(facts, "note"),
    }


def _check_version(facts: Mapping[str, Any]) -> None:
    if facts.get("format") != FORMAT:
        raise _wrong("format", facts.get("format"), f"{FORMAT!r}: is it a mask?")
    version = facts.get("version")
    if type(version) is not int or version != VERSION:
        raise _wrong("version", version, f"{VERSION}; a newer one may read it")


def _cells(facts: Mapping[str, Any], n_neurons: int) -> np.ndarray:
    written = facts.get("cells")
    if not isinstance(written, Mapping):
        raise _wrong("cells", written, "an object of runs and neurons")
    cells = np.zeros((N_SAMPLES, n_neurons), np.uint8)
    is_set = np.zeros(n_neurons, bool)
    for runs, neurons in written.items():
        if not isinstance(neurons, str):
            raise _wrong(f"cells[{runs!r}]", neurons, "neurons such as '0-99,105'")
        columns = _ranges(neurons, n_neurons, f"cells[{shortened(runs)}]")
        if is_set[columns].any():
            twice = int(columns[is_set[columns]][0])
            raise _wrong("cells", f"neuron {twice} twice", "each neuron once")
        is_set[columns] = True
        cells[:, columns] = _codes(runs)[:, None]
    return cells


def _codes(runs: object) -> np.ndarray:
    matches = [_RUN.fullmatch(word) for word in str(runs)[:1000].split(" ")]
    found = [match for match in matches if match is not None]
    lengths = [int(match[1]) for match in found]
    if len(found) != len(matches) or sum(lengths) != N_SAMPLES:
        raise _wrong("cells", runs, "runs of 60 samples in all, such as '30v 30t'")
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


def _mode(facts: Mapping[str, Any]) -> str:
    value = facts.get("behavior")
    if value not in get_args(BehaviorMode):
        raise _wrong("behavior", value, "'visible', 'target' or 'hidden'")
    return str(value)


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


def _samples(facts: Mapping[str, Any], field: str) -> list[int]:
    values = facts.get(field)
    if (
        not isinstance(values, (list, tuple))
        or len(values) > N_SAMPLES
        or any(type(value) is not int for value in values)
    ):
        raise _wrong(field, values, "a list of samples 0..60")
    return list(values)


def _span(facts: Mapping[str, Any]) -> tuple[int, int]:
    values = _samples(facts, "context_span")
    if len(values) != 2:
        raise _wrong("context_span", values, "[start, stop] in 0..60")
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
