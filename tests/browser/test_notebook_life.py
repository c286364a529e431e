"""A notebook's life: reloaded, restarted, saved, and reopened without its kernel."""

import json
import secrets

import pytest

from omnimouse_app.browser.page import NotebookPage, page_in
from tests.browser.conftest import watched
from tests.browser.explorer import (
    agree,
    counts,
    opened,
    painted,
    shown,
    wait_for_counts,
)

IMAGE = ".omnimouse-last img"
# A kernel has four seconds to tell a new page its widgets, else they are not found.
PATIENT = """{
  const timeout = setTimeout;
  globalThis.setTimeout = (call, ms, ...more) =>
    timeout(call, ms === 4000 ? 120_000 : ms, ...more);
}"""
NOTEBOOK_7_S_OWN = "'filebrowser:open-path' not registered"
"""Where its own parts begin slowly."""
KERNEL = "jupyterapp.shell.currentWidget.sessionContext.session.kernel.id"
TRUSTED = "jupyterapp.shell.currentWidget.content.model.cells.get(0).trusted"


@pytest.fixture(scope="module")
def lasting_page(browser, server, demo):
    """The explorer and, in a third cell, another view of its painter."""
    with page_in(browser, server) as page:
        page.page.add_init_script(PATIENT)
        opened(page, "explorer.painter")
        yield page


@pytest.fixture
def life(lasting_page, request, tmp_path):
    """Its cells have run again: whatever another test did is gone."""
    lasting_page.run_all()
    shown(lasting_page)
    lasting_page.wait_for_kernel("explorer.settled() is explorer", True)
    lasting_page.page.wait_for_function(
        "document.querySelectorAll('.omnimouse-counts').length === 2"
    )
    with watched(lasting_page, request.node, tmp_path):
        yield lasting_page


def wait_for_picture_of(tab: NotebookPage, visible: int) -> None:
    """Wait until the last state, out of sight, is of a mask with so many visible."""
    tab.page.wait_for_function(
        f"n => document.querySelector('{IMAGE}')?.alt.includes(n + ' visible')",
        arg=f"{visible:,}",
    )
    assert not tab.page.locator(IMAGE).first.is_visible()


def test_two_views_of_one_state_agree(life):
    wait_for_counts(life, 1, **painted(life))


def test_an_error_of_a_model_is_told_in_the_widget(life):
    life.ask("explorer.controller.choose_predictor('/no/such/model')")
    life.part("asked").first.get_by_text("no/such/model").first.wait_for()


def test_a_reloaded_page_shows_the_mask_and_no_picture_beside_it(life):
    mask = painted(life)
    wait_for_picture_of(life, mask["visible"])
    life.save()
    life.page.reload()
    shown(life)
    wait_for_counts(life, **mask)
    wait_for_picture_of(life, mask["visible"])
    life.ask("explorer.painter.paint(range(25), 0)")
    wait_for_counts(life, hidden=25)
    assert not life.page.locator(IMAGE).first.is_visible()


def test_a_page_that_is_reloaded_in_a_stroke_leaves_none_open(life):
    life.save()
    with life.dragging(life.part("field").first, (0.3, 0.5)) as to:
        to((0.6, 0.5))
        life.wait_for_kernel("explorer.controller.in_stroke", True)
        life.page.reload()
    shown(life)
    life.wait_for_kernel("explorer.controller.in_stroke", False)
    agree(life)


def test_after_a_restart_the_view_says_so_and_the_cells_run_again(life):
    life.restart()
    life.drag(life.part("field").first)
    problem = life.part("painter").first.locator(".omnimouse-problem")
    problem.filter(has_text="run its cells again").first.wait_for()
    life.run_all()
    shown(life)
    painted(life)


def test_the_last_picture_is_kept_out_of_sight_and_shown_where_no_kernel_is(life):
    canvas = life.part("field").first
    canvas.evaluate("element => { element.dataset.same = 'yes'; }")
    mask = painted(life)
    wait_for_picture_of(life, mask["visible"])
    assert canvas.get_attribute("data-same") == "yes"
    life.save()
    book = json.loads((life.server.folder / life.name).read_text("utf-8"))
    outputs = book["cells"][1]["outputs"]
    (last,) = (output for output in outputs if "image/png" in output["data"])
    assert f"{mask['visible']:,} visible" in "".join(last["data"]["text/plain"])
    assert len("".join(last["data"]["image/png"])) < 200_000
    # The same page without its kernel, then a copy that nobody trusts.
    kernel = life.page.evaluate(KERNEL)
    life.server.end_kernels([one for one in life.server.kernels() if one != kernel])
    name = life.name
    life.visit(name)
    image = life.page.locator(IMAGE).first
    image.wait_for()
    copy = f"{secrets.token_hex(4)}.ipynb"
    book["cells"].append({**book["cells"][0], "id": "another", "outputs": []})
    (life.server.folder / copy).write_text(json.dumps(book), "utf-8")
    life.visit(copy)
    assert not life.page.evaluate(TRUSTED)
    image.wait_for()
    wide, seen = image.evaluate("i => [i.naturalWidth, i.clientWidth]")
    assert wide == 1920
    assert 300 < seen <= 960
    life.errors.clear()
    life.visit(name)


@pytest.mark.parametrize("front", ["notebook", "voila"])
def test_in_another_front_end_a_stroke_is_painted_and_answered(tab, front):
    opened(tab, front=front)
    before, since = counts(tab), tab.now()
    tab.drag(tab.part("field").first)
    tab.page.wait_for_function(
        "(visible) => !document.querySelector('.omnimouse-counts')"
        ".textContent.includes(visible)",
        arg=f"visible {before['visible']:,} ",
    )
    tab.wait_until_told("drawn", since, name="traces")
    if front == "notebook":
        agree(tab)
        tab.errors[:] = [one for one in tab.errors if NOTEBOOK_7_S_OWN not in one]
