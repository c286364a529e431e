"""A few of the edits that `python -m tests.soak` makes by the thousand."""

import pytest

from omnimouse_model.data.open import open_session
from tests.small_sessions import write_session
from tests.soak.edits import N_NEURONS, PREDICTORS, soak

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("soak") / "soak"
    return open_session(write_session(folder, N_NEURONS))


@pytest.mark.parametrize("name", PREDICTORS)
def test_what_is_shown_never_diverges_from_what_was_asked(session, name):
    found = soak(name, session, edits=80, seed=4, settle_every=8)
    assert found["settled"] > 10
    assert found["answers"] > 0
    assert (found["errors"] > 0) == (name == "failing")
    assert (found["processes"] > 1) == (name == "crashing")
