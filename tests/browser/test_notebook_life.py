"""A notebook's life: reloaded, restarted, saved, and reopened without its kernel."""

import json
import secrets

import pytest

from tests.bench.browser.page import NotebookPage, page_in
from tests.browser.conftest import page_check
from tests.browser.explorer import (
    LONGER_TIMEOUT,
    counts,
    open_explorer,
    painted,
    reload,
    wait_for_agreement,
    wait_for_counts,
    wait_for_neurons,
)

IMAGE = ".jp-OutputArea-child:has(+ .jp-OutputArea-child .omnimouse-below) img"
NOTEBOOK_7_ERROR = "'filebrowser:open-path' not registered"
"""An error of Notebook 7 itself where its file browser starts late."""
# The mean has no correlation: the reason stands in place of the curves.
REASON_IS_SHOWN = """() => [...document.querySelectorAll(".omnimouse-scores svg text")]
  .some((text) => text.checkVisibility() && text.textContent.includes("No neuron"))"""
DRAWN = "[...document.querySelectorAll('.omnimouse-live')]"
KERNEL = "jupyterapp.shell.currentWidget.sessionContext.session.kernel.id"
TRUSTED = "jupyterapp.shell.currentWidget.content.model.cells.get(0).trusted"


@pytest.fixture(scope="module")
def lasting_page(browser, server, demo):
    """The explorer and, in a third cell, another view of its painter."""
    with page_in(browser, server) as page:
        page.page.add_init_script(LONGER_TIMEOUT)
        open_explorer(page, "explorer.painter")
        yield page


@pytest.fixture
def rerun_page(lasting_page, request, tmp_path):
    """Its cells have run again: whatever another test did is gone."""
    lasting_page.run_all()
    wait_for_neurons(lasting_page)
    lasting_page.wait_for_kernel("explorer.settled() is explorer", True)
    lasting_page.page.wait_for_function(
        "document.querySelectorAll('.omnimouse-counts').length === 2"
    )
    with page_check(lasting_page, request.node, tmp_path):
        yield lasting_page


def wait_for_picture_of(tab: NotebookPage, visible: int) -> None:
    """Wait until the last state, out of sight, is of a mask with so many visible."""
    tab.page.wait_for_function(
        "n => document.querySelector('.omnimouse-below')?.textContent.includes(n + ' visible')",
        arg=f"{visible:,}",
    )
    assert not tab.page.locator(IMAGE).first.is_visible()


@pytest.mark.acceptance
def test_two_views_of_one_state_agree(rerun_page):
    wait_for_counts(rerun_page, 1, **painted(rerun_page))


@pytest.mark.acceptance
def test_a_part_in_a_tab_behind_another_is_not_drawn_and_starts_no_work(rerun_page):
    assert rerun_page.page.evaluate(DRAWN)
    assert not rerun_page.page.evaluate(f"{DRAWN}.filter((part) => !part.checkVisibility())")


@pytest.mark.acceptance
def test_an_error_of_a_model_is_told_in_the_widget(rerun_page):
    rerun_page.evaluate("explorer.controller.model.choose('/no/such/model')")
    rerun_page.part("control").first.get_by_text("no/such/model").first.wait_for()


@pytest.mark.acceptance
def test_a_page_reloaded_in_a_stroke_shows_its_mask_and_leaves_no_stroke_open(rerun_page):
    mask = painted(rerun_page)
    wait_for_picture_of(rerun_page, mask["visible"])
    rerun_page.page.get_by_role("tab", name="Scores", exact=True).last.click()
    rerun_page.page.wait_for_function(REASON_IS_SHOWN)
    rerun_page.save()
    with rerun_page.dragging(rerun_page.part("field").first, (0.3, 0.3)) as to:
        to((0.6, 0.3))
        rerun_page.wait_for_kernel("explorer.controller.editor.in_stroke", True)
        reload(rerun_page)
    rerun_page.wait_for_kernel("explorer.controller.editor.in_stroke", False)
    wait_for_agreement(rerun_page)
    wait_for_picture_of(rerun_page, mask["visible"])  # as saved
    rerun_page.evaluate("explorer.painter.paint(range(25), 0)")
    wait_for_counts(rerun_page, hidden=25)
    rerun_page.page.get_by_role("tab", name="Scores", exact=True).last.click()
    rerun_page.page.wait_for_function(REASON_IS_SHOWN)
    assert not rerun_page.page.locator(IMAGE).first.is_visible()


