"""Functions and files that a stroke, a click, a file and an evaluation pass.

    python -m tests.bench.walks            # numbers of functions and files
    python -m tests.bench.walks --list     # the functions, in the order of their calls
    python -m tests.bench.walks file       # one of stroke, click, file, evaluation

A file is one of NWB with one plane, until the responses of a window are a tensor. An
evaluation is `evaluate("last", "demo", "test/causal_response_25")` of four windows, until its
table.

For a stroke and a click on a neuron, the demo is open in napari's layers, with the panel
*Traces* beside them and the model in its process. A way has several stations, such as "new
mask". A function is *on the way* if it is running when a station is reached. The field is
drawn beside the way to the trace; its functions are counted apart. With the functions that
those call directly, it is what somebody *reads* who follows the way; of these, properties do
not count, nor functions of the rooms that hold values (data, masks, metrics).
"""

import argparse
import inspect
import logging
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType, SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("omnimouse_app/", "widgets/omnimouse_widgets/", "model/omnimouse_model/")
VALUES = tuple(f"model/omnimouse_model/{room}/" for room in ("data", "masks", "metrics"))
CONTROLLER = "model/omnimouse_model/live/controller.py"
STATIONS = {
    "neurons under the pointer": ("neurons_under", "neurons_at", "neuron_on_click"),
    "new mask": ("Mask.paint",),
    "undo step": ("mask_delta", "is_same"),
    "request sent": ("Engine.submit", "Engine.start"),
    "message to the process of the model": ("ProcessLink.send",),
    "prediction received": ("ProcessLink.receive",),
    "scores of neurons": ("window_scores",),
    "result on screen": ("Results.take_selected", "apply_stage"),
    "trace drawn": ("trace_rows", "TraceStack.set_rows", "_placed_row"),
}
"""Station -> names of the functions that it consists of."""
FIELD = "field drawn"
STATIONS[FIELD] = ("core_and_rim", "LabelColours.show")
FILE_STATIONS: dict[str, tuple[str, ...]] = {
    "file open": ("NwbFile.scan",),
    "series chosen": ("choose_series",),
    "clock": ("NwbFile.stored_clock",),
    "neurons": ("read_units",),
    "responses": ("Signal.of_rows",),
    "statistics": ("complete_statistics",),
    "session checked": ("finalise",),
    "samples of the window": ("Hdf5Rows.read", "Hdf5Rows.pick"),
    "tensor": ("responses_on",),
}
EVALUATION_STATIONS: dict[str, tuple[str, ...]] = {
    "windows of the part": ("scored_starts",),
    "fit of the predictor": ("NaivePredictor.prepare",),
    "prediction": ("NaivePredictor.decode",),
    "sums": ("RunningScore.add",),
    "score": ("session_score",),
    "interval": ("jackknife",),
    "table": ("Scores.rows",),
}


@dataclass(slots=True)
class Walk:
    """Functions of this project on a way, and all that ran, by order of the first call."""

    stations: dict[str, tuple[str, ...]]
    on_way: dict[tuple[str, str], str] = field(default_factory=dict)
    """(file, name) -> the first station at which the function was running."""
    called: dict[tuple[str, str], int] = field(default_factory=dict)
    """(file, name) -> number of calls."""
    callees: dict[tuple[str, str], set[tuple[str, str]]] = field(default_factory=dict)
    """(file, name) -> functions that it called directly."""

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        """Note a call; a profile function of `sys.setprofile`."""
        place = _place(frame) if event == "call" else None
        if place is None:
            return
        self.called[place] = self.called.get(place, 0) + 1
        caller = frame.f_back and _place(frame.f_back)
        if caller is not None:
            self.callees.setdefault(caller, set()).add(place)
        station = next((name for name, one in self.stations.items() if place[1] in one), None)
        if station is not None:
            for passed in reversed([*_stack(frame)]):
                self.on_way.setdefault(passed, station)

    def read(self) -> set[tuple[str, str]]:
        """Return the functions on the way, and those that they call directly."""
        called = {place for one in self.on_way for place in self.callees.get(one, ())}
        return {*self.on_way, *(one for one in called if _is_step(*one))}

    @property
    def n_controller_calls(self) -> int:
        """Number of calls of functions of the controller's file."""
        return sum(n for (file, _), n in self.called.items() if file == CONTROLLER)


def _stack(frame: FrameType | None) -> Iterator[tuple[str, str]]:
    """Yield the functions of this project that are running, the innermost first."""
    while frame is not None:
        place = _place(frame)
        if place is not None:
            yield place
        frame = frame.f_back


def _place(frame: FrameType) -> tuple[str, str] | None:
    """Return file and name of a function of this project, None for others.

    Comprehensions, lambdas and inner functions are part of the function around them.
    """
    file = frame.f_code.co_filename.removeprefix(f"{ROOT}/")
    # The imitated hand is no part of the program that it drives.
    if not file.startswith(PACKAGES) or "/tour/" in file:
        return None
    return file, frame.f_code.co_qualname.partition(".<locals>")[0]


def _is_step(file: str, name: str) -> bool:
    """Whether a function is no property, and does not only read a value."""
    if file.startswith(VALUES):
        return False
    module = file.removeprefix("widgets/").removeprefix("model/").removesuffix(".py")
    found: Any = sys.modules[module.replace("/", ".")]
    for part in name.split("."):
        found = inspect.getattr_static(found, part, None)
    return not isinstance(found, property)


@contextmanager
def recorded(stations: dict[str, tuple[str, ...]]) -> Iterator[Walk]:
    """Record the calls of this thread, and of threads that `threading.setprofile` knows."""
    walk = Walk(stations)
    _CURRENT.append(walk)
    sys.setprofile(_note)
    try:
        yield walk
    finally:
        sys.setprofile(None)
        _CURRENT.pop()


