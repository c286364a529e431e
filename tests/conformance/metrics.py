"""Compare `omnimouse_model.metrics` with a folder like `fixtures/metrics`.

Usage: python -m tests.conformance.metrics DIR
Prints a line per file with the largest error; exits non-zero where one is out of
tolerance. Files of other metrics than the library's are named as such.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model import metrics
from omnimouse_model.metrics import tuning as angles
from omnimouse_model.metrics import tuning as screen
from tests.conformance.line import Line, run

Arrays = dict[str, np.ndarray]
Case = tuple[str, np.ndarray | float, np.ndarray | float, float]
RTOL = 1e-9
FIT = 1e-4
"""Tolerance of least-squares fits."""
EXACT_MSE = 1e-27
"""Mean squared error of a curve through all points: rounding leaves 1e-31 in the fixtures
and 1.3e-28 in others of the same kind."""
SAMPLING = 0.008
"""Three standard errors of the bits per spike of the simulated spikes: one is 0.0027 over
2000 trials of 200 samples, where the value is 0.0032 off the formula."""


def _compared(values: dict[str, Any], data: Arrays, tolerance: float = RTOL) -> Iterator[Case]:
    """Cases of values that the file names `exp_` and the name."""
    for name, value in values.items():
        yield name, value, data[f"exp_{name}"], tolerance


def single_trial(data: Arrays) -> Iterator[Case]:
    """Both policies, both poolings, repeats, Poisson loss."""
    scores = {}
    mice = sorted(int(key[1:]) for key in data if key[0] == "y" and key[1:].isdigit())
    for policy in ("sensorium", "strict"):
        scores[policy] = [
            metrics.single_trial(data[f"r{k}"], data[f"y{k}"], policy).value for k in mice
        ]
    values = {
        f"corr_{policy}{k}": value
        for policy, both in scores.items()
        for k, value in zip(mice, both, strict=True)
    }
    for name, policy in (("pooled_mean", "sensorium"), ("mean_of_mice", "mice")):
        pooled = metrics.aggregate(scores["sensorium"], policy=policy).value
        values[f"{name}_sensorium"] = pooled
    y, r = data["rep_y"], data["rep_r"]
    values["corr_to_average"] = metrics.correlation_to_average(r, y).value
    flat_r, flat_y = (x.reshape(-1, x.shape[-1]) for x in (r, y))
    values["single_trial_reps"] = metrics.single_trial(flat_r, flat_y).value
    for name, eps in (("eps1e12", 1e-12), ("eps1e8", 1e-8)):
        loss = metrics.poisson_loss(data["pois_r"], data["pois_y"], eps).value
        values[f"poisson_{name}"] = loss
    yield from _compared(values, data)


def _cc_family(
    name: str, prediction: np.ndarray, target: np.ndarray, data: Arrays
) -> Iterator[Case]:
    paper = metrics.cc_scores(prediction, target)
    fnn = metrics.cc_scores(prediction, target, ddof="fnn")
    values = {
        "cc_abs": paper.cc_abs,
        "n_eff": paper.n_effective,
        "TP": paper.total_power,
        "P": paper.mean_power,
        "SP": paper.signal_power,
        "cc_max_paper": paper.cc_max,
        "cc_max_fnn": fnn.cc_max,
        "cc_norm_paper": paper.cc_norm,
        "cc_norm_fnn": fnn.cc_norm,
    }
    yield from _compared({name + key: value for key, value in values.items()}, data)


def cc(data: Arrays) -> Iterator[Case]:
    """CC_abs, CC_max, CC_norm: equal, unequal, single repeats; clips; analytic."""
    yield from _cc_family("", data["r"], data["y"], data)
    yield from _cc_family("uneq_", data["r_uneq"], data["y_uneq"], data)
    burn_in = int(data["clips_burnin"])
    r, y = (metrics.stack_clips(data[f"clips_{k}"], burn_in) for k in "ry")
    yield from _cc_family("clips_", r, y, data)
    median = float(np.nanmedian(metrics.cc_scores(r, y).cc_norm))
    yield from _compared({"clips_median_cc_norm_paper": median}, data)
    units = len(data["exp_single_repeat_cc_max"])
    single = metrics.cc_scores(data["r"][:units, :1], data["y"][:units, :1])
    values = {"cc_max": single.cc_max, "cc_abs": single.cc_abs}
    yield from _compared({f"single_repeat_{k}": v for k, v in values.items()}, data)
    if "ana_y" not in data:  # a small copy
        return
    target = data["ana_y"]
    perfect = np.broadcast_to(data["ana_r"], target.shape)
    analytic = metrics.cc_scores(perfect, target)
    values = {"ana_cc_max": analytic.cc_max, "ana_cc_norm": analytic.cc_norm}
    yield from _compared(values, data)
    limit = float(data["ana_atol"])
    ceiling = np.broadcast_to(data["ana_ccmax"], analytic.cc_max.shape)
    yield "ana_cc_max_formula", analytic.cc_max, ceiling, limit
    yield "ana_cc_norm_formula", analytic.cc_norm, np.ones(len(target)), limit


def bps(data: Arrays) -> Iterator[Case]:
    """Bits per spike: pooled, per neuron, null, factor-50 trap, analytic."""
    rates, spikes = data["rates"], data["spikes"]
    each = metrics.bits_per_spike_per_neuron(rates, spikes).value
    mean_rate = np.nanmean(spikes.reshape(-1, spikes.shape[-1]), axis=0)
    simulated = metrics.bits_per_spike(data["ana_sim_rates"], data["ana_sim_spikes"])
    values = {
        "bps_pooled": metrics.bits_per_spike(rates, spikes).value,
        "bps_per_neuron": each,
        "bps_mean_excl": float(np.nanmean(each)),
        "n_excluded": float(np.isnan(each).sum()),
        "bps_null": metrics.bits_per_spike(mean_rate, spikes).value,
        "bps_rates_in_hz_trap": metrics.bits_per_spike(rates * 50, spikes).value,
        "ana_sim_bps": simulated.value,
    }
    yield from _compared(values, data)
    gap = abs(simulated.value - float(data["ana_two_state_bps"]))
    yield "ana_two_state_bps_beyond_sampling", max(gap - SAMPLING, 0.0), 0.0, RTOL


def misc(data: Arrays) -> Iterator[Case]:
    """Behaviour and its groups, curves of scaling, factor ceiling, barcodes."""
    names = [str(name) for name in data["behav_order"]]
    names = ["pupil_dsize" if name == "d_pupil_size" else name for name in names]
    values = metrics.single_trial(data["behav_p"], data["behav_y"], "strict").value
    groups = metrics.behavior_groups(dict(zip(names, values, strict=True)))
    exact = {
        "behav_corr": values,
        "behav_groups": np.array([groups[k] for k in ("location", "size", "running")]),
        "behav_avg": groups["average"],
        "factor_ceiling": factor_ceiling(data["factor_n"].astype(float)),
        "barcode_angle": angles.angular_distance(data["barcode_a"], data["barcode_b"]),
    }
    yield from _compared(exact, data)
    gap = np.abs(_paper_averages(data["paper_groups"]) - data["paper_avg"])
    yield "paper_avg_beyond_rounding", np.maximum(gap - 0.005, 0), np.zeros_like(gap), RTOL
    law = metrics.fit_power_law(data["pl_x"], data["pl_y"])
    sizes = np.repeat(data["pl_x"], data["pl_noisy"].shape[1])
    noisy = metrics.fit_power_law(sizes, data["pl_noisy"].ravel())
    truth = metrics.fit_power_law(data["pl_x"], data["pl_y"])(sizes)
    rss = float(((truth - data["pl_noisy"].ravel()) ** 2).sum())
    yield "power_law_noisy_rss_excess", max(noisy.rss - rss, 0.0), 0.0, RTOL
    line = metrics.fit_log_line(data["log_x"], data["log_y"])
    fitted = {
        "pl": np.array([law.amplitude, law.exponent, law.limit]),
        "log_slope_intercept": np.array([line.slope, line.intercept]),
        "log_extrapolated": line(float(data["pl_x"][-1])),
    }
    yield from _compared(fitted, data, FIT)


def _paper_averages(groups: np.ndarray) -> np.ndarray:
    """Averages of the paper's columns: pupil location, pupil size, running."""
    found = []
    for location, size, running in groups:
        pairs = {"pupil_x": location, "pupil_y": location, "running": running}
        pairs |= {"pupil_size": size, "pupil_dsize": size}
        found.append(metrics.behavior_groups(pairs)["average"])
    return np.array(found)


