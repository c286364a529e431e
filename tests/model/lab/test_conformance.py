"""Experiments agree with the public analysis code."""

import shutil

import numpy as np
import pytest

from tests import FIXTURES
from tests.conformance import insilico

FOLDER = FIXTURES / "insilico"


@pytest.mark.slow
def test_reference_values_are_met(capsys):
    assert insilico.main(FOLDER) == 0
    said = capsys.readouterr().out
    for name in (
        "direction",
        "places",
        "preparation",
        "most exciting: static_one_unit",
    ):
        assert f"ok   {name}" in said


def test_a_wrong_value_is_found(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "insilico")
    file = tmp_path / "insilico" / "direction_events.npz"
    with np.load(file, allow_pickle=False) as archive:
        arrays = dict(archive)
    arrays["exp_density"] = arrays["exp_density"] + 1
    np.savez(file, **arrays)
    assert not insilico.events_line(arrays).is_good
