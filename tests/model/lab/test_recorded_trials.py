"""Columns of trial tables: directions, places, conventions, and their errors."""

from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.direction_tuning import trial_directions
from omnimouse_model.lab.recorded_trials import (
    StimulusColumnError,
    direction_trials,
    dots_are_black,
    place_trials,
)
from omnimouse_model.lab.stimuli.gratings_and_dots import gaussian_dots
from tests.model.lab.recorded.known_neurons import recording, with_columns

DIRECTIONS = np.tile(np.arange(8) * 45.0, 2)
GRID = [(row, column) for row in range(3) for column in range(4)]


def session_of(shown, **settings):
    return recording(shown, np.ones((len(shown), 2)), **settings)


@pytest.fixture(scope="module")
def gratings():
    tiers = ["train"] * 8 + ["final_test_1"] * 8
    shown = [
        {"Direction": d, "contrast": 0.8 if k % 2 else 0.1, "block": f"b{k // 8}"}
        for k, d in enumerate(DIRECTIONS)
    ]
    return session_of(shown, tiers=tiers)


def times_shown(session, trials):
    return session.trials.t_on[trials]


def test_directions_are_read_from_a_known_column(gratings):
    found = direction_trials(gratings)
    assert found.column == "Direction"
    assert found.has_directions
    np.testing.assert_array_equal(found.direction_deg, DIRECTIONS)
    np.testing.assert_allclose(times_shown(gratings, found.trials), 2 + np.arange(16))


@pytest.mark.parametrize(
    ("zero_deg", "is_clockwise", "expected"),
    [(0.0, False, 45.0), (90.0, False, 135.0), (90.0, True, 45.0), (0.0, True, 315.0)],
)
def test_stored_angles_become_directions_of_motion(gratings, zero_deg, is_clockwise, expected):
    found = direction_trials(gratings, zero_deg=zero_deg, is_clockwise=is_clockwise)
    assert found.direction_deg[1] == expected


@pytest.mark.parametrize("column", ["dir", "Drift_direction", "direction_deg", "ori", "theta_deg"])
@pytest.mark.parametrize("step", [30, 60])
def test_the_window_and_the_laboratory_read_the_same_directions(column, step):
    angles = [*(float(step * (k % 6)) for k in range(18)), None, True, "unknown"]
    session = session_of([{column: angle} for angle in angles])
    found, shown = direction_trials(session), trial_directions(session.trials)
    np.testing.assert_array_equal(shown.degrees[found.trials], found.direction_deg)
    assert np.isfinite(shown.degrees).sum() == 18
    assert len(found.trials) == 18
    assert shown.has_directions == found.has_directions == (step == 60 or "dir" in column.lower())
    rare = session_of([{column: angle} for angle in (*angles, 359.0)])
    assert trial_directions(rare.trials) is None  # a direction of one trial has no spread


def test_valid_trials_are_chosen_by_tier_and_by_columns(gratings):
    assert len(direction_trials(gratings, tier="test").trials) == 8
    some = direction_trials(gratings, tier="train", where={"block": "b0"})
    np.testing.assert_array_equal(some.direction_deg, DIRECTIONS[:8])
    weak = direction_trials(gratings, where={"Contrast": 0.1})
    np.testing.assert_array_equal(weak.direction_deg, DIRECTIONS[::2])
    assert len(direction_trials(gratings, where={"contrast": "0.10"}).trials) == 8
    with pytest.raises(ValueError, match=r"'oracle'.*train"):
        direction_trials(gratings, tier="oracle")
    with pytest.raises(StimulusColumnError, match="'speed'"):
        direction_trials(gratings, where={"speed": 1})
    valid = gratings.trials.valid_trial.astype("U9")
    valid[direction_trials(gratings).trials[0]] = "False"
    changed = replace(gratings, trials=replace(gratings.trials, valid_trial=valid))
    assert len(direction_trials(changed).trials) == 15


def test_parts_of_a_recording_without_tiers_are_tiers():
    onset = 1.0 + np.arange(64)
    session = om.open_session(
        {
            "responses": np.ones((66 * 30, 2)),
            "rate_hz": 30.0,
            "trial_start": onset,
            "trial_stop": onset + 0.8,
        }
    )
    extra = [{"direction": d} for d in np.tile(DIRECTIONS, 4)]
    session = with_columns(session, extra)
    assert set(session.split) == {"train", "test"}
    train, test = (direction_trials(session, tier=t).trials for t in ("train", "test"))
    assert len(train) > len(test) > 4
    assert train.max() < test.min()


def test_small_angles_of_an_orientation_are_axes_and_radians_refused():
    axes = np.tile(np.arange(6) * 30.0, 2)
    found = direction_trials(session_of([{"orientation": a} for a in axes]))
    assert not found.has_directions
    found = direction_trials(session_of([{"orientation": d} for d in DIRECTIONS]))
    assert found.has_directions
    found = direction_trials(session_of([{"direction_deg": a} for a in axes]))
    assert found.has_directions
    with pytest.raises(StimulusColumnError, match="radians"):
        direction_trials(session_of([{"theta": np.radians(d)} for d in DIRECTIONS]))


def test_any_column_can_be_named(gratings):
    shown = [{"heading": f"{d}", "direction": "null"} for d in DIRECTIONS]
    session = session_of(shown)
    found = direction_trials(session, "HEADING")
    np.testing.assert_array_equal(found.direction_deg, DIRECTIONS)
    numbered = replace(gratings.trials, stim_id=np.arange(len(gratings.trials)) * 30.0)
    named = direction_trials(replace(gratings, trials=numbered), "stim_id")
    assert named.column == "stim_id"


