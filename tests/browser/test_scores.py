"""Scores in a page: bars and points select neurons, and what is selected is marked."""

import pytest

from omnimouse_app.browser.page import NotebookPage
from tests.browser.explorer import opened

pytestmark = pytest.mark.usefixtures("demo")
LOWEST, HIGHEST = (
    "[round(float(r), 4) for r in explorer.scores[list(explorer.selection)]][0]",
    "[round(float(r), 4) for r in explorer.scores[list(explorer.selection)]][-1]",
)


def wait_until_marked(tab: NotebookPage, n: int) -> None:
    """Wait until so many points are white; what is drawn in a drag plotly minds."""
    plot = tab.page.locator(".js-plotly-plot").last
    tab.page.wait_for_function(
        "([plot, n]) => plot.data[3].x.length === n", arg=[plot.element_handle(), n]
    )


def test_bars_and_points_select_and_what_is_selected_is_marked(tab):
    opened(tab, model="demo")
    tab.page.get_by_role("tab", name="Scores", exact=True).last.click()
    plot = tab.page.locator(".js-plotly-plot").last
    bars = plot.locator(".barlayer .trace").first.locator(".point")
    bars.first.wait_for()
    assert "1,000 neurons" in plot.get_attribute("aria-label")
    # A bar by the mouse.
    bar = bars.nth(8)
    box, edge = bar.bounding_box(), "explorer.neuron_scores.spread.edges"
    tab.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] - 3)
    tab.wait_for_kernel(f"bool({edge}[8] <= {LOWEST} <= {HIGHEST} < {edge}[9])", True)
    wait_until_marked(tab, tab.ask("len(explorer.selection)"))
    # A rectangle around points; twice over, as plotly would move the first.
    for end in (0.5, 0.7):
        tab.ask("explorer.controller.select([])")
        wait_until_marked(tab, 0)
        tab.drag(plot, (0.63, 0.15), (0.95, end), steps=6)
        tab.wait_for_kernel("len(explorer.selection)", 64)
        assert "the 64 with the highest" in tab.ask("explorer.neuron_scores.told")
    # The slider's keys go from bar to bar, and a double click ends it.
    slider = tab.page.get_by_label("Bar of the histogram")
    slider.press("ArrowRight")
    words = slider.get_attribute("aria-valuetext")
    low = float(words.split()[1])
    tab.wait_for_kernel(f"bool({low} <= {LOWEST} <= {HIGHEST} < {low} + 0.05)", True)
    box = plot.bounding_box()
    x, y = box["x"] + 0.95 * box["width"], box["y"] + 0.8 * box["height"]
    tab.page.mouse.dblclick(x, y)
    tab.wait_for_kernel("len(explorer.selection)", 0)
