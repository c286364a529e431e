"""Recordings of latent numbers that follow linear dynamics: relatives and strangers.

z <- A z + noise, from a random start in each trial, and rates exp(W z + b) per bin with
weights W of each recording. Relatives share A; each stranger has one of its own.
"""

import numpy as np

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec

N_BINS, ONSET, RATE_HZ = 40, 10, 50.0
SPEC = WindowSpec(
    N_BINS / RATE_HZ,
    RATE_HZ,
    responses="count",
    align="trial",
    trial_offset_s=-ONSET / RATE_HZ,
)
RELATIVES = ("relative-1", "relative-2", "relative-3")
STRANGERS = ("stranger-1", "stranger-2", "stranger-3")
HELDOUT = "heldout"
PERIOD = 24.0
"""Bins of a turn of the relatives."""
_PERIODS = {"stranger-1": 8.0, "stranger-2": 11.0, "stranger-3": 90.0}
_DECAY = 0.995
_PAUSE_S = 0.2


def dynamics_session(name: str, seed: int, n_trials: int, n_neurons: int) -> Session:
    """Return a recording; three of five trials are train trials."""
    key = [*RELATIVES, *STRANGERS, HELDOUT].index(name)
    draw = np.random.default_rng([seed, key])
    angle = 2 * np.pi / _PERIODS.get(name, PERIOD)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    z = draw.normal(size=(n_trials, 2))
    states = np.zeros((n_trials, N_BINS, 2))
    for number in range(N_BINS):
        noise = draw.normal(size=z.shape) * np.sqrt(1 - _DECAY**2)
        z = _DECAY * z @ turn.T + noise
        states[:, number] = z
    weight = draw.normal(size=(2, n_neurons)) * 0.5
    counts = draw.poisson(np.exp(states @ weight + np.log(0.6)))
    trial, bin_number, unit = np.nonzero(counts)
    repeats = counts[trial, bin_number, unit]
    length_s = N_BINS / RATE_HZ + _PAUSE_S
    first = 1.0 + length_s * np.arange(n_trials)
    onsets = first + ONSET / RATE_HZ
    tiers = (["train"] * 3 + ["validation", "test"]) * n_trials
    return open_session(
        {
            "id": name,
            "spike_times": np.repeat(first[trial] + (bin_number + 0.5) / RATE_HZ, repeats),
            "spike_unit": np.repeat(unit, repeats),
            "stop_s": 2.0 + length_s * n_trials,
            "unit_ids": np.arange(n_neurons),
            "trial_start": onsets,
            "trial_stop": onsets + (N_BINS - ONSET) / RATE_HZ,
            "trial_tier": np.array(tiers[:n_trials]),
        }
    )
