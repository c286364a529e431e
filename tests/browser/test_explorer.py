"""The explorer in JupyterLab: painted, scrubbed, set from code, saved and reopened."""

import pytest

from omnimouse_app.browser.page import NotebookPage
from tests.browser.explorer import (
    agree,
    kernel_counts,
    opened,
    shown,
    wait_for_counts,
)

pytestmark = pytest.mark.usefixtures("demo")


def painted(tab: NotebookPage) -> dict[str, int]:
    """Drag the brush over the field, and wait until page and kernel agree."""
    before = tab.part("counts").first.inner_text()
    tab.drag(tab.part("field").first)
    tab.page.wait_for_function(
        "before => document.querySelector('.omnimouse-counts').innerText !== before",
        arg=before,
    )
    return agree(tab)


def test_a_stroke_of_the_mouse_is_in_the_kernel_and_a_new_prediction_is_drawn(
    tab: NotebookPage,
):
    opened(tab, model="demo")
    before, since = kernel_counts(tab), tab.now()
    after = painted(tab)
    assert after["visible"] > before["visible"]
    tab.wait_until_told("drawn", since, name="traces")
    tab.wait_for_kernel("explorer.controller.results.freshness", "fresh")


def test_the_keyboard_paints_what_the_mouse_paints(tab: NotebookPage):
    opened(tab)
    field = tab.part("field").first
    field.focus()
    field.press("2")
    field.press("]")
    field.press("ArrowLeft")
    field.press(" ")
    tab.page.wait_for_function(
        "!document.querySelector('.omnimouse-counts').innerText.includes('hidden 0 ')"
    )
    assert agree(tab)["hidden"] > 0


def test_keys_after_a_click_on_a_button_are_the_parts_and_not_the_notebooks(
    tab: NotebookPage,
):
    opened(tab)
    cells = (
        "() => jupyterapp.shell.currentWidget.content.widgets.map(c => c.model.type)"
    )
    before = tab.page.evaluate(cells)
    tab.part("painter").get_by_role("button", name="Brush").click()
    for key in ("3", "r"):  # elsewhere "r" makes the cell a raw one, without output
        tab.page.keyboard.press(key)
    tab.wait_for_kernel("explorer.painter.tool", "rectangle")
    assert tab.ask("explorer.painter.code") == 2
    tab.part("asked").get_by_label("Preset").focus()
    for key in ("b", "x"):  # one adds a cell, the other cuts it
        tab.page.keyboard.press(key)
    assert tab.page.evaluate(cells) == before
    is_unsaved = "jupyterapp.shell.currentWidget.context.model.dirty"
    tab.page.evaluate(f"() => {{ {is_unsaved} = true }}")
    tab.part("field").first.press("Control+s")
    tab.page.wait_for_function(f"!{is_unsaved}")


def test_undo_takes_one_whole_stroke_back(tab: NotebookPage):
    opened(tab)
    before = kernel_counts(tab)
    painted(tab)
    tab.part("field").first.press("Control+z")
    wait_for_counts(tab, **before)
    assert kernel_counts(tab) == before


def test_what_code_sets_the_page_shows(tab: NotebookPage):
    opened(tab)
    tab.ask("explorer.painter.paint(range(25), 0)")
    wait_for_counts(tab, hidden=25)
    tab.ask("setattr(explorer.bar, 'preset', 'nothing')")
    wait_for_counts(tab, target=0)


def test_scrubbing_moves_the_window_of_the_kernel(tab: NotebookPage):
    opened(tab, model="demo")
    before, since = tab.ask("explorer.start_s"), tab.now()
    tab.part("video").first.locator("canvas").first.press("Shift+ArrowRight")
    tab.wait_for_kernel(f"explorer.start_s > {before}", True)
    tab.wait_until_told("drawn", since, name="raster")


def test_painting_goes_on_while_a_cell_runs(tab: NotebookPage):
    opened(tab)
    painted(tab)
    running = tab.start("execute", "import time; time.sleep(8)")
    since = tab.now()
    tab.drag(tab.part("field").first, (0.3, 0.3), (0.6, 0.3))
    tab.wait_until_told("drawn", since, name="traces")
    assert not tab.is_over(running)
    tab.finish(running)
    agree(tab)


def test_a_reloaded_page_shows_the_mask(tab: NotebookPage):
    opened(tab)
    known = painted(tab)
    tab.save()
    tab.page.reload()
    shown(tab)
    wait_for_counts(tab, **known)


def test_after_a_restart_the_view_says_so_and_the_cells_run_again(tab: NotebookPage):
    opened(tab)
    painted(tab)
    tab.restart()
    tab.part("problem").get_by_text("run its cells again").first.wait_for()
    tab.run_all()
    shown(tab)
    painted(tab)


def test_a_saved_notebook_shows_its_last_picture_without_a_kernel(tab: NotebookPage):
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


def test_two_views_of_one_state_agree(tab: NotebookPage):
    opened(tab, "explorer")
    tab.page.wait_for_function(
        "document.querySelectorAll('.omnimouse-counts').length === 2"
    )
    known = painted(tab)
    wait_for_counts(tab, 1, **known)


def test_an_error_is_told_in_the_widget(tab: NotebookPage):
    opened(tab)
    tab.ask("explorer.controller.choose_predictor('/no/such/model')")
    tab.part("asked").first.get_by_text("no/such/model").first.wait_for()


def test_a_page_that_is_reloaded_in_a_stroke_leaves_none_open(tab: NotebookPage):
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


def test_the_other_button_paints_nothing(tab: NotebookPage):
    opened(tab)
    before = kernel_counts(tab)
    tab.part("field").first.click(button="right")
    assert agree(tab) == before
