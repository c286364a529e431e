"""Short version of `python -m tests.soak`, which makes thousands of edits."""

import pytest

from omnimouse_model.data.open import open_session
from tests.small_sessions import write_session
from tests.soak.edits import N_NEURONS, soak
from tests.soak.predictors import PREDICTORS

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("soak") / "soak"
    return open_session(write_session(folder, N_NEURONS))


@pytest.mark.parametrize("name", PREDICTORS)
def test_displayed_results_always_belong_to_their_request(session, name):
    # A crash costs a new process.
    edits = 40 if name == "crashing" else 80
    counts = soak(name, session, edits=edits, seed=4, settle_every=8)
    assert counts["settled"] >= edits // 8
    assert counts["answers"] > 0
    assert (counts["errors"] > 0) == (name == "failing")
    assert (counts["processes"] > 1) == (name == "crashing")
