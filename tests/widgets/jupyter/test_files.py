"""The part *Files*: exports, options of the reader, and an opening that failed."""

import pytest

from omnimouse_widgets.jupyter.jobs import Files


@pytest.fixture
def files_page(controller, page):
    return page(Files(controller), "block0", "block2")


def test_the_page_gets_the_file_that_the_form_describes(files_page):
    for number, name, start in (
        (0, "neurons.csv", b"# predictor"),
        (1, "window.npz", b"PK"),
        (2, "report.html", b"<!doctype html>"),
    ):
        files_page.say("fill", name="export", field="content", typed=number)
        files_page.say("press", name="save")
        message, (data,) = files_page.wait_for("file")
        assert message["name"] == name
        assert data[: len(start)].lower() == start.lower()


def test_the_recording_is_read_again_with_the_options(files_page, controller):
    files_page.say("fill", name="reading", field="split_seed", typed="-1")
    files_page.say("press", name="open_again")
    assert "Split: at least 0, found -1" in files_page.part.problem
    assert not controller.loader.is_busy
    files_page.say("fill", name="reading", field="split_seed", typed="7")
    files_page.say("press", name="open_again")
    assert controller.loader.wait(60)
    assert controller.state.session.options == {"split_seed": 7}


def test_an_opening_that_failed_says_why(files_page, controller, tmp_path):
    controller.loader.open(tmp_path / "absent")
    controller.loader.wait(60)
    message, _ = files_page.wait_for(
        "block0", lambda message, _: message["items"][-1]["text"].startswith("Not opened: absent: ")
    )
    assert message["items"][-1]["tone"] == "problem"


def test_a_file_that_cannot_be_sent_is_a_problem_once(files_page, controller, monkeypatch, caplog):
    monkeypatch.setattr("omnimouse_widgets.jupyter.jobs.MAX_SENT", 3)
    files_page.say("press", name="save")
    assert len(caplog.records) == 1
    controller.exports.changed.emit()
    assert len(caplog.records) == 1
