"""Compare experiments on a model with a folder of values of the public analysis code.

usage: python -m tests.conformance.insilico DIR

DIR has the form of the fixtures `insilico`; the network of the most exciting inputs is
that of `twin_parity` beside it, or of the folder of that name in the tests. Prints one
line per part with its largest error in units of its tolerance, and exits non-zero where
a part is out of tolerance.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from omnimouse_model.data.resampling import (
    Filter,
    flip_index,
    missing_samples,
    n_samples,
    resample,
    standardise,
)
from omnimouse_model.families.twin.network import TwinNetwork
from omnimouse_model.lab.exciting_search import (
    ExcitingSettings,
    ExcitingStimulus,
    blur,
    exciting_loss,
    gaussian_kernel,
    search_exciting,
)
from omnimouse_model.lab.stimuli.stimulus import responses_by_value
from omnimouse_model.metrics.repeats import cc_scores, join_trials
from omnimouse_model.metrics.tuning import (
    VonMises,
    area_average,
    dot_average,
    fit_von_mises,
    selectivity_index,
    spatial_selectivity,
)
from tests import FIXTURES
from tests.conformance.line import Line, run
from tests.conformance.twin import Reference

EXACT, TRACE = 1e-9, 1e-6
SPATIAL, MU, FIT = 1e-5, 1e-4, 1e-3
FRAMES, GRADIENTS, GREY = 1e-5, 1e-4, 1.01
SUMS = ("gain", "bias")
CONTRAST = 0.1
"""Size of the first contrast, by which errors of contrast and brightness are judged."""
Arrays = Mapping[str, np.ndarray]


# -- direction -------------------------------------------------------------------------
def direction_line(arrays: Arrays) -> Line:
    """Return the errors of indices and fits."""
    line = Line("direction: indices and fits")
    sets = [k.removesuffix("_responses") for k in arrays if k.endswith("_responses")]
    for name in sets:
        responses = arrays[f"{name}_responses"]
        irregular = arrays.get(f"directions_{name}", arrays["directions"])
        theta = np.radians(irregular)
        for harmonic, index in ((2, "gosi"), (1, "gdsi")):
            found = selectivity_index(responses, theta, harmonic).value
            line.add(f"{name} {index}", found, arrays[f"exp_{name}_{index}"], rtol=EXACT)
        for unit, row in enumerate(arrays[f"exp_{name}_fit"]):
            _compare_fit(line, f"{name} fit {unit}", responses[unit], theta, row)
    if "exp_curves" in arrays:
        theta = np.radians(arrays["curve_directions"])
        for row, curve in zip(
            arrays["true_mu_kappa_phi_amp_base"], arrays["exp_curves"], strict=True
        ):
            fit = VonMises(*row, 0.0, True)
            line.add("curve", fit(theta), curve, rtol=EXACT)
    return line


def _compare_fit(
    line: Line, key: str, response: np.ndarray, theta: np.ndarray, row: np.ndarray
) -> None:
    """Accept a fit that is at least as good, else compare its parameters."""
    success, mu, kappa, phi, scale, bias, mse = row
    found = fit_von_mises(response, theta)
    if found.mse <= mse * (1 + 1e-6) + 1e-18:
        line.ratios[key] = 0.0
        return
    if not success:
        return
    distance = abs((found.mu - mu + np.pi) % (2 * np.pi) - np.pi)
    line.ratios[f"{key} mu"] = distance / MU
    own = (found.kappa, found.phi, found.amplitude, found.base)
    line.add(key, own, (kappa, phi, scale, bias), rtol=FIT)


def events_line(arrays: Arrays) -> Line:
    """Return the errors of the responses to events."""
    line = Line("direction: events")
    means = arrays["exp_event_mean"]
    grouped = responses_by_value(means, arrays["direction"], int(arrays["digits"]))
    line.add("directions", grouped.values, arrays["exp_directions"], rtol=EXACT)
    line.add("response", grouped.response, arrays["exp_response"], rtol=1e-6)
    line.add("density", grouped.count, arrays["exp_density"], rtol=EXACT)
    return line


# -- places ----------------------------------------------------------------------------
def spatial_line(arrays: Arrays) -> Line:
    """Return the errors of averages of dots and of their spread."""
    line = Line("places: dots")
    grid = area_average(arrays["dot_masks"], *arrays["exp_grid"].shape[1:])
    line.add("grid", grid, arrays["exp_grid"], 1e-6, rtol=SPATIAL)
    # The mean response to each dot: of the samples from its onset to its offset.
    samples = np.arange(int(arrays["burnin"]), len(arrays["responses"]))
    times = samples * float(arrays["period"])
    spans = zip(*(arrays[key] + float(arrays["lag"]) for key in ("onset", "offset")), strict=True)
    seen = [samples[(times >= start) & (times <= stop)] for start, stop in spans]
    sums = [arrays["responses"][at].sum(0, np.float64) / (len(at) or np.nan) for at in seen]
    response = np.stack(sums, 1)
    is_on = arrays["dot_on"]
    kinds = {"off": ~is_on, "on": is_on, "on_off": np.ones(len(grid), bool)}
    for name, chosen in kinds.items():
        shown = np.flatnonzero(chosen)
        average = dot_average(grid, shown, response[:, chosen], "density")
        line.add(f"sta {name}", average, arrays[f"exp_sta_{name}"], 1e-6, rtol=SPATIAL)
        density = np.isfinite(response[:, chosen]) @ grid[chosen].reshape(len(shown), -1)
        density = density.reshape(average.shape)
        line.add(f"density {name}", density, arrays[f"exp_density_{name}"], 1e-6, rtol=SPATIAL)
        if name == "off":
            found = spatial_selectivity(average, clips=False).value
            line.add("ssi off", found, arrays["exp_ssi_off"], rtol=SPATIAL)
    found = spatial_selectivity(arrays["blobs"], clips=False).value
    line.add("ssi blobs", found, arrays["exp_ssi_blobs"], rtol=SPATIAL)
    return line


# -- preparation -----------------------------------------------------------------------
def preparation_line(arrays: Arrays) -> Line:
    """Return the errors of resampled traces, flips, standardisation and trials."""
    line = Line("preparation")
    start, end, period, offset, lowpass = (
        float(arrays[k])
        for k in ("start", "end", "target_period", "target_offset", "lowpass_period")
    )

    def trace(prefix: str, suffix: str, kind: Filter) -> np.ndarray:
        return resample(
            arrays[f"{prefix}times{suffix}"],
            arrays[f"{prefix}values{suffix}"],
            start,
            end,
            period,
            kind=kind,
            offset_s=offset,
            lowpass_s=lowpass,
        )

    traces: dict[str, tuple[str, str, Filter]] = {
        "linear": ("", "", "linear"),
        "hamming": ("", "", "hamming"),
        "hamming_nan": ("", "_nan", "hamming"),
        "hamming_slow": ("slow_", "", "hamming"),
        "lowpass": ("", "", "lowpass"),
        "lowpass_slow": ("slow_", "", "lowpass"),
    }
    for key, arguments in traces.items():
        expected = arrays[f"exp_{key}"]
        size = float(np.nanmax(np.abs(expected)))
        line.add(key, trace(*arguments), expected, TRACE * max(size, 1.0))
    missing = missing_samples(
        arrays["times_nan"], arrays["values_nan"], start, end, period, offset_s=offset
    )
    line.add("missing", missing, arrays["exp_nans"], rtol=EXACT)
    wide = float(arrays["wide_start"]), float(arrays["wide_end"])
    _compare_wide(line, arrays, wide, period, offset)
    line.add("samples", n_samples(start, end, period), arrays["exp_samples"][0], rtol=EXACT)
    flips = flip_index(arrays["flips"], period)
    line.add("flips", flips, arrays["exp_flip_index"], rtol=EXACT)
    scale, shift, homogeneous = (arrays[k] for k in ("z_scale", "z_shift", "z_homogeneous"))
    values = arrays["z_input"]
    affine = standardise(values, scale, shift, homogeneous)
    line.add("affine", affine, arrays["exp_affine"], rtol=EXACT)
    back = standardise(affine, scale, shift, homogeneous, inverse=True)
    line.add("affine inverse", back, arrays["exp_affine_inverse"], rtol=EXACT)
    scaled = standardise(values, scale, None, homogeneous)
    line.add("scale", scaled, arrays["exp_scale"], rtol=EXACT)
    _compare_trials(line, arrays)
    return line


def _compare_wide(
    line: Line, arrays: Arrays, wide: tuple[float, float], period: float, offset: float
) -> None:
    """Compare a span beyond the source, with the filter that fits the reference."""
    expected = arrays["exp_wide"]
    best = min(
        (
            resample(arrays["times"], arrays["values"], *wide, period, kind=kind, offset_s=at)
            for kind in ("linear", "hamming")
            for at in (offset, 0.0)
        ),
        key=lambda found: (
            float(np.nansum(np.abs(found - expected))) if found.shape == expected.shape else np.inf
        ),
    )
    size = float(np.nanmax(np.abs(expected)))
    line.add("wide", best, expected, TRACE * max(size, 1.0))


def _compare_trials(line: Line, arrays: Arrays) -> None:
    burn_in = int(arrays["trials_burnin"])
    joined = {}
    for kind in ("response", "prediction"):
        names = sorted(
            (k for k in arrays if k.startswith(f"trials_{kind}_")),
            key=lambda name: int(name.rpartition("_")[2]),
        )
        # NaN fill the trials that are shorter than others.
        clips = [[trial[~np.isnan(trial)] for trial in arrays[k]] for k in names]
        joined[kind] = join_trials(clips, burn_in)
    response, prediction = joined["response"], joined["prediction"]
    line.add("trials", response, arrays["exp_trials"], rtol=EXACT)
    line.add("trials predicted", prediction, arrays["exp_trials_prediction"], rtol=EXACT)
    scores = cc_scores(prediction[None], response[None], "fnn")
    line.add("cc_max", scores.cc_max[0], arrays["exp_cc_max"], rtol=EXACT)
    line.add("cc_signal", scores.cc_abs[0], arrays["exp_cc_signal"], rtol=EXACT)


# -- most exciting inputs --------------------------------------------------------------
def exciting_lines(folder: Path) -> Iterator[Line]:
    """Yield the errors of the searches for most exciting inputs."""
    info = json.loads((folder / "info.json").read_text("utf-8"))["mei"]
    tensors = load_file(folder / "mei.safetensors")
    net = network_of(folder, info["network"])
    case = info["cases"][0]
    line = Line("most exciting: blur")
    cutoff = float(case["cutoff"])
    for name, sd in (("spatial", "spatial_std"), ("temporal", "temporal_std")):
        kernel = gaussian_kernel(case[sd], cutoff)
        line.add(f"{name} kernel", kernel, tensors[f"gaussian.{name}_kernel"], 1e-8, rtol=FRAMES)
    blurred = blur(tensors["raw_start"][0], case["spatial_std"], case["temporal_std"], cutoff)
    line.add("blurred", blurred, tensors["gaussian.blurred_raw"][0], FRAMES)
    yield line
    for case in info["cases"]:
        yield exciting_line(net, case, tensors)


def network_of(folder: Path, name: str) -> TwinNetwork:
    """Return the named network of the twin's fixtures beside the folder."""
    twin = folder.parent / "twin_parity"
    reference = Reference.read(twin if twin.exists() else FIXTURES / "twin_parity")
    return reference.net(name.split()[1]).requires_grad_(False).eval()


