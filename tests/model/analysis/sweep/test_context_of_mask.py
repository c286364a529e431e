import numpy as np
import pytest

from omnimouse_model.analysis.sweep.contexts import (
    Context,
    chosen_draw,
    context_mask,
    held_out_draw,
    measure_context,
)
from omnimouse_model.masks import Mask


@pytest.mark.parametrize(
    "context",
    [
        Context(),
        Context(16, video=False),
        Context(history_samples=25, behavior=False),
        Context(16, 10),
    ],
)
@pytest.mark.parametrize("has_pool", [False, True])
def test_masks_of_a_sweep_lie_on_their_points(context, has_pool, session):
    draw = held_out_draw(40, 16, 0)
    if has_pool:
        draw = chosen_draw(session, 0, largest=16, targets=np.arange(8), pool=np.arange(4, 28))
    found = measure_context(context_mask(context, draw))
    assert found.neurons == context.neurons
    assert found.history_samples == context.history_samples
    assert (found.video, found.behavior) == (context.video, context.behavior)


def test_a_painted_mask_lies_at_its_mean():
    # Those that are never visible are in no pool, and have no history in any sweep of it.
    mask = Mask.nothing(40).ask(range(20, 40), slice(40, 60))
    mask = mask.show(range(10), slice(50, 60)).show(range(20), slice(0, 30))
    found = measure_context(mask)
    assert found.neurons == pytest.approx(10 * 10 / 20)
    assert found.history_samples == pytest.approx(30)
    found = measure_context(Mask.nothing(40).show(np.arange(8), slice(30, 60)))
    assert (found.neurons, found.history_samples) == (8, 0)
