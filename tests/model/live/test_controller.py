"""Controller: actions change the state and send requests; results follow."""

import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from errno import ENOLCK

import numpy as np
import pytest

from omnimouse_model.data.hub.servers import VARIABLE
from omnimouse_model.errors import StoppedError, TimeRangeError
from omnimouse_model.live import state_store
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.state import LiveState
from omnimouse_model.live.state_store import LastSession, write_last_session
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE, scored_cells
from omnimouse_model.storage.trees import take_notes
from tests import SESSIONS, SUITE2P
from tests.predictors import (
    EchoPredictor,
    EndlessPredictor,
    FarPredictor,
    FaultyPredictor,
    GatedPredictor,
    RefusingPredictor,
    open_controller,
)
from tests.small_sessions import write_session

TIMEOUT = 60.0


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return write_session(tmp_path_factory.mktemp("live") / "other", n_neurons=25)


@pytest.fixture
def threaded_controller(session):
    with closing(Controller(LiveState(trace_span="window"))) as made:
        made.loader.open_now(session)
        yield made


@pytest.fixture
def gated_controller(threaded_controller):
    predictor = GatedPredictor()
    threaded_controller.model.choose(predictor)
    yield threaded_controller, predictor
    predictor.gate.release(50)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["session", "window", "mask", "selection"])
def test_the_previous_session_stays_open_if_a_listener_fails(controller, other, field):
    controller.navigation.seek(3.0)
    controller.editor.paint([1], VISIBLE)
    state = controller.state
    before = (state.session, state.window, state.mask, state.selection, state.preset)

    def fail(_: object) -> None:
        if state.session is not before[0]:
            raise LookupError("outlines are missing")

    state.events[field].connect(fail)
    with pytest.raises(LookupError, match="outlines are missing"):
        controller.loader.open_now(other)
    after = (state.session, state.window, state.mask, state.selection, state.preset)
    assert after == before
    assert controller.results.freshness == "fresh"
    state.events[field].disconnect(fail)
    controller.loader.open_now(other)
    assert controller.state.mask.n_neurons == 25
    assert not controller.editor.can_undo


def test_actions_without_a_session_raise_an_error_with_a_solution():
    with pytest.raises(ValueError, match="open one first"):
        Controller(synchronous=True).editor.paint([1])


# -- answers ------------------------------------------------------------------------
def test_results_are_the_prediction_of_window_and_mask_on_screen(controller):
    state, results = controller.state, controller.results
    neurons = results.population.neurons
    assert results.selected.neurons.tolist() == list(state.selection)
    assert results.population.mask_id == state.mask.mask_id
    expected = np.where(state.mask.target, state.window.responses + 1, np.nan)
    np.testing.assert_array_equal(results.population.responses, expected[:, neurons])
    asked = scored_cells(state.mask).any(axis=0)
    np.testing.assert_array_equal(neurons, np.flatnonzero(asked))


def test_a_refusal_is_shown_with_its_reason_and_no_numbers(controller):
    controller.model.choose(RefusingPredictor("refusing"))
    assert controller.results.freshness == "fresh"
    controller.editor.set_frames(False)
    assert controller.results.freshness == "error"
    assert "needs video" in controller.results.error
    assert controller.results.population is None
    controller.editor.undo()
    assert (controller.results.freshness, controller.results.error) == ("fresh", None)


def test_an_error_in_a_predictor_is_a_result_not_an_exception(threaded_controller):
    threaded_controller.model.choose(FaultyPredictor("faulty"))
    assert threaded_controller.requests.wait(TIMEOUT)
    assert threaded_controller.results.error == "a fault in the model"
    threaded_controller.model.choose(EchoPredictor())
    assert threaded_controller.requests.wait(TIMEOUT)
    assert threaded_controller.results.freshness == "fresh"


@pytest.mark.parametrize("method", ["prepare", "encode", "decode"])
@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), StoppedError()])
def test_a_model_of_the_user_cannot_end_the_window_without_a_word(
    threaded_controller, method, error
):
    def fail(*_):
        raise error

    model = type("Ends", (EchoPredictor,), {method: fail})("ends")
    threaded_controller.model.choose(model)
    assert threaded_controller.requests.wait(TIMEOUT)
    assert str(threaded_controller.results.error).startswith("ends ")
    threaded_controller.model.choose(EchoPredictor())
    assert threaded_controller.requests.wait(TIMEOUT)
    assert threaded_controller.results.freshness == "fresh"


def test_an_answer_to_another_request_is_not_shown(controller):
    class Short(EchoPredictor):
        def decode(self, *arguments):
            found = super().decode(*arguments)
            return replace(found, responses=found.responses[1:], valid=found.valid[1:])

    controller.model.choose(Short("short"))
    assert controller.results.error == "short answers with 59 samples; 60 expected."
    assert controller.results.population is None


