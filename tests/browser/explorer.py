"""The explorer in a page, for tests: its cells, and what page and kernel say of it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe

from tests.bench.browser.page import NotebookPage

MAKE = """
from omnimouse_widgets import Explorer
explorer = Explorer("demo", "{model}").settled()
explorer.controller.editor.apply_preset("video_behavior")
explorer.controller.editor.set_brush(1)
explorer.controller.requests.score_tier(False)  # a test of its own; here it takes the processor
"""
SHOW = "explorer"
BUSY = """
from pathlib import Path
from time import sleep
while not Path({file!r}).exists():
    sleep(0.02)
"""
STATES = ("hidden", "visible", "target", "mixed")
# ipywidgets' manager gives the kernel 4 s to send its widgets to a reloaded page
# (`_loadFromKernel`), then shows "widget model not found": too short on a busy machine.
LONGER_TIMEOUT = """{
  const timeout = setTimeout;
  globalThis.setTimeout = (call, ms, ...more) =>
    timeout(call, ms === 4000 ? 120_000 : ms, ...more);
}"""
COUNTED = (
    f"dict(zip({STATES}, __import__('numpy').bincount("
    "explorer.mask.state_in((0, 60)).astype(int), minlength=4).tolist()))"
)


def open_explorer(tab: NotebookPage, *more: str, front: str = "lab", model: str = "mean") -> str:
    """Open a notebook with an explorer on the demo, run it; its name.

    Where it matters little who predicts it is the mean, which is there at once.
    """
    name = tab.open([MAKE.format(model=model), SHOW, *more], front)
    if front != "voila":
        tab.run_all()
    wait_for_neurons(tab)
    return name


def wait_for_neurons(tab: NotebookPage) -> None:
    """Wait until the painter shows neurons."""
    tab.part("counts").get_by_text(re.compile(r"target \d")).first.wait_for()


def reload(tab: NotebookPage) -> None:
    """Reload the page, as a user does: again if JupyterLab has lost the widgets.

    On a busy machine its requests for the widgets' states time out after 4 s. It then
    shows this text, whatever the widgets are.
    """
    neurons = tab.part("counts").get_by_text(re.compile(r"target \d")).first
    for _ in range(12):
        tab.page.reload()
        shown = neurons.or_(tab.page.get_by_text("displaying widget: model not found"))
        shown.first.wait_for()
        # Part of the widgets can be lost, which is an error of the page.
        if neurons.is_visible() and not tab.errors:
            break
        tab.errors.clear()
    wait_for_neurons(tab)


@contextmanager
def running_cell(tab: NotebookPage, folder: Path) -> Iterator[str]:
    """A cell runs as long as the block does; what `tab.is_over` takes."""
    file = folder / "over"
    running = tab.start("execute", BUSY.format(file=str(file)))
    try:
        yield running
    finally:
        file.touch()
    tab.finish(running)


def grave_violations(tab: NotebookPage) -> list[str]:
    """What axe finds that keeps people out, with the element each is about."""
    within = {"include": [[".omnimouse"]]}
    found = Axe().run(tab.page, context=within).response["violations"]
    return [
        f"{one['id']}: {node['html'][:120]} ({node['failureSummary']})"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def counts(tab: NotebookPage, number: int = 0) -> dict[str, int]:
    """Neurons by state, as the page tells everybody."""
    words = tab.part("counts").nth(number).inner_text()
    found = re.findall(r"(hidden|visible|target) ([\d,]+)", words)
    told = {state: int(count.replace(",", "")) for state, count in found}
    changing = re.findall(r"([\d,]+) (?:\w+, |\w+ at both ends|others?)", words)
    told["mixed"] = sum(int(count.replace(",", "")) for count in changing)
    return dict.fromkeys(STATES, 0) | told


def kernel_counts(tab: NotebookPage) -> dict[str, int]:
    """Neurons by state, as the kernel counts them in the mask."""
    return tab.evaluate(COUNTED)


def wait_for_counts(tab: NotebookPage, number: int = 0, **expected: int) -> None:
    """Wait until the page tells so many neurons."""
    for state, count in expected.items():
        if state == "mixed":  # told by how they change
            continue
        words = re.compile(rf"{state} {count:,}\b")
        tab.part("counts").nth(number).get_by_text(words).wait_for()


def wait_for_other_counts(tab: NotebookPage, before: str) -> None:
    """Wait until the page tells other counts than these words."""
    tab.page.wait_for_function(
        "before => document.querySelector('.omnimouse-counts').innerText !== before", arg=before
    )


def wait_for_agreement(tab: NotebookPage) -> dict[str, int]:
    """Wait until page and kernel count the same; the counts."""
    for _ in range(1000):
        told, known = counts(tab), kernel_counts(tab)
        if told == known:
            return known
        tab.page.wait_for_timeout(50)
    raise AssertionError(f"The page tells {told}, the kernel {known}.")


def painted(tab: NotebookPage) -> dict[str, int]:
    """Drag the brush over the field, and wait until page and kernel agree."""
    before = tab.part("counts").first.inner_text()
    tab.drag(tab.part("field").first)
    wait_for_other_counts(tab, before)
    return wait_for_agreement(tab)
