"""The explorer in JupyterLab: painted, scrubbed, set from code, saved and reopened."""

import pytest

from omnimouse_app.browser.page import NotebookPage, page_in
from tests.browser.conftest import watched
from tests.browser.explorer import agree, kernel_counts, opened, shown, wait_for_counts

pytestmark = pytest.mark.usefixtures("demo")


@pytest.fixture(scope="module")
def shared(browser, server, demo):
    with page_in(browser, server) as opened_once:
        opened(opened_once, model="demo")
        yield opened_once


@pytest.fixture
def view(shared, request, tmp_path):
    """A notebook with an explorer that several tests share, as if just opened."""
    for act in ("apply_preset('video_behavior')", "set_brush(1)"):
        shared.ask(f"explorer.controller.{act}")
    shared.ask("setattr(explorer.painter, 'tool', 'brush')")
    shared.wait_for_kernel("explorer.settled() is explorer", True)
    wait_for_counts(shared, **kernel_counts(shared))
    with watched(shared, request.node, tmp_path):
        yield shared


def painted(tab: NotebookPage) -> dict[str, int]:
    """Drag the brush over the field, and wait until page and kernel agree."""
    before = tab.part("counts").first.inner_text()
    tab.drag(tab.part("field").first)
    tab.page.wait_for_function(
        "before => document.querySelector('.omnimouse-counts').innerText !== before",
        arg=before,
    )
    return agree(tab)


def test_a_stroke_of_the_mouse_is_in_the_kernel_and_a_new_prediction_is_drawn(view):
    before, since = kernel_counts(view), view.now()
    after = painted(view)
    assert after["visible"] > before["visible"]
    view.wait_until_told("drawn", since, name="traces")
    view.wait_for_kernel("explorer.controller.results.freshness", "fresh")


def test_the_keyboard_paints_what_the_mouse_paints(view):
    field = view.part("field").first
    field.focus()
    field.press("2")
    field.press("]")
    field.press("ArrowLeft")
    field.press(" ")
    view.page.wait_for_function(
        "!document.querySelector('.omnimouse-counts').innerText.includes('hidden 0 ')"
    )
    assert agree(view)["hidden"] > 0


def test_keys_after_a_click_on_a_button_are_the_parts_and_not_the_notebooks(view):
    cells = (
        "() => jupyterapp.shell.currentWidget.content.widgets.map(c => c.model.type)"
    )
    before = view.page.evaluate(cells)
    view.part("painter").get_by_role("button", name="Brush").click()
    for key in ("3", "r"):  # elsewhere "r" makes the cell a raw one, without output
        view.page.keyboard.press(key)
    view.wait_for_kernel("explorer.painter.tool", "rectangle")
    assert view.ask("explorer.painter.code") == 2
    view.part("asked").get_by_label("Preset").focus()
    for key in ("b", "x"):  # one adds a cell, the other cuts it
        view.page.keyboard.press(key)
    assert view.page.evaluate(cells) == before
    is_unsaved = "jupyterapp.shell.currentWidget.context.model.dirty"
    view.page.evaluate(f"() => {{ {is_unsaved} = true }}")
    view.part("field").first.press("Control+s")
    view.page.wait_for_function(f"!{is_unsaved}")


def test_the_other_button_paints_nothing(view):
    before = kernel_counts(view)
    view.part("field").first.click(button="right")
    assert agree(view) == before


def test_undo_takes_one_whole_stroke_back(view):
    before = kernel_counts(view)
    painted(view)
    view.part("field").first.press("Control+z")
    wait_for_counts(view, **before)
    assert kernel_counts(view) == before


def test_what_code_sets_the_page_shows(view):
    view.ask("explorer.painter.paint(range(25), 0)")
    wait_for_counts(view, hidden=25)
    view.ask("setattr(explorer.bar, 'preset', 'nothing')")
    wait_for_counts(view, target=0)


def test_scrubbing_moves_the_window_of_the_kernel(view):
    before, since = view.ask("explorer.start_s"), view.now()
    view.part("video").first.locator("canvas").first.press("Shift+ArrowRight")
    view.wait_for_kernel(f"explorer.start_s > {before}", True)
    view.wait_until_told("drawn", since, name="raster")


def test_painting_goes_on_while_a_cell_runs(view):
    painted(view)
    running = view.start("execute", "import time; time.sleep(8)")
    since = view.now()
    view.drag(view.part("field").first, (0.3, 0.3), (0.6, 0.3))
    view.wait_until_told("drawn", since, name="traces")
    assert not view.is_over(running)
    view.finish(running)
    agree(view)


def test_a_reloaded_page_shows_the_mask(tab):
    opened(tab)
    known = painted(tab)
    tab.save()
    tab.page.reload()
    shown(tab)
    wait_for_counts(tab, **known)


def test_after_a_restart_the_view_says_so_and_the_cells_run_again(tab):
    opened(tab)
    painted(tab)
    tab.restart()
    tab.part("problem").get_by_text("run its cells again").first.wait_for()
    tab.run_all()
    shown(tab)
    painted(tab)


def test_a_saved_notebook_shows_its_last_picture_without_a_kernel(tab):
    name = opened(tab)
    painted(tab)
    tab.wait_for_kernel("explorer.settled() is explorer", True)
    tab.save()
    tab.server.end_kernels()
    tab.visit(name)
    picture = tab.page.locator("img.omnimouse-last, .omnimouse-last img").first
    picture.wait_for()
    tab.page.wait_for_function(
        "e => e.naturalWidth > 300", arg=picture.element_handle()
    )


def test_two_views_of_one_state_agree(tab):
    opened(tab, "explorer")
    tab.page.wait_for_function(
        "document.querySelectorAll('.omnimouse-counts').length === 2"
    )
    known = painted(tab)
    wait_for_counts(tab, 1, **known)


def test_an_error_is_told_in_the_widget(tab):
    opened(tab)
    tab.ask("explorer.controller.choose_predictor('/no/such/model')")
    tab.part("asked").first.get_by_text("no/such/model").first.wait_for()


def test_a_page_that_is_reloaded_in_a_stroke_leaves_none_open(tab):
    opened(tab)
    tab.save()
    box = tab.part("field").first.bounding_box()
    tab.page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + box["height"] / 2)
    tab.page.mouse.down()
    tab.page.mouse.move(
        box["x"] + 0.6 * box["width"], box["y"] + box["height"] / 2, steps=20
    )
    tab.wait_for_kernel("explorer.controller.in_stroke", True)
    tab.page.reload()
    shown(tab)
    tab.wait_for_kernel("explorer.controller.in_stroke", False)
    agree(tab)
