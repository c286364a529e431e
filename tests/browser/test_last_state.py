"""The last state in a page: out of sight while the view lives, there without it."""

import json
import secrets
from typing import Any

from omnimouse_app.browser.page import NotebookPage

CELL = """
import numpy as np
from IPython.display import display
from omnimouse_model.demo import demo_session
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.jupyter.last_state import LastState
from omnimouse_widgets.jupyter.painter import MaskPainter
controller = Controller()
controller.open_session(demo_session())
painter = MaskPainter(controller)
last = LastState(controller, is_live=lambda: True)
display(painter)
last.show()
"""
LAST = ".omnimouse-last"
IMAGE = f"{LAST} img"
SEEN = f"document.querySelector('{IMAGE}').alt.includes('12 visible')"


def opened(tab: NotebookPage) -> str:
    name = tab.open([CELL])
    tab.run_all()
    tab.page.locator(".omnimouse-live canvas").first.wait_for()
    tab.page.locator(IMAGE).wait_for(state="attached")
    return name


def paint_twelve(tab: NotebookPage) -> None:
    tab.ask("controller.set_mask(controller.state.mask.nothing(1000).show(range(12)))")
    tab.page.wait_for_function(SEEN)


def saved(tab: NotebookPage, name: str) -> dict[str, Any]:
    tab.save()
    return json.loads((tab.server.folder / name).read_text("utf-8"))


def test_it_is_out_of_sight_while_the_view_lives_and_kept_up_to_date(tab):
    name = opened(tab)
    assert not tab.page.locator(LAST).is_visible()
    canvas = tab.page.locator(".omnimouse-live canvas").first
    canvas.evaluate("element => { element.dataset.same = 'yes'; }")
    paint_twelve(tab)
    assert not tab.page.locator(LAST).is_visible()
    assert canvas.get_attribute("data-same") == "yes"
    outputs = saved(tab, name)["cells"][0]["outputs"]
    last = outputs[-1]
    assert "12 visible" in "".join(last["data"]["text/plain"])
    assert len("".join(last["data"]["image/png"])) < 200_000
    assert sum("image/png" in output["data"] for output in outputs) == 1


def test_reopened_without_trust_it_shows_the_picture(tab):
    name = opened(tab)
    paint_twelve(tab)
    book = saved(tab, name)
    book["cells"].append({**book["cells"][0], "id": "another", "outputs": []})
    another = f"{secrets.token_hex(4)}.ipynb"
    (tab.server.folder / another).write_text(json.dumps(book), "utf-8")
    tab.errors.clear()
    tab.visit(another)
    assert not tab.page.evaluate(
        "jupyterapp.shell.currentWidget.content.model.cells.get(0).trusted"
    )
    image = tab.page.locator(IMAGE)
    image.wait_for()
    assert tab.page.evaluate(SEEN)
    box = image.evaluate(
        "i => [i.naturalWidth, i.clientWidth, i.parentElement.className]"
    )
    assert box[0] == 1920
    assert 300 < box[1] <= 960
    assert box[2] == "omnimouse-last"


def test_a_reloaded_page_with_a_living_kernel_hides_it_and_keeps_it(tab):
    """JupyterLab forgets whose output may be replaced: the picture stays as it was."""
    name = opened(tab)
    paint_twelve(tab)
    saved(tab, name)
    tab.page.reload()
    tab.page.locator(".omnimouse-live canvas").first.wait_for()
    tab.page.locator(IMAGE).wait_for(state="attached")
    assert not tab.page.locator(LAST).is_visible()
    tab.ask("painter.paint(range(20), 1)")
    tab.page.get_by_text("visible 20").first.wait_for()
    assert not tab.page.locator(LAST).is_visible()
    outputs = saved(tab, name)["cells"][0]["outputs"]
    assert "12 visible" in "".join(outputs[-1]["data"]["text/plain"])
    tab.run_all()
    tab.page.locator(".omnimouse-live canvas").first.wait_for()
    paint_twelve(tab)
