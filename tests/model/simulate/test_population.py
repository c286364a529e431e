"""Tuning of simulated neurons, and their calcium signals."""

from dataclasses import replace

import numpy as np
import pytest

from omnimouse_model.simulate.population import (
    Calcium,
    CalciumImaging,
    draw_population,
    noise_variance,
)
from omnimouse_model.simulate.simulation import ReceptiveFields, to_retina
from omnimouse_model.simulate.specs import BLOCK_SAMPLES, FRAME_SHAPE, RATE_HZ

BLOCK = 315


def test_the_video_is_seen_shifted_by_the_gaze():
    rng = np.random.default_rng(0)
    video = rng.integers(0, 255, (1, 36, 64), dtype=np.uint8).repeat(3, axis=0)
    x, y = np.array([0.0, 3.0, 0.0]), np.array([0.0, 0.0, -2.0])
    seen = to_retina(video, x.astype("f4"), y.astype("f4")).reshape(3, 36, 64)
    np.testing.assert_allclose(seen[1, :, :-3], seen[0, :, 3:], atol=1e-6)
    np.testing.assert_allclose(seen[2, 2:], seen[0, :-2], atol=1e-6)


def test_blocks_join_without_a_seam():
    """Filters carry their memory: two blocks are one long one."""
    rng = np.random.default_rng(1)
    retina = rng.standard_normal((2 * BLOCK, 36 * 64)).astype(np.float32)
    receptive = ReceptiveFields(draw_population(3, 20).tuning)
    first, memory = receptive.respond(retina[:BLOCK], receptive.resting_memory())
    second, _ = receptive.respond(retina[BLOCK:], memory)
    middle, _ = receptive.respond(retina[100 : 100 + BLOCK], receptive.resting_memory())
    joined = np.concatenate([first, second])[100 : 100 + BLOCK]
    np.testing.assert_allclose(middle[15:], joined[15:], rtol=1e-3, atol=1e-3)


def test_a_full_field_takes_any_number_of_neurons():
    anatomy = draw_population(3, 12_000).anatomy
    assert np.isfinite(anatomy.xyz_um).all()
    assert len(np.unique(anatomy.xyz_um, axis=0)) == 12_000
    # Somata of a plane do not overlap until the plane is full.
    few = draw_population(3, 400).anatomy
    for plane in range(4):
        at, radius = few.xyz_um[few.plane == plane, :2], few.soma_radius_um[few.plane == plane]
        apart = np.linalg.norm(at[:, None] - at, axis=2) + 100 * np.eye(len(at))
        assert (apart > radius[:, None] + radius).all()


CALCIUM = Calcium(event_hz=np.array([0.5, 2.0]), tau_s=np.array([0.15, 0.3]))


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_variance_of_the_noise_is_known():
    many = Calcium(np.repeat(CALCIUM.event_hz, 100), np.repeat(CALCIUM.tau_s, 100))
    rate = np.ones((6000, 200), np.float32)
    recorded = CalciumImaging(many).record(rate, rate, np.random.default_rng(0))
    kept = slice(300, None)
    found = recorded.responses[kept].var(axis=0)
    stated = noise_variance(recorded.full[kept].mean(axis=0).astype(float), many)
    ratio = (found / stated).reshape(2, 100).mean(axis=1)
    assert ratio == pytest.approx([1.0, 1.0], abs=0.05)


# -- the convention of the preferred direction of simulated receptive fields ---------
N = 6
WAVELENGTH, SPEED_HZ = 12.0, 2.0


def grating(motion_rad: float) -> np.ndarray:
    """A grating that moves towards an angle, counter-clockwise from right."""
    rows, columns = np.mgrid[: FRAME_SHAPE[0], : FRAME_SHAPE[1]]
    along = columns * np.cos(motion_rad) - rows * np.sin(motion_rad)
    seconds = np.arange(BLOCK_SAMPLES)[:, None, None] / RATE_HZ
    wave = np.sin(2 * np.pi * (along / WAVELENGTH - SPEED_HZ * seconds))
    return (127 + 100 * wave).astype(np.uint8)


@pytest.mark.parametrize("direction", [0.0, 0.7, np.pi / 2, 4.0])
def test_the_preferred_motion_is_against_the_wave_vector(direction):
    tuning = replace(
        draw_population(1, N).tuning,
        centre_yx=np.tile([18.0, 32.0], (N, 1)),
        direction=np.full(N, direction),
        direction_index=np.ones(N),
        wavelength=np.full(N, WAVELENGTH),
        envelope_sd=np.full(N, 6.0),
        speed_hz=np.full(N, SPEED_HZ),
        is_complex=np.ones(N, bool),
    )
    fields, still = ReceptiveFields(tuning), np.zeros(BLOCK_SAMPLES, np.float32)

    def mean_response(motion_rad: float) -> float:
        retina = to_retina(grating(motion_rad), still, still)
        response, _ = fields.respond(retina, fields.resting_memory())
        return float(response[RATE_HZ:].mean())

    preferred = np.pi - direction
    others = (preferred + np.pi, preferred + np.pi / 2, preferred - np.pi / 2)
    assert mean_response(preferred) > 2 * max(map(mean_response, others))
