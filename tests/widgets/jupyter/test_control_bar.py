from dataclasses import replace

import pytest

from omnimouse_model.data.hub.servers import VARIABLE
from omnimouse_model.predict.compatibility import check_compatibility
from omnimouse_model.predict.predictor import Needs
from omnimouse_widgets.jupyter.control_bar import ControlBar
from omnimouse_widgets.views.text.model import NOT_FITTED, known_text, model_tip
from omnimouse_widgets.views.text.recording import name_of, notes_of, summary_of
from omnimouse_widgets.views.text.tier_score import guide_text
from tests.predictors import FarPredictor


def test_the_video_is_given_by_name_and_what_is_none_is_refused(controller):
    bar = ControlBar(controller)
    bar.video = "first"
    frames = controller.state.mask.frames
    assert frames[:30].all()
    assert not frames[30:].any()
    with pytest.raises(ValueError, match="all, none, first, last"):
        bar.video = "some"
    assert bar.video == "first"
    bar.close()


def test_the_page_pauses_the_scores_over_the_tier(controller, page):
    seen = page(ControlBar(controller), "actions")
    seen.say("refine")
    assert not controller.state.scores_tier
    seen.wait_for("actions", lambda fields, _: not fields["is_refining"])
    seen.say("refine")
    assert controller.state.scores_tier
    seen.wait_for("actions", lambda fields, _: fields["is_refining"])


def test_the_page_gets_the_reason_against_each_preset(controller, page, monkeypatch):
    problems = {"video_only": "This recording has no video."}
    monkeypatch.setattr(type(controller.editor), "preset_problems", problems)
    seen = page(ControlBar(controller), "choices")
    fields, _ = seen.wait_for("choices", lambda fields, _: "presets" in fields)
    shown = {name: reason for name, _, reason in fields["presets"] if reason}
    assert shown == problems


def test_the_page_says_what_each_model_can_answer(controller, page):
    seen = page(ControlBar(controller), "choices")
    fields, _ = seen.wait_for("choices", lambda fields, _: "models" in fields)
    tips = {name: tip for name, _, tip in fields["models"]}
    assert tips["cebra"] == model_tip("cebra") != ""
    assert tips["linear-gaussian"]


def test_the_page_gets_what_was_replaced_on_opening(controller, page):
    seen = page(ControlBar(controller), "text")
    controller.project.messages = ("The default preset is shown.",)
    controller.project.changed.emit()
    fields, _ = seen.wait_for("text", lambda fields, _: bool(fields["warnings"]))
    assert "The default preset is shown." in fields["warnings"]


def test_the_page_gets_what_the_window_says_of_recording_and_model(controller, page):
    session = controller.state.session
    seen = page(ControlBar(controller), "text")
    fields, _ = seen.wait_for("text", lambda fields, _: bool(fields["known"]))
    assert fields["title"] == f"{name_of(session)} · {summary_of(session)}"
    assert tuple(fields["notes"]) == notes_of(session)
    assert len(fields["notes"][1].splitlines()) == int(fields["notes"][0].split()[-2]) > 0
    assert fields["known"] == known_text(check_compatibility(controller.results.needs, session))


def test_the_page_gets_the_score_with_its_evidence(controller, page):
    controller.editor.apply_preset("video_behavior")
    seen = page(ControlBar(controller), "actions")
    controller.requests.finish_scores()
    fields, _ = seen.wait_for("actions", lambda fields, _: "windows" in fields["score"])
    assert fields["score"].startswith("r = ")
    assert "95 % interval of the paired difference" in fields["score_tip"]


def test_the_page_asks_what_to_do_with_a_model_that_does_not_answer(controller, page, monkeypatch):
    workers, said = controller.workers, []
    monkeypatch.setattr(workers, "wait", lambda: said.append("wait"))
    monkeypatch.setattr(workers, "restart", lambda: said.append("restart"))
    seen = page(ControlBar(controller), "progress")
    workers.is_silent = True
    workers.changed.emit()
    fields, _ = seen.wait_for("progress", lambda fields, _: bool(fields["silent"]))
    assert "has not answered for 5 s" in fields["silent"]
    seen.say("wait")
    seen.say("restart")
    assert said == ["wait", "restart"]


def test_the_page_asks_about_the_server_that_a_model_names(controller, page, monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    seen = page(ControlBar(controller), "progress")
    controller.editor.apply_preset("video_behavior")
    controller.model.choose(FarPredictor())
    seen.wait_for("progress", lambda fields, _: fields["host"] == "data.example")
    seen.say("connect")
    seen.wait_for("progress", lambda fields, _: not fields["host"] and not fields["error"])


def test_the_page_tells_of_a_model_to_be_fitted_what_to_do(controller, page):
    seen = page(ControlBar(controller), "progress")
    controller.editor.apply_preset("video_behavior")
    controller.model.choose("latent-zig")
    fields, _ = seen.wait_for("progress", lambda fields, _: fields["error"] == NOT_FITTED)
    assert not fields["can_repeat"]


def test_the_page_says_which_model_answers_in_the_place_of_one_that_is_new(controller, page):
    seen = page(ControlBar(controller), "progress")
    fields, _ = seen.wait_for("progress")
    assert not fields["stand_in"]
    controller.model.choose("linear-gaussian")
    controller.model.unfamiliar = "demo"
    controller.results.changed.emit()
    fields, _ = seen.wait_for("progress", lambda fields, _: fields["stand_in"])
    assert fields["stand_in"].startswith("demo does not know this recording. linear-gaussian")


def test_the_lines_of_the_first_text_are_sentences_where_a_page_joins_them(controller):
    parts = controller.state, controller.results, controller.baseline, controller.colouring
    *told, tip = guide_text(*parts).split("\n")
    assert told[-1].endswith((".", "…"))
    assert tip.endswith(".")


def test_the_first_text_calls_targets_orange_only_where_they_are(controller, page, monkeypatch):
    monkeypatch.setattr(type(controller.editor), "can_undo", False)
    seen = page(ControlBar(controller), "actions")
    seen.wait_for("actions", lambda fields, _: "the orange neurons" in fields["guide"])
    controller.colouring.choose("depth")
    seen.wait_for("actions", lambda fields, _: "the target neurons" in fields["guide"])


def test_the_first_text_names_inputs_that_the_model_reads(controller):
    parts = controller.state, controller.results, controller.baseline, controller.colouring
    mask = controller.state.mask.show([0]).with_frames(True).with_behavior("visible")
    controller.editor.set_mask(mask)
    assert "from neurons + video + behaviour: " in guide_text(*parts)
    controller.results.needs = replace(controller.results.needs, sees_behavior=False)
    assert "from neurons + video: " in guide_text(*parts)
    controller.results.needs = Needs(sees_responses=False)
    assert "whatever the mask shows: " in guide_text(*parts)
    assert "hide" not in guide_text(*parts)
    controller.results.needs = None  # whether it knows the recording is not known
    assert "predicts" not in guide_text(*parts)


def test_the_first_text_promises_no_prediction_where_there_is_none(controller):
    controller.editor.apply_preset("video_behavior")
    controller.model.choose("last")
    parts = controller.state, controller.results, controller.baseline, controller.colouring
    assert guide_text(*parts).startswith(
        "last (last visible value) has no prediction in this window."
    )
