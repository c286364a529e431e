"""`launch()`: what it opens, and what the user's own choice wins over."""

import contextlib
import gc
import platform
import subprocess
import sys

import napari
import pytest
from qtpy.QtWidgets import QApplication, QLabel, QTabBar

from omnimouse_app.tour.hand import wait_for
from omnimouse_app.window import launch as opening
from omnimouse_app.window.docks import open_instrument
from omnimouse_app.window.memory import paused_collection
from omnimouse_model.live.state_store import LastSession, write_last_session
from omnimouse_model.simulate.demo import SimulatedSession

pytestmark = [pytest.mark.gui, pytest.mark.slow]


@pytest.fixture
def load_calls(monkeypatch, tmp_path, session_folder, echo):
    """Names of the predictors that were loaded; session and `mean` are remembered."""
    names: list[str] = []

    def load(name, device):
        names.append(name)
        return echo

    monkeypatch.setenv("OMNIMOUSE_CONFIG", str(tmp_path))
    monkeypatch.setattr("omnimouse_app.window.instrument.WorkerPredictor", load)
    last = LastSession(str(session_folder), "mean", baseline="")
    write_last_session(last, tmp_path / "live.json")
    return names


@pytest.fixture
def launch(qapp, load_calls):
    """Launches OmniMouse in a window of its own, and waits for its first answer."""
    docks = []

    def launch_and_wait(**chosen):
        dock = opening.launch(viewer=napari.Viewer(show=False), **chosen)
        docks.append(dock)
        results = dock.controller.results
        wait_for(lambda: results.population_freshness == "fresh", "an answer")
        return dock.controller.state

    yield launch_and_wait
    for dock in docks:
        dock.close_viewer()


def test_garbage_is_collected_again_after_a_fault():
    with contextlib.suppress(ZeroDivisionError), paused_collection():
        assert not gc.isenabled()
        raise ZeroDivisionError
    assert gc.isenabled()


def test_without_a_choice_it_is_as_it_was_left(launch, load_calls, session_folder):
    state = launch()
    assert state.session.path == session_folder
    assert state.predictor_name == "mean"
    assert state.baseline_name == ""
    assert load_calls == ["mean"]


def test_the_chosen_model_alone_is_loaded_and_the_demo_opened_where_the_last_is_gone(
    launch, load_calls, session_folder, monkeypatch, tmp_path
):
    gone = LastSession(str(tmp_path / "gone"), "mean")
    write_last_session(gone, tmp_path / "live.json")
    monkeypatch.setattr(SimulatedSession, "__call__", lambda *_: session_folder)
    state = launch(model="last")
    assert state.session.path == session_folder
    assert state.predictor_name == "last"
    assert load_calls[0] == "last"
    assert "mean" not in load_calls


@pytest.mark.parametrize(
    ("last", "baseline"), [(None, "linear-gaussian"), ("ridge", "ridge"), ("", "")]
)
def test_a_named_recording_opens_with_the_last_baseline(
    launch, session_folder, tmp_path, last, baseline
):
    memory = tmp_path / "live.json"
    memory.unlink()
    if last is not None:
        write_last_session(LastSession(baseline=last), memory)
    state = launch(session=session_folder, model="last")
    assert state.baseline_name == baseline


def test_a_broken_folder_is_told_and_the_window_destroyed(qapp, load_calls, tmp_path):
    """PyQt destroys at exit what is left then, and now and then crashes over it."""
    dock = open_instrument(napari.Viewer(show=True))
    dock.open_folder(str(tmp_path / "broken"))
    wait_for(lambda: not dock.controller.loader.is_busy, "the opening")
    problem = dock.control.recording.problem
    wait_for(lambda: "broken" in problem.text(), "the fault")
    assert dock.controller.state.session is None  # no other recording instead
    destroyed: list[object] = []
    window, is_shown = dock.main_window, []
    window.destroyed.connect(destroyed.append)
    dock.instrument.closed.connect(lambda: is_shown.append(window.isVisible()))
    dock.close_viewer()
    assert len(destroyed) == 1
    assert is_shown == [False]  # panels that are seen could ask the ended engine


