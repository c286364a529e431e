from types import SimpleNamespace

import numpy as np
import pytest

from omnimouse_widgets.views.field import layout


def session(n, *, roi=None, xyz=None, plane=None, images=None):
    unknown = np.full((n, 3), np.nan, np.float32)
    units = SimpleNamespace(
        unit_id=np.arange(n),
        roi=roi,
        probe=None,
        xyz_um=unknown if xyz is None else xyz,
        xy_px=unknown[:, :2],
        plane=np.full(n, -1, np.int32) if plane is None else np.array(plane, np.int32),
    )
    return SimpleNamespace(units=units, images=images or {})


def square_outlines(corners, side, weight=None):
    """Square outlines of `side` pixels with these top left corners."""
    patch = np.stack(np.mgrid[:side, :side], -1).reshape(-1, 2)
    yx = np.concatenate([patch + corner for corner in corners]).astype(np.int16)
    count = len(patch)
    weights = np.repeat(weight or np.ones(len(corners)), count).astype(np.float32)
    offsets = np.arange(len(corners) + 1) * count
    return SimpleNamespace(offsets=offsets, yx=yx, weight=weights)


def square_field(corners, side=5, shape=(40, 40), weight=None) -> layout.Field:
    roi = square_outlines(np.array(corners), side, weight)
    images = {"mean": np.zeros(shape, np.float32)}
    return layout.session_field(session(len(corners), roi=roi, images=images))


def grid_field(size) -> layout.Field:
    """Square outlines with sides of 4 pixels, 8 pixels apart."""
    corners = np.stack(np.mgrid[0:size:8, 0:size:8], -1).reshape(-1, 2)
    return square_field(corners, side=4, shape=(size, size))


def test_clicking_again_walks_through_all_that_lie_over_each_other():
    field = square_field([(5, 5), (6, 6), (7, 7)], weight=[1.0, 3.0, 2.0])
    found = layout.neurons_at(field, 8, 8)
    clicked, selection = [], ()
    for _ in range(4):
        selection = (layout.neuron_on_click(found, selection),)
        clicked += selection
    assert clicked[0] == clicked[3] == 1
    assert sorted(clicked[:3]) == [0, 1, 2]
    assert layout.neuron_on_click(found, (20,)) == 1
    assert layout.neuron_on_click(np.array([4]), (4,)) == 4


def test_a_wholly_covered_neuron_is_lost_to_the_eye_but_not_to_the_brush():
    field = square_field([(5, 5), (5, 5)], weight=[1.0, 2.0])
    np.testing.assert_array_equal(field.without_pixels, [0])
    assert set(layout.neurons_under(field, (7.0, 7.0), (7.0, 7.0), 1.0)) == {0, 1}


@pytest.mark.parametrize("radius", [0.6, 3.0, 11.0])
def test_the_brush_hits_exactly_the_neurons_with_a_pixel_within_its_radius(radius):
    rng, field = np.random.default_rng(0), grid_field(80)
    y, x = np.mgrid[:80, :80].reshape(2, -1, 1)
    for _ in range(6):
        a, b = rng.uniform(-5, 85, (2, 2))
        along = a + np.linspace(0, 1, 401)[:, None] * (b - a)
        distance = np.hypot(y - along[:, 0], x - along[:, 1]).min(axis=1)
        owner = field.owner.ravel()
        surely = np.unique(owner[distance <= radius - 0.05])
        perhaps = np.unique(owner[distance <= radius + 0.05])
        hit = layout.neurons_under(field, a, b, radius)
        assert set(surely[surely >= 0]) <= set(hit) <= set(perhaps)


def test_a_lasso_takes_the_neurons_whose_centres_are_inside():
    field = square_field([(2, 2), (20, 20), (30, 2)])
    outline = np.array([[0, 0], [0, 12], [38, 12], [38, 0]], float)
    np.testing.assert_array_equal(layout.neurons_inside(field, outline), [0, 2])
    assert len(layout.neurons_inside(field, outline[:2])) == 0


def test_without_outlines_disks_are_drawn_at_positions_and_said_so():
    rng = np.random.default_rng(1)
    xyz = rng.uniform(0, 600, (50, 3)).astype(np.float32)
    field = layout.session_field(session(50, xyz=xyz))
    assert "xyz_um" in field.note
    order = np.argsort(xyz[:, 0])
    assert (np.diff(field.centres[order, 1]) > -2).all()
    assert len(field.without_pixels) < 5


def test_planes_without_outlines_lie_side_by_side():
    xyz = np.tile(np.array([[0, 0, 0], [100, 100, 0]], np.float32), (2, 1))
    field = layout.session_field(session(4, xyz=xyz, plane=[0, 0, 1, 1]))
    assert field.centres[:2, 1].max() < field.centres[2:, 1].min()


def planes_of(images, plane, corners=((2, 2), (2, 2), (8, 8))):
    roi = square_outlines(np.array(corners), 5)
    return layout.session_field(session(3, roi=roi, plane=plane, images=images))


def test_planes_of_a_stack_are_tiled_with_their_own_outlines():
    images = {f"mean_{i}": np.full((30, 20), i + 1, np.float32) for i in range(3)}
    field = planes_of(images, [0, 1, 2])
    assert field.labels.shape == field.mean.shape == (60, 40)
    assert len(field.without_pixels) == 0
    np.testing.assert_allclose(field.centres, [(4, 4), (4, 24), (40, 10)])
    under = field.mean[tuple(field.centres.astype(int).T)]
    np.testing.assert_array_equal(under, [1, 2, 3])


def test_outlines_of_planes_over_each_other_are_tiled_without_an_image_too():
    field = planes_of({}, [0, 1, 1])
    assert len(field.without_pixels) == 0
    assert field.mean is None
