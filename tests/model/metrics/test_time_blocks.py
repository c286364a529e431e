"""Intervals over time: exact leave-one-out moments, and coverage in known worlds."""

import numpy as np
import pytest

from omnimouse_model.metrics import moments
from omnimouse_model.metrics.time_blocks import (
    BlockSums,
    jackknife,
    student_quantile,
    time_blocks,
)


def world(generator, n_blocks, n_samples=15, n_neurons=6):
    """Predictions and responses (block, sample, neuron) with slow shared states."""
    state = generator.normal(size=(n_blocks, 1, 3)) + 0.5 * generator.normal(
        size=(n_blocks, n_samples, 3)
    )
    loading = np.linspace(0.2, 1.2, 3 * n_neurons).reshape(3, n_neurons)
    signal = state @ loading
    predicted = signal + 0.6 * generator.normal(size=signal.shape)
    return predicted, signal + 2 * generator.normal(size=signal.shape)


def score_with_interval(predicted, recorded, other=None):
    """Mean correlation over neurons, or its difference from another predictor."""

    def scored(prediction):
        blocks = BlockSums()
        for number, (one, target) in enumerate(zip(prediction, recorded, strict=True)):
            blocks.add(number, moments(one, target))
        total = moments(np.concatenate(prediction), np.concatenate(recorded))
        rest = [part.pearson().mean() for part, _ in blocks.without_each()]
        return total.pearson().mean(), np.array(rest)

    value, rest = scored(predicted)
    if other is not None:
        beside = scored(other)
        value, rest = value - beside[0], rest - beside[1]
    return jackknife(value, rest)


def test_leaving_a_block_out_gives_the_moments_of_the_others():
    predicted, recorded = world(np.random.default_rng(0), 5)
    blocks = BlockSums()
    for number in range(5):
        blocks.add(number, moments(predicted[number], recorded[number]))
    for number, (found, _) in enumerate(blocks.without_each()):
        others = np.arange(5) != number
        expected = moments(
            np.concatenate(predicted[others]), np.concatenate(recorded[others])
        )
        np.testing.assert_allclose(found.pearson(), expected.pearson(), rtol=1e-12)
        np.testing.assert_array_equal(found.count, expected.count)


@pytest.mark.parametrize("paired", [False, True])
def test_intervals_cover_the_true_score(paired):
    generator = np.random.default_rng(1)

    def draw(n_blocks):
        predicted, recorded = world(generator, n_blocks)
        noisier = predicted + 0.8 * generator.normal(size=predicted.shape)
        return predicted, recorded, noisier if paired else None

    predicted, recorded, noisier = (
        None if part is None else np.concatenate(part) for part in draw(20_000)
    )
    truth = moments(predicted, recorded).pearson().mean()
    if paired:
        truth -= moments(noisier, recorded).pearson().mean()
    inside = []
    for _ in range(150):
        found = score_with_interval(*draw(30))
        inside.append(found.low <= truth <= found.high)
    # 150 worlds: the standard error of the share is .018
    assert 0.92 - 0.018 <= np.mean(inside) <= 0.97 + 0.018


def test_blocks_hold_windows_in_a_row():
    starts = np.concatenate([np.arange(0, 100, 1.0), np.arange(500, 600, 1.0)])
    blocks = time_blocks(starts, 2.0)
    assert (np.diff(blocks) >= 0).all()
    assert set(blocks) == set(range(blocks[-1] + 1))
    assert blocks[-1] + 1 == 20
    assert len(set(time_blocks(np.arange(0, 5000, 2.0), 2.0))) == 40


def test_few_blocks_have_no_interval():
    assert np.isnan(jackknife(0.3, np.full(7, 0.3)).low)
    assert student_quantile(29) == pytest.approx(2.0452, abs=1e-3)
    assert student_quantile(7) == pytest.approx(2.3646, abs=2e-3)
