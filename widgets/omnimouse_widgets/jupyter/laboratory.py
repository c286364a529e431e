"""Laboratory widget: the panel *Laboratory* in a notebook, with traits and `wait`."""

from typing import Any

from traitlets import Enum, Float, Int, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.laboratory_jobs import NAMES
from omnimouse_widgets.jupyter.panel import RecordPart
from omnimouse_widgets.views.laboratory import LaboratoryView, summary


class Laboratory(RecordPart):
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

    experiment = Enum(list(NAMES), "directions").tag(sync=True)
    repeats = Int(1).tag(sync=True)
    label = Unicode("area").tag(sync=True)
    progress = Float(0.0).tag(sync=True)
    found = Unicode("").tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._laboratory = controller.laboratory
        super().__init__(LaboratoryView.of(controller), controller, **traits)
        laboratory = controller.laboratory
        changed = laboratory.changed
        # In this order: an experiment brings its usual number of repeats.
        self.bind("experiment", changed, lambda: laboratory.chosen, laboratory.choose)
        self.bind("repeats", changed, lambda: laboratory.repeats, laboratory.set_repeats)
        self.bind("label", changed, lambda: laboratory.label, laboratory.set_label)
        self.bind("progress", changed, self._share)
        self.bind("found", changed, lambda: summary(laboratory))

    def _share(self) -> float:
        laboratory = self._laboratory
        if laboratory.is_busy:
            return laboratory.share or 0.0
        return self.progress if self.result is None else 1.0

    @property
    def result(self) -> Any:
        """The result of the chosen experiment, None before it ran."""
        return self._laboratory.results.get(self.experiment)

    def start(self) -> "Laboratory":
        """Start the experiment in the background; see `wait`."""
        self._laboratory.start()
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
        laboratory = self._laboratory
        if not laboratory.wait(timeout_s):
            raise TimeoutError(f"Not done after {timeout_s} s: {laboratory.message}.")
        if laboratory.error is not None:
            raise laboratory.error
        return self

    def stop(self) -> None:
        """Stop the experiment; the next run goes on where it was."""
        self._laboratory.stop()

    def __repr__(self) -> str:
        return "Run this cell to experiment on the model."
