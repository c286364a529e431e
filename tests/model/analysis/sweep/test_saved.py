import json

import pytest

from omnimouse_model.analysis.sweep.run import context_sweep
from omnimouse_model.analysis.sweep.table import SUFFIX, read_sweep, saved_sweeps
from tests.predictors import EchoPredictor

ASKED = {"neurons": [0, 8], "seeds": 2, "tier": "test", "max_windows": 2}
ABOUT = {"name": "first look", "begun": "2026-03-01 14:05", "predictor": "echo"}


def test_a_file_says_all_that_the_sweep_was(session, tmp_path):
    path = tmp_path / f"a{SUFFIX}"
    ask = ASKED | {"video": [True, False], "results": path, "about": ABOUT}
    made = context_sweep(EchoPredictor(), session, **ask)
    found = read_sweep(path)
    assert (found.sweep.table(), found.sweep.plan) == (made.table(), made.plan)
    assert found.is_complete
    assert (found.name, found.started) == ("first look", "2026-03-01 14:05")
    assert dict(found.about) == ABOUT


def test_half_a_last_line_is_left_out_and_left_alone(session, tmp_path):
    path = tmp_path / f"a{SUFFIX}"
    context_sweep(EchoPredictor(), session, **ASKED, results=path)
    half = path.read_bytes()[:-20]
    path.write_bytes(half)
    found = read_sweep(path)
    assert len(found.sweep.rows) == found.sweep.n_planned - 1
    assert not found.is_complete
    assert path.read_bytes() == half


@pytest.mark.parametrize("text", ["", "{}\n", "what\n", '{"omnimouse_sweep": 9}\n', 9999 * "\xff"])
def test_a_file_that_is_none_says_so(tmp_path, text):
    path = tmp_path / f"odd{SUFFIX}"
    path.write_bytes(text.encode("latin-1"))
    found = read_sweep(path)
    assert found.sweep is None
    assert 0 < len(found.problem) < 1000
    assert found.name == "odd"


def test_a_file_with_odd_notes_and_a_link_to_nothing_stop_no_list(session, tmp_path):
    path, lost = tmp_path / f"a{SUFFIX}", tmp_path / f"lost{SUFFIX}"
    context_sweep(EchoPredictor(), session, **ASKED, results=path, about=ABOUT)
    path.write_text(path.read_text().replace(json.dumps(ABOUT), "5"))
    lost.symlink_to(tmp_path / "nothing")
    assert saved_sweeps(tmp_path) == [path, lost]
    assert all("cannot be read" in read_sweep(one).problem for one in (path, lost))
