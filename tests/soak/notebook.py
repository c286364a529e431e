"""Random use of the notebook's explorer in a browser with a slow processor.

    python -m tests.soak.notebook --seconds 60 --throttling 6 --seed 3

The page's processor is slowed down by Chromium. Each step is a random action: a stroke,
another window, another tab, other neurons, a reload. Then the tab *Context* or *Scores*
is opened. Its figure must show what the kernel has drawn, within `LIMIT_S` after the
kernel has all results; the longest time without that is printed. Until then a text must
say that the figure is not there yet: empty axes without a text are an error, too.
"""

import argparse
import json
import sys
from time import monotonic
from typing import Final

import numpy as np

from tests.bench.browser.page import NO_REQUEST_PENDING, NotebookPage, browser_and_server, page_in
from tests.browser.explorer import LONGER_TIMEOUT, open_explorer, reload

LIMIT_S: Final = 10.0
EMPTY_LIMIT_S: Final = 2.0
CHARTS: Final = {"Context": "sweep.status", "Scores": "neuron_scores.summary"}
"""Tabs with curves, and the text of each in the kernel, which changes with them."""
_SETTLED: Final = f"{NO_REQUEST_PENDING} and explorer.controller.requests.wait(0)"
_ON_PAGE: Final = """() => [...document.querySelectorAll(".omnimouse-status")]
  .filter((element) => element.offsetParent).map((element) => element.textContent).join(" ")"""


class NotebookSoak:
    """Random actions in one page, whose processor is `rate` times slower."""

    def __init__(self, tab: NotebookPage, rate: float, seed: int) -> None:
        self.tab, self.rate = tab, rate
        self.random = np.random.default_rng(seed)
        self.counts: dict[str, int] = {}
        self.longest_s = dict.fromkeys(CHARTS, 0.0)
        self.longest_empty_s = 0.0
        self.problems: list[str] = []
        self.throttle()

    def throttle(self) -> None:
        """Slow down the page's processor."""
        devtools = self.tab.page.context.new_cdp_session(self.tab.page)
        devtools.send("Emulation.setCPUThrottlingRate", {"rate": self.rate})

    # -- actions ----------------------------------------------------------------------
    def paint(self) -> None:
        """Drag the brush over a random part of the field."""
        begin, end = self.random.uniform(0.2, 0.8, (2, 2)).tolist()
        self.tab.drag(self.tab.part("field").first, begin, end, steps=8)

    def move_window(self) -> None:
        """Move to a random time of the recording."""
        start_s = float(self.random.uniform(0, 600))
        self.tab.evaluate(f"setattr(explorer, 'start_s', {start_s})")

    def select(self) -> None:
        """Select random neurons."""
        neurons = self.random.choice(1000, 4, replace=False).tolist()
        self.tab.evaluate(f"explorer.controller.selection.select({neurons})")

    def open_tab(self, title: str = "") -> None:
        """Open a tab, by default a random one."""
        titles = ("Traces", "Context", "Behaviour", "Neurons", "Scores")
        title = title or str(self.random.choice(titles))
        self.tab.page.get_by_role("tab", name=title, exact=True).last.click()

    def reload(self) -> None:
        """Reload the page."""
        self.tab.save()
        reload(self.tab)
        self.throttle()

    def act(self, name: str) -> None:
        """Make one action, and check a figure."""
        self.counts[name] = self.counts.get(name, 0) + 1
        getattr(self, name)()
        title = str(self.random.choice(list(CHARTS)))
        self.open_tab(title)
        self.check(name, title)

    # -- figures ----------------------------------------------------------------------
    def check(self, action: str, title: str) -> None:
        """Wait until the figure of a tab shows what the kernel has drawn."""
        wanted, empty_s, settled_s = f"explorer.{CHARTS[title]}", None, None
        while True:
            shown: str = self.tab.page.evaluate(_ON_PAGE)
            now_s = monotonic()
            if shown.strip():
                empty_s = None
            else:
                empty_s = now_s if empty_s is None else empty_s
                self.longest_empty_s = max(self.longest_empty_s, now_s - empty_s)
            if settled_s is None and self.tab.evaluate(_SETTLED):
                settled_s = monotonic()
            if settled_s is None:
                continue
            if (expected := self.tab.evaluate(wanted)) in shown:
                self.longest_s[title] = max(self.longest_s[title], monotonic() - settled_s)
                return
            if now_s - settled_s > LIMIT_S:
                self.problems.append(
                    f"{title} after {action}: after {LIMIT_S:g} s the page shows {shown!r}, "
                    f"the kernel has drawn {expected!r}"
                )
                return

    def run(self, seconds: float) -> None:
        """Make random actions for some seconds; at least one of each kind."""
        names = ("paint", "move_window", "select", "open_tab", "reload")
        deadline_s, planned = monotonic() + seconds, [*names]
        while planned or monotonic() < deadline_s:
            name = planned.pop() if planned else str(self.random.choice(names))
            self.act(name)
            longest = {title: round(s, 1) for title, s in self.longest_s.items()}
            print(f"{name}: longest {longest}", flush=True)


def main() -> int:
    """Run the soak; print one line of JSON, return 1 after a problem."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--throttling", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with browser_and_server() as (browser, server), page_in(browser, server) as tab:
        tab.page.add_init_script(LONGER_TIMEOUT)
        open_explorer(tab, model="demo")
        soak = NotebookSoak(tab, options.throttling, options.seed)
        soak.run(options.seconds)
        problems = [*soak.problems, *tab.errors]
    if soak.longest_empty_s > EMPTY_LIMIT_S:
        problems.append(f"{soak.longest_empty_s:.1f} s of empty axes without a text")
    times = {name: round(s, 1) for name, s in soak.longest_s.items()}
    empty_s = round(soak.longest_empty_s, 1)
    print(json.dumps({"actions": soak.counts, "longest_s": times, "empty_s": empty_s}))
    for problem in problems:
        print(problem)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
