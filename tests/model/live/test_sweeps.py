"""Background sweeps: start, pause, cancel, continue, save, compare."""

import threading
from contextlib import closing
from dataclasses import replace
from math import ceil
from pathlib import Path
from types import SimpleNamespace

import pytest

from omnimouse_model.analysis.sweep.contexts import SweepPlan
from omnimouse_model.analysis.sweep.run import context_sweep
from omnimouse_model.analysis.sweep.table import SUFFIX, read_sweep
from omnimouse_model.data.session import Session
from omnimouse_model.live import sweeps as live_sweeps
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.inference import background_task
from omnimouse_model.live.sweeps import Sweeps
from omnimouse_model.masks.selection import NeuronGroup
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import never
from tests.model.drawing_thread import TIMEOUT, DrawingThread
from tests.model.lab.energy_neurons import EnergyNeurons
from tests.predictors import (
    EchoPredictor,
    FaultyPredictor,
    GatedPredictor,
    NoisyPredictor,
    open_controller,
    tiny_transformer,
)
from tests.small_sessions import write_session

CONTEXTS = ((0, 8), (0, 10), (True, False))  # neurons, history, video
PLAN = SweepPlan(*CONTEXTS, seeds=(0, 1), tier="test", max_windows=2, centred=False)
N_ROWS = 12  # none, 8 neurons, 10 samples; with and without video; two draws
N_ANSWERS = 2 * N_ROWS


class GatedNoisyPredictor(NoisyPredictor, GatedPredictor):
    """Echo with an error that depends on mask and window; waits at a gate."""

    def __init__(self) -> None:
        GatedPredictor.__init__(self, "echo")
        self.open()

    def open(self) -> None:
        self.gate.release(10_000)

    def close_gate(self) -> None:
        while self.gate.acquire(blocking=False):
            pass

    def open_gate_for_rows(self, n: int) -> None:
        """Let `n` rows be computed; a cancel before the next window ends the sweep."""
        self.close_gate()
        self.gate.release(2 * n)


class SweepsThread(DrawingThread):
    """Drawing thread of a controller whose sweeps get a predictor of their own."""

    def __init__(self, folder: Path, made: Predictor) -> None:
        self.loaded = 0
        self.loading: set[str] = set()
        self.made = made

        def load(*_: object) -> Predictor:
            self.loaded += 1
            self.loading.add(threading.current_thread().name)
            return self.made if self.loaded > 1 else EchoPredictor()

        super().__init__(load=load)
        self.controller.sweeps.folder = folder

    @property
    def sweeps(self) -> Sweeps:
        return self.controller.sweeps

    def finished_table(self) -> list[dict[str, object]]:
        self.draw_until(lambda: not self.sweeps.is_busy)
        assert self.sweeps.error is None
        [entry] = self.sweeps.entries
        return entry.sweep.table()

    @property
    def n_rows(self) -> int:
        entry = self.sweeps.entries[0]
        return 0 if entry.sweep is None else len(entry.sweep.rows)


@pytest.fixture(scope="module")
def table(session):
    names = ("neurons", "history_samples", "video", "seeds", "tier", "max_windows", "centred")
    ask = {name: getattr(PLAN, name) for name in names}
    return context_sweep(GatedNoisyPredictor(), session, **ask).table()


@pytest.fixture
def predictor():
    return GatedNoisyPredictor()


@pytest.fixture
def drawing_thread(session, tmp_path, predictor):
    made = open_session_in(SweepsThread(tmp_path / "sweeps", predictor), session)
    yield made
    predictor.open()
    made.controller.close()


@pytest.fixture
def controller(tmp_path):
    """Controller that computes sweeps on this thread."""
    with closing(Controller(synchronous=True)) as made:
        made.sweeps.folder = tmp_path / "sweeps"
        yield made


