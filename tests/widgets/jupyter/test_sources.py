"""The notebook's sources: traits, wait, result."""

import pytest

import omnimouse_model as om
from omnimouse_model.simulate.coupled_neurons import CoupledSpec, simulate_coupled
from omnimouse_widgets.jupyter.jobs import Sources


def test_code_asks_waits_and_reads(controller, tmp_path):
    controller.sources.folder = tmp_path
    spec = CoupledSpec(n_neurons=24, minutes=1.5)
    controller.loader.open_now(om.open_session(simulate_coupled(spec).arrays))
    part = Sources(controller)
    controller.selection.select([])
    with pytest.raises(ValueError, match="No neuron is selected"):
        part.start().wait(60.0)
    part.targets, part.windows = "area LM", 8
    found = part.start().wait(60.0).result
    assert found.is_complete
    assert part.progress == 1.0
    assert part.found.startswith("12 of 12 neurons, 8 windows, linear-gaussian")
    part.question = "areas"
    assert part.result is None
    part.lagged = part.group = True
    part.model = "chosen"
    asked = controller.sources
    assert (asked.is_lagged, asked.has_group, asked.is_quick) == (True, True, False)
    asked.set(is_quick=True)
    assert part.model == "quick"
    with pytest.raises(ValueError, match="area of the recording"):
        part.targets = "LM"
    assert part.targets == "area LM"