def factor_ceiling(n: np.ndarray) -> np.ndarray:
    """Best correlation given n neurons that share a factor: variances 1 and 4."""
    known = n / 4
    share = np.where(np.isinf(n), 1.0, known / np.where(np.isinf(n), 1, 1 + known))
    return np.sqrt(0.2 * share)


def oracle(data: Arrays) -> Iterator[Case]:
    """Reliability over repeats, and the explainable variance explained."""
    y = data["y"]
    explainable = metrics.explainable_variance(data["p"], y)
    values = {
        "conservative": metrics.conservative_reliability(y).value,
        "jackknife": metrics.jackknife_reliability(y).value,
        "fev": explainable.fev,
        "feve": explainable.feve,
    }
    yield from _compared(values, data)


def zig(data: Arrays) -> Iterator[Case]:
    """Zero-inflated gamma: log likelihood, mean, variance."""
    rho = float(data["rho"])
    parameters = (data["theta"], data["k"], data["q"], rho)
    values = {
        "loglik": metrics.zig_log_likelihood(data["y"], *parameters).value,
        "mean": metrics.zig_mean(*parameters),
        "var": metrics.zig_variance(*parameters),
    }
    yield from _compared(values, data)


def tuning(data: Arrays) -> Iterator[Case]:
    """Selectivity, von Mises fits with and without noise, distances of angles."""
    theta = data["theta"]
    yield from _indices("", data["resp"], theta, data, ("osi", "dsi"))
    direction = data["exp_pref_dir"]
    values = {
        f"pref_ori_{convention}": angles.preferred_orientation(direction, convention)
        for convention in ("paper", "properties")
    }
    yield from _compared(values, data)
    fits = [angles.fit_von_mises(row, theta) for row in data["resp"]]
    yield from _fitted("fit_noisefree", fits, data["resp"], theta, data["exp_fit_noisefree"])
    at, mean = angles.event_means(data["event_resp"], data["event_theta"])
    yield from _compared({"event_mean": mean}, data)
    yield from _indices("event_", mean, at, data, ("osi", "dsi"))
    fits = [angles.fit_von_mises(row, at) for row in mean]
    expected = data["exp_event_fit"]
    yield from _fitted("event_fit", fits, mean, at, expected)
    # Distances to the truth are those of the given fit: a better one has others.
    given, truth = expected[:, 0], data["true_mu"][: len(fits)]
    values = {
        "event_delta_dir": angles.direction_distance(given, truth),
        "event_delta_ori": angles.orientation_distance(given, truth),
    }
    yield from _compared(values, data)
    yield from _indices("cos_ori_", data["cos_ori_resp"], theta, data, ("osi",))
    yield from _indices("cos_dir_", data["cos_dir_resp"], theta, data, ("dsi",))
    yield from _indices("bessel_", data["bessel_resp"], theta, data, ("dsi", "osi"))
    yield from _indices("zero_", data["zero_resp"], theta, data, ("osi",))
    first, second = data["ang_pairs"].T
    values = {
        "ang_dir": angles.direction_distance(first, second),
        "ang_ori": angles.orientation_distance(first, second),
    }
    yield from _compared(values, data)


