"""Compare bits per spike with a folder of values of the Neural Latents Benchmark.

usage: python -m tests.conformance.bps DIR

DIR has the form of the fixtures `bps_nlb`: `arrays.npz` and `cases.json`. Prints one
line per value, and exits non-zero where one differs. What the benchmark refuses must be
refused, and what has no finite value there has none here.
"""

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.metrics.information import bits_per_spike, poisson_nll
from omnimouse_model.metrics.nlb import nlb_scores

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
    return bits_per_spike(rates, spikes).value


def mean_of_neurons(rates: np.ndarray, spikes: np.ndarray) -> tuple[list[Any], float]:
    """Return the value of each neuron, and the mean over those that have one."""
    values = [
        value_of(partial(pooled, rates[..., [k]], spikes[..., [k]]))
        for k in range(spikes.shape[-1])
    ]
    numbers = [v for v in values if v != REFUSED and np.isfinite(v)]
    return values, float(np.mean(numbers)) if numbers else np.nan


def lines(folder: Path) -> Iterator[tuple[str, Any, Any, float]]:
    """Yield name, found and expected value, and tolerance."""
    arrays = dict(np.load(folder / "arrays.npz", allow_pickle=False))
    description = json.loads((folder / "cases.json").read_text("utf-8"))
    for case in description["cases"]:
        name = case["name"]
        rates, spikes = arrays[f"{name}.rates"], arrays[f"{name}.spikes"]
        rtol = RTOL_FLOAT32 if rates.dtype == np.float32 else RTOL
        before = rates.copy()
        for key, function in (("nll", poisson_nll), ("bps", pooled)):
            found = value_of(partial(function, rates, spikes))
            yield f"{name} {key}", found, case[key], rtol
        if case["per_neuron"]:
            values, mean = mean_of_neurons(rates, spikes)
            pairs = zip(values, case["per_neuron"], strict=True)
            for number, (found, expected) in enumerate(pairs):
                yield f"{name} neuron {number}", found, expected, rtol
            yield f"{name} mean", mean, case["mean_finite"], rtol
            n_excluded = sum(v == REFUSED or not np.isfinite(v) for v in values)
            yield f"{name} excluded", n_excluded, case["n_excluded"], 0.0
        is_unchanged = np.array_equal(before, rates, equal_nan=True)
        yield f"{name} rates unchanged", float(is_unchanged), 1.0, 0.0
    if "evaluate" in description:
        yield from _evaluation(arrays, description["evaluate"])


def _evaluation(
    arrays: dict[str, np.ndarray], expected: dict[str, Any]
) -> Iterator[tuple[str, Any, Any, float]]:
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
        yield f"{expected['dataset']} {name}", found.get(name, REFUSED), value, rtol


def main(folder: Path) -> int:
    """Print one line per value; return the number of values that differ."""
    n_wrong = 0
    for name, found, expected, rtol in lines(folder):
        is_right = agrees(found, expected, rtol)
        n_wrong += not is_right
        print(
            f"{'ok  ' if is_right else 'FAIL'} {name:34} {found} (expected {expected})"
        )
    print(f"{n_wrong} values differ" if n_wrong else "all values agree")
    return n_wrong


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.conformance.bps DIR")
    sys.exit(main(Path(sys.argv[1])) > 0)
