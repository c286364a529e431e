"""Control of a notebook in the browser: open, run, paint, and query its kernel.

Every wait is for a state of the page or kernel, not for a fixed time. Commands of
JupyterLab are called by their ids instead of through its toolbar; widgets receive real
mouse and key events.
"""

import json
import secrets
from ast import literal_eval
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from omnimouse_app.browser.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, ViewportSize

WAIT_MS: Final = 120_000
SIZE: Final["ViewportSize"] = {"width": 1500, "height": 1500}

NOTEBOOK_7_S_OWN: Final = ("(reading 'schema')", "notebook_core")
"""Parts of an error that Notebook 7 itself raises, also without widgets."""

_READY = """() => {
  const session = globalThis.jupyterapp?.shell?.currentWidget?.sessionContext;
  return session?.isReady && session.session?.kernel?.status === "idle";
}"""
# Collects the events that the widgets report: strokes painted, sent and accepted, and
# plots drawn.
_PROBE = """
globalThis.omnimouseTold = [];
globalThis.omnimouseProbe = (what, fields) =>
  globalThis.omnimouseTold.push({ what, at: performance.now(), ...fields });
addEventListener("pointerdown", (event) =>
  omnimouseProbe("pressed", { since: event.timeStamp }), true);
"""
# The promise stays in the page: if it never ends, the test can still time out.
_START = """([name, what, argument]) => {
  const kept = (globalThis.omnimouseKept ??= {});
  kept[name] = { over: false };
  const app = globalThis.jupyterapp;
  const kernel = () => app.shell.currentWidget.sessionContext.session.kernel;
  const doing = {
    command: (id) => app.commands.execute(id),
    restart: () => kernel().restart(),
    execute: (code) => kernel().requestExecute({ code }).done,
    ask: async (expression) => {
      const asked = { code: "", silent: true, user_expressions: { x: expression } };
      const reply = await kernel().requestExecute(asked).done;
      return reply.content.user_expressions.x;
    },
  };
  doing[what](argument).then(
    (value) => { kept[name] = { over: true, value: value ?? null }; },
    (error) => { kept[name] = { over: true, error: String(error) }; },
  );
}"""


