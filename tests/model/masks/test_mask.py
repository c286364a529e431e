"""The mask's verbs: algebra, exchange, history, gaps, settings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import omnimouse_model as om
from omnimouse_model.data.window_spec import VideoSpec
from omnimouse_model.errors import MaskError
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE, Mask, input_cells, scored_cells
from tests.model.random_masks import masks

N = 6
some = settings(max_examples=30)


def first_target_sample(mask: Mask) -> int:
    """The first sample with a target, 60 where there is none."""
    return int(np.argmax(mask.target.any(axis=1))) if mask.target.any() else 60


def values_of(mask: Mask) -> tuple[list[int], ...]:
    """Everything that algebra combines."""
    behavior = ("hidden", "visible", "target").index(mask.behavior)
    return mask.cells.ravel().tolist(), mask.frames.astype(int).tolist(), [behavior]


# -- algebra ----------------------------------------------------------------------
@some
@given(masks(N), masks(N), masks(N))
def test_union_and_intersection_are_a_distributive_lattice(a, b, c):
    assert values_of(a | a) == values_of(a & a) == values_of(a)
    assert values_of(a | b) == values_of(b | a)
    assert values_of(a & b) == values_of(b & a)
    assert values_of((a | b) | c) == values_of(a | (b | c))
    assert values_of((a & b) & c) == values_of(a & (b & c))
    assert values_of(a | (a & b)) == values_of(a & (a | b)) == values_of(a)
    assert values_of(a & (b | c)) == values_of((a & b) | (a & c))


@some
@given(masks(N), masks(N))
def test_every_cell_of_a_union_is_what_the_stronger_mask_says(a, b):
    union, common = a | b, a & b
    assert np.array_equal(union.visible, a.visible | b.visible)
    assert np.array_equal(common.visible, a.visible & b.visible)
    by_a, by_b = a.cells != HIDDEN, b.cells != HIDDEN
    assert np.array_equal(union.cells != HIDDEN, by_a | by_b)
    assert np.array_equal(common.cells != HIDDEN, by_a & by_b)


@some
@given(masks(N), masks(N))
def test_a_difference_keeps_what_the_other_mask_does_not_mention(a, b):
    rest = a - b
    mentioned = b.cells != HIDDEN
    assert not rest.cells[mentioned].any()
    assert np.array_equal(rest.cells[~mentioned], a.cells[~mentioned])
    assert np.array_equal(rest.frames, a.frames & ~b.frames)
    assert rest.behavior == (a.behavior if b.behavior == "hidden" else "hidden")
    nothing = Mask.nothing(N)
    assert values_of(a - nothing) == values_of(a | nothing) == values_of(a)
    assert values_of(a & nothing) == values_of(a - a) == values_of(nothing)


@some
@given(masks(N))
def test_exchanging_twice_changes_nothing(mask):
    assert values_of(mask.invert().invert()) == values_of(mask)
    assert values_of(mask.swap().swap()) == values_of(mask)
    assert np.array_equal(mask.invert().visible, mask.cells == HIDDEN)
    assert np.array_equal(mask.invert().target, mask.target)
    assert np.array_equal(mask.swap().visible, mask.target)
    assert np.array_equal(mask.swap().target, mask.visible)


@some
@given(masks(N), masks(N))
def test_what_becomes_visible_has_latents_and_enters(a, b):
    union = a | b
    shown = np.flatnonzero(union.visible.any(axis=1))
    if len(shown):
        start, stop = union.attachment.context_span
        assert start <= shown[0]
        assert shown[-1] < stop
    entered = set(union.attachment.order.tolist())
    assert set(np.flatnonzero(b.cells.any(axis=0))) <= entered
    turned = np.flatnonzero((a.cells == HIDDEN).any(axis=0))
    assert set(turned.tolist()) <= set(a.invert().attachment.order.tolist())


def test_the_left_mask_keeps_its_settings_as_if_it_were_painted_on():
    left = (
        Mask.nothing(4)
        .with_attachment(order=[2, 0])
        .with_attachment(cuts=(25,))
        .show([2], slice(0, 40))
    )
    right = Mask.nothing(4).with_attachment(cuts=(10,)).ask([3], slice(40, 60)).with_frames(True)
    union = left | right
    assert union.attachment.order.tolist() == [2, 0, 3]
    assert union.attachment.cuts == (25,)
    assert union.frames.all()
    assert union == left.ask([3], slice(40, 60)).with_frames(True)
    with pytest.raises(MaskError, match="Masks for 3 and 4 neurons"):
        Mask.nothing(3) | Mask.nothing(4)


# -- history and gaps -------------------------------------------------------------
@some
@given(masks(N), st.integers(0, 60))
def test_history_keeps_the_last_visible_samples_before_the_targets(mask, n):
    first = first_target_sample(mask)
    cut = mask.with_history(n)
    for neuron in range(N):
        before = np.flatnonzero(mask.visible[:first, neuron])
        kept = np.flatnonzero(cut.visible[:first, neuron])
        assert kept.tolist() == before[len(before) - min(n, len(before)) :].tolist()
    assert np.array_equal(cut.cells[first:], mask.cells[first:])
    assert np.array_equal(cut.target, mask.target)


@some
@given(masks(N), st.integers(0, 60))
def test_a_gap_has_nothing_visible_before_the_targets(mask, n):
    first = first_target_sample(mask)
    cut = mask.with_gap(n)
    low = max(first - n, 0)
    assert not cut.visible[low:first].any()
    outside = np.r_[0:low, first:60]
    assert np.array_equal(cut.cells[outside], mask.cells[outside])
    assert np.array_equal(cut.target, mask.target)


def test_gaps_and_histories_are_those_of_strategies_and_within_a_window():
    whole = Mask.nothing(8).show(range(8), slice(0, 30)).ask(range(8))
    cut = whole.with_gap(5).with_history(10).with_behavior("visible")
    named = Mask.from_strategy("test_additional/causal_response_10_behavior", 8)
    assert np.array_equal(cut.cells, named.cells)
    assert cut == named.with_attachment(context_span=(0, 60))
    for verb in (Mask.nothing(2).with_history, Mask.nothing(2).with_gap):
        for n in (-1, 61):
            with pytest.raises(MaskError, match=rf"of {n} samples is not in 0\.\.60"):
                verb(n)


# -- settings -----------------------------------------------------------------------
def test_settings_are_chosen_by_verbs_and_checked():
    mask = Mask.from_strategy("test/video_behavior", 5)
    assert mask.with_attachment(order=[4, 1]).hide([0]).attachment.order.tolist() == [4, 1]
    changed = mask.with_attachment(order=[4, 1], cuts=(40, 20), context_span=(10, 50))
    assert changed.attachment.order.tolist() == [4, 1]
    assert changed.attachment.cuts == (20, 40)
    assert changed.attachment.context_span == (10, 50)
    assert changed.name == ""
    assert np.array_equal(changed.cells, mask.cells)
    assert changed.with_attachment(cuts=()).attachment.cuts == ()
    for change, message in (
        ({"order": [1, 1]}, "at most once"),
        ({"order": [5]}, r"outside 0\.\.4"),
        ({"cuts": (60,)}, r"samples 0\.\.59"),
        ({"cuts": (-1,)}, r"samples 0\.\.59"),
        ({"context_span": (30, 61)}, r"not in 0\.\.60"),
        ({"context_span": (30, 10)}, r"not in 0\.\.60"),
        ({"span": (0, 9)}, "no field 'span'; it has order, cuts"),
    ):
        with pytest.raises(MaskError, match=message):
            mask.with_attachment(**change)


@pytest.mark.parametrize("chosen", [np.array(["V1"]), np.array("V1"), np.array([1.5])])
def test_neurons_and_samples_are_chosen_by_index(chosen):
    with pytest.raises(MaskError, match=r"^neurons: found .*, expected indices.*select_areas"):
        Mask.nothing(3).show(chosen)
    with pytest.raises(MaskError, match=r"^samples: found .*, expected indices\.$"):
        Mask.nothing(3).show([0], chosen)


def test_switching_the_guard_off_asks_more_and_warns():
    mask = Mask.nothing(2).show([0], slice(0, 30)).ask([0, 1], slice(30, 60))
    mask = mask.ask([1], slice(0, 60))
    with pytest.warns(UserWarning, match="read off their neighbours"):
        free = mask.with_guard(False)
    assert np.array_equal(scored_cells(free), mask.target)
    assert scored_cells(mask).sum() == mask.target.sum() - 5 - 8
    assert free != mask
    assert free.with_guard(True) == mask


some_neurons = st.sets(st.integers(0, N - 1))
stroke = st.tuples(some_neurons, st.integers(0, 50), st.integers(0, 2))


@some
@given(masks(N), st.lists(stroke, max_size=4))
def test_the_last_stroke_decides_each_cell(mask, strokes):
    expected = mask.cells.copy()
    for neurons, start, code in strokes:
        mask = mask.paint(sorted(neurons), slice(start, start + 10), code)
        expected[start : start + 10, sorted(neurons)] = code
    assert np.array_equal(mask.cells, expected)
    assert np.array_equal(mask.visible, expected == VISIBLE)
    assert np.array_equal(mask.target, expected == TARGET)
    assert not (input_cells(mask) & ~mask.visible).any()
    assert not (scored_cells(mask) & ~mask.target).any()


@pytest.mark.parametrize(("stop", "span"), [(30, (10, 30)), (31, (0, 60))])
def test_the_context_span_stays_if_it_has_the_visible_samples(stop, span):
    short = Mask.nothing(2).with_attachment(context_span=(10, 30))
    mask = short | Mask.nothing(2).show([0], (20, stop))
    assert mask.attachment.context_span == span


def test_cells_and_frames_are_mapped_by_time():
    spec = om.WindowSpec(2.0, 60.0, video=VideoSpec(60.0, 36, 64))
    mask = Mask.nothing(1).show([0], (30, 60)).with_frames(slice(30, 60)).at(spec)
    later = np.arange(120) >= 60
    assert np.array_equal(mask.visible[:, 0], later)
    assert np.array_equal(mask.frames, later)
