"""Compare `omnimouse_model.metrics` with a folder like `fixtures/metrics`.

Usage: python -m tests.conformance.metrics DIR
Prints a line per case with the largest error; exits non-zero where one is out of
tolerance. Files whose metrics the library does not have yet are named as such.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from omnimouse_model import metrics

Arrays = dict[str, np.ndarray]
Case = tuple[str, np.ndarray | float, np.ndarray | float, float]
RTOL = 1e-9


def single_trial(data: Arrays) -> Iterator[Case]:
    """Both policies, both poolings, repeats, Poisson loss."""
    scores = {}
    for policy in ("sensorium", "strict"):
        scores[policy] = [
            metrics.single_trial(data[f"r{k}"], data[f"y{k}"], policy)[0] for k in "01"
        ]
        for k, value in enumerate(scores[policy]):
            yield f"corr_{policy}{k}", value, data[f"exp_corr_{policy}{k}"], RTOL
    pooled = metrics.pooled_score(scores["sensorium"])
    mice = metrics.mean_of_mice(scores["sensorium"])
    yield "pooled_mean", pooled, data["exp_pooled_mean_sensorium"], RTOL
    yield "mean_of_mice", mice, data["exp_mean_of_mice_sensorium"], RTOL
    y, r = data["rep_y"], data["rep_r"]
    average = metrics.correlation_to_average(r, y)
    yield "corr_to_average", average, data["exp_corr_to_average"], RTOL
    flat_r, flat_y = (x.reshape(-1, x.shape[-1]) for x in (r, y))
    single = metrics.single_trial(flat_r, flat_y)[0]
    yield "single_trial_reps", single, data["exp_single_trial_reps"], RTOL
    for name, eps in (("eps1e12", 1e-12), ("eps1e8", 1e-8)):
        loss = metrics.poisson_loss(data["pois_r"], data["pois_y"], eps)
        yield f"poisson_{name}", loss, data[f"exp_poisson_{name}"], RTOL


def _cc_family(
    name: str, prediction: np.ndarray, target: np.ndarray, data: Arrays
) -> Iterator[Case]:
    paper = metrics.cc_scores(prediction, target)
    fnn = metrics.cc_scores(prediction, target, ddof="fnn")
    for key, value in {
        "cc_abs": paper.cc_abs,
        "n_eff": paper.n_effective,
        "TP": paper.total_power,
        "P": paper.mean_power,
        "SP": paper.signal_power,
        "cc_max_paper": paper.cc_max,
        "cc_max_fnn": fnn.cc_max,
        "cc_norm_paper": paper.cc_norm,
        "cc_norm_fnn": fnn.cc_norm,
    }.items():
        yield f"{name}{key}", value, data[f"exp_{name}{key}"], RTOL


def cc(data: Arrays) -> Iterator[Case]:
    """CC_abs, CC_max, CC_norm: equal, unequal, single repeats; clips; analytic."""
    yield from _cc_family("", data["r"], data["y"], data)
    yield from _cc_family("uneq_", data["r_uneq"], data["y_uneq"], data)
    burn_in = int(data["clips_burnin"])
    r, y = (metrics.stack_clips(data[f"clips_{k}"], burn_in) for k in "ry")
    yield from _cc_family("clips_", r, y, data)
    median = float(np.nanmedian(metrics.cc_scores(r, y).cc_norm))
    yield (
        "clips_median_cc_norm_paper",
        median,
        data["exp_clips_median_cc_norm_paper"],
        RTOL,
    )
    units = len(data["exp_single_repeat_cc_max"])
    single = metrics.cc_scores(data["r"][:units, :1], data["y"][:units, :1])
    for key in ("cc_max", "cc_abs"):
        expected = data[f"exp_single_repeat_{key}"]
        yield f"single_repeat_{key}", getattr(single, key), expected, RTOL
    target = data["ana_y"]
    perfect = np.broadcast_to(data["ana_r"], target.shape)
    analytic = metrics.cc_scores(perfect, target)
    yield "ana_cc_max", analytic.cc_max, data["exp_ana_cc_max"], RTOL
    yield "ana_cc_norm", analytic.cc_norm, data["exp_ana_cc_norm"], RTOL
    limit = float(data["ana_atol"])
    yield "ana_cc_max_formula", analytic.cc_max, data["ana_ccmax"], limit
    yield "ana_cc_norm_formula", analytic.cc_norm, np.ones(1), limit


def bps(data: Arrays) -> Iterator[Case]:
    """Bits per spike: pooled, per neuron, null, factor-50 trap, analytic."""
    rates, spikes = data["rates"], data["spikes"]
    each = metrics.bits_per_spike_per_neuron(rates, spikes)
    mean_rate = np.nanmean(spikes.reshape(-1, spikes.shape[-1]), axis=0)
    null = metrics.bits_per_spike(mean_rate, spikes)
    pooled = metrics.bits_per_spike(rates, spikes)
    trap = metrics.bits_per_spike(rates * 50, spikes)
    yield "bps_pooled", pooled, data["exp_bps_pooled"], RTOL
    yield "bps_per_neuron", each, data["exp_bps_per_neuron"], RTOL
    yield "bps_mean_excl", float(np.nanmean(each)), data["exp_bps_mean_excl"], RTOL
    yield "n_excluded", float(np.isnan(each).sum()), data["exp_n_excluded"], RTOL
    yield "bps_null", null, data["exp_bps_null"], RTOL
    yield "bps_rates_in_hz_trap", trap, data["exp_bps_rates_in_hz_trap"], RTOL
    simulated = metrics.bits_per_spike(data["ana_sim_rates"], data["ana_sim_spikes"])
    yield "ana_sim_bps", simulated, data["exp_ana_sim_bps"], RTOL
    yield "ana_two_state_bps", simulated, data["ana_two_state_bps"], 0.06


def misc(data: Arrays) -> Iterator[Case]:
    """Behaviour correlations and their groups; the paper's averages."""
    names = [str(name) for name in data["behav_order"]]
    names = ["pupil_dsize" if name == "d_pupil_size" else name for name in names]
    values = metrics.single_trial(data["behav_p"], data["behav_y"], "strict")[0]
    yield "behav_corr", values, data["exp_behav_corr"], RTOL
    groups = metrics.behavior_groups(dict(zip(names, values, strict=True)))
    found = np.array([groups[k] for k in ("location", "size", "running")])
    yield "behav_groups", found, data["exp_behav_groups"], RTOL
    yield "behav_avg", groups["average"], data["exp_behav_avg"], RTOL


