"""Fine-tuning in a page: start by keyboard, progress, stop, use of the model."""

import pytest

from tests.browser.explorer import grave_violations
from tests.model.finetune_process import NEW, write_mouse_folder

MAKE = """
from pathlib import Path
from omnimouse_model.live.controller import Controller
from omnimouse_widgets import FineTune
controller = Controller()
controller.finetuning.folder = Path({out!r})
base = Path({folder!r}) / "base.safetensors"
controller.model.choose(base)
controller.loader.open_now(Path({folder!r}) / {name!r})
controller.requests.wait()
part = FineTune(controller, steps=1000)
"""
DRAWN = """() => ["#ffffff", "#e69f00"].every((colour) => [...document.querySelectorAll(
  ".omnimouse-finetune svg polyline")].some((line) =>
    line.getAttribute("stroke").toLowerCase() === colour && line.points.numberOfItems > 1))"""


# Takes a minute: the suite tests the widget with a scripted process, and a real one in
# `tests/model/train`.
pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_mouse_folder(tmp_path_factory.mktemp("finetuning"))


def test_it_is_there_with_something_to_learn_and_worked_by_keyboard_to_its_end(
    tab, folder, tmp_path
):
    out = str(tmp_path)
    tab.open([MAKE.format(folder=str(folder), out=out, name=NEW), "part"])
    tab.run_all()
    part = tab.part("finetune")
    part.get_by_text(f"base.safetensors to {NEW}").wait_for()
    tab.finish(tab.start("execute", "controller.model.choose('mean')"))
    part.wait_for(state="hidden")
    tab.finish(tab.start("execute", "controller.model.choose(base)"))
    part.wait_for(state="visible")
    steps = part.get_by_label("Steps", exact=True)
    steps.fill("many")
    steps.press("Tab")
    tab.page.get_by_text("a whole number, found “many”").wait_for()
    steps.fill("1500")
    steps.press("Enter")  # takes the value, and starts no training
    tab.page.get_by_text("a whole number, found “many”").wait_for(state="hidden")
    part.get_by_role("button", name="Start", exact=True).press("Enter")
    part.get_by_role("button", name="Stop").wait_for()
    part.get_by_text("of 1500").wait_for()
    tab.page.wait_for_function(DRAWN)
    assert not grave_violations(tab)
    part.get_by_role("button", name="Stop").press("Enter")
    use = part.get_by_role("button", name="Use best weights")
    use.click()
    part.get_by_role("button", name="✕").wait_for()
    is_used = f"controller.state.predictor_name.startswith({out!r})"
    tab.wait_for_kernel(is_used, True)
    part.get_by_role("button", name="✕").click()
    part.wait_for(state="hidden")