@pytest.mark.acceptance
def test_after_a_restart_the_view_says_so_and_the_cells_run_again(rerun_page):
    rerun_page.restart()
    problem = rerun_page.part("painter").first.locator(".omnimouse-problem")
    problem.filter(has_text="run its cells again").first.wait_for()
    before = rerun_page.part("counts").first.inner_text()
    rerun_page.drag(rerun_page.part("field").first)
    rerun_page.part("painter").first.locator(".omnimouse-stage[inert]").wait_for()
    assert rerun_page.part("counts").first.inner_text() == before
    rerun_page.run_all()
    wait_for_neurons(rerun_page)
    painted(rerun_page)


@pytest.mark.parametrize("is_trusted", [True, pytest.param(False, marks=pytest.mark.acceptance)])
def test_the_last_picture_is_kept_out_of_sight_and_shown_where_no_kernel_is(
    fresh_explorer, tab, is_trusted
):
    canvas = fresh_explorer.part("field").first
    canvas.evaluate("element => { element.dataset.same = 'yes'; }")
    mask = painted(fresh_explorer)
    wait_for_picture_of(fresh_explorer, mask["visible"])
    assert canvas.get_attribute("data-same") == "yes"
    fresh_explorer.save()
    folder = fresh_explorer.server.folder
    book = json.loads((folder / fresh_explorer.name).read_text("utf-8"))
    outputs = book["cells"][1]["outputs"]
    (last,) = (output for output in outputs if "image/png" in output["data"])
    assert f"{mask['visible']:,} visible" in "".join(last["data"]["text/plain"])
    assert len("".join(last["data"]["image/png"])) < 200_000
    # The same notebook in a kernel that has none of its widgets, or with a cell more,
    # which nobody trusts.
    image = tab.page.locator(IMAGE).first
    if not is_trusted:
        book["cells"].append({**book["cells"][0], "id": "another", "outputs": []})
    copy = f"{secrets.token_hex(4)}.ipynb"
    (folder / copy).write_text(json.dumps(book), "utf-8")
    tab.visit(copy)
    assert tab.page.evaluate(TRUSTED) == is_trusted
    image.wait_for()
    wide, seen = image.evaluate("i => [i.naturalWidth, i.clientWidth]")
    assert wide == 1920
    assert 300 < seen <= 960
    tab.errors.clear()


def saved_view(tab: NotebookPage) -> tuple[str, bool]:
    """Save; return the caption of the picture in the file, and whether it is called old."""
    tab.save()
    book = json.loads((tab.server.folder / tab.name).read_text("utf-8"))
    texts = ["".join(output["data"]["text/plain"]) for output in book["cells"][1]["outputs"]]
    (caption,) = (text for text in texts if text.startswith("OmniMouse, view of "))
    return caption, any("has changed since" in text for text in texts)


@pytest.mark.acceptance
def test_a_notebook_saved_at_once_has_the_view_or_says_that_it_has_not(tab):
    tab.open(["import omnimouse_app as om\nexplorer = om.Explorer('demo', 'mean')", "explorer"])
    tab.run_all()
    caption, is_old = saved_view(tab)
    assert is_old or "1,000 target" in caption
    wait_for_neurons(tab)
    tab.evaluate("explorer.controller.editor.set_brush(1)")
    mask = painted(tab)
    caption, is_old = saved_view(tab)
    assert is_old or f"{mask['visible']:,} visible" in caption
    wait_for_picture_of(tab, mask["visible"])
    tab.page.wait_for_function(
        "![...document.querySelectorAll('.omnimouse-last')]"
        ".some((part) => part.textContent.includes('has changed since'))"
    )
    caption, is_old = saved_view(tab)
    assert not is_old
    assert f"{mask['visible']:,} visible" in caption


@pytest.mark.acceptance
@pytest.mark.parametrize("front", ["notebook", "voila"])
def test_in_another_front_end_a_stroke_is_painted_and_answered(tab, front):
    open_explorer(tab, front=front)
    before, since = counts(tab), tab.now_ms()
    tab.drag(tab.part("field").first)
    tab.page.wait_for_function(
        "(visible) => !document.querySelector('.omnimouse-counts').textContent.includes(visible)",
        arg=f"visible {before['visible']:,} ",
    )
    tab.wait_for_event("drawn", since, name="traces")
    if front == "notebook":
        wait_for_agreement(tab)
        tab.errors[:] = [one for one in tab.errors if NOTEBOOK_7_ERROR not in one]
