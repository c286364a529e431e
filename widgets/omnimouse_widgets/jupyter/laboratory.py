"""Laboratory widget: run experiments on the chosen model, and see what they find."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from traitlets import Dict, Enum, Float, Int, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.laboratory import MAX_REPEATS, NAMES
from omnimouse_widgets import palette
from omnimouse_widgets.drawn import laboratory as text
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawing, Part

CONSTANTS: Final[dict[str, Any]] = {
    "choices": [[name, label] for label, name in text.choices()],
    "tips": text.TIPS,
    "max_repeats": MAX_REPEATS,
    "colours": {
        "curve": palette.PREDICTED,
        "preferred": palette.CURSOR,
        "true": palette.RECORDED,
        "cycle": palette.cycle_table()[::8].tolist(),
    },
}


class Laboratory(Part):
    """Experiments on the chosen model: choice, run, result of one neuron and of all.

    Attributes
    ----------
    experiment
        Name of the experiment: one of `om.lab.EXPERIMENTS`, or "exciting".
    repeats
        Repeats of each stimulus.
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
    progress = Float(0.0).tag(sync=True)
    found = Unicode("").tag(sync=True)
    _constants = Dict(CONSTANTS).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        super().__init__(controller, **traits)
        laboratory, changed = controller.laboratory, controller.laboratory.changed
        # In this order: an experiment brings its usual number of repeats.
        self.bind("experiment", changed, lambda: laboratory.chosen, laboratory.choose)
        self.bind(
            "repeats", changed, lambda: laboratory.repeats, laboratory.set_repeats
        )
        self._link(changed, self._follow)
        self._follow()

    def drawings(self) -> Sequence[Drawing]:
        """Return the drawing functions of the controls and of the result."""
        controller, events = self._controller, self._controller.state.events
        changed = [controller.laboratory.changed]
        costs = [controller.results.changed, events.session, events.predictor_name]
        shown = [*changed, events.selection, controller.neuron_info.changed]
        return (
            Drawing(self._draw_controls, [*changed, *costs, events.selection]),
            Drawing(self._draw_result, shown),
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

    def on_export(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Send the table, or the exciting image, to the page for download."""
        laboratory = self._controller.laboratory
        with tempfile.TemporaryDirectory() as folder:
            name = f"{self.experiment}.csv" if laboratory.experiment else "images"
            written = laboratory.write(Path(folder) / name)
            content = written[0].read_bytes()
        self.send_now("file", [content], name=written[0].name)

    def on_python(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Send the commands that repeat the experiment, for the clipboard."""
        script_text = self._controller.laboratory.as_python()
        self.send_now("python", text=script_text)

    # -- from state to screen ---------------------------------------------------------
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
            has_repeats=laboratory.experiment is not None,
            has_result=self.result is not None,
            has_columns=laboratory.result is not None,
            error="" if error is None else str(error),
        )

    def _draw_result(self) -> None:
        laboratory = self._controller.laboratory
        neuron = text.shown_neuron(self._controller)
        fields: dict[str, Any] = {
            "found": text.summary(laboratory),
            "neuron": text.neuron_text(self._controller, neuron),
        }
        result, exciting = laboratory.result, laboratory.exciting
        at = text.column_of(result, neuron)
        if laboratory.experiment is None and exciting is not None:
            frame = np.repeat(exciting.videos[0, 0][..., None], 3, axis=2)
            self._add_image(frame, None, fields)
        elif result is None or at is None:
            missing = text.NOT_RUN if result is None else text.NO_NEURON
            self.add_message("plot", kind="none", text=missing, **fields)
        elif result.findings.average is not None:
            columns = result.findings.columns
            place = [float(columns["column_px"][at]), float(columns["row_px"][at])]
            self._add_image(_coloured(result.findings.average[at]), place, fields)
        elif result.findings.levels is not None and result.findings.curves is not None:
            columns = laboratory.columns(result)
            curve = (result.findings.levels, result.findings.curves[at])
            buffers = [np.asarray(values, np.float32) for values in curve]
            angles = {
                name: float(columns[column][at]) if column in columns else None
                for name, column in (
                    ("preferred", "preferred_deg"),
                    ("true", "true_preferred_deg"),
                )
            }
            kind = "curve" if result.experiment.period is None else "around"
            self.add_message(
                "plot",
                buffers,
                kind=kind,
                label=result.experiment.label,
                unit=result.experiment.unit,
                **angles,
                **fields,
            )

    def _add_image(
        self, pixels: np.ndarray, place: list[float] | None, fields: dict[str, Any]
    ) -> None:
        """Add an image uint8 (height, width, 3), with a mark at (x, y) in pixels."""
        height, width = pixels.shape[:2]
        size = {"height": height, "width": width, "place": place}
        buffer = np.ascontiguousarray(pixels, np.uint8)
        self.add_message("plot", [buffer], kind="image", **size, **fields)

    def __repr__(self) -> str:
        return "Run this cell to experiment on the model."


def _coloured(average: np.ndarray) -> np.ndarray:
    """Return colours uint8 (height, width, 3) of an average; its zero is dark."""
    most = max(float(np.abs(average).max()), 1e-12)
    table = palette.residual_table()
    steps = ((average / most + 1) / 2 * (len(table) - 1)).round().astype(np.intp)
    return table[steps][..., :3]
