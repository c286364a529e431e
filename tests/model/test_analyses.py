"""Saving and opening analyses, and what survives a restart and a crash.

Over 600 lines because it is one file format: every field is written, read, damaged and
compared with the same few fixtures.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnimouse_model.analysis.edits import BehaviorSet, Contrast, OtherClip, Shift
from omnimouse_model.errors import AnalysisFileError
from omnimouse_model.live.analysis_file import Analysis, read_analysis, write_analysis
from omnimouse_model.live.autosave import EVERY_S, Autosave
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.memory import (
    MOST_UNSAVED,
    RUN,
    Memory,
    Remembered,
    recall,
    remember,
)
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE, Mask
from tests.predictors import EchoPredictor
from tests.small_sessions import write_session

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    return write_session(tmp_path / "recordings" / "mouse")


@pytest.fixture
def controller(folder, tmp_path):
    """Everything differs from what a recording opens with."""
    made = Controller(synchronous=True, memory=tmp_path / "config" / "live.json")
    made.choose_predictor("mean")
    made.open_session(folder)
    change_everything(made)
    yield made
    made.close()


def change_everything(controller: Controller) -> None:
    controller.apply_preset("causal_response_25_behavior")
    controller.paint_cells([3, 5], slice(40, 50), TARGET)
    controller.paint_cells([7], slice(0, 20), VISIBLE)
    controller.set_frames(slice(0, 30))
    controller.choose_baseline("last")
    controller.seek(3.0)
    controller.select([9, 2, 30])
    controller.set_cursor(17)
    controller.set_brush(TARGET)
    controller.set_active_span(30, 60)
    controller.set_colour_by("score")
    controller.set_raster("depth", "pair")
    controller.what_if.put(Contrast(0.5, (10, 40)), Shift(right=3), OtherClip(1.0))


def facts(analysis: Analysis) -> dict[str, Any]:
    """Every field, the mask by its id."""
    found = {f.name: getattr(analysis, f.name) for f in fields(Analysis)}
    return found | {"mask": analysis.mask.mask_id, "options": dict(analysis.options)}


def another(tmp_path: Path) -> Controller:
    return Controller(synchronous=True, memory=tmp_path / "other" / "live.json")


# -- round trips ---------------------------------------------------------------------
def test_an_analysis_is_opened_as_it_was_saved(controller, tmp_path):
    before, scores = facts(controller.analyses.now), controller.results.scores
    path = tmp_path / "forecast.omnimouse.json"
    assert controller.analyses.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    second = another(tmp_path)
    second.analyses.open(path)
    assert second.analyses.fault is None
    assert second.analyses.told == ()
    assert facts(second.analyses.now) == before
    np.testing.assert_array_equal(second.results.scores, scores)
    assert second.analyses.name == "forecast"
    assert not second.analyses.is_changed
    assert second.analyses.recent == (path,)
    second.close()


def test_all_that_was_on_screen_survives_a_restart(controller, tmp_path):
    path = tmp_path / "a.omnimouse.json"
    controller.analyses.save(path)
    controller.paint_cells([11], slice(40, 50), HIDDEN)
    before, scores = facts(controller.analyses.now), controller.results.scores
    controller.close()
    second = Controller(synchronous=True, memory=tmp_path / "config" / "live.json")
    assert second.restore()
    assert facts(second.analyses.now) == before
    np.testing.assert_array_equal(second.results.scores, scores)
    assert second.analyses.path == path
    assert second.analyses.is_changed
    assert second.analyses.told == ()
    second.undo()  # nothing to undo: the steps are not kept
    assert facts(second.analyses.now) == before
    second.analyses.save()
    second.close()
    third = Controller(synchronous=True, memory=tmp_path / "config" / "live.json")
    assert third.restore()
    assert not third.analyses.is_changed
    third.close()


def test_what_is_asked_is_a_change_and_how_it_is_shown_is_none(controller, tmp_path):
    analyses = controller.analyses
    assert not analyses.is_changed
    analyses.save(tmp_path / "a.omnimouse.json")
    controller.set_cursor(3)
    controller.set_colour_by("state")
    assert not analyses.is_changed
    controller.paint([12], HIDDEN)
    assert analyses.is_changed
    controller.undo()
    assert not analyses.is_changed
    controller.seek(6.0)
    assert analyses.is_changed
    analyses.save()
    assert not analyses.is_changed
    controller.choose_predictor("last")
    assert analyses.is_changed


def test_opening_a_recording_is_the_end_of_an_analysis(controller, folder, tmp_path):
    controller.analyses.save(tmp_path / "a.omnimouse.json")
    controller.open_session(folder)
    assert controller.analyses.path is None
    assert not controller.analyses.is_changed
    assert not controller.analyses.save()
    assert "where to save" in str(controller.analyses.fault)


def test_nothing_is_saved_while_nothing_is_open(tmp_path):
    controller = Controller(synchronous=True)
    assert not controller.analyses.save(tmp_path / "a.omnimouse.json")
    assert "Open a recording first" in str(controller.analyses.fault)
    assert not (tmp_path / "a.omnimouse.json").exists()
    controller.close()


def test_a_folder_that_is_not_there_is_told(controller, tmp_path):
    assert not controller.analyses.save(tmp_path / "gone" / "a.omnimouse.json")
    assert "No such file" in str(controller.analyses.fault)
    assert controller.analyses.path is None


# -- what differs --------------------------------------------------------------------
def test_a_recording_that_moved_along_is_found(controller, folder, tmp_path):
    controller.analyses.save(folder.parent / "a.omnimouse.json")
    moved = tmp_path / "elsewhere"
    shutil.move(folder.parent, moved)
    second = another(tmp_path)
    second.analyses.open(moved / "a.omnimouse.json")
    assert second.state.session.path == moved / "mouse"
    assert second.analyses.told == ()
    second.close()


def test_a_recording_that_moved_away_is_asked_for(controller, folder, tmp_path):
    path = tmp_path / "a.omnimouse.json"
    controller.analyses.save(path)
    before = facts(controller.analyses.now)
    shutil.move(folder, tmp_path / "mouse")
    second = another(tmp_path)
    second.analyses.open(path)
    assert second.state.session is None
    assert second.analyses.is_recording_asked
    assert str(folder) in str(second.analyses.fault)
    second.analyses.find_recording(tmp_path / "mouse")
    assert second.analyses.fault is None
    found = facts(second.analyses.now)
    assert found == before | {"recording": str(tmp_path / "mouse")}
    assert second.analyses.is_changed  # the file still has the old place
    second.close()


def test_a_recording_whose_files_changed_is_told(controller, folder, tmp_path):
    path = tmp_path / "a.omnimouse.json"
    controller.analyses.save(path)
    mask = controller.state.mask
    values = np.load(folder / "responses" / "data.npy")
    np.save(folder / "responses" / "data.npy", values * 2)
    second = another(tmp_path)
    second.analyses.open(path)
    assert [words[:26] for words in second.analyses.told] == [
        "The recording's files are "
    ]
    assert second.state.mask == mask
    second.analyses.dismiss()
    assert second.analyses.told == ()
    second.close()


def test_a_mask_for_other_neurons_gives_way_to_a_preset(controller, folder, tmp_path):
    path = tmp_path / "a.omnimouse.json"
    controller.analyses.save(path)
    shutil.rmtree(folder)
    write_session(folder, n_neurons=25)
    second = another(tmp_path)
    second.analyses.open(path)
    told = " ".join(second.analyses.told)
    assert "for 40 neurons, the recording has 25" in told
    assert "selected" in told
    assert second.state.preset == "video_behavior"
    assert second.state.mask.n_neurons == 25
    assert second.state.selection == (9, 2)
    second.close()


def test_an_edit_that_the_recording_has_nothing_for_is_told(controller, tmp_path):
    path = tmp_path / "a.omnimouse.json"
    channel = controller.state.session.behavior_names[0]
    kept = controller.state.edits
    controller.what_if.put(BehaviorSet(channel, 0.0))
    controller.analyses.save(path)
    rewritten(path, lambda f: f["edits"][-1].update(channel="whisking"))
    controller.analyses.open(path)
    (told,) = controller.analyses.told
    assert "“whisking = 0” is left out" in told
    assert controller.state.edits == kept
    assert controller.analyses.is_changed


def test_an_edit_is_a_change_of_the_analysis(controller, tmp_path):
    path = tmp_path / "a.omnimouse.json"
    controller.analyses.save(path)
    controller.what_if.reset()
    assert controller.analyses.is_changed
    controller.undo()
    assert not controller.analyses.is_changed
    controller.what_if.reset()
    controller.analyses.save(path)
    assert "edits" not in json.loads(path.read_text())
    assert read_analysis(path).edits == ()


def test_a_window_that_is_not_there_is_told(controller, tmp_path):
    path = tmp_path / "a.omnimouse.json"
    controller.analyses.save(path)
    rewritten(path, lambda f: f.update(start_s=900.0))
    controller.analyses.open(path)
    assert "no window at 900.00 s: 17.47 s" in " ".join(controller.analyses.told)


@pytest.mark.parametrize("missing", ["/gone/weights.safetensors", "hf://?", "x" * 999])
def test_a_predictor_that_is_not_here_is_told_and_the_rest_is_kept(
    controller, tmp_path, missing
):
    path = tmp_path / "a.omnimouse.json"
    controller.analyses.save(path)
    mask = controller.state.mask
    rewritten(path, lambda f: f.update(predictor=missing, baseline="gone"))
    second = another(tmp_path)
    second.choose_predictor("last")
    second.analyses.open(path)
    told = second.analyses.told
    assert told == (
        f"Its model is not here: {missing}; “last” stays.",
        "Its baseline is not here: gone; choose another.",
    )
    assert second.state.mask == mask
    assert second.state.predictor_name == "last"
    assert second.results.freshness == "fresh"
    second.close()


def test_a_preset_is_named_only_where_the_mask_is_one(controller, tmp_path):
    path = tmp_path / "a.omnimouse.json"
    controller.analyses.save(path)
    rewritten(path, lambda f: f.update(preset="video_only"))
    controller.analyses.open(path)
    assert controller.state.preset == ""
    controller.apply_preset("video_only")
    controller.analyses.save(path)
    controller.apply_preset("nothing")
    controller.analyses.open(path)
    assert controller.state.preset == "video_only"


def test_a_file_from_before_the_raster_was_kept_opens_with_it_as_at_first(
    controller, tmp_path
):
    path = tmp_path / "a.omnimouse.json"
    controller.analyses.save(path)
    assert json.loads(path.read_text())["view"]["raster_order"] == "depth"

    def older(found: Any) -> None:
        del found["view"]["raster_order"], found["view"]["raster_view"]

    rewritten(path, older)
    controller.analyses.open(path)
    assert controller.analyses.fault is None
    assert controller.state.raster_order == "state"
    assert controller.state.raster_view == "truth"
    controller.analyses.save(path)
    assert "raster_order" not in json.loads(path.read_text())["view"]


# -- files of any origin -------------------------------------------------------------
def rewritten(path: Path, change: Any) -> None:
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", "torn", "cut short"),
        (b'{"format": "omnimouse-ana', "torn", "cut short"),
        (b"\x89PNG\r\n\x1a\n", "torn", "is no analysis"),
        (b"[" * 100_000, "torn", "is no analysis"),
        (b"[]", "field", "the whole"),
        (b'{"format": "omnimouse-mask"}', "foreign", "no analysis of OmniMouse"),
        (b"{}", "foreign", "no analysis of OmniMouse"),
        (
            b'{"format": "omnimouse-analysis", "version": 2}',
            "newer",
            "Update OmniMouse",
        ),
        (b'{"format": "omnimouse-analysis", "version": "1"}', "field", "version"),
        (b'{"format": "omnimouse-analysis", "version": 1}', "field", "recording"),
    ],
)
def test_what_is_no_analysis_is_refused_in_words(
    controller, tmp_path, content, code, words
):
    path = tmp_path / "a.omnimouse.json"
    path.write_bytes(content)
    before = controller.state.session
    controller.analyses.open(path)
    fault = controller.analyses.fault
    assert isinstance(fault, AnalysisFileError)
    assert fault.code == code
    assert "a.omnimouse.json" in str(fault)
    assert words in str(fault)
    assert controller.state.session is before
    assert controller.analyses.recent == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("start_s", float("nan")),
        ("start_s", "1"),
        ("selection", [-1]),
        ("selection", list(range(65))),
        ("selection", "1"),
        ("mask", {"format": "omnimouse-mask"}),
        ("mask", 3),
        ("predictor", None),
        ("preset", "a\0b"),
        ("unknown", 1),
        ("recording", {"path": 1}),
        ("recording", {"unknown": 1}),
        ("edits", {"edit": "blank"}),
        ("edits", [{"edit": "melt"}]),
        ("edits", [{"edit": ["blank"]}]),
        ("edits", [{"edit": "blank", "span": [0, 61]}]),
        ("edits", [{"edit": "blank", "span": [0, 1.5]}]),
        ("edits", [{"edit": "shift", "right": "far"}]),
        ("edits", [{"edit": "contrast", "factor": float("nan")}]),
        ("edits", [{"edit": "behavior_set", "channel": 5, "value": 1.0}]),
        ("view", {"cursor": 60}),
        ("view", {"cursor": True}),
        ("view", {"cursor": 0, "active_span": [5, 5]}),
        ("view", {"cursor": 0, "active_span": [0, 60], "brush_code": 3}),
    ],
)
def test_a_wrong_field_is_named(controller, tmp_path, field, value):
    path = tmp_path / "a.omnimouse.json"
    controller.analyses.save(path)
    rewritten(path, lambda f: f.update({field: value}))
    with pytest.raises(AnalysisFileError) as caught:
        read_analysis(path)
    assert caught.value.code == "field"


def test_a_file_that_cannot_be_read_is_told(controller, tmp_path):
    controller.analyses.open(tmp_path)
    assert "cannot be read" in str(controller.analyses.fault)
    controller.analyses.open(tmp_path / "gone.omnimouse.json")
    assert "No such file" in str(controller.analyses.fault)


def test_a_write_that_fails_leaves_the_old_file(controller, tmp_path, monkeypatch):
    path = tmp_path / "a.omnimouse.json"
    controller.analyses.save(path)
    before = path.read_bytes()
    controller.paint([12], HIDDEN)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert not controller.analyses.save()
    monkeypatch.undo()
    assert "No space left" in str(controller.analyses.fault)
    assert path.read_bytes() == before
    assert controller.analyses.is_changed
    assert [p.name for p in tmp_path.glob("*a.omnimouse*")] == [path.name]


def test_an_analysis_of_arrays_in_memory_is_refused(tmp_path):
    from omnimouse_model.data.open import open_session

    draw = np.random.default_rng(0)
    session = open_session({"responses": draw.random((600, 5)), "rate_hz": 30.0})
    controller = Controller(synchronous=True)
    controller.choose_predictor(EchoPredictor())
    controller.open_session(session)
    assert not controller.analyses.save(tmp_path / "a.omnimouse.json")
    assert "arrays in memory" in str(controller.analyses.fault)
    controller.close()


# -- crashes -------------------------------------------------------------------------
CHILD = """
import sys, time
from pathlib import Path
from omnimouse_model.live.controller import Controller
folder, memory = map(Path, sys.argv[1:])
controller = Controller(memory=memory, load=lambda *_: None)
controller.open_session(folder)
controller.seek(3.0)
sample = 0
while True:  # strokes without an end
    controller.paint_cells([sample % 40], slice(0, 1 + sample // 40), 1 + sample % 2)
    print(time.time(), controller.state.mask.mask_id, flush=True)
    sample = (sample + 1) % 2000
    time.sleep(0.02)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_kill_costs_a_second_at_most_and_is_told(folder, tmp_path):
    memory = tmp_path / "config" / "live.json"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(memory)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdout is not None
    painted: dict[str, float] = {}
    try:
        while len(painted) < 120:
            at, mask_id = child.stdout.readline().split()
            painted[mask_id] = float(at)
        assert not recall(memory).is_left_by_a_crash  # it still runs
    finally:
        child.send_signal(signal.SIGKILL)
        killed = time.time()
        child.wait()
    for line in child.stdout.read().splitlines():
        if len(line.split()) == 2:
            painted[line.split()[1]] = float(line.split()[0])
    child.stdout.close()
    after = Controller(synchronous=True, memory=memory)
    assert after.restore()
    assert killed - painted[after.state.mask.mask_id] < 1.0
    assert after.state.window.start_s == pytest.approx(3.0, abs=0.02)
    assert "ended unexpectedly" in after.analyses.told[0]
    after.close()
    again = Controller(synchronous=True, memory=memory)
    assert again.restore()
    assert again.analyses.told == ()
    again.close()


def test_two_windows_at_once_are_no_crash(folder, tmp_path):
    memory = tmp_path / "live.json"
    first = Controller(synchronous=True, memory=memory)
    first.open_session(folder)
    assert recall(memory).run == RUN
    second = Controller(synchronous=True, memory=memory)
    assert second.restore()
    assert second.analyses.told == ()
    first.close()
    second.close()
    assert recall(memory).run == ""


@pytest.mark.parametrize("run", [f"{os.getpid()} another", "999999999 x", "x", "0 x"])
def test_a_process_that_is_gone_was_a_crash(folder, tmp_path, run):
    remember(Remembered(str(folder), run=run), tmp_path / "live.json")
    controller = Controller(synchronous=True, memory=tmp_path / "live.json")
    assert controller.restore()
    assert "ended unexpectedly" in controller.analyses.told[0]
    controller.close()


def test_a_remembered_analysis_that_is_not_sound_costs_the_mask_alone(folder, tmp_path):
    memory = tmp_path / "live.json"
    unsound = {"format": "omnimouse-analysis", "version": 9}
    remember(Remembered(str(folder), start_s=3.0, analysis=unsound), memory)
    controller = Controller(synchronous=True, memory=memory)
    assert controller.restore()
    assert controller.state.window.start_s == pytest.approx(3.0, abs=0.02)
    assert controller.state.preset == "video_behavior"
    assert len(controller.state.selection) == 4
    controller.close()


def test_changes_in_a_row_are_written_together():
    written: list[float] = []
    keeper = Autosave(lambda: written.append(time.perf_counter()))
    began, changes = time.perf_counter(), 0
    while len(written) < 3 and time.perf_counter() - began < 60:
        keeper.note()
        changes += 1
        time.sleep(0.001)
    assert len(written) == 3
    assert written[1] - written[0] >= EVERY_S  # the first at once, then now and then
    assert written[2] - written[1] >= EVERY_S
    assert changes > 3 * len(written)
    keeper.close()
    at_the_end = len(written)
    assert at_the_end > 3
    keeper.note()
    keeper.close()
    assert len(written) == at_the_end


def test_a_keeper_that_fails_once_goes_on(caplog):
    tries: list[int] = []

    def write() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("the disk is on fire")

    keeper = Autosave(write)
    keeper.note()
    until = time.perf_counter() + 5
    while len(tries) < 2 and time.perf_counter() < until:
        keeper.note()
        time.sleep(0.01)
    keeper.close()
    assert len(tries) >= 2
    assert "on fire" in caplog.text


def test_a_keeper_ends_also_where_it_is_closed_as_it_takes_up_a_change():
    takes_up, goes_on = threading.Event(), threading.Event()

    class Changed(threading.Event):
        def clear(self) -> None:
            takes_up.set()
            goes_on.wait(10)
            super().clear()

    written: list[int] = []
    keeper = Autosave(lambda: written.append(1))
    keeper._changed = Changed()
    keeper.note()
    assert takes_up.wait(10)
    closing = threading.Thread(target=keeper.close, args=(20.0,))
    closing.start()
    while not keeper._ended.is_set():
        time.sleep(0.001)
    time.sleep(0.05)  # the change that goes with it
    goes_on.set()
    closing.join(10)
    assert not closing.is_alive()
    assert written == [1]


def test_a_last_writing_that_fails_ends_nothing_else(caplog):
    def write() -> None:
        raise RuntimeError("the disk is on fire")

    Autosave(write).close()
    assert "on fire" in caplog.text


def test_a_large_mask_is_written_and_read_back(tmp_path):
    draw = np.random.default_rng(3)
    mask = Mask.nothing(10_000).with_cells(
        draw.integers(0, 3, (60, 10_000)).astype(np.uint8)
    )
    path = tmp_path / "a.omnimouse.json"
    write_analysis(path, Analysis(str(tmp_path), mask=mask))
    assert read_analysis(path).mask == mask


def test_what_was_not_saved_is_kept_when_another_recording_is_opened(
    controller, folder, tmp_path
):
    analyses, path = controller.analyses, tmp_path / "a.omnimouse.json"
    analyses.save(path)
    controller.paint_cells([11], slice(40, 50), HIDDEN)
    changed, before = facts(analyses.now), path.read_bytes()
    controller.open_session(folder)
    assert path.read_bytes() == before  # its own file is the user's to change
    kept = analyses.recent[0]
    assert kept.name.startswith("a, unsaved ")
    (told,) = analyses.told
    assert f"kept as “{kept.name.removesuffix('.omnimouse.json')}”" in told
    analyses.open(kept)
    assert facts(analyses.now) == changed
    controller.open_session(folder)  # it has not changed since: no other copy
    assert analyses.told == ()


def test_a_mask_by_hand_that_was_never_saved_is_kept_and_a_preset_is_not(
    controller, folder, tmp_path
):
    masks = []
    for neuron in (11, 12):  # in one second, both
        controller.paint_cells([neuron], slice(40, 50), HIDDEN)
        masks.append(controller.state.mask)
        controller.open_session(folder)
    kept = controller.analyses.recent
    assert [read_analysis(path).mask for path in kept] == masks[::-1]
    controller.apply_preset("nothing")
    controller.open_session(folder)
    assert controller.analyses.recent == kept


def test_what_the_user_discards_is_not_kept(controller, folder, tmp_path):
    controller.analyses.save(tmp_path / "a.omnimouse.json")
    controller.paint_cells([11], slice(40, 50), HIDDEN)
    controller.analyses.discard()
    controller.open_session(folder)
    assert controller.analyses.told == ()
    assert len(controller.analyses.recent) == 1


def test_only_the_newest_of_what_was_not_saved_stay(tmp_path):
    memory = Memory(tmp_path / "live.json")
    for number in range(MOST_UNSAVED + 3):
        memory.keep_unsaved(f"m{number}", lambda path: path.write_text("{}"))
    kept = list((tmp_path / "unsaved").iterdir())
    assert len(kept) == MOST_UNSAVED
    assert memory.recent[0].name.startswith(f"m{MOST_UNSAVED + 2},")
