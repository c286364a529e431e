"""Dots of a recording are white or black as in its frames."""

from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.lab.recorded_trials import dots_are_black, place_trials
from omnimouse_model.lab.stimuli.gratings_and_dots import gaussian_dots
from tests.model.lab.recorded.known_neurons import recording, with_columns

SIZE, GRID = (18, 32), (3, 4)


def session_of_dots(is_white):
    """A recording of dots, of which the first third of each trial shows one."""
    n_trials = len(is_white)
    shown = [gaussian_dots(SIZE, GRID, 1, is_on=white) for white in (False, True)]
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
