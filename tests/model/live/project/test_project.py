"""Saving and opening of analyses; restoring after a restart or a crash."""

import json
import os
import queue
import shutil
import sys
import threading
from contextlib import closing, suppress
from dataclasses import fields
from functools import partial
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnimouse_model.analysis.stimulus_edits import BehaviorSet, Contrast, OtherClip, Shift
from omnimouse_model.data.hub.servers import VARIABLE
from omnimouse_model.data.open import open_session
from omnimouse_model.errors import AnalysisFileError
from omnimouse_model.live.analysis_file import Analysis, read_analysis, write_analysis
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.project import saved_screen
from omnimouse_model.live.project.saved_screen import Autosave
from omnimouse_model.live.state_store import LastSession, read_last_session, write_last_session
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE, Mask
from tests.predictors import open_controller
from tests.small_sessions import write_session

TIMEOUT = 60.0


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return write_session(tmp_path_factory.mktemp("recordings") / "mouse")


@pytest.fixture
def folder(recording, tmp_path):
    """A copy of the recording, which a test may move or damage."""
    return Path(shutil.copytree(recording, tmp_path / "recordings" / "mouse"))


@pytest.fixture
def memory(tmp_path):
    return tmp_path / "config" / "live.json"


@pytest.fixture
def controller(folder, memory):
    """Controller whose state differs from a first view in every field."""
    with open_controller(folder, "mean", session_file=memory) as made:
        change_everything(made)
        yield made


@pytest.fixture
def path(controller, tmp_path):
    """Saved analysis of the screen."""
    place = tmp_path / "a.omnimouse.json"
    assert controller.project.save(place)
    return place


@pytest.fixture
def second_controller(tmp_path):
    """A controller of another user."""
    memory = tmp_path / "other" / "live.json"
    with closing(Controller(synchronous=True, session_file=memory)) as made:
        yield made


@pytest.fixture
def restore_controller(memory):
    """Function that makes another controller with the same memory."""
    with closing(Controller(synchronous=True, session_file=memory)) as made:

        def restore() -> Controller:
            made.model.restore_baseline()
            assert made.project.restore()
            return made

        yield restore


def change_everything(controller: Controller) -> None:
    controller.editor.apply_preset("causal_response_25_behavior")
    controller.editor.paint_cells([3, 5], slice(40, 50), TARGET)
    controller.editor.paint_cells([7], slice(0, 20), VISIBLE)
    controller.editor.set_frames(slice(0, 30))
    controller.model.choose_baseline("last")
    controller.navigation.seek(3.0)
    controller.selection.select([9, 2, 30])
    controller.navigation.set_cursor(17)
    controller.editor.set_brush(TARGET)
    controller.editor.set_active_span(30, 60)
    controller.colouring.choose("score")
    controller.state.raster_order, controller.state.raster_view = "depth", "pair"
    controller.colouring.compare("A", "model")
    edits = Contrast(0.5, (10, 40)), Shift(right=3), OtherClip(1.0)
    controller.stimulus_edits.put(*edits)


def facts(analysis: Analysis) -> dict[str, Any]:
    """Return every field of an analysis, the mask as its id."""
    found = {f.name: getattr(analysis, f.name) for f in fields(Analysis)}
    return found | {"mask": analysis.mask.mask_id, "options": dict(analysis.options)}


def rewrite(path: Path, change: Any) -> None:
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


def notices(controller: Controller) -> str:
    return " ".join(controller.project.messages)


# -- round trips ---------------------------------------------------------------------
def test_an_analysis_is_opened_as_it_was_saved(controller, second_controller, path):
    before, scores = facts(controller.project.current), controller.results.scores
    assert path.stat().st_mode & 0o777 == 0o600
    second_controller.project.open(path)
    assert second_controller.project.error is None
    assert second_controller.project.messages == ()
    assert facts(second_controller.project.current) == before
    np.testing.assert_array_equal(second_controller.results.scores, scores)
    assert second_controller.project.name == "a"
    assert not second_controller.project.is_changed
    assert second_controller.project.recent == (path,)


