"""Errors as a notebook shows them."""

from traceback import format_exception

import pytest

pytest.importorskip("IPython")
from IPython.core.interactiveshell import InteractiveShell

CALLS = {
    'om.open_session("nofile.npz")': "SessionFormatError",
    'om.load_predictor("nofile")': "CheckpointError",
    'om.open_predictions("nofile")': "PredictionsFileError",
    'om.Mask.load("nofile.json")': "MaskError",
}


@pytest.fixture(scope="module")
def shell():
    made = InteractiveShell()
    made.run_cell("import omnimouse_model as om")
    return made


@pytest.mark.parametrize("call", CALLS)
def test_a_cell_shows_its_own_line_and_what_to_do(shell, call, capsys):
    found = shell.run_cell(f"def read():\n    return {call}\n\nread()").error_in_exec
    lines = capsys.readouterr().out.strip().splitlines()
    # With the checks of shapes, a function of the tests stands between.
    shown = [line for line in lines if "shape_checks.py" not in line]
    assert shown == ["line 4: read()", f"line 2: return {call}", f"{CALLS[call]}: {found}"]
    # Nothing is lost to a program.
    assert len(format_exception(found)) > 4