def test_a_predictor_loads_before_there_is_a_session_and_again_for_a_device(session):
    loaded: list[tuple[str, str]] = []

    def load(name: str, device: str) -> EchoPredictor:
        loaded.append((name, device))
        return EchoPredictor(name)

    controller = Controller(load=load, synchronous=True)
    controller.model.choose("echo")
    assert loaded == [("echo", "auto")]
    assert controller.results.freshness == "none"
    controller.loader.open_now(session)
    assert loaded == [("echo", "auto")]
    controller.model.choose_device("cpu")
    controller.model.choose_device("cpu")
    assert loaded == [("echo", "auto"), ("echo", "cpu")]
    assert controller.results.freshness == "fresh"


@pytest.mark.parametrize("change", ["predictor", "session"])
def test_a_request_replaces_an_endless_one(threaded_controller, session_folder, change):
    threaded_controller.model.choose(EndlessPredictor("endless"))
    threaded_controller.editor.set_behavior("hidden")
    if change == "predictor":
        threaded_controller.model.choose(EchoPredictor())
    else:
        threaded_controller.loader.open_now(session_folder)
    assert threaded_controller.requests.wait(TIMEOUT)
    assert threaded_controller.results.freshness == "fresh"


# -- freshness ----------------------------------------------------------------------
def test_freshness_follows_the_newest_request(gated_controller):
    controller, predictor = gated_controller
    results = controller.results
    assert predictor.entered.acquire(timeout=TIMEOUT)
    assert results.freshness == "running"
    predictor.gate.release()
    assert controller.requests.wait(TIMEOUT)
    assert results.freshness == results.population_freshness == "fresh"
    assert (results.shown_request, results.newest_request) == (1, 1)
    controller.editor.paint([1], VISIBLE)
    assert results.freshness == "stale"
    assert (results.shown_request, results.newest_request) == (1, 2)
    predictor.gate.release()
    assert controller.requests.wait(TIMEOUT)
    assert results.freshness == "fresh"
    assert results.elapsed_ms > results.took_ms >= 0


def test_a_result_with_a_newer_request_waiting_is_stale(gated_controller):
    controller, predictor = gated_controller
    seen = []
    assert predictor.entered.acquire(timeout=TIMEOUT)
    first = controller.state.mask.mask_id
    controller.editor.paint([1], VISIBLE)

    def note() -> None:
        results = controller.results
        seen.append((results.freshness, getattr(results.selected, "mask_id", None)))

    controller.results.changed.connect(note)
    predictor.gate.release()
    assert predictor.entered.acquire(timeout=TIMEOUT)
    assert seen == [("stale", first)]
    predictor.gate.release()
    assert controller.requests.wait(TIMEOUT)
    assert seen[-1] == ("fresh", controller.state.mask.mask_id)


def test_a_result_for_another_window_is_never_shown(gated_controller):
    controller, predictor = gated_controller
    assert predictor.entered.acquire(timeout=TIMEOUT)
    controller.navigation.seek(1.0)
    predictor.gate.release()
    assert predictor.entered.acquire(timeout=TIMEOUT)
    assert controller.results.selected is None
    predictor.gate.release()
    assert controller.requests.wait(TIMEOUT)
    assert controller.results.freshness == "fresh"


def times_on_screen(controller):
    return controller.state.window.sample_times_s.round(4)


@pytest.mark.parametrize("n", [3, -6])  # samples
def test_predictions_move_with_an_overlapping_window_as_older_ones(controller, n):
    controller.navigation.seek(3.0)
    results, shown = controller.results, []
    before, old_times = results.population, times_on_screen(controller)

    def note() -> None:
        shown.append((results.freshness, results.population, results.scores))

    results.changed.connect(note)
    controller.navigation.seek(controller.state.window.start_s + n / 30)
    moved = next(population for age, population, _ in shown if age == "stale")
    assert all(scores is None for age, _, scores in shown if age == "stale")
    times = times_on_screen(controller)
    is_shared = np.isin(times, old_times)
    assert is_shared.sum() == 60 - abs(n)
    values = moved.responses[is_shared]
    old_values = before.responses[np.isin(old_times, times)]
    is_known = np.isfinite(values)
    assert is_known.any()
    np.testing.assert_array_equal(values[is_known], old_values[is_known])
    assert np.isnan(moved.responses[~is_shared]).all()
    assert results.freshness == "fresh"


