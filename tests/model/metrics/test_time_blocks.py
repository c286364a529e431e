"""Intervals over time: exact leave-one-out moments, and coverage in known worlds."""

import numpy as np
import pytest

from omnimouse_model.metrics import METRICS, moments
from omnimouse_model.metrics.time_blocks import (
    BlockSums,
    in_turns,
    jackknife,
    jackknife_gain,
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


def scores_without_each(predicted, recorded):
    """Mean correlation over neurons, and the same without each block."""
    blocks = BlockSums()
    for number, (one, target) in enumerate(zip(predicted, recorded, strict=True)):
        blocks.add(number, moments(one, target))
    total = moments(np.concatenate(predicted), np.concatenate(recorded))
    rest = [part.pearson().mean() for part, _ in blocks.without_each()]
    return total.pearson().mean(), np.array(rest)


def test_leaving_a_block_out_gives_the_moments_of_the_others():
    predicted, recorded = world(np.random.default_rng(0), 5)
    blocks = BlockSums()
    for number in range(5):
        blocks.add(number, moments(predicted[number], recorded[number]))
    for number, (found, _) in enumerate(blocks.without_each()):
        others = np.arange(5) != number
        both = (np.concatenate(values[others]) for values in (predicted, recorded))
        expected = moments(*both)
        np.testing.assert_allclose(found.pearson(), expected.pearson(), rtol=1e-12)
        np.testing.assert_array_equal(found.count, expected.count)


@pytest.mark.acceptance
def test_intervals_cover_the_true_score_and_the_true_difference():
    generator = np.random.default_rng(1)

    def draw(n_blocks):
        predicted, recorded = world(generator, n_blocks)
        noisier = predicted + 0.8 * generator.normal(size=predicted.shape)
        return recorded, predicted, noisier

    recorded, *both = (np.concatenate(part) for part in draw(20_000))
    score, other = (moments(one, recorded).pearson().mean() for one in both)
    inside = []
    for _ in range(150):
        recorded, *both = draw(30)
        one, beside = (scores_without_each(each, recorded) for each in both)
        alone = jackknife(*one)
        paired = jackknife_gain(one, beside)
        is_covered = alone.low <= score <= alone.high
        is_paired = paired.low <= score - other <= paired.high
        inside.append((is_covered, is_paired))
    # 150 worlds: the standard error of a share is .018
    shares = np.mean(inside, axis=0)
    assert (shares >= 0.92 - 0.018).all()
    assert (shares <= 0.97 + 0.018).all()


@pytest.mark.slow
def test_intervals_of_skewed_counts_cover_more_than_those_of_students_t():
    generator = np.random.default_rng(3)

    def draw(n_blocks):
        # Without a rare block of large responses, a score is too low, and so is the
        # error that its blocks show.
        predicted, rates = world(generator, n_blocks, n_neurons=4)
        return np.exp(0.5 * predicted), generator.poisson(np.exp(0.4 * rates))

    truth = moments(*map(np.concatenate, draw(20_000))).pearson().mean()
    drawn = [scores_without_each(*draw(19)) for _ in range(150)]
    found = [jackknife(*one) for one in drawn]
    share = np.mean([one.low <= truth <= one.high for one in found])
    # 150 worlds: the standard error of a share is .018
    assert 0.92 - 0.018 <= share <= 0.97 + 0.018
    half = student_quantile(18)
    plain = [abs(one.value - truth) <= half * one.error for one in found]
    assert np.mean(plain) < share - 0.03


def test_the_error_of_the_mean_prediction_adds_to_the_interval():
    rest, trained = np.linspace(0.29, 0.31, 20), np.linspace(0.298, 0.302, 16)
    alone, both = jackknife(0.3, rest), jackknife(0.3, rest, trained)
    spread = 15 / 16 * ((trained - trained.mean()) ** 2).sum()
    assert both.error**2 == pytest.approx(alone.error**2 + spread / 2)
    blocks = BlockSums()
    values = np.random.default_rng(4).normal(size=(5, 3, 30, 2))
    for number, block in enumerate(values[:, 0]):
        blocks.add(number, moments(block, block))
    centres = blocks.centres(np.zeros(2))
    rest = np.delete(values[:, 0], 3, axis=0).mean(axis=1)
    np.testing.assert_allclose(centres.predictions[3], rest.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(centres.variances[3], rest.var(axis=0, ddof=1) / 4, rtol=1e-12)


def test_blocks_hold_windows_in_a_row():
    starts = np.concatenate([np.arange(0, 100, 1.0), np.arange(500, 600, 1.0)])
    blocks = time_blocks(starts, 2.0)
    assert (np.diff(blocks) >= 0).all()
    assert set(blocks) == set(range(blocks[-1] + 1))
    assert blocks[-1] + 1 == 20
    assert len(set(time_blocks(np.arange(0, 5000, 2.0), 2.0))) == 40


def test_gains_of_unlike_parts_and_few_blocks_have_no_interval():
    rest, other = np.linspace(0.28, 0.31, 20), np.linspace(0.24, 0.3, 20) ** 2
    gain = jackknife_gain((0.3, rest), (0.1, other))
    assert gain.value == pytest.approx(0.2)
    assert gain.high - gain.value == pytest.approx(gain.value - gain.low)
    assert gain.error == jackknife(0.2, rest - other).error
    assert np.isnan(jackknife_gain((0.3, rest), (0.1, other[1:])).low)
    assert np.isnan(jackknife(0.3, np.full(7, 0.3)).low)
    # Over a predictor whose score is always 0, it is the interval of the score.
    assert jackknife_gain((0.3, rest), (0.0, 0 * rest)) == jackknife(0.3, rest)
    assert jackknife_gain((0.1, other), (0.0, 0 * rest)) == jackknife(0.1, other)
    assert student_quantile(29) == pytest.approx(2.0452, abs=1e-3)
    assert student_quantile(7) == pytest.approx(2.3646, abs=2e-3)


def test_intervals_end_at_the_limits_of_the_metric_and_errors_do_not():
    rest, other = np.linspace(0.9, 0.99, 10), np.linspace(-0.9, -0.99, 10)
    free = jackknife(0.96, rest)
    limited = jackknife(0.96, rest, limits=METRICS["correlation"].limits)
    assert free.high > 1.0 == limited.high
    assert (limited.error, limited.low) == (free.error, free.low)
    # A difference of correlations may be as large as 2.
    gain = jackknife_gain((0.96, rest), (-0.95, other), limits=(-1.0, 1.0))
    assert 1.0 < gain.low < gain.value < gain.high == 2.0
    free = jackknife_gain((0.96, rest), (-0.95, other))
    assert gain.half_width == free.half_width == pytest.approx(free.high - free.value)


@pytest.mark.slow
def test_centred_scores_are_hardly_biased_over_few_windows():
    generator = np.random.default_rng(2)

    def score(predicted, recorded, means=None):
        sums = moments(np.concatenate(predicted), np.concatenate(recorded))
        return (sums.pearson() if means is None else sums.centred(*means)).mean()

    predicted, recorded = world(generator, 20_000)
    truth = score(predicted, recorded)
    # As in the product: mean predictions from 16 windows.
    means = predicted[:16].mean(axis=(0, 1)), recorded.mean(axis=(0, 1))
    for n_windows, limit in ((4, 0.06), (16, 0.02), (64, 0.01)):
        draws = [world(generator, n_windows) for _ in range(400)]
        bias = np.mean([score(*draw, means) for draw in draws]) - truth
        assert abs(bias) <= limit
        if n_windows == 4:
            assert np.mean([score(*draw) for draw in draws]) - truth < -limit


def test_blocks_take_turns_in_an_order_of_windows():
    blocks = np.repeat([0, 1, 2], [6, 3, 1])
    order = np.random.default_rng(2).permutation(10)
    found = in_turns(order, blocks)
    assert sorted(found) == list(range(10))
    assert set(blocks[found[:3]]) == {0, 1, 2}
    assert set(blocks[found[3:5]]) == {0, 1}
    for block in range(3):  # as before within a block
        inside = blocks == block
        assert list(found[inside[found]]) == list(order[inside[order]])
