"""`omnimouse bench sweep`: the live sweep compared with separate predictions."""

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.inputs import device_option, named_session
from tests.bench.benchmark import Row, benchmark, row

if TYPE_CHECKING:
    from omnimouse_model.analysis.sweep.contexts import Context
    from omnimouse_model.data.session import Session
    from omnimouse_model.families.omnimouse.predictor import TransformerPredictor

CPU_SLACK = 1.05
"""On a CPU, the computed limit of the ratio live / cold is multiplied by this."""
GPU_RATIO = 1 / 3
"""Limit of the ratio live / cold on a GPU."""
VIDEO_REPEATS = 5


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds for one window: CPU time, or elapsed time on a GPU.

    CPU time measures the work, also on a machine with other load.

    Attributes
    ----------
    cold
        Every context predicted separately, each from a window that was not read
        before, and with a predictor without cached values.
    live
        The live sweep over the same contexts, also from cold.
    read
        Reading a window's responses and behaviour.
    video
        Reading a window's frames, and encoding them.
    """

    cold: float
    live: float
    read: float
    video: float


@benchmark(
    "sweep",
    title="The live sweep, and its contexts one by one from a cold start",
    columns=("name", "median", "p99", "n", "unit", "bound", "neurons", "contexts"),
)
@click.option(
    "--model", default="demo-plain", show_default=True, help="A transformer without a context part."
)
@click.option("--session", default="demo", show_default=True)
@click.option("--windows", default=8, show_default=True, help="Windows timed.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@device_option
def command(model: str, session: str, windows: int, threads: int | None, device: str) -> list[Row]:
    """Time the live sweep, and the same contexts one by one from a cold start.

    `sweep_cost_ratio` is live ÷ cold. On a CPU its bound is the share of the cold cost
    without the repeated work, times 1.05; on a GPU it is a third. The repeated work,
    reading a window and encoding its video, is timed separately.
    """
    # Otherwise threads that spin while they wait would count as CPU time.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    from omnimouse_model.families.omnimouse.predictor import TransformerPredictor
    from omnimouse_model.inference.registry import load_predictor

    if threads:
        torch.set_num_threads(threads)
    predictor = load_predictor(model, device=device)
    if not isinstance(predictor, TransformerPredictor):
        raise click.UsageError(f"{model!r} is no transformer alone: choose demo-plain.")
    recording = named_session(session)
    predictor.prepare(recording)
    return rows(measure(predictor, recording, windows), predictor, recording)


def measure(predictor: "TransformerPredictor", session: "Session", n_windows: int) -> list[Times]:
    """Time windows spread over the test tier, after one warm-up window."""
    from omnimouse_model.evaluation.tier_windows import scored_starts

    starts = scored_starts(session, "test", n_windows)
    times = [_time_window(predictor, session, float(start)) for start in (starts[0], *starts)]
    # The first window is read and predicted twice; its first time includes the warm-up.
    return times[1:]


def rows(times: list[Times], predictor: "TransformerPredictor", session: "Session") -> list[Row]:
    """Return the ratio and its bound, medians over windows, and the raw times."""
    import numpy as np

    contexts = _contexts(session)
    n_video = sum(context.video for context in contexts)
    values = {f.name: np.array([getattr(t, f.name) for t in times]) for f in fields(Times)}
    ratio = values["live"] / values["cold"]
    # Work that separate predictions repeat: reading for every context, encoding for
    # every context with video.
    repeated = (len(contexts) - 1) * values["read"] + (n_video - 1) * values["video"]
    necessary = (values["cold"] - repeated) / values["cold"]
    is_cpu = predictor.device.type == "cpu"
    bound = float(np.median(necessary)) * CPU_SLACK if is_cpu else GPU_RATIO
    about: Row = {
        "device": predictor.device.type,
        "clock": "cpu" if is_cpu else "wall",
        "neurons": session.n_neurons,
        "contexts": len(contexts),
    }
    names = {
        "cold": "sweep_cold_ms",
        "live": "sweep_live_ms",
        "read": "window_read_ms",
        "video": "window_video_ms",
    }
    is_within = bool(np.median(ratio) <= bound)
    return [
        row("sweep_cost_ratio", ratio, "live / cold", **about)
        | {"bound": bound, "is_within": is_within},
        *(row(name, values[key], "ms", **about) for key, name in names.items()),
    ]


def _time_window(predictor: "TransformerPredictor", session: "Session", start_s: float) -> Times:
    """Time both methods in turn, context by context, as the load may vary."""
    import numpy as np

    from omnimouse_model.analysis.sweep.contexts import context_mask
    from omnimouse_model.analysis.sweep.live_sweep import live_draw, live_sweep
    from omnimouse_model.live.first_view import active_neurons

    # The neurons that a new window of the app selects at first.
    selected = np.array(active_neurons(session.window(start_s)), np.int64)
    draw = live_draw(session, selected)
    live = live_sweep(_without_cache(predictor), session.window(start_s), selected)

    def predict(context: "Context") -> None:
        window, mask = session.window(start_s), context_mask(context, draw)
        _without_cache(predictor).predict(window, mask, selected)

    def read() -> None:
        window = session.window(start_s)
        _ = window.responses, window.behavior, window.timestamps

    cold_ms = live_ms = 0.0
    video_ms: list[float] = []
    clock = process_time if predictor.device.type == "cpu" else perf_counter
    for number, context in enumerate(_contexts(session)):
        if number % 2:  # the order alternates, as the first one warms the CPU caches
            live_ms += _ms(partial(next, live), clock)
        cold_ms += _ms(partial(predict, context), clock)
        if number % 2 == 0:
            live_ms += _ms(partial(next, live), clock)
        if number < VIDEO_REPEATS:
            encode = partial(_encode_video, predictor, session, start_s)
            video_ms.append(_ms(encode, clock))
    return Times(cold_ms, live_ms, _ms(read, clock), median(video_ms))


def _contexts(session: "Session") -> "tuple[Context, ...]":
    from omnimouse_model.analysis.sweep.live_sweep import live_plan
    from omnimouse_model.live.first_view import N_SELECTED_AT_FIRST

    return live_plan(session.n_neurons, N_SELECTED_AT_FIRST).contexts


def _without_cache(predictor: "TransformerPredictor") -> "TransformerPredictor":
    """Return a predictor with the same net and an empty cache."""
    # A cached value would hide the work that is compared.
    kind = type(predictor)
    return kind(predictor.net, predictor.name, predictor.weights_hash)


def _encode_video(predictor: "TransformerPredictor", session: "Session", start_s: float) -> None:
    """Read and encode all frames of a window, as the predictor does."""
    import torch

    from omnimouse_model.families.omnimouse.tokens import layout_from_mask
    from omnimouse_model.masks import Mask

    layout = layout_from_mask(Mask.nothing(session).with_frames(True))
    video = torch.from_numpy(session.window(start_s).video)[None, None]
    on_gpu = predictor.device.type == "cuda"
    with (
        torch.inference_mode(),
        torch.autocast(predictor.device.type, torch.bfloat16, enabled=on_gpu),
    ):
        predictor.net.encode_video(video.to(predictor.device), layout.to(predictor.device))
    if on_gpu:
        # CUDA calls return before their work is done.
        torch.cuda.synchronize()


def _ms(work: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return (clock() - start) * 1e3
