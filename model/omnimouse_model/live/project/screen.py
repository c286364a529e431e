"""Parts of the controller that show an analysis, and how they show a saved one."""

from dataclasses import dataclass
from pathlib import Path

from omnimouse_model.live.analysis_file import ReopenedAnalysis
from omnimouse_model.live.compare.pins import Pins
from omnimouse_model.live.laboratory import Laboratory
from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.live.models.choice import ModelChoice
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.neurons.planes import Planes
from omnimouse_model.live.recording.loader import SessionLoader
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.live.sweep.sweeps import Sweeps
from omnimouse_model.predict.registry import is_predictor

MUST_FETCH = (
    "Its {kind} is on the model hub and not on this machine: {name}. {action}, or choose another."
)


@dataclass(frozen=True, slots=True, eq=False)
class AnalysisScreen:
    """Parts of the controller that hold and show an analysis."""

    state: LiveState
    results: Results
    loader: SessionLoader
    model: ModelChoice
    editor: MaskEditor
    pins: Pins
    sweeps: Sweeps
    laboratory: Laboratory
    colouring: Colouring
    planes: Planes

    def show(self, reopened: ReopenedAnalysis) -> tuple[str, ...]:
        """Show an analysis whose recording is on screen; return messages for the user.

        Predictors and pins are chosen only for a file that the user opened: those of
        the last session are chosen before its recording is read.
        """
        analysis, state = reopened.analysis, self.state
        messages = []
        if reopened.path is not None and not reopened.is_restored:
            messages = [
                self.choose_model(analysis.predictor or state.predictor_name),
                self._choose_baseline(analysis.baseline),
                self.pins.replace_all(analysis.pins),
            ]
        messages.append(self.sweeps.compare_only(analysis.sweeps))
        self.laboratory.reopen(analysis.experiments)
        # The code before the span: each code has its own span.
        self.editor.set_brush(analysis.brush_code)
        self.editor.set_active_span(*analysis.active_span)
        self.colouring.choose(analysis.colour_by)
        self.colouring.outline_areas(analysis.areas_shown)
        state.raster_order = analysis.raster_order
        state.raster_view = analysis.raster_view
        # The recording may have been converted again, with other planes.
        if analysis.plane_shown in self.planes.numbers:
            self.planes.show(analysis.plane_shown)
        return tuple(filter(None, messages))

    def choose_model(self, name: str) -> str:
        """Choose the model; return a message if it is not on this machine, else ""."""
        current = self.state.predictor_name
        if name == current:
            return ""
        if not is_predictor(name):
            return _absent("model", name, current)
        if self.model.downloads.must_fetch(name):
            self.model.offer(name)
            return MUST_FETCH.format(kind="model", name=name, action="Fetch it")
        self.model.choose(name)
        return ""

    def _choose_baseline(self, name: str) -> str:
        """Choose the baseline; return a message if it is not here, else ""."""
        current = self.state.baseline_name
        if name == current:
            return ""
        if name and not is_predictor(name):
            return _absent("baseline", name, current)
        if not self.model.downloads.must_fetch(name):
            self.model.choose_baseline(name)
            return ""
        self.model.choose_baseline("")
        action = "Choose it as the model to fetch it"
        return MUST_FETCH.format(kind="baseline", name=name, action=action)


def _absent(kind: str, name: str, current: str) -> str:
    """Return a message that a model is not on this machine, and what is used."""
    instead = f"“{Path(current).name}” stays" if current else "choose another"
    return f"Its {kind} is not here: {name}; {instead}."
