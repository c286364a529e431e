"""Changes of masks unpack to their own size and no further."""

import zlib
from dataclasses import replace

import numpy as np
import pytest

from omnimouse_model.errors import MaskError
from omnimouse_model.inference import mask_delta as deltas
from tests.predictors import example_mask


@pytest.mark.parametrize("field", ["cells", "neurons"])
def test_a_change_of_a_mask_unpacks_to_its_size_at_most(session, monkeypatch, field):
    monkeypatch.setattr(deltas, "_MAX_INDEX_BYTES", 1000)
    before = example_mask(session)
    cells = before.cells.copy()
    cells[0, 1] ^= 1
    after = before.with_cells(cells)
    delta = deltas.mask_delta(before, after)
    np.testing.assert_array_equal(delta.redo(before).cells, after.cells)
    longer = replace(delta, **{field: zlib.compress(bytes(2**20))})
    with pytest.raises(MaskError, match="unpacks to"):
        longer.redo(before)