@pytest.mark.parametrize(
    ("shown", "column", "told"),
    [
        ({"contrast": 0.5}, None, "drift_direction.*contrast"),
        ({"contrast": 0.5}, "direction", "'direction'.*contrast"),
        ({"direction": 90.0}, None, "three directions.*direction"),
        ({"direction": "right"}, "direction", "three directions"),
        ({"direction": True}, "direction", "three directions"),
    ],
)
def test_what_is_missing_and_what_there_is_are_told(gratings, shown, column, told):
    extra = [dict(shown) if fields else {} for fields in gratings.trials.extra]
    with pytest.raises(StimulusColumnError, match=told):
        direction_trials(with_columns(gratings, extra), column)


# -- places --------------------------------------------------------------------------
def dots(names, place):
    return session_of([dict(zip(names, place(*at), strict=True)) for at in GRID])


def test_places_in_pixels_and_degrees_agree():
    monitor_deg = np.degrees(55.2 / 15)
    found = place_trials(dots(("row_px", "column_px"), lambda r, c: (9 + 9 * r, 8 + 16 * c)))
    np.testing.assert_allclose(found.rows, [9 / 64, 18 / 64, 27 / 64], atol=1e-5)
    np.testing.assert_allclose(found.columns, [0.125, 0.375, 0.625, 0.875])
    assert found.row.tolist() == [r for r, _ in GRID]

    def in_degrees(row, column):
        return (18 - (9 + 9 * row)) / 64 * monitor_deg, (column - 1.5) / 4 * monitor_deg

    same = place_trials(dots(("elevation", "Azimuth"), in_degrees))
    # A monitor of 31.0 x 55.2 cm is a little less high than 36 x 64 pixels.
    np.testing.assert_allclose(same.rows, found.rows, atol=1e-3)
    np.testing.assert_allclose(same.columns, found.columns, atol=1e-5)
    np.testing.assert_array_equal(same.row, found.row)
    np.testing.assert_array_equal(same.column, found.column)


def test_a_unit_that_no_name_tells_must_be_stated():
    session = dots(("y", "x"), lambda r, c: (9 + 9 * r, 8 + 16 * c))
    with pytest.raises(StimulusColumnError, match="'px' or 'deg'"):
        place_trials(session)
    assert place_trials(session, unit="px").names == ("y", "x")
    named = place_trials(session, ("x", "y"), "px")
    assert len(named.rows) == 4


@pytest.mark.parametrize(
    ("names", "place", "told"),
    [
        (("height", "side"), lambda r, c: (r, c), "azimuth.*height"),
        (("y_px", "x_px"), lambda r, c: (r, c * (r < 2)), "grid"),
        (("y_px", "x_px"), lambda r, c: (r * r, c), "evenly"),
        (("y_px", "x_px"), lambda r, c: (r, None), "0 chosen trials"),
    ],
)
def test_what_is_no_grid_of_places_is_refused(names, place, told):
    with pytest.raises(StimulusColumnError, match=told):
        place_trials(dots(names, place))


# -- dots of a recording are white or black as in its frames -------------------------
SIZE, DOTS = (18, 32), (3, 4)


def session_of_dots(is_white):
    """A recording of dots, of which the first third of each trial shows one."""
    n_trials = len(is_white)
    shown = [gaussian_dots(SIZE, DOTS, 1, is_on=white) for white in (False, True)]
    places = np.arange(n_trials) % 12
    clips, extra = [], []
    for place, white in zip(places, is_white, strict=True):
        stimulus = shown[int(white)]
        video = int(np.flatnonzero(stimulus.values == place)[0])
        dot = stimulus.frames_of(video)[50:51]
        clips += [np.repeat(dot, 10, axis=0), np.full((20, *SIZE), 128, np.uint8)]
        row, column = (stimulus.table[k][video] for k in ("row_px", "column_px"))
        fields = {"row_px": float(row), "column_px": float(column)}
        extra.append(fields | {"colour": "white" if white else "black"})
    onset = 3.0 + np.arange(n_trials)
    session = om.open_session(
        {
            "responses": np.ones((30 * (n_trials + 6), 2)),
            "rate_hz": 30.0,
            "video": np.concatenate(clips),
            "video_rate_hz": 30.0,
            "video_start_s": 3.0,
            "trial_start": onset,
            "trial_stop": onset + 1,
        }
    )
    rows = [extra[f["id"]] if "id" in f else {} for f in session.trials.extra]
    return with_columns(session, rows)


def test_the_colour_is_that_of_the_chosen_trials():
    session = session_of_dots([False] * 12 + [True] * 24)
    for where, expected in (({"colour": "black"}, True), ({"colour": "white"}, False)):
        assert dots_are_black(session, place_trials(session, where=where)) is expected
    assert dots_are_black(session, place_trials(session)) is False


@pytest.mark.parametrize("has_video", [True, False])
def test_without_a_dot_in_the_frames_the_colour_is_unknown(has_video):
    rows = [{"row_px": y, "column_px": x} for y in (4.0, 9.0, 14.0) for x in (4, 8, 12)]
    session = recording(rows, np.ones((9, 2)))  # its frames are gray
    found = place_trials(session)
    if not has_video:
        session = replace(session, stimulus=None)
    assert dots_are_black(session, found) is None