def test_cancel_keeps_the_shown_results_as_stopped(gated_controller):
    controller, predictor = gated_controller
    results = controller.results
    predictor.gate.release()
    assert controller.requests.wait(TIMEOUT)
    controller.editor.paint([1], VISIBLE)
    shown = results.selected
    controller.requests.cancel()
    predictor.gate.release()
    assert controller.requests.wait(TIMEOUT)
    assert results.selected is shown
    assert results.freshness == results.population_freshness == "stopped"
    assert results.is_old
    assert results.is_population_old
    assert not results.is_awaited
    predictor.gate.release()
    controller.requests.send_again()
    assert controller.requests.wait(TIMEOUT)
    assert results.freshness == "fresh"


# -- painting -----------------------------------------------------------------------
def test_a_stroke_sets_the_active_span_of_its_code(controller):
    controller.editor.apply_preset("nothing")
    controller.editor.set_brush(TARGET)
    assert controller.state.active_span == (30, 60)
    controller.editor.paint([3, 4])
    cells = controller.state.mask.cells
    assert (cells[30:, [3, 4]] == TARGET).all()
    assert (cells[:30] == HIDDEN).all()
    controller.editor.set_active_span(40, 50)
    controller.editor.set_brush(VISIBLE)
    assert controller.state.active_span == (0, 60)
    controller.editor.set_brush(TARGET)
    assert controller.state.active_span == (40, 50)
    controller.editor.paint([5])
    assert (controller.state.mask.cells[40:50, 5] == TARGET).all()
    assert (controller.state.mask.cells[50:, 5] == HIDDEN).all()


def test_a_stroke_of_many_paints_is_one_undo_entry(controller):
    controller.editor.apply_preset("nothing")
    before = controller.state.mask
    controller.editor.begin_stroke()
    for neuron in range(7):
        controller.editor.paint([neuron, neuron + 1], VISIBLE)
    controller.editor.end_stroke()
    assert controller.editor.undo_name == "Paint 8 neurons visible"
    after = controller.state.mask
    controller.editor.undo()
    assert controller.state.mask == before
    assert controller.editor.redo_name == "Paint 8 neurons visible"
    controller.editor.redo()
    assert controller.state.mask == after


def test_a_stroke_ends_with_its_recording(controller, tmp_path):
    controller.editor.begin_stroke()
    controller.editor.paint([1], VISIBLE)
    # The field lets go of the pointer as soon as the recording changes.
    controller.state.events.session.connect(controller.editor.end_stroke)
    controller.state.events.mask.connect(controller.editor.end_stroke)
    controller.loader.open_now(write_session(tmp_path / "other", n_neurons=20))
    assert not controller.editor.in_stroke
    assert controller.editor.undo_name == ""


def test_a_stroke_without_a_change_sends_no_request(controller):
    controller.editor.paint([1], VISIBLE)
    asked = controller.results.newest_request
    mask = controller.state.mask
    controller.editor.paint([1], VISIBLE)
    with controller.editor.stroke():
        controller.editor.paint([1], VISIBLE)
    assert controller.results.newest_request == asked
    assert controller.state.mask is mask


def test_unknown_presets_codes_and_spans_name_the_valid_ones(controller):
    for verb, wrong, there in (
        (controller.editor.apply_preset, ("everything",), "video_behavior"),
        (controller.editor.paint, ([1], 5), "0 hidden"),
        (controller.editor.set_active_span, (30, 30), "start < stop"),
    ):
        with pytest.raises(ValueError, match=there):
            verb(*wrong)


def test_the_mask_stays_when_the_window_moves(controller):
    mask, start = controller.state.mask, controller.state.window.start_s
    controller.navigation.step_window(-2)
    assert controller.state.window.start_s == pytest.approx(start - 4.0, abs=1 / 30)
    assert controller.state.mask is mask
    asked = controller.results.newest_request
    with pytest.raises(TimeRangeError):
        controller.navigation.seek(1e6)
    controller.navigation.seek(controller.state.window.start_s + 0.001)  # where one is
    results = controller.results
    assert (results.newest_request, results.freshness) == (asked, "fresh")


def test_the_number_of_selected_neurons_is_limited(controller, monkeypatch):
    monkeypatch.setattr("omnimouse_model.live.neurons.planes.MAX_SELECTED", 16)
    controller.selection.select(range(20))
    assert controller.state.selection == tuple(range(4, 20))
    with pytest.raises(ValueError, match=r"0\.\.39"):
        controller.selection.select([40])


# -- memory -------------------------------------------------------------------------
@pytest.mark.slow
def test_work_on_the_demo_is_restored_as_that_on_own_data(session_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path))
    demo = write_session(tmp_path / "sessions" / "v1" / "demo")
    memory = tmp_path / "live.json"
    with closing(Controller(synchronous=True, session_file=memory)) as controller:
        controller.loader.open_now(session_folder)
        controller.loader.open_now(demo)
        controller.editor.paint_cells([3], (0, 20), VISIBLE)
        painted = controller.state.mask.mask_id
    with closing(Controller(synchronous=True, session_file=memory)) as again:
        assert again.project.restore()
        assert again.state.session.path == demo
        assert again.state.mask.mask_id == painted


