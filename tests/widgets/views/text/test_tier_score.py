"""Texts of scores: the part of the recording in which a window lies."""

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_widgets.views.text.tier_score import window_tier_text


@pytest.mark.parametrize(
    ("start_s", "text"),
    [
        (1.0, "train part of the recording"),
        (2.1, "train, oracle and blank parts of the recording"),
        (8.0, "outside the parts of the recording"),
    ],
)
def test_the_parts_of_a_window_are_one_list(start_s, text):
    session = om.open_session(
        {
            "responses": np.ones((300, 3)),
            "rate_hz": 30.0,
            "trial_start": np.array([1.0, 3.0, 4.0]),
            "trial_stop": np.array([3.0, 4.0, 5.0]),
            "trial_tier": np.array(["train", "oracle", "blank"]),
        }
    )
    assert window_tier_text(session.window(start_s)) == text
