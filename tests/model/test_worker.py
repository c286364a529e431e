"""A predictor in a process of its own: same answers, small messages, restarts."""

import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest

from omnimouse_model.analysis.contexts import Context, context_mask
from omnimouse_model.analysis.live_sweep import live_draw, live_sweep
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import (
    CheckpointError,
    StoppedError,
    UnsupportedRequestError,
    WorkerError,
)
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import TARGET, VISIBLE, Mask
from omnimouse_model.predict.worker import WorkerPredictor
from tests.predictors import (
    CrashingPredictor,
    EchoPredictor,
    EndlessPredictor,
    FaultyPredictor,
    JoiningPredictor,
    OnceCrashingPredictor,
    PickyPredictor,
    RefusingPredictor,
    ScreenPredictor,
    joining_transformer,
    question,
    tiny_transformer,
)
from tests.small_sessions import write_session

TIMEOUT = 60.0
MANY = 10_000


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return open_session(write_session(tmp_path_factory.mktemp("worker") / "small"))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worker") / "many"
    return open_session(write_session(folder, n_neurons=MANY))


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worker") / "thousand"
    return open_session(write_session(folder, n_neurons=1000))


@pytest.fixture(scope="module")
def echo():
    worker = WorkerPredictor(EchoPredictor)
    yield worker
    worker.close()


@pytest.fixture
def worker_of():
    made: list[WorkerPredictor] = []

    def make(source: object, **options: object) -> WorkerPredictor:
        made.append(WorkerPredictor(source, **options))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


def test_a_worker_answers_as_the_predictor_it_holds(echo, session):
    window, mask = session.window(4.0), question(session)
    here = EchoPredictor().predict(window, mask)
    there = echo.predict(window, mask)
    assert np.array_equal(there.responses, here.responses, equal_nan=True)
    assert np.array_equal(there.behavior, here.behavior)
    assert np.array_equal(there.neurons, here.neurons)
    assert np.array_equal(there.to_session_units(), here.to_session_units(), True)
    assert (there.mask_id, there.predictor_id) == (mask.mask_id, "echo")
    assert echo.needs == EchoPredictor().needs


def test_big_answers_come_back_whole(echo, many):
    window, mask = many.window(4.0), question(many)
    here = EchoPredictor().predict(window, mask)
    there = echo.predict(window, mask)
    assert there.responses.nbytes > 2**20
    assert np.array_equal(there.responses, here.responses, equal_nan=True)
    again = echo.predict(many.window(6.0), mask)
    assert not np.array_equal(there.responses, again.responses, equal_nan=True)
    assert np.array_equal(there.responses, here.responses, equal_nan=True)


def test_parts_of_one_question_are_encoded_once(echo, session):
    window, mask = session.window(4.0), question(session).hide([39])
    before = echo.predict(session.window(4.0), question(session)) and echo.counters
    encoded = echo.encode(window, mask)
    first = echo.decode(encoded, np.array([12, 11]))
    echo.decode(encoded)
    assert echo.counters["encodings"] == before["encodings"] + 1
    assert first.neurons.tolist() == [12, 11]


def test_an_earlier_question_can_still_be_decoded(echo, session):
    mask = question(session)
    early = echo.encode(session.window(4.0), mask)
    echo.encode(session.window(6.0), mask)
    expected = EchoPredictor().predict(session.window(4.0), mask)
    found = echo.decode(early)
    assert np.array_equal(found.responses, expected.responses, equal_nan=True)


def test_a_session_is_prepared_once(echo, session):
    echo.predict(session.window(4.0), question(session))
    before = echo.counters["prepared"]
    echo.prepare(session)
    echo.predict(session.window(2.0), question(session))
    assert echo.counters["prepared"] == before


def test_masks_arrive_exactly_after_any_strokes(echo, many):
    draw = np.random.default_rng(1)
    window, mask = many.window(4.0), question(many)
    for _ in range(10):
        chosen = draw.permutation(MANY)[: draw.integers(1, MANY)]
        first = int(draw.integers(0, 50))
        mask = mask.paint(chosen, (first, first + 10), int(draw.integers(0, 3)))
        assert echo.predict(window, mask, np.array([0])).mask_id == mask.mask_id


