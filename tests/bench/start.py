"""`omnimouse bench start`: imports, window, first prediction, and plain napari."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from omnimouse_app.cli.terminal import answers
from omnimouse_model.storage.trees import decode_json
from tests.bench.benchmark import Row, benchmark, row

TIMEOUT_S = 600.0
# Times are those of the system clock, so that they begin before the interpreter starts.
PAINT_CLOCK = """
import json, sys, time
from qtpy.QtCore import QEvent, QObject
started_s = float(sys.argv[1])
times = {}
class PaintClock(QObject):
    def __init__(self, name):
        super().__init__()
        self.name = name
    def eventFilter(self, watched, event):
        is_paint = event.type() == QEvent.Type.Paint
        if is_paint and watched.objectName() == self.name and "window_s" not in times:
            times["window_s"] = time.time() - started_s
            times["window_cpu_s"] = time.process_time()
        return False
"""
"""Begin of both programs: note when a widget, given by its name, is first painted."""
NAPARI = (
    PAINT_CLOCK
    + """
import napari
from napari.qt import get_qapp
times["import_s"] = time.time() - started_s
app = get_qapp()
clock = PaintClock("main-window")
app.installEventFilter(clock)
viewer = napari.Viewer(show=False)
viewer.window._qt_window.setObjectName(clock.name)
viewer.show()
viewer.window.resize(1440, 900)
while "window_s" not in times:
    app.processEvents()
print(json.dumps(times), flush=True)
viewer.close()
"""
)
OMNIMOUSE = (
    PAINT_CLOCK
    + """
from omnimouse_app.window.launch import launch
from omnimouse_app.window.memory import leave_out_imports, paused_collection
# As `launch` does before it makes the window; a thread imports the panels meanwhile.
with paused_collection():
    from napari.qt import get_qapp
    import omnimouse_app.window.instrument
    leave_out_imports(is_first=True)
times["import_s"] = time.time() - started_s
app = get_qapp()
# The control panel: the window is complete.
clock = PaintClock("omnimouse-main")
app.installEventFilter(clock)
dock = launch()
results = dock.controller.results
def note_prediction():
    times["prediction_s"] = time.time() - started_s - times["window_s"]
    times["prediction_cpu_s"] = time.process_time() - times["window_cpu_s"]
results.events.population.connect(note_prediction)
if results.population is not None:  # it may arrive before `launch` returns
    note_prediction()
while "prediction_s" not in times:
    app.processEvents()
    if results.error is not None:
        sys.exit(f"The prediction failed: {results.error}")
    time.sleep(0.001)
print(json.dumps(times), flush=True)
dock.close_viewer()
"""
)


@benchmark(
    "start",
    title="Start of the application, seconds",
    columns=("name", "median", "p99", "n", "unit", "start"),
)
@click.option("--repeats", default=3, show_default=True, help="Number of starts.")
def command(repeats: int) -> list[Row]:
    """Time imports, window and first prediction, and plain napari in the same run.

    The first start simulates the demo recording; a later one finds it in the cache.
    `prediction_s` counts from the window. `window_cpu_s` and `prediction_cpu_s` are the
    processor times of the window's process alone, which other programs change less.
    Without a display a virtual one is used.
    """
    from omnimouse_app.window.screen import has_display, run_on_virtual_display, scratch_settings

    if not has_display():
        formats = click.get_current_context().params
        options = [f"--{f}" for f in ("json", "markdown") if formats[f"as_{f}"]]
        words = ["bench", "start", "--repeats", str(repeats), *options]
        click.get_current_context().exit(run_on_virtual_display(words, answers()))
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(prefix="omnimouse-") as cache:
            for start, program in (
                ("plain napari", NAPARI),
                ("first", OMNIMOUSE),
                ("later", OMNIMOUSE),
            ):
                # No analysis of an earlier start is restored.
                with scratch_settings():
                    for name, seconds in _start(program, Path(cache)).items():
                        times.setdefault((start, name), []).append(seconds)
    rows = [row(name, values, "s", start=start) for (start, name), values in times.items()]
    ratios = [
        row(f"{name.removesuffix('_s')}_ratio", _ratios(times, name), "", start="later")
        for name in ("window_s", "window_cpu_s")
    ]
    return [*rows, *ratios]


def _ratios(times: dict[tuple[str, str], list[float]], name: str) -> list[float]:
    """Return the ratio of our time to that of plain napari, for each later start."""
    pairs = zip(times["later", name], times["plain napari", name], strict=True)
    return [own / plain for own, plain in pairs]


def _start(program: str, cache: Path) -> dict[str, float]:
    """Start a process and return the times that it prints."""
    environment = os.environ | {"OMNIMOUSE_CACHE": str(cache)}
    # With it, Python would compile our modules at every start, and those of napari,
    # which were compiled when it was installed, at none.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", program, str(time.time())],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"The start ended with code {done.returncode}: {done.stderr.strip()[-2000:]}"
        )
    times: dict[str, float] = decode_json(done.stdout.splitlines()[-1], "the measurement")
    return times
