"""Free-form masks become tokens and queries."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import MaskError
from omnimouse_model.families.omnimouse.config import WindowBatch
from omnimouse_model.families.omnimouse.token_layout import TokenLayout, token_starts, video_steps
from omnimouse_model.families.omnimouse.tokens import (
    MaskTokens,
    batch_from_windows,
    batch_times,
    layout_from_mask,
    place_predictions,
    query_parts,
)
from omnimouse_model.masks import Mask, input_cells
from omnimouse_model.masks.strategies import Strategy
from tests.model.random_masks import masks
from tests.model.small_net import SMALL


@pytest.mark.parametrize(
    ("start", "stop", "cuts", "tokens"),
    [
        (0, 25, (), [0, 5, 10, 15]),
        (0, 60, (), list(range(0, 51, 5))),
        (30, 60, (), [30, 35, 40, 45, 50]),
        # off the stride: one more token at the end
        (3, 16, (), [3, 6]),
        (3, 18, (), [3, 8]),
        (48, 60, (), [48, 50]),
        # shorter than a token
        (0, 9, (), []),
        # no token crosses a cut
        (0, 40, (25,), [0, 5, 10, 15, 25, 30]),
        (0, 20, (11,), [0, 1]),
    ],
)
def test_a_run_becomes_tokens_with_stride_five(start, stop, cuts, tokens):
    column = np.zeros((60, 1), bool)
    column[start:stop] = True
    assert np.flatnonzero(token_starts(column, cuts)[:, 0]).tolist() == tokens


def test_runs_shorter_than_a_token_are_not_seen():
    mask = Mask.nothing(2).show([0], slice(0, 9)).show([1], slice(20, 40))
    assert not input_cells(mask)[:, 0].any()
    assert input_cells(mask)[20:40, 1].all()


@given(arrays(bool, (60, 3)), st.lists(st.integers(1, 59), max_size=2))
def test_tokens_cover_exactly_the_long_runs(visible, cuts):
    starts = token_starts(visible, tuple(cuts))
    for neuron in range(3):
        covered = np.zeros(60, bool)
        for start in np.flatnonzero(starts[:, neuron]):
            assert visible[start : start + 10, neuron].all()
            assert not any(start < cut < start + 10 for cut in cuts)
            covered[start : start + 10] = True
        bounds = sorted({0, 60, *cuts})
        for low, high in pairwise(bounds):
            run: list[int] = []
            for sample in [*range(low, high), None]:
                if sample is not None and visible[sample, neuron]:
                    run.append(sample)
                    continue
                assert covered[run].all() == (len(run) >= 10) or not run
                run = []


def test_samples_and_neurons_are_numbers_bools_or_refused():
    mask = Mask.nothing(3)
    assert mask.show([0], np.arange(60) < 30).visible[:, 0].sum() == 30
    assert mask.show(2, slice(0, 10)).visible.sum() == 10
    assert mask.show(np.array([True, False, True])).visible.any(axis=0).sum() == 2
    assert Mask.nothing(np.int64(3)).n_neurons == 3
    for neurons, samples in (([3], (0, 30)), ([-1], (0, 30)), ([0], (30, 90))):
        with pytest.raises(MaskError, match=r"(neurons|samples): found .*, expected 0\.\."):
            mask.show(neurons, samples)
    with pytest.raises(MaskError, match="expected 60"):
        mask.show([0], np.ones(30, bool))


def test_a_strategy_off_the_grid_keeps_it_until_painted():
    hidden = {"n_visible_neurons": 0, "prefix_len": 0}
    strategy = Strategy(suffix_start_idx=32, suffix_len=25, **hidden)
    mask = Mask(**strategy.mask_fields(12))
    assert set(layout_from_mask(mask).query_samples.tolist()) == {32, 37, 42, 47, 52}
    painted = layout_from_mask(mask.ask([0], slice(5, 60)))
    assert set(painted.query_samples.tolist()) <= set(range(0, 60, 5))


def test_queries_lie_on_the_grid_and_only_asked_cells_get_values():
    mask = Mask.nothing(4).ask([1, 3], slice(32, 38))
    neurons = np.arange(4)
    tokens = MaskTokens.of(mask)
    layout = tokens.layout(neurons)
    assert layout.query_samples.tolist() == [30, 30, 35, 35]
    assert layout.query_neurons.tolist() == [1, 3, 1, 3]
    rates = torch.arange(20.0).reshape(4, 5)
    placed = place_predictions(rates, layout, mask, neurons)
    assert np.isfinite(placed).sum() == 12
    assert placed[32, 1] == 2.0
    assert placed[37, 3] == 17.0
    assert np.isnan(placed[30, 1])
    assert np.isnan(placed[38, 1])
    some = tokens.layout(np.array([3]))
    assert some.query_neurons.tolist() == [0, 0]
    assert some.query_runs == ((30, 1), (35, 1))
    assert [sample for sample, _ in tokens.context_layout().query_runs] == [30, 35]


def test_predictions_have_the_order_of_the_requested_neurons_which_may_repeat():
    mask = Mask.nothing(5).ask([1, 2, 4], slice(30, 40)).with_attachment(order=[4, 2, 1, 0])
    columns = np.array([4, 1, 0, 4, 2])
    layout = MaskTokens.of(mask).layout(columns)
    # The rate is the number of the neuron.
    rates = torch.from_numpy(columns)[layout.query_neurons][:, None].expand(-1, 5).float()
    placed = place_predictions(rates, layout, mask, columns)
    np.testing.assert_equal(placed[30:40], [[4, 1, np.nan, 4, 2]] * 10)
    assert np.isnan(placed[:30]).all()
    assert np.isnan(placed[40:]).all()


@given(before=masks(12), after=masks(12), missing=st.integers(0, 2**12 - 1))
def test_tokens_found_from_another_mask_are_those_of_the_mask(before, after, missing):
    changed, alone = MaskTokens.of(after, MaskTokens.of(before)), MaskTokens.of(after)
    starts = alone.starts.take()
    assert np.array_equal(changed.starts.take(), starts)
    assert np.array_equal(changed.queries.take(), alone.queries.take())
    order, layout = after.attachment.order, layout_from_mask(after)
    samples, places = np.nonzero(starts[:, order])
    assert samples.tolist() == layout.token_samples.tolist()
    assert places.tolist() == layout.token_neurons.tolist()
    assert starts.sum() == len(samples)
    is_missing = np.zeros((60, 12), bool)
    is_missing[20:40] = [bool(missing >> neuron & 1) for neuron in range(12)]
    recorded = layout_from_mask(after, is_missing)
    assert alone.starts_without(is_missing).take().sum() == len(recorded.token_samples)


def test_a_video_step_needs_both_of_its_frames():
    frames = np.ones(60, bool)
    frames[[11, 30]] = False
    layout = layout_from_mask(Mask.nothing(1).with_frames(frames))
    assert 5 not in layout.video_steps
    assert 15 not in layout.video_steps
    assert len(layout.video_steps) == 28


@pytest.mark.parametrize(
    ("start", "count", "steps"), [(0, 60, (0, 30)), (1, 3, (0, 2)), (7, 4, (3, 5))]
)
def test_a_single_span_of_frames_follows_the_official_formula(start, count, steps):
    layout = layout_from_mask(Mask.nothing(1).with_frames(slice(start, start + count)))
    assert layout.video_steps.tolist() == list(range(*steps))


def test_order_decides_positions():
    mask = Mask.nothing(3).show([0, 1, 2], slice(0, 10)).ask([2], slice(30, 35))
    layout = layout_from_mask(mask.with_attachment(order=[2, 0]))
    assert layout.n_neurons == 2
    assert layout.token_neurons.tolist() == [0, 1]
    assert layout.query_neurons.tolist() == [0]


def test_parts_of_queries_have_all_of_them_in_order():
    mask = Mask.nothing(7).ask(slice(0, 7), slice(30, 60))
    layout = layout_from_mask(mask)
    parts = list(query_parts(layout, 10))
    assert [len(part.query_samples) for part in parts] == [10, 10, 10, 10, 2]
    assert parts[1].query_runs == ((35, 4), (40, 6))
    for name in ("query_neurons", "query_samples"):
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(layout, name))


def test_no_query_reaches_over_the_end_of_the_window():
    assert video_steps(np.isin(np.arange(60), [0, 1, 2, 7, 8, 9]))[:6].tolist() == [
        True, False, False, False, True, False,
    ]  # fmt: skip
    layout = TokenLayout(np.arange(1), query_phase=1)
    mask = replace(Mask.nothing(1).ask([0], slice(50, 60)), attachment=layout)
    assert layout_from_mask(mask).query_samples.tolist() == [46, 51]


def test_times_start_at_zero_and_ideal_times_lie_on_the_grid():
    grid = np.arange(60) / 30
    recorded = [grid + 100.25, grid + 7.5]
    frames = [grid + 100.5, grid + 7.0]
    official = replace(SMALL, ideal_times=False)
    relative, steps, starts = batch_times(recorded, frames, official)
    assert relative.shape == (2, 60)
    np.testing.assert_allclose(relative, np.stack([grid, grid]), atol=1e-9)
    assert starts.tolist() == [100.25, 7.5]
    last = [*range(3, 60, 2), 59, 59]
    np.testing.assert_allclose(steps, np.stack([grid[last], grid[last]]), atol=1e-9)
    config = replace(SMALL, ideal_times=True)
    relative, steps, starts = batch_times(recorded, frames, config)
    np.testing.assert_allclose(relative, grid[None], atol=1e-6)
    np.testing.assert_allclose(steps, grid[None, last], atol=1e-6)
    assert starts.tolist() == [100.25, 7.5]


def test_withheld_responses_enter_the_network_as_zero():
    session = open_session({"responses": np.ones((300, 3)), "rate_hz": 30.0})
    mask = Mask.nothing(3).show([0], slice(0, 30)).ask([1])
    clip = batch_from_windows([session.window(3.0)], [mask], SMALL, "s")
    assert (clip.responses[0].numpy() != 0).tolist() == mask.visible.tolist()


@pytest.mark.parametrize("n_times", [1, 3])
def test_items_of_a_batch_share_times_of_one_row_alone(n_times):
    ids = torch.arange(6).reshape(3, 2)
    times = torch.arange(60.0).repeat(n_times, 1) + torch.arange(n_times)[:, None]
    batch = WindowBatch("a", ids, torch.rand(3, 60, 2), None, times, times, torch.arange(3.0))
    two = batch.items(1, 3)
    assert torch.equal(two.neuron_ids, ids[1:])
    assert torch.equal(two.responses, batch.responses[1:])
    assert torch.equal(two.response_times, times if n_times == 1 else times[1:])
    assert torch.equal(two.start_times, torch.tensor([1.0, 2.0]))
    one = two.items(1, 2)
    assert torch.equal(one.neuron_ids, ids[2:])
    past = one.items(1, 2)
    assert len(past.neuron_ids) == len(past.responses) == len(past.start_times) == 0
