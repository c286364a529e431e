import numpy as np
import pytest

from omnimouse_widgets.qt.neuron_filter import kept_rows

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
        ("nowhere", []),
    ],
)
def test_words_keep_the_neurons_they_describe(text: str, kept: list[int]) -> None:
    assert list(kept_rows(text, COLUMNS)) == kept


def test_unknown_values_satisfy_no_comparison() -> None:
    assert 2 not in kept_rows("depth>0", COLUMNS)
    assert 2 not in kept_rows("depth<1000", COLUMNS)


def test_a_column_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(ValueError, match=r"'size'.*id, depth, score"):
        kept_rows("size>3", COLUMNS)
