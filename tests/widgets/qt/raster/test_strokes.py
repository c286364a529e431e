import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnimouse_widgets.qt.raster.gestures import RasterBlock, box_block, brush_blocks

PLACES = st.tuples(st.floats(0, 59.99), st.floats(0, 30))


def covered_cells(blocks: list[RasterBlock], n_rows: int = 40) -> np.ndarray:
    """Cells (samples, rows) that blocks cover."""
    cells = np.zeros((60, n_rows), bool)
    for block in blocks:
        low, high = int(np.floor(block.low)), int(np.floor(block.high))
        cells[block.samples, max(low, 0) : max(high + 1, 0)] = True
    return cells


@given(PLACES, PLACES)
def test_a_stroke_has_no_gaps(start, stop):
    cells = covered_cells(brush_blocks(start, stop, (0.6, 0.6), 60))
    for t in np.linspace(0, 1, 200):
        x = start[0] + t * (stop[0] - start[0])
        y = start[1] + t * (stop[1] - start[1])
        assert cells[int(x), int(y)]


@given(PLACES, PLACES, st.floats(0.6, 4), st.floats(0.6, 4))
def test_a_stroke_stays_within_its_radius(start, stop, across, down):
    blocks = brush_blocks(start, stop, (across, down), 60)
    samples, rows = np.nonzero(covered_cells(blocks))
    left, right = sorted((start[0], stop[0]))
    top, bottom = sorted((start[1], stop[1]))
    assert (samples + 1 >= left - across).all()
    assert (samples <= right + across).all()
    assert (rows + 1 >= top - down).all()
    assert (rows <= bottom + down).all()


def test_strokes_leave_the_window_without_harm():
    blocks = brush_blocks((-5.0, 3.0), (70.0, 3.0), (1.0, 1.0), 60)
    assert covered_cells(blocks)[:, 3].all()
    assert brush_blocks((-9.0, 3.0), (-9.0, 3.0), (1.0, 1.0), 60) == []


@pytest.mark.parametrize(
    ("start", "stop", "samples"),
    [
        ((3.2, 1.5), (6.1, 4.2), slice(3, 7)),
        ((6.1, 4.2), (3.2, 1.5), slice(3, 7)),
        ((55.0, 1.5), (80.0, 4.2), slice(55, 60)),
        ((-4.0, 1.5), (2.0, 4.2), slice(0, 3)),
    ],
)
def test_a_box_takes_every_cell_of_the_window_it_touches(start, stop, samples):
    assert box_block(start, stop, 60) == RasterBlock(samples, 1.5, 4.2)
