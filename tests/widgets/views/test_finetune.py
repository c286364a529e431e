"""The panel *Fine-tuning*: texts of its end, and axes of its curves."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from omnimouse_model.live.models.finetune import (
    FINISHING,
    FinetuneRequest,
    Finetuning,
    seconds_of_step,
)
from omnimouse_model.progress import RESUMING, SAVING, TRAINING, TimeLeft
from omnimouse_model.training.config import TransferOptions
from omnimouse_widgets.jupyter.jobs import FineTune
from omnimouse_widgets.views.finetune import (
    ENDING,
    LOSS_RISES,
    NOT_OFFERED,
    USE_BEST,
    FinetuneView,
    gain_text,
    open_label,
    over_text,
    so_far_text,
    span_of,
    weights_text,
)
from omnimouse_widgets.views.record import Curves, record


def test_a_run_whose_steps_were_all_worse_says_so_at_its_end():
    assert gain_text(0.25, 0.3) == "held-out score 0.250 → 0.300"
    assert gain_text(0.25, 0.25).startswith("no step beat the start")
    told = "Held-out score: 0.250 at the start; no step is better so far."
    assert so_far_text(0.25, 0.25, 0) == told
    told = "Held-out score: 0.250 at the start; 0.300 at step 90, the best so far."
    assert so_far_text(0.25, 0.3, 90) == told


def test_the_step_whose_weights_a_result_has_is_named():
    assert weights_text(90, 136) == " Its weights are those of step 90 of 136, which scored best."
    assert weights_text(0, 136) == " Its weights are those of the start, which scored best."
    assert not weights_text(None, 136)


def test_a_held_out_score_says_over_how_many_windows_neurons_and_tasks_it_is():
    over = over_text((16, 400), ("forecast", "decoding"))
    assert over == "the mean of 2 tasks over 16 windows that no step trains on, for 400 neurons"
    assert gain_text(0.25, 0.3, over) == f"held-out score 0.250 → 0.300, {over}"
    assert so_far_text(0.25, 0.2, 0, over).endswith(f"no step is better so far. It is {over}.")
    of_decoder = over_text((1, 0), ())
    assert of_decoder == "over 1 window that no step trains on"
    assert so_far_text(None, 0.2, 5, of_decoder).endswith(f" It is computed {of_decoder}.")
    assert not over_text((0, 0), ())


def test_a_run_that_finishes_with_saved_weights_says_that_it_makes_no_step(
    controller, tmp_path, monkeypatch
):
    finetuning, view = controller.finetuning, FinetuneView.of(controller)
    name, session = controller.state.predictor_name, controller.state.session
    finetuning.request = FinetuneRequest(name, session, tmp_path, steps=3, is_reached=True)
    monkeypatch.setattr(Finetuning, "is_busy", True)
    finetuning.validations = [(0, 0.2), (1, 0.4), (2, 0.4), (3, 0.3)]
    finishing = f"{FINISHING} step 1, without a further step"
    for stage, told in (
        (RESUMING, ""),
        ("step 3 of 3", ""),
        ("fitting the context part", ": fitting the context part"),
    ):
        finetuning.stage = stage
        assert record(view)["message"].text == f"◌ {finishing}{told}…"


def test_before_a_tenth_is_done_the_time_left_is_called_a_first_guess(
    controller, tmp_path, monkeypatch
):
    finetuning, view = controller.finetuning, FinetuneView.of(controller)
    name, session = controller.state.predictor_name, controller.state.session
    expected = "roughly 2 min on this processor if nothing else runs"
    request = FinetuneRequest(name, session, tmp_path, steps=100, expected=expected)
    finetuning.request = request
    monkeypatch.setattr(Finetuning, "is_busy", True)
    monkeypatch.setattr("omnimouse_model.progress.FIRST_S", 0.0)
    finetuning._time_left = TimeLeft(iter(range(1000)).__next__)
    told = []
    for step in range(1, 21):
        finetuning._take_progress(finetuning.request, step, 100, TRAINING)
        told.append(record(view)["message"].text)
    assert told[7] == "◌ step 8 of 100… · about 2 min left, a first guess"
    assert told[19] == "◌ step 20 of 100… · about 80 s left"
    # The text below has two or three lines: Stop stays where it is.
    names = [*record(view)]
    assert names.index("stop") < names.index("message")
    # At its end, what was expected before the start is not told again.
    finetuning._take_progress(finetuning.request, 1.0, 1.0, SAVING)
    assert record(view)["message"].text == f"◌ {SAVING}…"


def test_the_bar_of_a_result_after_a_stop_is_of_that_alone(controller, tmp_path):
    finetuning = controller.finetuning
    name, session = controller.state.predictor_name, controller.state.session
    request = FinetuneRequest(name, session, tmp_path, steps=3, is_reached=True)
    finetuning.request, shares = request, []
    for done in (0.0, 0.6, 0.7, 0.9, 1.0):
        finetuning._take_progress(request, done, 1.0, "fitting the context part")
        shares.append(finetuning.share)
    assert shares == pytest.approx([0.0, 0.0, 0.25, 0.75, 1.0])


def test_held_out_scores_have_intervals_and_say_with_what_they_compare(
    controller, tmp_path, monkeypatch
):
    finetuning, view = controller.finetuning, FinetuneView.of(controller)
    request = FinetuneRequest("demo", controller.state.session, tmp_path, steps=90)
    finetuning.request = request
    row = {"step": 0.0, "validation": 0.25, "validation_low": 0.21, "validation_high": 0.29}
    finetuning._take_rows(request, [row])
    told = record(view)["score"].text
    assert told.startswith("Held-out score: 0.250 [0.210, 0.290] at the start; no step is scored")
    row |= {"step": 30.0, "validation": 0.27, "gain_low": 0.012, "gain_high": 0.028}
    row |= {"validation_low": 0.23, "validation_high": 0.31}
    finetuning._take_rows(request, [row])
    told = record(view)["score"].text
    best = "0.270 [0.230, 0.310] at step 30, the best so far: +0.0200 [+0.0120, +0.0280]."
    assert best in told
    assert "the score over the test part is beside that of another model" in told
    finetuning.is_finished = True
    assert "0.250 → 0.270 (+0.0200 [+0.0120, +0.0280])" in record(view)["message"].text


def test_the_plots_of_a_run_have_their_places_from_its_start(controller, tmp_path, monkeypatch):
    finetuning, view = controller.finetuning, FinetuneView.of(controller)
    name, session = controller.state.predictor_name, controller.state.session
    finetuning.request = FinetuneRequest(name, session, tmp_path, steps=3)
    monkeypatch.setattr(Finetuning, "is_busy", True)
    drawn = []
    for scores in ([], [(0, 0.25)], [(0, 0.25), (1, 0.3)]):
        finetuning.validations = scores
        found = record(view)
        drawn.append([isinstance(found[name], Curves) for name in ("loss", "scores")])
    assert drawn == [[False, False], [True, False], [True, True]]


def test_small_differences_are_drawn_small():
    assert span_of([]) == (0.0, 1.0)
    assert span_of([0.0, 1.0]) == (0.0, 1.0)
    low, high = span_of([0.301, 0.303])
    assert high - low > 0.015
    assert low < 0.301 < 0.303 < high


def test_without_a_model_and_a_recording_nothing_is_offered(empty_controller):
    view = FinetuneView.of(empty_controller)
    assert record(view)["message"].text == NOT_OFFERED
    assert not view.is_shown
    assert not view.status


def test_while_a_model_is_loaded_it_is_not_called_unsuitable(controller):
    controller.results.needs = None
    controller.state.predictor_name = "demo"
    view = FinetuneView.of(controller)
    assert record(view)["message"].text == "Loading demo…"
    controller.results.error = "It cannot be loaded"
    assert record(view)["message"].text == NOT_OFFERED


def test_a_model_of_spike_counts_cannot_be_fitted_to_traces(controller):
    view = FinetuneView.of(controller)
    controller.model.choose("ndt")
    assert "has response traces, not spike times" in record(view)["start"].refusal
    controller.model.choose("mtm")
    assert not record(view)["start"].refusal
    assert not record(view)["settings"].apply, "Enter in a field starts no training"


def test_a_run_stopped_before_its_first_step_does_not_speak_of_saved_weights(controller, tmp_path):
    finetuning, view = controller.finetuning, FinetuneView.of(controller)
    name, session = controller.state.predictor_name, controller.state.session
    finetuning.request = FinetuneRequest(name, session, tmp_path, steps=3)
    finetuning.n_steps = 3
    assert record(view)["message"].text == "Stopped before the first step; nothing is saved."
    assert record(view)["start"].label == "Start"
    finetuning.validations = [(0, 0.25)]
    assert "the run is saved" in record(view)["message"].text
    assert record(view)["use"].label == USE_BEST
    assert "makes no further step" in record(view)["finish"].text


def test_a_run_tells_what_its_score_is_and_where_its_weights_are(controller, tmp_path):
    finetuning, view = controller.finetuning, FinetuneView.of(controller)
    name, session = controller.state.predictor_name, controller.state.session
    finetuning.request = FinetuneRequest(name, session, tmp_path, steps=3)
    assert "folder" not in record(view)
    finetuning.validations = [(0, 0.25), (3, 0.3)]
    assert "Loss of each step" in record(view)["loss"].tip
    assert "no step trains on" not in record(view)["loss"].tip
    folder = record(view)["folder"]
    assert folder.text == f"Weights in the folder {tmp_path}"
    assert record(view)["copy_path"].run().text == str(tmp_path)
    # Also of a stopped run, which can be resumed.
    told = "Held-out score: 0.250 at the start; 0.300 at step 3, the best so far. Only steps of"
    assert record(view)["score"].text.startswith(told)
    assert "were fitted to these windows" in record(view)["message"].tip
    finetuning.is_finished, finetuning.step = True, 3
    finetuning.scored = 16, 400
    told = (
        "held-out score 0.250 → 0.300, over 16 windows that no step trains on, for 400 neurons. "
        "Its weights are those of step 3 of 3, which scored best. The score of the mask on screen "
        "is over the"
    )
    assert told in record(view)["message"].text
    told = record(view)["message"].tip
    assert "some of the train part" in told
    assert "mean correlation" in told
    assert "spike" not in told
    assert record(view)["score"].text.startswith("This gain is a little too high: the same")
    finetuning.validations = [(0, 0.25), (3, 0.25)]
    assert "no step beat the start" in record(view)["message"].text
    assert "score" not in record(view)


def test_the_tasks_of_a_held_out_score_and_what_moves_the_loss_are_told(controller, tmp_path):
    finetuning, view = controller.finetuning, FinetuneView.of(controller)
    finetuning.request = FinetuneRequest("demo", controller.state.session, tmp_path, steps=3)
    finetuning.validations, finetuning.scored = [(0, 0.25), (3, 0.3)], (22, 400)
    assert "the mean of 4 tasks over 22 windows" in record(view)["score"].text
    assert "the mean over 4 tasks: all neurons from video" in record(view)["score"].tip
    assert "the loss can rise although the model gets better" in record(view)["loss"].tip


def test_a_result_on_screen_has_its_score_and_its_gain_over_the_baseline(
    controller, tmp_path, monkeypatch
):
    finetuning, view = controller.finetuning, FinetuneView.of(controller)
    session, state = controller.state.session, controller.state
    finetuning.request = FinetuneRequest("demo", session, tmp_path, steps=3)
    finetuning.validations, finetuning.is_finished = [(0, 0.25), (3, 0.3)], True
    assert not record(view)["gain"].text  # another model is on screen
    state.predictor_name = str(tmp_path)
    finetuning.request, finetuning.is_finished = FinetuneRequest("demo", session, tmp_path), True
    finetuning.validations = [(0, 0.25), (3, 0.3)]
    told = record(view)
    assert told["gain"].text == "Mask on screen: nothing is a target of this mask"
    assert "mask on screen" not in told["message"].text
    lines = [
        "r = 0.41 [0.34, 0.54]",
        "173 of 173 test windows",
        "+0.05 [+0.04, +0.06] over ridge",
    ]
    monkeypatch.setattr("omnimouse_widgets.views.finetune.tier_score_lines", lambda *_: lines)
    state.mask = state.mask.with_frames(True)
    assert record(view)["gain"].text == f"Mask on screen: {' · '.join(lines)}"
    state.mask = state.mask.with_frames(False)
    assert "Without visible video, the context part alone" in record(view)["gain"].text
    # Its last sentence: of the two gains, this one chose nothing.
    assert "with the mask on screen is not" in record(view)["score"].text
    score = SimpleNamespace(is_pooled=False, refusal="not scored here")
    controller.results.tier_score = SimpleNamespace(
        score=score, is_complete=False, behavior=(), sample=None
    )
    assert record(view)["gain"].text.startswith("Mask on screen, so far: ")


def test_an_ended_run_makes_room_for_another_model_and_comes_back(controller, tmp_path):
    view, session = FinetuneView.of(controller), controller.state.session
    controller.finetuning.request = FinetuneRequest("mtm", session, tmp_path, steps=3)
    controller.finetuning.step = 1
    controller.model.choose("latent-zig")
    assert record(view)["title"].text == f"Fit latent-zig to {session.id}"
    assert record(view)["start"].label == "Start"
    controller.model.choose("mtm")
    assert record(view)["start"].label == "Resume"
    # A model that is not offered has no form in the place of the run.
    controller.model.choose("linear-gaussian")
    assert record(view)["start"].label == "Resume"


def test_the_loss_of_one_step_is_a_point_and_that_of_more_a_line(controller, tmp_path):
    finetuning, view = controller.finetuning, FinetuneView.of(controller)
    name, session = controller.state.predictor_name, controller.state.session
    finetuning.request = FinetuneRequest(name, session, tmp_path, steps=3)
    finetuning.n_steps = 3
    finetuning.losses, finetuning.validations = [(1, 0.7)], [(0, 0.25)]
    assert {line.symbol for line in record(view)["loss"].lines} == {"o"}
    finetuning.losses = [(1, 0.7), (2, 0.6)]
    assert {line.symbol for line in record(view)["loss"].lines} == {""}


def test_one_held_out_score_is_a_number_and_more_are_a_plot(controller, tmp_path):
    finetuning, view = controller.finetuning, FinetuneView.of(controller)
    name, session = controller.state.predictor_name, controller.state.session
    finetuning.request = FinetuneRequest(name, session, tmp_path, steps=3)
    finetuning.validations = [(0, 0.25)]
    assert "scores" not in record(view)
    assert record(view)["score"].text.startswith("Held-out score: 0.250 at the start")
    # A fit is not scored at its start.
    finetuning.validations = [(50, 0.25)]
    assert record(view)["score"].text == "Held-out score: 0.250 at step 50, the best so far."
    finetuning.validations = [(0, 0.25), (1, 0.24)]
    assert len(record(view)["scores"].lines[0].x) == 2


@pytest.mark.parametrize(
    ("model", "is_fit", "told"),
    [
        ("demo", False, ("some of the train part", "mean correlation")),
        ("ndt-demo", False, ("the validation part, or without one a tenth", "bits per spike")),
        ("cebra", True, ("the validation part, on which", "mean correlation")),
        ("mtm", True, ("the validation part, on which", "bits per spike")),
    ],
)
def test_the_held_out_windows_and_their_metric_are_those_of_the_model_that_is_trained(
    controller, tmp_path, model, is_fit, told
):
    finetuning, session = controller.finetuning, controller.state.session
    finetuning.request = FinetuneRequest(model, session, tmp_path, is_fit=is_fit)
    finetuning.validations = [(50, 0.25)]
    tip = record(FinetuneView.of(controller))["score"].tip
    assert all(words in tip for words in told)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("demo", "the context part is fitted (prediction from visible responses)"),
        ("demo-plain", ""),
    ],
)
def test_what_follows_the_steps_of_this_model_is_told_before_and_after_a_stop(
    controller, tmp_path, monkeypatch, model, told
):
    finetuning, view = controller.finetuning, FinetuneView.of(controller)
    finetuning.request = FinetuneRequest(model, controller.state.session, tmp_path, steps=3)
    finetuning.validations = [(0, 0.25)]
    taken = f"{USE_BEST} takes those of the start, which scored best"
    end = f", but first {told}, as at the end" if told else "."
    assert record(view)["finish"].text.startswith(f"{taken}, and makes no further step{end}")
    finetuning.request = None
    for name, value in {"is_offered": True, "model": model}.items():
        monkeypatch.setattr(Finetuning, name, value)
    plan = record(view)["message"].text
    assert plan.startswith("300 steps train the embeddings" + (f", then {told}" if told else ""))
    assert ("context part" in plan) == bool(told)


def test_a_run_of_another_recording_is_named_at_its_end_and_has_no_button(controller, tmp_path):
    finetuning, view = controller.finetuning, FinetuneView.of(controller)
    name, session = controller.state.predictor_name, controller.state.session
    finetuning.request = FinetuneRequest(name, session, tmp_path)
    assert open_label(finetuning) == "Fine-tune…"
    other = SimpleNamespace(contents="other", id="90009-1-1")
    finetuning.request, finetuning.is_finished = FinetuneRequest("demo", other, tmp_path), True
    assert not open_label(finetuning)
    ended = record(view)["ended"].text
    assert ended == "✓ Fine-tune demo to 90009-1-1: finished, and in the list of models."
    finetuning.is_finished, finetuning.step, finetuning.n_steps = False, 1, 4
    ended = record(view)["ended"].text
    stopped = "Stopped at step 1 of 4; the run is saved."
    assert ended == f"Fine-tune demo to 90009-1-1: {stopped}"


def test_the_form_says_what_its_settings_are(empty_controller, monkeypatch):
    monkeypatch.setattr(Finetuning, "options", TransferOptions)
    empty_controller.state.predictor_name = "toy"
    helps = {one.name: one.help for one in FinetuneView.of(empty_controller).form.fields()}
    assert "the numbers by which the model knows each neuron" in helps["train"]
    assert "Windows per step; more make" in helps["batch"]
    assert "The same seed repeats a run" in helps["seed"]


def test_a_family_with_other_options_has_its_own_form(empty_controller, monkeypatch):
    @dataclass(frozen=True)
    class Options:
        rate: float = field(default=0.5, metadata={"help": "Learning rate"})

    part = FineTune(empty_controller)
    monkeypatch.setattr(Finetuning, "options", Options)
    empty_controller.state.predictor_name = "toy"
    assert not part.problem
    assert (part.train, part.steps) == (None, None)
    with pytest.raises(ValueError, match="no such option"):
        part.train = "all"
    view = FinetuneView.of(empty_controller)
    assert [(each.name, each.value) for each in view.form.fields()] == [("rate", 0.5)]
    part.close()


def test_the_time_of_a_result_after_a_stop_follows_the_pace_of_the_steps(
    controller, tmp_path, monkeypatch
):
    finetuning, view = controller.finetuning, FinetuneView.of(controller)
    request = FinetuneRequest("demo", controller.state.session, tmp_path, steps=300)
    finetuning.request = request
    residence = SimpleNamespace(hardware="CPU", n_bytes=8_000_000)
    monkeypatch.setattr(Finetuning, "_loaded", (None, residence))
    # Another model is on screen, whose size says nothing of this one.
    assert not finetuning.finish_estimate()
    rows = [{"step": 0, "validation": 0.25, "seconds": 100.0}]
    rows += [{"step": k, "loss": 1.0, "seconds": 100.0 + 2.0 * k} for k in range(1, 11)]
    rows[5]["validation"] = 0.3
    rows += [{"step": 11, "loss": 1.0, "seconds": 900.0}]  # a scoring in between
    rows[10]["validation"] = 0.3
    for row in rows:
        finetuning._take_rows(request, [row])
    told = finetuning.finish_estimate()
    assert told.startswith("about ")
    assert told.endswith(" at the pace of the last steps")
    assert f"as at the end of a whole run: {told}." in record(view)["finish"].text
    # Twice as slow steps: about twice as long, the start of the process aside.
    slow = [row | {"seconds": 10 * row["seconds"]} for row in rows]
    assert seconds_of_step(slow) == pytest.approx(10 * seconds_of_step(rows)) == 20.0
    started = []
    monkeypatch.setattr(Finetuning, "_begin", lambda self, reached: started.append(reached))
    finetuning.use()
    assert started[0].expected == told


def test_the_text_of_a_run_says_why_the_loss_can_rise_where_tasks_differ(controller, tmp_path):
    finetuning = controller.finetuning
    finetuning.validations, finetuning.losses = [(0, 0.25)], [(1, 0.7)]
    for model, is_told in (("demo", True), ("twin-demo", False)):
        finetuning.request = FinetuneRequest(model, controller.state.session, tmp_path, steps=3)
        assert (LOSS_RISES in record(FinetuneView.of(controller))["score"].text) == is_told


def test_a_run_that_is_stopping_says_so_until_its_step_is_saved(controller, tmp_path):
    finetuning, view = controller.finetuning, FinetuneView.of(controller)
    finetuning.request = FinetuneRequest("demo", controller.state.session, tmp_path, steps=300)
    finetuning.step, finetuning.validations = 59, [(0, 0.25), (30, 0.3)]
    # Its process scores step 60, which may be the best.
    finetuning._running = finetuning.request
    items = record(view)
    assert items["message"].text == ENDING
    assert not {"start", "use"} & set(items)
    finetuning._running = None
    assert record(view)["message"].text.startswith("Stopped at step 59")
    assert {"start", "use"} <= set(record(view))


def test_before_a_step_is_scored_none_is_said_to_be_worse_than_the_start():
    assert so_far_text(0.25, 0.25, 0, last=0).endswith("at the start; no step is scored yet.")
