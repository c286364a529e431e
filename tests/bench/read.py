"""`omnimouse bench read`: windows per second, in place and from the store."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import click

from omnimouse_app.cli.terminal import Progress, n_bytes
from omnimouse_model.data.open import open_session
from omnimouse_model.data.signal import Signal
from omnimouse_model.storage.arrays.zarr_arrays import ZarrArray
from omnimouse_model.storage.arrays.zarr_metadata import thread_memory, verified
from omnimouse_model.storage.trees import decode_json
from tests.bench.benchmark import PEAK_MIB, Row, benchmark
from tests.bench.peers.reference_package import ReferencePackage
from tests.bench.recordings import Size, write_session

if TYPE_CHECKING:
    import numpy as np

    from omnimouse_model.data.session import Session

Reader = Callable[[float], Any]
"""Function that reads all model inputs of the window at a time in seconds."""
REFERENCE_HZ = 424.0
"""Windows per second of the reference package, as published for another machine."""
FOLDER, RULE, PACKAGE = "experanto-folder", "rule", "experanto-package"
"""Readers of the folder: in place, sample by sample, with the reference package."""
STORE, ZARR = "store-default", "store-default-zarr"
"""The default store, and the same store read with plain zarr."""
N_COMPARED = 5
"""Number of windows whose values are compared before the timing."""
OPENED = (10_000, 90.0)
"""Neurons and minutes of the session for which opening is measured."""
# In a new process, so that the peak of the memory is that of opening.
_OPEN = f"""{PEAK_MIB}
import json, time
import omnimouse_model as om
import omnimouse_model.data.open
from omnimouse_model.data.session import Session
before, start = peak_mib(), time.perf_counter()
session = om.open_session(sys.argv[1])
print(json.dumps([time.perf_counter() - start, peak_mib() - before]))
"""


@benchmark(
    "read",
    title="Reading {windows} random windows of {neurons:,} neurons",
    columns=(
        *("name", "source", "value", "unit", "wall", "x_rule", "x_published"),
        *("x_package", "mib"),
    ),
)
@click.option("--neurons", type=click.IntRange(min=2), default=4096, show_default=True)
@click.option("--minutes", type=float, default=20.0, show_default=True)
@click.option("--windows", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--passes", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--opening/--no-opening", default=True, help="Measure opening, too.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Save the session and its stores here. [default: they are deleted]",
)
@click.option(
    "--experanto",
    "checkout",
    type=click.Path(path_type=Path),
    metavar="CHECKOUT",
    help="Also time the reference package on the same windows, from its source.",
)
def command(
    neurons: int,
    minutes: float,
    windows: int,
    passes: int,
    opening: bool,
    folder: Path | None,
    checkout: Path | None,
) -> list[Row]:
    """Read random 2-s windows of a synthetic session, one after the other.

    `value` is windows per second of CPU time, `wall` per second of elapsed time, both
    as median of the passes after one without timing; the readers take turns. "rule" is
    a plain reader, which computes an index for every sample and gathers the samples.
    "store-default-zarr" reads the default store with zarr, with the codec pipeline of
    zarr's configuration (`ZARR_CODEC_PIPELINE__PATH=zarrs.ZarrsCodecPipeline` if zarrs
    is installed). Before the timing, the values of all readers are compared. If the
    revision of the package uses other sample times, its values are compared at those
    times.

    `decode_floor_ms` is the processor time per window of the codec's own decoder on the
    same chunks, which lie in memory; for the uncompressed store, that of a copy of them.
    """
    with Progress() as progress, tempfile.TemporaryDirectory(prefix="omnimouse-read-") as scratch:
        folder = folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        size = Size(neurons, minutes)
        rows = list(_rates(folder, size, windows, passes, progress, checkout))
        if opening:
            progress(1, 1, f"opening {OPENED[0]:,} neurons")
            rows.append(_opening(folder))
    return rows


def _rates(
    root: Path, size: Size, windows: int, passes: int, progress: Progress, checkout: Path | None
) -> Iterator[Row]:
    """Yield one row per way of reading the same windows."""
    import numpy as np

    places = _write_places(root, size, progress)
    session = open_session(places[FOLDER])
    starts = session.window_starts()
    # A fixed seed: every run and every reader has the same windows. Windows in random
    # order, as in training.
    window_starts = starts[np.random.default_rng(0).integers(0, len(starts), windows)]
    readers = _readers(places)
    _compare(readers, window_starts[:N_COMPARED])
    timers: dict[str, Callable[[], tuple[float, float]]]
    timers = {name: partial(_time, read, window_starts) for name, read in readers.items()}
    revision = None
    with ExitStack() as stack:
        if checkout is not None:
            progress(0, 1, "opening it with the reference package")
            native = [session.window(start).native_start for start in window_starts.tolist()]
            package = ReferencePackage(checkout, session.path, native)
            stack.enter_context(package)
            compare_package(package, session, window_starts[:N_COMPARED])
            timers[PACKAGE], revision = package.read_all, package.revision
        times = _take_turns(timers, passes, progress)
    rate = {n: windows / median(cpu for cpu, _ in t) for n, t in times.items()}
    for name, pairs in times.items():
        place = places.get(name)
        yield {
            "name": "windows_per_cpu_s",
            "source": name,
            "value": rate[name],
            "unit": "windows / CPU s",
            "wall": windows / median(wall for _, wall in pairs),
            "x_rule": rate[name] / rate[RULE],
            "x_package": None if checkout is None else rate[name] / rate[PACKAGE],
            "x_published": rate[name] / REFERENCE_HZ,
            "mib": None if place is None else n_bytes(place) / 2**20,
            "revision": revision if name == PACKAGE else None,
            "n": passes,
            "windows": windows,
            "neurons": size.neurons,
            "minutes": size.minutes,
        }
    for name, place in places.items():
        if name != FOLDER:
            yield {
                "name": "decode_floor_ms",
                "source": name,
                "value": _decode_floor_ms(place, window_starts),
                "unit": "CPU ms per window",
                "neurons": size.neurons,
                "minutes": size.minutes,
            }


def _decode_floor_ms(store: Path, starts: "np.ndarray") -> float:
    """Return the median time in which the chunks of a window are decoded, or copied."""
    read, decoded = _window_reader(open_session(store)), ZarrArray._decoded
    chunks: list[tuple[list[tuple[Any, int]], np.ndarray]] = []

    def kept(array: ZarrArray, piece: tuple[int, ...], stored: "np.ndarray | None") -> Any:
        assert stored is not None
        steps, data = array._layout.unpack, stored.copy()
        coders = [step for step in steps if step[0] is not verified]
        # The checksum follows the content.
        content = data if len(coders) == len(steps) else verified(data)
        chunks.append((coders or [(_copied, 0)], content))
        return decoded(array, piece, stored)

    times_ms = []
    for start in starts.tolist():
        chunks.clear()
        with patch.object(ZarrArray, "_decoded", kept):
            read(start)
        begin = process_time()
        for coders, data in chunks:
            for unpack, most in coders:
                unpack(data, most)
        times_ms.append(1000 * (process_time() - begin))
    return median(times_ms)


def _copied(data: "np.ndarray", _: int) -> None:
    """Copy to the memory into which codecs decode."""
    thread_memory("unpacked", data.nbytes)[:] = data


def _write_places(root: Path, size: Size, progress: Progress) -> dict[str, Path]:
    """Write the session and its stores once; return their paths by reader."""
    from omnimouse_model.data.convert import convert
    from omnimouse_model.data.store import CODECS

    source = root / f"session-{size.neurons}-{size.minutes:g}"
    progress(0, 1, "writing the session")
    if not source.exists():
        write_session(source, size)
    places = {FOLDER: source}
    for codec in CODECS:
        progress(0, 1, f"writing the {codec} store")
        store = root / f"{source.name}-{codec}.omses.zarr"
        places[f"store-{codec}"] = store
        if not store.exists():
            convert(open_session(source), store, codec)
    return places


def _readers(places: dict[str, Path]) -> dict[str, Reader]:
    """Return all readers by name.

    Each has its own session, so that none profits from another's cache.
    """
    from tests.bench.peers.plain_zarr import open_with_zarr

    sessions = {name: open_session(place) for name, place in places.items()}
    sessions[ZARR] = open_with_zarr(places[STORE])
    readers = {name: _window_reader(session) for name, session in sessions.items()}
    return readers | {RULE: _rule_reader(open_session(places[FOLDER]))}


def _take_turns(
    timers: dict[str, Callable[[], tuple[float, float]]], passes: int, progress: Progress
) -> dict[str, list[tuple[float, float]]]:
    """Return CPU and elapsed seconds of all passes, by reader."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in timers}
    for turn in range(passes + 1):
        # The readers take turns, so that other load on the machine affects all alike.
        for name, timer in timers.items():
            progress(turn, passes + 1, f"reading {name}")
            seconds = timer()
            # The first turn only fills the file cache.
            if turn:
                times[name].append(seconds)
    return times


