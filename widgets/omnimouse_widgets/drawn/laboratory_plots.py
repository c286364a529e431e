"""What the plot of the laboratory shows: a curve, a field, an image or a table.

The plots are values that every view draws in its own way. Colours are bytes, and
places are pixels of the image with the origin at its upper left corner.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from omnimouse_model.data.frames import fit_video
from omnimouse_model.lab.experiments import ExperimentResult
from omnimouse_model.live.controller import Controller
from omnimouse_widgets import palette
from omnimouse_widgets.drawn import laboratory as text
from omnimouse_widgets.drawn.traces.time_axis import frame_at_sample

if TYPE_CHECKING:
    from omnimouse_model.lab.exciting_search import ExcitingInputs

_ELLIPSE_POINTS = 48


@dataclass(frozen=True, slots=True)
class Message:
    """A message in place of a result."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Polar:
    """Response to each direction; 0° is right, 90° is up.

    Attributes
    ----------
    preferred_deg, true_deg
        Preferred direction, and the true one, which simulations know.
    """

    degrees: Float[np.ndarray, " level"]
    values: Float[np.ndarray, " level"]
    preferred_deg: float
    true_deg: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Response to each level of a quantity."""

    levels: Float[np.ndarray, " level"]
    values: Float[np.ndarray, " level"]
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A picture, with a mark and an outline.

    Attributes
    ----------
    place, outline
        (x, y) of a mark, and of the points (n, 2) of an ellipse; None without.
    """

    pixels: UInt8[np.ndarray, "height width 3"]
    place: tuple[float, float] | None = None
    outline: Float[np.ndarray, "point 2"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Share of the neurons of each true class (row) per predicted class."""

    label: str
    classes: tuple[str, ...]
    shares: Float[np.ndarray, "true predicted"]


LabPlot = Message | Polar | Curve | Image | Confusion


def lab_plot(controller: Controller, neuron: int | None) -> LabPlot:
    """Return the plot of the chosen experiment, search or decoding.

    Parameters
    ----------
    neuron
        Index of the neuron in the session, None without one.
    """
    laboratory = controller.laboratory
    if laboratory.exciting is not None:
        return Image(_gray(_found_frame(controller, laboratory.exciting)))
    if laboratory.decoding is not None:
        found = laboratory.decoding.found
        return Confusion(laboratory.decoding.label, found.classes, found.confusion)
    result = laboratory.result
    at = text.column_of(result, neuron)
    if result is None:
        return Message(text.waiting_text(laboratory))
    if at is None:
        return Message(text.NO_NEURON)
    return _plot_of_neuron(controller, result, at)


def _plot_of_neuron(controller: Controller, result: ExperimentResult, at: int) -> LabPlot:
    findings, experiment = result.findings, result.experiment
    if findings.average is not None:
        columns = {name: float(values[at]) for name, values in findings.columns.items()}
        return Image(
            _over(
                _at_size(findings.average[at], result.size),
                _frame(controller, result.size),
            ),
            (columns["column_px"], columns["row_px"]),
            _ellipse(columns),
        )
    if findings.levels is None or findings.curves is None:
        return Message("")
    curve = findings.curves[at]
    if experiment.period is None:
        unit = f" ({experiment.unit})" if experiment.unit else ""
        return Curve(findings.levels, curve, f"{experiment.label.lower()}{unit}")
    true = controller.laboratory.columns(result).get("true_preferred_deg")
    preferred = float(findings.columns["preferred_deg"][at])
    true_deg = None if true is None else float(true[at])
    return Polar(findings.levels, curve, preferred, true_deg)


def _frame_at(controller: Controller) -> int:
    state = controller.state
    return frame_at_sample(state.spec, state.cursor) if state.spec.video else 0


def _found_frame(
    controller: Controller, found: "ExcitingInputs"
) -> UInt8[np.ndarray, "height width"]:
    """Return the frame of a found video at the time of the cursor."""
    frames, video = found.videos[0], controller.state.spec.video
    step = 1.0 if video is None else found.rate_hz / video.rate_hz
    at = min(int(_frame_at(controller) * step + 1e-6), len(frames) - 1)
    return np.asarray(frames[at])


def _frame(
    controller: Controller, size: tuple[int, int]
) -> UInt8[np.ndarray, "height width"] | None:
    """Return the frame at the cursor at the size of a field, None without a video."""
    window, spec = controller.state.window, controller.state.spec
    has_video = window is not None and window.session.stimulus is not None
    if window is None or not has_video or spec.video is None:
        return None
    at = _frame_at(controller)
    return np.asarray(fit_video(window.frames_u8[at : at + 1], size)[0], np.uint8)


def _gray(
    frame: UInt8[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "height width 3"]:
    return np.repeat(frame[..., None], 3, axis=2)


def _at_size(
    average: Float[np.ndarray, "row column"], size: tuple[int, int]
) -> Float[np.ndarray, "height width"]:
    """Return a field at the size of the frames: the value of the grid at each pixel."""
    row, column = (
        np.arange(new) * old // new for new, old in zip(size, average.shape, strict=True)
    )
    return np.asarray(average[row][:, column])


def _over(
    average: Float[np.ndarray, "height width"],
    frame: UInt8[np.ndarray, "height width"] | None,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a field in colours, over a frame where it is weak or unknown."""
    average = np.nan_to_num(average)
    most = max(float(np.abs(average).max()), 1e-12)
    table = palette.residual_table()
    steps = ((average / most + 1) / 2 * (len(table) - 1)).round().astype(np.intp)
    colours = table[steps][..., :3]
    if frame is None:
        return np.asarray(colours, np.uint8)
    # The picture is dimmed, so that the colours of the field stand out.
    weight = (np.abs(average) / most)[..., None]
    mixed = weight * colours + (1 - weight) * 0.55 * _gray(frame)
    return np.asarray(mixed.round(), np.uint8)


def _ellipse(columns: dict[str, float]) -> Float[np.ndarray, "point 2"] | None:
    """Return the ellipse of one standard deviation around the centre of a field."""
    longer, shorter = columns["sd_longer_px"], columns["sd_shorter_px"]
    tilt = np.radians(columns["axis_deg"])
    if not np.isfinite(longer + shorter + tilt):
        return None
    turn = np.linspace(0, 2 * np.pi, _ELLIPSE_POINTS)
    along, across = longer * np.cos(turn), shorter * np.sin(turn)
    # The angle counts upwards from the right, and y counts downwards.
    x = columns["column_px"] + along * np.cos(tilt) - across * np.sin(tilt)
    y = columns["row_px"] - along * np.sin(tilt) - across * np.cos(tilt)
    return np.stack([x, y], axis=1)
