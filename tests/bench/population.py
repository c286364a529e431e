"""`omnimouse bench population`: from a mask to predictions, against the number of neurons."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING
from unittest.mock import patch

import click
import numpy as np

from omnimouse_app.cli.inputs import device_option, repeated
from tests.bench.benchmark import Row, benchmark, row
from tests.bench.recordings import simulated_session
from tests.bench.untrained_model import untrained_model

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session
    from omnimouse_model.masks import Mask
    from omnimouse_model.predict.predictor import Predictor

SIZES = (100, 1000, 4000, 10_000, 40_000)
"""Numbers of neurons."""
MANY = 1000
N_STROKE = 8
"""Neighbouring neurons that a stroke hides, and whose traces are predicted."""
N_SPREAD = 25
"""Neurons of the whole field that are hidden before a tier is predicted again."""
N_WINDOWS, N_TOGETHER = 12, 12
FIRST_S, LAST_S = 2.0, 54.0
"""Starts of the first and of the last window of a tier, if it has many."""
N_FRESH = 3


@benchmark(
    "population",
    title="From a mask to predictions on {device}",
    columns=("name", "median", "n", "unit", "cpu_ms", "neurons", "predictor", "stroke", "video"),
    gflops=True,
)
@repeated("--neurons", "counts", "Number of neurons.", default=SIZES, type=click.IntRange(100))
@click.option(
    "--predictor",
    "names",
    multiple=True,
    default=("transformer", "linear-gaussian"),
    type=click.Choice(["transformer", "linear-gaussian"]),
)
@click.option("--repeats", default=10, show_default=True, type=click.IntRange(1))
@click.option("--tier-windows", default=N_WINDOWS, show_default=True, type=click.IntRange(2))
@click.option("--sums-gib", type=float, help="Limit of the sums that a tier keeps.")
@device_option
def command(
    counts: tuple[int, ...],
    names: tuple[str, ...],
    repeats: int,
    tier_windows: int,
    sums_gib: float | None,
    device: str,
) -> list[Row]:
    """Time predictions after strokes in recordings of several sizes.

    Nine tenths of the neurons and the video are visible. `encoder_ms` is the encoding of a
    mask in which a stroke hid 8 neurons: neighbours, or neurons of the whole field.
    `traces_ms` adds the change of the mask and the prediction of these neurons;
    `traces_ratio` divides it by that of the smallest recording. `fixed_ms` is the same
    request again, in which nothing has changed: the limit for small changes. `fresh_ms` is
    the request when nothing is kept but the video: what a stroke would cost without the
    kept sums.
    `population_ms` is the prediction of all targets from the encoding. The transformer has
    the size of the demo, and random weights.

    `stroke_kb` is the size of the message that tells a process of its own a stroke.

    `one_hidden_ms` is the time per mask for many masks of the smallest recording of at
    least 1,000 neurons that each hide one of them, with 8 targets; `one_hidden_ratio`
    divides it by that of a mask for which nothing is stored.

    `tier_window_ms` is the time per window to predict all targets of `--tier-windows` windows
    again after a stroke, of 8 neighbours or 25 neurons of the whole field, in the same
    recording; more windows than fit into it overlap, and share no sums.
    """
    rows = [found for name in names for found in size_rows(name, counts, repeats, device)]
    rows += [found for count in sorted(counts) for found in message_rows(count, repeats)]
    many = [count for count in counts if count >= MANY]
    if "transformer" in names and many:
        rows += one_hidden_rows(min(many), repeats, device)
        n_bytes = None if sums_gib is None else int(sums_gib * 2**30)
        rows += tier_rows(min(many), repeats, device, tier_windows, n_bytes)
    return rows


def size_rows(name: str, counts: Sequence[int], repeats: int, device: str) -> list[Row]:
    """Return the rows of one predictor, the smallest recording first."""
    rows: list[Row] = []
    smallest: dict[str, float] = {}
    for count in sorted(counts):
        for stroke, times in measured(name, count, repeats, device).items():
            about = {"neurons": count, "predictor": name, "stroke": stroke, "device": device}
            for key, (wall, cpu) in times.items():
                rows.append(row(key, wall, "ms", cpu_ms=median(cpu), **about))
            traces = median(times["traces_ms"][0])
            ratio = traces / smallest.setdefault(stroke, traces)
            rows.append(row("traces_ratio", [ratio], "", **about))
    return rows


def message_rows(count: int, repeats: int) -> list[Row]:
    """Return the rows of the messages that tell a worker a stroke."""
    import omnimouse_app as om
    from omnimouse_model.inference.client import WorkerPredictor

    session = om.open_session(simulated_session(count))
    n_visible, window = int(0.9 * count), session.window(12.0)
    mask = om.Mask.nothing(session).show(slice(0, n_visible))
    mask = mask.ask(slice(n_visible, count), (30, 60))
    rows: list[Row] = []
    # The messages are the same for each predictor; this one is made in no time.
    worker = WorkerPredictor("mean")
    try:
        worker.encode(window, mask)
        link = worker._link
        assert link is not None  # the first request has started it
        for stroke in ("neighbours", "field"):
            kb: list[float] = []
            for neurons in strokes(session, n_visible, stroke, repeats):
                worker.encode(window, mask)
                with patch.object(link, "send", wraps=link.send) as send:
                    worker.encode(window, stroked(mask, neurons))
                kb.append(sum(len(call.args[0]) for call in send.call_args_list) / 1000)
            rows.append(row("stroke_kb", kb, "kB", neurons=count, stroke=stroke))
    finally:
        worker.close()
    return rows


def one_hidden_rows(count: int, repeats: int, device: str) -> list[Row]:
    """Return the rows of masks that each hide one neuron, without and with video."""
    import omnimouse_app as om

    session = om.open_session(simulated_session(count))
    predictor = untrained_model("demo", session.id, count, device)
    window, n_visible = session.window(12.0), count - N_STROKE
    targets = np.arange(n_visible, count)
    rows: list[Row] = []
    for has_video in (False, True):
        mask = om.Mask.nothing(session).show(slice(0, n_visible)).with_frames(has_video)
        mask = mask.ask(targets, (30, 60))
        alone: tuple[list[float], list[float]] = ([], [])
        shared: tuple[list[float], list[float]] = ([], [])
        for neuron in range(repeats):
            predictor.clear_caches()
            start, cpu = perf_counter(), process_time()
            predictor.predict(window, mask.hide([neuron]), targets)
            add(alone, start, cpu)
        for first in range(0, N_TOGETHER * repeats, N_TOGETHER):
            neurons = range(first, first + N_TOGETHER)
            start, cpu = perf_counter(), process_time()
            # Some are computed together.
            for _ in predictor.predict_many((window, mask.hide([n]), targets) for n in neurons):
                pass
            add(shared, start, cpu, N_TOGETHER)
        about = {"neurons": count, "predictor": "transformer", "video": has_video}
        rows.append(row("one_hidden_ms", shared[0], "ms", cpu_ms=median(shared[1]), **about))
        ratio = median(shared[0]) / median(alone[0])
        rows.append(row("one_hidden_ratio", [ratio], "", **about))
    return rows


def tier_rows(
    count: int, repeats: int, device: str, n_windows: int, sums_bytes: int | None
) -> list[Row]:
    """Return the rows of many windows after a stroke, within a limit of the kept sums."""
    import omnimouse_app as om

    session = om.open_session(simulated_session(count))
    predictor = replace(untrained_model("demo", session.id, count, device), sums_bytes=sums_bytes)
    step_s = min(4.0, (LAST_S - FIRST_S) / (n_windows - 1))
    windows = [session.window(FIRST_S + step_s * number) for number in range(n_windows)]
    n_visible = int(0.9 * count)
    mask = om.Mask.nothing(session).show(slice(0, n_visible)).with_frames(True)
    mask = mask.ask(slice(n_visible, count), (30, 60))
    for _ in predictor.predict_many((window, mask, None) for window in windows):
        pass
    rows: list[Row] = []
    for stroke, size in (("neighbours", N_STROKE), ("field", N_SPREAD)):
        times: tuple[list[float], list[float]] = ([], [])
        for neurons in strokes(session, n_visible, stroke, repeats, size):
            hidden = stroked(mask, neurons)
            start, cpu = perf_counter(), process_time()
            for _ in predictor.predict_many((window, hidden, None) for window in windows):
                pass
            add(times, start, cpu, n_windows)
        about = {"neurons": count, "predictor": "transformer", "stroke": stroke, "video": True}
        rows.append(row("tier_window_ms", times[0], "ms", cpu_ms=median(times[1]), **about))
    return rows


Times = dict[str, tuple[list[float], list[float]]]
"""Wall and processor time in ms of each repeat, by name of the row."""


def measured(name: str, count: int, repeats: int, device: str) -> dict[str, Times]:
    """Return times by kind of stroke."""
    import omnimouse_app as om
    from omnimouse_model.families.omnimouse.predictor import TransformerPredictor

    session = om.open_session(simulated_session(count))
    predictor: Predictor
    if name == "transformer":
        predictor = untrained_model("demo", session.id, session.n_neurons, device)
    else:
        predictor = om.load_predictor(name)
    predictor.prepare(session)
    n_visible, window = int(0.9 * count), session.window(12.0)
    mask = om.Mask.nothing(session).show(slice(0, n_visible)).with_frames(True)
    mask = mask.ask(slice(n_visible, count), (30, 60))
    encoded = predictor.encode(window, mask)
    predictor.decode(encoded, np.arange(n_visible, n_visible + N_STROKE))
    found: dict[str, Times] = {}
    for stroke in ("neighbours", "field"):
        times: Times = {key: ([], []) for key in ("encoder_ms", "traces_ms", "fixed_ms")}
        for neurons in strokes(session, n_visible, stroke, repeats):
            begin, cpu_begin = perf_counter(), process_time()
            hidden = stroked(mask, neurons)
            start, cpu = perf_counter(), process_time()
            encoded = predictor.encode(window, hidden)
            add(times["encoder_ms"], start, cpu)
            predictor.decode(encoded, neurons)
            add(times["traces_ms"], begin, cpu_begin)
            start, cpu = perf_counter(), process_time()
            predictor.decode(predictor.encode(window, hidden), neurons)
            add(times["fixed_ms"], start, cpu)
        found[stroke] = times
    others: Times = {"population_ms": ([], []), "fresh_ms": ([], [])}
    start, cpu = perf_counter(), process_time()
    predictor.decode(encoded)
    add(others["population_ms"], start, cpu)
    for _ in range(min(repeats, N_FRESH)):
        if not isinstance(predictor, TransformerPredictor):
            break
        predictor.clear_caches()
        predictor.prefetch(window, mask)
        start, cpu = perf_counter(), process_time()
        predictor.decode(predictor.encode(window, hidden), neurons)
        add(others["fresh_ms"], start, cpu)
    found["neighbours"] |= {key: times for key, times in others.items() if times[0]}
    return found


def strokes(
    session: "Session", n: int, stroke: str, repeats: int, size: int = N_STROKE
) -> list[np.ndarray]:
    """Return the neurons of each stroke among the first n, int64 (size,)."""
    draw = np.random.default_rng(0)
    if stroke == "field":
        return [draw.choice(n, size, replace=False) for _ in range(repeats)]
    places = session.units.xyz_um[:n]
    centres = places[draw.integers(0, n, repeats)]
    return [np.argsort(((places - centre) ** 2).sum(axis=1))[:size] for centre in centres]


def stroked(mask: "Mask", neurons: np.ndarray) -> "Mask":
    """Return the mask in which neurons are hidden, and targets in the second half."""
    return mask.hide(neurons).ask(neurons, (30, 60))


def add(times: tuple[list[float], list[float]], start: float, cpu: float, n: int = 1) -> None:
    """Append wall and processor time of one of n since a start, in ms."""
    times[0].append(1000 * (perf_counter() - start) / n)
    times[1].append(1000 * (process_time() - cpu) / n)