def compare_package(package: ReferencePackage, session: "Session", starts: "np.ndarray") -> None:
    """Raise an error if the package returns other values.

    For the revision with which the released models were trained, whole windows are
    compared. The other revision rounds times and scales responses differently; stored
    values at the same times are compared there.

    Raises
    ------
    ValueError
        The values differ; the message names the stream and the window.
    """
    import numpy as np

    for number, start in enumerate(starts.tolist()):
        window = session.window(start)
        if package.revision == "main":
            times = {name: window.times(name) for name in session.streams}
            others = package.samples({n: t.tolist() for n, t in times.items()})
            stored = {n: session.streams[n].sample(t)[0] for n, t in times.items()}
        else:
            others = package.window(number)
            # The package adds a channel axis.
            others["screen"] = others["screen"].reshape(window.video.shape)
            names = session.streams.keys() - {"screen"}
            stored = {name: window.stream(name)[0] for name in names}
            stored["screen"] = window.video
        for name, values in stored.items():
            # Equal bit by bit: the released models were trained on these values.
            if not np.array_equal(values, others[name], equal_nan=True):
                raise ValueError(f"The reference package reads other {name} at {start:z.2f} s")


def _time(read: Reader, starts: "np.ndarray") -> tuple[float, float]:
    """Return CPU and elapsed seconds for reading all windows once."""
    cpu, wall = process_time(), perf_counter()
    for start in starts.tolist():
        read(start)
    return process_time() - cpu, perf_counter() - wall


