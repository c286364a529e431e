"""What the raster can show: truth, prediction, residual; arrays only, no Qt."""

from dataclasses import dataclass
from typing import Final, Literal
from weakref import WeakKeyDictionary

import numpy as np

from omnimouse_model.data.window import Window
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import RasterView
from omnimouse_model.predict.predictor import Prediction
from omnimouse_widgets import palette

Shown = Literal["truth", "prediction", "residual"]
View = RasterView

VIEWS: Final[dict[View, str]] = {
    "truth": "recorded",
    "prediction": "predicted",
    "residual": "residual",
    "pair": "recorded, predicted",
    "beside": "all three",
}
TITLES: Final[dict[Shown, str]] = {
    "truth": "recorded",
    "prediction": "predicted",
    "residual": "residual",
}
GREY: Final = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
RESIDUAL: Final = palette.residual_table()


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Values (60, P) with the levels and colours to draw them in."""

    values: np.ndarray
    levels: tuple[float, float]
    table: np.ndarray


def shown_in(view: View) -> tuple[Shown, ...]:
    """Pictures of a view, from left to right."""
    if view == "beside":
        return ("truth", "prediction", "residual")
    return ("truth", "prediction") if view == "pair" else (view,)


def picture(shown: Shown, window: Window, prediction: Prediction | None) -> Picture:
    """Values to draw; NaN where there is no prediction.

    Truth and prediction share their levels, those of the window.
    """
    low, high = levels_of(window)
    if shown == "truth":
        return Picture(window.responses, (low, high), GREY)
    predicted = whole(prediction, window.responses.shape[1])
    if shown == "prediction":
        return Picture(predicted, (low, high), GREY)
    reach = (high - low) / 2
    return Picture(predicted - window.responses, (-reach, reach), RESIDUAL)


def title(shown: Shown, levels: tuple[float, float]) -> str:
    """What a picture shows; a residual with the numbers of its two full colours."""
    if shown != "residual":
        return TITLES[shown]
    low, high = (f"{level:+.2g}".replace("-", "−") for level in levels)
    return (
        f"<span style='color: {palette.VISIBLE}'>■ {low}</span> {TITLES[shown]} "
        f"<span style='color: {palette.TARGET}'>{high} ■</span>"
    )


def age_words(results: Results) -> str:
    """What is to be said beside the picture of a prediction."""
    if results.population is None:
        return "no prediction yet"
    return "prediction of an older question" if results.is_population_old else ""


def whole(prediction: Prediction | None, n_neurons: int) -> np.ndarray:
    """Predicted responses (60, P) of every neuron, NaN where there are none."""
    if prediction is not None and np.array_equal(
        prediction.neurons, np.arange(n_neurons)
    ):
        return prediction.responses
    values = np.full((60, n_neurons), np.nan, np.float32)
    if prediction is not None:
        values[:, prediction.neurons] = prediction.responses
    return values


_KNOWN_LEVELS: WeakKeyDictionary[Window, tuple[float, float]] = WeakKeyDictionary()
"""Of windows in use: a closed recording must not be kept, nor its files."""


def levels_of(window: Window) -> tuple[float, float]:
    """Grey levels for a window: 1st to 99th percentile of a sample of its values."""
    found = _KNOWN_LEVELS.get(window)
    if found is None:
        found = _KNOWN_LEVELS[window] = _levels(window)
    return found


def _levels(window: Window) -> tuple[float, float]:
    step = max(1, window.responses.shape[1] // 1000)
    values = window.responses[:, ::step]
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, (1, 99))
    return float(low), float(max(high, low + 1e-3))
