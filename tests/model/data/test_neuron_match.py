from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.masks.neuron_table import matching_neurons, table_columns


def recording(ids, animal="m1", name="a", **properties):
    count = len(ids) if ids is not None else len(next(iter(properties.values())))
    arrays = {"responses": np.ones((900, count)), "rate_hz": 30.0, "id": name, "animal_id": animal}
    session = om.open_session(arrays if ids is None else {**arrays, "unit_ids": np.array(ids)})
    columns = {key: np.asarray(values) for key, values in properties.items()}
    return replace(session, units=replace(session.units, properties=columns))


def test_neurons_are_matched_by_their_ids_in_the_order_of_the_first():
    match = om.match_neurons(recording([30, 11, 12, 40]), recording([12, 30, 99], name="b"))
    np.testing.assert_array_equal(match.first, [0, 2])
    np.testing.assert_array_equal(match.second, [1, 0])
    np.testing.assert_array_equal(match.ids, [30, 12])
    assert (match.by, match.sessions, len(match)) == ("unit_id", ("a", "b"), 2)
    assert list(match.columns()) == ["unit_id", "neuron_first", "neuron_second"]
    assert "neurons 2; of a and b; by unit_id" in repr(match)


def test_the_match_is_the_same_the_other_way_round():
    draw = np.random.default_rng(0)
    first, second = (recording(draw.permutation(90)[:40] + 100, name=name) for name in "ab")
    there, back = om.match_neurons(first, second), om.match_neurons(second, first)
    pairs = set(zip(there.first.tolist(), there.second.tolist(), strict=True))
    assert pairs == set(zip(back.second.tolist(), back.first.tolist(), strict=True))
    own, other = first.units.unit_id, second.units.unit_id
    np.testing.assert_array_equal(own[there.first], other[there.second])
    assert len(there) == len(set(own.tolist()) & set(other.tolist()))


def test_ids_of_cells_come_before_those_of_one_recording():
    first = recording([5, 6, 7], cell_specimen_id=[900.0, np.nan, 902.0])
    second = recording([7, 8], name="b", cell_specimen_id=[902, 900])
    match = om.match_neurons(first, second)
    assert match.by == "cell_specimen_id"
    np.testing.assert_array_equal(match.first, [0, 2])
    np.testing.assert_array_equal(match.second, [1, 0])
    assert match.n_left_out == 1
    np.testing.assert_array_equal(om.match_neurons(first, second, by="unit_id").first, [2])


def test_ids_that_occur_twice_match_nothing_and_are_counted():
    match = om.match_neurons(recording([5, 5, 6]), recording([5, 6, 8], name="b"))
    np.testing.assert_array_equal(match.ids, [6])
    assert match.n_left_out == 2


def test_texts_can_be_ids():
    first, second = (
        recording(None, name="a", cell=["x", "y", ""]),
        recording(None, name="b", cell=["y", ""]),
    )
    np.testing.assert_array_equal(om.match_neurons(first, second, by="cell").first, [1])


@pytest.mark.parametrize(
    ("first", "second", "by", "words"),
    [
        (recording([5, 6]), recording([5, 6], animal="m2", name="b"), None, "two animals"),
        (recording([5, 6]), recording([7, 8], name="b"), None, "share no unit_id"),
        (recording([0, 1, 2]), recording([1, 2, 3], name="b"), None, "numbers the rows"),
        (recording([5, 6]), recording([5, 6], name="b"), "cell", "no column 'cell' in common"),
        (
            recording(None, cell=[1, 2]),
            recording(None, name="b", cell=["1", "2"]),
            "cell",
            "two types",
        ),
        (recording(None, cell=[0.5, 2.0]), recording(None, cell=[2.0, 3.0]), "cell", "is no id"),
    ],
)
def test_what_cannot_be_matched_is_refused_with_the_reason(first, second, by, words):
    with pytest.raises(ValueError, match=words) as caught:
        om.match_neurons(first, second, by=by)
    assert "\n" not in str(caught.value)


def test_rows_that_are_the_same_neurons_match_if_the_user_says_so():
    match = om.match_neurons(recording([0, 1, 2]), recording([1, 2], name="b"), by="unit_id")
    np.testing.assert_array_equal(match.second, [0, 1])


def test_the_table_of_neurons_has_the_ids_of_the_same_neurons_in_another_recording():
    first = recording([5, 6, 7], cell=[900, 901, 902], depth_rank=[3.0, 2.0, 1.0])
    second = recording([70, 80], name="Day 2", cell=[902, 900])
    columns = table_columns(om.join_neurons(first, second, by="cell"))
    np.testing.assert_array_equal(columns["in_day_2"], [80, np.nan, 70])
    np.testing.assert_array_equal(columns["depth_rank"], [3, 2, 1])
    np.testing.assert_array_equal(matching_neurons("in_day_2>=0", columns), [0, 2])
    np.testing.assert_array_equal(matching_neurons("in_day_2=70", columns), [2])
    assert "in_day_2" not in table_columns(first)
