"""What will not be seen or scored is said, with the rule and the way out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from omnimouse_model.masks import Mask, Remark, input_cells, remarks_on, scored_cells
from omnimouse_model.masks.strategies import strategy_names
from tests.model.random_masks import masks


def remark(mask: Mask, code: str) -> Remark:
    (found,) = [item for item in remarks_on(mask) if item.code == code]
    return found


@pytest.mark.slow
@settings(max_examples=40)
@given(masks(8))
def test_every_cell_that_is_left_out_is_in_one_remark(mask):
    told = {item.code: item.cells for item in remarks_on(mask)}
    none = np.zeros_like(mask.visible)
    unseen = mask.visible & ~input_cells(mask)
    rules = [told.get("short-run", none), told.get("not-entering", none) & mask.visible]
    assert np.array_equal(sum(rule.astype(int) for rule in rules), unseen)
    unasked = mask.target & ~scored_cells(mask)
    rules = [told.get(code, none) for code in ("first-samples", "beside-visible")]
    rules.append(told.get("not-entering", none) & mask.target)
    assert np.array_equal(sum(rule.astype(int) for rule in rules), unasked)
    silent = mask.behavior != "target" and not scored_cells(mask).any()
    assert ("nothing-asked" in told) == silent


def test_strategies_have_a_remark_in_a_large_population_alone():
    for name in strategy_names():
        assert remarks_on(Mask.from_strategy(name, 24)) == ()
    mask = Mask.from_strategy("test/video_behavior", 5000)
    assert "5,000 neurons enter" in remark(mask, "long-order").message
    assert remarks_on(Mask.from_strategy("test/video_behavior", 5000, seed=1)) == ()


def test_short_runs_are_not_seen():
    mask = Mask.nothing(5).ask([4]).show([0, 1], slice(0, 9)).show([2], slice(0, 19))
    found = remark(mask.with_attachment(cuts=(10,)), "short-run")
    assert found.neurons.tolist() == [0, 1, 2]
    assert found.cells.sum() == 9 + 9 + 9
    assert found.message.startswith("27 samples of 3 neurons")
    assert "cut (10)" in found.message


def test_the_guard_says_what_it_leaves_out():
    mask = Mask.nothing(2).show([0], slice(0, 30)).ask([0], slice(30, 60))
    mask = mask.ask([1], slice(0, 60))
    first, beside = remark(mask, "first-samples"), remark(mask, "beside-visible")
    assert first.neurons.tolist() == [1]
    assert first.message.startswith("5 samples of 1 neuron ")
    assert np.flatnonzero(beside.cells[:, 0]).tolist() == list(range(30, 38))
    free = remark(replace(mask, guarded=False), "unguarded")
    assert np.array_equal(free.cells, first.cells | beside.cells)


def test_neurons_samples_and_frames_that_do_not_enter_are_told():
    mask = Mask.nothing(4).show([0]).ask([1, 2]).with_attachment(order=[0, 1, 3])
    found = remark(mask, "not-entering")
    assert found.neurons.tolist() == [2]
    assert "with_attachment(order=" in found.message
    mask = Mask.nothing(2).show([0]).ask([1]).with_attachment(context_span=(30, 60))
    found = remark(mask, "outside-span")
    assert np.flatnonzero(found.cells[:, 0]).tolist() == list(range(30))
    assert "context span 30-60" in found.message
    assert "with_attachment(context_span=(0, 60))" in found.message
    mask = Mask.nothing(1).ask([0]).with_frames(slice(4, 21))
    assert "1 visible frame of the video" in remark(mask, "single-frame").message
    assert remarks_on(mask.with_frames(slice(4, 20))) == ()
    assert remarks_on(mask.with_frames(slice(3, 20))) == ()  # as officially


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (Mask.nothing(3), "has no target"),
        (Mask.nothing(3).ask([0], slice(0, 5)), "left out"),
        (Mask.nothing(3).ask([0]).with_attachment(order=[1]), "left out"),
    ],
)
def test_a_mask_that_asks_nothing_says_why(mask, words):
    assert words in remark(mask, "nothing-asked").message
    decoding = mask.with_behavior("target")
    assert "nothing-asked" not in {item.code for item in remarks_on(decoding)}
