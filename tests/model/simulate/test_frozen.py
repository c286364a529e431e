"""The simulated world is frozen: what the demo was trained on cannot change silently.

If a test here fails, either the change was not meant, or it makes a new world: then
raise `specs.VERSION`, run `python -m omnimouse_model.simulate.simulation`, train the demo again,
and record the new numbers.
"""

from hashlib import blake2b

import numpy as np
import pytest

from omnimouse_model import simulate
from omnimouse_model.simulate.population import draw_population
from omnimouse_model.simulate.simulation import ReceptiveFields, calibrate, population_normalisation

TINY = simulate.MouseSpec("frozen", "70003-1-1", 90000, 17, 24, 1.5, simulate.HeldOut(1, 1, 1, 3))


def test_the_specs_of_the_mice_are_frozen():
    names = ["demo", *(f"mouse-{k}" for k in range(1, 8))]
    assert [spec.name for spec in simulate.TRAINING_MICE] == names
    stated = "".join(f"{spec.fingerprint};" for spec in simulate.DEMO_MICE).encode()
    assert blake2b(stated, digest_size=8).hexdigest() == SPECS_DIGEST


@pytest.mark.slow
def test_the_numbers_of_a_small_session_are_frozen(tmp_path):
    """Every stage leaves a mark here: video, behaviour, tuning, latents, events."""
    folder = simulate.write_session(TINY, tmp_path / "frozen")
    truth = simulate.open_truth(folder)
    responses = np.fromfile(folder / "responses" / "data.mem", "<f4")
    videos = [np.load(f) for f in sorted((folder / "screen" / "data").glob("*.npy"))]
    eye = np.load(folder / "eye_tracker" / "data.npy")
    image = np.load(folder / "imaging" / "mean_image.npy")
    signals = (responses, truth.drive.open(), truth.full.open())
    found = [f(x) for x in signals for f in (np.mean, np.std)]
    found += [np.abs(truth.latents.open()).mean(), np.mean(videos), np.std(videos)]
    found += [*eye.mean(axis=0)[[0, 2, 3]], *eye.std(axis=0)]
    found += [np.load(folder / "treadmill" / "data.npy").mean()]
    found += [image.mean(), image.std()]
    found += [truth.tuning["centre_yx"].mean(), truth.tuning["behavior_gain"].std()]
    found += [*truth.ceilings.drive[:3], *truth.ceilings.full[:3]]
    assert [float(x) for x in found] == pytest.approx(NUMBERS, rel=2e-3)


@pytest.mark.slow
def test_the_stored_normalisation_is_that_of_the_population():
    """After a change of the world, `python -m omnimouse_model.simulate.simulation` renews it."""
    seed = simulate.UNSEEN.population_seed
    tuning = draw_population(seed, simulate.UNSEEN.n_neurons).tuning
    fields = ReceptiveFields(tuning)
    stored = population_normalisation(fields, tuning, seed)
    expected = calibrate(fields, tuning, seed)
    np.testing.assert_allclose(stored.mean, expected.mean, rtol=1e-4)
    np.testing.assert_allclose(stored.mean_power, expected.mean_power, rtol=1e-4)


def test_the_shown_session_is_new_to_a_model_that_knows_its_neurons():
    assert simulate.DEMO_SHOWN.population_seed == simulate.DEMO_TRAINING.population_seed
    assert simulate.DEMO_SHOWN.n_neurons == simulate.DEMO_TRAINING.n_neurons >= 1000
    assert simulate.DEMO_SHOWN.minutes >= 10
    seeds = [spec.session_seed for spec in simulate.DEMO_MICE]
    assert len(set(seeds)) == len(seeds)
    assert len({spec.data_key for spec in simulate.DEMO_MICE}) == len(seeds)
    trained = {spec.population_seed for spec in simulate.TRAINING_MICE}
    assert len(trained) == len(simulate.TRAINING_MICE) >= 8
    assert simulate.UNSEEN.population_seed not in trained


SPECS_DIGEST = "d00f39ecc0855280"
NUMBERS = [
    *(8.3881, 18.324, 8.1809, 12.374, 8.4759),
    *(14.866, 0.78931, 113.06, 39.153, 45.332),
    *(160.34, 120.0, 9.6127, 13.016, 6.7279),
    *(4.6419, 5.8674, 0.25586, 0.069509, 23.979),
    *(0.30278, 0.63168, 0.40829, 0.57333, 0.7002),
    *(0.48703, 0.65465),
]
