"""`omnimouse bench strokes`: from a stroke to its predictions, without a window."""

from collections.abc import Iterator
from functools import partial
from time import perf_counter, sleep
from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.inputs import device_option
from tests.bench.benchmark import Row, benchmark, row
from tests.bench.model import SIZES
from tests.bench.recordings import session_id, simulated_session
from tests.bench.screens.live_tier import wait_until
from tests.bench.untrained_model import untrained_model

if TYPE_CHECKING:
    from omnimouse_model.live.controller import Controller

TASKS = ("video_behavior", "random_half_video_behavior")
"""Presets that are timed.

In the first all neurons are targets. In the second one half of them is visible, and
the other half are targets.
"""
N_PAINTED = 25
"""Neurons that a stroke shows."""
PAUSE_S = 0.3
"""Seconds between strokes: the engine prefetches windows and scores the tier."""
POLL_S = 0.0005


@benchmark(
    "strokes",
    title="From a stroke to its predictions: {size} with {neurons} neurons on {device}",
    columns=("name", "median", "p99", "n", "unit", "task", "scoring"),
    gflops=True,
)
@click.option(
    "--size",
    default="80M",
    show_default=True,
    type=click.Choice(["demo", *SIZES]),
    help="A released size, or that of the demo.",
)
@click.option("--neurons", default=8000, show_default=True, type=click.IntRange(100))
@click.option("--repeats", default=20, show_default=True, type=click.IntRange(1))
@device_option
def command(size: str, neurons: int, repeats: int, device: str) -> list[Row]:
    """Time the predictions after strokes, by an untrained model of a released size.

    The live engine and the model's process are those of the window and the notebook;
    nothing is drawn. `selected_ms` is the time from a stroke to the prediction of the
    selected neurons, `population_ms` that to the prediction of all target neurons.
    """
    from omnimouse_model.inference.client import WorkerPredictor
    from omnimouse_model.live.controller import Controller
    from omnimouse_model.predict.devices import resolve_device

    folder = simulated_session(neurons)
    make = partial(untrained_model, size, session_id(neurons), neurons, device)
    worker, controller = WorkerPredictor(make), Controller()
    place = str(resolve_device(device))
    rows: list[Row] = []
    try:
        controller.model.choose(worker)
        controller.loader.open_now(folder)
        for task in TASKS:
            rows += _task_rows(controller, task, repeats)
        rows += _memory_rows(place)
    finally:
        controller.close()
        worker.close()
    about = {"size": size, "neurons": neurons, "device": place}
    return [line | about for line in rows]


def _task_rows(controller: "Controller", task: str, repeats: int) -> Iterator[Row]:
    """Return rows of strokes with and without scores over the tier in between."""
    for scoring in (False, True):
        controller.requests.score_tier(scoring)
        # The first stroke loads kernels and allocates memory.
        times = [_stroke(controller, task, seed) for seed in range(repeats + 1)][1:]
        about = {"task": task, "scoring": "on" if scoring else "off"}
        for name, values in zip(
            ("selected_ms", "population_ms"), zip(*times, strict=True), strict=True
        ):
            yield row(name, values, "ms", **about)


def _stroke(controller: "Controller", task: str, seed: int) -> tuple[float, float]:
    """Show some target neurons; return ms to the selected ones and to all others."""
    import numpy as np

    from omnimouse_model.masks import VISIBLE

    state = controller.state
    # Each stroke begins with the whole task: strokes add up.
    controller.editor.apply_preset(task)
    wait_until(lambda: _is_fresh(controller, "population_freshness"))
    sleep(PAUSE_S)
    assert state.mask is not None
    targets = np.flatnonzero(state.mask.target.any(axis=0))
    # The selected neurons stay targets.
    others = np.setdiff1d(targets, state.selection)
    painted = np.random.default_rng(seed).choice(others, N_PAINTED, replace=False)
    start_s = perf_counter()
    controller.editor.paint(painted, VISIBLE)
    wait_until(lambda: _is_fresh(controller, "freshness"), POLL_S)
    selected_s = perf_counter() - start_s
    wait_until(lambda: _is_fresh(controller, "population_freshness"), POLL_S)
    return 1000 * selected_s, 1000 * (perf_counter() - start_s)


def _is_fresh(controller: "Controller", stage: str) -> bool:
    """Return whether a stage of the newest request is done; raise its error."""
    results = controller.results
    if results.error is not None:
        raise click.ClickException(results.error)
    return bool(getattr(results, stage) == "fresh")


def _memory_rows(device: str) -> Iterator[Row]:
    """Return the used memory of a GPU, in MiB, of all programs together."""
    if device != "cuda":
        return
    import torch

    free, total = torch.cuda.mem_get_info()
    yield row("gpu_memory_mib", [(total - free) / 2**20], "MiB")
