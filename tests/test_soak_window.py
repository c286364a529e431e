"""A few acts of what `python -m tests.soak.window` does for minutes."""

import pytest

from tests.soak.window import soak_window

pytestmark = pytest.mark.gui


@pytest.mark.process
@pytest.mark.slow
def test_random_work_raises_nothing_leaves_nothing_and_ends_with_right_numbers(
    qapp, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMNIMOUSE_CONFIG", str(tmp_path))
    found = soak_window(tmp_path, seed=1, lives=2, acts=20)
    assert found["acts"] == 40
