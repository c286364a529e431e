"""Files of predictions as a `Family`."""

from pathlib import Path

from omnimouse_model.families.prediction_file.file import has_predictions
from omnimouse_model.predict.family import Family
from omnimouse_model.predict.predictor import Predictor


def _load(path: Path, device: str) -> Predictor:
    # The device is ignored: nothing is computed.
    from omnimouse_model.families.prediction_file.predictor import open_predictions

    return open_predictions(path)


FAMILY = Family(
    "prediction_file",
    _load,
    title="Predictions in a file",
    summary="Predictions that this or another program computed and stored.",
    recognises=has_predictions,
)