def _indices(
    prefix: str, response: np.ndarray, theta: np.ndarray, data: Arrays, names: tuple[str, ...]
) -> Iterator[Case]:
    for name in names:
        harmonic = 2 if name == "osi" else 1
        value = angles.selectivity_index(response, theta, harmonic).value
        yield f"{prefix}{name}", value, data[f"exp_{prefix}{name}"], RTOL


def _fitted(
    name: str,
    fits: list[angles.VonMises],
    response: np.ndarray,
    theta: np.ndarray,
    expected: np.ndarray,
) -> Iterator[Case]:
    """Compare the parameters of fits, or accept a curve that is at least as close."""
    # Of the curve itself: the error that a wrong fit reports may be small.
    error = np.array([fit(theta) for fit in fits]) - response
    mse = np.mean(error**2, axis=1, where=np.isfinite(response))
    is_as_good = mse <= expected[:, 5] * (1 + 1e-6) + EXACT_MSE  # not if NaN
    own = np.array([[f.mu, f.kappa, f.phi, f.amplitude, f.base] for f in fits])
    # Directions just below and above 0 are neighbours.
    own[:, 0] = expected[:, 0] + np.angle(np.exp(1j * (own[:, 0] - expected[:, 0])))
    yield name, own[~is_as_good], expected[~is_as_good, :5], FIT
    yield f"{name}_mse", np.array([fit.mse for fit in fits]), mse, RTOL


