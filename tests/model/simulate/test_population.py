"""What the simulated neurons respond to, and how their signals come about."""

from dataclasses import fields

import numpy as np
import pytest

from omnimouse_model.simulate.calcium import (
    FLOOR,
    SCALE,
    CalciumImaging,
    noise_variance,
)
from omnimouse_model.simulate.population import AREAS, Calcium, Tuning, draw_population
from omnimouse_model.simulate.processes import Purpose, decay, integrate, stream, wander
from omnimouse_model.simulate.receptive_fields import ReceptiveFields, to_retina
from omnimouse_model.simulate.simulation import plan_trials
from omnimouse_model.simulate.specs import HeldOut

BLOCK = 315


@pytest.fixture(scope="module")
def population():
    return draw_population(3, 300)


def select(tuning: Tuning, neurons: np.ndarray) -> Tuning:
    parts = {f.name: getattr(tuning, f.name)[neurons] for f in fields(tuning)}
    return Tuning(**parts)


def grating(direction: float, wavelength: float, speed_hz: float) -> np.ndarray:
    rows, columns = np.mgrid[:36, :64]
    place = (columns * np.cos(direction) + rows * np.sin(direction)) / wavelength
    time = np.arange(BLOCK)[:, None, None] / 30
    wave = np.sin(2 * np.pi * (place - speed_hz * time))
    return (113 + 50 * wave).astype(np.uint8)


def trace(cell: Tuning, turn: float = 0.0, speed_hz: float | None = None) -> np.ndarray:
    """Response of one cell to its own grating, turned or at another speed."""
    direction, wavelength = float(cell.direction[0]), float(cell.wavelength[0])
    speed_hz = speed_hz or float(cell.speed_hz[0])
    video = grating(direction + turn, wavelength, speed_hz)
    receptive, still = ReceptiveFields(cell), np.zeros(BLOCK, np.float32)
    response, _ = receptive.respond(to_retina(video, still, still), receptive.rest())
    return response[30:, 0]


def best_response(cell: Tuning, speed_hz: float | None = None) -> float:
    """Mean response in the better of the two directions of motion."""
    return max(float(trace(cell, turn, speed_hz).mean()) for turn in (0.0, np.pi))


def test_neurons_prefer_their_orientation_and_direction(population):
    for neuron in np.argsort(-population.tuning.direction_index)[:5]:
        cell = select(population.tuning, np.array([neuron]))
        there, back, across = (
            trace(cell, turn).mean() for turn in (0.0, np.pi, np.pi / 2)
        )
        assert max(there, back) > 1.5 * across
        assert max(there, back) > 1.3 * min(there, back)


def test_neurons_differ_in_speed(population):
    """Slow cells prefer slow gratings, fast cells fast ones."""
    speeds = population.tuning.speed_hz
    assert len(np.unique(speeds)) >= 4
    for speed_hz, other_hz in ((1.0, 6.0), (5.6, 0.7)):
        cells = [
            select(population.tuning, np.array([neuron]))
            for neuron in np.flatnonzero(np.isclose(speeds, speed_hz))[:3]
        ]
        assert (
            np.mean(
                [best_response(c, speed_hz) / best_response(c, other_hz) for c in cells]
            )
            > 1.2
        )


def test_complex_cells_ignore_phase_and_simple_cells_follow_it(population):
    modulation = []
    for kind in (True, False):
        neuron = np.flatnonzero(population.tuning.is_complex == kind)[:1]
        response = trace(select(population.tuning, neuron))
        modulation.append(response.std() / response.mean())
    assert modulation[0] < 0.3 < 0.6 < modulation[1]


def test_the_video_is_seen_shifted_by_the_gaze():
    rng = np.random.default_rng(0)
    video = rng.integers(0, 255, (1, 36, 64), dtype=np.uint8).repeat(3, axis=0)
    x, y = np.array([0.0, 3.0, 0.0]), np.array([0.0, 0.0, -2.0])
    seen = to_retina(video, x.astype("f4"), y.astype("f4")).reshape(3, 36, 64)
    np.testing.assert_allclose(seen[1, :, :-3], seen[0, :, 3:], atol=1e-6)
    np.testing.assert_allclose(seen[2, 2:], seen[0, :-2], atol=1e-6)


def test_blocks_join_without_a_seam(population):
    """Filters carry their memory: two blocks are one long one."""
    rng = np.random.default_rng(1)
    retina = rng.standard_normal((2 * BLOCK, 36 * 64)).astype(np.float32)
    receptive = ReceptiveFields(select(population.tuning, np.arange(20)))
    first, memory = receptive.respond(retina[:BLOCK], receptive.rest())
    second, _ = receptive.respond(retina[BLOCK:], memory)
    middle, _ = receptive.respond(retina[100 : 100 + BLOCK], receptive.rest())
    joined = np.concatenate([first, second])[100 : 100 + BLOCK]
    np.testing.assert_allclose(middle[15:], joined[15:], rtol=1e-3, atol=1e-3)


