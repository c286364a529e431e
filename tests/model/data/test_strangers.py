"""The acceptance check of strangers' recordings, on a few cases of its own."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.acceptance import strangers
from tests.acceptance.strangers import case_scripts, judged, main

CASES = Path(strangers.__file__).parent / "strangers_cases"


@pytest.fixture
def written(tmp_path):
    """The folder of an input that a script wrote, and what it states."""

    def write(responses, **stated):
        np.savez(tmp_path / "s.npz", responses=np.ones((300, 4)), rate_hz=10.0)
        np.savez(tmp_path / "_expect.npz", responses=responses)
        (tmp_path / "_expect.json").write_text(json.dumps(stated))
        (tmp_path / "_path").write_text(str(tmp_path / "s.npz"))
        return tmp_path

    return write


@pytest.mark.slow
@pytest.mark.process
def test_the_cases_of_the_suite_are_read_right(capsys):
    status = main([str(CASES), "--table"])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    header, _, *rows = printed.out.splitlines()
    assert header == "| source | opened as | compared with |"
    assert len(rows) == len(case_scripts(CASES)) >= 3


def test_equal_values_are_right(written):
    outcome = judged(written(np.ones((300, 4)), rate=10.0, options={"rate_hz": 10.0}))
    assert outcome.faults == ()
    assert outcome.opened == "arrays, 4 neurons, 10 Hz, 0.5 min"
    assert outcome.compared == ("rate", "responses")


@pytest.mark.parametrize(
    ("responses", "stated", "words"),
    [
        (np.full((300, 4), 1.1), {}, "responses"),
        (np.ones((300, 3)), {}, "(300, 3)"),
        (np.ones((300, 4)), {"rate": 10.1}, "rate"),
        (np.ones((300, 4)), {"duration": 32.0}, "duration"),
        (np.ones((300, 4)), {"running": [1.0]}, "running"),
        (np.ones((300, 4)), {"counts": [1]}, "counts cannot be read"),
        (np.ones((300, 4)), {"notes": ["elephants"]}, "elephants"),
        (np.ones((300, 4)), {"options": {"unit_tables": "no"}}, "should be read"),
    ],
)
def test_what_differs_is_named(written, responses, stated, words):
    (fault,) = judged(written(responses, **stated)).faults
    assert words in fault


def test_a_refusal_is_right_if_it_names_its_reason(written):
    options = {"unit_tables": "no_such_place"}
    folder = written(np.ones(1), refuse=["No_Such_Place"], options=options)
    assert judged(folder).faults == ()
    folder = written(np.ones(1), refuse=["no_such_place", "zebra"], options=options)
    (fault,) = judged(folder).faults
    assert "should name zebra" in fault


@pytest.mark.slow
@pytest.mark.process
def test_scripts_that_fail_and_folders_without_cases_are_failures(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    (tmp_path / "1_broken.py").write_text("import no_such_package")
    (tmp_path / "2_silent.py").write_text("'''Writes nothing.'''")
    (tmp_path / "_lib.py").write_text("")
    assert main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "no_such_package" in printed
    assert "2_silent: the script failed: it wrote no _path" in printed
    assert "2 inputs, 2 differ" in printed


@pytest.mark.slow
def test_real_recordings_are_compared_with_their_files(tmp_path, capsys):
    values = np.random.default_rng(0).gamma(1.0, 2.0, (600, 5))
    values[:40, 2] = np.nan
    np.savez(tmp_path / "mine.npz", responses=values, rate_hz=10.0)
    assert main(["--real", str(tmp_path / "mine.npz"), "--table"]) == 0
    assert "numpy, sum of each neuron, rate" in capsys.readouterr().out
    assert main(["--real", str(tmp_path / "none.npz")]) == 1