def spatial(data: Arrays) -> Iterator[Case]:
    """Averages of dots, their selectivity and centres, uniform and Gaussian cases."""
    height, width = (int(side) for side in data["image_hw"])
    masks = screen.dot_masks(data["grid_centres"], float(data["dot_sd"]), height, width)
    for kind in ("density", "paper"):
        found = screen.dot_average(masks, data["event_index"], data["resp"], kind)
        ssi = screen.spatial_selectivity(found).value
        values = {f"sta_{kind}": found, f"ssi_{kind}": ssi}
        if kind == "paper":
            values["centroid_paper"] = screen.centroids(found)
        yield from _compared(values, data)
        centres = np.array([screen.fit_gaussian(one).centre for one in found])
        yield from _compared({f"fit_centre_{kind}": centres}, data, FIT)
    uniform = screen.spatial_selectivity(np.ones((1, height, width))).value[0]
    gauss = screen.spatial_selectivity(data["gauss_sta"][None]).value[0]
    values = {"uniform_ssi": uniform, "uniform_ssi_formula": uniform}
    yield from _compared(values | {"gauss_ssi": gauss}, data)
    # Pixels of a tenth of the Gaussian's width sum as the integral does: what is left,
    # 1.5e-10, is the rounding to float32 of the stored Gaussian.
    yield "gauss_ssi_formula", gauss, data["ana_gauss_ssi"], RTOL


def geometry(data: Arrays) -> Iterator[Case]:
    """Rotations of the eye, and where its rays meet the monitor."""
    turns = np.array([screen.rotation(angle) for angle in data["eye_angles"]])
    rays = screen.ray(data["polar"], data["azimuth"])
    hits = [
        screen.monitor_hit(own @ turn.T, centre, angle)
        for own, turn, centre, angle in zip(
            rays, turns, data["monitor_centre"], data["monitor_angles"], strict=True
        )
    ]
    yield from _compared({"eye_rotation": turns, "monitor_xy": np.array(hits)}, data)


COVERED: dict[str, Callable[[Arrays], Iterator[Case]]] = {
    "single_trial": single_trial,
    "cc": cc,
    "bps": bps,
    "misc": misc,
    "oracle": oracle,
    "zig": zig,
    "tuning": tuning,
    "spatial": spatial,
    "geometry": geometry,
}


def lines(folder: Path) -> Iterator[Line]:
    """Yield the errors of every file of a folder."""
    for path in sorted(folder.glob("*.npz")):
        line = Line(path.stem)
        if path.stem in COVERED:
            with np.load(path, allow_pickle=False) as archive:
                data = {key: archive[key] for key in archive.files}
            for name, found, expected, tolerance in COVERED[path.stem](data):
                # Values below 0.001 are compared in absolute terms.
                line.add(name, found, expected, 1e-3 * tolerance + 1e-15, tolerance)
        else:
            line.name += " (not covered: the library has no such metric)"
        yield line


if __name__ == "__main__":
    run(lines)
