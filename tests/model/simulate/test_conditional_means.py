"""Expected responses given only what a mask shows are unbiased and ordered."""

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.simulate import HeldOut, MouseSpec, open_truth, write_session
from omnimouse_model.simulate.simulation import Given, conditional_mean

pytestmark = pytest.mark.slow
SPEC = MouseSpec("means", "1-1-1", 5, 6, 24, 10.0, HeldOut(1, 1, 1, 2))
BOTH = Given(video=True, behavior=True)
VIDEO = Given(video=True, behavior=False)
BEHAVIOR = Given(video=False, behavior=True)
SHARED = Given(video=True, behavior=True, shared=True)
ALL = Given(video=True, behavior=True, shared=True, private=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = write_session(SPEC, tmp_path_factory.mktemp("mice") / "means")
    responses = om.open_session(folder).responses
    return folder, open_truth(folder), responses.read(0, responses.n_samples)


def scores(world, given: Given) -> tuple[float, float]:
    """Mean correlation with the responses, and the pooled slope of their regression."""
    folder, truth, responses = world
    expected = conditional_mean(folder, truth, given).open().astype(float)
    expected = expected - expected.mean(axis=0)
    recorded = responses - responses.mean(axis=0)
    product = (expected * recorded).sum(axis=0)
    power = (expected**2).sum(axis=0)
    correlations = product / np.sqrt(power * (recorded**2).sum(axis=0))
    return float(correlations.mean()), float(product.sum() / power.sum())


# In 10 minutes, shared fluctuations that are not known change the slope by about 0.1.
@pytest.mark.parametrize(
    ("given", "tolerance"),
    [(BOTH, 0.2), (VIDEO, 0.2), (BEHAVIOR, 0.2), (SHARED, 0.05), (ALL, 0.05)],
)
def test_a_conditional_mean_needs_no_rescaling(world, given, tolerance):
    assert scores(world, given)[1] == pytest.approx(1, abs=tolerance)


def test_more_that_is_known_raises_the_ceiling(world):
    ceilings = [scores(world, given)[0] for given in (BEHAVIOR, BOTH, SHARED, ALL)]
    assert np.all(np.diff(ceilings) > 0.005)
    assert scores(world, VIDEO)[0] < ceilings[1] - 0.02


def test_without_anything_the_mean_is_constant_and_it_is_computed_once(world):
    folder, truth, responses = world
    expected = conditional_mean(folder, truth, Given(video=False, behavior=False)).open()
    assert np.ptp(expected, axis=0).max() < 1e-3 * expected.mean()
    assert expected.mean() == pytest.approx(responses.mean(), rel=0.1)
    folder, truth, _ = world
    expected = conditional_mean(folder, truth, BEHAVIOR)
    assert conditional_mean(folder, truth, BEHAVIOR) is expected
    assert not expected.open().flags.writeable
