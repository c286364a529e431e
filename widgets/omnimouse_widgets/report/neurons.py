"""Position and one-line description of each neuron on the report's field."""

from typing import Any

import numpy as np

from omnimouse_model.live.project.exports import ScreenContent
from omnimouse_model.masks import PATTERN_NAMES
from omnimouse_widgets.report.drawings import FieldPictures
from omnimouse_widgets.report.markup import number


def neurons_data(content: ScreenContent) -> dict[str, Any]:
    """Return positions and descriptions of all neurons.

    Positions are a flat list of right, down, right, down …, with None for unknown ones.
    """
    places = FieldPictures(content.session.units).places.round(1).ravel()
    patterns = content.mask.patterns_in((0, content.mask.n_samples))
    return {
        # JSON has no NaN; a flat list of numbers is the shortest form in the file.
        "places": [float(v) if np.isfinite(v) else None for v in places],
        "texts": [
            neuron_text(content, neuron, PATTERN_NAMES[pattern])
            for neuron, pattern in enumerate(patterns.tolist())
        ],
    }


def neuron_text(content: ScreenContent, neuron: int, state: str) -> str:
    """Return one line: `neuron 412 · V1 · depth 210 µm · visible · r = 0.432`."""
    units = content.session.units
    parts = [f"neuron {units.names[neuron]}"]
    if units.area is not None and str(units.area[neuron]):
        parts.append(str(units.area[neuron]))
    # Many recordings have no depths.
    depth = float(units.xyz_um[neuron, 2])
    if np.isfinite(depth):
        parts.append(f"depth {number(depth, 0)} µm")
    parts.append(state)
    scores = content.shown_scores
    score = np.nan if scores is None else float(scores[neuron])
    is_scored = np.isfinite(score)
    parts.append(content.metric.named(number(score)) if is_scored else "no score")
    return " · ".join(parts)
