"""The guard of targets that neighbouring samples of the same neuron reveal."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import omnimouse_model as om
from omnimouse_model.inference.mask_delta import mask_delta
from omnimouse_model.masks import Mask
from omnimouse_model.masks.cells import VISIBLE, guard_of, near_visible
from omnimouse_model.masks.mask import changed_neurons, input_cells, scored_cells
from tests.model.experanto_folder import write_folder
from tests.model.random_masks import masks

COUNTS = om.WindowSpec(3.0, 50.0, responses="count")
FAST = om.WindowSpec(2.0, 60.0)


def scored_samples(mask: Mask) -> list[int]:
    return np.flatnonzero(scored_cells(mask)[:, 0]).tolist()


@pytest.mark.parametrize(
    ("spec", "rate_hz", "width"),
    [
        (om.OMNIMOUSE, 3.0, 20),
        (om.OMNIMOUSE, 8.0, 8),
        (om.OMNIMOUSE, 12.0, 5),
        (om.OMNIMOUSE, 30.0, 5),
        (FAST, 8.0, 15),
        (FAST, 60.0, 10),
        (COUNTS, 8.0, 0),
    ],
)
def test_the_guard_is_two_recorded_samples_or_a_sixth_second(spec, rate_hz, width):
    guard = guard_of(spec, rate_hz)
    assert (guard.before, guard.after) == (width, width)


def test_targets_on_both_sides_of_a_visible_run_are_left_out():
    mask = Mask.nothing(1).show([0], (28, 40)).ask([0], (0, 28)).ask([0], (40, 60))
    assert scored_samples(mask) == [*range(5, 20), *range(48, 60)]
    fast = replace(mask, recording_rate_hz=30.0)
    assert scored_samples(fast) == [*range(5, 23), *range(45, 60)]


def test_official_strategies_keep_their_guard_until_they_are_changed():
    mask = om.Mask.from_strategy("causal_response_25_behavior", 40)
    assert scored_samples(mask) == list(range(30, 60))
    assert scored_samples(mask.with_frames(True)) == list(range(33, 60))


@given(mask=masks(30), neurons=st.lists(st.integers(0, 29), max_size=9), code=st.integers(0, 2))
@settings(max_examples=30)
def test_a_painted_mask_scores_what_a_mask_with_its_cells_scores(mask, neurons, code):
    scored_cells(mask)
    columns = np.random.default_rng(0).permutation(30)[: len(neurons)]
    # Two strokes: the second is on a mask whose scored cells nobody has asked for.
    painted = mask.paint(neurons[:1], (0, 60), VISIBLE).paint(neurons, (20, 45), code)
    sent = mask_delta(mask, painted).redo(mask)
    fresh = replace(painted, cells=painted.cells.copy())
    for one in (painted, sent, pickle.loads(pickle.dumps(painted))):
        np.testing.assert_array_equal(scored_cells(one), scored_cells(fresh))
        np.testing.assert_array_equal(input_cells(one, columns), input_cells(fresh)[:, columns])
        assert one.mask_id == fresh.mask_id


def test_a_stroke_while_scored_cells_are_sought_seeks_its_own_neurons_alone(monkeypatch):
    sought, during = [], []
    mask = Mask.nothing(64).ask(range(32, 64), slice(None))
    scored_cells(mask)

    def sought_near(visible, guard):
        sought.append(visible.shape[1])
        if not during:
            during.append(before.paint([3], (20, 45), VISIBLE))
        return near_visible(visible, guard)

    before = mask.paint([2], (20, 45), VISIBLE)
    monkeypatch.setattr("omnimouse_model.masks.mask.near_visible", sought_near)
    for one in (before, *during):
        scored_cells(one)
    scored_cells(during[0])
    assert sought == [1, 2]


@given(
    strokes=st.lists(st.tuples(st.integers(0, 199), st.integers(1, 4), st.integers(0, 2))),
    places=st.tuples(st.integers(0, 20), st.integers(0, 20)),
)
@settings(max_examples=30)
def test_changed_neurons_are_those_whose_cells_differ_after_any_strokes(strokes, places):
    made = [Mask.nothing(200)]
    for first, count, code in strokes:
        made.append(made[-1].paint(range(first, min(first + count, 200)), (20, 45), code))
        if code == 0:  # two strokes on one mask
            made.append(made[-2].show([first]).with_frames(True))
    before, after = (made[min(place, len(made) - 1)] for place in places)
    sent = mask_delta(before, after).redo(before)
    expected = np.flatnonzero((before.cells != after.cells).any(axis=0))
    for one in (after, sent):
        np.testing.assert_array_equal(changed_neurons(before, one), expected)
    assert sent == after


@pytest.mark.parametrize("rate_hz", [4.0, 8.0])
def test_upsampled_white_noise_cannot_be_read_off_the_scored_samples(rate_hz):
    rng = np.random.default_rng(0)
    times = np.arange(60) / 30
    recorded = np.arange(-1, 2 * rate_hz + 2) / rate_hz
    mask = Mask.nothing(1).show([0], (25, 35)).ask([0], (0, 25)).ask([0], (35, 60))
    mask = replace(mask, recording_rate_hz=rate_hz)
    noise = rng.standard_normal((2000, len(recorded)))
    phases = rng.uniform(0, 1 / rate_hz, len(noise))
    pairs = zip(phases, noise, strict=True)
    windows = np.array([np.interp(times + at, recorded, row) for at, row in pairs])
    revealed = np.corrcoef(windows.T)[mask.visible[:, 0]]
    scored = scored_cells(mask)[:, 0]
    left_out = (mask.target & ~scored_cells(mask))[5:, 0]
    # 2,000 windows: a correlation by chance is below 0.1.
    assert np.abs(revealed[:, scored]).max() < 0.1
    assert np.abs(revealed[:, 5:][:, left_out]).max() > 0.5


@pytest.mark.parametrize(
    ("rate_hz", "stated_hz", "expected_hz"),
    [(30.0, None, 30.0), (7.5, None, 7.5), (30.0, 6.0, 6.0), (7.5, 20.0, 7.5)],
)
def test_masks_know_the_rate_of_the_recording(rate_hz, stated_hz, expected_hz):
    arrays = {"responses": np.ones((600, 4)), "rate_hz": rate_hz}
    session = om.open_session(arrays, recording_rate_hz=stated_hz)
    assert session.recording_rate_hz == expected_hz
    assert Mask.nothing(session).recording_rate_hz == expected_hz
    strategy = om.Mask.from_strategy("video_behavior", session)
    assert strategy.recording_rate_hz == expected_hz


def test_a_released_recording_states_its_rate_or_is_assumed_to_have_8_hz(tmp_path):
    folder = write_folder(tmp_path / "released")
    unknown = om.open_session(folder)
    assert unknown.recording_rate_hz is None
    assert "unknown_recording_rate" in {note.code for note in unknown.assumptions}
    assert Mask.nothing(unknown).recording_rate_hz == 8
    with (folder / "responses" / "meta.yml").open("a") as file:
        file.write("original_sampling_rate: 6.3\n")
    stated = om.open_session(folder)
    assert stated.recording_rate_hz == 6.3
    assert "unknown_recording_rate" not in {note.code for note in stated.assumptions}


@pytest.mark.slow
def test_a_simulated_recording_was_not_upsampled():
    assert om.open_session(om.demo_session()).recording_rate_hz == 30
