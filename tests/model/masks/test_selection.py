"""Choosing neurons by place, score, words, or at random."""

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import omnimouse_model as om
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import MaskError
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE, Mask
from omnimouse_model.masks.selection import (
    are_inside,
    distance_unit,
    grow,
    half_population_mask,
    random_subset,
    select_areas,
    select_depths,
    select_near,
    select_planes,
    select_polygon,
    select_rectangle,
    select_scores,
    select_where,
    shrink,
)
from tests.small_sessions import write_session

POSITIONS = np.array(
    [[0, 0, 100], [10, 0, 100], [0, 20, 250], [300, 0, 400], [np.nan] * 3, [0, 0, 130]], np.float32
)

FAR = ((5.0, 400.0), (-1.0, 1.0))
LASSO = [(-1.0, 5.0), (-1.0, 12.0), (9.0, 9.0)]


@pytest.fixture(scope="module")
def session_without_facts(tmp_path_factory):
    """Six neurons of which nothing is known."""
    return open_session(write_session(tmp_path_factory.mktemp("s") / "mouse", 6))


@pytest.fixture(scope="module")
def session(session_without_facts):
    units = replace(
        session_without_facts.units,
        area=np.array(["V1", "LM", "V1", "AL", "", "LM"]),
        plane=np.array([0, 0, 1, 2, -1, 0], np.int32),
        xyz_um=POSITIONS,
        xy_px=POSITIONS[:, :2] / 2,
    )
    return replace(session_without_facts, units=units)


def test_neurons_are_chosen_by_what_is_known_of_them(session):
    chosen = {
        "V1": (select_areas(session, "v1"), [0, 2]),
        "two areas": (select_areas(session, "LM", "AL"), [1, 3, 5]),
        "plane": (select_planes(session, 0), [0, 1, 5]),
        "two planes": (select_planes(session, 1, 2), [2, 3]),
        "depth": (select_depths(session, 130.0, 250.0), [2, 5]),
        "deep": (select_depths(session, low_um=250.0), [2, 3]),
        "near a neuron": (select_near(session, 0, 30.0), [0, 1, 5]),
        "in a ring": (select_near(session, 0, 30.0, beyond_um=15.0), [5]),
        "near a point": (select_near(session, (300.0, 0.0, 390.0), 10.0), [3]),
        "rectangle": (select_rectangle(session, (0.0, 5.0), (0.0, 0.0)), [0, 1, 5]),
        "in um": (select_rectangle(session, *FAR, unit="um"), [1, 3]),
        "lasso": (select_polygon(session, LASSO), [2]),
        "score": (select_scores(np.array([0.1, np.nan, 0.3, 0.2]), 0.2, 0.3), [2, 3]),
        "words": (select_where(session, "V1 depth<200 | plane=2"), [0, 3]),
        "y": (select_where(session, "y>=20 y<100"), [2]),
    }
    for what, (neurons, expected) in chosen.items():
        assert neurons.dtype == np.int64, what
        assert neurons.tolist() == expected, what


def test_words_know_states_and_scores(session):
    mask = Mask.nothing(session).ask([0, 2, 3])
    scores = np.array([0.1, 0.9, 0.5, np.nan, 0.2, 0.3], np.float32)
    words = "target score>0.2"
    found = select_where(session, words, mask=mask, span=(30, 60), scores=scores)
    assert found.tolist() == [2]
    assert select_where(session, "target hidden", mask=mask).tolist() == [0, 2, 3]


def test_what_is_not_known_is_refused_with_what_is(session_without_facts, session):
    unit = (0.0, 1.0), (0.0, 1.0)
    for select, arguments, message in (
        (select_areas, (session, "V2"), "no area 'V2'; there are AL, LM, V1"),
        (select_planes, (session, 7), "no plane 7; there are 0, 1, 2"),
        (select_near, (session, 4, 10.0), "Neuron 4 has no known position"),
        (select_near, (session, 9, 10.0), "Neuron 9 has no known position"),
        (select_near, (session, (1.0, 2.0), 10.0), r"A point is \(x, y, z\)"),
        (select_areas, (session_without_facts, "V1"), "has no brain areas"),
        (select_planes, (session_without_facts, 0), "has no imaging planes"),
        (select_depths, (session_without_facts,), "has no positions in um"),
        (select_rectangle, (session_without_facts, *unit), "has no positions in px"),
        (random_subset, (session, 7, 0), "Cannot draw 7 neurons of 6"),
    ):
        with pytest.raises(MaskError, match=message):
            select(*arguments)
    with pytest.raises(MaskError, match="Cannot draw 2 neurons of 1"):
        random_subset(session, 2, 0, among=[1])