def oracle(data: Arrays) -> Iterator[Case]:
    """Reliability over repeats, and the explainable variance explained."""
    y = data["y"]
    feve = metrics.explainable_variance(data["p"], y)
    found = {
        "conservative": metrics.conservative_reliability(y),
        "jackknife": metrics.jackknife_reliability(y),
        "fev": feve[0],
        "feve": feve[1],
    }
    for name, value in found.items():
        yield name, value, data[f"exp_{name}"], RTOL


COVERED: dict[str, Callable[[Arrays], Iterator[Case]]] = {
    "single_trial": single_trial,
    "cc": cc,
    "bps": bps,
    "misc": misc,
    "oracle": oracle,
}
PARTLY = {
    "misc": "power-law and log-linear fits, factor-model ceiling, barcode angle",
}


def _error(found: np.ndarray | float, expected: np.ndarray | float) -> float:
    """Largest relative error; infinite where only one side is NaN."""
    found, expected = np.broadcast_arrays(
        np.asarray(found, np.float64), np.asarray(expected, np.float64)
    )
    missing = np.isnan(expected)
    if (missing != np.isnan(found)).any():
        return float("inf")
    gap = np.abs(found - expected)[~missing]
    # Below one the error is absolute-like, so that an expected 0 can be met.
    scale = np.maximum(np.abs(expected)[~missing], 1e-3)
    return float((gap / scale).max(initial=0.0))


def check_file(path: Path) -> bool:
    """Print the cases of one file; True when all are within tolerance."""
    with np.load(path, allow_pickle=False) as archive:
        data = {key: archive[key] for key in archive.files}
    good = True
    for name, found, expected, tolerance in COVERED[path.stem](data):
        error = _error(found, expected)
        passed = error <= tolerance
        good &= passed
        word = "ok  " if passed else "FAIL"
        print(f"{word} {path.stem:13s} {name:28s} max error {error:.2e}")
    return good


def main(folder: Path) -> int:
    """Check every file of a folder."""
    files = sorted(folder.glob("*.npz"))
    covered = [path for path in files if path.stem in COVERED]
    if not covered:
        print(f"No metric fixtures in {folder}; expected {', '.join(COVERED)}.npz.")
        return 2
    results = [check_file(path) for path in covered]
    for path in files:
        if path.stem not in COVERED:
            print(f"--   {path.stem:13s} not covered: the library has no such metric")
        elif path.stem in PARTLY:
            print(f"--   {path.stem:13s} partly covered; not: {PARTLY[path.stem]}")
    return 0 if all(results) else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.conformance.metrics DIR")
    sys.exit(main(Path(sys.argv[1])))
