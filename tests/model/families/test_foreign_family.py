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
