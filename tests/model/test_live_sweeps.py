"""Sweeps in the background: started, paused, ended, gone on with, kept, compared."""

import csv
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from time import sleep

import numpy as np
import pytest

from omnimouse_model.analysis.sweep import context_sweep
from omnimouse_model.analysis.sweep_plan import SweepPlan
from omnimouse_model.analysis.sweep_saved import SUFFIX, read_sweep
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.data.windows import Window
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.sweep_estimate import duration_words
from omnimouse_model.live.sweeps import MOST_COMPARED, Sweeps
from omnimouse_model.masks import TARGET, VISIBLE, Mask
from omnimouse_model.predict.predictor import Encoded, Predictor
from tests.predictors import (
    EchoPredictor,
    EndlessPredictor,
    FaultyPredictor,
    GatedPredictor,
)
from tests.small_sessions import write_session

TIMEOUT = 60.0
PLAN = SweepPlan(
    neurons=(0, 8),
    history_samples=(0, 10),
    video=(True, False),
    seeds=(0, 1),
    tier="test",
    max_windows=2,
)
N_ROWS = 12  # none, 8 neurons, 10 samples; with and without video; two draws
N_ANSWERS = 2 * N_ROWS


class Noisy(GatedPredictor):
    """Wrong by an amount that differs between contexts; waits at a gate."""

    def __init__(self) -> None:
        GatedPredictor.__init__(self, "echo")
        for _ in range(10_000):
            self.gate.release()

    def encode(self, window: Window, mask: Mask) -> Encoded:
        found = GatedPredictor.encode(self, window, mask)
        seed = int(np.count_nonzero(mask.visible)) + window.start_index
        noise = np.random.default_rng(seed).normal(size=window.responses.shape)
        return Encoded(window, mask, found.state + noise.astype(np.float32))

    def shut(self) -> None:
        while self.gate.acquire(blocking=False):
            pass


class Face:
    """A thread that draws, which does what is posted when it is told to."""

    def __init__(self, folder: Path, made: Predictor) -> None:
        self.posted: queue.Queue[Callable[[], None]] = queue.Queue()
        self.loaded = 0
        self.loading: set[str] = set()
        self.made = made

        def load(name: str, session: Session | None, device: str) -> Predictor:
            self.loaded += 1
            self.loading.add(threading.current_thread().name)
            return self.made if self.loaded > 1 else EchoPredictor()

        self.controller = Controller(post=self.posted.put, load=load)
        self.controller.sweeps.folder = folder

    @property
    def sweeps(self) -> Sweeps:
        return self.controller.sweeps

    def draw_until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self.posted.get(timeout=TIMEOUT)()

    def draw(self) -> None:
        while not self.posted.empty():
            self.posted.get()()

    @property
    def n_rows(self) -> int:
        entry = self.sweeps.found[0]
        return 0 if entry.sweep is None else len(entry.sweep.rows)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return open_session(write_session(tmp_path_factory.mktemp("sweeps") / "small"))


@pytest.fixture
def predictor():
    return Noisy()


@pytest.fixture
def face(session, tmp_path, predictor):
    made = opened(Face(tmp_path / "kept", predictor), session)
    yield made
    for _ in range(10_000):
        predictor.gate.release()
    made.controller.close()


def opened(face: Face, session: Session) -> Face:
    face.controller.choose_predictor("echo")
    face.controller.open_session(session)
    face.draw_until(lambda: not face.controller.results.is_awaited)
    return face


def expected(session: Session) -> list[dict[str, object]]:
    return context_sweep(
        Noisy(),
        session,
        neurons=PLAN.neurons,
        history_samples=PLAN.history_samples,
        video=PLAN.video,
        seeds=PLAN.seeds,
        tier=PLAN.tier,
        max_windows=PLAN.max_windows,
    ).table()


def test_a_sweep_is_estimated_and_then_known_from_one_like_it(session, tmp_path):
    controller = Controller(synchronous=True)
    controller.sweeps.folder = tmp_path
    assert controller.sweeps.estimate(PLAN) is None
    controller.choose_predictor(EchoPredictor())
    controller.open_session(session)
    first = controller.sweeps.estimate(PLAN)
    assert first is not None
    assert first.n_predictions == N_ANSWERS
    assert first.words.startswith("12 points × 2 windows = 24 predictions · roughly ")
    controller.sweeps.start(PLAN)
    known = controller.sweeps.estimate(PLAN)
    assert known is not None
    assert (known.is_of_sweep, known.each_s is not None) == (True, True)
    with pytest.raises(ValueError, match="no window of tier 'none such'"):
        controller.sweeps.estimate(SweepPlan(neurons=(0,), tier="none such"))
    controller.close()


class SlowOfMany(EchoPredictor):
    """Takes a while for a recording of more neurons than the small one has."""

    def encode(self, window: Window, mask: Mask) -> Encoded:
        if mask.n_neurons > 40:
            sleep(0.1)
        return super().encode(window, mask)


