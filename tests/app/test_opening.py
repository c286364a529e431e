"""`launch()`: what it opens, and what the user's own choice wins over."""

import shutil

import pytest

from omnimouse_app.settings import Opening
from omnimouse_model.live.memory import Remembered, remember
from omnimouse_widgets.qt.recordings import RecordingsPanel
from tests import SUITE2P

pytestmark = pytest.mark.gui


@pytest.fixture
def loaded(monkeypatch, tmp_path, session_folder, echo):
    """Names of the predictors that were loaded; session and `mean` are remembered."""
    names: list[str] = []

    def load(name, session, device):
        names.append(name)
        return echo

    monkeypatch.setenv("OMNIMOUSE_CONFIG", str(tmp_path))
    monkeypatch.setattr("omnimouse_app.instrument.load_in_worker", load)
    remember(Remembered(str(session_folder), "mean"), tmp_path / "live.json")
    return names


@pytest.fixture
def opened(qapp, loaded):
    """Launch OmniMouse in a window of its own, and wait for its first answer."""
    import napari

    from omnimouse_app.hand import settle, wait_for
    from omnimouse_app.opening import launch

    docks = []

    def launched(**chosen):
        dock = launch(viewer=napari.Viewer(show=False), **chosen)
        docks.append(dock)
        settle()
        results = dock.controller.results
        wait_for(lambda: results.population_freshness == "fresh", "an answer", 60)
        return dock.controller.state

    yield launched
    for dock in docks:
        dock.close_viewer()
    settle()


def test_the_chosen_model_wins_and_no_other_is_loaded(opened, loaded, session_folder):
    state = opened(model="last")
    assert state.session.path == session_folder
    assert state.predictor_name == "last"
    assert loaded == ["last"]


def test_without_a_choice_it_is_as_it_was_left(opened, loaded, session_folder):
    state = opened()
    assert state.session.path == session_folder
    assert state.predictor_name == "mean"
    assert loaded == ["mean"]


def test_a_given_session_is_opened_with_the_model_used_last(
    opened, loaded, session_folder
):
    assert opened(session=session_folder).predictor_name == "mean"
    assert loaded == ["mean"]


def test_the_preferred_model_wins_over_the_one_used_last(opened, loaded, monkeypatch):
    preferred = Opening(predictor="ridge")
    monkeypatch.setattr("omnimouse_app.instrument.opening", lambda: preferred)
    assert opened().predictor_name == "ridge"
    assert loaded == ["ridge"]


def test_where_the_remembered_session_is_gone_the_demo_is_opened(
    opened, session_folder, monkeypatch, tmp_path
):
    remember(Remembered(str(tmp_path / "gone"), "mean"), tmp_path / "live.json")
    monkeypatch.setattr(
        "omnimouse_model.demo.demo_session", lambda progress: session_folder
    )
    state = opened(model="last")
    assert state.session.path == session_folder
    assert state.predictor_name == "last"


def test_a_broken_folder_leaves_its_error_and_no_other_recording(
    qapp, loaded, tmp_path
):
    import napari

    from omnimouse_app.docks import open_instrument
    from omnimouse_app.hand import settle, wait_for

    dock = open_instrument(napari.Viewer(show=True))
    dock.open_folder(str(tmp_path / "broken"))
    wait_for(lambda: not dock.controller.opener.is_busy, "the opening", 60)
    settle(0.2)
    assert dock.controller.state.session is None
    assert "Not opened" in dock.control.session.problem.text()
    dock.close_viewer()
    settle()


def test_a_closed_window_is_destroyed_and_does_not_wait_for_the_end(qapp, loaded):
    """PyQt destroys at exit what is left then, and now and then crashes over it."""
    import napari

    from omnimouse_app.docks import open_instrument
    from omnimouse_app.hand import settle

    dock = open_instrument(napari.Viewer(show=True))
    settle(0.2)
    destroyed: list[object] = []
    dock.main_window.destroyed.connect(destroyed.append)
    dock.close_viewer()
    assert len(destroyed) == 1


def test_a_folder_of_recordings_opens_as_their_table(qapp, loaded, tmp_path):
    import napari

    from omnimouse_app.hand import settle, wait_for
    from omnimouse_app.opening import launch

    for name in ("first", "second"):
        shutil.copytree(SUITE2P, tmp_path / "all" / name)
    dock = launch(tmp_path / "all", "last", viewer=napari.Viewer(show=False))
    recordings = dock.controller.recordings
    try:
        wait_for(lambda: not recordings.is_busy, "the folder", 60)
        assert dock.main_window.findChild(RecordingsPanel) is not None
        assert [entry.path.name for entry in recordings.found] == ["first", "second"]
        assert dock.controller.opener.fault is None
    finally:
        dock.close_viewer()
        settle()


def test_a_saved_analysis_is_opened_from_the_command_line(
    qapp, loaded, session_folder, tmp_path, monkeypatch
):
    import napari
    from click.testing import CliRunner

    from omnimouse_app import opening
    from omnimouse_app.cli import group
    from omnimouse_app.hand import settle
    from omnimouse_model.live.controller import Controller

    path = tmp_path / "mine.omnimouse.json"
    made = Controller(synchronous=True)
    made.choose_predictor("mean")
    made.open_session(session_folder)
    made.apply_preset("video_only")
    made.select([7, 8])
    assert made.analyses.save(path)
    made.close()

    launch, docks = opening.launch, []

    def launched(place, model, *, block, **how):
        viewer = napari.Viewer(show=False)
        docks.append(launch(place, model, viewer=viewer, **how))

    monkeypatch.setattr(opening, "launch", launched)
    done = CliRunner().invoke(group, ["app", str(path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (dock,) = docks
    try:
        assert dock.controller.analyses.path == path
        assert dock.controller.state.preset == "video_only"
        assert dock.controller.state.selection == (7, 8)
    finally:
        dock.close_viewer()
        settle()
    gone = CliRunner().invoke(group, ["app", str(tmp_path / "no.omnimouse.json")])
    assert isinstance(gone.exception, FileNotFoundError)
    (tmp_path / "torn.omnimouse.json").write_text("{")
    torn = CliRunner().invoke(group, ["app", str(tmp_path / "torn.omnimouse.json")])
    assert "torn.omnimouse.json" in str(torn.exception)
    assert len(docks) == 1
