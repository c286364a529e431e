"""Choosing neurons by place, score, words, or at random."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnimouse_model.data.open import open_session
from omnimouse_model.masks import Mask
from omnimouse_model.masks.selection import (
    are_inside,
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
)
from tests.small_sessions import write_session

POSITIONS = np.array(
    [[0, 0, 100], [10, 0, 100], [0, 20, 250], [300, 0, 400], [np.nan] * 3, [0, 0, 130]],
    np.float32,
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
        with pytest.raises(ValueError, match=message):
            select(*arguments)
    with pytest.raises(ValueError, match="Cannot draw 2 neurons of 1"):
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
