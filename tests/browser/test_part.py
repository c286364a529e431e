"""What every part does in a page, with the smallest of parts."""

import pytest

from omnimouse_app.browser.page import NotebookPage, page_in
from tests.browser.conftest import watched

# A square that counts what is dragged over it, here and in the kernel.
COUNTER = '''
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.jupyter.page import script, style
from omnimouse_widgets.jupyter.part import Drawn, Part
from traitlets import Int

SCRIPT = """
function render({ model, el }) {
  let here = 0, waiting = 0;
  const words = make("div"), answer = make("div");
  words.className = "omnimouse-words"; answer.className = "omnimouse-answer";
  const part = connect({ model, el }, "counter", {
    counted: (message) => { answer.textContent = `kernel ${message.count}`; },
  });
  const strokes = part.queue("stroke", () => {
    const many = waiting; waiting = 0; return many ? [{ many }] : null;
  });
  const square = canvasOf(el, { className: "omnimouse-square", label: "Square",
    height: 200, draw: () => {}, onClose: part.onClose });
  square.canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    here += 1; waiting += 1; words.textContent = `here ${here}`; strokes.soon();
  });
  bindKeys(square.canvas, { b: () => part.send("fail") });
  part.follow("step", (step) => { el.dataset.step = step; });
  el.append(words, answer);
  part.ready();
  return part.close;
}
export default { render };
"""

class Counter(Part):
    _esm = script() + SCRIPT
    _css = style()
    step = Int(1).tag(sync=True)

    def __init__(self, controller):
        self.count = 0
        super().__init__(controller)

    def parts(self):
        return [Drawn(self.draw)]

    def draw(self):
        self.show("counted", count=self.count)

    def on_stroke(self, content, buffers):
        self.count += content["many"]
        self._board.ask_all()

    def on_fail(self, content, buffers):
        raise ValueError("This was asked for.")

counter = Counter(Controller())
'''


def opened(tab: NotebookPage, *cells: str) -> str:
    name = tab.open([COUNTER, "counter", *cells])
    tab.run_all()
    tab.part("answer").get_by_text("kernel 0").first.wait_for()
    return name


@pytest.fixture(scope="module")
def shared(browser, server):
    with page_in(browser, server) as opened_once:
        opened(opened_once)
        yield opened_once


@pytest.fixture
def view(shared, request, tmp_path):
    """A notebook with a counter that several tests share."""
    with watched(shared, request.node, tmp_path):
        yield shared


def count_of(tab: NotebookPage) -> int:
    return int(tab.part("words").first.inner_text().removeprefix("here "))


def test_what_is_dragged_in_the_page_is_in_the_kernel(view):
    view.drag(view.part("square"))
    count = count_of(view)
    assert count >= 20
    view.wait_for_kernel("counter.count", count)
    view.part("answer").get_by_text(f"kernel {count}", exact=True).wait_for()


def test_strokes_are_taken_while_a_cell_runs(view):
    view.drag(view.part("square"))
    view.part("answer").get_by_text(f"kernel {count_of(view)}", exact=True).wait_for()
    running = view.start("execute", "import time; time.sleep(8)")
    view.drag(view.part("square"))
    view.part("answer").get_by_text(f"kernel {count_of(view)}", exact=True).wait_for()
    assert not view.is_over(running)


def test_a_key_is_the_part_s_own_and_an_error_of_its_message_is_told_there(view):
    count = "jupyterapp.shell.currentWidget.content.widgets.length"
    before = view.page.evaluate(count)
    view.part("square").press("b")
    view.part("problem").get_by_text("This was asked for.").wait_for()
    assert view.page.evaluate(count) == before


def test_code_sets_a_trait_and_every_view_follows(tab):
    opened(tab, "counter")
    tab.page.wait_for_function(
        "document.querySelectorAll('[data-step=\"1\"]').length === 2"
    )
    tab.ask("setattr(counter, 'step', 7)")
    tab.page.wait_for_function(
        "document.querySelectorAll('[data-step=\"7\"]').length === 2"
    )


def test_a_reloaded_page_shows_what_the_kernel_knows(tab):
    opened(tab)
    tab.drag(tab.part("square"))
    tab.wait_for_kernel("counter.count", count := count_of(tab))
    tab.save()
    tab.page.reload()
    tab.part("answer").get_by_text(f"kernel {count}", exact=True).wait_for()


def test_after_a_restart_the_notebook_runs_again(tab):
    opened(tab)
    tab.restart()
    tab.drag(tab.part("square"))
    tab.part("problem").get_by_text("run its cells again").wait_for()
    tab.run_all()
    tab.part("answer").get_by_text("kernel 0", exact=True).wait_for()
