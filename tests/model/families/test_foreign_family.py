"""A package beside this one adds a family, without a change here."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.family import CHECKS

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
@pytest.mark.process
def test_the_toy_of_the_examples_passes_the_whole_course():
    # The window opens in tests of the application; here is no display.
    words = [sys.executable, "-m", "tests.acceptance.family", "examples/toy_family", "--no-window"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900)
    lines = [line for line in done.stdout.splitlines() if line.startswith("toy: ")]
    assert lines == [f"toy: {check}: passed" for check in CHECKS if check != "window"], done.stderr
    assert done.returncode == 0


MODULE = """
import numpy as np

import omnimouse_model as om
from omnimouse_model.families import Family


class Still(om.Predictor):
    predictor_id = "still"
    needs = om.Needs(sees_responses=False)

    def prepare(self, session):
        pass

    def encode(self, window, mask, cancelled=None):
        return om.Encoded(window, mask, None)

    def decode(self, encoded, neurons=None, cancelled=None):
        mask = encoded.mask
        if neurons is None:
            neurons = np.flatnonzero(mask.target.any(axis=0))
        responses = np.where(mask.target[:, neurons], np.float32(1), np.float32(np.nan))
        neurons = np.asarray(neurons, np.int64)
        return om.Prediction(responses, neurons, None, mask.mask_id, self.predictor_id)


FAMILY = Family(
    "still", "Still", "One rate for all.", names={"still": lambda _: Still()}
)
"""
"""A family without training, fine-tuning and checkpoints."""


@pytest.mark.slow
@pytest.mark.process
def test_a_family_that_cannot_be_trained_passes_the_whole_course(tmp_path):
    (tmp_path / "still_family.py").write_text(MODULE, "utf-8")
    point = '[project.entry-points."omnimouse.families"]\nstill = "still_family:FAMILY"\n'
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "still"\n{point}', "utf-8")
    words = [sys.executable, "-m", "tests.acceptance.family", str(tmp_path), "--no-window"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900)
    lines = [line for line in done.stdout.splitlines() if line.startswith("still: ")]
    assert lines == [f"still: {check}: passed" for check in CHECKS if check != "window"], done