def test_no_estimate_goes_by_the_time_that_another_recording_took(session, tmp_path):
    larger = write_session(tmp_path / "larger", n_neurons=60)
    controller = Controller(synchronous=True)
    controller.sweeps.folder = tmp_path / "kept"
    controller.choose_predictor(SlowOfMany())
    controller.open_session(session)
    controller.sweeps.start(PLAN)
    controller.open_session(larger)
    other = controller.sweeps.estimate(PLAN)
    assert other is not None
    assert not other.is_of_sweep
    assert other.each_s is not None
    assert other.each_s >= 0.1
    controller.open_session(session)
    back = controller.sweeps.estimate(PLAN)
    assert back is not None
    assert back.is_of_sweep
    controller.close()


class Slow(EchoPredictor):
    """Its encoding takes a while."""

    def encode(self, window: Window, mask: Mask) -> Encoded:
        sleep(0.05)
        return EchoPredictor.encode(self, window, mask)


def test_only_an_answer_for_the_population_says_how_long_a_sweep_takes(
    session, tmp_path
):
    n = session.n_neurons

    def asking(n_asked: int) -> Mask:
        cells = np.full((60, n), VISIBLE, np.uint8)
        cells[30:, :n_asked] = TARGET
        return Mask(cells, np.ones(60, bool), "hidden", np.arange(n))

    controller = Controller(synchronous=True)
    controller.sweeps.folder = tmp_path
    controller.open_session(session)
    controller.set_mask(asking(1))
    controller.choose_predictor(Slow())
    assert controller.results.population is not None
    few = controller.sweeps.estimate(PLAN)
    assert few is not None
    assert few.each_s is None
    assert few.words == (
        "12 points × 2 windows = 24 predictions · "
        "time not known before an answer for the population"
    )
    controller.set_mask(asking(n))
    controller.set_mask(asking(0))  # nothing is asked, which is quick
    known = controller.sweeps.estimate(PLAN)
    assert known is not None
    assert known.each_s is not None
    assert known.each_s >= 0.05
    controller.choose_predictor(EchoPredictor())
    other = controller.sweeps.estimate(PLAN)
    assert other is not None
    assert other.each_s is None
    controller.close()


def test_it_finds_what_the_library_finds_and_keeps_it(face, session):
    counts = []
    face.sweeps.changed.connect(lambda: counts.append(face.n_rows))
    face.sweeps.start(PLAN, "first look")
    assert face.sweeps.is_busy
    face.draw_until(lambda: not face.sweeps.is_busy)
    assert face.sweeps.fault is None
    [entry] = face.sweeps.found
    assert entry.sweep is not None
    assert entry.sweep.table() == expected(session)
    assert set(counts) == set(range(N_ROWS + 1))
    assert entry.path.parent == face.sweeps.folder
    assert face.sweeps.compared == (entry.path,)
    again = read_sweep(entry.path)
    assert again.sweep is not None
    assert again.sweep.table() == expected(session)
    assert again.name == "first look"
    assert again.about["session"] == str(session.path)


def test_it_has_a_predictor_and_a_thread_of_its_own(face):
    face.sweeps.start(PLAN)
    face.draw_until(lambda: not face.sweeps.is_busy)
    assert face.loaded == 2
    assert threading.current_thread().name not in face.loading


def test_paused_it_waits_and_resumed_it_goes_on(face, session, predictor):
    predictor.shut()
    face.sweeps.start(PLAN)
    assert predictor.entered.acquire(timeout=TIMEOUT)
    face.sweeps.pause()
    assert face.sweeps.is_paused
    for _ in range(10_000):
        predictor.gate.release()
    assert not predictor.entered.acquire(timeout=0.3)
    face.draw()
    assert face.sweeps.words == f"0 of {N_ROWS} points · paused"
    face.sweeps.resume()
    face.draw_until(lambda: not face.sweeps.is_busy)
    [entry] = face.sweeps.found
    assert entry.sweep is not None
    assert entry.sweep.table() == expected(session)
    assert predictor.counters["encodings"] == N_ANSWERS


def test_it_waits_while_the_screen_waits(face, predictor):
    face.sweeps.start(PLAN)
    face.controller.results.is_awaited = True
    while predictor.entered.acquire(timeout=0.3):
        pass
    before = predictor.counters.get("encodings", 0)
    assert before < N_ANSWERS
    face.controller.results.is_awaited = False
    face.draw_until(lambda: not face.sweeps.is_busy)
    assert predictor.counters["encodings"] == N_ANSWERS


