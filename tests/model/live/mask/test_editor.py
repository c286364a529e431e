"""Mask deltas and the undo history."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnimouse_model.families.omnimouse.token_layout import TokenLayout
from omnimouse_model.inference.mask_delta import mask_delta
from omnimouse_model.live.mask.editor import UndoHistory, UndoState
from omnimouse_model.live.pin import Pin
from omnimouse_model.masks import Mask

N = 12
neurons = st.lists(st.integers(0, N - 1), min_size=1, max_size=N, unique=True)
spans = st.tuples(st.integers(0, 59), st.integers(1, 60)).filter(lambda s: s[0] < s[1])
strokes = st.tuples(neurons, spans, st.integers(0, 2))


def paint_stroke(mask: Mask, stroke: tuple[list[int], tuple[int, int], int]) -> Mask:
    ids, span, code = stroke
    return mask.paint(np.array(ids), span, code)


def push(history: UndoHistory, name: str, before: Mask, after: Mask) -> bool:
    return history.note(name, UndoState(before), UndoState(after))


@pytest.mark.slow
@given(st.lists(strokes, min_size=1, max_size=6))
def test_undo_and_redo_restore_every_mask(done):
    history, masks = UndoHistory(), [Mask.nothing(N)]
    for stroke in done:
        after = paint_stroke(masks[-1], stroke)
        if push(history, "stroke", masks[-1], after):
            masks.append(after)
    state = UndoState(masks[-1])
    for expected in reversed(masks[:-1]):
        state = history.undo(state)
        assert state.mask == expected
    assert history.undo(state) is None
    for expected in masks[1:]:
        state = history.redo(state)
        assert state.mask == expected
    assert history.redo(state) is None


def test_every_field_of_a_mask_is_undone():
    before = Mask.nothing(N).show([1, 2])
    after = Mask(
        cells=before.cells,
        frames=np.arange(60) < 30,
        behavior="target",
        attachment=TokenLayout(np.arange(N)[::-1], (30,), (0, 30), 2),
        name="test/one",
        note="adapted",
    )
    delta = mask_delta(before, after)
    assert delta.redo(before) == after
    assert delta.redo(before).name == "test/one"
    assert delta.undo(after) == before
    assert delta.undo(after).name == ""


def test_names_count_the_neurons_and_a_new_step_clears_the_undone_ones():
    history, mask = UndoHistory(), Mask.nothing(N)
    push(history, "Paint {n} neurons visible", mask, mask.show([1, 4, 5]))
    assert history.undo_name == "Paint 3 neurons visible"
    history.undo(UndoState(mask.show([1, 4, 5])))
    assert history.redo_name == "Paint 3 neurons visible"
    push(history, "Paint {n} neurons visible", mask, mask.show([2]))
    assert history.redo_name == ""
    assert history.undo_name == "Paint 1 neuron visible"
    history, mask = UndoHistory(), Mask.nothing(N)
    assert not push(history, "nothing", mask, mask.hide([3]))
    assert history.undo_name == ""


def test_the_oldest_steps_are_dropped_at_the_memory_limit():
    history, mask = UndoHistory(budget_bytes=2000), Mask.nothing(N)
    for k in range(50):
        after = mask.paint([k % N], (0, 60), 1 + k // N % 2)
        push(history, f"step {k}", mask, after)
        mask = after
    assert history.n_bytes <= 2000
    assert history.undo_name == "step 49"
    count = 0
    while (state := history.undo(UndoState(mask))) is not None:
        mask, count = state.mask, count + 1
    assert 1 < count < 50


@pytest.mark.parametrize("count", [1, 37, 5000, 10_000])
def test_strokes_over_ten_thousand_neurons_need_little_memory(count):
    mask = Mask.nothing(10_000)
    chosen = np.random.default_rng(0).permutation(10_000)[:count]
    delta = mask_delta(mask, mask.paint(chosen, (30, 60), 2))
    assert delta.n_neurons == count
    assert delta.n_bytes < 20_000


def test_the_memory_of_a_removed_pin_counts_with_its_mask():
    mask = Mask.nothing(1000)
    pin = Pin(0, "a", mask, "", "mean", "mean")
    history = UndoHistory(budget_bytes=150_000)
    for _ in range(4):
        history.note_unpinned("Unpin a", UndoState(mask), pin)
    assert pin.n_bytes >= 60_000
    assert pin.n_bytes <= history.n_bytes <= 150_000
    history.undo(UndoState(mask))
    history.undo(UndoState(mask))
    assert history.undo(UndoState(mask)) is None  # the oldest were forgotten
    history.note_unpinned("Unpin a", UndoState(mask), pin)
    assert pin.n_bytes <= history.n_bytes < 2 * pin.n_bytes