@pytest.mark.slow
def test_a_restart_restores_the_screen(controller, path, memory, restore_controller):
    controller.editor.paint_cells([11], slice(40, 50), HIDDEN)
    before, scores = facts(controller.project.current), controller.results.scores
    controller.close()
    second_controller = restore_controller()
    assert facts(second_controller.project.current) == before
    np.testing.assert_array_equal(second_controller.results.scores, scores)
    assert second_controller.baseline.population is not None
    assert second_controller.project.path == path
    assert second_controller.project.is_changed
    assert second_controller.project.messages == ()
    second_controller.editor.undo()  # nothing to undo: the steps are not kept
    assert facts(second_controller.project.current) == before
    second_controller.pins.pin()
    second_controller.project.save()
    second_controller.close()
    with closing(Controller(synchronous=True, session_file=memory)) as third:
        third.model.restore_baseline()
        assert third.project.restore()
        assert third.state.pins
        assert not third.project.is_changed


def test_the_task_counts_as_a_change_and_a_view_does_not(controller, tmp_path):
    analyses = controller.project
    assert not analyses.is_changed
    analyses.save(tmp_path / "a.omnimouse.json")
    controller.navigation.set_cursor(3)
    controller.colouring.choose("state")
    assert not analyses.is_changed
    paint = partial(controller.editor.paint, [12], HIDDEN)
    for change in (paint, controller.stimulus_edits.reset):
        change()
        assert analyses.is_changed
        controller.editor.undo()
        assert not analyses.is_changed
    controller.navigation.seek(6.0)
    assert analyses.is_changed
    analyses.save()
    assert not analyses.is_changed
    controller.model.choose("last")
    assert analyses.is_changed


def test_opening_a_recording_closes_the_analysis(controller, folder, path):
    controller.loader.open_now(folder)
    assert controller.project.path is None
    assert not controller.project.is_changed
    assert not controller.project.save()
    assert controller.project.error is not None


# -- what differs --------------------------------------------------------------------
def test_a_moved_recording_is_found(controller, folder, second_controller, tmp_path):
    controller.project.save(folder.parent / "a.omnimouse.json")
    moved = shutil.move(folder.parent, tmp_path / "elsewhere")
    second_controller.project.open(moved / "a.omnimouse.json")
    assert second_controller.state.session.path == moved / "mouse"
    assert second_controller.project.messages == ()


@pytest.mark.slow
def test_a_table_that_moved_with_the_recording_is_joined(
    controller, folder, second_controller, tmp_path
):
    table = folder.parent / "units.csv"
    table.write_text("unit_id,osi\n0,0.5\n")
    controller.loader.reopen(unit_tables=str(table))
    controller.project.save(folder.parent / "a.omnimouse.json")
    moved = shutil.move(folder.parent, tmp_path / "elsewhere")
    second_controller.project.open(moved / "a.omnimouse.json")
    session = second_controller.state.session
    assert session.options["unit_tables"] == str(moved / "units.csv")
    assert "osi" in session.units.properties
    rewrite(moved / "a.omnimouse.json", lambda f: f["recording"]["options"].update(unit_tables=1))
    with pytest.raises(AnalysisFileError, match="unit_tables"):
        read_analysis(moved / "a.omnimouse.json")


def test_a_path_that_is_too_long_is_one_that_does_not_exist(recording, tmp_path):
    path = tmp_path / "a.omnimouse.json"
    write_analysis(path, Analysis(str(recording), mask=Mask.nothing(40)))
    longest = "a" * 5000
    rewrite(path, lambda f: f["recording"].update(path=longest, beside=longest))
    assert read_analysis(path).recording == longest


def test_the_address_of_a_recording_is_opened_only_after_the_user_agrees(
    second_controller, tmp_path, monkeypatch
):
    monkeypatch.setenv(VARIABLE, "")
    opened, address = [], "https://data.example:99/mouse.nwb"
    project = second_controller.project
    monkeypatch.setattr(second_controller.loader, "open", lambda request: opened.append(request))
    path = tmp_path / "a.omnimouse.json"
    write_analysis(path, Analysis("there", mask=Mask.nothing(40)))
    rewrite(path, lambda f: f["recording"].update(path=address))
    project.open(path)
    assert (opened, project.asked_host) == ([], "data.example:99")
    assert "--connect data.example:99" in str(project.error)
    project.connect()
    assert [request.recording for request in opened] == [address]
    assert project.asked_host == ""