@pytest.mark.parametrize("share", [0.0, 0.004, 0.5, 1.0])
@pytest.mark.parametrize("size", ["thousand", "many"])
def test_a_stroke_sends_less_than_100_kb(echo, request, size, share):
    recording: Session = request.getfixturevalue(size)
    count = max(1, int(share * recording.n_neurons))
    window, mask = recording.window(4.0), question(recording)
    echo.predict(window, mask)
    before = echo.counters["bytes_sent"]
    chosen = np.random.default_rng(0).permutation(recording.n_neurons)[:count]
    encoded = echo.encode(window, mask.paint(chosen, (30, 60), VISIBLE))
    echo.decode(encoded, np.arange(16))
    echo.decode(encoded, np.arange(recording.n_neurons))
    assert echo.counters["bytes_sent"] - before <= 100_000


def test_a_preset_sends_less_than_100_kb(echo, many):
    window = many.window(4.0)
    echo.predict(window, question(many))
    echo.encode(window, Mask.from_strategy("video_behavior", many, seed=3))
    assert echo.counters["bytes_sent_last"] <= 100_000


def test_refusals_keep_their_type_and_reason(worker_of, session):
    worker = worker_of(RefusingPredictor)
    with pytest.raises(UnsupportedRequestError, match="needs video"):
        worker.predict(session.window(4.0), question(session).with_frames(False))
    assert worker.predict(session.window(4.0), question(session)).status == "ok"


def test_masks_of_one_window_are_computed_together_there_too(worker_of, session):
    worker, here = worker_of(joining_transformer, torch_threads=1), tiny_transformer()
    window, neurons = session.window(3.0), np.array([30, 35])
    draw = live_draw(session.n_neurons, neurons)
    masks = [context_mask(Context(count), draw) for count in (1, 3, 16, 37)]
    masks += [context_mask(Context(history_samples=10), draw)]
    answers = list(worker.predict_many([(window, mask, neurons) for mask in masks]))
    assert worker.counters["encodings"] == 2
    for mask, answer in zip(masks, answers, strict=True):
        alone = here.predict(window, mask, neurons)
        assert answer.mask_id == mask.mask_id
        np.testing.assert_allclose(answer.responses, alone.responses, atol=1e-4)


def test_a_refusal_among_several_comes_in_its_turn(worker_of, session):
    worker = worker_of(JoiningPredictor)
    window, mask = session.window(3.0), question(session)
    dark = mask.with_frames(False)
    answers = worker.predict_many([(window, m, None) for m in (mask, mask, dark, mask)])
    assert next(answers).mask_id == mask.mask_id
    assert next(answers).mask_id == mask.mask_id
    with pytest.raises(UnsupportedRequestError, match="needs video"):
        next(answers)
    *_, sweep = live_sweep(worker, window, np.array([3, 11]))
    for row in sweep.rows:
        assert ("needs video" in row.refusal) == (not row.context.video)
        assert np.isfinite(row.score) == row.context.video


def test_faults_say_what_and_where(worker_of, session):
    worker = worker_of(FaultyPredictor)
    with pytest.raises(WorkerError, match=r"ZeroDivisionError.*predictors"):
        worker.predict(session.window(4.0), question(session))


def test_a_crash_is_told_and_the_next_request_starts_again(worker_of, session):
    worker = worker_of(CrashingPredictor)
    window, mask = session.window(4.0), question(session)
    worker.predict(window, mask)
    first = worker.process_id
    with pytest.raises(WorkerError, match="starts again"):
        worker.predict(window, mask.with_behavior("hidden"))
    assert worker.predict(window, mask).mask_id == mask.mask_id
    assert worker.process_id != first


