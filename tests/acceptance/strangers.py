"""Inputs in the manner of public bug reports, opened and compared with right values.

    python -m tests.acceptance.strangers DIR [--python PATH] [--notes] [--table]
    python -m tests.acceptance.strangers --table --real RECORDING...

DIR holds one script for each case, `NUMBER_NAME.py`. `python SCRIPT FOLDER` writes an
input into an empty folder and states what a right reading gives:

- `_path`: the path that `open_session` reads;
- `_expect.json`, `_expect.npz`: right values by name (`VALUES`); `options`: how the
  input is opened; `refuse`: words of a right refusal, without which no refusal is
  right; `notes`: words, each in one of the session's notes; `note`: for people.

The interpreter of `--python` runs the scripts, which may need packages that the project
does not. Each input is read in a process of its own. One line per case says OK, or what
differs; `--notes` adds the session's notes and the sentence for people, which only
people can compare. The exit status is 1 if a case differs, a script fails, or there is
no case.

`--table` prints a Markdown table instead of the lines. `--real` adds rows for
recordings (with reading options after commas): the responses are compared with those
that h5py or numpy reads from the same files.
"""

import argparse
import ast
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from omnimouse_app.cli.terminal import markdown_table
from omnimouse_model.data.open import open_session
from omnimouse_model.data.recording import Note
from omnimouse_model.data.session import Session

PROCESSES = 2
LIMIT_S = 120.0
"""Most seconds for a script, and for the reading of its input."""
_CASE = re.compile(r"(\d+)_\w+\.py")
_LOOSE, _CLOSE = 0.02, 1e-5
"""Relative and absolute tolerances: of durations, and of all other values."""
_FOREVER_S = 1e15
_BLOCK = 4096
"""Rows of a real recording that are compared at a time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one input.

    Attributes
    ----------
    name, source
        Name of the case, and what its input is.
    opened
        Format, size and rate of the session, or the reason of a refusal.
    compared
        What was compared, in words.
    faults
        What differs; empty if the input is read right or refused right.
    notes
        Lines for people: the session's notes, and what a right reading is.
    """

    name: str
    source: str
    opened: str = ""
    compared: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


# -- right values --------------------------------------------------------------------
def _area(session: Session) -> Any:
    return [] if session.units.area is None else session.units.area


def _shifts(session: Session) -> Any:
    return [] if session.responses.shift_s is None else session.responses.shift_s


def _behavior(session: Session, name: str, columns: int | slice) -> Any:
    signal = session.behavior.get(name)
    return [] if signal is None else signal.data[:, columns]


def _spike_counts(session: Session) -> Any:
    unit, _ = session.responses.events(-_FOREVER_S, _FOREVER_S)
    return np.bincount(unit, minlength=session.n_neurons)


VALUES: dict[str, tuple[str, Callable[[Session], Any]]] = {
    "rate": ("rate", lambda s: s.responses.rate_hz),
    "start": ("first time", lambda s: s.responses.start),
    "n": ("number of neurons", lambda s: s.n_neurons),
    "duration": ("duration", lambda s: s.duration_s),
    "recorded_s": ("recorded time", lambda s: s.recorded_s),
    "responses": ("responses", lambda s: s.responses.data),
    "shift": ("lags", _shifts),
    "unit_id": ("unit ids", lambda s: s.units.unit_id),
    "area": ("areas", _area),
    "xy": ("positions", lambda s: s.units.xy_px),
    "depth": ("depths", lambda s: s.units.xyz_um[:, 2]),
    "running": ("running", lambda s: _behavior(s, "treadmill", 0)),
    "pupil": ("pupil", lambda s: _behavior(s, "eye_tracker", slice(2))),
    "n_trials": ("number of trials", lambda s: len(s.trials)),
    "t_on": ("trial onsets", lambda s: s.trials.t_on),
    "counts": ("spikes of each unit", _spike_counts),
}
"""Name of a value in `_expect` -> its name for people, and its value of a session."""


def judged(folder: Path) -> Outcome:
    """Return the outcome for an input that a script wrote into a folder."""
    source = (folder / "_path").read_text().strip()
    expected: dict[str, Any] = {}
    if (folder / "_expect.json").exists():
        expected = json.loads((folder / "_expect.json").read_text())
        with np.load(folder / "_expect.npz") as arrays:
            expected |= dict(arrays)
    outcome = Outcome(folder.name, "")
    try:
        session = open_session(source, **expected.get("options", {}))
    except Exception as error:  # any error is an answer of the program
        outcome = replace(
            outcome,
            opened=f"refused: {error}",
            compared=("the reason of the refusal",),
            faults=_refusal_faults(str(error), expected.get("refuse")),
        )
    else:
        compared = [title for name, (title, _) in VALUES.items() if name in expected]
        words = expected.get("notes", [])
        compared += [f"a note on {word!r}" for word in words]
        notes = (*session.warnings, *session.assumptions)
        outcome = replace(
            outcome,
            opened=described(session),
            compared=tuple(compared),
            faults=(*_note_faults(notes, words), *_value_faults(session, expected)),
            notes=tuple(f"{note.code}: {note.message}" for note in notes),
        )
    if "note" in expected:
        right = f"right: {expected['note']}"
        outcome = replace(outcome, notes=(*outcome.notes, right))
    return outcome


