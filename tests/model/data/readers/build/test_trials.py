import re

import numpy as np
import pytest

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.readers.build.notes import Notes, ReadOptions
from omnimouse_model.data.readers.build.trials import (
    PresentationIntervals,
    TrialClock,
    trial_intervals,
    with_tiers,
)

NAN = np.nan
UNIX = 1.7e9
CLOCK = TrialClock(Interval(0.0, 30.0), {"session_start_time": UNIX}, {"samples": 100.0})


@pytest.mark.parametrize(
    ("on", "off", "expected", "words"),
    [
        ([3, 9, 15], [5, 11, 17], [(3, 5), (9, 11), (15, 17)], ""),
        ([3, 9, 15], [5, NAN, NAN], [(3, 5), (9, 15), (15, 30)], "2 of 3 trials have"),
        ([3, 9, 9], [NAN] * 3, [(3, 9), (9, 30), (9, 30)], "3 of 3 trials have no"),
        ([3, 9, 15], [2, 2, 3], [(3, 9), (9, 15), (15, 30)], "look like durations"),
        ([3, 9, 15], [1, 8, 17], [(3, 9), (9, 15), (15, 17)], "start; each ends"),
        ([3e4], [4e4], [], "1 trial starts at 30000 s, the"),
        ([3, 9, 15], [5, 8, 17], [(3, 5), (9, 15), (15, 17)], "1 of 3 trials stop"),
        (
            [3, 9, 15],
            [11, 12, 17],
            [(3, 9), (9, 12), (15, 17)],
            "1 of 3 trials overlap",
        ),
        ([3, 9, 9], [9.0001, 20, 12], [(3, 9), (9, 20), (9, 12)], ""),
        ([15, 3, NAN], [17, 5, 11], [(3, 5), (15, 17)], "1 of 3 trials have no start"),
        ([0, 0, 0], [0, 0, 0], [], "all 3 trials start at 0 s"),
        ([9000, 25000], [11000, 26000], [(9, 11), (25, 26)], "9000 to 25000 s"),
        ([9, 40], [11, 42], [(9, 11), (40, 42)], "1 of 2 trials start outside"),
        ([UNIX + 9, UNIX + 12], [UNIX + 10] * 2, [], "subtract session_start_time"),
        ([-UNIX + 9, -UNIX + 12], [0, 0], [], "add session_start_time"),
        ([900, 2000, 2800], [0, 0, 0], [], "numbers of samples: divide them by 100"),
        (range(0, 3000, 300), [0] * 10, [], "1 of 10 trials lie .* of samples"),
        ([3, 3, 9], [5, 5, 11], [(3, 5), (3, 5), (9, 11)], "1 of 3 trials start and"),
        ([NAN, NAN], [1, 2], [], "2 of 2 trials have no start"),
    ],
)
def test_no_trial_vanishes_without_a_note(on, off, expected, words):
    notes = Notes()
    arrays = (np.array(values, np.float64) for values in (on, off))
    found = trial_intervals("trials", *arrays, {"row": range(len(on))}, CLOCK, notes)
    spans = np.stack([found.on, found.off], axis=1)
    np.testing.assert_allclose(spans, np.reshape(expected, (-1, 2)))
    messages = [note.message for note in (*notes.warnings, *notes.assumptions)]
    assert len(messages) == bool(words)
    assert all(re.search(words, message) for message in messages)


def test_trials_do_not_share_time_between_tiers_or_with_their_copies():
    on, off = np.array([3.0, 3.0, 9.0, 9.0, 15.0]), np.array([5.0, 5.0, 11, 11, 17])
    columns = {"id": range(5), "tier": ["train", "test", "test", "test", "train"]}
    notes = Notes()
    found = trial_intervals("trials", on, off, columns, CLOCK, notes)
    assert found.columns["id"] == [0, 2, 4]
    assert found.off.tolist() == [5, 11, 17]
    words = {note.code: note.message for note in notes.warnings}
    assert "1 of 5 trials equal another one" in words["repeated_trials"]
    assert "1 of 5 trials start with another one that" in words["shared_starts"]
    plain = PresentationIntervals(np.repeat(np.arange(60.0), 2), np.ones(120), {})
    tiers = with_tiers(plain, ReadOptions(split_seed=1), Notes()).columns["tier"]
    assert tiers[::2] == tiers[1::2]


def test_columns_follow_their_trials_and_events_their_unit():
    on, off = np.array([12e3, NAN, 3e3]), np.array([14e3, 2.0, 5e3])
    columns = {"go_time": [12500.0, 1.0, 3500.0], "side": ["a", "b", "c"]}
    found = trial_intervals("trials", on, off, columns, CLOCK, Notes())
    assert found.columns["side"] == ["c", "a"]
    assert found.columns["go_time"] == [3.5, 12.5]
    assert found.columns["duration_s"] == [2.0, 2.0]
