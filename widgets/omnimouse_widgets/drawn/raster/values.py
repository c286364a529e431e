"""Raster pictures: truth, prediction and residual as arrays; no Qt."""

from dataclasses import dataclass
from typing import Final, Literal
from weakref import WeakKeyDictionary

import numpy as np

from omnimouse_model.data.session import Window
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import RasterView
from omnimouse_model.predict.predictor import Prediction
from omnimouse_widgets import palette
from omnimouse_widgets.drawn import units

RasterImage = Literal["truth", "prediction", "residual"]
View = RasterView

VIEWS: Final[dict[View, str]] = {
    "truth": "recorded",
    "prediction": "predicted",
    "residual": "residual",
    "pair": "recorded, predicted",
    "beside": "all three",
}
TITLES: Final[dict[RasterImage, str]] = {
    "truth": "recorded",
    "prediction": "predicted",
    "residual": "residual",
}
GREY: Final = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
RESIDUAL: Final = palette.residual_table()


@dataclass(frozen=True, slots=True, eq=False)
class RasterPicture:
    """Values (n_samples, P) with the levels and colours to draw them in."""

    values: np.ndarray
    levels: tuple[float, float]
    table: np.ndarray


def images_of(view: View) -> tuple[RasterImage, ...]:
    """Return the pictures of a view, from left to right."""
    if view == "beside":
        return ("truth", "prediction", "residual")
    return ("truth", "prediction") if view == "pair" else (view,)


def picture(image: RasterImage, window: Window, prediction: Prediction | None) -> RasterPicture:
    """Return the values to draw; NaN where there is no prediction.

    Truth and prediction use the levels of the window, so that they are comparable.
    """
    low, high = levels_of(window)
    recorded = units.recorded(window)
    if image == "truth":
        return RasterPicture(recorded, (low, high), GREY)
    predicted = all_neurons(prediction, window)
    if image == "prediction":
        return RasterPicture(predicted, (low, high), GREY)
    # Symmetric around 0, so that dark grey always means a residual of 0.
    reach = (high - low) / 2
    return RasterPicture(predicted - recorded, (-reach, reach), RESIDUAL)


def title(image: RasterImage, levels: tuple[float, float], unit: str = "") -> str:
    """Return the title of an image; a residual has the numbers of its end colours."""
    if image != "residual":
        return TITLES[image]
    # The minus sign U+2212 has the width of the plus sign; a hyphen is shorter.
    low, high = (f"{level:+z.2g}".replace("-", "−") for level in levels)
    high = f"{high} {unit}" if unit else high
    return (
        f"<span style='color: {palette.VISIBLE}'>■ {low}</span> {TITLES[image]} "
        f"<span style='color: {palette.TARGET}'>{high} ■</span>"
    )


def age_text(results: Results) -> str:
    """Return a note on a missing or outdated prediction, or ""."""
    if results.population is None:
        return "no prediction yet"
    if results.population_freshness == "streamed":
        return "streamed, not scored"
    return "prediction of an earlier mask or window" if results.is_population_old else ""


def all_neurons(prediction: Prediction | None, window: Window) -> np.ndarray:
    """Predicted responses (n_samples, P) of every neuron, NaN without one."""
    shape = window.spec.n_samples, window.session.n_neurons
    if prediction is not None and np.array_equal(prediction.neurons, np.arange(shape[1])):
        return units.predicted(prediction, window)
    values = np.full(shape, np.nan, np.float32)
    if prediction is not None:
        values[:, prediction.neurons] = units.predicted(prediction, window)
    return values


_LEVELS: WeakKeyDictionary[Window, tuple[float, float]] = WeakKeyDictionary()
"""Levels of windows in use; weak keys, so that closed recordings are released."""


def levels_of(window: Window) -> tuple[float, float]:
    """Return grey levels of a window: 1st to 99th percentile of a sample of values."""
    levels = _LEVELS.get(window)
    if levels is None:
        levels = _LEVELS[window] = _levels(window)
    return levels


def _levels(window: Window) -> tuple[float, float]:
    recorded, is_count = units.recorded(window), window.spec.responses == "count"
    step = max(1, recorded.shape[1] // 1000)
    values = recorded[:, ::step]
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, (1, 99))
    # Most bins have no spike: one spike is then white, not grey.
    least = window.spec.response_rate_hz if is_count else 1e-3
    return float(low), float(max(high, low + least))