def test_docks_are_restored_where_they_were(qapp, load_calls):
    import napari
    from qtpy.QtCore import Qt

    from omnimouse_app.tour.hand import settle
    from omnimouse_app.window.docks import open_instrument

    def places(dock):
        window = dock.main_window
        tabs = window.tabifiedDockWidgets(dock.docks["Context"])
        area = window.dockWidgetArea(dock.docks["Neurons"])
        return area, {tab.name for tab in tabs}, dock.docks["Repeats"].isHidden()

    found = []
    for is_moved in (True, False):
        dock = open_instrument(napari.Viewer(show=True))
        settle()
        if is_moved:
            window, docks = dock.main_window, dock.docks
            window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, docks["Neurons"])
            window.tabifyDockWidget(docks["Time"], docks["Context"])
            docks["Repeats"].hide()
        found.append(places(dock))
        dock.close_viewer()
    assert found[0] == found[1]
    assert found[0][0] == Qt.DockWidgetArea.LeftDockWidgetArea
    assert found[0][1:] == ({"Time (OmniMouse)"}, True)


def lines_on_screen():
    labels = (each for each in QApplication.topLevelWidgets() if isinstance(each, QLabel))
    return [label.text() for label in labels if label.isVisible()]


def test_a_splash_is_on_screen_until_the_window_is_also_after_a_fault(qapp, monkeypatch):
    seen = []

    def fail(*_, **__):
        seen.append(lines_on_screen())
        raise ZeroDivisionError

    monkeypatch.setattr(opening, "_start", lambda _: None)
    monkeypatch.setattr(opening, "_in_new_viewer", fail)
    for show in (True, False):
        with pytest.raises(ZeroDivisionError):
            opening.launch("demo", show=show)
    assert seen == [[opening.STARTING], []]
    assert lines_on_screen() == []


def test_the_heaps_of_a_napari_that_is_open_stay_as_they_are(qapp, monkeypatch):
    shared = []

    def fail(*_, **__):
        raise ZeroDivisionError

    for name in ("_start", "_in_new_viewer", "_in_viewer"):
        monkeypatch.setattr(opening, name, fail)
    monkeypatch.setattr(opening, "share_heap", lambda: shared.append(True))
    for viewer in (object(), None):
        with pytest.raises(ZeroDivisionError):
            opening.launch("demo", viewer=viewer, show=False)
        assert len(shared) == (viewer is None)


SPLASH = """
import sys
from omnimouse_app.window.launch import _splash
with _splash(is_shown=True) as is_first:
    from qtpy.QtWidgets import QApplication
    application = QApplication.instance()
    labels = [each.text() for each in application.topLevelWidgets() if each.isVisible()]
    slow = {"torch", "vispy", "napari.viewer"} & sys.modules.keys()
    print(is_first, len(labels), slow, application.applicationName())
"""


@pytest.mark.process
def test_the_splash_is_on_screen_before_the_slow_imports():
    done = subprocess.run(
        [sys.executable, "-c", SPLASH], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "1", "set()", "napari"]


HEAP = """
import threading
import numpy as np, psutil
from omnimouse_app.window.memory import return_free_memory, share_heap

def resident_mib():
    return psutil.Process().memory_info().rss / 2**20

def make_arrays():
    together.wait()
    arrays = [np.ones(2**16) for _ in range(40)]  # 20 MiB
    together.wait()

share_heap()
np.ones(3 * 2**20)  # of a freed size and below, arrays are in a heap
before, together = resident_mib(), threading.Barrier(4)
threads = [threading.Thread(target=make_arrays) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
return_free_memory()
print(resident_mib() - before)
"""


@pytest.mark.process
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the GNU C library")
def test_freed_arrays_of_threads_are_returned():
    command = [sys.executable, "-c", HEAP]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 20  # without a shared heap, most of 80 MiB are kept


def test_a_dock_has_one_tab(qapp, load_calls):
    dock = opening.launch(viewer=napari.Viewer(show=False))
    try:
        dock.viewer.show()
        bars = [bar for bar in dock.main_window.findChildren(QTabBar) if bar.isVisible()]
        tabs = [bar.tabText(number) for bar in bars for number in range(bar.count())]
        assert "Traces" in tabs
        assert len(tabs) == len(set(tabs))
    finally:
        dock.close_viewer()


def test_a_new_window_is_no_larger_than_the_screen(qapp, load_calls, monkeypatch):
    monkeypatch.setattr(opening, "SIZE", (9000, 8000))
    dock = opening.launch()
    try:
        window = dock.main_window
        assert window.size() == window.screen().availableSize()
    finally:
        dock.close_viewer()
    dock.close_viewer()  # a window that is closed already