@given(st.integers(3, 12), st.floats(0, 6), st.floats(0.5, 3.0))
def test_a_polygon_holds_the_points_within_it(k, turn, size):
    angles = turn + np.arange(k) * 2 * np.pi / k
    corners = size * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    inner = size * np.cos(np.pi / k) * 0.999
    points = np.array([[0, 0], [inner, 0], [0, -inner], [size * 1.001, 0], [9, 9]])
    assert are_inside(points, corners).tolist() == [True, True, True, False, False]
    assert not are_inside(np.full((1, 2), np.nan), corners).any()
    assert not are_inside(points, corners[:2]).any()


def test_a_corner_at_the_height_of_a_point_is_crossed_once():
    diamond = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 1.0], [1.0, 0.0]])
    points = np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 3.0], [0.0, 0.0], [2.0, 0.0]])
    for corners in (diamond, diamond[::-1], np.roll(diamond, 1, axis=0)):
        assert are_inside(points, corners).tolist() == [True] + 4 * [False]


@given(st.data(), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_larger_subsets_contain_smaller_ones(data, count, seed):
    small, large = sorted(data.draw(st.tuples(*[st.integers(0, count)] * 2)))
    one, other = (random_subset(count, n, seed) for n in (small, large))
    assert one.tolist() == other[:small].tolist()
    assert len(set(other.tolist())) == large
    pool = data.draw(st.sets(st.integers(0, count - 1)))
    within = random_subset(count, len(pool), seed, among=sorted(pool))
    assert set(within.tolist()) == pool
    whole = random_subset(count, count, seed).tolist()
    assert count < 20 or whole != random_subset(count, count, seed + 1).tolist()
    assert within.tolist() == [neuron for neuron in whole if neuron in pool]


def test_a_strategy_with_a_seed_shows_the_subset_of_that_seed(session):
    assert random_subset(session, 3, 4).tolist() == random_subset(6, 3, 4).tolist()
    mask = Mask.from_strategy("population_256_response_behavior", 5000, seed=9)
    shown = np.flatnonzero(mask.visible.any(axis=0))
    assert set(shown.tolist()) == set(random_subset(5000, 256, 9).tolist())
    half = np.flatnonzero(half_population_mask(5000, seed=9).visible.any(axis=0))
    assert set(half.tolist()) == set(random_subset(5000, 2500, 9).tolist())


# -- growing and shrinking what is painted, by distance: neurons in lines and clouds -
def session_of(xyz: Any = None, xy: Any = None, plane: Any = None) -> Session:
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
    np.testing.assert_array_equal(grow(session_of(places), chosen, distance), wanted)


def test_shrinking_is_growing_of_the_others():
    here, chosen = session_of(random_places(400)), np.arange(200)
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
    here = session_of(**places)
    assert distance_unit(here) == ("px" if "xy" in places else "µm")
    np.testing.assert_array_equal(grow(here, np.array([chosen]), distance), grown)


def test_nothing_everything_and_unknown_places_stay_as_they_are():
    np.testing.assert_array_equal(shrink(session_of(UNKNOWN), np.array([0, 1]), 10.0), [1])
    here = session_of(random_places(20))
    assert len(grow(here, np.empty(0, int), 50.0)) == 0
    np.testing.assert_array_equal(shrink(here, np.arange(20), 50.0), np.arange(20))


def test_no_positions_and_no_distance_are_refused():
    nowhere = session_of(np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match="has no positions"):
        grow(nowhere, np.array([0]), 5.0)
    with pytest.raises(ValueError, match="0 or more"):
        grow(session_of(random_places(3)), np.array([0]), -1.0)


def test_the_unit_is_the_one_that_places_more_neurons():
    xyz = np.full((5, 3), np.nan)
    xyz[0] = 0.0
    pixels = np.array([[0.0, 0], [4, 0], [8, 0], [12, 0], [16, 0]])
    here = session_of(xyz, pixels, np.zeros(5, int))
    assert distance_unit(here) == "px"
    np.testing.assert_array_equal(grow(here, np.array([0]), 5.0), [0, 1])
    assert distance_unit(session_of(pixels @ np.eye(2, 3), pixels)) == "µm"


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