def test_a_recording_is_located(controller, folder, path, second_controller, tmp_path):
    before = facts(controller.project.current)
    shutil.move(folder, tmp_path / "mouse")
    second_controller.project.open(path)
    assert second_controller.state.session is None
    assert second_controller.project.is_recording_missing
    assert str(folder) in str(second_controller.project.error)
    second_controller.project.find_recording(tmp_path / "mouse")
    assert second_controller.project.error is None
    found = facts(second_controller.project.current)
    assert found == before | {"recording": str(tmp_path / "mouse")}
    assert second_controller.project.is_changed  # the file still has the old place


def test_changes_of_a_recording_are_told(controller, folder, path, second_controller):
    values = np.load(folder / "responses" / "data.npy")
    np.save(folder / "responses" / "data.npy", values * 2)
    second_controller.project.open(path)
    assert len(second_controller.project.messages) == 1
    assert second_controller.state.mask == controller.state.mask
    second_controller.project.dismiss()
    assert second_controller.project.messages == ()


def test_a_mask_for_other_neurons_becomes_a_preset(folder, path, second_controller):
    shutil.rmtree(folder)
    write_session(folder, n_neurons=25)
    second_controller.project.open(path)
    assert "for 40 neurons, the recording has 25" in notices(second_controller)
    assert "selected" in notices(second_controller)
    assert second_controller.state.preset == "video_behavior"
    assert second_controller.state.mask.n_neurons == 25
    assert second_controller.state.selection == (9, 2)


def test_an_edit_without_its_stream_is_reported(controller, path):
    channel, known = controller.state.session.behavior_names[0], controller.state.edits
    controller.stimulus_edits.put(BehaviorSet(channel, 0.0))
    controller.project.save(path)
    rewrite(path, lambda f: f["edits"][-1].update(channel="whisking"))
    controller.project.open(path)
    assert "whisking" in notices(controller)
    assert controller.state.edits == known
    assert controller.project.is_changed


@pytest.mark.parametrize("missing", ["/gone/weights.safetensors", "hf://?", "x" * 999])
def test_a_missing_predictor_is_reported(controller, path, second_controller, missing):
    rewrite(path, lambda f: f.update(predictor=missing, baseline="gone"))
    second_controller.model.choose("last")
    second_controller.project.open(path)
    model, baseline = second_controller.project.messages
    assert missing in model
    assert "gone" in baseline
    assert second_controller.state.mask == controller.state.mask
    assert second_controller.state.predictor_name == "last"
    assert second_controller.results.freshness == "fresh"


# -- files of any origin -------------------------------------------------------------
@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "torn"),
        (b"[" * 100_000, "torn"),
        (b"[]", "field"),
        (b'{"format": "omnimouse-mask"}', "foreign"),
        (b"{}", "foreign"),
        (b'{"format": "omnimouse-analysis", "version": 2}', "newer"),
        (b'{"format": "omnimouse-analysis", "version": "1"}', "field"),
        (b'{"format": "omnimouse-analysis", "version": 1}', "field"),
    ],
)
def test_other_files_are_refused(second_controller, folder, tmp_path, content, code):
    path = tmp_path / "a.omnimouse.json"
    path.write_bytes(content)
    second_controller.loader.open_now(folder)
    before = second_controller.state.session
    second_controller.project.open(path)
    fault = second_controller.project.error
    assert isinstance(fault, AnalysisFileError)
    assert fault.code == code
    assert "a.omnimouse.json" in str(fault)
    assert second_controller.state.session is before
    assert second_controller.project.recent == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("start_s", float("nan")),
        ("selection", [-1]),
        ("selection", list(range(65))),
        ("mask", {"format": "omnimouse-mask"}),
        ("predictor", None),
        ("preset", "a\0b"),
        ("unknown", 1),
        ("recording", {"path": 1}),
        ("edits", {"edit": "blank"}),
        ("edits", [{"edit": "melt"}]),
        ("edits", [{"edit": "blank", "span": [7, 7]}]),
        ("edits", [{"edit": "shift", "right": "far"}]),
        ("edits", [{"edit": "behavior_set", "channel": 5, "value": 1.0}]),
        ("view", {"cursor": 60}),
        ("view", {"cursor": 0, "active_span": [5, 5]}),
        ("view", {"cursor": 0, "active_span": [0, 60], "brush_code": 3}),
        ("experiments", "directions"),
        ("experiments", [{"name": "directions"}]),
        ("experiments", [{"name": "x", "repeats": 0}]),
        ("groups", [{"name": "mine", "ids": [3]}] * 2),
        ("groups", [{"name": "", "ids": [3]}]),
        ("groups", [{"name": "mine", "ids": []}]),
        ("groups", [3]),
        ("sources", ["../one"]),
        ("sources", ["a"] * 4),
        ("sources", [1]),
        ("sources", "one"),
    ],
)
def test_a_wrong_field_is_named(recording, tmp_path, field, value):
    path = tmp_path / "a.omnimouse.json"
    write_analysis(path, Analysis(str(recording), mask=Mask.nothing(40)))
    assert read_analysis(path).mask == Mask.nothing(40)
    rewrite(path, lambda f: f.update({field: value}))
    with pytest.raises(AnalysisFileError) as caught:
        read_analysis(path)
    assert caught.value.code == "field"
    assert field in str(caught.value)


