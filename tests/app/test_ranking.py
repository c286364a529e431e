"""A stored ranking in the window: dropped on the canvas, looked at, kept up to date."""

from shutil import copyfile

from omnimouse_app.tour.hand import wait_for
from omnimouse_model.analysis.ranking.curve_table import DEMO_RANKING
from tests.app.windows import drop_file
from tests.widgets.pointer import press


def test_a_dropped_ranking_comes_to_the_front_and_is_read_again(dock, tmp_path):
    panel, ranking = dock.panels["Ranking"], dock.controller.ranking
    path = tmp_path / "mine.ranking.jsonl"
    path.write_bytes(DEMO_RANKING.read_bytes().splitlines(keepends=True)[0])
    drop_file(dock, path)
    wait_for(
        lambda: "error" in panel.widgets and panel.widgets["error"].isVisible(),
        "the error of an incomplete file",
    )
    assert "no complete ranking" in panel.widgets["error"].text()
    copyfile(DEMO_RANKING, path)
    press(panel.widgets["refresh"])
    wait_for(lambda: "content:matrix" in panel.widgets, "the matrix")
    assert panel.content("content").model().rowCount() == 6
    assert not panel.widgets["error"].isVisible()
    press(panel.widgets["view"].button("curves"))
    # What stands there until the curves are drawn has no lines.
    wait_for(lambda: len(getattr(panel.plots["content"].shown, "lines", ())) == 3, "the curves")
    assert ranking.error is None
