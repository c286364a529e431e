"""Short version of `python -m tests.soak.window`."""

import pytest

from tests.soak.window import soak_window

pytestmark = pytest.mark.gui


@pytest.mark.process
@pytest.mark.slow
def test_random_actions_give_no_error_and_no_leak(qapp, tmp_path, monkeypatch):
    monkeypatch.setenv("OMNIMOUSE_CONFIG", str(tmp_path))
    counts = soak_window(tmp_path, seed=1, lives=2, acts=4)
    assert counts["acts"] == 8
