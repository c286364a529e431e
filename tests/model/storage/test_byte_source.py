"""One limit for all parts of a file."""

from pathlib import Path

import pytest

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.byte_source import Budget


@pytest.mark.parametrize(
    ("n_stored", "most", "limit"),
    [(10, 2**30, 16 * 2**20), (2**20, 2**30, 2**26), (2**30, 2**30, 2**30), (None, 2**30, 2**30)],
)
def test_parts_fit_into_the_limit_together(n_stored, most, limit):
    budget = Budget(Path("a.h5"), n_stored, most)
    budget.spend("a", limit - 1)
    budget.spend("b", 1)
    with pytest.raises(SessionFormatError, match=f"c and the parts read .* {limit:,} bytes"):
        budget.spend("c", 1)
    with pytest.raises(SessionFormatError, match=f"d unpacks to {limit + 1:,} bytes"):
        budget.spend("d", limit + 1)