def test_an_unreadable_file_is_an_error(second_controller, tmp_path):
    for place in (tmp_path, tmp_path / "gone.omnimouse.json"):
        second_controller.project.open(place)
        assert isinstance(second_controller.project.error, (AnalysisFileError, OSError))
        second_controller.project.dismiss()


def test_a_newer_save_of_another_program_is_kept(
    controller, second_controller, path, memory, restore_controller
):
    second_controller.project.open(path)
    controller.editor.paint([12], HIDDEN)
    assert controller.project.save()
    newer = path.read_bytes()
    second_controller.editor.paint([13], HIDDEN)
    for _ in range(2):
        assert not second_controller.project.save()
        assert "another program has saved a.omnimouse.json" in str(second_controller.project.error)
    assert path.read_bytes() == newer
    assert second_controller.project.save(path.with_name("b.omnimouse.json"))
    second_controller.project.open(path)
    second_controller.editor.paint([14], HIDDEN)
    assert second_controller.project.save()
    # Also after a restart: the file was saved meanwhile.
    controller.close()
    again = restore_controller()
    again.editor.paint([15], HIDDEN)
    assert not again.project.save()
    path.unlink()
    assert again.project.save()


def test_a_failed_write_leaves_the_old_file(controller, path, tmp_path, monkeypatch):
    before = path.read_bytes()
    controller.editor.paint([12], HIDDEN)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert not controller.project.save()
    monkeypatch.undo()
    assert "the drive is full" in str(controller.project.error)
    assert path.read_bytes() == before
    assert controller.project.is_changed
    assert [p.name for p in tmp_path.glob("*a.omnimouse*")] == [path.name]


def test_an_analysis_of_arrays_in_memory_is_refused(second_controller, tmp_path):
    draw = np.random.default_rng(0)
    arrays = {"responses": draw.random((600, 5)), "rate_hz": 30.0}
    second_controller.loader.open_now(open_session(arrays))
    assert not second_controller.project.save(tmp_path / "a.omnimouse.json")
    assert "arrays in memory" in str(second_controller.project.error)


# -- crashes -------------------------------------------------------------------------
def paint_without_end(folder: Path, memory: Path, painted: Any) -> None:
    """Paint in a process that is killed; report each mask before it is painted."""
    controller = Controller(session_file=memory, load=lambda *_: None)
    controller.loader.open_now(folder)
    controller.navigation.seek(3.0)
    for sample in cycle(range(60 * 40)):
        neuron, stop = sample % 40, 1 + sample // 40
        mask = controller.state.mask.paint([neuron], (0, stop), VISIBLE)
        painted.send(mask.mask_id)
        controller.editor.set_mask(mask)


