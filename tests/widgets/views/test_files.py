"""Exports of the panel *Files*: written in the background, with progress and a stop."""

import pytest

from omnimouse_widgets.views.files import FilesView
from omnimouse_widgets.views.record import Progress, WriteFile, press, record


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_file_is_written_with_progress_until_it_is_stopped(controller, tmp_path, is_stopped):
    seen = []

    def make(tell):
        tell("Report: task", 0.25)
        seen.append(record(view))
        if is_stopped:
            press(view, "stop")
        tell("Report: scores", 0.5)
        return b"page"

    view = FilesView.of(controller, makers={"report": lambda kind: make})
    view.export.set("content", "report")
    asked, path = press(view, "save"), tmp_path / "report.html"
    assert isinstance(asked, WriteFile)
    assert asked.name == "report.html"
    asked.begin(path)
    (during,) = seen
    assert isinstance(during["writing"], Progress)
    assert (during["writing"].label, during["writing"].share) == ("Report: task", 0.25)
    assert during["save"].refusal == "Another file is being written"
    assert path.exists() != is_stopped
    assert "writing" not in record(view)
    assert "stop" not in record(view)


def test_what_could_not_be_written_is_said(controller, tmp_path):
    view = FilesView.of(controller, makers={})
    asked = press(view, "save")
    assert isinstance(asked, WriteFile)
    asked.begin(tmp_path / "absent" / "neurons.csv")
    assert "Not written" in record(view)["not_written"].text
