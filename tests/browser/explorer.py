"""The explorer in a page, for tests: its cells, and what page and kernel say of it."""

import re

from omnimouse_app.browser.page import NotebookPage

MAKE = """
from omnimouse_widgets import Explorer
explorer = Explorer("demo", "demo").settled()
explorer.controller.apply_preset("video_behavior")
explorer.controller.set_brush(1)
"""
SHOW = "explorer"


def opened(tab: NotebookPage, *more: str, front: str = "lab") -> str:
    """Open a notebook with an explorer on the demo, run it; its name."""
    name = tab.open([MAKE, SHOW, *more], front)
    if front != "voila":
        tab.run_all()
    shown(tab)
    return name


def shown(tab: NotebookPage) -> None:
    """Wait until the painter shows neurons."""
    tab.part("counts").get_by_text(re.compile(r"target \d")).first.wait_for()


def counts(tab: NotebookPage, number: int = 0) -> dict[str, int]:
    """Neurons by state, as the page tells everybody."""
    words = tab.part("counts").nth(number).inner_text()
    found = re.findall(r"(hidden|visible|target|mixed) ([\d,]+)", words)
    return {state: int(count.replace(",", "")) for state, count in found}


def kernel_counts(tab: NotebookPage) -> dict[str, int]:
    """Neurons by state, as the kernel counts them in the mask."""
    return tab.ask(
        "dict(zip(('hidden', 'visible', 'target'), __import__('numpy').bincount("
        "explorer.mask.cells.max(axis=0), minlength=3).tolist()))"
    )


def wait_for_counts(tab: NotebookPage, number: int = 0, **expected: int) -> None:
    """Wait until the page tells so many neurons."""
    for state, count in expected.items():
        words = re.compile(rf"{state} {count:,}\b")
        tab.part("counts").nth(number).get_by_text(words).wait_for()


def agree(tab: NotebookPage) -> dict[str, int]:
    """Page and kernel count the same, which is given."""
    told = counts(tab)
    known = {state: told[state] for state in ("hidden", "visible", "target")}
    tab.wait_for_kernel(
        "dict(zip(('hidden', 'visible', 'target'), __import__('numpy').bincount("
        "explorer.mask.cells.max(axis=0), minlength=3).tolist()))",
        known,
    )
    return known
