"""The words that choose neurons."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import MaskError
from omnimouse_model.masks import HIDDEN, MIXED, PATTERN_NAMES, TARGET, VISIBLE, Mask
from omnimouse_model.masks.neuron_table import (
    matching_neurons,
    named_columns,
    table_columns,
    tuned_by,
)

COLUMNS = {
    "id": np.arange(5),
    "area": np.array(["V1", "LM", "V1", "AL", "LM"]),
    "state": np.array(["target", "visible", "hidden", "target", "mixed"]),
    "depth": np.array([100.0, 250.0, np.nan, 300.0, 120.0]),
    "score": np.array([0.5, np.nan, 0.1, 0.7, 0.2]),
}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", [0, 1, 2, 3, 4]),
        ("V1", [0, 2]),
        ("v1", [0, 2]),
        ("target", [0, 3]),
        ("target V1", [0]),
        ("3", [3]),
        ("depth<=120", [0, 4]),
        ("score>0.15 depth<200", [0, 4]),
        ("id=2", [2]),
        ("unit=2", [2]),  # the title of the ids on screen
        ("unit_id=2", [2]),  # as in files
        ("nowhere", []),
        ("area=v1", [0, 2]),
        ("area=V", []),
        ("area!=V1", [1, 3, 4]),
        ("depth < 260 score > 0", [0, 4]),
        ("V1 | AL", [0, 2, 3]),
        # What a Python user writes.
        ("area == 'V1' and score > 0.2", [0]),
        ('area=="v1" OR area != "V1"', [0, 1, 2, 3, 4]),
        ("area=='V1 deep' or depth == 100", [0]),
        ("area == 'V1'and score > 0.2", [0]),
        ("area=='V1'or area=='AL'", [0, 2, 3]),
        ("V1 and !'target'", [2]),
        ("V1 target | LM mixed", [0, 4]),
        ("!V1", [1, 3, 4]),
        ("!V1 !target", [1, 4]),
        ("depth!=100", [1, 3, 4]),
        ("score<1e3 depth>-5", [0, 3, 4]),
        ("depth>0", [0, 1, 3, 4]),  # what is unknown satisfies no comparison
        ("depth<1000", [0, 1, 3, 4]),
    ],
)
def test_words_keep_the_neurons_they_describe(text, kept):
    assert list(matching_neurons(text, COLUMNS)) == kept


def test_few_neurons_without_tuning_pass_one_of_the_two_tests():
    drawn = np.random.default_rng(0).random((2, 20_000))
    assert 0.045 < tuned_by([*drawn[:1]])[0].mean() < 0.055
    assert 0.045 < tuned_by([*drawn])[0].mean() < 0.055


def test_tuned_neurons_have_a_small_p_value_of_orientation_or_direction():
    orientation = np.array([0.005, 0.04, 0.05, np.nan, 0.9])
    columns = COLUMNS | {"recorded_p_orientation": orientation}
    assert list(matching_neurons("Tuned", columns)) == [0, 1]
    # Of axes, no neuron has a direction: orientation alone tells who is not tuned.
    columns["recorded_p_direction"] = np.full(5, np.nan)
    assert list(matching_neurons("!tuned", columns)) == [2, 4]
    columns["recorded_p_direction"] = np.array([0.9, 0.9, 0.9, np.nan, 0.02])
    # Of two tests, each has half the level.
    assert list(matching_neurons("tuned", columns)) == [0, 4]
    assert list(matching_neurons("tuned V1 | AL", columns)) == [0, 3]
    # Whether a neuron without a p value is tuned is not known.
    assert list(matching_neurons("!tuned", columns)) == [1, 2]
    assert list(matching_neurons("!!tuned", columns)) == [0, 4]
    columns["recorded_p_orientation"] = np.array(["0.01", "", "x", "y", ""])
    assert list(matching_neurons("tuned", columns)) == [4]
    with pytest.raises(MaskError, match="the numbers"):
        matching_neurons("tuned", columns | {"recorded_p_direction": np.full(5, "low")})
    # A word of the user's own table comes first.
    columns["kind"] = np.array(["tuned", "", "", "", ""])
    assert list(matching_neurons("tuned", columns)) == [0]
    assert list(matching_neurons("!tuned", columns)) == [1, 2, 3, 4]


def test_a_p_value_below_the_least_one_is_refused_with_the_least():
    name = "recorded_p_orientation"
    columns = COLUMNS | {name: np.array([1 / 201, 0.04, 0.5, np.nan, 0.9])}
    assert list(matching_neurons(f"{name}<0.005", columns)) == [0]
    assert list(matching_neurons(f"{name}<0.005 AL", columns)) == []
    for text in (f"{name}<0.001", f"{name}<=0.004 V1", f"V1 | !{name}<0"):
        with pytest.raises(MaskError, match=r"p cannot be below 1/201, which is 0\.0050"):
            matching_neurons(text, columns)
    # Of the user's own table, from more shuffles.
    columns[name] = np.array([1e-4, 0.04, 0.5, np.nan, 0.9])
    assert list(matching_neurons(f"{name}<0.001", columns)) == [0]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", ()),
        ("V1 412 |", ()),
        ("score > 0.3 V1 | !depth<250 score<1", ("score", "depth")),
        ("!tuned depth<250", ("recorded_p_direction", "depth")),
        ("size>3", ()),
    ],
)
def test_a_filter_names_the_columns_that_it_compares(text, named):
    assert named_columns(text, (*COLUMNS, "recorded_p_direction")) == named


def test_a_neuron_is_found_by_an_id_of_any_length():
    ids = np.array([7, 864_691_135, 1_033_388_342, 864_691_135_341_234_567])
    for at, number in enumerate(ids):
        assert list(matching_neurons(str(number), {"id": ids})) == [at]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size>3", r"No column 'size'; there are id, area, state, depth, score\.$"),
        ("recorded_osi>0.3", r"No column 'recorded_osi'.* Compute all makes those"),
        ("!tuned", r"'tuned' is not computed yet: .* Compute all .*recorded_p_orientation or "),
        ("depth<", r"'depth<' is no comparison; write depth<250"),
        ("depth<1<2", r"'depth<1<2' is no comparison"),
        ("!", r"'!' is no comparison"),
        ("depth<deep", r"'depth' holds numbers, 'deep' is none"),
        ("depth<1.2.3", r"'1\.2\.3' is none"),
        ("area<V1", r"'area' holds text: write area=v1"),
        ("V1 |", r"'\|' stands between two alternatives"),
        # What only Python gives a meaning selected nothing, or what no one asked for.
        ("not V1", "^'not' selects nothing; write V1 and !target"),
        ("V1 and not target", "^'not' selects"),
        ("area in ('V1', 'LM')", "^'in' selects"),
        ("area is 'V1'", "^'is' selects"),
        ("area=='V1' & score>0.2", "^'&' selects"),
        ("area=='V1'&target", "^'v1&target' selects"),
        ("area!='V1'&target", "^'v1&target' selects"),
        ("~V1", "^'~v1' selects"),
        ("(V1)", r"^'\(v1\)' selects"),
        ("area == ('V1')", r"^'\(v1\)' selects"),
        ("area == 'V1", "^''v1' selects"),
        ("'V1'target", "^'v1target' selects"),
        ("V1 and", "^'and' stands between two terms: V1 and target"),
        ("or V1", "^'or' stands between"),
        ("V1 and | LM", "^'and' stands between"),
    ],
)
def test_what_means_nothing_is_refused_with_what_would(text, message):
    with pytest.raises(MaskError, match=message):
        matching_neurons(text, COLUMNS)


def test_a_text_in_quotes_may_have_spaces():
    columns = COLUMNS | {"kind": np.array(["", "large soma", "large", "", "large soma"])}
    assert list(matching_neurons("kind == 'large soma' and score<1", columns)) == [4]
    assert list(matching_neurons('"large soma"', columns)) == [1, 4]
    assert named_columns("kind=='a score' or depth>2", columns) == ("kind", "depth")


def test_signs_and_words_of_a_text_mean_nothing_else():
    kinds = ["a|b", "a=b", "x and y", "L5 & 6", "in 🐭"]
    columns = COLUMNS | {"kind": np.array(kinds)}
    for at, kind in enumerate(kinds):
        assert list(matching_neurons(f"kind == '{kind}'", columns)) == [at]
        assert list(matching_neurons(f'"{kind}" depth>0 or id=={at}', columns)) == [at]
    # Without quotes, too, where a neuron has such a text.
    assert list(matching_neurons("in", columns)) == [4]


@pytest.mark.slow
@given(st.text(alphabet="V1LMdepthscoreid<>=!|. -0²é()[]_'\"", max_size=24))
def test_any_words_choose_neurons_or_are_refused(text):
    try:
        kept = matching_neurons(text, COLUMNS)
    except ValueError:
        return
    assert set(kept.tolist()) <= set(range(5))


def test_a_state_that_changes_is_told_and_found_by_both_ends():
    cells = np.zeros((60, 5), np.uint8)
    cells[30:, 1] = TARGET
    cells[:30, 2], cells[30:, 2] = VISIBLE, TARGET
    cells[:, 3] = TARGET
    cells[10:20, 4] = VISIBLE
    mask = Mask.nothing(5).with_cells(cells)
    told = np.array(PATTERN_NAMES)[mask.patterns_in((0, 60))]
    changing = ["hidden → target", "visible → target"]
    assert told.tolist() == ["hidden", *changing, "target", "mixed"]
    columns = {**COLUMNS, "area": np.full(5, ""), "state": told}
    assert list(matching_neurons("target", columns)) == [1, 2, 3]
    assert list(matching_neurons("hidden", columns)) == [0, 1]
    assert list(matching_neurons("mixed", columns)) == [2, 4]
    # Hidden, then target: a target everywhere but in the text of its ends.
    assert mask.state_in((0, 60)).tolist() == [HIDDEN, TARGET, MIXED, TARGET, MIXED]
    assert list(matching_neurons("state=target", columns)) == [3]
    later = np.array(PATTERN_NAMES)[mask.patterns_in((30, 60))]
    assert later.tolist() == ["hidden", "target", "target", "target", "hidden"]


def test_the_first_plane_has_number_0():
    session = open_session(
        {"responses": np.ones((90, 2)), "rate_hz": 30.0, "plane": np.array([0, 1])}
    )
    assert table_columns(session)["plane"].tolist() == [0, 1]


def test_properties_with_one_value_per_neuron_are_columns():
    session = open_session({"responses": np.ones((90, 2)), "rate_hz": 30.0})
    values = {"osi": np.array([0.1, 0.4]), "field": np.zeros((2, 3))}
    units = replace(session.units, properties=values)
    columns = table_columns(replace(session, units=units))
    assert columns["osi"].tolist() == [0.1, 0.4]
    assert "field" not in columns


def test_a_column_of_the_recording_has_its_title_as_a_name_unless_a_table_has_it():
    columns = COLUMNS | {"recorded_osi": np.array([0.5, 0.1, 0.4, 0.0, np.nan])}
    assert matching_neurons("osi>0.3", columns).tolist() == [0, 2]
    assert named_columns("osi>0.3", columns) == ("recorded_osi",)
    own = columns | {"osi": np.array([0.0, 0.9, 0.0, 0.0, 0.0])}
    assert matching_neurons("osi>0.3", own).tolist() == [1]