def exciting_line(net: TwinNetwork, case: dict[str, Any], tensors: dict[str, Tensor]) -> Line:
    """Return the errors of one search."""
    name, descent = case["name"], case["optimiser"]
    line = Line(f"most exciting: {name}")
    settings = ExcitingSettings(
        is_static=case["static"],
        temperature=case["temperature"],
        burn_in=case["burnin_frames"],
        penalty=case["stimulus_penalty"],
        spatial_sd=case["spatial_std"],
        temporal_sd=case["temporal_std"],
        cutoff=float(case["cutoff"]),
        contrast=case["init_gain"],
        lr=descent["lr"],
        momentum=descent["momentum"],
    )
    stimulus = ExcitingStimulus(tensors["raw_start"][0].numpy(), settings)
    units = case["unit_index"]
    chosen = None if units is None else torch.as_tensor(np.atleast_1d(units))

    def respond(frames: Tensor) -> Tensor:
        output = net(frames[:, None, None], None, None, net.start(), units=chosen)
        rates: Tensor = output.rates[:, 0]
        return rates

    frames = stimulus.frames(stimulus.pixels()).detach()
    line.add("frames", frames, tensors[f"{name}.frames_start"][:, 0], rtol=FRAMES)
    loss, penalty, _ = exciting_loss(stimulus, respond)
    (loss + settings.penalty * penalty).backward()
    # The gradients of contrast and brightness are sums over all pixels, which may
    # cancel: they are judged by the larger one.
    of_sums = max(float(tensors[f"{name}.grad.{k}"].abs().max()) for k in SUMS)
    for key, parameter in stimulus.named_parameters():
        expected = tensors[f"{name}.grad.{key}"].reshape(parameter.shape)
        assert parameter.grad is not None
        largest = of_sums if key in SUMS else float(expected.abs().max())
        line.add(f"grad {key}", parameter.grad, expected, GRADIENTS * largest)
    steps = list(search_exciting(stimulus, respond, case["steps"]))
    line.add("losses", [s.loss for s in steps], tensors[f"{name}.losses"], rtol=FRAMES)
    line.add("penalties", [s.penalty for s in steps], tensors[f"{name}.penalties"], rtol=FRAMES)
    for key, parameter in stimulus.named_parameters():
        expected = tensors[f"{name}.after.{key}"].reshape(parameter.shape)
        # Contrast and brightness enter the bound of the frames as they are.
        size = float(expected.abs().max()) if key == "raw" else CONTRAST
        line.add(f"after {key}", parameter.detach(), expected, FRAMES * size)
    video = tensors[f"{name}.video"][..., 0]
    line.add("video", stimulus.video(), video, GREY)
    return line


def lines(folder: Path) -> Iterator[Line]:
    """Yield the errors of all parts of a folder."""
    parts = {
        "direction_fit": direction_line,
        "direction_events": events_line,
        "spatial": spatial_line,
        "preparation": preparation_line,
    }
    for name, make in parts.items():
        with np.load(folder / f"{name}.npz", allow_pickle=False) as archive:
            yield make(dict(archive))
    yield from exciting_lines(folder)


if __name__ == "__main__":
    run(lines)
