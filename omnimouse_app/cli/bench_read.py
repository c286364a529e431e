"""`omnimouse bench read`: windows per second, in place and from the store."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import format_options
from omnimouse_app.cli.output import Progress, emit

if TYPE_CHECKING:
    import numpy as np

    from omnimouse_app.bench_session import Size
    from omnimouse_model.data.session import Session

Row = dict[str, Any]
REFERENCE_HZ = 424.0
"""Windows per second of the reference package, as published for another machine."""

OPENED = (10_000, 90.0)
"""Neurons and minutes of the session whose opening is measured."""

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
@format_options
def command(
    neurons: int,
    minutes: float,
    windows: int,
    passes: int,
    opening: bool,
    folder: Path | None,
    as_json: bool,
    as_markdown: bool,
) -> None:
    """Read random 2-s windows of a synthetic session, one after the other.

    `value` is windows per second of CPU time, the median of the passes, which take
    turns after one that is not timed; `wall` the same per second. "by the rule" reads
    the same values as the rule of the format is written, an index and a gather for
    every sample: what a plain reader costs here, in the same minute.
    """
    from omnimouse_app.bench_session import Size

    with _kept(folder) as root:
        progress = Progress()
        found = list(_rates(root, Size(neurons, minutes), windows, passes, progress))
        if opening:
            progress(1, 1, f"opening {OPENED[0]:,} neurons")
            found.append(_opening(root))
        progress.finish()
    emit(
        found,
        as_json=as_json,
        as_markdown=as_markdown,
        columns=("name", "value", "unit", "wall", "x_rule", "x_published", "mib"),
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
    root: Path, size: "Size", windows: int, passes: int, progress: Progress
) -> Iterator[Row]:
    """One row per way to read the same windows."""
    import numpy as np

    from omnimouse_app.bench_session import write_session
    from omnimouse_model.data.open import open_session
    from omnimouse_model.data.store.layout import CODECS
    from omnimouse_model.data.store.write import convert

    source = root / f"session-{size.neurons}-{size.minutes:g}"
    progress(0, 1, "writing the session")
    if not source.exists():
        write_session(source, size)
    session = open_session(source)
    places = {"in place": source}
    for codec in CODECS:
        progress(0, 1, f"writing the {codec} store")
        store = root / f"{source.name}-{codec}.omses.zarr"
        places[f"store, {codec}"] = store
        if not store.exists():
            convert(session, store, codec)
    starts = session.window_starts()
    chosen = starts[np.random.default_rng(0).integers(0, len(starts), windows)]
    ways: dict[str, Callable[[float], Any]] = {
        name: _whole(open_session(place)) for name, place in places.items()
    }
    ways["by the rule"] = _ruled(session)
    _compare(ways, chosen[:5])
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(passes + 1):
        for name, read in ways.items():
            progress(turn, passes + 1, f"reading {name}")
            took = _timed(read, chosen)
            if turn:
                times[name].append(took)
    rate = {n: windows / median(cpu for cpu, _ in t) for n, t in times.items()}
    for name, taken in times.items():
        place = places.get(name)
        yield {
            "name": name,
            "value": rate[name],
            "unit": "windows / CPU s",
            "wall": windows / median(wall for _, wall in taken),
            "x_rule": rate[name] / rate["by the rule"],
            "x_published": rate[name] / REFERENCE_HZ,
            "mib": None if place is None else _size(place),
        }


def _size(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 2**20


def _timed(read: Callable[[float], Any], starts: "np.ndarray") -> tuple[float, float]:
    cpu, wall = process_time(), perf_counter()
    for start in starts.tolist():
        read(start)
    return process_time() - cpu, perf_counter() - wall


def _whole(session: "Session") -> Callable[[float], Any]:
    """All that a model is given of a window."""

    def read(start: float) -> Any:
        window = session.window(start)
        return window.responses, window.video, window.behavior

    return read


def _ruled(session: "Session") -> Callable[[float], Any]:
    """The same, sample by sample as the rule is written."""
    import numpy as np

    def values(name: str, window: Any) -> Any:
        signal = session.responses if name == "responses" else session.behavior[name]
        assert signal is not None
        times = window.times(name)
        shift = np.zeros(signal.n_columns) if signal.shift_s is None else signal.shift_s
        step = 1.0 / signal.rate_hz
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
    """All ways must give the same bits."""
    import numpy as np

    for start in starts.tolist():
        expected = ways["in place"](start)
        for name, read in ways.items():
            for first, second in zip(expected, read(start), strict=True):
                if not np.array_equal(first, second):
                    raise ValueError(f"{name!r} reads other values at {start:.2f} s")


def _opening(root: Path) -> Row:
    """Seconds and memory that opening a large session takes in a fresh process."""
    from omnimouse_app.bench_session import Size, write_session

    neurons, minutes = OPENED
    source = root / f"hollow-{neurons}-{minutes:g}"
    if not source.exists():
        write_session(source, Size(neurons, minutes, is_hollow=True))
    took = [
        json.loads(subprocess.check_output([sys.executable, "-c", _OPEN, str(source)]))
        for _ in range(3)
    ]
    return {
        "name": f"opening {neurons:,} neurons × {minutes / 60:g} h",
        "value": median(seconds for seconds, _, _ in took),
        "unit": "s",
        "mib": median(mib for _, mib, _ in took),
    }
