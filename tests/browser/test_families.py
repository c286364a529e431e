"""Models of other families in the notebook, from the first look to a reopened file."""

import numpy as np
import pytest

from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from tests.browser.explorer import wait_for_neurons
from tests.small_sessions import write_session
from tests.toy_predictors import TOYS

MAKE = """
import numpy as np
from omnimouse_widgets import Explorer
explorer = Explorer({recording!r}, {model!r}).settled()
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


def check_journey(tab, folder, model, other, metric, shape):
    """Scrub, score, sweep, pin beside another model, save and reopen."""
    start_s = tab.evaluate("explorer.start_s")
    tab.part("video").get_by_role("button", name="Previous window").click()
    tab.wait_for_kernel(f"explorer.start_s < {start_s}", True)
    show(tab, "Scores")
    tab.part("scores").get_by_text(metric).first.wait_for()
    show(tab, "Context")
    sweep = "explorer.sweep.sweep"  # None until its first point
    tab.wait_for_kernel(f"{sweep} is not None and len({sweep}.rows) > 2", True)
    show(tab, "Traces")
    choose_model(tab, other)
    tab.part("traces").get_by_role("button", name="Pin", exact=True).click()
    choose_model(tab, model)
    shapes = "[len(one.prediction.responses) for one in {}.values()]"
    pinned = shapes.format("controller.pins.predictions.windows")
    tab.wait_for_kernel(f"len({pinned})", 1)
    path = str(folder / "mine.omnimouse.json")
    tab.evaluate(f"controller.project.save({path!r})")
    painted = tab.evaluate(VISIBLE)
    tab.evaluate("controller.editor.apply_preset('nothing')")
    tab.evaluate(f"controller.project.open({path!r})")
    tab.wait_for_kernel(VISIBLE, painted)
    tab.wait_for_kernel("explorer.settled() is explorer", True)
    assert tab.evaluate("explorer.mask.cells.shape") == shape
    return tab.evaluate(pinned)


@pytest.mark.acceptance
def test_spike_counts_are_painted_scrubbed_pinned_swept_saved_and_reopened(tab, tmp_path):
    recording = tmp_path / "spiking.npz"
    np.savez(recording, **spiking_arrays(SpikingSpec(n_trials=20)))
    tab.open([MAKE.format(recording=str(recording), model="toy-counts"), "explorer"])
    tab.run_all()
    wait_for_neurons(tab)
    # painted by probe, by the brush, and by depth
    tab.page.get_by_label("Paint the units of a probe").select_option("B")
    tab.wait_for_kernel(f"{VISIBLE} == {ON_B}", True)
    tab.drag(tab.part("field").first, (0.38, 0.1), (0.38, 0.5))
    tab.wait_for_kernel(f"len({VISIBLE}) > len({ON_B})", True)
    show(tab, "Neurons")
    words = tab.part("neurons").get_by_label("Filter")
    words.fill("depth<300")
    words.press("Enter")
    tab.wait_for_kernel(f"explorer.table.neurons.tolist() == {SHALLOW}", True)
    tab.part("neurons").locator("summary").click()
    tab.part("neurons").get_by_role("button", name="target").click()
    tab.wait_for_kernel(f"set({SHALLOW}) & set({VISIBLE}) == set()", True)
    other = "mean · each neuron's mean"
    shown = check_journey(tab, tmp_path, "toy-counts", other, "bits/spike", [150, 24])
    assert shown == [90]  # 3 s at the 30 Hz of the other model


@pytest.mark.acceptance
@pytest.mark.parametrize("model", ["toy-recurrent", "toy-frames"])
def test_a_model_of_video_is_painted_scrubbed_pinned_swept_saved_and_reopened(tab, tmp_path, model):
    recording = write_session(tmp_path / "mouse", 24)
    spec = TOYS[model]().needs.spec
    tab.open([MAKE.format(recording=str(recording), model=model), "explorer"])
    tab.run_all()
    wait_for_neurons(tab)
    tab.drag(tab.part("field").first, (0.3, 0.2), (0.6, 0.6))
    tab.wait_for_kernel(f"len({VISIBLE}) > 0", True)
    other = "mean · each neuron's mean"
    shape = [spec.n_samples, 24]
    shown = check_journey(tab, tmp_path, model, other, "median", shape)
    assert shown == [round(spec.duration_s * 30)]
