"""Recorded beside predicted orientations: differences, intervals, noise."""

from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.lab.experiments import run_experiment
from omnimouse_model.lab.recorded_trials import StimulusColumnError
from omnimouse_model.lab.recorded_tuning import compare_directions, compare_places
from omnimouse_model.progress import CallbackJob
from tests.model.lab.energy_neurons import PLACES, PREFERRED, EnergyNeurons
from tests.model.lab.recorded.known_neurons import (
    KnownNeurons,
    directions_shown,
    grating_session,
    recording,
    tuned,
    turned_model,
    with_columns,
)

PREFERRED_DEG = np.linspace(0, 330, 12)
MANY_DEG = np.linspace(0, 357, 120)


@pytest.fixture(scope="module")
def clean():
    """A recording without noise."""
    return grating_session(PREFERRED_DEG)


def values_of(found):
    return {value.name: value for value in found.summary}


@pytest.mark.slow
@pytest.mark.parametrize("turn", [0.0, 25.0, -70.0, 90.0])
def test_the_difference_is_the_angle_by_which_a_model_is_turned(clean, turn):
    model = turned_model(PREFERRED_DEG, turn)
    found = compare_directions(model, clean, n_resamples=50)
    np.testing.assert_allclose(found.columns["difference_deg"], abs(turn), atol=1)
    np.testing.assert_allclose(found.columns["noise_deg"], 0, atol=1e-4)
    near = found.columns["recorded_preferred_deg"] - PREFERRED_DEG
    np.testing.assert_allclose((near + 180) % 360 - 180, 0, atol=2)
    difference = values_of(found)["median_difference"]
    assert difference.n == 12
    assert difference.low <= difference.value <= difference.high
    assert found.columns["curve_correlation"][0] == pytest.approx(1, abs=1e-5) or turn


@pytest.mark.slow
def test_intervals_cover_the_true_difference_and_noise_is_told():
    turn = 20.0
    session = grating_session(MANY_DEG, noise=1.0)
    found = compare_directions(turned_model(MANY_DEG, turn), session)
    low, high = (found.columns[f"difference_{end}_deg"] for end in ("low", "high"))
    is_covered = (low <= turn) & (turn <= high)
    assert 0.88 <= is_covered.mean() <= 1
    # What noise alone gives, and what a perfect model is away in this recording.
    perfect = compare_directions(turned_model(MANY_DEG, 0.0), session)
    alone = np.median(perfect.columns["difference_deg"])
    assert np.median(found.columns["noise_deg"]) == pytest.approx(alone, rel=0.25)
    halves = np.median(found.columns["split_half_deg"])
    assert halves == pytest.approx(2 * alone, rel=0.3)
    assert values_of(perfect)["share_within_noise"].value > 0.88
    assert values_of(found)["share_within_noise"].value < 0.5


@pytest.mark.slow
def test_two_trials_of_a_direction_give_intervals_that_cover():
    directions = directions_shown(repeats=2)
    session = grating_session(MANY_DEG, directions, noise=0.7)
    found = compare_directions(turned_model(MANY_DEG, 0, directions), session)
    assert (found.columns["difference_low_deg"] == 0).mean() > 0.88


@pytest.mark.slow
def test_noise_widens_the_interval():
    model, widths = turned_model(PREFERRED_DEG, 30.0), []
    for noise in (0.3, 1.5):
        columns = compare_directions(model, grating_session(PREFERRED_DEG, noise=noise)).columns
        width = columns["difference_high_deg"] - columns["difference_low_deg"]
        widths.append(np.median(width))
    assert widths[1] > 2 * widths[0]


def test_a_direction_that_was_shown_once_has_no_interval():
    directions = directions_shown(repeats=1)
    session = grating_session(PREFERRED_DEG, directions)
    found = compare_directions(turned_model(PREFERRED_DEG, 25.0, directions), session)
    np.testing.assert_allclose(found.columns["difference_deg"], 25, atol=1)
    for name in ("difference_low_deg", "noise_deg", "split_half_deg"):
        assert np.isnan(found.columns[name]).all()
    assert values_of(found)["median_noise"].n == 0


@pytest.mark.slow
def test_angles_of_another_convention_are_turned():
    directions = directions_shown()
    stored = [{"Angle": str((90 - d) % 360)} for d in directions]
    session = recording(stored, tuned(directions, PREFERRED_DEG))
    found = compare_directions(
        turned_model(PREFERRED_DEG, 0.0), session, zero_deg=90.0, is_clockwise=True
    )
    away = found.columns["recorded_preferred_deg"] - PREFERRED_DEG
    np.testing.assert_allclose((away + 180) % 360 - 180, 0, atol=2)
    assert found.about["column"] == "Angle"
    as_stored = compare_directions(turned_model(PREFERRED_DEG, 0.0), session)
    np.testing.assert_allclose(as_stored.columns["difference_deg"], 0, atol=1)
    assert not np.allclose(as_stored.columns["recorded_preferred_deg"], PREFERRED_DEG)


