"""Results of the laboratory: experiments, searches and decodings on the model."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from omnimouse_model.lab.experiments import ExperimentResult
from omnimouse_model.live.report import ReportData, ReportExperiment
from omnimouse_widgets.report import svg
from omnimouse_widgets.report.markup import Markup, number, table, tag
from omnimouse_widgets.views.laboratory import OF_MODEL, result_text

_PIXEL: Final = 5
"""Side of a pixel of a found image in the report."""


def experiments(data: ReportData) -> Iterator[Markup]:
    """Yield each result, its numbers for the selected neurons, and found images."""
    if data.experiments:
        yield tag("p", OF_MODEL, class_="quiet")
    for experiment in data.experiments:
        yield tag("h3", experiment.label)
        yield tag("p", result_text(experiment.result, experiment.columns))
        result = experiment.result
        if isinstance(result, ExperimentResult):
            yield from _neurons(data, result, experiment)
        elif hasattr(result, "videos"):
            # The last frame: responses to the first half of a video do not count.
            yield tag("figure", _image(result.videos[0, -1], experiment.label))
        else:
            yield _confusion(result.found.classes, result.found.confusion)


def _neurons(
    data: ReportData, result: ExperimentResult, experiment: ReportExperiment
) -> Iterator[Markup]:
    names = data.content.session.units.names
    measured = {int(neuron): at for at, neuron in enumerate(result.neurons)}
    shown = [neuron for neuron in data.content.selection if neuron in measured]
    if not shown:
        return
    rows = [
        (
            str(names[neuron]),
            *(number(float(c[measured[neuron]])) for c in experiment.columns.values()),
        )
        for neuron in shown
    ]
    heads = [name.replace("_", " ") for name in experiment.columns]
    yield table(("neuron", *heads), rows, neurons=shown)


def _confusion(classes: tuple[str, ...], confusion: np.ndarray) -> Markup:
    rows = [
        (name, *(f"{100 * share:z.0f} %" for share in shares))
        for name, shares in zip(classes, confusion.tolist(), strict=True)
    ]
    return table(("true", *(f"predicted {name}" for name in classes)), rows)


def _image(frame: np.ndarray, label: str) -> Markup:
    """Return a gray image as rectangles: one per run of equal pixels of a row."""
    height, width = frame.shape
    # Sixteen levels are enough for the eye, and make long runs.
    levels = frame // 16 * 17
    parts = []
    for row in range(height):
        edges = np.flatnonzero(np.diff(levels[row].astype(int))) + 1
        for start, stop in zip([0, *edges], [*edges, width], strict=True):
            level = int(levels[row, start])
            parts.append(
                tag(
                    "rect",
                    x=_PIXEL * int(start),
                    y=_PIXEL * row,
                    width=_PIXEL * int(stop - start),
                    height=_PIXEL,
                    fill=f"#{level:02x}{level:02x}{level:02x}",
                )
            )
    size = (_PIXEL * width, _PIXEL * height)
    return svg.picture(*size, label, parts, shape_rendering="crispEdges")
