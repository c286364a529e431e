"""`omnimouse bench live`: strokes, predictions and scrubbing in the real window."""

from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.inputs import device_option
from omnimouse_app.cli.terminal import answers
from tests.bench.benchmark import Row, benchmark, row
from tests.bench.population import MANY, SIZES, one_hidden_rows, size_rows
from tests.bench.recordings import session_id, simulated_session
from tests.bench.screens.live_tier import tier_rows
from tests.bench.untrained_model import untrained_model

if TYPE_CHECKING:
    from omnimouse_app.window.docks import OmniMouseDock
    from omnimouse_model.live.state import Device
    from tests.bench.screens.live_window import Turns

SIMULATED = {"medium": 4_000, "large": 10_000}
"""Numbers of neurons of the simulated sessions, in addition to the demo."""
OPENING, OPENED, OPENINGS = "opening", (10_000, 40_000), 4
"""Numbers of neurons of the sessions that are opened one after the other, and how often."""
SPIKES = "spikes"
"""The spiking session of the demo."""
WIDE_BRUSH = 150.0
"""Radius in screen pixels."""
STROKES_PER_SIZE = 20
SWEEP_S = 20.0
"""Seconds of a live sweep that are timed."""


@benchmark(
    "live",
    title="The live window, by real mouse events",
    columns=(
        *("name", "median", "p99", "n", "unit", "neurons", "model", "predictor", "video"),
        *("event_median", "idle_frame_ms", "cpu_p99", "waited_p99"),
    ),
    gflops=True,
)
@click.option(
    "--neurons",
    type=click.Choice(["all", "demo", SPIKES, *SIMULATED, OPENING, "sizes"]),
    default="all",
    help="The demo's 1,000 neurons, its spiking session of 100 units, a simulated "
    "session of 4,000 or 10,000 neurons, the opening of large ones, a transformer alone at "
    "100 to 40,000, or all.",
)
@click.option("--moves", default=200, show_default=True, help="Number of timed mouse moves.")
@device_option
def command(neurons: str, moves: int, device: "Device") -> list[Row]:
    """Time strokes, predictions, scrubbing and event-loop turns of the live window.

    Rows state the number of neurons, and whether the model was idle or running.
    Without a display a virtual one is used, on which the CPU draws.
    """
    from omnimouse_app.window.screen import has_display, run_on_virtual_display, scratch_settings

    if not has_display():
        arguments = ["bench", "live", "--neurons", neurons, "--moves", str(moves)]
        arguments += ["--device", device]
        # The command's own options come from `benchmark`, not as arguments.
        formats = click.get_current_context().params
        arguments += [f"--{f}" for f in ("json", "markdown") if formats[f"as_{f}"]]
        # Qt chooses its platform when a process starts, so the benchmark runs again in
        # a new process that has a display.
        click.get_current_context().exit(run_on_virtual_display(arguments, answers()))
    with scratch_settings():
        rows: list[Row] = []
        if neurons in ("all", "demo"):
            rows += demo_rows(moves, device)
        if neurons in ("all", SPIKES):
            rows += spiking_rows(moves, device)
        for name, count in SIMULATED.items():
            if neurons in ("all", name):
                rows += simulated_rows(count, moves, device)
        if neurons in ("all", OPENING):
            rows += opening_rows()
        if neurons in ("all", "sizes"):
            rows += transformer_rows(device)
        return rows


def demo_rows(moves: int, device: "Device") -> list[Row]:
    """Return the rows of the demo session with the demo model."""
    from omnimouse_app.window.launch import launch
    from omnimouse_model.simulate.demo import demo_session

    folder = demo_session()
    start_s = perf_counter()
    dock = launch(folder, "demo", device=device)
    _wait_for_results(dock, first=True)
    # Includes opening the window and loading the model.
    first_s = perf_counter() - start_s
    session = dock.controller.state.session
    assert session is not None
    count = session.n_neurons
    rows = [row("first_prediction_s", [first_s], "s", neurons=count, model="running")]
    try:
        rows += _running_rows(dock, count, moves)
        rows += _idle_rows(dock, count, moves)
    finally:
        dock.close_viewer()
    return [*rows, *tier_rows(folder, device)]


def spiking_rows(moves: int, device: "Device") -> list[Row]:
    """Return the rows of the demo's spiking session with its transformer.

    The panel *Trials* is shown: its averages are predicted between the strokes.
    """
    from omnimouse_app.window.launch import launch
    from omnimouse_model.simulate.demo import spiking_session

    dock = launch(spiking_session(), "ndt-demo", device=device)
    try:
        _wait_for_results(dock)
        dock.bring_up("Trials")
        # Probes fill a small part of the field: a wide brush meets units everywhere.
        dock.instrument.brush.radius = WIDE_BRUSH
        session = dock.controller.state.session
        assert session is not None
        return _running_rows(dock, session.n_neurons, moves, "co_smoothing")
    finally:
        dock.close_viewer()


