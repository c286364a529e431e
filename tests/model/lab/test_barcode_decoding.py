"""Decoding of classes with a known best accuracy, chance, and a covariate."""

import numpy as np
import pytest

from omnimouse_model.lab.barcode_decoding import beyond_covariate, decode_label

AREAS = np.array(["V1", "LM", "AL", "RL"])


def gaussian_classes(n, d, distance, seed=0):
    """Classes with means along the first axes, and their best balanced accuracy."""
    draw = np.random.default_rng(seed)
    target = np.arange(n) % 4
    means = np.zeros((4, d))
    means[np.arange(4), np.arange(4)] = distance
    features = means[target] + draw.standard_normal((n, d))
    # The best rule is the largest of the first four coordinates.
    many = np.eye(4)[np.arange(40_000) % 4] * distance
    many = many + draw.standard_normal((40_000, 4))
    best = np.mean(many.argmax(1) == np.arange(40_000) % 4)
    return features, AREAS[target], best


@pytest.mark.slow
def test_the_accuracy_is_the_best_possible_one():
    features, labels, best = gaussian_classes(1200, 8, 2.0)
    found = decode_label(features, labels, n_outer=4, n_inner=3)
    assert found.classes == ("AL", "LM", "RL", "V1")
    assert found.balanced_accuracy == pytest.approx(best, abs=0.03)
    np.testing.assert_allclose(found.confusion.sum(axis=1), 1)
    shuffled = np.random.default_rng(1).permutation(labels)
    control = decode_label(features, shuffled, n_outer=4, n_inner=3)
    assert control.balanced_accuracy == pytest.approx(0.25, abs=0.04)


@pytest.mark.slow
def test_units_of_features_do_not_matter():
    features, labels, _ = gaussian_classes(120, 5, 2.0)
    scale = np.array([1e4, 1e-3, 1, 10, 1])
    one, other = (
        decode_label(x, labels, n_outer=3, n_inner=2).predicted
        for x in (features, features * scale + 7)
    )
    assert (one == other).mean() > 0.98


@pytest.mark.slow
def test_features_beyond_a_covariate_are_found():
    draw = np.random.default_rng(2)
    depth = draw.uniform(100, 400, 400)
    labels = np.where(depth + 40 * draw.standard_normal(400) > 250, "L4", "L2")
    noise = draw.standard_normal((400, 3))
    nothing = beyond_covariate(noise, depth, labels)
    assert nothing.degrees == 3
    assert nothing.p_value > 0.01
    informative = noise + 0.8 * (labels == "L4")[:, None]
    assert beyond_covariate(informative, depth, labels).p_value < 1e-6


def test_a_class_that_is_too_small_is_named():
    with pytest.raises(ValueError, match="AL: 2"):
        decode_label(np.zeros((12, 2)), np.array(["AL"] * 2 + ["V1"] * 10), n_outer=3)