def test_cancelled_it_keeps_its_rows_and_goes_on_from_there(face, session, predictor):
    face.sweeps.changed.connect(lambda: face.n_rows >= 3 and predictor.shut())
    face.sweeps.start(PLAN)
    face.draw_until(lambda: face.n_rows >= 3)
    path = face.sweeps.found[0].path
    face.sweeps.cancel()
    assert not face.sweeps.is_busy
    for _ in range(10_000):
        predictor.gate.release()
    face.sweeps.changed.disconnect()
    kept = read_sweep(path).sweep
    assert kept is not None
    assert 3 <= len(kept.rows) < N_ROWS
    face.sweeps.go_on(path)
    face.draw_until(lambda: not face.sweeps.is_busy)
    assert face.sweeps.fault is None
    [entry] = face.sweeps.found
    assert entry.sweep is not None
    assert entry.sweep.table() == expected(session)


def test_after_a_restart_it_goes_on_without_the_recording_on_screen(
    session, tmp_path, predictor
):
    folder = tmp_path / "kept"
    face = opened(Face(folder, predictor), session)
    face.sweeps.changed.connect(lambda: face.n_rows >= 5 and predictor.shut())
    face.sweeps.start(PLAN)
    face.draw_until(lambda: face.n_rows >= 5)
    face.controller.close(0.1)
    for _ in range(10_000):
        predictor.gate.release()
    [path] = folder.iterdir()
    path.write_bytes(path.read_bytes() + b'{"key": "half a li')

    again = Face(folder, Noisy())
    again.loaded = 1
    again.sweeps.look()
    again.draw_until(lambda: bool(again.sweeps.found))
    assert 5 <= again.n_rows < N_ROWS
    again.sweeps.go_on(path)
    again.draw_until(lambda: not again.sweeps.is_busy)
    assert again.sweeps.fault is None
    [entry] = again.sweeps.found
    assert entry.sweep is not None
    assert entry.sweep.table() == expected(session)
    again.controller.close()


def test_a_fault_is_told_and_another_can_be_started(face):
    face.made = FaultyPredictor()
    face.sweeps.start(PLAN)
    face.draw_until(lambda: not face.sweeps.is_busy)
    assert "a fault in the model" in str(face.sweeps.fault)
    face.made = EchoPredictor()
    face.sweeps.start(PLAN)
    face.draw_until(lambda: not face.sweeps.is_busy)
    assert face.sweeps.fault is None
    assert face.sweeps.found[0].is_complete


def test_what_is_in_the_way_is_said(session, tmp_path):
    controller = Controller(synchronous=True)
    controller.sweeps.folder = tmp_path
    controller.sweeps.start(PLAN)
    assert "Open a recording" in str(controller.sweeps.fault)
    controller.open_session(session)
    controller.choose_predictor(EndlessPredictor("handed in"))
    controller.sweeps.start(PLAN)
    assert "by name or file" in str(controller.sweeps.fault)
    controller.sweeps.forget_fault()
    assert controller.sweeps.fault is None
    controller.close()


def kept(folder: Path, session: Session, count: int) -> Controller:
    """A controller with so many sweeps kept."""
    controller = Controller(synchronous=True)
    controller.sweeps.folder = folder
    controller.choose_predictor(EchoPredictor())
    controller.open_session(session)
    for number in range(count):
        controller.sweeps.start(SweepPlan(neurons=(0,), max_windows=1), f"no {number}")
    return controller


def test_four_are_compared_and_a_fifth_takes_the_oldests_place(session, tmp_path):
    controller = kept(tmp_path, session, MOST_COMPARED + 1)
    sweeps = controller.sweeps
    names = [entry.name for entry in sweeps.found]
    assert names == ["no 4", "no 3", "no 2", "no 1", "no 0"]
    drawn = [e.name for path in sweeps.compared if (e := sweeps.kept(path))]
    assert drawn == ["no 1", "no 2", "no 3", "no 4"]
    sweeps.compare(sweeps.compared[0], False)
    assert len(sweeps.compared) == MOST_COMPARED - 1
    controller.close()


def test_a_removed_sweep_is_gone_and_a_damaged_file_is_named(session, tmp_path):
    controller = kept(tmp_path, session, 2)
    sweeps = controller.sweeps
    path = sweeps.found[0].path
    sweeps.remove(path)
    assert not path.exists()
    assert path not in sweeps.compared
    (tmp_path / f"odd{SUFFIX}").write_text("what")
    sweeps.look()
    assert {entry.name: bool(entry.problem) for entry in sweeps.found} == {
        "no 0": False,
        "odd": True,
    }
    controller.close()


def test_sweeps_are_written_as_one_table(session, tmp_path):
    controller = kept(tmp_path, session, 2)
    sweeps = controller.sweeps
    path = tmp_path / "both.csv"
    named = {e.name: e.sweep for e in sweeps.found if e.sweep is not None}
    sweeps.write_csv(named, path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["sweep"] for row in rows} == {"no 0", "no 1"}
    assert [float(row["score"]) for row in rows] == pytest.approx([1.0, 1.0])
    controller.close()


def test_time_left_is_said_as_people_do():
    said = [duration_words(s) for s in (0.2, 42.0, 300.0, 9000.0)]
    assert said == ["1 s", "42 s", "5 min", "2.5 h"]