def mask_in(memory: Path) -> str:
    """Return the id of the mask that would be restored, "" for none."""
    found = read_last_session(memory)
    if found is None or not found.analysis:
        return ""
    return Mask.from_dict(found.analysis["mask"]).mask_id


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_kill_restores_the_screen_and_is_told(recording, memory, restore_controller):
    context = get_context("spawn")
    ids, theirs = context.Pipe(duplex=False)
    child = context.Process(target=paint_without_end, args=(recording, memory, theirs))
    child.start()
    theirs.close()
    painted, known = {ids.recv()}, {""}
    try:
        while len(known) < 4:  # it was written again and again
            painted.add(ids.recv())
            known.add(mask_in(memory))
    finally:
        child.kill()
        child.join(TIMEOUT)
    with suppress(EOFError, OSError):
        while True:
            painted.add(ids.recv())
    after = restore_controller()
    assert after.state.mask.mask_id in painted
    assert after.state.window.start_s == pytest.approx(3.0, abs=0.02)
    assert len(after.project.messages) == 1
    after.close()
    with closing(Controller(synchronous=True, session_file=memory)) as again:
        assert again.project.restore()
        assert again.project.messages == ()


@pytest.mark.parametrize("run", ["999999999 x", "{own}"])
def test_an_ended_process_counts_as_a_crash(recording, memory, restore_controller, run):
    run = run.format(own=os.getpid())  # numbers of processes are used again
    write_last_session(LastSession(str(recording), start_s=3.0, run=run), memory)
    assert len(restore_controller().project.messages) == 1


def test_a_damaged_analysis_loses_only_the_mask(recording, memory, restore_controller):
    unsound = {"format": "omnimouse-analysis", "version": 9}
    last = LastSession(str(recording), start_s=3.0, analysis=unsound)
    write_last_session(last, memory)
    state = restore_controller().state
    assert state.window.start_s == pytest.approx(3.0, abs=0.02)
    assert (state.preset, len(state.selection)) == ("video_behavior", 4)


def test_changes_in_a_row_are_written_together(monkeypatch):
    """The first change is written at once, the others together at the end."""
    monkeypatch.setattr(saved_screen, "EVERY_S", 2 * TIMEOUT)
    written: queue.Queue[int] = queue.Queue()
    changes: list[int] = []
    keeper = Autosave(lambda: written.put(len(changes)))
    keeper.note()
    assert written.get(timeout=TIMEOUT) == 0
    for change in range(100):
        changes.append(change)
        keeper.note()
    assert written.empty()
    keeper.close(TIMEOUT)
    assert written.get_nowait() == 100
    keeper.note()
    keeper.close()
    assert written.empty()


def test_autosave_continues_after_an_error(caplog, monkeypatch):
    monkeypatch.setattr(saved_screen, "EVERY_S", 0.0)
    tries, tried = [], threading.Semaphore(0)

    def write() -> None:
        tries.append(1)
        tried.release()
        if len(tries) == 1:
            raise RuntimeError("the disk is on fire")

    with closing(Autosave(write)) as keeper:
        for _ in range(2):
            keeper.note()
            assert tried.acquire(timeout=TIMEOUT)
    assert "on fire" in caplog.text


def test_autosave_ends_when_closed_during_a_change():
    takes_up, closes = threading.Event(), threading.Event()

    class Changed(threading.Event):
        def set(self) -> None:
            super().set()
            if takes_up.is_set():
                closes.set()

        def clear(self) -> None:
            takes_up.set()
            assert closes.wait(TIMEOUT)
            super().clear()

    written: list[int] = []
    keeper = Autosave(lambda: written.append(1))
    keeper._changed = Changed()
    keeper.note()
    assert takes_up.wait(TIMEOUT)
    keeper.close(TIMEOUT)
    assert not keeper._thread.is_alive()
    assert written == [1]


def test_an_error_in_the_last_write_does_not_stop_the_closing(caplog):
    def write() -> None:
        raise RuntimeError("the disk is on fire")

    Autosave(write).close()
    assert "on fire" in caplog.text


@pytest.mark.slow
def test_unsaved_work_is_backed_up_at_another_opening(controller, folder, path):
    analyses = controller.project
    controller.editor.paint_cells([11], slice(40, 50), HIDDEN)
    changed, before = facts(analyses.current), path.read_bytes()
    controller.loader.open_now(folder)
    assert path.read_bytes() == before  # its own file is the user's to change
    kept = analyses.recent[0]
    assert kept.name.startswith("a, unsaved ")
    assert kept.name.removesuffix(".omnimouse.json") in notices(controller)
    analyses.open(kept)
    assert facts(analyses.current) == changed
    controller.loader.open_now(folder)  # it has not changed since: no other copy
    assert analyses.messages == ()
