"""Quantities that colour the neurons: values, scales and messages."""

from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.direction_tuning import DirectionTuning
from omnimouse_model.data.window_spec import N_SAMPLES
from omnimouse_model.evaluation import repeats as ceilings
from omnimouse_model.evaluation.repeats import clip_repeats, repeated_clips
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.neurons.neuron_info import NeuronInfo, NeuronProperties
from omnimouse_model.live.neurons.quantities import QUANTITY, Quantity, make_scale
from omnimouse_model.live.results import ScoresOnScreen
from omnimouse_model.masks import TARGET
from tests.predictors import open_controller
from tests.small_sessions import simulate_mouse

N = 50
AREAS = np.array(["V1", "LM", "", "AL", "V1"] * 10)
DEPTH = np.linspace(100.0, 345.0, N)


@pytest.fixture(scope="module")
def plain_session():
    """Fifty neurons whose areas and depths are known, and no stimulus."""
    rates = np.random.default_rng(0).gamma(1.0, 2.0, (900, N))
    xyz = np.stack([np.full(N, np.nan), np.full(N, np.nan), DEPTH], axis=1)
    known = {"area": AREAS, "xyz_um": xyz}
    return om.open_session({"responses": rates, "rate_hz": 30.0} | known)


@pytest.fixture(scope="module")
def mouse(tmp_path_factory):
    """One clip is shown four times."""
    folder = tmp_path_factory.mktemp("colours") / "mouse"
    return om.open_session(simulate_mouse(folder, 30, 2.0, times=4))


@pytest.fixture
def controller(plain_session):
    with open_controller(plain_session) as made:
        yield made


def quantity_names(controller: Controller) -> set[str]:
    return {quantity.name for quantity in controller.colouring.choices}


def test_a_scale_ends_at_the_outer_percentiles(controller):
    controller.colouring.choose("depth")
    scale = controller.colouring.scale
    np.testing.assert_allclose(scale.values, DEPTH)
    assert (scale.low, scale.high) == tuple(np.percentile(DEPTH, [1, 99]))
    shares = np.clip((DEPTH - scale.low) / (scale.high - scale.low), 0, 1)
    np.testing.assert_allclose(scale.shares, shares, rtol=1e-6)
    assert scale.median == pytest.approx(222.5)
    assert scale.ends == ("≤ 102 µm", "≥ 343 µm")


def test_a_neuron_that_was_never_recorded_has_no_mean():
    values = np.random.default_rng(0).gamma(1.0, 2.0, (900, 6))
    values[:, 2], values[:, 4] = np.nan, 0.0
    with open_controller(om.open_session({"responses": values, "rate_hz": 30.0})) as c:
        for name in ("mean", "variability"):
            c.colouring.choose(name)
            found = c.colouring.scale.values
            assert np.isnan(found).tolist() == [False, False, True, *[False] * 3]
            assert found[4] == 0.0


def test_means_of_spikes_are_rates():
    times_s = np.arange(0, 40, 0.15), np.arange(0, 40, 0.5)
    arrays = {"spike_times": np.concatenate(times_s), "rate_hz": 30.0}
    arrays["spike_unit"] = np.repeat([0, 1], [len(one) for one in times_s])
    session = om.open_session(arrays)
    with open_controller(session) as made:
        made.colouring.choose("mean")
        scale = made.colouring.scale
        np.testing.assert_allclose(scale.values, [20 / 3, 2], rtol=0.01)
        assert scale.quantity.unit == "spikes/s"
        assert "raw" not in scale.quantity.explanation
        made.colouring.choose("variability")
        np.testing.assert_allclose(made.colouring.scale.values, 30 * session.units.std)


def test_areas_are_categories_and_an_unknown_one_is_nan(controller):
    controller.colouring.choose("area")
    scale = controller.colouring.scale
    assert scale.categories == ("AL", "LM", "V1")
    assert np.isnan(scale.values[AREAS == ""]).all()
    known = AREAS != ""
    told = np.array(scale.categories)[scale.values[known].astype(int)]
    np.testing.assert_array_equal(told, AREAS[known])


