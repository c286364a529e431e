"""A window and a mask for the predictor of each file, which is a fixture there."""

import pytest

import omnimouse_model as om


@pytest.fixture
def window(session, predictor):
    """The window that begins at 10 s."""
    return session.window(10.0, predictor.needs.spec)


@pytest.fixture
def mask(session, predictor):
    """Video and behaviour are visible, and all responses targets."""
    made = om.Mask.nothing(session, predictor.needs.spec).ask(slice(None), slice(None))
    return made.with_frames(True).with_behavior("visible").with_guard(guarded=False)
