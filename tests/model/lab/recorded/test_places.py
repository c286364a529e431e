"""Recorded beside predicted places of receptive fields, from dots on a grid."""

import numpy as np
import pytest

from omnimouse_model.lab.experiments import run_experiment
from omnimouse_model.lab.recorded_trials import StimulusColumnError
from omnimouse_model.lab.recorded_tuning import compare_places
from tests.model.lab.energy_neurons import PLACES, EnergyNeurons
from tests.model.lab.recorded.known_neurons import KnownNeurons, recording, with_columns

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
def test_an_experiment_takes_the_place_of_predictions():
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
