"""All panels of both front ends in one table.

The docks of napari and their tabs, the commands *Show the dock …*, the parts of the
notebook's `Explorer`, the window of keys and the table of panels in the documentation
come from this table. It imports no panel.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Final, Literal

from omnimouse_model.display import and_text
from omnimouse_widgets.views import record

if TYPE_CHECKING:
    from omnimouse_model.live.controller import Controller

Area = Literal["right", "bottom"]
Tabs = Literal["controls", "results", "time", "samples", "stimulus"]


@dataclass(frozen=True, slots=True)
class Dock:
    """Place of a panel in the napari window.

    Attributes
    ----------
    panel
        "module:class" of a view, below `omnimouse_widgets`.
    area
        Side of the canvas.
    tabs
        Docks with the same name are tabs of one place, in the order of the table.
    is_front
        Whether a new window shows it in front of the other tabs.
    """

    panel: str
    area: Area
    tabs: Tabs
    is_front: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: its title, its help, and its place in each front end.

    Attributes
    ----------
    help
        What it shows, as one sentence.
    page
        Page and heading of the documentation, e.g. "napari.md#the-window".
    dock
        Place in the napari window; None without a dock of its own.
    part
        Name of the part of an `Explorer`; "" for none.
    widget
        "module:class" of the part, below `omnimouse_widgets.jupyter`; "" for a part that
        draws the view of the dock, without traits of its own.
    is_tab
        Whether the part is one of the tabs of the `Explorer`.
    reason
        Why a front end lacks it, or where it is instead.
    """

    title: str
    help: str
    page: str
    dock: Dock | None = None
    part: str = ""
    widget: str = ""
    is_tab: bool = False
    reason: str = ""

    @property
    def command(self) -> str:
        """Name of the napari command that shows the dock."""
        return f"show_{self.title.lower().replace(' ', '_').replace('-', '_')}"


PANELS: Final = (
    Panel(
        "OmniMouse",
        "Recording, model and task; in the dock *Brush and view* brush, selection and colours.",
        "napari.md#the-window",
        part="bar",
        widget="control_bar:ControlBar",
        reason="In napari, they are the docks of the plugin, which opens the other docks.",
    ),
    Panel(
        "Field",
        "Neurons at their positions, to be painted, selected and coloured.",
        "napari.md#paint-a-mask",
        part="painter",
        widget="painter:MaskPainter",
        reason="In napari, it is the canvas.",
    ),
    Panel(
        "Traces",
        "Recorded and predicted responses of the selected neurons.",
        "napari.md#inspect-the-prediction",
        Dock("views.traces:TracesView", "right", "results", is_front=True),
        part="traces",
        widget="results:Traces",
        is_tab=True,
    ),
    Panel(
        "Context",
        "Score as a function of the amount of context.",
        "napari.md#measure-the-effect-of-context",
        Dock("views.context.view:ContextView", "right", "results"),
        part="sweep",
        widget="jobs:ContextSweep",
        is_tab=True,
    ),
    Panel(
        "Behaviour",
        "Recorded and decoded running speed and pupil.",
        "napari.md#inspect-the-prediction",
        Dock("views.behavior:BehaviorView", "right", "results"),
        part="behavior",
        widget="results:BehaviorDecoder",
        is_tab=True,
    ),
    Panel(
        "Neurons",
        "Table of all neurons, with filter and sorting.",
        "napari.md#properties-of-one-neuron",
        Dock("views.neurons:NeuronsView", "right", "results"),
        part="table",
        widget="results:NeuronTable",
        is_tab=True,
    ),
    Panel(
        "Scores",
        "Distribution of the scores of the neurons, and scores against another quantity.",
        "napari.md#properties-of-one-neuron",
        Dock("views.scores:ScoresView", "right", "results"),
        part="neuron_scores",
        widget="results:NeuronScores",
        is_tab=True,
    ),
    Panel(
        "Neuron",
        "Receptive field, direction tuning and repeats of one neuron, computed from the recording.",
        "napari.md#properties-of-one-neuron",
        Dock("views.neuron:NeuronView", "right", "results"),
        part="neuron",
        widget="results:Neuron",
        is_tab=True,
    ),
    Panel(
        "What if",
        "Edits of stimulus or behaviour, and the predicted difference.",
        "napari.md#what-if-edit-stimulus-or-behaviour",
        Dock("views.what_if:WhatIfView", "right", "controls"),
        part="what_if",
        widget="results:WhatIf",
        is_tab=True,
    ),
    Panel(
        "Laboratory",
        "Experiments on the model: preferred directions, receptive fields, most exciting images.",
        "laboratory.md#on-screen",
        Dock("views.laboratory:LaboratoryView", "right", "controls"),
        part="laboratory",
        widget="jobs:Laboratory",
        is_tab=True,
    ),
    Panel(
        "Sources",
        "What drives a neuron: sources, informants, areas.",
        "sources.md#on-screen",
        Dock("views.context.sources:SourcesView", "right", "controls"),
        part="sources",
        widget="jobs:Sources",
        is_tab=True,
    ),
    Panel(
        "Ranking",
        "Which recordings to train on for a new one: a stored ranking, its matrix and curves.",
        "sessions_to_train_on.md#on-screen",
        Dock("views.ranking:RankingView", "right", "controls"),
        part="ranking",
        widget="jobs:Ranking",
        is_tab=True,
    ),
    Panel(
        "Files",
        "Options of the recording's reader, and exports of what is on screen.",
        "notebooks.md#files-explorerfiles",
        part="files",
        widget="jobs:Files",
        is_tab=True,
        reason="In napari, the menus *Open…* and *File* of *OmniMouse* open its forms.",
    ),
    Panel(
        "Fine-tuning",
        "Training of the model on a recording that it does not know.",
        "training.md#fine-tuning-to-your-own-mouse",
        Dock("views.finetune:FinetuneView", "right", "controls"),
        part="finetune",
        widget="jobs:FineTune",
    ),
    Panel(
        "Time",
        "Overview of the whole recording; a click moves the window.",
        "napari.md#the-window",
        Dock("views.time:TimeView", "bottom", "time", is_front=True),
        part="video",
        widget="video:VideoScrubber",
    ),
    Panel(
        "Raster",
        "Neurons × samples of the window: recorded, predicted and residual.",
        "napari.md#inspect-the-prediction",
        Dock("views.raster:RasterView", "bottom", "samples", is_front=True),
        part="raster",
        widget="raster:Raster",
    ),
    Panel(
        "Trials",
        "List of trials, and averages around their onsets, also of spikes.",
        "spikes.md#on-screen",
        Dock("views.trials:TrialsView", "bottom", "samples"),
        part="trials",
        widget="results:Trials",
        is_tab=True,
    ),
    Panel(
        "Repeats",
        "All repeats of the current clip.",
        "napari.md#properties-of-one-neuron",
        Dock("views.repeats:RepeatsView", "bottom", "samples"),
        part="repeats",
        widget="results:Repeats",
        is_tab=True,
    ),
    Panel(
        "Stimulus",
        "The video, with the playhead.",
        "napari.md#the-window",
        Dock("views.stimulus:StimulusView", "bottom", "stimulus", is_front=True),
        part="video",
        widget="video:VideoScrubber",
    ),
)


