"""A report in a browser: a file alone, which answers to pointer and keys."""

import json
from typing import Any

import pytest

import omnimouse_model as om
from omnimouse_widgets.report.page import write_report
from tests.predictors import open_controller
from tests.small_sessions import write_session

N = 12


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Neurons 2 and 5 selected, a pin beside the screen, another model beside both."""
    folder = tmp_path_factory.mktemp("report")
    session = om.open_session(write_session(folder / "mouse", N))
    nothing = om.Mask.nothing(N).with_frames(True)
    with open_controller(session) as made:
        made.editor.set_mask(nothing.show(range(4)).ask(range(4, N)))
        made.pins.pin("few seen")
        made.editor.apply_preset("video_only")
        made.model.choose_baseline("mean")
        made.selection.select([2, 5])
        return write_report(made, folder / "page.html")


@pytest.fixture
def page(browser, report):
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    opened, wrong = context.new_page(), []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
    opened.on("request", lambda asked: wrong.append(asked.url))
    opened.goto(report.as_uri())
    yield opened
    context.close()
    assert wrong == [report.as_uri()]  # the page itself, and nothing else


def neurons_of(page: Any) -> dict[str, Any]:
    return json.loads(page.locator("#page-data").text_content())["neurons"]


def neuron_position(page: Any, neuron: int) -> tuple[float, float]:
    """Where a neuron of the first field is on the screen."""
    field = page.locator("svg[data-field]").first
    field.scroll_into_view_if_needed()
    box, width = field.bounding_box(), field.evaluate("f => f.viewBox.baseVal.width")
    x, y = neurons_of(page)["places"][2 * neuron : 2 * neuron + 2]
    scale = box["width"] / width
    return box["x"] + scale * x, box["y"] + scale * y


def tooltip_text(page: Any) -> str:
    return page.locator(".neuron-info").inner_text()


def test_a_neuron_pointed_at_says_who_it_is(page):
    page.mouse.move(*neuron_position(page, 7))
    assert tooltip_text(page) == neurons_of(page)["texts"][7]
    page.mouse.move(5, 5)
    assert tooltip_text(page).startswith("Point at a neuron")


def test_a_click_marks_its_rows_and_another_takes_the_mark_away(page):
    place = neuron_position(page, 5)
    page.mouse.click(*place)
    marked = page.locator(".marked")
    assert {*marked.evaluate_all("m => m.map(e => e.dataset.neuron)")} == {"5"}
    assert marked.count() >= 2
    assert "marked below" in tooltip_text(page)
    page.mouse.click(*place)
    assert marked.count() == 0
    page.mouse.click(*neuron_position(page, 9))
    assert "not selected" in tooltip_text(page)
    page.locator("figure#neuron-2").click()
    assert page.locator("figure#neuron-2").get_attribute("aria-current") == "true"


def test_keys_go_from_neuron_to_neuron(page):
    field, words = page.locator("svg[data-field]").first, neurons_of(page)["texts"]
    field.focus()
    page.keyboard.press("Home")
    assert tooltip_text(page) == words[0]
    page.keyboard.press("End")
    assert tooltip_text(page) == words[N - 1]
    seen = set()
    for key in ["ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"] * 3:
        page.keyboard.press(key)
        seen.add(tooltip_text(page))
    assert len(seen) > 2
    assert seen <= {*words}
    page.keyboard.press("Enter")
    assert "marked" in tooltip_text(page)
    page.keyboard.press("Escape")
    assert "marked" not in tooltip_text(page)


def test_a_condition_is_hidden_wherever_it_is(page):
    button = page.get_by_role("group", name="Conditions shown").get_by_text("few seen")
    of_it = page.locator("[data-condition=pin0], .line.pin0").locator("visible=true")
    assert of_it.count() > 4
    button.focus()
    page.keyboard.press("Space")
    assert of_it.count() == 0
    words = page.locator("main").get_by_text("few seen").locator("visible=true")
    assert words.count() == 1
    page.keyboard.press("Space")
    assert of_it.count() > 4


def test_without_scripts_it_shows_the_same(browser, report):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("button").count() == 0
    assert page.locator("table").count() >= 4
    assert page.locator("figure").first.is_visible()
    assert all(e.is_visible() for e in page.locator(".legend span").all())
    context.close()
