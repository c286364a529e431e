"""The sentences below the preset, which explain the task, and the age of the prediction."""

import numpy as np

import omnimouse_model as om
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.live.models.finetune import model_name
from omnimouse_model.live.pin import Pin
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.predict.predictor import Needs
from omnimouse_widgets.views.stimulus import no_video_text
from omnimouse_widgets.views.text.controls import refusals
from omnimouse_widgets.views.text.model import (
    HAS_NO_VIDEO,
    HAS_NONE,
    freshness_text,
    model_title,
    stand_in_text,
    task_text,
)
from omnimouse_widgets.views.traces import shown_name
from tests.predictors import open_controller


def test_the_text_says_how_a_preset_was_adapted_to_a_small_population():
    state = LiveState()
    state.mask = om.Mask.from_strategy("population_256_response_behavior", 40)
    state.preset = "video_behavior"
    note = state.mask.note
    # A sentence of its own, not a part of another.
    sentence = f". {note[0].upper()}{note[1:]}."
    assert sentence in task_text(state)


def test_what_a_recording_lacks_is_no_fault_of_the_model():
    rng = np.random.default_rng(0)
    session = om.open_session({"responses": rng.random((900, 5)), "rate_hz": 30.0})
    with open_controller(session) as controller:
        state = controller.state
        assert no_video_text(state) == HAS_NO_VIDEO
        assert refusals(state) == (HAS_NO_VIDEO, HAS_NONE)
        state.preset = "all_response_only"
        assert "This model reads" not in task_text(state)


def test_a_fit_that_a_request_waits_for_is_told_and_a_refusal_is_no_fault():
    results = Results()
    results.mark_requested(1)
    told = freshness_text(results, is_long=True, fit="40 %, about 3 s left")
    assert told[2] == "fit: 40 %, about 3 s left"
    results.mark_failed(UnsupportedRequestError("too short"))
    assert freshness_text(results, is_long=False)[2] == "no prediction"
    results.mark_failed(ValueError("broken"))
    assert freshness_text(results, is_long=False)[2] == "error"


def test_a_long_wait_says_whether_the_model_is_loaded_yet():
    results = Results()
    results.mark_requested(1)
    assert freshness_text(results, is_long=True)[2] == "loading the model…"
    fitted = freshness_text(results, is_long=True, name="linear-gaussian")
    assert fitted[2] == "fitting linear-gaussian…"
    results.needs = Needs()
    assert freshness_text(results, is_long=True)[2] == "predicting…"


def test_a_fine_tuned_model_is_called_as_in_the_menu(tmp_path):
    about = '{"model": "demo", "session": "90009-1-1", "is_finished": true}'
    (tmp_path / "finetune.json").write_text(about)
    assert model_name(str(tmp_path)) == "demo, fine-tuned to 90009-1-1"
    assert [model_name(name) for name in ("demo", "", "a/b")] == ["demo", "", "b"]
    # A result has its folder's name and the hash of its weights.
    found = f"{tmp_path.name}@94140597"
    assert model_title(found, str(tmp_path)) == "demo, fine-tuned to 90009-1-1"
    assert model_title(found, "demo") == tmp_path.name
    assert model_title("linear-gaussian", str(tmp_path)) == "linear-gaussian"
    mask = om.Mask.from_strategy("population_256_response_behavior", 40)
    pins = [Pin(0, "mine", mask, "", name, name) for name in (str(tmp_path), "demo")]
    assert shown_name(pins[0], pins) == "mine · demo, fine-tuned to 90009-1-1"
    for name in ("model (1)", "a@b"):
        for found in (f"{name}@94140597", f"{name} (94140597)", name):
            assert model_title(found, f"folder/{name}") == name
    assert model_title("model (1)@94140597", "demo") == "model (1)"


def test_the_model_that_stands_in_is_named():
    assert stand_in_text("", "linear-gaussian") == ""
    assert "linear-gaussian answers in its place: it is fitted" in stand_in_text(
        "demo", "linear-gaussian"
    )
    assert stand_in_text("demo", "ndt-demo").endswith("ndt-demo answers in its place.")