def test_both_ends_of_a_signed_scale_have_the_same_form():
    values = np.append(np.linspace(-0.1, 0.2, 400), 1.0)
    signed = Quantity("difference", "difference", "", is_signed=True)
    low, high = make_scale(signed, values, ()).ends
    assert low.startswith("≤ −")
    assert high == low.replace("≤ −", "≥ ")


def test_the_scale_of_scores_is_0_to_1(controller):
    controller.editor.paint_cells(range(N), slice(30, N_SAMPLES), TARGET)
    controller.colouring.choose("score")
    scale = controller.colouring.scale
    np.testing.assert_array_equal(scale.values, controller.results.scores)
    assert np.isfinite(scale.values).all()
    assert scale.ends == ("r = 0", "r = 1")


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([-2.5e-9] * 9, ("", "all −2.5e−09 µm", "")),
        ([3.0] * 8 + [np.nan], ("", "all 3 µm", "")),
        ([3.0] * 400 + [4.0], ("3 µm", "median 3 µm", "4 µm")),
        ([-0.3, 50.6, 500.0] * 40, ("0 µm", "median 51 µm", "500 µm")),
        (
            [50.00001, 50.00003] * 90,
            ("50.00001 µm", "median 50.00002 µm", "50.00003 µm"),
        ),
        ([np.nan] * 9, ("0 µm", "", "1 µm")),
    ],
)
def test_numbers_on_the_legend_distinguish_the_ends(values, wanted):
    scale = make_scale(Quantity("depth", "Depth", "", "µm"), np.array(values), ())
    low, high = scale.ends
    assert (low, scale.middle, high) == wanted
    assert scale.low < scale.high
    known = scale.shares[np.isfinite(scale.values)]
    assert not scale.is_constant or (known == 0.5).all()


def test_a_missing_quantity_has_a_message(controller):
    controller.colouring.choose("plane")
    assert "plane" in quantity_names(controller)
    assert "plane" in controller.colouring.message
    controller.colouring.choose("ceiling")
    assert "No clip was shown twice" in controller.colouring.message
    controller.colouring.choose("depth")
    assert controller.colouring.message == ""


@pytest.mark.slow
def test_ceilings_are_read_when_chosen_and_cleared(controller, mouse, plain_session):
    controller.loader.open_now(mouse)
    controller.colouring.choose("oracle")
    found, scale = ceilings.population_ceiling(mouse), controller.colouring.scale
    np.testing.assert_array_equal(scale.values, found.oracle)
    whole = clip_repeats(mouse, repeated_clips(mouse)[0], np.arange(30))
    np.testing.assert_allclose(found.oracle, whole.oracle)
    assert np.isfinite(found.oracle).sum() > 20
    assert scale.quantity.explanation.endswith(f"({found.description})")
    controller.loader.open_now(plain_session)
    assert np.isnan(controller.colouring.scale.values).all()
    assert "No clip" in controller.colouring.message


def test_a_panel_may_end_after_the_controller(controller, monkeypatch):
    def fail(*_, **__):
        raise OSError("no such file")

    monkeypatch.setattr("omnimouse_model.live.neurons.colour_by.population_ceiling", fail)
    panel = object()
    controller.colouring.choose("oracle")
    controller.colouring.draw(panel, "oracle")
    assert "no such file" in controller.colouring.message_of("oracle")
    controller.close()
    controller.colouring.draw(panel, None)


# -- a second predictor, the baseline ---------------------------------------------------
@pytest.fixture
def compared(controller):
    """A model that is better by 0.2 in every second neuron."""
    controller.state.baseline_name, controller.state.predictor_name = "ridge", "mean"
    own, other = np.full(N, 0.5), np.full(N, 0.5)
    other[::2] = 0.3
    over = {"tier": "test", "evidence": "over 9 test windows"}
    controller.results.neuron_scores = ScoresOnScreen(own, **over)
    controller.baseline.neuron_scores = ScoresOnScreen(other, **over)
    return controller


