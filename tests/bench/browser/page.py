"""Control of a notebook in the browser: open, run, paint, and query its kernel.

Every wait is for a state of the page or kernel, not for a fixed time. Commands of
JupyterLab are called by their ids instead of through its toolbar; widgets receive real
mouse and key events.
"""

import json
import secrets
import tempfile
from ast import literal_eval
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from omnimouse_model.storage.files import read_bytes
from omnimouse_model.storage.trees import decode_json
from omnimouse_model.storage.write import write_bytes, write_text
from tests.bench.browser.chromium import chromium
from tests.bench.browser.server import NotebookServer, jupyter_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, ViewportSize

WAIT_MS: Final = 120_000
NO_REQUEST_PENDING: Final = (
    "explorer.controller.results.shown_request"
    " == explorer.controller.results.newest_request"
    " and explorer.controller.results.population_freshness != 'running'"
)
"""Expression in the kernel: all results of an explorer have arrived."""
SIZE: Final["ViewportSize"] = {"width": 1500, "height": 1500}

NOTEBOOK_7_ERROR: Final = ("(reading 'schema')", "notebook_core")
"""Parts of an error that Notebook 7 itself raises, also without widgets."""

_READY = """() => {
  const session = globalThis.jupyterapp?.shell?.currentWidget?.sessionContext;
  return session?.isReady && session.session?.kernel?.status === "idle";
}"""
# Collects the events that the widgets report: strokes painted, sent and accepted, and
# plots drawn.
_PROBE = """
globalThis.omnimouseEvents = [];
globalThis.omnimouseProbe = (event, fields) =>
  globalThis.omnimouseEvents.push({ event, at: performance.now(), ...fields });
addEventListener("pointerdown", (event) =>
  omnimouseProbe("pressed", { since: event.timeStamp }), true);
"""
# The promise stays in the page: if it never ends, the test can still time out.
_START = """([id, kind, argument]) => {
  const actions = (globalThis.omnimouseActions ??= {});
  actions[id] = { is_finished: false };
  const app = globalThis.jupyterapp;
  const kernel = () => app.shell.currentWidget.sessionContext.session.kernel;
  const run = {
    command: (id) => app.commands.execute(id),
    restart: () => kernel().restart(),
    execute: (code) => kernel().requestExecute({ code }).done,
    evaluate: async (expression) => {
      const fields = { code: "", silent: true, user_expressions: { x: expression } };
      const reply = await kernel().requestExecute(fields).done;
      return reply.content.user_expressions.x;
    },
  };
  run[kind](argument).then(
    (value) => { actions[id] = { is_finished: true, value: value ?? null }; },
    (error) => { actions[id] = { is_finished: true, error: String(error) }; },
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

    def __init__(self, page: "Page", server: NotebookServer) -> None:
        self.page = page
        self.server = server
        self.name = ""
        self.errors: list[str] = []
        self.console: list[str] = []
        self._n_actions = 0
        page.set_default_timeout(WAIT_MS)
        page.add_init_script(_PROBE)
        page.on("pageerror", lambda error: self._note(f"{error} {error.stack}"))
        page.on("console", lambda line: self.console.append(f"{line.type}: {line.text}"))

    def _note(self, error: str) -> None:
        """Record an error of the page, except the one of Notebook 7.6 itself."""
        if not all(part in error for part in NOTEBOOK_7_ERROR):
            self.errors.append(error)

    # -- notebooks --------------------------------------------------------------------
    def open(self, cells: Sequence[str], front: str = "lab") -> str:
        """Write a notebook of these cells, open it, and return its new name.

        A name used before would get the kernel and the widgets of the earlier notebook.
        """
        name = f"{secrets.token_hex(4)}.ipynb"
        write_text(self.server.folder / name, notebook(cells))
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
    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the kernel, by way of JSON.

        Like a cell, the expression waits for the running cell.
        """
        # The kernel evaluates this as one expression, where a statement such as
        # `import` is not allowed.
        as_json = f"__import__('json').dumps({expression})"
        reply = self.finish(self.start("evaluate", as_json))
        if reply["status"] != "ok":
            raise AssertionError(f"{expression}: {reply['ename']}: {reply['evalue']}")
        # The kernel returns the `repr` of a JSON string.
        return decode_json(literal_eval(reply["data"]["text/plain"]), "the kernel", nan=True)

    def wait_for_kernel(
        self, expression: str, expected: Any, wait_s: float = WAIT_MS / 1000
    ) -> None:
        """Wait until an expression in the kernel has a value."""
        deadline_s = monotonic() + wait_s
        while (value := self.evaluate(expression)) != expected:
            if monotonic() > deadline_s:
                raise AssertionError(f"{expression} is {value}, not {expected}")
            self.page.wait_for_timeout(30)

    # -- the page ---------------------------------------------------------------------
    def start(self, kind: str, argument: str = "") -> str:
        """Start an action and return its id; `finish` returns the result.

        Parameters
        ----------
        kind
            "command" of JupyterLab, "restart" of the kernel, "execute" for code as in
            a cell, or "evaluate" for an expression.
        argument
            The id of the command, the code or the expression.
        """
        self._n_actions += 1
        action = f"{self._n_actions}"
        self.page.evaluate(_START, [action, kind, argument])
        return action

    def finish(self, action: str) -> Any:
        """Wait for an action of `start`, and return its result."""
        self.page.wait_for_function("id => omnimouseActions[id].is_finished", arg=action)
        result = self.page.evaluate("id => omnimouseActions[id]", action)
        if "error" in result:
            raise AssertionError(result["error"])
        return result["value"]

    def is_finished(self, action: str) -> bool:
        """Return True if an action of `start` has ended."""
        return bool(self.page.evaluate("id => omnimouseActions[id].is_finished", action))

    def events(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """Return the events so far of this kind that have these fields."""
        expected = {"event": kind, **fields}.items()
        events = self.page.evaluate("omnimouseEvents")
        return [event for event in events if expected <= event.items()]

    def wait_for_event(self, kind: str, since_ms: float, **fields: Any) -> None:
        """Wait for an event later than a time on the page's clock."""
        self.page.wait_for_function(
            """([expected, since]) => omnimouseEvents.some((event) =>
            event.at > since &&
            Object.entries(expected).every(([key, value]) => event[key] === value))""",
            arg=[{"event": kind, **fields}, since_ms],
        )

    def now_ms(self) -> float:
        """Return the time on the page's clock, in milliseconds."""
        return float(self.page.evaluate("performance.now()"))

    def part(self, name: str) -> "Locator":
        """Return a widget by the name of its class in CSS: painter, raster, video."""
        return self.page.locator(f".omnimouse-{name}")

    def drag(
        self,
        on: "Locator",
        begin: tuple[float, float] = (0.3, 0.5),
        end: tuple[float, float] = (0.6, 0.5),
        steps: int = 20,
    ) -> None:
        """Drag the mouse over an element; points are fractions of its box."""
        with self.dragging(on, begin) as move_to:
            move_to(end, steps)

    @contextmanager
    def dragging(self, on: "Locator", begin: tuple[float, float]) -> "Iterator[Any]":
        """Hold the mouse button during the block; yield a function to move it."""
        on.scroll_into_view_if_needed()
        box = on.bounding_box()
        assert box is not None, "The element is not visible."

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

    def save_logs(self, folder: Path) -> None:
        """Save screenshot, console and server log, to explain a failure."""
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=folder / "page.png")
        lines = [*(f"page error: {error}" for error in self.errors), *self.console]
        write_text(folder / "console.log", "\n".join(lines))
        write_bytes(folder / "server.log", read_bytes(self.server.log, 2**28))


