"""Random clicks, strokes, keys, opens, closes and resizes in a real window.

    python -m tests.soak.window --seconds 120 [--windows 4] [--seed 3] [--neurons 10000]

The run opens several napari windows, one after the other. In each it makes random user
actions with real events, dialogs included, then compares displayed numbers with
computed ones, and closes the window. Python, Qt and napari must not report an error on
any thread. Afterwards no object, widget, thread, process or open file of this project
may remain, and memory must not grow from window to window, nor by more than 64 MiB
after the first ten minutes. A release runs one hour, in twelve windows.
"""

import argparse
import faulthandler
import logging
import math
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing import active_children
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import zarr

from omnimouse_app.field.canvas import Canvas, core_places
from omnimouse_app.tour.hand import Hand, settle, wait_for
from omnimouse_app.window.docks import OmniMouseDock, open_instrument
from omnimouse_app.window.memory import share_heap
from omnimouse_model.inference.client import WorkerPredictor
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import TARGET, VISIBLE, scored_cells
from omnimouse_model.predict.predictor import Predictor
from omnimouse_widgets.qt.style.redraw import qt_post
from omnimouse_widgets.views.registry import docks
from tests.app.windows import is_answered, running_names
from tests.small_sessions import simulate_mouse, write_session
from tests.soak.edits import check_numbers
from tests.soak.hand import SIZES, Monkey, extent
from tests.soak.predictors import PREDICTORS
from tests.soak.resources import (
    Faults,
    Resources,
    check_growth,
    check_leaks,
    check_memory,
    count_resources,
)

WINDOW_S = 30.0
PATIENCE_S = 90.0
NEURONS = 150
WITH_TORCH = ("omnimouse_model.lab.barcode_decoding", "omnimouse_model.lab.exciting_search")
"""Experiments of the laboratory whose first run imports PyTorch, about 190 MiB."""


# -- windows --------------------------------------------------------------------------
def load(name: str, device: str) -> Predictor:
    """Load a predictor of the soak test in a worker process, or one of the library."""
    return WorkerPredictor(PREDICTORS.get(name, name), device)


@contextmanager
def open_viewer(recordings: tuple[Path, ...]) -> Iterator[OmniMouseDock]:
    """Open a viewer with the plugin, and close it at the end."""
    import napari

    controller = Controller(post=qt_post(), load=load, session_file=True)
    controller.model.choose("slow")
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZES[0])
    dock = open_instrument(viewer, controller)
    controller.loader.open_now(recordings[0])
    wait_for(lambda: is_answered(dock), "the first result", PATIENCE_S)
    try:
        yield dock
    finally:
        dock.close_viewer()
        settle(0.1)
        # A step of a thread, which holds the window, can take seconds on a busy machine.
        wait_for(
            lambda: not (running_names() or active_children()),
            "the end of workers and threads",
            PATIENCE_S,
        )


def check_a_stroke(dock: OmniMouseDock, recording: Path) -> None:
    """Check that a stroke after the random actions gives the correct prediction."""
    controller = dock.controller
    wait_for(lambda: not controller.loader.is_busy, "the recording", PATIENCE_S)
    dock.main_window.resize(*SIZES[0])
    dock.viewer.dims.ndisplay = 2
    if dock.panels["Stimulus"].view.playback.is_playing:
        dock.play()
    controller.loader.open_now(recording)
    controller.model.choose("slow")
    controller.model.choose_baseline("")
    controller.editor.apply_preset("video_behavior")
    controller.selection.select([3, 14, 15])
    settle(0.5)
    dock.instrument.layers.show_whole_field()
    dock.instrument.brush.tool, dock.instrument.brush.radius = "brush", 14.0
    controller.editor.set_brush(TARGET)
    controller.editor.set_active_span(0, 60)
    controller.editor.set_brush(VISIBLE)
    controller.editor.set_active_span(0, 60)
    wait_for(lambda: is_answered(dock), "the result", PATIENCE_S)
    before = controller.state.mask
    canvas = Canvas(dock.viewer, dock.main_window)
    places = canvas.places(core_places(dock.instrument.layers.field))
    is_visible = ((places > 0) & (places < extent(canvas.widget))).all(axis=1)
    Hand(canvas.widget).drag(places[is_visible][:3])
    mask, window = controller.state.mask, controller.state.window
    moves: list[str] = []
    controller.state.events.window.connect(lambda: moves.append("".join(traceback.format_stack())))
    assert mask != before, (
        f"A stroke across the field paints nothing: {dock.instrument.brush.tool=} "
        f"{dock.viewer.layers.selection.active=} {canvas.widget.size()=} "
        f"{dock.viewer.scene.camera=} {controller.state.in_space=}"
    )
    wait_for(lambda: is_answered(dock), "the result", PATIENCE_S)
    assert not moves, f"The window has moved:\n{moves[0]}"
    targets = np.flatnonzero(scored_cells(mask).any(axis=0))
    check_numbers(controller, window, mask, targets)