def test_neurons_are_coloured_by_the_difference_of_two_predictors(compared):
    compared.colouring.choose("difference")
    scale = compared.colouring.scale
    assert scale.quantity.label == "r minus ridge's"
    np.testing.assert_allclose(scale.values, np.where(np.arange(N) % 2, 0.0, 0.2))
    # No difference is in the middle, whatever the values are.
    assert scale.low == -scale.high
    np.testing.assert_allclose(scale.shares[1::2], 0.5)
    compared.colouring.choose("baseline")
    assert compared.colouring.scale.values[0] == 0.3
    assert compared.colouring.scale.quantity.label == "Score of ridge"


def test_a_difference_needs_the_same_windows(compared):
    told = []
    compared.colouring.choose("difference")
    compared.colouring.changed.connect(lambda: told.append(True))
    fewer = ScoresOnScreen(np.full(N, 0.3), tier="test", evidence="over 4 of 9 test windows")
    compared.baseline.neuron_scores = fewer
    assert told
    assert not compared.colouring.scale.is_known
    assert "over the same windows follow" in compared.colouring.message


def test_a_label_names_the_chosen_baseline_before_its_scores(compared):
    compared.colouring.choose("difference")
    compared.baseline.neuron_scores = None
    assert compared.colouring.scale.quantity.label == "r minus ridge's"
    compared.state.baseline_name = "last"
    assert compared.colouring.scale.quantity.label == "r minus last's"


def test_without_another_predictor_there_is_no_difference(compared):
    assert {"baseline", "difference"} <= quantity_names(compared)
    compared.state.baseline_name = "mean"
    assert not {"baseline", "difference"} & quantity_names(compared)
    compared.colouring.choose("difference")
    compared.baseline.neuron_scores = None
    assert compared.colouring.message == "Choose another model as baseline."


def test_the_scale_of_selectivity_is_that_of_its_values():
    values = np.linspace(0.02, 0.4, 400)
    for name in ("osi", "dsi"):
        scale = make_scale(QUANTITY[name], values, ())
        assert scale.ends == ("≤ 0.024", "≥ 0.396")
        assert scale.shares.max() == 1.0


def test_a_neuron_that_is_not_tuned_has_no_colour_of_tuning(controller, monkeypatch):
    colouring, some = controller.colouring, []
    for neuron, p in enumerate((0.001, 0.05, 0.4, 0.002)):
        osi, nothing = 0.1 * (1 + neuron), np.zeros(0)
        tuning = DirectionTuning(
            *(neuron, "screen", nothing, nothing, nothing, 0.2, osi, 10.0, 10.0, 0.3, p)
        )
        some.append(NeuronProperties(neuron, tuning=tuning))
    monkeypatch.setattr(NeuronInfo, "computed", some)
    controller.state.colour_by = "osi"
    assert np.flatnonzero(np.isfinite(colouring.scale.values)).tolist() == [0, 3]
    assert np.isfinite(colouring.scale_of("osi").values).sum() == 4  # in the panel Scores
    assert colouring.unknown_text == "unknown (empty): 46"
    assert colouring.untuned_text == "not orientation tuned: 2"
    assert np.flatnonzero(colouring.is_untuned).tolist() == [1, 2]
    assert "tuned" not in colouring.message
    monkeypatch.setattr(NeuronInfo, "computed", [some[0], some[3]])
    colouring._n_info = 999
    assert (colouring.unknown_text, colouring.untuned_text) == ("unknown (empty): 48", "")
    everyone = [some[0], *(replace(some[1], neuron=neuron) for neuron in range(1, N))]
    monkeypatch.setattr(NeuronInfo, "computed", everyone)
    colouring._n_info = 1000  # as when they are measured
    assert colouring.unknown_text == ""
    assert colouring.untuned_text == "not orientation tuned: 49"
    monkeypatch.setattr(NeuronInfo, "computed", some)
    controller.state.colour_by = "dsi"
    assert not colouring.scale.is_known
    assert colouring.message == (
        "4 of 50 neurons known · not direction tuned (p ≥ 0.05): 4 · colours: states"
    )
    controller.state.colour_by = "depth"
    assert colouring.unknown_text == ""
