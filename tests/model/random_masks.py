"""Random masks for hypothesis: any that a user can make by hand."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from omnimouse_model.masks import Mask

_STROKES = st.lists(
    st.tuples(st.integers(0, 58), st.integers(1, 60), st.floats(0.1, 1.0), st.integers(0, 2)),
    max_size=5,
)


@st.composite
def masks(draw: st.DrawFn, n_neurons: int) -> Mask:
    """Strokes, frames, behaviour; then order, cuts, span and guard, any of them."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = Mask.nothing(n_neurons)
    for start, length, share, code in draw(_STROKES):
        neurons = np.flatnonzero(generator.random(n_neurons) < share)
        mask = mask.paint(neurons, (start, min(start + length, 60)), code)
    share = draw(st.sampled_from([0.0, 0.05, 0.5, 1.0]))
    mask = mask.with_frames(generator.random(60) < share)
    mask = mask.with_behavior(draw(st.sampled_from(["visible", "target", "hidden"])))
    if draw(st.booleans()):
        entering = draw(st.integers(0, n_neurons))
        mask = mask.with_attachment(order=generator.permutation(n_neurons)[:entering])
    if draw(st.booleans()):
        start, stop = sorted(draw(st.tuples(st.integers(0, 60), st.integers(0, 60))))
        mask = mask.with_attachment(context_span=(start, stop))
        cuts = draw(st.lists(st.integers(0, 59), max_size=2))
        mask = mask.with_attachment(cuts=tuple(cuts))
        # the verb warns, which is tested by itself
        mask = replace(mask, guarded=draw(st.booleans()))
    return mask