def test_two_windows_have_a_state_each(session_folder, tmp_path):
    memory, masks = tmp_path / "live.json", []
    first = Controller(synchronous=True, session_file=memory)
    second = Controller(synchronous=True, session_file=memory)
    for number, controller in enumerate((first, second)):
        controller.loader.open_now(session_folder)
        controller.editor.paint_cells([number], (0, 20), VISIBLE)
        masks.append(controller.state.mask.mask_id)
    for controller in (second, first):
        controller.close()
    windows = [Controller(synchronous=True, session_file=memory) for _ in range(2)]
    for controller, mask_id in zip(windows, masks, strict=True):
        assert controller.project.restore()
        assert controller.state.mask.mask_id == mask_id
        assert controller.project.messages == ()
    # The next start of one window alone finds the work of the second in the backups.
    assert len(list((tmp_path / "unsaved").iterdir())) == 1
    for controller in windows:
        controller.close()


def test_a_drive_without_locks_keeps_a_state_that_windows_share(
    session_folder, tmp_path, monkeypatch
):
    def fails(*_):
        raise OSError(ENOLCK, "No locks available")

    monkeypatch.setattr(state_store, "claimed", fails)
    memory = tmp_path / "live.json"
    with closing(Controller(synchronous=True, session_file=memory)) as controller:
        controller.loader.open_now(session_folder)
    with closing(Controller(synchronous=True, session_file=memory)) as again:
        assert again.project.restore()


@pytest.mark.parametrize("damage", ["responses/meta.yml", "responses/data.npy"])
def test_a_damaged_recording_is_not_restored(tmp_path, caplog, damage):
    folder = write_session(tmp_path / "session")
    (folder / damage).write_bytes(b"[")
    memory = tmp_path / "live.json"
    write_last_session(LastSession(session=str(folder), predictor="mean"), memory)
    controller = Controller(synchronous=True, session_file=memory)
    assert not controller.project.restore()
    assert controller.state.session is None
    assert str(folder) in caplog.text
    controller.close()


def test_a_recording_whose_name_cannot_exist_is_not_restored(tmp_path):
    write_last_session(LastSession(session="x" * 5000), tmp_path / "live.json")
    with closing(Controller(synchronous=True, session_file=tmp_path / "live.json")) as controller:
        assert not controller.project.restore()


def test_a_damaged_last_session_is_told_with_the_next_recording(session_folder, tmp_path):
    path = tmp_path / "live.json"
    path.write_text("{")
    take_notes()  # of earlier tests
    controller = Controller(synchronous=True, session_file=path)
    assert not controller.project.restore()
    controller.loader.open(session_folder)
    (message,) = controller.project.messages
    assert "live.json is damaged and was set aside as live.json.damaged" in message
    controller.close()


def test_a_recording_of_responses_alone_opens_with_a_forecast():
    with open_controller(SESSIONS / "experanto_small", "mean") as controller:
        controller.editor.apply_preset("video_only")
        controller.loader.open_now(SUITE2P)
        mask = controller.state.mask
        assert controller.state.preset == "causal_response_25_behavior"
        assert mask.visible[:25].all()
        assert mask.target[30:].any()
        assert not mask.frames.any()
        controller.loader.open_now(SESSIONS / "experanto_small")
        assert controller.state.preset == "video_only"  # the user's choice is kept


def test_the_server_of_a_model_is_asked_after_the_user_agrees(session, monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    with open_controller(session, FarPredictor()) as controller:
        assert controller.results.asked_host == "data.example"
        assert "--connect data.example" in controller.results.error
        controller.requests.connect()
        assert controller.results.error is None
        assert controller.results.population is not None


_LEFT_OPEN = """
import sys, threading, time
import omnimouse_model as om
from omnimouse_model.live.controller import Controller
from tests.predictors import EchoPredictor

loading = threading.Event()

def load(name, device):
    loading.set()
    time.sleep(0.5)
    print("loaded")
    return EchoPredictor()

controller = Controller(load=load)
controller.loader.open_now(om.open_session(sys.argv[1]))
controller.model.choose("echo")
loading.wait()
"""


@pytest.mark.slow
def test_what_a_thread_does_is_finished_at_the_end_of_a_script(session_folder):
    """Else a process that it starts would find no arguments, and print a traceback."""
    command = [sys.executable, "-c", _LEFT_OPEN, str(session_folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert (ended.stdout, ended.stderr) == ("loaded\n", "")