def simulated_rows(count: int, moves: int, device: "Device") -> list[Row]:
    """Return the rows of a simulated session with an untrained model of demo size."""
    from omnimouse_app.window.launch import launch
    from omnimouse_model.inference.client import WorkerPredictor

    make = partial(untrained_model, "demo", session_id(count), count, device)
    worker = WorkerPredictor(make)
    dock = launch(simulated_session(count), worker)
    try:
        _wait_for_results(dock)
        rows = _running_rows(dock, count, moves)
        rows += _idle_rows(dock, count, moves)
    finally:
        dock.close_viewer()
        # The window closes a worker that it started itself, but not this one.
        worker.close()
    return rows


def opening_rows() -> list[Row]:
    """Return the longest turn of the event loop of each opening of a large session.

    Each is opened in a window that shows another one.
    """
    from omnimouse_app.window.launch import launch
    from tests.bench.screens.live_window import open_turns

    dock = launch(simulated_session(SIMULATED["medium"]), "mean")
    found: dict[int, list[Turns]] = {count: [] for count in OPENED}
    try:
        _wait_for_results(dock)
        # Once before, because a part of the window may be made at its first use.
        open_turns(dock, simulated_session(OPENED[-1]))
        for _ in range(OPENINGS):
            for count, turns in found.items():
                turns.append(open_turns(dock, simulated_session(count)))
    finally:
        dock.close_viewer()
    return [
        row("open_turn_ms", [max(t.wall) for t in turns], "ms", neurons=count, model="running")
        | {"cpu_p99": max(max(t.cpu) for t in turns)}
        for count, turns in found.items()
    ]


def transformer_rows(device: "Device") -> list[Row]:
    """Return the rows of one transformer without a window: strokes, and one hidden of many."""
    names = ("encoder_ms", "traces_ratio")
    strokes = [
        found
        for found in size_rows("transformer", SIZES, STROKES_PER_SIZE, device)
        if found["name"] in names and found["stroke"] == "neighbours"
    ]
    rows = strokes + one_hidden_rows(MANY, STROKES_PER_SIZE, device)
    return [found | {"model": "running"} for found in rows]


def _running_rows(
    dock: "OmniMouseDock", count: int, moves: int, preset: str = "video_behavior"
) -> list[Row]:
    """Return rows while the model computes: every stroke is a new request."""
    from omnimouse_model.masks import TARGET, VISIBLE
    from tests.bench.screens.live_window import scrub_hz, stroke_to_traces_ms, sweep_turns

    conditions = {"neurons": count, "model": "running"}
    # A preset with targets: the model computes after each change of the mask.
    dock.controller.editor.apply_preset(preset)
    return [
        *_stroke_rows(dock, moves, (VISIBLE, TARGET), conditions),
        row("stroke_to_traces_ms", stroke_to_traces_ms(dock), "ms", **conditions),
        row("scrub_hz", scrub_hz(dock), "Hz", **conditions),
        _turns_row(sweep_turns(dock, SWEEP_S), conditions),
    ]


def _turns_row(turns: "Turns", conditions: Row) -> Row:
    """Return how long clicks wait during the sweep, with the GUI thread's own part."""
    import numpy as np

    return row("sweep_turn_ms", turns.wall, "ms", **conditions) | {
        "cpu_p99": float(np.percentile(turns.cpu, 99)),
        "waited_p99": float(np.percentile(turns.waited, 99)),
    }


def _idle_rows(dock: "OmniMouseDock", count: int, moves: int) -> list[Row]:
    """Return rows while the model is idle: the mask has no targets."""
    from omnimouse_model.masks import HIDDEN, VISIBLE
    from tests.bench.screens.live_window import scrub_hz

    conditions = {"neurons": count, "model": "idle"}
    dock.controller.editor.apply_preset("nothing")
    _wait_for_results(dock)
    return [
        *_stroke_rows(dock, moves, (VISIBLE, HIDDEN), conditions),
        row("scrub_hz", scrub_hz(dock), "Hz", **conditions),
    ]


def _stroke_rows(
    dock: "OmniMouseDock", moves: int, codes: tuple[int, int], conditions: Row
) -> list[Row]:
    import numpy as np

    from tests.bench.screens.live_window import measure_strokes

    strokes = measure_strokes(dock, codes, moves)
    call = row("stroke_call_ms", strokes.call, "ms", **conditions)
    extra = row("stroke_drawn_extra_ms", strokes.extra, "ms", **conditions)
    return [
        call | {"event_median": float(np.median(strokes.event))},
        extra | {"idle_frame_ms": strokes.idle},
    ]


def _wait_for_results(dock: "OmniMouseDock", *, first: bool = False) -> None:
    """Wait for all pending results; with `first`, for one prediction."""
    from omnimouse_app.tour.hand import wait_for

    results = dock.controller.results

    def is_done() -> bool:
        if results.error is not None or (first and results.freshness == "fresh"):
            return True
        # Also without results of the population: they keep the worker busy, and a
        # stroke would wait for them.
        return not results.is_awaited and results.population_freshness != "running"

    wait_for(is_done, "a prediction", 180)
    if results.error is not None:
        raise ValueError(f"The prediction failed: {results.error}")
