"""Masking schemes: what they hide, what they score, and what they refuse."""

import numpy as np
import pytest

from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import MaskError
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_model.masks.schemes import SCHEMES, SchemeSettings, draw_scheme, nearest_scheme

REGIONS = ["V1"] * 4 + ["LP"] * 6 + ["CA1"] * 5
SHAPE = (4, 12, 15)
SETTINGS = SchemeSettings(max_span=3, expand=1.0, neurons=(1, 3), bins=(10, 11))


def draw(scheme, seed=0, settings=SETTINGS, regions=REGIONS):
    return draw_scheme(scheme, SHAPE, regions, np.random.default_rng(seed), settings)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_targets_are_hidden_and_draws_repeat(scheme):
    drawn, again = draw(scheme, 3), draw(scheme, 3)
    assert drawn.hidden.shape == drawn.target.shape == SHAPE
    assert drawn.target.any()
    assert not (drawn.target & ~drawn.hidden).any()
    np.testing.assert_array_equal(drawn.hidden, again.hidden)
    if scheme != "intra-region":
        np.testing.assert_array_equal(drawn.hidden, drawn.target)


# Regions of 4, 6 and 5 of 15 neurons: a third of them on average.
@pytest.mark.parametrize(
    ("scheme", "hidden", "target"),
    [
        ("neuron", 0.3, 0.3),
        ("causal", 0.3, 0.3),
        ("random", 0.3, 0.3),
        ("inter-region", 1 / 3, 1 / 3),
        ("intra-region", 2 / 3 + 0.1, 0.1),
    ],
)
def test_each_scheme_hides_and_scores_its_share(scheme, hidden, target):
    drawn = [draw(scheme, seed) for seed in range(1000)]
    for masks, share in (
        ([one.hidden for one in drawn], hidden),
        ([one.target for one in drawn], target),
    ):
        shares = np.array([mask.mean() for mask in masks])
        error = shares.std() / np.sqrt(len(shares))
        assert abs(shares.mean() - share) < 3 * error


def test_neurons_are_hidden_in_all_bins_and_bins_of_all_neurons():
    hidden = draw("neuron").hidden
    assert (hidden == hidden[:, :1]).all()
    assert (hidden != hidden[:1]).any()
    hidden = draw("causal").hidden
    assert (hidden == hidden[..., :1]).all()
    np.testing.assert_array_equal(np.flatnonzero(draw("co-smooth").hidden[0, 0]), [1, 3])
    np.testing.assert_array_equal(np.flatnonzero(draw("forward-pred").hidden[0, :, 0]), [10, 11])


def test_a_region_is_hidden_or_alone_visible():
    names = np.array(REGIONS)
    found = set()
    for seed in range(30):
        drawn = draw("inter-region", seed)
        np.testing.assert_array_equal(drawn.hidden[0, 0], names == drawn.region)
        found.add(drawn.region)
        drawn = draw("intra-region", seed)
        assert drawn.hidden[..., names != drawn.region].all()
        assert not drawn.target[..., names != drawn.region].any()
        inside = names == drawn.region
        np.testing.assert_array_equal(drawn.hidden[..., inside], drawn.target[..., inside])
    assert found == set(REGIONS)


def test_one_region_leaves_nothing_to_predict_from():
    one = ["V1"] * 15
    with pytest.raises(MaskError, match="only region is 'V1'"):
        draw("inter-region", regions=one)
    everything = draw("inter-region", settings=SchemeSettings(allow_degenerate=True), regions=one)
    assert everything.hidden.all()
    assert draw("intra-region", regions=one).target.any()


def test_neurons_without_a_region_are_hidden_and_never_asked():
    regions = [*REGIONS[:-3], "", "", ""]
    for scheme in ("inter-region", "intra-region"):
        drawn = [draw(scheme, seed, regions=regions) for seed in range(9)]
        assert "" not in {d.region for d in drawn}
        assert all(d.hidden[..., -3:].all() for d in drawn)
        assert not any(d.target[..., -3:].any() for d in drawn)
    with pytest.raises(MaskError, match="only region"):
        draw("inter-region", regions=["V1"] * 10 + [""] * 5)


def test_an_empty_draw_is_repeated_and_an_impossible_one_is_refused():
    rare = SchemeSettings(ratio=0.02)
    for seed in range(20):
        assert draw("neuron", seed, rare).target.any()
    with pytest.raises(MaskError, match="hides nothing"):
        draw("co-smooth", settings=SchemeSettings())
    with pytest.raises(MaskError, match="no scheme 'half'"):
        draw("half")


def test_a_trial_becomes_a_mask(session):
    spec = WindowSpec(duration_s=0.6, response_rate_hz=20.0)
    regions = ["V1", "LP"] * (session.n_neurons // 2)
    shape = (2, 12, session.n_neurons)
    drawn = draw_scheme("intra-region", shape, regions, np.random.default_rng(0))
    mask = drawn.mask_of(1, session, spec)
    np.testing.assert_array_equal(mask.cells == TARGET, drawn.target[1])
    np.testing.assert_array_equal(mask.cells == VISIBLE, ~drawn.hidden[1])
    assert (mask.cells == HIDDEN).any()
    with pytest.raises(MaskError, match="has"):
        draw("neuron").mask_of(0, session, spec)


def test_a_mask_has_the_scheme_that_it_resembles():
    areas = ["V1", "V1", "V1", "CA1", "CA1"]

    def scheme(shown, asked, regions=areas, bins=slice(None)):
        cells = np.full((4, 5), HIDDEN, np.uint8)
        cells[:, shown] = VISIBLE
        cells[bins, asked] = TARGET
        return nearest_scheme(cells, regions)

    every, end = [0, 1, 2, 3, 4], slice(2, None)
    assert scheme(every, every, bins=end) == "causal"
    assert scheme(every, every) == "neuron"  # nothing is visible
    assert scheme(every, [3, 4]) == "inter-region"
    assert scheme([3, 4], [0, 1]) == "inter-region"  # all of V1 is hidden
    assert scheme([0, 1], [2]) == "intra-region"
    assert scheme([0, 1], [2, 3]) == "neuron"  # targets in both areas
    assert scheme([0, 1, 3], [2, 4]) == "neuron"
    assert scheme(every, [3, 4], bins=end) == "neuron"  # some of them, at the end
    assert scheme(every, [3, 4], regions=None) == "neuron"
    assert scheme([0, 1], [2], regions=["V1"] * 5) == "neuron"
    assert scheme([0, 1, 2], [2], bins=end) == "neuron"  # visible at first, then asked