# -- the run --------------------------------------------------------------------------
@dataclass
class WindowSoak:
    """Run of several windows, one after the other."""

    folder: Path
    seed: int
    lives: int
    seconds: float
    acts: int
    neurons: int
    faults: Faults = field(default_factory=Faults)
    counts: Counter[str] = field(default_factory=Counter)
    resources: list[Resources] = field(default_factory=list)
    ends_s: list[float] = field(default_factory=list)

    def run(self) -> dict[str, Any]:
        """Run all windows; raise AssertionError for an error or a leak."""
        start = time.monotonic()
        recordings = write_recordings(self.folder, self.neurons)
        # Otherwise the constants of a panel, and the memory of a library, that a later
        # window is the first to use count as left.
        for _, dock in docks():
            resolve_name(f"omnimouse_widgets.{dock.panel}")
        for module in WITH_TORCH:
            import_module(module)
        zarr.save(self.folder / "first.zarr", np.zeros(1))
        with scratch_home(self.folder), self.faults.recording():
            for number in range(self.lives):
                self.run_window(number, recordings)
                self.resources.append(count_resources())
                self.ends_s.append(time.monotonic() - start)
                self.faults.check()
                n_acts, mib_now = sum(self.counts.values()), self.resources[-1].mib
                done = f"{self.ends_s[-1]:.0f} s, {n_acts} acts, {mib_now:.0f} MiB"
                print(f"window {number}: {done}", flush=True)
        mib = [r.mib for r in self.resources]
        check_leaks(self.resources[0], self.resources[-1])
        check_memory(mib)
        check_growth(self.ends_s, mib)
        return {
            "seed": self.seed,
            "seconds": round(time.monotonic() - start, 1),
            "lives": self.lives,
            "acts": sum(self.counts.values()),
            "mib": [round(each) for each in mib],
            "files": [len(r.files) for r in self.resources],
            "threads": [len(r.threads) for r in self.resources],
        }

    def run_window(self, number: int, recordings: tuple[Path, ...]) -> None:
        """Open one window, make random actions, check a stroke, and close it."""
        with open_viewer(recordings[:1]) as dock:
            monkey = Monkey(
                dock,
                recordings,
                (*PREDICTORS, "mean", "ridge", "no such model"),
                np.random.default_rng([self.seed, number]),
                np.random.default_rng([self.seed, number, 1]),
                self.counts,
                self.faults.actions,
            )
            deadline = time.monotonic() + self.seconds
            for _ in range(self.acts):
                if time.monotonic() > deadline:
                    break
                monkey.act()
                self.faults.check()
                # The damaged recording is refused; any other error is one of ours.
                error = dock.controller.loader.error
                assert error is None or isinstance(error, (OSError, ValueError)), repr(error)
            # The time limit is that of one action, not of what follows the last one.
            faulthandler.cancel_dump_traceback_later()
            monkey.rest()
            try:
                check_a_stroke(dock, recordings[0])
            except AssertionError as error:
                error.add_note("\n  ".join(["after", *self.faults.actions]))
                raise
        self.faults.check()


def write_recordings(folder: Path, neurons: int) -> tuple[Path, ...]:
    """Write a recording with positions, a small one without, and a damaged one."""
    paths = (folder / "small", folder / "other", folder / "broken")
    if not paths[0].exists():
        simulate_mouse(paths[0], neurons, 1.1, times=2)
        write_session(paths[1], 60)
        write_session(paths[2], 20)
        (paths[2] / "responses" / "meta.yml").write_text("rate: [")
    return paths


@contextmanager
def scratch_home(folder: Path) -> Iterator[None]:
    """Use a temporary folder for the files that dialogs save."""
    (folder / "home").mkdir(exist_ok=True)
    before = Path.cwd()
    os.chdir(folder / "home")
    try:
        yield
    finally:
        os.chdir(before)


def soak_window(
    folder: Path,
    seed: int,
    lives: int,
    seconds: float = math.inf,
    acts: int = sys.maxsize,
    neurons: int = NEURONS,
) -> dict[str, Any]:
    """Run windows with a maximum number of actions or seconds each; see the module."""
    return WindowSoak(folder, seed, lives, seconds, acts, neurons).run()


def main() -> int:
    """Run windows; use a virtual display if there is no other."""
    from omnimouse_app.window.screen import has_display, scratch_settings, virtual_display

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120.0, help="of all windows")
    parser.add_argument("--windows", type=int, help=f"default: one in {WINDOW_S:g} s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--neurons", type=int, default=NEURONS, help="of the first recording")
    options = parser.parse_args()
    if not has_display():
        command = [sys.executable, "-m", "tests.soak.window", *sys.argv[1:]]
        with virtual_display() as screen:
            return subprocess.call(command, env=os.environ | screen)
    logging.disable(logging.WARNING)
    faulthandler.enable()  # a crash of Qt or of a driver names the Python calls
    lives = options.windows or max(3, round(options.seconds / WINDOW_S))
    share_heap()  # as at a start from the command line
    with scratch_settings(), tempfile.TemporaryDirectory() as folder:
        from napari.qt import get_qapp

        get_qapp()
        try:
            seconds = options.seconds / lives
            result = soak_window(
                Path(folder), options.seed, lives, seconds, neurons=options.neurons
            )
            print(result)
        except AssertionError as error:
            print(f"seed {options.seed}:", flush=True)
            traceback.print_exception(error, file=sys.stdout)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
