"""Normalisation of the drive of a population, from videos that no session shows.

Those of the sample recordings are stored, because computing them takes a fifth of a
simulation. After a change of the simulated world, `python -m omnimouse_model.simulate`
renews them.
"""

from pathlib import Path
from typing import Final

import numpy as np

from omnimouse_model.simulate.population import Purpose, Tuning, draw_population, stream
from omnimouse_model.simulate.receptive_fields import (
    Normalisation,
    ReceptiveFields,
    normalisation,
    to_retina,
)
from omnimouse_model.simulate.specs import (
    BLOCK_SAMPLES,
    DEMO_SHOWN,
    UNSEEN,
)
from omnimouse_model.simulate.stimuli import ahead, draw_textures, trial_screen
from omnimouse_model.storage.arrays.npy import Npz, write_arrays

N_BLOCKS = 18
STORED: Final = Path(__file__).with_suffix(".npz")
"""Normalisations (2, neuron) of the populations that `omnimouse demo` simulates."""


def population_normalisation(fields: ReceptiveFields, tuning: Tuning, seed: int) -> Normalisation:
    """Return the stored normalisation of a population, or compute it."""
    stored, name = Npz(STORED), _name(seed, len(tuning.power))
    if name in stored:
        return Normalisation(*stored[name])
    return calibrate(fields, tuning, seed)


def calibrate(fields: ReceptiveFields, tuning: Tuning, seed: int) -> Normalisation:
    """Return the normalisation of a population from its responses to 18 videos."""
    # The constants depend on the population alone: with those of a session, the same
    # neuron would have another drive in another recording.
    hidden_seed = int(stream(seed, Purpose.CALIBRATION).integers(2**31))
    textures = draw_textures(hidden_seed, count=8)
    memory = fields.resting_memory()
    straight = np.zeros(BLOCK_SAMPLES, np.float32)

    def retina_of(number: int) -> np.ndarray:
        screen = trial_screen(hidden_seed, number, textures)
        return to_retina(screen, straight, straight)

    responses = []
    for retina in ahead(retina_of, range(N_BLOCKS)):
        response, memory = fields.respond(retina, memory)
        responses.append(response)
    return normalisation(np.concatenate(responses), tuning.power)


def store_normalisations() -> None:
    """Compute and store the normalisations of the sample recordings."""
    found = {}
    for spec in (DEMO_SHOWN, UNSEEN):
        tuning = draw_population(spec.population_seed, spec.n_neurons).tuning
        constants = calibrate(ReceptiveFields(tuning), tuning, spec.population_seed)
        name = _name(spec.population_seed, spec.n_neurons)
        found[name] = np.stack([constants.mean, constants.mean_power])
    write_arrays(STORED, found)


def _name(seed: int, n_neurons: int) -> str:
    return f"population-{seed}-{n_neurons}"
