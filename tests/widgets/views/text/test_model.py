"""The sentences below the preset, which explain the task."""

import omnimouse_model as om
from omnimouse_model.live.state import LiveState
from omnimouse_widgets.views.text.model import task_text


def test_the_text_says_how_a_preset_was_adapted_to_a_small_population():
    state = LiveState()
    state.mask = om.Mask.from_strategy("population_256_response_behavior", 40)
    state.preset = "video_behavior"
    note = state.mask.note
    # A sentence of its own, not a part of another.
    sentence = f". {note[0].upper()}{note[1:]}."
    assert sentence in task_text(state)
