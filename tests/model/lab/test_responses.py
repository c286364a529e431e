"""Stimuli shown to a model, and the tuning that follows."""

from functools import partial

import numpy as np
import pytest

from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.lab.experiments import run_experiment
from omnimouse_model.lab.responses import model_responses
from omnimouse_model.lab.stimuli.gratings_and_dots import (
    drifting_gratings,
    gaussian_dots,
    grating_levels,
    sparse_noise,
)
from omnimouse_model.lab.stimuli.stimulus import GRAY, Events, Monitor, Stimulus, still_images
from omnimouse_model.lab.tuning import (
    axes_of,
    directions_of,
    levels_of,
    on_off_fields,
    receptive_fields,
)
from omnimouse_model.progress import CallbackJob
from tests.model.lab.energy_neurons import PLACES, PREFERRED, EnergyNeurons
from tests.toy_predictors import FramePredictor


def test_a_grating_moves_in_its_direction_at_its_speed():
    gratings = drifting_gratings(
        (36, 64), 4, 2, periods_deg=(60.0,), temporal_hz=(3.0,), contrast=0.5
    )
    assert gratings.n_videos == 8
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
    one, again, other = (drifting_gratings((9, 16), 4, 9, seed=seed) for seed in (1, 1, 2))
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
    responses = model_responses(
        EnergyNeurons(),
        session,
        gratings,
        np.arange(4),
        job=CallbackJob(lambda done, of, _: seen.append((done, of))),
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
    assert (tuning.p_direction < 0.01).all()


def test_noise_is_as_often_selective_as_its_p_says():
    directions = np.tile(np.arange(16) * 22.5, 5)
    responses = np.random.default_rng(3).random((80, 400))
    tuned = responses[:, :20] + 1 + np.cos(np.radians(2 * directions))[:, None]
    found = directions_of(np.hstack([tuned, responses]), directions)
    assert (found.p_orientation[:20] < 0.01).all()
    for p in (found.p_orientation[20:], found.p_direction):
        assert 0.01 < (p < 0.05).mean() < 0.1
    assert np.isnan(directions_of(0 * responses, directions).p_direction).all()


@pytest.mark.slow
def test_places_are_found(session):
    dots = gaussian_dots((36, 64), repeats=1, sd_deg=12.0)
    responses = model_responses(EnergyNeurons(reads_places=True), session, dots, np.arange(4))
    fields = receptive_fields(responses, dots, (36, 64))
    away = np.hypot(*(fields.center_px - PLACES - 0.5).T)
    assert away.max() / 64 < 0.02
    assert (fields.selectivity > 4).all()


def test_a_place_far_beyond_the_frame_is_unknown():
    dots = gaussian_dots((36, 64), repeats=1, sd_deg=12.0)
    away = dots.table["column_px"][:, None] - np.array([-60.0, 2.0])
    fields = receptive_fields(np.exp(-(away**2) / (2 * 30.0**2)), dots, (36, 64))
    assert np.isnan(fields.center_px[0]).all()
    assert np.isnan(fields.covariance_px[0]).all()
    assert abs(fields.center_px[1, 1] - 2.0) < 2.0


@pytest.mark.slow
def test_places_are_found_with_sparse_noise(session):
    model = EnergyNeurons(reads_places=True)
    found = run_experiment("sparse_fields", model, session, np.arange(4), repeats=4)
    columns = found.findings.columns
    places = np.stack([columns["row_px"], columns["column_px"]], axis=1)
    # These neurons read one pixel of a square of 4 x 4.3 pixels.
    assert np.hypot(*(places - PLACES - 0.5).T).max() < 3
    # Light excites them as much as dark inhibits them.
    np.testing.assert_allclose(columns["largest_on"], -columns["smallest_off"], rtol=0.35)
    # The average has the 9 rows of the squares.
    peak = found.findings.average.reshape(4, -1).argmax(axis=1)
    assert np.abs(peak // 15 * 4 + 2 - PLACES[:, 0]).max() <= 4


@pytest.mark.parametrize("kind", ["on", "off", "both", "dark inhibits"])
def test_every_kind_of_field_is_found_with_sparse_noise(kind):
    noise = sparse_noise((18, 30), (9, 15), n_videos=8)
    squares = np.zeros((len(noise.values), 135))
    for k in range(10):
        at = noise.table[f"place_{k}"]
        squares[np.arange(len(squares)), at] = 1.0 if k % 2 == 0 else -1.0
    shown = squares[:, 4 * 15 + 6]
    rates = {
        "on": shown > 0, "off": shown < 0, "both": np.abs(shown),
        "dark inhibits": 2 + shown,
    }[kind]  # fmt: skip
    found = on_off_fields(rates[:, None].astype(float), noise, (18, 30))
    np.testing.assert_allclose(found.field.center_px, [[9.0, 13.0]], atol=1.0)
    assert found.field.average[0, 4, 6] == found.field.average.max()


def test_squares_of_sparse_noise_are_where_the_table_says():
    made = partial(sparse_noise, duration_s=1.0, n_squares=4, flash_s=0.2)
    noise = made((18, 30), n_videos=2)
    assert (noise.n_videos, noise.n_frames, len(noise.values)) == (2, 30, 10)
    frames = noise.frames_of(1)
    for flash in range(5):
        frame = frames[6 * flash + 3].reshape(9, 2, 15, 2)
        squares = frame.max(axis=(1, 3)).ravel()
        np.testing.assert_array_equal(squares, frame.min(axis=(1, 3)).ravel())
        at = [noise.table[f"place_{k}"][5 + flash] for k in range(4)]
        assert squares[at].tolist() == [255, 0, 255, 0]
        assert (np.delete(squares, at) == GRAY).all()
    again = made((18, 30), n_videos=2)
    np.testing.assert_array_equal(again.frames_of(1), frames)
    with pytest.raises(ValueError, match="2 to 135, one per place"):
        sparse_noise((18, 30), n_squares=136)


@pytest.mark.parametrize("tilt", [0.0, 30.0, 120.0])
def test_the_axes_of_an_ellipse_are_found(tilt):
    along = np.radians(tilt)
    # Rows count downwards, angles upwards.
    axes = np.array([[-np.sin(along), np.cos(along)], [np.cos(along), np.sin(along)]])
    covariance = axes.T @ np.diag([9.0, 4.0]) @ axes
    longer, shorter, angle = axes_of(np.stack([covariance, np.full((2, 2), np.nan)]))
    np.testing.assert_allclose([longer[0], shorter[0], angle[0]], [3, 2, tilt])
    assert np.isnan([longer[1], shorter[1], angle[1]]).all()


def test_a_dot_is_black_or_white_and_ends_before_the_trial():
    for is_on in (True, False):
        dots = gaussian_dots((18, 32), (3, 5), 1, is_on=is_on)
        frames = dots.frames_of(0).astype(int)
        assert dots.n_videos == 15
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
        model_responses(
            model,
            session,
            gratings,
            np.arange(4),
            job=CallbackJob(cancelled=lambda: model.asked > 1),
        )
    with pytest.raises(UnsupportedRequestError, match="sees no video"):
        model_responses(load_predictor("mean"), session, gratings)


def test_a_long_video_is_predicted_in_windows_that_overlap(session):
    """A neuron that repeats the light of the frame has the mean light of an event."""
    frames = np.repeat(np.arange(240, dtype=np.uint8)[:, None, None], 36, 1)
    frames = np.repeat(frames, 64, 2)
    events = Events(
        np.zeros(3, int), np.array([0.2, 1.5, 7.5]), np.array([0.5, 6.0, 9.0]), PLACES[:3, 0]
    )
    stimulus = Stimulus("ramp", {}, 30.0, 1, 240, lambda _: frames, events)
    model = EnergyNeurons(reads_places=True)
    found = model_responses(model, session, stimulus, np.arange(4))
    expected = [
        np.mean(np.arange(6, 16)),
        np.mean(np.arange(45, 181)),
        np.mean(np.arange(225, 240)),
    ]
    np.testing.assert_allclose(found[:, 2], np.array(expected) / 255, atol=1e-3)
    assert model.asked == 7  # 8 s in windows of 2 s that overlap by half


def test_a_video_without_event_is_finished_without_a_prediction(session):
    frames = np.full((60, 36, 64), GRAY, np.uint8)
    events = Events(np.array([1]), np.array([0.5]), np.array([1.0]), np.zeros(1))
    stimulus = Stimulus("one of two", {}, 30.0, 2, 60, lambda _: frames, events)
    model, seen = EnergyNeurons(), []
    found = model_responses(
        model, session, stimulus, job=CallbackJob(lambda *done: seen.append(done[:2]))
    )
    assert np.isfinite(found).all()
    assert model.asked == 1
    assert seen == [(1, 2), (2, 2)]


def test_a_short_video_ends_with_its_window(session):
    shown = still_images(np.full((1, 36, 64), 255, np.uint8), (36, 64))
    model = EnergyNeurons(reads_places=True)
    found = model_responses(model, session, shown, np.arange(4))
    np.testing.assert_allclose(found, 1.0, atol=0.01)


@pytest.mark.slow
def test_levels_are_compared_at_the_preferred_direction(session):
    period = 18 * Monitor().degrees_per_pixel(64)
    shown = grating_levels((36, 64), "period_deg", (period / 2, period, 2 * period), 8, 1)
    responses = model_responses(EnergyNeurons(), session, shown, np.arange(4))
    tuning = levels_of(responses, shown)
    np.testing.assert_allclose(tuning.preferred, period)
    apart = (tuning.direction_deg - np.degrees(PREFERRED) + 180) % 360 - 180
    assert np.abs(apart).max() <= 25  # directions are 45 degrees apart


def test_a_disc_leaves_the_rest_grey():
    shown = grating_levels((36, 64), "diameter_deg", (10.0, 40.0), 1, 1, center=(9.0, 16.0))
    small, large = (shown.frames_of(k)[0] != GRAY for k in (0, 1))
    assert small.sum() < large.sum() < 36 * 64
    row, column = np.argwhere(large).mean(axis=0)
    assert np.hypot(row - 9, column - 16) < 3


def test_windows_have_the_length_that_the_model_reads(session):
    model = FramePredictor()  # 16 samples at 30 Hz
    gratings = drifting_gratings((36, 64), 4, 1, duration_s=1.0)
    responses = model_responses(model, session, gratings)
    assert np.isfinite(responses).all()
    assert len(np.unique(responses[:, 0])) == 4


def test_the_preferred_direction_of_an_axis_is_one_of_its_ends():
    directions = np.arange(0, 360, 22.5)
    two_ends = np.exp(3 * np.cos(np.radians(2 * (directions - 45))))
    more = two_ends * np.where(np.abs(directions - 225) < 60, 1.05, 1.0)
    broad = 1 + np.cos(np.radians(directions - 100))
    found = directions_of(np.stack([two_ends, more, broad], axis=1), directions)
    assert found.preferred_deg[0] % 180 == pytest.approx(45, abs=1)
    assert found.preferred_deg[1] == pytest.approx(225, abs=3)
    assert found.preferred_deg[2] == pytest.approx(100, abs=1)