@pytest.mark.slow
def test_neurons_behaviour_and_provenance_are_those_asked_for(clean):
    model = turned_model(PREFERRED_DEG, 10.0)
    chosen = np.array([7, 2])
    found = compare_directions(model, clean, chosen, behavior="visible", seed=3)
    assert model.behavior == {"visible"}
    table = found.to_dataframe()
    assert table["neuron"].tolist() == [7, 2]
    assert table["n_trials"].tolist() == [48, 48]
    expected = {"predictor": "known", "session": "9-1-1", "column": "direction"}
    assert expected.items() <= table.attrs.items()
    assert table.attrs["recording"] == clean.fingerprint
    assert table.attrs["seed"] == 3
    hidden = turned_model(PREFERRED_DEG, 10.0)
    compare_directions(hidden, clean, chosen)
    assert hidden.behavior == {"hidden"}


@pytest.mark.slow
def test_an_experiment_takes_the_place_of_predictions():
    turn = 35.0
    session = grating_session(np.degrees(PREFERRED) + turn)
    waves = {"periods_deg": (60.0,), "temporal_hz": (2.0,)}
    shown = run_experiment("directions", EnergyNeurons(), session, repeats=1, **waves)
    found = compare_directions(shown, session)
    # The model itself prefers these directions only within some degrees.
    np.testing.assert_allclose(found.columns["difference_deg"], turn, atol=6)
    in_silico = shown.findings.columns["orientation_deg"]
    np.testing.assert_allclose(found.columns["predicted_orientation_deg"], in_silico)
    assert found.about["experiment"] == "directions"
    # Eight recorded directions are among the sixteen of the experiment.
    assert np.isfinite(found.predicted).all()
    other = grating_session(np.degrees(PREFERRED), noise=0.1)
    np.testing.assert_allclose(
        compare_directions(shown, other).columns["difference_deg"], 0, atol=6
    )


@pytest.mark.slow
def test_an_experiment_of_another_session_or_kind_is_refused(session, clean):
    shown = run_experiment(
        "directions", EnergyNeurons(), session, np.arange(2), repeats=1, n_directions=4
    )
    with pytest.raises(ValueError, match="9-1-1"):
        compare_directions(shown, clean)
    levels = run_experiment("contrast", EnergyNeurons(), clean, np.arange(2), repeats=1)
    with pytest.raises(ValueError, match="'contrast'"):
        compare_directions(levels, clean)


def test_a_model_or_session_without_video_is_refused(clean):
    with pytest.raises(UnsupportedRequestError, match="'mean'"):
        compare_directions(om.load_predictor("mean"), clean)
    with pytest.raises(UnsupportedRequestError, match="9-1-1"):
        compare_directions(turned_model(PREFERRED_DEG, 0.0), replace(clean, stimulus=None))


def test_a_stopped_comparison_says_so(clean):
    seen = []
    with pytest.raises(StoppedError):
        compare_directions(
            turned_model(PREFERRED_DEG, 0.0),
            clean,
            job=CallbackJob(lambda *of: seen.append(of[:2]), lambda: len(seen) == 3),
        )
    assert seen[-1][0] == 3 < seen[-1][1]


@pytest.mark.slow
def test_missing_samples_and_silent_neurons_are_left_out():
    directions = directions_shown()
    session = grating_session(PREFERRED_DEG, noise=0.2)
    responses = session.responses.data.copy()
    responses[700:900, 0] = np.nan
    responses[:, 1] = 0
    responses[:, 2] = np.nan
    arrays = {"responses": responses, "rate_hz": 30.0, "id": "9-1-1"}
    changed = replace(session, responses=om.open_session(arrays).responses)
    found = compare_directions(turned_model(PREFERRED_DEG, 15.0), changed)
    columns = found.columns
    assert 40 <= columns["n_trials"][0] < len(directions)
    assert columns["difference_deg"][0] == pytest.approx(15, abs=5)
    assert columns["n_trials"][2] == 0
    for name in ("difference_deg", "difference_low_deg", "noise_deg", "recorded_osi"):
        assert np.isfinite(columns[name]).tolist() == [True, False, False] + [True] * 9