def described(session: Session) -> str:
    """Return format, series, neurons, rate and recorded minutes of a session."""
    series = f" {session.series}" if session.series else ""
    return (
        f"{session.format}{series}, {session.n_neurons:,} neurons, "
        f"{session.responses.rate_hz:.4g} Hz, {session.recorded_s / 60:.1f} min"
    )


def _refusal_faults(message: str, wanted: Sequence[str] | None) -> tuple[str, ...]:
    if wanted is None:
        return (f"should be read, and is refused: {message}",)
    missing = [word for word in wanted if word.lower() not in message.lower()]
    if not missing:
        return ()
    return (f"the refusal should name {', '.join(missing)}: {message}",)


def _note_faults(notes: Sequence[Note], words: Sequence[str]) -> Iterator[str]:
    for word in words:
        if not any(word.lower() in note.message.lower() for note in notes):
            yield f"no note on {word!r}"


def _value_faults(session: Session, expected: dict[str, Any]) -> Iterator[str]:
    for name, (_, value) in VALUES.items():
        if name not in expected:
            continue
        tolerance = _LOOSE if name in ("duration", "recorded_s") else _CLOSE
        try:
            found, right = np.asarray(value(session)), np.asarray(expected[name])
            is_right = _equal(found, right, tolerance)
        except Exception as error:  # such as a stream that is missing
            yield f"{name} cannot be read: {type(error).__name__}: {error}"
            continue
        if not is_right:
            yield f"{name} is {_short(found)}, right is {_short(right)}"


def _equal(found: np.ndarray, right: np.ndarray, tolerance: float) -> bool:
    if found.shape != right.shape:
        return False
    if found.dtype.kind in "US" or right.dtype.kind in "US":
        return bool((found.astype(str) == right.astype(str)).all())
    numbers = found.astype(float), right.astype(float)
    return np.allclose(*numbers, rtol=tolerance, atol=tolerance, equal_nan=True)


def _short(values: np.ndarray) -> str:
    return f"{values.shape} {values.ravel()[:4].tolist()}"


# -- cases ---------------------------------------------------------------------------
def case_scripts(folder: Path) -> list[Path]:
    """Return the scripts of a folder, in the order of their numbers."""
    found = [(_CASE.fullmatch(path.name), path) for path in folder.iterdir()]
    numbered = [(int(match[1]), path.name, path) for match, path in found if match]
    return [path for _, _, path in sorted(numbered)]


def run_case(script: Path, python: str) -> Outcome:
    """Write the input of a script and judge how it is read."""
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf8"))) or ""
    outcome = Outcome(script.stem, " ".join(text.split()))
    with tempfile.TemporaryDirectory(prefix="stranger-") as folder:
        # The folder of the scripts stays as it is.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [python, str(script.resolve()), folder]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return replace(outcome, faults=(f"the script ran over {LIMIT_S:g} s",))
        if done.returncode or not Path(folder, "_path").exists():
            lines = done.stderr.strip().splitlines()
            reason = lines[-1] if lines else "it wrote no _path"
            return replace(outcome, faults=(f"the script failed: {reason}",))
        found = _judged_apart(Path(folder))
    return replace(
        found,
        name=outcome.name,
        source=outcome.source,
        opened=_without_folder(found.opened, Path(folder)),
        faults=tuple(_without_folder(fault, Path(folder)) for fault in found.faults),
    )


def _without_folder(text: str, folder: Path) -> str:
    """Return text without the temporary folder, which has another name in each run."""
    return text.replace(f"{folder}{os.sep}", "").replace(f"{folder.name}/", "")