_CURRENT: list[Walk] = []


def _note(frame: FrameType, event: str, value: Any) -> None:
    if _CURRENT:
        _CURRENT[-1].note(frame, event, value)


def walk_of_file() -> Walk:
    """Return the way of an NWB file to the tensor of a window's responses."""
    from omnimouse_model.data.open import open_session
    from omnimouse_model.families.omnimouse.tokens import responses_on
    from tests.model.nwb_files import write_nwb

    with TemporaryDirectory() as folder:
        path = write_nwb(Path(folder) / "mouse.nwb")
        with recorded(FILE_STATIONS) as walk:
            responses_on(open_session(path).window(4.0), "cpu")
    return walk


def walk_of_evaluation() -> Walk:
    """Return the way of an evaluation to its table."""
    from omnimouse_model.analysis.evaluate import evaluate

    with recorded(EVALUATION_STATIONS) as walk:
        evaluate("last", "demo", "test/causal_response_25", max_windows=4).to_dataframe()
    return walk


def walks_of_mouse() -> dict[str, Walk]:
    """Return the ways of a stroke and of a click in the demo."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    import numpy as np
    from napari.components import ViewerModel
    from napari.utils.interactions import mouse_press_callbacks, mouse_release_callbacks
    from qtpy.QtCore import QObject
    from qtpy.QtWidgets import QApplication

    from omnimouse_app.field.brush import Brush
    from omnimouse_app.field.layers import FieldLayers
    from omnimouse_app.tour.hand import settle, wait_for
    from omnimouse_model.live.controller import Controller
    from omnimouse_model.simulate.demo import demo_session
    from omnimouse_widgets.qt.panel import make_panel
    from omnimouse_widgets.qt.style.redraw import qt_post

    # napari's fast path to the texture needs a window.
    logging.disable(logging.WARNING)
    application = QApplication.instance() or QApplication([])
    # The engine's thread starts with the first request, and keeps this function.
    threading.setprofile(_note)
    controller, viewer, owner = Controller(post=qt_post()), ViewerModel(), QObject()
    brush = Brush(
        controller.state, controller.editor, controller.selection, controller.planes, viewer
    )
    layers = FieldLayers(
        viewer,
        controller.state,
        controller.results,
        controller.colouring,
        controller.planes,
        brush,
        owner,
    )
    layers.show_session()
    state, results = controller.state, controller.results

    def is_at_rest() -> bool:
        return results.population_freshness == "fresh" and not results.is_awaited

    def use_mouse(neuron: int, *modifiers: str) -> Walk:
        field, layer = layers.field, layers.neurons
        assert field is not None
        assert layer is not None
        place = np.argwhere(field.owner == neuron)[0]
        event = SimpleNamespace(
            type="mouse_press",
            button=1,
            modifiers=modifiers,
            position=tuple(layer.data_to_world(place)),
            pos=(0, 0),
        )
        settle(2.0)  # until the engine has prefetched the next windows
        with recorded(STATIONS) as walk:
            mouse_press_callbacks(layer, event)
            event.type = "mouse_release"
            mouse_release_callbacks(layer, event)
            wait_for(is_at_rest, "the prediction", 120)
            settle(0.1)
        return walk

    try:
        # Scores over the tier and longer spans are work between requests.
        state.scores_tier, state.trace_span = False, "window"
        controller.model.choose("demo")
        controller.loader.open_now(demo_session())
        controller.editor.apply_preset("video_behavior")
        panel = make_panel("views.traces:TracesView", controller)
        panel.resize(500, 500)
        panel.show()
        wait_for(is_at_rest, "the first prediction", 120)
        mask = state.mask
        found = {"stroke": use_mouse(5)}
        assert state.mask is not mask, "no neuron was painted"
        found["click"] = use_mouse(9, "Control")
        assert state.selection == (9,), "no neuron was selected"
        return found
    finally:
        threading.setprofile(None)
        brush.close()
        layers.close()
        controller.close()
        application.processEvents()


def _n_files(functions: Iterable[tuple[str, str]]) -> int:
    return len({file for file, _ in functions})


def main() -> None:
    """Print a table of the ways, and their functions with `--list`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", nargs="?", choices=("stroke", "click", "file", "evaluation"))
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    way, is_list = arguments.way, arguments.list
    found = walks_of_mouse() if way in (None, "stroke", "click") else {}
    if way in (None, "file"):
        found["file"] = walk_of_file()
    if way in (None, "evaluation"):
        found["evaluation"] = walk_of_evaluation()
    print(
        "| way | functions to the end | files | with the field | files | to read | files "
        "| of the controller |"
    )
    print(f"| --- |{' ---: |' * 7}")
    for name, walk in found.items():
        to_trace = [place for place, station in walk.on_way.items() if station != FIELD]
        ways = (to_trace, walk.on_way, walk.read())
        counts = " | ".join(f"{len(way)} | {_n_files(way)}" for way in ways)
        print(f"| {name} | {counts} | {walk.n_controller_calls} calls |")
    for name, walk in found.items() if is_list else ():
        print(f"\n{name}")
        before = ""
        for (file, function), station in walk.on_way.items():
            print("" if station == before else f"  {station}\n", end="")
            print(f"    {file.removeprefix('model/omnimouse_model/')}: {function}")
            before = station
        print("  called directly")
        for file, function in sorted(walk.read() - walk.on_way.keys()):
            print(f"    {file.removeprefix('model/omnimouse_model/')}: {function}")


if __name__ == "__main__":
    main()
