"""Every panel ends without a trace: no connection, no object."""

import gc
import weakref
from functools import partial
from typing import Any

import pytest
from qtpy.QtCore import QCoreApplication, QEvent

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.control.panel import BrushPanel, ControlPanel
from omnimouse_widgets.qt.panel import make_panel
from omnimouse_widgets.qt.recordings import RecordingsPanel
from omnimouse_widgets.views.registry import docks

MAKERS = {path: partial(make_panel, path) for path in (dock.panel for _, dock in docks())}
MAKERS |= {
    "main": ControlPanel.of,
    "brush": BrushPanel.of,
    "recordings": lambda c: RecordingsPanel(c.state, c.loader, c.recordings),
}


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
    signals += [controller.results.changed, controller.editor.history_changed]
    signals += [controller.navigation.trial_changed]
    names = "baseline pins loader recordings clock_check sweeps repeats neuron_order"
    names += " ranking laboratory sources neuron_info trial_averages"
    signals += [getattr(controller, name).changed for name in names.split()]
    return sum(map(len, signals))


@pytest.mark.parametrize("name", MAKERS)
def test_a_closed_panel_leaves_no_connection_and_no_object(name, controller, qapp):
    before = connections(controller)  # the controller's own
    panel: Any = MAKERS[name](controller)
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