@pytest.mark.slow
def test_unbalanced_and_few_directions_are_noted(clean):
    assert clean.trials.extra
    directions = np.tile([0.0, 90.0, 180.0, 270.0], 4)
    few = grating_session(PREFERRED_DEG, directions)
    notes = compare_directions(turned_model(PREFERRED_DEG, 0, directions), few).notes
    assert len(notes) == 1
    assert "2 orientations" in notes[0]
    directions = np.tile([0.0, 45.0, 90.0], 4)
    uneven = grating_session(PREFERRED_DEG, directions)
    notes = compare_directions(turned_model(PREFERRED_DEG, 0, directions), uneven).notes
    assert any("evenly" in note for note in notes)
    assert compare_directions(turned_model(PREFERRED_DEG, 0), clean).notes == ()


def test_directions_outside_the_recording_are_told(clean):
    trials = replace(clean.trials, t_on=clean.trials.t_on + 1e4)
    moved = replace(clean, trials=replace(trials, t_off=clean.trials.t_off + 1e4))
    with pytest.raises(StimulusColumnError, match="within"):
        compare_directions(turned_model(PREFERRED_DEG, 0.0), moved)


# -- recorded beside predicted places of receptive fields, from dots on a grid -------
ROWS, COLUMNS = np.arange(5) * 7 + 4.0, np.arange(6) * 8 + 12.0
"""A grid that does not cover the frame, in pixels of 36 x 64."""
FIELDS = np.array([[14.0, 30.0], [21.0, 40.0]])


def dots_shown(repeats):
    once = np.stack(np.meshgrid(ROWS, COLUMNS, indexing="ij"), -1).reshape(-1, 2)
    return np.random.default_rng(2).permutation(np.tile(once, (repeats, 1)))


def evoked(places, fields):
    away = ((places[:, None] - fields) ** 2).sum(axis=2)
    return 6 * np.exp(-away / (2 * 9.0**2)) + 0.2


def dot_session(repeats=2, fields=FIELDS, **settings):
    places = dots_shown(repeats)
    shown = [{"row_px": row, "column_px": column} for row, column in places.tolist()]
    return recording(shown, evoked(places, fields), **settings)


def moved_model(by, repeats=2):
    return KnownNeurons(evoked(dots_shown(repeats), FIELDS + np.array(by)))


@pytest.mark.slow
def test_the_distance_is_that_by_which_a_model_is_moved():
    found = compare_places(moved_model((3.0, 4.0)), dot_session())
    columns = found.columns
    np.testing.assert_allclose(columns["difference_widths"], 5 / 64, atol=1e-4)
    places = columns["recorded_row_widths"], columns["recorded_column_widths"]
    np.testing.assert_allclose(np.stack(places, 1) * 64, FIELDS, atol=1e-2)
    assert found.summary[0].value == pytest.approx(5 / 64, abs=1e-4)
    assert found.about["place_columns"] == ["row_px", "column_px"]
    assert found.to_dataframe()["n_trials"].tolist() == [60, 60]


@pytest.mark.slow
def test_intervals_cover_and_widen_with_noise():
    fields = np.tile(FIELDS, (6, 1)) + np.linspace(-2, 2, 12)[:, None]
    truth = np.hypot(3, 4) / 64
    model = KnownNeurons(evoked(dots_shown(4), fields + np.array([3.0, 4.0])))
    widths = []
    for noise in (0.2, 0.8):
        session = dot_session(4, fields, noise=noise)
        columns = compare_places(model, session).columns
        low, high = (columns[f"difference_{end}_widths"] for end in ("low", "high"))
        assert ((low <= truth) & (truth <= high)).mean() > 0.8
        widths.append(np.median(high - low))
    assert widths[1] > 1.5 * widths[0]


@pytest.mark.slow
def test_an_experiment_of_dots_takes_the_place_of_predictions():
    session = dot_session(1, PLACES[[0, 1]] + np.array([0.0, 6.0]))
    model = EnergyNeurons(reads_places=True)
    shown = run_experiment("fields", model, session, repeats=1)
    columns = compare_places(shown, session).columns
    np.testing.assert_allclose(columns["difference_widths"], 6 / 64, atol=0.03)
    assert np.isnan(columns["difference_low_widths"]).all()
    gratings = run_experiment("directions", model, session, repeats=1, n_directions=4)
    with pytest.raises(ValueError, match="'directions'"):
        compare_places(gratings, session)


@pytest.mark.slow
def test_a_place_outside_the_recording_is_told():
    session = dot_session(1)
    extra = [dict(fields) for fields in session.trials.extra]
    shown = [k for k, fields in enumerate(extra) if fields]
    # One place is only shown in the first second, before the first window.
    session.trials.t_on[shown[0]] = 0.1
    with pytest.raises(StimulusColumnError, match="Not all places"):
        compare_places(moved_model((0.0, 0.0), 1), with_columns(session, extra))
