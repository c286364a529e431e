"""A model of spike counts in the notebook, from the first look to a reopened file."""

import numpy as np
import pytest

from omnimouse_model.simulate.spiking import SpikingSpec, spiking_arrays
from tests.browser.explorer import wait_for_neurons

MAKE = """
import numpy as np
from omnimouse_widgets import Explorer
explorer = Explorer({recording!r}, "toy-counts").settled()
units, controller = explorer.session.units, explorer.controller
"""
VISIBLE = "np.flatnonzero(explorer.mask.visible.all(axis=0)).tolist()"
ON_B = "np.flatnonzero(units.probe == 'B').tolist()"
SHALLOW = "np.flatnonzero(units.xyz_um[:, 2] < 300).tolist()"


def show(tab, title):
    tab.page.get_by_role("tab", name=title, exact=True).last.click()


def choose_model(tab, name):
    model = tab.page.get_by_label("Model", exact=True).first
    model.select_option(label=name)
    tab.wait_for_kernel("controller.state.predictor_name", name.split(" ")[0])
    tab.wait_for_kernel("controller.results.population_freshness", "fresh")


@pytest.mark.acceptance
def test_spike_counts_are_painted_scrubbed_pinned_swept_saved_and_reopened(
    tab, tmp_path
):
    recording = tmp_path / "spiking.npz"
    np.savez(recording, **spiking_arrays(SpikingSpec(n_trials=20)))
    tab.open([MAKE.format(recording=str(recording)), "explorer"])
    tab.run_all()
    wait_for_neurons(tab)
    # painted by probe, by the brush, and by depth
    tab.page.get_by_label("Paint the units of a probe").select_option("B")
    tab.wait_for_kernel(f"{VISIBLE} == {ON_B}", True)
    tab.drag(tab.part("field").first, (0.38, 0.1), (0.38, 0.5))
    tab.wait_for_kernel(f"len({VISIBLE}) > len({ON_B})", True)
    show(tab, "Neurons")
    words = tab.part("table").get_by_label("Filter the neurons")
    words.fill("depth<300")
    words.press("Enter")
    tab.wait_for_kernel(f"explorer.table.neurons.tolist() == {SHALLOW}", True)
    tab.part("table").get_by_role("button", name="target").click()
    tab.wait_for_kernel(f"set({SHALLOW}) & set({VISIBLE}) == set()", True)
    # scrubbed to another trial
    start_s = tab.evaluate("explorer.start_s")
    tab.part("video").get_by_role("button", name="Previous trial (PgUp)").click()
    tab.wait_for_kernel(f"explorer.start_s < {start_s}", True)
    # scored and swept in bits per spike
    show(tab, "Scores")
    tab.part("scores").get_by_text("bits/spike").first.wait_for()
    show(tab, "Context")
    tab.page.locator(".ytitle", has_text="bits per spike").wait_for()
    sweep = "controller.results.sweep"  # None until its first point
    tab.wait_for_kernel(f"{sweep} is not None and len({sweep}.rows) > 2", True)
    # pinned beside a model of another rate
    show(tab, "Traces")
    choose_model(tab, "mean · each neuron's mean")
    tab.part("traces").get_by_role("button", name="Pin", exact=True).click()
    choose_model(tab, "toy-counts")
    shapes = "[len(one.prediction.responses) for one in {}.values()]"
    pinned = shapes.format("controller.pins.predictions.windows")
    tab.wait_for_kernel(pinned, [90])
    # saved and reopened
    path = str(tmp_path / "mine.omnimouse.json")
    tab.evaluate(f"controller.project.save({path!r})")
    painted = tab.evaluate(VISIBLE)
    tab.evaluate("controller.apply_preset('nothing')")
    tab.evaluate(f"controller.project.open({path!r})")
    tab.wait_for_kernel(VISIBLE, painted)
    tab.wait_for_kernel("explorer.settled() is explorer", True)
    assert tab.evaluate("explorer.mask.cells.shape") == [150, 24]