def _window_reader(session: "Session") -> Reader:
    """Return a reader of all model inputs of a window."""

    def read(start: float) -> Any:
        window = session.window(start)
        return window.responses, window.video, window.behavior

    return read


def _rule_reader(session: "Session") -> Reader:
    """Return a reader of the same values, sample by sample, as the format defines."""
    import numpy as np

    # In memory: stored samples are no map of a file.
    data = {n: s.data for n, s in session.streams.items() if isinstance(s, Signal)}

    def values(name: str, window: Any) -> Any:
        # Written as the format's definition, without the code of `Signal`, so that it
        # is an independent reference.
        signal = session.responses if name == "responses" else session.behavior[name]
        assert signal is not None
        times = window.times(name)
        shift = np.zeros(signal.n_columns) if signal.shift_s is None else signal.shift_s
        step = 1.0 / signal.rate_hz
        # Last sample at or before each time, with the phase shift of each column.
        rows = np.floor((times[:, None] - shift - signal.start) / step).astype(int)
        stored = data[name][rows, np.arange(signal.n_columns)]
        if name == "responses":
            return stored.astype(np.float32) / session.response_scale
        mean, std = session.behavior_statistics(name)
        return (stored.astype(np.float32) - mean) / std

    def read(start: float) -> Any:
        window = session.window(start)
        behavior = [values(name, window) for name in ("eye_tracker", "treadmill")]
        responses = values("responses", window)
        return responses, window.video, np.concatenate(behavior, axis=1)

    return read


def _compare(readers: dict[str, Reader], starts: "np.ndarray") -> None:
    """Raise a ValueError unless all readers return identical values."""
    import numpy as np

    for start in starts.tolist():
        expected = readers[FOLDER](start)
        for name, read in readers.items():
            for first, second in zip(expected, read(start), strict=True):
                if not np.array_equal(first, second):
                    raise ValueError(f"{name!r} reads other values at {start:z.2f} s")


def _opening(root: Path) -> Row:
    """Return time and memory for opening a large session in a new process."""
    # A hollow session is enough: opening must not read the values.
    neurons, minutes = OPENED
    source = root / f"hollow-{neurons}-{minutes:g}"
    if not source.exists():
        write_session(source, Size(neurons, minutes, is_hollow=True))
    command = [sys.executable, "-c", _OPEN, str(source)]
    runs = [decode_json(subprocess.check_output(command), "the measurement") for _ in range(3)]
    return {
        "name": "opening_s",
        "source": FOLDER,
        "value": median(seconds for seconds, _ in runs),
        "unit": "s",
        "mib": median(mib for _, mib in runs),
        "n": len(runs),
        "neurons": neurons,
        "minutes": minutes,
    }
