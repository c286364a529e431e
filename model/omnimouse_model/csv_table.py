"""Tables as CSV."""

import csv
import io
from collections.abc import Mapping

import numpy as np


def csv_bytes(columns: Mapping[str, np.ndarray]) -> bytes:
    """Return a table of columns of one length, with their names in the first line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()