def _judged_apart(folder: Path) -> Outcome:
    """Return the outcome of a process of its own, which may hang or die."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sending, folder))
    process.start()
    sending.close()
    try:
        if receiving.poll(LIMIT_S):
            outcome: Outcome = receiving.recv()
            return outcome
        fault = f"the reading ran over {LIMIT_S:g} s"
    except EOFError:
        process.join()
        fault = f"the reading ended with status {process.exitcode}"
    finally:
        process.kill()
        process.join()
        receiving.close()
    return Outcome(folder.name, "", faults=(fault,))


def _send(sending: Connection, folder: Path) -> None:
    sending.send(judged(folder))


# -- real recordings -----------------------------------------------------------------
def real_outcome(recording: str) -> Outcome:
    """Return the outcome of a recording, compared with an independent reading."""
    from tests.acceptance.public_recordings import opened

    name = Path(recording.partition(",")[0]).name
    outcome = Outcome(name, f"{name} (real recording)")
    try:
        session = opened(recording)
    except Exception as error:  # any error is an answer of the program
        return replace(outcome, opened=f"refused: {error}", faults=(str(error),))
    outcome = replace(outcome, opened=described(session))
    independent = _INDEPENDENT.get(session.format)
    reading = None if independent is None else independent(session)
    if reading is None:
        return replace(outcome, compared=("nothing: no independent reading",))
    faults = []
    if reading.rate_hz is not None:
        rate_hz = session.responses.rate_hz
        if abs(reading.rate_hz - rate_hz) > 1e-3 * rate_hz:
            faults.append(f"rate is {rate_hz:g} Hz, right is {reading.rate_hz:g} Hz")
    if reading.counts is not None:
        found, right = np.asarray(_spike_counts(session)), reading.counts
        is_right, what = _equal(found, right, _CLOSE), "spikes of each unit"
    else:
        assert reading.sums is not None
        found, right = np.sort(_sums(session)), np.sort(reading.sums)
        # The nearest sum of the file: regions that are no cells are not read.
        place = np.clip(np.searchsorted(right, found), 1, max(len(right) - 1, 1))
        near = np.stack([right[place - 1], right[np.minimum(place, len(right) - 1)]])
        best = near[np.abs(near - found).argmin(axis=0), np.arange(len(found))]
        is_right, what = _equal(found, best, _CLOSE), "sum of each neuron"
    if not is_right:
        faults.append(f"{what}: {_short(found)}, in the files {_short(right)}")
    compared = (reading.source, what, *(["rate"] if reading.rate_hz else []))
    return replace(outcome, compared=compared, faults=tuple(faults))


@dataclass(frozen=True, slots=True, eq=False)
class Independent:
    """Facts of a recording that h5py or numpy read from its files.

    Attributes
    ----------
    source
        Where they come from.
    rate_hz
        Samples of the responses per second, None if the files do not state it.
    sums, counts
        float64 (region,) sums of the finite responses of all regions, in any order; or
        int64 (unit,) spikes.
    """

    source: str
    rate_hz: float | None
    sums: np.ndarray | None = None
    counts: np.ndarray | None = None


def _sums(session: Session) -> np.ndarray:
    rows = session.responses
    return _column_sums(rows.read, rows.n_samples)


def _column_sums(read: Callable[[int, int], Any], n_rows: int) -> np.ndarray:
    total: Any = 0.0
    for first in range(0, n_rows, _BLOCK):
        block = np.asarray(read(first, min(first + _BLOCK, n_rows)), np.float64)
        total = total + np.where(np.isfinite(block), block, 0.0).sum(axis=0)
    return np.asarray(total)


def _of_nwb(session: Session) -> Independent | None:
    with h5py.File(session.path, "r") as file:
        if session.responses.has_events:
            ends = file["units/spike_times_index"][()].astype(np.int64)
            return Independent("h5py", None, counts=np.diff(ends, prepend=0))
        found: list[h5py.Group] = []

        def visit(_: str, item: Any) -> None:
            if isinstance(item, h5py.Group) and {"data", "rois"} <= set(item):
                found.append(item)

        file.visititems(visit)
        names = set(session.series.split("/"))
        own = [series for series in found if names <= set(series.name.split("/"))]
        found = own or found
        sums = np.concatenate([_sums_of_series(series) for series in found])
        rates = {round(_rate_of_series(series), 6) for series in found}
        rate_hz = rates.pop() if len(rates) == 1 else None
        return Independent("h5py", rate_hz, sums)


def _sums_of_series(series: h5py.Group) -> np.ndarray:
    data = series["data"]
    factor = data.attrs.get("conversion", 1.0)
    offset = data.attrs.get("offset", 0.0)
    return _column_sums(lambda a, b: data[a:b] * factor + offset, len(data))


def _rate_of_series(series: h5py.Group) -> float:
    if "timestamps" in series:
        return 1 / float(np.median(np.diff(series["timestamps"][()])))
    return float(series["starting_time"].attrs["rate"])


def _of_suite2p(session: Session) -> Independent | None:
    files = sorted(session.path.glob("**/plane*/spks.npy")) or sorted(session.path.glob("spks.npy"))
    if session.series != "spks" or not files:
        return None
    planes = [np.load(path, mmap_mode="r") for path in files]
    # Some repositories hold spks as (frames, regions), which the shape of F shows.
    for number, path in enumerate(files):
        stored = np.load(path.with_name("F.npy"), mmap_mode="r").shape
        if planes[number].shape == stored[::-1] != stored:
            planes[number] = planes[number].T
    # Planes are cut to the shortest.
    n = min(plane.shape[1] for plane in planes)
    sums = [row[:n].astype(np.float64).sum() for plane in planes for row in plane]
    # The rate is in a pickle, which is not opened.
    return Independent("numpy", None, np.array(sums))


def _of_arrays(session: Session) -> Independent | None:
    with np.load(session.path) as arrays:
        if "responses" not in arrays:
            return None
        values = arrays["responses"]
        rate_hz = float(arrays["rate_hz"]) if "rate_hz" in arrays else None
    sums = _column_sums(lambda a, b: values[a:b], len(values))
    return Independent("numpy", rate_hz, sums)


def _of_experanto(session: Session) -> Independent | None:
    folder = session.path / "responses"
    meta = yaml.safe_load((folder / "meta.yml").read_text())
    if meta["modality"] != "sequence":
        return None
    shape = (int(meta["n_timestamps"]), int(meta["n_signals"]))
    values = (
        np.load(folder / "data.npy", mmap_mode="r")
        if (folder / "data.npy").exists()
        else np.memmap(folder / "data.mem", meta["dtype"], "r", shape=shape)
    )
    sums = _column_sums(lambda a, b: values[a:b], len(values))
    return Independent("numpy", float(meta["sampling_rate"]), sums)


def _of_alf(session: Session) -> Independent | None:
    paths = sorted(session.path.glob("alf/*/**/spikes.clusters*.npy"))
    if len(paths) != 1:
        return None
    counts = np.bincount(np.load(paths[0]).reshape(-1), minlength=session.n_neurons)
    return Independent("numpy", None, counts=counts)


_INDEPENDENT: dict[str, Callable[[Session], Independent | None]] = {
    "nwb": _of_nwb,
    "suite2p": _of_suite2p,
    "arrays": _of_arrays,
    "experanto": _of_experanto,
    "alf": _of_alf,
}


# -- command -------------------------------------------------------------------------
def table(outcomes: Sequence[Outcome]) -> str:
    """Return a Markdown table: source, opened as, compared with."""
    return markdown_table(
        [
            {
                "source": _cell(outcome.source or outcome.name),
                "opened as": _cell(outcome.opened or "; ".join(outcome.faults)),
                "compared with": _cell(
                    ", ".join(outcome.compared)
                    + "".join(f"; DIFFERS: {fault}" for fault in outcome.faults)
                ),
            }
            for outcome in outcomes
        ]
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; see the first lines of the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.strangers")
    parser.add_argument("folder", type=Path, nargs="?", help="folder of case scripts")
    parser.add_argument("--python", default=sys.executable, help="runs the scripts")
    parser.add_argument("--notes", action="store_true", help="also print notes")
    parser.add_argument("--table", action="store_true", help="print a Markdown table")
    parser.add_argument("--real", nargs="+", default=[], metavar="RECORDING")
    chosen = parser.parse_args(arguments)
    scripts = [] if chosen.folder is None else case_scripts(chosen.folder)
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(PROCESSES) as pool:
        cases = pool.map(partial(run_case, python=chosen.python), scripts)
        for outcome in cases:
            outcomes.append(outcome)
            _report(outcome, chosen)
    for recording in chosen.real:
        outcomes.append(real_outcome(recording))
        _report(outcomes[-1], chosen)
    n_different = sum(bool(outcome.faults) for outcome in outcomes)
    if chosen.table:
        print(table(outcomes))
    summary = f"{len(outcomes)} inputs, {n_different} differ"
    print(summary, file=sys.stderr if chosen.table else sys.stdout)
    return int(n_different > 0 or not outcomes)


def _report(outcome: Outcome, chosen: argparse.Namespace) -> None:
    """Print the line of a case; beside a table, only on the way."""
    stream = sys.stderr if chosen.table else sys.stdout
    result = "; ".join(outcome.faults) or "OK"
    print(f"{outcome.name}: {result}", file=stream, flush=True)
    if chosen.notes:
        for line in (outcome.opened, *outcome.notes):
            print(f"    {line}", file=stream, flush=True)


if __name__ == "__main__":
    sys.exit(main())