def test_a_process_that_dies_is_asked_again_with_its_session_and_mask(
    worker_of, session, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMNIMOUSE_TEST_MARK", str(tmp_path / "died"))
    worker = worker_of(OnceCrashingPredictor)
    window, mask = session.window(4.0), question(session).paint([3, 4], (0, 60), TARGET)
    answer = worker.predict(window, mask)
    expected = EchoPredictor().predict(window, mask)
    assert np.array_equal(answer.responses, expected.responses, equal_nan=True)
    assert answer.mask_id == mask.mask_id
    assert "started again" in answer.status
    assert "exit code" in answer.status


def test_one_that_dies_again_and_again_says_what_to_do(worker_of, session):
    worker = worker_of(CrashingPredictor)
    window, mask = session.window(4.0), question(session)
    fatal = mask.with_behavior("hidden")
    with pytest.raises(WorkerError, match=r"twice in a row.*omnimouse doctor"):
        worker.predict(window, fatal)
    # It has spent its second try; only an answer earns it another.
    with pytest.raises(WorkerError, match="3 times in a row"):
        worker.predict(window, fatal)
    assert worker.predict(window, mask).mask_id == mask.mask_id
    with pytest.raises(WorkerError, match="twice"):
        worker.predict(window, fatal)


def test_a_killed_process_is_replaced(worker_of, session):
    worker = worker_of(EchoPredictor)
    window, mask = session.window(4.0), question(session)
    encoded = worker.encode(window, mask)
    os.kill(worker.process_id, signal.SIGKILL)
    answer = worker.decode(encoded)
    assert answer.mask_id == mask.mask_id
    assert "started again" in answer.status
    assert worker.decode(encoded).status == "ok"


def test_an_unknown_name_is_told_by_the_catalogue(worker_of):
    with pytest.raises(CheckpointError, match="demo"):
        _ = worker_of("no-such-predictor").needs


def test_stopping_gives_up_at_once_and_the_next_request_is_answered(worker_of, session):
    worker = worker_of(EndlessPredictor)
    window, mask = session.window(4.0), question(session)
    worker.predict(window, mask)
    stop = threading.Event()
    worker.stop_when(stop.is_set)
    timer = threading.Timer(0.05, stop.set)
    timer.start()
    with pytest.raises(StoppedError):
        worker.predict(window, mask.with_behavior("hidden"))
    worker.stop_when(lambda: False)
    changed = mask.paint([20], (0, 60), TARGET)
    assert worker.predict(window, changed).mask_id == changed.mask_id


def test_closing_leaves_no_process_behind(session):
    worker = WorkerPredictor(EchoPredictor)
    worker.predict(session.window(4.0), question(session))
    process_id = worker.process_id
    worker.close()
    assert worker.process_id is None
    assert process_id not in [child.pid for child in active_children()]
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


SEGMENTS = Path("/dev/shm")
needs_segments = pytest.mark.skipif(
    not SEGMENTS.is_dir(), reason="shared memory is not listed here"
)


@needs_segments
def test_shared_memory_is_released_with_the_worker_or_the_process(many):
    worker = WorkerPredictor(EchoPredictor)
    window, mask = many.window(4.0), question(many)
    worker.predict(window, mask)
    first = SEGMENTS / worker._shared.name
    assert first.exists()
    os.kill(worker.process_id, signal.SIGKILL)
    assert worker.predict(window, mask).mask_id == mask.mask_id
    assert not first.exists()
    second = SEGMENTS / worker._shared.name
    assert second.exists()
    worker.close()
    assert not second.exists()
    worker.predict(window, mask)
    third = SEGMENTS / worker._shared.name
    assert third.exists()
    worker._link.close()
    del worker
    assert not third.exists(), "a worker that is forgotten releases it too"


@needs_segments
def test_shared_memory_is_released_when_this_side_is_killed(many, root):
    import subprocess
    import sys

    script = (
        "import os, signal, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from omnimouse_model.data.open import open_session\n"
        "from omnimouse_model.predict.worker import WorkerPredictor\n"
        "from tests.predictors import EchoPredictor\n"
        "worker = WorkerPredictor(EchoPredictor)\n"
        "worker.prepare(open_session(sys.argv[2]))\n"
        "print(worker.process_id, worker._shared.name, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(root), str(many.path)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    process, name = done.stdout.split()
    until(lambda: not (SEGMENTS / name).exists() and not is_running(int(process)))


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_session_that_is_gone_is_told_and_the_process_lives(
    worker_of, tmp_path, session
):
    worker = worker_of(EchoPredictor)
    worker.predict(session.window(4.0), question(session))
    process = worker.process_id
    gone = open_session(write_session(tmp_path / "gone"))
    window, mask = gone.window(4.0), question(gone)
    (gone.path / "responses" / "meta.yml").unlink()
    with pytest.raises(WorkerError, match="same path"):
        worker.predict(window, mask)
    assert worker.predict(session.window(4.0), question(session)).status == "ok"
    assert worker.process_id == process


def test_a_process_with_a_screen_is_refused(worker_of):
    with pytest.raises(WorkerError, match="screen"):
        _ = worker_of(ScreenPredictor).needs


def test_the_parents_script_and_its_screens_stay_out_of_the_process(
    tmp_path, session, root
):
    import subprocess
    import sys

    script = tmp_path / "script.py"
    script.write_text(
        "import qtpy, pathlib, sys\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "pathlib.Path(sys.argv[1]).open('a').write('run ')\n"
        "from omnimouse_model.predict.worker import WorkerPredictor\n"
        "from tests.predictors import EchoPredictor\n"
        "worker = WorkerPredictor(EchoPredictor)\n"
        "print(worker.predictor_id)\n"
        "worker.close()\n"
    )
    ran = tmp_path / "ran"
    done = subprocess.run(
        [sys.executable, str(script), str(ran), str(root)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.stdout == "echo\n", done.stderr
    assert ran.read_text() == "run "


def test_a_refused_bigger_recording_leaves_the_answers_of_the_known_one(many, tmp_path):
    bigger = open_session(write_session(tmp_path / "s", n_neurons=MANY + 2000))
    mask = Mask.nothing(many).ask(slice(None))
    window = many.window(4.0)
    expected = EchoPredictor().predict(window, mask).responses
    worker = WorkerPredictor(PickyPredictor)
    assert np.array_equal(
        worker.predict(window, mask).responses, expected, equal_nan=True
    )
    with pytest.raises(UnsupportedRequestError):
        worker.prepare(bigger)
    again = worker.predict(window, mask).responses
    worker.close()
    assert np.array_equal(again, expected, equal_nan=True)


def test_the_controller_works_through_a_worker(session):
    before = {child.pid for child in active_children()}
    controller = Controller(load=lambda *_: WorkerPredictor(EchoPredictor))
    controller.open_session(session)
    controller.choose_predictor("echo")
    assert controller.wait(TIMEOUT)
    assert controller.results.error is None
    assert controller.results.freshness == "fresh"
    controller.paint([1, 2], VISIBLE)
    assert controller.wait(TIMEOUT)
    assert controller.results.population.mask_id == controller.state.mask.mask_id
    controller.close()
    assert {child.pid for child in active_children()} <= before


# -- with a real net ------------------------------------------------------------------


@pytest.fixture(scope="module")
def net():
    worker = WorkerPredictor(tiny_transformer, torch_threads=1)
    yield worker
    worker.close()


@pytest.fixture
def live(net, session):
    controller = Controller()
    controller.open_session(session)
    controller.choose_predictor(net)
    assert controller.wait(TIMEOUT)
    yield controller
    controller.close()


def test_a_transformer_in_a_worker_answers_as_one_here(live):
    here = tiny_transformer()
    for preset in ("video_behavior", "Forecast with video", "Half of the population"):
        live.apply_preset(preset)
        live.paint([2, 5, 7], VISIBLE)
        assert live.wait(TIMEOUT)
        assert live.results.error is None
        expected = here.predict(live.state.window, live.state.mask)
        found = live.results.population
        assert found.mask_id == expected.mask_id
        assert np.isin(found.neurons, expected.neurons).all()
        shown = np.searchsorted(expected.neurons, found.neurons)
        np.testing.assert_allclose(
            found.responses, expected.responses[:, shown], atol=1e-5
        )


def test_a_stroke_encodes_no_video(live, net):
    live.paint([1], VISIBLE)
    assert live.wait(TIMEOUT)
    before = net.counters
    live.paint([2, 3], VISIBLE)
    assert live.wait(TIMEOUT)
    assert live.results.freshness == live.results.population_freshness == "fresh"
    after = net.counters
    assert after["video_encodings"] == before["video_encodings"]
    assert after["encodings"] == before["encodings"] + 1
    assert after["bytes_sent"] - before["bytes_sent"] < 10_000


def test_the_windows_beside_are_ready_before_they_are_asked_for(live, net, monkeypatch):
    live.apply_preset("video_behavior")
    assert live.wait(TIMEOUT)
    before = net.counters["video_encodings"]
    live.seek(10.1)
    until(lambda: net.counters["video_encodings"] >= before + 3)
    monkeypatch.setattr("omnimouse_model.live.engine.QUIET_S", 1000.0)
    for step in (1, -2):
        live.step_window(step)
        assert live.wait(TIMEOUT)
        assert live.results.population_freshness == "fresh"
    assert net.counters["video_encodings"] == before + 3


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_every_preset_is_answered_by_a_transformer(live):
    for name, _ in live.presets:
        live.apply_preset(name)
        assert live.wait(TIMEOUT)
        assert live.results.error is None, name
        decodes = live.state.mask.behavior == "target"
        assert (live.results.behavior is not None) == decodes


def test_a_transformer_says_which_sessions_it_knows(live, many):
    live.open_session(many)
    assert live.wait(TIMEOUT)
    assert live.results.freshness == "error"
    assert "small" in live.results.error
