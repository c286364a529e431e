from dataclasses import replace

import numpy as np

from omnimouse_model.lab.exciting_search import ExcitingInputs, ExcitingSettings
from omnimouse_model.lab.tuning import directions_of
from omnimouse_widgets.figures import direction_figure, direction_map_figure, exciting_figure

DIRECTIONS = np.arange(8) * 45.0


def tuning(n):
    """Neurons that prefer directions all around."""
    preferred = np.arange(n) * 360 / n
    apart = np.radians(DIRECTIONS[:, None] - preferred)
    return directions_of(1 + np.cos(apart), DIRECTIONS)


def test_a_curve_is_closed_and_points_to_its_direction():
    true = np.arange(8) * 45.0 + 3
    figure = direction_figure(tuning(8), {"neuron 7": 2}, true)
    curve, truth = figure.data
    assert curve.theta[0] == curve.theta[-1]
    assert curve.theta[int(np.argmax(curve.r))] == 90
    assert max(curve.r) == 1
    assert tuple(truth.theta) == (93.0, 93.0)


def test_neurons_lie_where_they_are_and_angles_are_cyclic(session):
    places = np.random.default_rng(0).uniform(0, 500, (session.n_neurons, 3))
    placed = replace(session, units=replace(session.units, xyz_um=places))
    figure = direction_map_figure(placed, tuning(session.n_neurons))
    (points,) = figure.data
    np.testing.assert_allclose(points.x, places[:, 0], atol=0.06)
    some = direction_map_figure(placed, tuning(session.n_neurons), np.array([5, 2]))
    np.testing.assert_allclose(some.data[0].y, places[[5, 2], 1], atol=0.06)
    assert (points.marker.cmin, points.marker.cmax) == (0, 360)
    np.testing.assert_allclose(
        points.marker.color, tuning(session.n_neurons).preferred_deg, atol=0.06
    )


def test_each_start_has_its_image_and_response():
    videos = np.zeros((2, 3, 4, 6), np.uint8)
    videos[0, :, 1, 2] = 255
    found = ExcitingInputs(
        videos, np.array([2.0, 1.5]), np.zeros((2, 5)), 0.3, 30.0, ExcitingSettings(),
        (0, 1), np.array([4]), "twin", "demo",
    )  # fmt: skip
    figure = exciting_figure(found)
    assert len(figure.data) == 2
    assert figure.data[0].z[1][2] == 255
    assert [a.text for a in figure.layout.annotations] == [
        "start 1: 2.00 s.d.",
        "start 2: 1.50 s.d.",
    ]
