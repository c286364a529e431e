"""Laboratory widget: run experiments on the chosen model, and see what they find."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from traitlets import Dict, Enum, Float, Int, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.laboratory_jobs import BARCODES, MAX_REPEATS, NAMES
from omnimouse_widgets import palette
from omnimouse_widgets.drawn import laboratory as text
from omnimouse_widgets.drawn.laboratory_plots import (
    Confusion,
    Curve,
    Image,
    Polar,
    lab_plot,
)
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawing, Part

FORMATS: Final = ("csv", "parquet")
CONSTANTS: Final[dict[str, Any]] = {
    "choices": [[name, label] for label, name in text.choices()],
    "tips": text.TIPS,
    "max_repeats": MAX_REPEATS,
    "colours": {
        "curve": palette.PREDICTED,
        "preferred": palette.CURSOR,
        "true": palette.RECORDED,
        "cycle": palette.cycle_table()[::8].tolist(),
        "shares": palette.viridis_table()[::8].tolist(),
    },
}


class Laboratory(Part):
    """Experiments on the chosen model: choice, run, result of one neuron and of all.

    Attributes
    ----------
    experiment
        Name of the experiment: one of `om.lab.EXPERIMENTS`, a search ("exciting",
        "exciting_video", "inhibiting"), or "barcodes".
    repeats
        Repeats of each stimulus.
    label
        Column of the neuron table that "barcodes" decodes.
    progress
        Progress from 0 to 1; read-only.
    found
        What the experiment found of the population, as text; read-only.
    """

    _esm = script("laboratory")
    _css = style()
    INTERVAL_S = 0.1

    experiment = Enum(list(NAMES), "directions").tag(sync=True)
    repeats = Int(1).tag(sync=True)
    label = Unicode("area").tag(sync=True)
    progress = Float(0.0).tag(sync=True)
    found = Unicode("").tag(sync=True)
    _constants = Dict(CONSTANTS).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._has_image = False
        super().__init__(controller, **traits)
        laboratory, changed = controller.laboratory, controller.laboratory.changed
        # In this order: an experiment brings its usual number of repeats.
        self.bind("experiment", changed, lambda: laboratory.chosen, laboratory.choose)
        self.bind("repeats", changed, lambda: laboratory.repeats, laboratory.set_repeats)
        self.bind("label", changed, lambda: laboratory.label, laboratory.set_label)
        self._link(changed, self._follow)
        self._follow()

    def drawings(self) -> Sequence[Drawing]:
        """Return the drawing functions of the controls and of the result."""
        controller, events = self._controller, self._controller.state.events
        changed = [controller.laboratory.changed]
        results = controller.results
        costs = [results.changed, results.events.learned]
        costs += [events.session, events.predictor_name, events.edits]
        shown = [*changed, events.selection, controller.neuron_info.changed]
        return (
            Drawing(self._draw_controls, [*changed, *costs, events.selection]),
            Drawing(self._draw_result, shown),
            # The frame at the cursor: under a receptive field, or of a found video.
            Drawing(self._draw_image, [events.cursor, events.window]),
        )

    # -- what code may call -----------------------------------------------------------
    @property
    def result(self) -> Any:
        """The result of the chosen experiment, None before it ran."""
        return self._controller.laboratory.results.get(self.experiment)

    def start(self) -> "Laboratory":
        """Start the experiment in the background; see `wait`."""
        self._controller.laboratory.start()
        return self

    def wait(self, timeout_s: float | None = None) -> "Laboratory":
        """Wait until the experiment has ended.

        Raises
        ------
        TimeoutError
            If it takes longer than `timeout_s`; it continues.
        Exception
            If it failed.
        """
        laboratory = self._controller.laboratory
        if not laboratory.wait(timeout_s):
            raise TimeoutError(f"Not done after {timeout_s} s: {laboratory.message}.")
        if laboratory.error is not None:
            raise laboratory.error
        return self

    def stop(self) -> None:
        """Stop the experiment; the next run goes on where it was."""
        self._controller.laboratory.stop()

    # -- from the page ----------------------------------------------------------------
    def on_start(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Start the experiment."""
        self.start()

    def on_stop(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Stop the experiment."""
        self.stop()

    def on_colour(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Colour the neurons by the result."""
        self._controller.set_colour_by("lab")

    def on_what_if(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Show the found input in place of the video, or the video again."""
        if self._shows_picture:
            self._controller.stimulus_edits.put_video()
        else:
            self._controller.show_exciting()

    def on_export(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Send the table, or all files of a search, to the page for download.

        The format of a table is "csv" or "parquet".
        """
        laboratory, ending = self._controller.laboratory, content.get("format", "csv")
        if ending not in FORMATS:
            raise ValueError(f"No format {ending!r}; there are {', '.join(FORMATS)}.")
        with tempfile.TemporaryDirectory() as folder:
            name = self.experiment + ("" if laboratory.search else f".{ending}")
            for path in laboratory.write(Path(folder) / name):
                self.send_now("file", [path.read_bytes()], name=path.name)

    def on_python(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Send the commands that repeat the experiment, for the clipboard."""
        script_text = self._controller.laboratory.as_python()
        self.send_now("python", text=script_text)

    # -- from state to screen ---------------------------------------------------------
    @property
    def _shows_picture(self) -> bool:
        """Whether an input is shown in place of the video."""
        return self._controller.stimulus_edits.get("picture") is not None

    def _follow(self) -> None:
        laboratory = self._controller.laboratory
        self.set_trait("found", text.summary(laboratory))
        if laboratory.is_busy:
            self.set_trait("progress", laboratory.share or 0.0)
        elif self.result is not None:
            self.set_trait("progress", 1.0)

    def _draw_controls(self) -> None:
        laboratory = self._controller.laboratory
        error = laboratory.error
        self.add_if_changed(
            "view",
            explanation=f"{text.explanation(laboratory)} {text.OF_MODEL}",
            cost=text.cost_text(laboratory),
            message=laboratory.message,
            share=laboratory.share,
            is_busy=laboratory.is_busy,
            can_run=not laboratory.problem,
            labels=laboratory.labels if laboratory.chosen == BARCODES else (),
            has_result=self.result is not None,
            is_experiment=laboratory.experiment is not None,
            has_columns=laboratory.result is not None,
            is_search=laboratory.search is not None,
            is_shown=self._shows_picture,
            error="" if error is None else str(error),
        )

    def _draw_image(self) -> None:
        # Nothing else depends on the cursor.
        if self._has_image:
            self._draw_result()

    def _draw_result(self) -> None:
        neuron = text.shown_neuron(self._controller)
        plot = lab_plot(self._controller, neuron)
        self._has_image = isinstance(plot, Image)
        fields: dict[str, Any] = {
            "found": text.summary(self._controller.laboratory),
            "neuron": text.neuron_text(self._controller, neuron),
        }
        if isinstance(plot, Polar):
            angles = {
                "preferred": _known(plot.preferred_deg),
                "true": _known(plot.true_deg),
            }
            self._add_plot("around", (plot.degrees, plot.values), **angles, **fields)
        elif isinstance(plot, Curve):
            curve = (plot.levels, plot.values)
            self._add_plot("curve", curve, label=plot.label, **fields)
        elif isinstance(plot, Image):
            height, width = plot.pixels.shape[:2]
            outline = None if plot.outline is None else plot.outline.tolist()
            has_place = plot.place is not None and np.isfinite(plot.place).all()
            marks = {"place": plot.place if has_place else None, "outline": outline}
            size = {"height": height, "width": width}
            pixels = np.ascontiguousarray(plot.pixels)
            self.add_if_changed("plot", [pixels], kind="image", **size, **marks, **fields)
        elif isinstance(plot, Confusion):
            names = {"label": plot.label, "classes": plot.classes}
            shares = (plot.shares.ravel(),)
            self._add_plot("confusion", shares, **names, **fields)
        else:
            self.add_if_changed("plot", kind="none", text=plot.text, **fields)

    def _add_plot(self, kind: str, values: Sequence[np.ndarray], **fields: Any) -> None:
        buffers = [np.asarray(each, np.float32) for each in values]
        self.add_if_changed("plot", buffers, kind=kind, **fields)

    def __repr__(self) -> str:
        return "Run this cell to experiment on the model."


def _known(value: float | None) -> float | None:
    """Return a number that JSON can hold, None for NaN."""
    return None if value is None or not np.isfinite(value) else value
