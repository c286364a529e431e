"""Compare bits per spike with a folder of values of the Neural Latents Benchmark.

usage: python -m tests.conformance.bps DIR

DIR has the form of the fixtures `bps_nlb`: `arrays.npz` and `cases.json`. Prints one
line per case, and exits non-zero where one differs. What the benchmark refuses must be
refused, and what has no finite value there has none here.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.metrics.information import bits_per_spike, nlb_scores, poisson_nll
from tests.conformance.line import Line, run

RTOL, RTOL_FLOAT32, RTOL_VELOCITY = 1e-9, 1e-5, 1e-6
ATOL = 1e-12
"""Of values that are 0."""
REFUSED = "refused"


def value_of(compute: Callable[[], float]) -> float | str:
    """Return a value, or that it is refused."""
    try:
        return float(compute())
    except ValueError:
        return REFUSED


def agrees(found: float | str, expected: Any, rtol: float) -> bool:
    """Return whether a value is the expected one; not finite means no number."""
    if isinstance(expected, str):
        # 'nan', 'inf' and '-inf' are no numbers; all others are exceptions.
        if expected.strip("-") in ("nan", "inf"):
            return found == REFUSED or not np.isfinite(found)
        return found == REFUSED
    if expected is None:
        return found == REFUSED or not np.isfinite(found)
    return found != REFUSED and bool(np.isclose(found, expected, rtol=rtol, atol=ATOL))


def pooled(rates: np.ndarray, spikes: np.ndarray) -> float:
    """Return the value of all neurons together."""
    # The library's rates may lack axes, such as a mean rate; the benchmark's may not.
    if rates.shape != spikes.shape:
        raise ValueError(f"Rates {rates.shape} and spikes {spikes.shape} differ.")
    return bits_per_spike(rates, spikes).value


def mean_of_neurons(rates: np.ndarray, spikes: np.ndarray) -> tuple[list[Any], float]:
    """Return the value of each neuron, and the mean over those that have one."""
    values = [
        value_of(partial(pooled, rates[..., [k]], spikes[..., [k]]))
        for k in range(spikes.shape[-1])
    ]
    numbers = [v for v in values if v != REFUSED and np.isfinite(v)]
    return values, float(np.mean(numbers)) if numbers else np.nan


def _add(line: Line, key: str, found: Any, expected: Any, rtol: float) -> None:
    if agrees(found, expected, rtol):
        line.ratios[key] = 0.0
    else:
        line.faults.append(f"{key}: {found} (expected {expected})")


def case_line(arrays: dict[str, np.ndarray], case: dict[str, Any]) -> Line:
    """Return the errors of the values of one case."""
    line = Line(case["name"])
    rates, spikes = (arrays[f"{line.name}.{part}"] for part in ("rates", "spikes"))
    rtol = RTOL_FLOAT32 if rates.dtype == np.float32 else RTOL
    before = rates.copy()
    for key, function in (("nll", poisson_nll), ("bps", pooled)):
        _add(line, key, value_of(partial(function, rates, spikes)), case[key], rtol)
    if case["per_neuron"]:
        values, mean = mean_of_neurons(rates, spikes)
        pairs = zip(values, case["per_neuron"], strict=True)
        for number, (found, expected) in enumerate(pairs):
            _add(line, f"neuron {number}", found, expected, rtol)
        _add(line, "mean", mean, case["mean_finite"], rtol)
        n_excluded = sum(v == REFUSED or not np.isfinite(v) for v in values)
        _add(line, "excluded", n_excluded, case["n_excluded"], 0.0)
    if not np.array_equal(before, rates, equal_nan=True):
        line.faults.append("the rates were changed")
    return line


def evaluation_line(arrays: dict[str, np.ndarray], expected: dict[str, Any]) -> Line:
    """Return the errors of the scores of a submission."""
    line = Line(expected["dataset"])
    target, submission = (
        {
            name.removeprefix(prefix): value
            for name, value in arrays.items()
            if name.startswith(prefix)
        }
        for prefix in ("evaluate.target.", "evaluate.submission.")
    )
    found = nlb_scores(target, submission, target.get("eval_cond_of_trial"))
    for name, value in expected["result"].items():
        rtol = RTOL_VELOCITY if name == "vel R2" else RTOL
        _add(line, name, found.get(name, REFUSED), value, rtol)
    return line


def lines(folder: Path) -> Iterator[Line]:
    """Yield the errors of all cases of a folder."""
    arrays = dict(np.load(folder / "arrays.npz", allow_pickle=False))
    description = json.loads((folder / "cases.json").read_text("utf-8"))
    for case in description["cases"]:
        yield case_line(arrays, case)
    if "evaluate" in description:
        yield evaluation_line(arrays, description["evaluate"])


if __name__ == "__main__":
    run(lines)
