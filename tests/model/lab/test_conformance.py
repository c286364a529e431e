"""Experiments agree with the public analysis code."""

import shutil

import numpy as np
import pytest

from tests import FIXTURES
from tests.conformance import insilico

FOLDER = FIXTURES / "insilico"


@pytest.mark.slow
def test_reference_values_are_met():
    found = {line.name: line.is_good for line in insilico.lines(FOLDER)}
    assert all(found.values()), found
    assert {"places: dots", "preparation", "most exciting: static_one_unit"} <= set(found)


def test_a_wrong_value_is_found(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "insilico")
    file = tmp_path / "insilico" / "direction_events.npz"
    with np.load(file, allow_pickle=False) as archive:
        arrays = dict(archive)
    arrays["exp_density"] = arrays["exp_density"] + 1
    np.savez(file, **arrays)
    assert not insilico.events_line(arrays).is_good
