"""`omnimouse bench linear-gaussian`: fit and new masks in a large recording."""

import subprocess
import sys
from statistics import median
from typing import Any

import click

from omnimouse_model.storage.trees import decode_json
from tests.bench.benchmark import PEAK_MIB, Row, benchmark

LIMITS = {"fit": 180.0, "memory": 4096.0, "half": 150.0, "different": 1000.0}
"""Fit in s, memory in MiB, and new masks in ms: with few visibility patterns, and with
another one for every neuron."""
# In a new process, so that the peak of the memory is that of the fit. Responses are a
# sum of 20 slow shared processes and noise; the values do not affect the time.
_MEASURE = (
    PEAK_MIB
    + """
import json, time
import numpy as np
import omnimouse_model as om
from omnimouse_model.families.parts.linear_gaussian.predictor import LinearGaussian
n, minutes, n_masks = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(0)
# Four fifths of the time are the train tier.
count = int(minutes * 60 * 30 / 0.8)
slow = np.repeat(rng.standard_normal((count // 30 + 1, 20)), 30, axis=0)[:count]
loadings = rng.standard_normal((20, n)).astype(np.float32)
responses = np.empty((count, n), np.float32)
for first in range(0, count, 1000):
    rows = slice(first, first + 1000)
    noise = rng.standard_normal((len(slow[rows]), n), dtype=np.float32)
    responses[rows] = np.exp(0.2 * (slow[rows].astype(np.float32) @ loadings) + noise)
session = om.open_session({"responses": responses, "rate_hz": 30.0})
predictor = LinearGaussian()
window = session.window(float(session.window_starts("test")[0]))
before, start = peak_mib(), time.perf_counter()
predictor.fit_all(session)
fit = time.perf_counter() - start
masks = {"half": [], "different": []}
for _ in range(n_masks):
    order = rng.permutation(n)
    half = om.Mask.nothing(session).show(order[: n // 2]).ask(order[n // 2 :], (30, 60))
    masks["half"].append(half)
    cells = rng.integers(0, 3, (60, n)).astype(np.uint8)
    masks["different"].append(half.with_cells(cells))
times = {"fit": fit, "memory": peak_mib() - before}
for name, listed in masks.items():
    times[name] = []
    for mask in listed:
        start = time.perf_counter()
        predictor.predict(window, mask)
        times[name].append(1000 * (time.perf_counter() - start))
print(json.dumps(times))
"""
)


@benchmark(
    "linear-gaussian",
    title="Linear-Gaussian baseline, {neurons:,} neurons, {minutes:g} minutes",
    columns=("name", "value", "unit", "limit", "is_within"),
)
@click.option("--neurons", type=click.IntRange(min=2), default=10_000)
@click.option("--minutes", type=float, default=12.0, help="Minutes of the train tier.")
@click.option("--masks", type=click.IntRange(min=2), default=5, show_default=True)
def command(neurons: int, minutes: float, masks: int) -> list[Row]:
    """Time the fit without video and behaviour, and predictions under new masks."""
    arguments = [str(value) for value in (neurons, minutes, masks)]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise click.ClickException(done.stderr.strip().splitlines()[-1])
    measured: dict[str, Any] = decode_json(done.stdout, "the measurement")
    units = {"fit": "s", "memory": "MiB", "half": "ms", "different": "ms"}
    rows: list[Row] = []
    for name, value in measured.items():
        # The first mask includes the warm-up of the process.
        number = median(value[1:]) if isinstance(value, list) else float(value)
        rows.append(
            {
                "name": name,
                "value": number,
                "unit": units[name],
                "limit": LIMITS[name],
                "is_within": number <= LIMITS[name],
                "neurons": neurons,
                "minutes": minutes,
            }
        )
    return rows