def docks() -> Iterator[tuple[Panel, Dock]]:
    """Yield the panels with a dock of their own, and their docks."""
    for panel in PANELS:
        if panel.dock is not None:
            yield panel, panel.dock


def panel_actions(controller: "Controller", panel: Panel) -> dict[str, str]:
    """Return the buttons of a panel with their help and keys; those that it has now."""
    if panel.dock is None:
        return {}
    view = resolve_name(f"omnimouse_widgets.{panel.dock.panel}").of(controller)
    return {
        # A button that shows only a sign has a name.
        item.label or item.name: _with_key(" ".join(item.help.split()), item.key)
        for item in record.record(view).values()
        if isinstance(item, (record.Action, record.Switch, record.Choice)) and item.help
    }


def _with_key(text: str, key: str) -> str:
    # Most texts name their key, some of them among others: "(← or Shift+N)".
    return f"{text} ({key})" if key and not text.endswith(")") else text


def closing_question(controller: "Controller") -> str:
    """Return what is asked before a window with running jobs closes; "" without one."""
    jobs = (
        (controller.finetuning.is_busy, "fine-tuning (can be resumed)"),
        (controller.sweeps.is_busy, "context sweep (can be resumed)"),
        (controller.laboratory.is_busy, "experiment of the laboratory"),
        (controller.sources.is_busy, "analysis of sources"),
        (controller.ranking.is_busy, "ranking"),
        (controller.neuron_info.population.is_busy, "tuning of all neurons"),
    )
    running = [name for is_busy, name in jobs if is_busy]
    if not running:
        return ""
    stopped = "it" if len(running) == 1 else "them"
    return f"Still running: {and_text(running)}. Close, and stop {stopped}?"


def tabs_of(tabs: Tabs) -> list[str]:
    """Return the titles of the docks that are tabs of one place."""
    return [panel.title for panel, dock in docks() if dock.tabs == tabs]
