"""Growing and shrinking what is painted, by distance: neurons in lines and clouds."""

import sys
from typing import Any

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.session import Session
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_model.masks.selection import distance_unit, grow, shrink


def session(xyz: Any = None, xy: Any = None, plane: Any = None) -> Session:
    """Silent neurons at known places."""
    n = len(xyz) if xyz is not None else len(xy)
    places = {"xyz_um": xyz, "xy_px": xy, "plane": plane}
    known = {k: np.asarray(v) for k, v in places.items() if v is not None}
    silent = np.zeros((600, n), np.float32)
    return om.open_session({"responses": silent, "rate_hz": 30.0} | known)


def random_places(n: int) -> np.ndarray:
    return np.random.default_rng(5).uniform(0, 1000, (n, 3)) * (1, 1, 0.3)


@pytest.mark.parametrize("has_scipy", [True, False])
@pytest.mark.parametrize("distance", [0.0, 15.0, 80.0, 2000.0])
def test_growing_takes_what_is_within_the_distance(monkeypatch, distance, has_scipy):
    if not has_scipy:
        monkeypatch.setitem(sys.modules, "scipy.spatial", None)
    places, chosen = random_places(400), np.arange(0, 400, 40)
    apart = np.linalg.norm(places[:, None] - places[None, chosen], axis=2)
    wanted = np.flatnonzero(apart.min(axis=1) <= distance)
    np.testing.assert_array_equal(grow(session(places), chosen, distance), wanted)


def test_shrinking_is_growing_of_the_others():
    here, chosen = session(random_places(400)), np.arange(200)
    kept = shrink(here, chosen, 60.0)
    lost = np.setdiff1d(np.arange(400), grow(here, np.arange(200, 400), 60.0))
    np.testing.assert_array_equal(kept, lost)
    assert 0 < len(kept) < 200


UNKNOWN = [[0, 0, 0], [np.nan] * 3, [5, 0, 0]]
DEEP = [[0.0, 0, 0], [10, 0, np.nan], [10, 0, 90], [300, 0, np.nan]]
FLAT = [[0.0, 0, np.nan], [10, 0, np.nan], [50, 0, np.nan]]


@pytest.mark.parametrize(
    ("places", "chosen", "distance", "grown"),
    [
        ({"xyz": [[0.0, 0, 0], [0, 0, 30], [0, 0, 100]]}, 0, 30.0, [0, 1]),
        ({"xy": [[0.0, 0], [5, 0], [5, 0]], "plane": [0, 0, 1]}, 0, 6.0, [0, 1]),
        # A neuron of unknown place is near to none.
        ({"xyz": UNKNOWN}, 0, 1e5, [0, 2]),
        ({"xyz": UNKNOWN}, 1, 1e5, [1]),
        # Without a depth, near is across the cortex.
        ({"xyz": DEEP}, 0, 20.0, [0, 1]),
        ({"xyz": DEEP}, 1, 20.0, [0, 1, 2]),
        ({"xyz": FLAT}, 0, 20.0, [0, 1]),
    ],
)
def test_places_that_are_known_in_part_count(places, chosen, distance, grown):
    here = session(**places)
    assert distance_unit(here) == ("px" if "xy" in places else "µm")
    np.testing.assert_array_equal(grow(here, np.array([chosen]), distance), grown)


def test_nothing_everything_and_unknown_places_stay_as_they_are():
    np.testing.assert_array_equal(shrink(session(UNKNOWN), np.array([0, 1]), 10.0), [1])
    here = session(random_places(20))
    assert len(grow(here, np.empty(0, int), 50.0)) == 0
    np.testing.assert_array_equal(shrink(here, np.arange(20), 50.0), np.arange(20))


def test_no_positions_and_no_distance_are_refused():
    nowhere = session(np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match="has no positions"):
        grow(nowhere, np.array([0]), 5.0)
    with pytest.raises(ValueError, match="0 or more"):
        grow(session(random_places(3)), np.array([0]), -1.0)


def test_the_unit_is_the_one_that_places_more_neurons():
    xyz = np.full((5, 3), np.nan)
    xyz[0] = 0.0
    pixels = np.array([[0.0, 0], [4, 0], [8, 0], [12, 0], [16, 0]])
    here = session(xyz, pixels, np.zeros(5, int))
    assert distance_unit(here) == "px"
    np.testing.assert_array_equal(grow(here, np.array([0]), 5.0), [0, 1])
    assert distance_unit(session(pixels @ np.eye(2, 3), pixels)) == "µm"


def controller_for(xyz: Any, visible: list[int], **more: Any) -> Controller:
    """Neurons at these places in µm, some visible over the whole window."""
    rates = np.random.default_rng(0).gamma(1.0, 2.0, (900, len(xyz)))
    known = {"responses": rates, "rate_hz": 30.0, "xyz_um": np.array(xyz)}
    made = Controller(synchronous=True)
    made.loader.open_now(om.open_session(known | more))
    made.editor.apply_preset("nothing")
    made.editor.paint_cells(visible, slice(0, 60), VISIBLE)
    made.editor.set_brush(VISIBLE)
    made.editor.set_active_span(0, 60)
    return made


@pytest.fixture
def controller():
    """Ten neurons on a line, 20 µm apart."""
    made = controller_for([[20.0 * k, 0, 0] for k in range(10)], [4, 5])
    yield made
    made.close()


def visible_neurons(controller: Controller) -> list[int]:
    states = controller.state.mask.state_in((0, 60))
    return np.flatnonzero(states == VISIBLE).tolist()


def test_growing_and_shrinking_are_steps_that_can_be_undone(controller):
    region = controller.painted_region
    assert (region.unit, region.distance) == ("µm", 30.0)
    region.grow()
    assert visible_neurons(controller) == [3, 4, 5, 6]
    assert "30 µm" in controller.editor.undo_name
    region.set_distance(45.0)
    region.grow()
    assert visible_neurons(controller) == [1, 2, 3, 4, 5, 6, 7, 8]
    region.set_distance(20.0)
    region.shrink()
    assert visible_neurons(controller) == [2, 3, 4, 5, 6, 7]
    assert "20 µm" in controller.editor.undo_name
    controller.editor.undo()
    controller.editor.undo()
    assert visible_neurons(controller) == [3, 4, 5, 6]
    controller.editor.redo()
    assert visible_neurons(controller) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_the_hidden_grow_over_the_others_and_do_not_shrink(controller):
    controller.editor.set_brush(HIDDEN)
    assert controller.painted_region.can_grow
    assert not controller.painted_region.can_shrink
    controller.painted_region.shrink()
    assert visible_neurons(controller) == [4, 5]
    controller.painted_region.grow()
    assert visible_neurons(controller) == []


def test_where_nothing_is_painted_so_nothing_grows(controller):
    controller.editor.set_brush(TARGET)
    assert not controller.painted_region.can_grow
    before = controller.state.mask
    controller.painted_region.grow()
    assert controller.state.mask is before


def test_what_is_not_looked_at_neither_grows_nor_shrinks():
    xyz = [[0.0, 0, 0], [20, 0, 0], [0, 0, 20], [20, 0, 20]]
    made = controller_for(xyz, [0], plane=np.array([1, 1, 2, 2]))
    made.planes.show(1)
    made.painted_region.grow()
    assert visible_neurons(made) == [0, 1]
    made.editor.paint_cells([0, 1, 2], slice(0, 60), VISIBLE)
    made.painted_region.shrink()
    assert visible_neurons(made) == [2]
    made.close()
