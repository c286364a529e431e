"""Trials shown to a model: gratings and dots, and the tuning that follows."""

import numpy as np
import pytest

from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.lab.stimuli import GRAY, Monitor, drifting_gratings, gaussian_dots
from omnimouse_model.lab.trial_responses import (
    directions_of,
    field_centers,
    trial_responses,
)
from omnimouse_model.predict.predictor import Encoded, Needs, Prediction, Predictor
from omnimouse_model.predict.registry import load_predictor

PREFERRED = np.radians([0.0, 50.0, 130.0, 245.0])
PLACES = np.array([[9.0, 12.0], [27.0, 40.0], [18.0, 60.0], [30.0, 5.0]])


class EnergyNeurons(Predictor):
    """Four neurons whose rate is the energy of motion in one direction.

    With `reads_places`, their rate is instead the light at one place each.
    """

    predictor_id = "energy"
    needs = Needs(sees_responses=False, sees_video=True)

    def __init__(self, *, reads_places: bool = False) -> None:
        self.reads_places = reads_places
        self.asked = 0

    def prepare(self, session):
        pass

    def encode(self, window, mask):
        assert not mask.visible.any()
        assert mask.frames.all()
        self.asked += 1
        return Encoded(window, mask, window.frames_u8.astype(float) / 255 - 0.5)

    def decode(self, encoded, neurons=None):
        frames = encoded.state
        if self.reads_places:
            rates = [frames[:, int(y), int(x)] + 0.5 for y, x in PLACES]
        else:
            rows, columns = np.mgrid[:36, :64] / 18.0
            time = np.arange(60)[:, None, None] / 15.0
            rates = []
            for angle in PREFERRED:
                along = columns * np.cos(angle) - rows * np.sin(angle)
                wave = np.exp(2j * np.pi * (along - time))
                rates.append(np.full(60, np.abs((frames * wave).mean()) ** 2 + 1e-4))
        cells = encoded.mask.target[:, neurons]
        values = np.where(cells, np.stack(rates, 1)[:, neurons], np.nan)
        about = (None, encoded.mask.mask_id, self.predictor_id)
        scale = encoded.window.session.units.scale[neurons]
        return Prediction(values.astype(np.float32), neurons, *about, scale=scale)


def test_a_grating_moves_in_its_direction_at_its_speed():
    gratings = drifting_gratings(
        (36, 64), 4, 2, periods_deg=(60.0,), temporal_hz=(3.0,), contrast=0.5
    )
    assert len(gratings) == 8
    frames = gratings.frames_of(0).astype(float)
    assert gratings.values[0] == 0
    # One cycle takes 10 frames; in one frame, the wave goes a tenth of a period right.
    np.testing.assert_allclose(frames[10], frames[0], atol=1)
    period = 60.0 / Monitor().degrees_per_pixel(64)
    first, second = (np.fft.fft(frames[k, 0] - GRAY) for k in (0, 1))
    peak = np.abs(first[1:32]).argmax() + 1
    shift = np.angle(first[peak] / second[peak]) / (2 * np.pi) * period
    assert shift == pytest.approx(period / 10, rel=0.1)
    # Upward motion: what is in a row was in the row below.
    up = gratings.frames_of(1).astype(float)
    rolled = np.corrcoef(up[1, :-2, 0], up[0, 2:, 0])[0, 1]
    assert rolled > np.corrcoef(up[1, 2:, 0], up[0, :-2, 0])[0, 1]
    assert frames.max() <= GRAY * 1.5 + 1


def test_gratings_take_turns_and_repeat_with_their_seed():
    one, again, other = (
        drifting_gratings((9, 16), 4, 9, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.frames_of(5), again.frames_of(5))
    assert not np.array_equal(one.frames_of(5), other.frames_of(5))
    shown = set(zip(one.table["period_deg"], one.table["temporal_hz"], strict=True))
    assert len(shown) == 9


@pytest.mark.slow
def test_preferred_directions_are_found(session):
    gratings = drifting_gratings(
        (36, 64), 16, 2, periods_deg=(18 * Monitor().degrees_per_pixel(64),),
        temporal_hz=(2.0,),
    )  # fmt: skip
    seen = []
    responses = trial_responses(
        EnergyNeurons(),
        session,
        gratings,
        np.arange(4),
        progress=lambda done, of: seen.append((done, of)),
    )
    assert responses.shape == (32, 4)
    assert seen[-1] == (32, 32)
    tuning = directions_of(responses, gratings.values)
    error = (tuning.preferred_deg - np.degrees(PREFERRED) + 180) % 360 - 180
    # The frame is wider than high, which draws the peaks a little to the side.
    assert np.abs(error).max() < 6
    axis = (tuning.orientation_deg - np.degrees(PREFERRED) + 90) % 180 - 90
    assert np.abs(axis).max() < 6
    assert (tuning.dsi > 0.5).all()


def test_places_are_found(session):
    dots = gaussian_dots((36, 64), repeats=1, sd_deg=12.0)
    responses = trial_responses(
        EnergyNeurons(reads_places=True), session, dots, np.arange(4), scored_s=0.3
    )
    sd = 12.0 / Monitor().degrees_per_pixel(64)
    centers = field_centers(responses, dots, (36, 64), sd)
    assert np.hypot(*(centers - PLACES).T).max() < 4


def test_a_dot_is_black_or_white_and_ends_before_the_trial():
    for is_on in (True, False):
        dots = gaussian_dots((18, 32), (3, 5), 1, is_on=is_on)
        frames = dots.frames_of(0).astype(int)
        assert len(dots) == 15
        assert (frames[-3:] == GRAY).all()
        assert (frames[-4].max() > 230) == is_on
        assert (frames[-4].min() < 25) != is_on
        y, x = dots.table["row_px"][0], dots.table["column_px"][0]
        strongest = np.unravel_index(np.abs(frames[-4] - GRAY).argmax(), (18, 32))
        assert np.hypot(strongest[0] + 0.5 - y, strongest[1] + 0.5 - x) < 1.5


def test_a_stop_and_a_model_without_video_are_told(session):
    gratings = drifting_gratings((36, 64), 4, 1)
    model = EnergyNeurons()
    with pytest.raises(StoppedError, match="after 2 of 4"):
        trial_responses(
            model, session, gratings, np.arange(4), cancelled=lambda: model.asked > 1
        )
    with pytest.raises(ValueError, match="scored_s is 3"):
        trial_responses(model, session, gratings, scored_s=3.0)
    with pytest.raises(UnsupportedRequestError, match="sees no video"):
        trial_responses(load_predictor("mean"), session, gratings)
