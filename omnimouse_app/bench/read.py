"""`omnimouse bench read`: windows per second, in place and from the store."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import format_options
from omnimouse_app.cli.output import Progress, emit

if TYPE_CHECKING:
    import numpy as np

    from omnimouse_app.bench.recordings import Size
    from omnimouse_app.bench.reference_package import ReferencePackage
    from omnimouse_model.data.session import Session

Row = dict[str, Any]
REFERENCE_HZ = 424.0
"""Windows per second of the reference package, as published for another machine."""

_COLUMNS = ("name", "source", "value", "unit", "wall", "x_rule", "x_published")
FOLDER, RULE, PACKAGE = "experanto-folder", "rule", "experanto-package"
"""Readers of the folder: in place, sample by sample, with the reference package."""

STORE, ZARR = "store-default", "store-default-zarr"
"""The default store, and the same store read with plain zarr."""

_COMPARED = 5
"""Number of windows whose values are compared before the timing."""

OPENED = (10_000, 90.0)
"""Neurons and minutes of the session for which opening is measured."""

_OPEN = """
import json, sys, time
try:
    import resource
except ImportError:  # Windows
    resource = None
import omnimouse_model as om
import omnimouse_model.data.open
from omnimouse_model.data.session import Session
unit = 1024 if sys.platform != "darwin" else 1
def peak():
    if resource is None:
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
before, began = peak(), time.perf_counter()
session = om.open_session(sys.argv[1])
print(json.dumps([time.perf_counter() - began, peak() - before, session.n_neurons]))
"""


@click.command("read")
@click.option("--neurons", type=click.IntRange(min=2), default=4096, show_default=True)
@click.option("--minutes", type=float, default=20.0, show_default=True)
@click.option("--windows", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--passes", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--opening/--no-opening", default=True, help="Measure opening, too.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where the session and its stores are kept; by default they are not.",
)
@click.option(
    "--experanto",
    "checkout",
    type=click.Path(path_type=Path),
    metavar="CHECKOUT",
    help="Have the reference package read the same windows in turn, from its source.",
)
@format_options
def command(
    neurons: int,
    minutes: float,
    windows: int,
    passes: int,
    opening: bool,
    folder: Path | None,
    checkout: Path | None,
    as_json: bool,
    as_markdown: bool,
) -> None:
    """Read random 2-s windows of a synthetic session, one after the other.

    `value` is windows per second of CPU time, the median of the passes, which take
    turns after one that is not timed; `wall` the same per second. "rule" reads the
    same values as the rule of the format is written, an index and a gather for every
    sample: what a plain reader costs here, in the same minute. "store-default-zarr"
    has zarr decode the default store, with the codec pipeline that zarr is configured
    for (`ZARR_CODEC_PIPELINE__PATH=zarrs.ZarrsCodecPipeline` where zarrs is installed).
    All values are compared first; those of the package by its own times where its
    revision has others.
    """
    from omnimouse_app.bench.recordings import Size

    with _kept(folder) as root:
        progress = Progress()
        size = Size(neurons, minutes)
        found = list(_rates(root, size, windows, passes, progress, checkout))
        if opening:
            progress(1, 1, f"opening {OPENED[0]:,} neurons")
            found.append(_opening(root))
        progress.finish()
    emit(
        found,
        as_json=as_json,
        as_markdown=as_markdown,
        columns=(*_COLUMNS, *(("x_package",) if checkout else ()), "mib"),
        title=f"Reading {windows} random windows of {neurons:,} neurons",
    )


@contextmanager
def _kept(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="omnimouse-read-") as made:
        yield Path(made)


def _rates(
    root: Path,
    size: "Size",
    windows: int,
    passes: int,
    progress: Progress,
    checkout: Path | None,
) -> Iterator[Row]:
    """Yield one row per way of reading the same windows."""
    import numpy as np

    from omnimouse_app.bench.plain_zarr import open_with_zarr
    from omnimouse_app.bench.recordings import write_session
    from omnimouse_model.data.conversion.write import convert
    from omnimouse_model.data.open import open_session
    from omnimouse_model.data.store.layout import CODECS

    source = root / f"session-{size.neurons}-{size.minutes:g}"
    progress(0, 1, "writing the session")
    if not source.exists():
        write_session(source, size)
    session = open_session(source)
    places = {FOLDER: source}
    for codec in CODECS:
        progress(0, 1, f"writing the {codec} store")
        store = root / f"{source.name}-{codec}.omses.zarr"
        places[f"store-{codec}"] = store
        if not store.exists():
            convert(session, store, codec)
    starts = session.window_starts()
    chosen = starts[np.random.default_rng(0).integers(0, len(starts), windows)]
    # Each reader has its own session, so that none profits from another's cache.
    ways: dict[str, Callable[[float], Any]] = {
        name: _whole(open_session(place)) for name, place in places.items()
    }
    ways[ZARR] = _whole(open_with_zarr(places[STORE]))
    ways[RULE] = _ruled(session)
    _compare(ways, chosen[:_COMPARED])
    timed: dict[str, Callable[[], tuple[float, float]]]
    timed = {name: partial(_timed, read, chosen) for name, read in ways.items()}
    revision = None
    with ExitStack() as stack:
        if checkout is not None:
            progress(0, 1, "opening it with the reference package")
            package = stack.enter_context(_package(checkout, session, chosen))
            compare_package(package, session, chosen[:_COMPARED])
            timed[PACKAGE], revision = package.read_all, package.revision
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in timed}
        for turn in range(passes + 1):
            # The readers take turns, so that other load on the machine affects all
            # alike.
            for name, read in timed.items():
                progress(turn, passes + 1, f"reading {name}")
                took = read()
                # The first turn only fills the file cache.
                if turn:
                    times[name].append(took)
    rate = {n: windows / median(cpu for cpu, _ in t) for n, t in times.items()}
    for name, taken in times.items():
        place = places.get(name)
        yield {
            "name": "windows_per_cpu_s",
            "source": name,
            "value": rate[name],
            "unit": "windows / CPU s",
            "wall": windows / median(wall for _, wall in taken),
            "x_rule": rate[name] / rate[RULE],
            "x_package": None if checkout is None else rate[name] / rate[PACKAGE],
            "x_published": rate[name] / REFERENCE_HZ,
            "mib": None if place is None else _size(place),
            "revision": revision if name == PACKAGE else None,
            "n": passes,
            "windows": windows,
            "neurons": size.neurons,
            "minutes": size.minutes,
        }


def _package(
    checkout: Path, session: "Session", starts: "np.ndarray"
) -> "ReferencePackage":
    from omnimouse_app.bench.reference_package import ReferencePackage

    native = [session.window(start).native_start for start in starts.tolist()]
    return ReferencePackage(checkout, session.path, native)


def compare_package(
    package: "ReferencePackage", session: "Session", starts: "np.ndarray"
) -> None:
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
            given = package.samples({n: t.tolist() for n, t in times.items()})
            ours = {n: session.streams[n].sample(t)[0] for n, t in times.items()}
        else:
            given = package.window(number)
            given["screen"] = given["screen"].reshape(window.video.shape)
            names = session.streams.keys() - {"screen"}
            ours = {name: window.stream(name)[0] for name in names}
            ours["screen"] = window.video
        for name, values in ours.items():
            if not np.array_equal(values, given[name], equal_nan=True):
                raise ValueError(
                    f"The reference package reads other {name} at {start:.2f} s"
                )


def _size(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 2**20


def _timed(read: Callable[[float], Any], starts: "np.ndarray") -> tuple[float, float]:
    cpu, wall = process_time(), perf_counter()
    for start in starts.tolist():
        read(start)
    return process_time() - cpu, perf_counter() - wall


def _whole(session: "Session") -> Callable[[float], Any]:
    """Return a reader of all model inputs of a window."""

    def read(start: float) -> Any:
        window = session.window(start)
        return window.responses, window.video, window.behavior

    return read


def _ruled(session: "Session") -> Callable[[float], Any]:
    """Return a reader of the same values, sample by sample, as the format defines."""
    import numpy as np

    def values(name: str, window: Any) -> Any:
        signal = session.responses if name == "responses" else session.behavior[name]
        assert signal is not None
        times = window.times(name)
        shift = np.zeros(signal.n_columns) if signal.shift_s is None else signal.shift_s
        step = 1.0 / signal.rate_hz
        # Last sample at or before each time, with the phase shift of each column.
        rows = np.floor((times[:, None] - shift - signal.start) / step).astype(int)
        stored = np.asarray(signal.data)[rows, np.arange(signal.n_columns)]
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


def _compare(ways: dict[str, Callable[[float], Any]], starts: "np.ndarray") -> None:
    """Raise a ValueError unless all readers return identical values."""
    import numpy as np

    for start in starts.tolist():
        expected = ways[FOLDER](start)
        for name, read in ways.items():
            for first, second in zip(expected, read(start), strict=True):
                if not np.array_equal(first, second):
                    raise ValueError(f"{name!r} reads other values at {start:.2f} s")


def _opening(root: Path) -> Row:
    """Return time and memory for opening a large session in a new process."""
    from omnimouse_app.bench.recordings import Size, write_session

    neurons, minutes = OPENED
    source = root / f"hollow-{neurons}-{minutes:g}"
    if not source.exists():
        write_session(source, Size(neurons, minutes, is_hollow=True))
    took = [
        json.loads(subprocess.check_output([sys.executable, "-c", _OPEN, str(source)]))
        for _ in range(3)
    ]
    return {
        "name": "opening_s",
        "source": FOLDER,
        "value": median(seconds for seconds, _, _ in took),
        "unit": "s",
        "mib": median(mib for _, mib, _ in took),
        "n": len(took),
        "neurons": neurons,
        "minutes": minutes,
    }
