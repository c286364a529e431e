"""The tasks of the OmniMouse paper, and its published scores, which are of other recordings."""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

NaN = float("nan")
TASKS = MappingProxyType(
    {
        "fcst": "test/causal_response_25_behavior",
        "fcst+S": "test/causal_response_25_video_behavior",
        "pop 256": "test_additional/population_256_response_behavior",
        "pop 1024": "test/population_1024_response_behavior",
        "pop+S": "test_additional/population_256_response_video_behavior",
        "stim": "test/video_behavior",
    }
)
"""Official mask of each response column."""
DECODING = "test/all_response_only"
"""Mask of behaviour decoding: all responses visible, no video."""
BEHAVIOR = MappingProxyType(
    {
        "behav avg": "average",
        "loc": "location",
        "size": "size",
        "run": "running",
    }
)
"""Group of channels of each behaviour column, see `behavior_groups`."""
COLUMNS = (*TASKS, *BEHAVIOR)
STRATEGIES = (*TASKS.values(), DECODING)
"""Strategies to evaluate for the whole table."""


@dataclass(frozen=True, slots=True)
class PaperRow:
    """One model and its pooled value per column (NaN: none); see `COLUMNS`.

    `source` is "measured", or the publication with these values; `data` says on which
    recordings.
    """

    model: str
    values: dict[str, float]
    source: str = "measured"
    n_sessions: int = 0
    data: str = ""


_DATA = (
    "test parts of seven mice of Sensorium 2022 and 2023, after a training on as many sessions "
    "as the row says"
)


def _printed(model: str, sessions: int, *numbers: float) -> PaperRow:
    model = f"OmniMouse-{model}" if model[0].isdigit() else model
    # The published table has no column "stim", which stays NaN.
    columns = ("fcst", "fcst+S", "pop 256", "pop 1024", "pop+S", *BEHAVIOR)
    values = dict.fromkeys(COLUMNS, NaN) | dict(zip(columns, numbers, strict=True))
    return PaperRow(model, values, "OmniMouse paper", sessions, _DATA)


PRINTED: tuple[PaperRow, ...] = (
    _printed("MtM", 8, 0.12, NaN, 0.07, 0.21, NaN, NaN, NaN, NaN, NaN),
    _printed("Latent model", 8, NaN, 0.18, NaN, NaN, 0.16, NaN, NaN, NaN, NaN),
    _printed("CEBRA", 8, NaN, NaN, NaN, NaN, NaN, 0.53, 0.52, 0.55, 0.51),
    _printed("POYO+", 8, NaN, NaN, NaN, NaN, NaN, 0.55, 0.56, 0.63, 0.47),
    _printed("5M", 8, 0.18, 0.30, 0.25, 0.34, 0.27, 0.59, 0.68, 0.66, 0.44),
    _printed("1M", 323, 0.18, 0.33, 0.27, 0.36, 0.35, 0.68, 0.75, 0.73, 0.55),
    _printed("5M", 323, 0.22, 0.34, 0.28, 0.37, 0.35, 0.69, 0.76, 0.74, 0.57),
    _printed("20M", 323, 0.23, 0.35, 0.29, 0.38, 0.37, 0.75, 0.78, 0.75, 0.73),
    _printed("80M", 323, 0.25, 0.36, 0.29, 0.39, 0.37, 0.77, 0.80, 0.76, 0.75),
    _printed("300M", 323, 0.25, 0.36, 0.30, 0.39, 0.37, 0.76, 0.80, 0.76, 0.73),
)
"""Published values; a later summary has fcst+S .25 (5M, 8 sessions) and .34 (80M)."""
PUBLISHED_ROWS = tuple(
    {"name": "published", "value": value, "unit": "single-trial correlation", "column": column}
    | {"predictor": row.model, "strategy": TASKS.get(column, DECODING), "source": row.source}
    | {"data": row.data, "n_sessions": row.n_sessions}
    for row in PRINTED
    for column, value in row.values.items()
    if np.isfinite(value)
)
"""The same as rows of `--json`."""
