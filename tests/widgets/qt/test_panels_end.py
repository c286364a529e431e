"""Every panel ends without a trace: no connection, no object."""

import gc
import weakref
from typing import Any

import pytest
from qtpy.QtCore import QCoreApplication, QEvent

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.context.panel import ContextPanel
from omnimouse_widgets.qt.control.panel import ControlPanel
from omnimouse_widgets.qt.laboratory.panel import LaboratoryPanel
from omnimouse_widgets.qt.neurons.panel import NeuronsPanel
from omnimouse_widgets.qt.neurons.repeats_panel import RepeatsPanel
from omnimouse_widgets.qt.ranking.panel import RankingPanel
from omnimouse_widgets.qt.raster.panel import RasterPanel
from omnimouse_widgets.qt.recordings.panel import RecordingsPanel
from omnimouse_widgets.qt.timeline.panel import TimePanel
from omnimouse_widgets.qt.timeline.stimulus_panel import StimulusPanel
from omnimouse_widgets.qt.traces.behavior_panel import BehaviorPanel
from omnimouse_widgets.qt.traces.panel import TracesPanel
from omnimouse_widgets.qt.what_if.panel import WhatIfPanel

PANELS = (
    BehaviorPanel, ContextPanel, ControlPanel, LaboratoryPanel, NeuronsPanel,
    RankingPanel, RasterPanel, RecordingsPanel, RepeatsPanel, StimulusPanel, TimePanel,
    TracesPanel, WhatIfPanel,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def little_to_search():
    """What lives already is left out of every search for garbage, which so is short."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def connections(controller: Controller) -> int:
    groups = (controller.state.events, controller.results.events)
    signals = [group[name] for group in groups for name in group]
    signals += [controller.results.changed, controller.history_changed]
    names = "baseline pins loader recordings clock_check sweeps repeats neuron_order"
    names += " ranking"
    signals += [getattr(controller, name).changed for name in names.split()]
    return sum(map(len, signals))


@pytest.mark.parametrize("kind", PANELS)
def test_a_closed_panel_leaves_no_connection_and_no_object(kind, controller, qapp):
    before = connections(controller)  # the controller's own
    panel: Any = kind(controller)
    assert connections(controller) == before  # not on screen yet
    panel.show()
    qapp.processEvents()
    assert connections(controller) > before
    panel.close()
    assert connections(controller) == before
    panel.deleteLater()
    QCoreApplication.sendPostedEvents(panel, QEvent.Type.DeferredDelete)
    gone = weakref.ref(panel)
    del panel
    for _ in range(3):
        gc.collect()
        qapp.processEvents()
    assert gone() is None