def test_every_area_has_its_map_of_the_screen(population):
    """Neighbours look at neighbouring places, and V1's map is mirrored beside it."""
    anatomy, centre = population.anatomy, population.tuning.centre_yx
    x = anatomy.xyz_um[:, 0]
    for number, name in enumerate(AREAS):
        members = anatomy.area == number
        assert members.sum() > 20
        slope = np.polyfit(x[members], centre[members, 1], 1)[0]
        assert (slope > 0.02) if name == "V1" else (slope < -0.02)
    assert len(np.unique(anatomy.plane)) == 4
    assert np.ptp(anatomy.xyz_um[:, 2]) > 100


def test_shared_fluctuations_have_the_size_and_reach_they_should(population):
    coupling = population.coupling
    total = np.sqrt((coupling.loadings**2).sum(axis=1) + coupling.private_sd**2)
    assert total.min() >= 0.3
    assert total.max() <= 0.601
    assert min(coupling.tau_s) <= 0.12
    assert max(coupling.tau_s) >= 15
    reach = (np.abs(coupling.loadings) > 1e-6).mean(axis=0)
    assert reach.min() < 0.3
    assert reach.max() == 1


def test_near_neurons_fluctuate_together_more_than_far_ones():
    population = draw_population(3, 600)
    loadings = population.coupling.loadings
    place = population.anatomy.xyz_um[:, :2]
    distance = np.sqrt(((place[:, None] - place[None]) ** 2).sum(-1))
    together = loadings @ loadings.T
    near = together[(distance > 0) & (distance < 100)].mean()
    far = together[distance > 500].mean()
    assert near > 1.15 * far > 0


# -- from rate to signal ---------------------------------------------------------
CALCIUM = Calcium(event_hz=np.array([0.5, 2.0]), tau_s=np.array([0.15, 0.3]))


def test_the_mean_over_many_draws_is_the_conditional_mean():
    rate = np.tile(np.exp(np.sin(np.arange(60) / 9))[:, None], (1, 2)).astype("f4")
    draws = [
        CalciumImaging(CALCIUM).record(rate, rate, np.random.default_rng(seed))
        for seed in range(1000)
    ]
    mean = np.mean([draw.responses for draw in draws], axis=0)
    spread = np.std([draw.responses for draw in draws], axis=0) / np.sqrt(len(draws))
    z = (mean - draws[0].full) / spread
    assert abs(z.mean()) < 0.5
    assert 0.7 < z.std() < 1.3


def test_the_variance_of_the_noise_is_known():
    many = Calcium(np.repeat(CALCIUM.event_hz, 100), np.repeat(CALCIUM.tau_s, 100))
    rate = np.ones((6000, 200), np.float32)
    recorded = CalciumImaging(many).record(rate, rate, np.random.default_rng(0))
    kept = slice(300, None)
    found = recorded.responses[kept].var(axis=0)
    stated = noise_variance(recorded.full[kept].mean(axis=0).astype(float), many)
    ratio = (found / stated).reshape(2, 100).mean(axis=1)
    assert ratio == pytest.approx([1.0, 1.0], abs=0.05)


def test_a_silent_neuron_shows_only_the_floor():
    rate = np.zeros((5000, 2), np.float32)
    recorded = CalciumImaging(CALCIUM).record(rate, rate, np.random.default_rng(0))
    assert recorded.responses.min() >= 0
    assert recorded.responses.mean() == pytest.approx(SCALE * FLOOR, rel=0.05)


# -- random processes --------------------------------------------------------------
def test_wandering_has_unit_variance_and_its_time_scale():
    trace = wander(np.random.default_rng(0), 60_000, (0.2, 2.0))
    assert trace.std(axis=0) == pytest.approx(1, abs=0.1)
    for column, tau_s in enumerate((0.2, 2.0)):
        lag = round(tau_s * 30)
        x = trace[:, column]
        assert np.mean(x[:-lag] * x[lag:]) == pytest.approx(np.exp(-1), abs=0.08)


def test_integration_in_parts_is_integration():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((50, 3)).astype("f4")
    keep = decay(np.array([0.1, 1, 9]))
    whole = integrate(inputs, keep, np.zeros(3, np.float32))
    first = integrate(inputs[:20], keep, np.zeros(3, np.float32))
    second = integrate(inputs[20:], keep, first[-1].copy())
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)


def test_streams_are_apart():
    draws = {
        float(stream(seed, purpose, block).random())
        for seed in (1, 2)
        for purpose in Purpose
        for block in (0, 1)
    }
    assert len(draws) == 4 * len(Purpose)


def test_tiers_are_spread_over_the_session():
    trials = plan_trials(1, 69, HeldOut(5, 19, 1, 8))
    for tier, count in (("train", 37), ("final_test_1", 19), ("oracle", 8)):
        places = [i for i, trial in enumerate(trials) if trial.tier == tier]
        assert len(places) == count
        assert np.mean(places) == pytest.approx(34, abs=4)