class NotebookPage:
    """One notebook, open in its own page.

    Parameters
    ----------
    page
        A new page of the browser.
    server
        The server of the notebook.
    """

    def __init__(self, page: "Page", server: Server) -> None:
        self.page = page
        self.server = server
        self.name = ""
        self.errors: list[str] = []
        self.console: list[str] = []
        self._kept = 0
        page.set_default_timeout(WAIT_MS)
        page.add_init_script(_PROBE)
        page.on("pageerror", lambda error: self._note(f"{error} {error.stack}"))
        page.on(
            "console", lambda line: self.console.append(f"{line.type}: {line.text}")
        )

    def _note(self, error: str) -> None:
        """Record an error of the page, except the one of Notebook 7.6 itself."""
        if not all(words in error for words in NOTEBOOK_7_S_OWN):
            self.errors.append(error)

    # -- notebooks --------------------------------------------------------------------
    def open(self, cells: Sequence[str], front: str = "lab") -> str:
        """Write a notebook of these cells, open it, and return its new name.

        A name used before would get the kernel and the widgets of the earlier notebook.
        """
        name = f"{secrets.token_hex(4)}.ipynb"
        (self.server.folder / name).write_text(notebook(cells), encoding="utf-8")
        self.visit(name, front)
        return name

    def visit(self, name: str, front: str = "lab") -> None:
        """Open an existing notebook, and wait for its kernel."""
        address = {
            "lab": self.server.lab,
            "notebook": self.server.notebook,
            "voila": self.server.voila,
        }[front]
        self.name = name
        self.page.goto(address(name), wait_until="domcontentloaded")
        # voila has no notebook panel whose kernel could be checked.
        if front != "voila":
            self.page.wait_for_function(_READY)

    def run_all(self) -> None:
        """Run every cell, and wait for the last one."""
        self.finish(self.start("command", "notebook:run-all-cells"))

    def save(self) -> None:
        """Save the notebook."""
        self.finish(self.start("command", "docmanager:save"))

    def restart(self) -> None:
        """Restart the kernel without a confirmation dialog."""
        self.finish(self.start("restart"))
        self.page.wait_for_function(_READY)

    # -- the kernel -------------------------------------------------------------------
    def ask(self, expression: str) -> Any:
        """Return the value of an expression in the kernel, by way of JSON.

        Like a cell, the expression waits for the running cell.
        """
        # The kernel evaluates this as one expression, where a statement such as
        # `import` is not allowed.
        asked = f"__import__('json').dumps({expression})"
        answer = self.finish(self.start("ask", asked))
        if answer["status"] != "ok":
            raise AssertionError(f"{expression}: {answer['ename']}: {answer['evalue']}")
        # The kernel returns the `repr` of a JSON string.
        return json.loads(literal_eval(answer["data"]["text/plain"]))

    def wait_for_kernel(self, expression: str, expected: Any) -> None:
        """Wait until an expression in the kernel has a value."""
        late = monotonic() + WAIT_MS / 1000
        while (value := self.ask(expression)) != expected:
            if monotonic() > late:
                raise AssertionError(f"{expression} is {value}, not {expected}")
            self.page.wait_for_timeout(30)

    # -- the page ---------------------------------------------------------------------
    def start(self, what: str, argument: str = "") -> str:
        """Start an action and return its id; `finish` returns the result.

        Parameters
        ----------
        what
            "command" of JupyterLab, "restart" of the kernel, "execute" of code as in a
            cell, or "ask" for an expression.
        argument
            The id of the command, the code or the expression.
        """
        self._kept += 1
        name = f"{self._kept}"
        self.page.evaluate(_START, [name, what, argument])
        return name

    def finish(self, name: str) -> Any:
        """Wait for an action of `start`, and return its result."""
        over = "name => globalThis.omnimouseKept[name].over"
        self.page.wait_for_function(over, arg=name)
        kept = self.page.evaluate("name => globalThis.omnimouseKept[name]", name)
        if "error" in kept:
            raise AssertionError(kept["error"])
        return kept["value"]

    def is_over(self, name: str) -> bool:
        """Return True if an action of `start` has ended."""
        return bool(self.page.evaluate("name => omnimouseKept[name].over", name))

    def told(self, what: str, **fields: Any) -> list[dict[str, Any]]:
        """Return the events so far that have this name and these fields."""
        wanted = {"what": what, **fields}.items()
        told = self.page.evaluate("omnimouseTold")
        return [one for one in told if wanted <= one.items()]

    def wait_until_told(self, what: str, since: float, **fields: Any) -> None:
        """Wait for an event later than a time on the page's clock."""
        self.page.wait_for_function(
            """([wanted, since]) => omnimouseTold.some((one) => one.at > since &&
            Object.entries(wanted).every(([key, value]) => one[key] === value))""",
            arg=[{"what": what, **fields}, since],
        )

    def now(self) -> float:
        """Return the time on the page's clock, in milliseconds."""
        return float(self.page.evaluate("performance.now()"))

    def part(self, name: str) -> "Locator":
        """Return a part of the instrument by its name: painter, raster, video."""
        return self.page.locator(f".omnimouse-{name}")

    def drag(
        self,
        on: "Locator",
        begin: tuple[float, float] = (0.3, 0.5),
        end: tuple[float, float] = (0.6, 0.5),
        steps: int = 20,
    ) -> None:
        """Drag the mouse over an element; points are fractions of its box."""
        with self.dragging(on, begin) as to:
            to(end, steps)

    @contextmanager
    def dragging(self, on: "Locator", begin: tuple[float, float]) -> "Iterator[Any]":
        """Hold the mouse button during the block; yield a function to move it."""
        on.scroll_into_view_if_needed()
        box = on.bounding_box()
        assert box is not None, "The element is not to be seen."

        def at(point: tuple[float, float]) -> tuple[float, float]:
            return (
                box["x"] + point[0] * box["width"],
                box["y"] + point[1] * box["height"],
            )

        mouse = self.page.mouse
        mouse.move(*at(begin))
        mouse.down()
        try:
            yield lambda point, steps=20: mouse.move(*at(point), steps=steps)
        finally:
            mouse.up()

    def keep(self, folder: Path) -> None:
        """Save screenshot, console and server log, to explain a failure."""
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=folder / "page.png")
        said = [*(f"page error: {error}" for error in self.errors), *self.console]
        (folder / "console.log").write_text("\n".join(said), encoding="utf-8")
        (folder / "server.log").write_bytes(self.server.log.read_bytes())


def notebook(cells: Sequence[str]) -> str:
    """Return the text of a notebook file with these code cells."""
    made: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(cells)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return json.dumps(
        {
            "cells": made,
            "metadata": {"kernelspec": kernel},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )


@contextmanager
def page_in(
    browser: "Browser", server: Server, *, has_touch: bool = False
) -> Iterator[NotebookPage]:
    """Open a new page; at the end of the block, close it and end its kernels."""
    before = server.kernels()
    # A new context has no cookies or storage of earlier pages.
    context = browser.new_context(viewport=SIZE, has_touch=has_touch)
    try:
        yield NotebookPage(context.new_page(), server)
    finally:
        context.close()
        server.end_kernels(before)
