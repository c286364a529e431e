"""The convention of the preferred direction of simulated receptive fields."""

from dataclasses import replace

import numpy as np
import pytest

from omnimouse_model.simulate.population import draw_population
from omnimouse_model.simulate.simulation import ReceptiveFields, to_retina
from omnimouse_model.simulate.specs import BLOCK_SAMPLES, FRAME_SHAPE, RATE_HZ

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