def notebook(cells: Sequence[str]) -> str:
    """Return the text of a notebook file with these code cells."""
    entries: list[dict[str, Any]] = [
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
            "cells": entries,
            "metadata": {"kernelspec": kernel},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )


@contextmanager
def browser_and_server() -> Iterator[tuple["Browser", NotebookServer]]:
    """Run a browser, and a server of an empty folder, for the duration of the block."""
    with (
        tempfile.TemporaryDirectory(prefix="omnimouse-notebooks-") as folder,
        tempfile.TemporaryDirectory(prefix="omnimouse-jupyter-") as scratch,
        chromium() as browser,
        jupyter_server(Path(folder), Path(scratch)) as server,
    ):
        yield browser, server


@contextmanager
def page_in(
    browser: "Browser", server: NotebookServer, *, has_touch: bool = False, scale: float = 1.0
) -> Iterator[NotebookPage]:
    """Open a new page; at the end of the block, close it and end its kernels.

    `scale` is the number of pixels of a screenshot per CSS pixel.
    """
    before = server.kernels()
    # A new context has no cookies or storage of earlier pages.
    context = browser.new_context(viewport=SIZE, has_touch=has_touch, device_scale_factor=scale)
    try:
        yield NotebookPage(context.new_page(), server)
    finally:
        context.close()
        server.end_kernels(before)
