"""What a predictor reads of what a mask shows."""

import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.window_spec import BehaviorSpec, WindowSpec
from omnimouse_model.masks import Mask
from omnimouse_model.predict.compatibility import unread_text, unused_text
from omnimouse_model.predict.predictor import Needs
from tests.small_sessions import write_session

READS_NOTHING = Needs(sees_responses=False, sees_video=False, sees_behavior=False)
READS_VIDEO = Needs(sees_responses=False, sees_video=True, sees_behavior=False)
NOTHING = Mask.nothing(20).ask(range(10, 20))
SOME_NEURONS = NOTHING.show(range(10))
DECODES_RUNNING = WindowSpec(2.0, 30.0, behavior=BehaviorSpec(20.0, ("running",)))


@pytest.mark.parametrize(
    ("needs", "mask", "text"),
    [
        (READS_VIDEO, SOME_NEURONS, "twin reads nothing that is shown (responses)"),
        (READS_VIDEO, SOME_NEURONS.with_frames(True), ""),
        (READS_VIDEO, NOTHING, ""),
        (READS_NOTHING, SOME_NEURONS, ""),
        (Needs(sees_responses=True), SOME_NEURONS, ""),
    ],
)
def test_a_mask_of_which_nothing_is_read_has_a_remark(needs, mask, text):
    assert unread_text("twin", needs, mask) == text


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        (Needs(), ("its video is not read", "running) is not read")),
        (READS_VIDEO, ("running) is not read",)),
        (
            Needs(sees_video=True, sees_behavior=True, behavior_channels=3),
            ("behaviour of 5 channels, and the model needs 3: it stays hidden",),
        ),
        (Needs(sees_video=True, sees_behavior=True, behavior_channels=5), ()),
        (Needs(sees_video=True, predicts_behavior=True), ()),
        (
            Needs(sees_video=True, predicts_behavior=True, spec=DECODES_RUNNING),
            ("pupil_y: not decoded",),
        ),
    ],
)
def test_what_a_model_cannot_use_of_a_recording_is_said(needs, said, tmp_path):
    text = unused_text(needs, open_session(write_session(tmp_path / "mouse")))
    assert bool(text) == bool(said)
    assert all(phrase in text for phrase in said), text
