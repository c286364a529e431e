"""A recording whose rates are known: exp(W z + b), for a hidden oscillation z."""

import numpy as np

BIN_S = 0.02
PAUSE_S = 0.5


def poisson_arrays(
    name: str = "world",
    *,
    n_trials: int = 120,
    n_bins: int = 50,
    n_neurons: int = 30,
    seed: int = 0,
    areas: tuple[str, ...] = ("V1", "CA1"),
) -> tuple[dict[str, object], np.ndarray]:
    """Return arrays that `open_session` reads, and the rates (trial, bin, neuron).

    Rates are per bin. Eight of ten trials are train trials, then come one of
    validation and one of test.
    """
    draw = np.random.default_rng(seed)
    time = np.arange(n_bins) * BIN_S
    phase = draw.uniform(0, 2 * np.pi, (n_trials, 1, 3))
    z = np.sin(2 * np.pi * np.array([1.0, 1.7, 2.3]) * time[:, None] + phase)
    weight = draw.normal(size=(3, n_neurons)) * 0.6
    rates = np.exp(z @ weight + np.log(0.4))
    counts = draw.poisson(rates)
    trial, bin_number, unit = np.nonzero(counts)
    repeats = counts[trial, bin_number, unit]
    duration_s = n_bins * BIN_S + PAUSE_S
    onsets = 1.0 + duration_s * np.arange(n_trials)
    middle = onsets[trial] + (bin_number + 0.5) * BIN_S
    tiers = (["train"] * 8 + ["validation", "test"]) * n_trials
    arrays = {
        "id": name,
        "spike_times": np.repeat(middle, repeats),
        "spike_unit": np.repeat(unit, repeats),
        "stop_s": 2.0 + duration_s * n_trials,
        "unit_ids": np.arange(n_neurons),
        "area": np.array([areas[k % len(areas)] for k in range(n_neurons)]),
        "trial_start": onsets,
        "trial_stop": onsets + duration_s - PAUSE_S / 2,
        "trial_tier": np.array(tiers[:n_trials]),
        "trial_stim_id": np.array(["none"] * n_trials),
    }
    return arrays, rates
