"""Fine-tuning in a page: started by key, watched, stopped, gone on with, and used."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from omnimouse_app.browser.page import NotebookPage
from tests.model.finetune_process import NEW, write_place

MAKE = """
from pathlib import Path
from omnimouse_model.live.controller import Controller
from omnimouse_widgets import FineTune
controller = Controller()
controller.finetuning.folder = Path({kept!r})
controller.choose_predictor(Path({folder!r}) / "base.safetensors")
controller.open_session(Path({folder!r}) / {name!r})
controller.wait()
part = FineTune(controller, steps={steps})
"""
DRAWN = """() => {
  const canvas = document.querySelector(".omnimouse-finetune canvas");
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const is = (i, colour) =>
    colour.reduce((far, value, k) => far + Math.abs(data[i + k] - value), 0) < 60;
  let white = 0, orange = 0;
  for (let i = 0; i < data.length; i += 4) {
    white += is(i, [255, 255, 255]);
    orange += is(i, [230, 159, 0]);
  }
  return white > 50 && orange > 50;
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_place(tmp_path_factory.mktemp("finetuning"))


def opened(tab: NotebookPage, folder: Path, kept: Path, steps: int) -> None:
    made = MAKE.format(folder=str(folder), kept=str(kept), name=NEW, steps=steps)
    tab.open([made, "part"])
    tab.run_all()
    tab.part("finetune").get_by_text(f"base.safetensors to {NEW}").wait_for()


def test_it_is_worked_by_keyboard_to_its_end(tab, folder, tmp_path):
    opened(tab, folder, tmp_path, 4000)
    part = tab.part("finetune")
    part.get_by_role("button", name="Start").press("Enter")
    part.get_by_role("button", name="Stop").wait_for()
    part.get_by_text("of 4000").wait_for()
    tab.page.wait_for_function(DRAWN)
    assert (
        not Axe()
        .run(tab.page, context={"include": [[".omnimouse"]]})
        .response["violations"]
    )
    part.get_by_role("button", name="Stop").press("Enter")
    part.get_by_text("what was reached is kept").wait_for()
    part.get_by_role("button", name="Use what was reached").click()
    part.get_by_text("✓ Learned, and is the model now").wait_for()
    tab.wait_for_kernel("controller.state.predictor_name.startswith("
                        f"{str(tmp_path)!r})", True)  # fmt: skip
    part.get_by_role("button", name="Dismiss").click()
    part.wait_for(state="hidden")


def test_it_comes_back_onto_the_page_with_something_to_learn(tab, folder, tmp_path):
    opened(tab, folder, tmp_path, 300)
    tab.finish(tab.start("execute", "controller.choose_predictor('mean')"))
    tab.part("finetune").wait_for(state="hidden")
    base = str(folder / "base.safetensors")
    tab.finish(tab.start("execute", f"controller.choose_predictor({base!r})"))
    tab.part("finetune").wait_for(state="visible")
    tab.part("finetune").get_by_role("button", name="Start").wait_for()
