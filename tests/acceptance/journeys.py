"""Journeys of a user by mouse and keys in the window, with a picture after each step.

usage: xvfb-run -a -s "-screen 0 1440x900x24" python -m tests.acceptance.journeys OUT

Every action is an event of Qt at the place of a widget, found by what stands on it:
the demo is opened, painted and asked how many V1 neurons predict LM; the laboratory
shows gratings to a twin; a recording that no model knows is opened, fitted, and leads to
the form of a fine-tuning. Look at the pictures. Exits with 1 if a widget is missing or a
text on screen is not the expected one. Takes about 5 minutes on two cores.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QApplication, QComboBox, QLineEdit, QTabBar, QWidget

from omnimouse_app.field.canvas import Canvas
from omnimouse_app.tour.hand import Hand, settle, wait_for
from omnimouse_app.window.docks import OmniMouseDock
from omnimouse_app.window.launch import launch
from omnimouse_model.live.session_loader import SAMPLES
from omnimouse_widgets.views.laboratory import summary
from tests.acceptance.scripts import TIMEOUT_S

KEYBOARD: Any = QTest
"""PyQt's stubs declare its static functions as methods."""


class User:
    """Mouse and keys in a window; writes pictures of the whole screen."""

    def __init__(self, dock: OmniMouseDock, out: Path) -> None:
        self.dock, self._out, self._n_pictures = dock, out, 0

    def press(self, text: str) -> None:
        """Press the button with this text."""
        wait_for(lambda: bool(self._buttons(text)), f"the button {text!r}", TIMEOUT_S)
        self._click(self._buttons(text)[0])

    def tab(self, text: str) -> None:
        """Press the tab with this text."""
        for bar in self._visible(QTabBar):
            for k in range(bar.count()):
                if bar.tabText(k) == text:
                    Hand(bar).click((bar.tabRect(k).center().x(), bar.tabRect(k).center().y()))
                    return settle(0.3)
        raise LookupError(f"no tab {text!r}")

    def choose(self, panel: str, number: int, text: str) -> None:
        """Choose the entry of a menu of a panel that begins so, with the arrow keys."""
        box = self._visible(QComboBox, panel)[number]
        wanted = box.findText(text, Qt.MatchFlag.MatchStartsWith)
        expect(wanted >= 0, f"the menu has no entry {text!r}")
        box.setFocus()
        while box.currentIndex() != wanted:
            is_below = wanted > box.currentIndex()
            KEYBOARD.keyClick(box, Qt.Key.Key_Down if is_below else Qt.Key.Key_Up)
            settle(0.05)

    def write(self, panel: str, before: str, text: str) -> None:
        """Replace the text of a line of a panel."""
        (line,) = [one for one in self._visible(QLineEdit, panel) if one.text() == before]
        self._click(line)
        line.selectAll()
        KEYBOARD.keyClicks(line, text)
        settle(0.2)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something on screen."""
        wait_for(condition, what, TIMEOUT_S)
        settle(0.5)

    def see(self, name: str) -> None:
        """Save a picture of the screen."""
        settle(0.5)
        self._n_pictures += 1
        screen: Any = QApplication.primaryScreen()
        screen.grabWindow(0).save(str(self._out / f"{self._n_pictures:02d}-{name}.png"))
        print(name, flush=True)

    def _click(self, widget: QWidget) -> None:
        Hand(widget).click((widget.width() / 2, widget.height() / 2))
        settle(0.3)

    def _buttons(self, text: str) -> list[QAbstractButton]:
        shown = self._visible(QAbstractButton)
        return [one for one in shown if one.text().replace("&", "") == text and one.isEnabled()]

    def _visible(self, kind: type[Any], panel: str = "") -> list[Any]:
        inside = self.dock.panels[panel].findChildren(kind) if panel else QApplication.allWidgets()
        return [one for one in inside if isinstance(one, kind) and one.isVisible()]


def expect(is_so: bool, what: str) -> None:
    """Raise `AssertionError` if the screen is not as expected."""
    if not is_so:
        raise AssertionError(what)


def paint_and_sweep(user: User) -> None:
    """Paint visible neurons, and ask how many V1 neurons predict LM."""
    dock, controller = user.dock, user.dock.controller
    user.wait(lambda: not controller.results.is_awaited, "the prediction")
    user.see("demo")
    canvas = Canvas(dock.viewer, dock.main_window)
    hand = Hand(canvas.widget)
    hand.key(Qt.Key.Key_1)
    middle = np.array([canvas.widget.width(), canvas.widget.height()]) / 2
    half = np.array([150, 60])
    hand.drag(np.linspace(middle - half, middle + half, 30))
    user.wait(lambda: not controller.results.is_awaited, "the prediction")
    mask = controller.state.mask
    expect(mask is not None and bool(mask.visible.any()), "the stroke shows no neuron")
    user.see("painted")
    user.tab("Context")
    user.press("Sweep…")
    user.choose("Context", 0, "LM")
    user.choose("Context", 1, "V1")
    user.write("Context", "0, 10, 15, 20, 25", "0")
    user.see("sweep form")
    user.press("Start")
    user.wait(lambda: not controller.sweeps.is_busy, "the sweep")
    (entry,) = controller.sweeps.entries
    expect(entry.name.startswith("LM from V1"), f"the sweep is called {entry.name!r}")
    user.press("Live")
    user.see("LM from V1")
    user.tab("Scores")
    user.see("scores")


def laboratory(user: User) -> None:
    """Show gratings to the twin, and colour the neurons by the result."""
    controller = user.dock.controller
    controller.model.choose("twin-demo")
    user.wait(lambda: not controller.results.is_awaited, "the twin")
    user.tab("Laboratory")
    user.see("laboratory")
    user.press("Run")
    user.wait(lambda: not controller.laboratory.is_busy, "the gratings")
    expect("OSI" in summary(controller.laboratory), summary(controller.laboratory))
    user.see("directions")


def own_recording(user: User) -> None:
    """Open a recording that no model knows, and go on to its fine-tuning."""
    controller = user.dock.controller
    user.tab("OmniMouse")
    controller.model.choose("demo", is_default=True)
    controller.loader.open(SAMPLES["unseen"])  # a file dialog is not part of the window
    user.wait(lambda: not controller.loader.is_busy, "the recording")
    user.see("unknown recording")
    user.wait(lambda: not controller.results.is_awaited, "the fit")
    expect(controller.state.predictor_name == "linear-gaussian", controller.state.predictor_name)
    user.see("fitted")
    user.press("Fine-tune demo…")
    user.wait(lambda: bool(user._buttons("Start")), "the form")
    user.see("fine-tuning")


def main() -> int:
    """Do the journeys, one after the other, in one window."""
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        os.environ["OMNIMOUSE_CONFIG"] = folder  # a user who starts for the first time
        dock = launch("demo")
        try:
            user = User(dock, out)
            for journey in (paint_and_sweep, laboratory, own_recording):
                journey(user)
        finally:
            dock.close_viewer()
    return 0


if __name__ == "__main__":
    sys.exit(main())