@pytest.fixture
def gate_arrivals(monkeypatch):
    """Semaphore that is released when a sweep begins to wait at its gate."""
    begun = threading.Semaphore(0)

    class Condition(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            begun.release()
            return super().wait(timeout)

    monkeypatch.setattr(
        background_task, "threading", SimpleNamespace(**{**vars(threading), "Condition": Condition})
    )
    return begun


def open_session_in(drawing_thread: SweepsThread, session: Session) -> SweepsThread:
    drawing_thread.controller.model.choose("echo")
    drawing_thread.controller.loader.open_now(session)
    drawing_thread.draw_until(lambda: not drawing_thread.controller.results.is_awaited)
    return drawing_thread


@pytest.mark.slow
def test_the_time_of_a_sweep_is_estimated_from_an_equal_one(controller, session, monkeypatch):
    assert controller.sweeps.estimate(PLAN) is None
    controller.model.choose(EchoPredictor())
    controller.loader.open_now(session)
    first = controller.sweeps.estimate(PLAN)
    assert (first.n_points, first.n_windows) == (N_ROWS, 2)
    assert first.n_predictions == N_ANSWERS
    assert f"{N_ANSWERS} predictions" in first.text
    # Centred scores also predict windows of the train tier, each point its own.
    centred = replace(first, n_train=16)
    assert centred.n_predictions == N_ANSWERS + 16 * N_ROWS
    assert "× (2 + 16 train) windows" in centred.text
    controller.sweeps.start(PLAN)
    short = controller.sweeps.estimate(PLAN)
    assert not short.is_of_sweep, "a run of less than five seconds has no pace"
    monkeypatch.setattr(background_task, "is_processor_busy", lambda: False)
    assert ", a first guess" in short.text
    assert short.text.endswith(", at the pace of predictions of the window on screen")
    monkeypatch.setattr(background_task, "is_processor_busy", lambda: True)
    assert ", longer while this processor is busy: " in short.text
    monkeypatch.setattr(live_sweeps, "LEAST_PACE", (0.0, 10))
    controller.sweeps.start(PLAN)
    known = controller.sweeps.estimate(PLAN)
    assert (known.is_of_sweep, known.each_s is not None) == (True, True)
    unknown = replace(known, each_s=None).text
    assert unknown.startswith("no time known yet, it is shown soon after the start: ")
    with pytest.raises(ValueError, match="no window of tier 'none such'"):
        controller.sweeps.estimate(SweepPlan(neurons=(0,), tier="none such"))


def test_a_sweep_whose_pool_is_all_neurons_is_listed_as_it_is_computed(controller, session):
    controller.model.choose(EchoPredictor())
    controller.loader.open_now(session)
    every = NeuronGroup.of(session, "visible", range(session.n_neurons))
    controller.sweeps.start(replace(PLAN, pool=every))
    assert controller.sweeps.error is None
    listed = controller.sweeps.entries[0]
    assert "from visible" not in listed.name
    assert listed.sweep.plan.asked == "held-out neurons from all others"
    assert listed.sweep.point_counts() == (N_ROWS, N_ROWS)


def test_the_time_left_is_not_that_of_a_first_point_that_encodes_the_windows(
    controller, session, monkeypatch
):
    now_s, seen, told = [0.0], set(), []
    monkeypatch.setattr(live_sweeps, "perf_counter", lambda: now_s[0])

    class SlowAtFirst(EchoPredictor):
        def encode(self, window, mask, cancelled=never):
            now_s[0] += 1.0 if window.key in seen else 20.0
            seen.add(window.key)
            return super().encode(window, mask, cancelled)

    def tell():
        if controller.sweeps.progress.left_s is not None:
            told.append((now_s[0], controller.sweeps.progress.left_s))

    controller.model.choose(SlowAtFirst())
    controller.loader.open_now(session)
    seen.clear()
    controller.sweeps.changed.connect(tell)
    plan, begun_s = replace(PLAN, seeds=tuple(range(4)), max_windows=4), now_s[0]
    controller.sweeps.start(plan)
    assert controller.sweeps.entries[0].is_complete
    assert told
    # The next one encodes them again.
    known = controller.sweeps.estimate(plan)
    assert known.each_s * known.n_predictions == pytest.approx(now_s[0] - begun_s, rel=0.05)
    for at_s, left_s in told:
        assert left_s < 2 * (now_s[0] - at_s) + 1


def timed_sweep(monkeypatch, n_points, n_windows, slower=lambda share: 1.0):
    """(seconds, progress) of each report of a sweep, and the seconds of all of it."""
    now_s, told = [0.0], []
    monkeypatch.setattr(live_sweeps, "perf_counter", lambda: now_s[0])
    work = live_sweeps.PausableJob()
    report = live_sweeps._timed(work, lambda one: told.append((now_s[0], one)), n_points)
    total, done = n_points * (n_windows + 16), 0
    report(done, total, "")
    # 16 points are computed together, 8 windows at a time; the first one encodes them.
    for first in range(0, n_points, 16):
        for _ in range(ceil((n_windows + 16) / 8)):
            for point in range(min(16, n_points - first)):
                for _ in range(min(8, total - done)):
                    now_s[0] += (20.0 if point == 0 else 1.0) * slower(done / total)
                    done += 1
                    report(done, total, "")
    return told, now_s[0]


@pytest.mark.parametrize(("n_points", "n_windows"), [(64, 32), (16, 32), (8, 32), (40, 172)])
def test_the_time_left_does_not_swing_with_the_encoding_of_each_batch(
    monkeypatch, n_points, n_windows
):
    told, end_s = timed_sweep(monkeypatch, n_points, n_windows)
    total = n_points * (n_windows + 16)
    known = [(at_s, one) for at_s, one in told if one.left_s is not None and one.share < 0.95]
    assert min(one.share for _, one in known) < 0.17
    for at_s, one in known:
        assert 0.5 < one.left_s / (end_s - at_s) < 2
        # What the form says of the next one.
        assert one.each_s is None or one.each_s * total == pytest.approx(end_s, rel=0.2)


@pytest.mark.parametrize(("before", "after"), [(4.0, 1.0), (1.0, 4.0)])
def test_the_time_left_of_a_sweep_soon_follows_other_work_that_begins_or_ends(
    monkeypatch, before, after
):
    told, end_s = timed_sweep(monkeypatch, 25, 64, lambda share: before if share < 0.5 else after)
    known = [(at_s, one) for at_s, one in told if 0.62 < one.share < 0.95]
    assert len(known) > 50
    for at_s, one in known:
        assert 0.5 < one.left_s / (end_s - at_s) < 2


def test_the_pace_is_of_the_newest_finished_sweep_and_a_busy_processor_told(
    controller, session, monkeypatch
):
    now_s, step_s, during = [0.0], [1.0], []
    monkeypatch.setattr(live_sweeps, "perf_counter", lambda: now_s[0])

    class Timed(EchoPredictor):
        def encode(self, window, mask, cancelled=never):
            now_s[0] += step_s[0]
            return super().encode(window, mask, cancelled)

    controller.model.choose(Timed())
    controller.loader.open_now(session)
    controller.sweeps.start(PLAN)
    assert controller.sweeps.estimate(PLAN).each_s == pytest.approx(1.0, rel=0.2)
    step_s[0] = 16.0
    controller.sweeps.changed.connect(
        lambda: during.append((controller.sweeps.progress, controller.sweeps.estimate(PLAN).each_s))
    )
    controller.sweeps.start(replace(PLAN, seeds=(5, 6)))
    known = controller.sweeps.estimate(PLAN)
    assert known.each_s == pytest.approx(16.0, rel=0.1)
    # While it runs, other programs may begin and end: a mean with the pace before.
    each_s = [each_s for progress, each_s in during if 0.5 < progress.share < 1]
    assert each_s[-1] == pytest.approx(4.0, rel=0.2)
    for is_busy in (True, False):
        monkeypatch.setattr(background_task, "is_processor_busy", lambda is_busy=is_busy: is_busy)
        assert ("longer while this processor is busy" in known.text) == is_busy


@pytest.mark.parametrize("n_points", [1, 3])
def test_a_sweep_of_few_points_tells_its_time_left_after_the_first_tenth(
    controller, session, monkeypatch, n_points
):
    now_s, told = [0.0], []
    monkeypatch.setattr(live_sweeps, "perf_counter", lambda: now_s[0])

    class Even(EchoPredictor):
        def encode(self, window, mask, cancelled=never):
            now_s[0] += 10.0
            return super().encode(window, mask, cancelled)

    controller.model.choose(Even())
    controller.loader.open_now(session)
    controller.sweeps.changed.connect(lambda: told.append(controller.sweeps.progress))
    plan = SweepPlan(neurons=tuple(range(n_points)), tier="train", centred=False)
    controller.sweeps.start(plan)
    assert controller.sweeps.entries[0].is_complete
    after = [one for one in told if 0.15 < one.share < 1]
    assert len(after) > 5
    for one in after:
        assert one.left_s == pytest.approx(10 * (one.total - one.done), rel=0.3)


def test_a_background_sweep_equals_the_library(drawing_thread, session, table):
    counts = []
    drawing_thread.sweeps.changed.connect(lambda: counts.append(drawing_thread.n_rows))
    drawing_thread.sweeps.start(PLAN, "first look")
    assert drawing_thread.sweeps.is_busy
    assert drawing_thread.finished_table() == table
    assert set(counts) == set(range(N_ROWS + 1))
    [entry] = drawing_thread.sweeps.entries
    assert entry.path.parent == drawing_thread.sweeps.folder
    assert drawing_thread.sweeps.compared == (entry.path,)
    again = read_sweep(entry.path)
    assert again.sweep.table() == table
    assert (again.name, again.about["session"]) == ("first look", str(session.path))
    # It had a predictor and a thread of its own.
    assert drawing_thread.loaded == 2
    assert threading.current_thread().name not in drawing_thread.loading


@pytest.mark.slow
def test_a_paused_sweep_resumes(drawing_thread, table, predictor, gate_arrivals):
    predictor.close_gate()
    drawing_thread.sweeps.start(PLAN)
    assert predictor.entered.acquire(timeout=TIMEOUT)
    drawing_thread.sweeps.pause()
    assert drawing_thread.sweeps.is_paused
    predictor.open()
    assert gate_arrivals.acquire(timeout=TIMEOUT)
    assert predictor.counters["encodings"] < N_ANSWERS
    drawing_thread.draw()
    assert drawing_thread.sweeps.message == f"0 of {N_ANSWERS} predictions · paused"
    drawing_thread.sweeps.resume()
    assert drawing_thread.finished_table() == table
    assert predictor.counters["encodings"] == N_ANSWERS


@pytest.mark.slow
def test_a_sweep_waits_for_live_requests(drawing_thread, predictor, gate_arrivals):
    results = drawing_thread.controller.results
    results.is_awaited, results.population_freshness = True, "stale"
    told = [""]
    drawing_thread.sweeps.changed.connect(lambda: told.append(drawing_thread.sweeps.message))
    drawing_thread.sweeps.start(PLAN)
    for _ in range(3):
        assert gate_arrivals.acquire(timeout=TIMEOUT)
    # After half a second, it says so.
    drawing_thread.draw_until(lambda: told[-1].endswith(f" · {live_sweeps.WAITING}"))
    assert predictor.counters.get("encodings", 0) == 0
    # The live curves, which come after the prediction, take no turn before it.
    results.population_freshness, results.sweep_freshness = "fresh", "running"
    n_told = len(told)
    drawing_thread.draw_until(lambda: not drawing_thread.sweeps.is_busy)
    assert not any(live_sweeps.WAITING in text for text in told[n_told:])
    assert predictor.counters["encodings"] == N_ANSWERS


@pytest.mark.parametrize("name", ["sources", "laboratory"])
def test_other_work_waits_for_predictions_but_not_for_live_curves(
    name, session, tmp_path, gate_arrivals
):
    model = "mean" if name == "sources" else EnergyNeurons()
    with open_controller(session, model) as controller:
        work, results = getattr(controller, name), controller.results
        work.folder = tmp_path / "kept"
        controller.editor.apply_preset("video_only")
        controller.laboratory.set_repeats(1)
        controller.sources.set(question="sources", windows=8, targets="all")
        results.is_awaited, results.population_freshness = True, "stale"
        # It runs on the thread that starts it.
        running = threading.Thread(target=work.start)
        running.start()
        try:
            for _ in range(3):
                assert gate_arrivals.acquire(timeout=TIMEOUT)
            assert work.result is None
            results.freshness = results.population_freshness = "fresh"
            results.sweep_freshness = "running"
            running.join(TIMEOUT)
            assert not running.is_alive()
        finally:
            results.is_awaited = False
            running.join(TIMEOUT)
        assert work.error is None
        assert work.result is not None


@pytest.mark.slow
def test_a_cancelled_sweep_continues(drawing_thread, table, predictor):
    predictor.open_gate_for_rows(3)
    drawing_thread.sweeps.start(PLAN)
    drawing_thread.draw_until(lambda: drawing_thread.n_rows == 3)
    path = drawing_thread.sweeps.entries[0].path
    drawing_thread.sweeps.cancel()
    assert not drawing_thread.sweeps.is_busy
    predictor.open()
    assert len(read_sweep(path).sweep.rows) == 3
    drawing_thread.sweeps.continue_saved(path)
    assert drawing_thread.finished_table() == table


@pytest.mark.slow
def test_a_sweep_continues_after_a_restart(session, tmp_path, predictor, table):
    folder = tmp_path / "sweeps"
    drawing_thread = open_session_in(SweepsThread(folder, predictor), session)
    predictor.open_gate_for_rows(5)
    drawing_thread.sweeps.start(PLAN)
    drawing_thread.draw_until(lambda: drawing_thread.n_rows == 5)
    drawing_thread.controller.close(0.0)
    predictor.open()
    [path] = folder.iterdir()
    path.write_bytes(path.read_bytes() + b'{"key": "half a li')

    again = SweepsThread(folder, GatedNoisyPredictor())
    again.loaded = 1
    with closing(again.controller):
        again.sweeps.reload_folder()
        again.draw_until(lambda: bool(again.sweeps.entries))
        assert again.n_rows == 5
        again.sweeps.continue_saved(path)
        assert again.finished_table() == table


@pytest.mark.slow
def test_an_error_is_reported_and_another_sweep_can_start(drawing_thread):
    drawing_thread.made = FaultyPredictor()
    drawing_thread.sweeps.start(PLAN)
    drawing_thread.draw_until(lambda: not drawing_thread.sweeps.is_busy)
    assert "a fault in the model" in str(drawing_thread.sweeps.error)
    drawing_thread.made = EchoPredictor()
    drawing_thread.sweeps.start(PLAN)
    drawing_thread.draw_until(lambda: not drawing_thread.sweeps.is_busy)
    assert drawing_thread.sweeps.error is None
    assert drawing_thread.sweeps.entries[0].is_complete


def test_a_sweep_that_cannot_start_reports_the_reason(controller, session):
    controller.sweeps.start(PLAN)
    assert "Open a recording" in str(controller.sweeps.error)
    controller.loader.open_now(session)
    controller.model.choose(tiny_transformer())
    controller.sweeps.start(PLAN)
    assert "passed as an object" in str(controller.sweeps.error)
    controller.sweeps.clear_error()
    assert controller.sweeps.error is None


@pytest.fixture
def start_sweeps(controller, session):
    """Compute and save some sweeps."""
    controller.model.choose(EchoPredictor())
    controller.loader.open_now(session)
    plan = SweepPlan(neurons=(0,), max_windows=1, centred=False)

    def start(count: int) -> Sweeps:
        for number in range(count):
            controller.sweeps.start(plan, f"no {number}")
        return controller.sweeps

    return start


def test_sweeps_are_deleted_and_files_that_are_none_say_so(start_sweeps, controller, tmp_path):
    sweeps = start_sweeps(2)
    path = sweeps.entries[0].path
    sweeps.remove(path)
    assert not path.exists()
    assert path not in sweeps.compared
    (sweeps.folder / f"odd{SUFFIX}").write_text("what")
    sweeps.reload_folder()
    problems = {entry.name: bool(entry.problem) for entry in sweeps.entries}
    assert problems == {"no 0": False, "odd": True}
    sweeps.compare(sweeps.entries[-1].path, True)
    controller.loader.open_now(write_session(tmp_path / "other", 12))
    assert sweeps.compared == ()
