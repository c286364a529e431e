"""Predictions in a file, made here or elsewhere, as a `Family`; `om.open_predictions`."""

from pathlib import Path

from omnimouse_model.predict.family import Family
from omnimouse_model.predict.prediction_file import StoredPredictions, has_predictions, open_file


def open_predictions(path: str | Path) -> StoredPredictions:
    """Open a file of predictions as a predictor.

    Examples
    --------
    >>> mask = "causal_response_25_behavior"
    >>> path = om.predict_session("last", session, mask, "last.zarr", tier="test").path
    >>> stored = om.open_predictions(path)
    >>> stored.file.metadata.predictor, stored.file.responses.shape[1]
    ('last', 40)
    >>> one, other = (
    ...     om.evaluate(predictor, session, mask).scores[0].value
    ...     for predictor in (stored, om.load_predictor("last"))
    ... )
    >>> one == other
    True

    Parameters
    ----------
    path
        A zarr folder or NWB file of `predict_session`, or of another program that
        writes the same format (see docs/families.md).

    Raises
    ------
    PredictionsFileError
        The file is missing, unfinished or of another format, or has a wrong field.
    """
    return StoredPredictions(open_file(path))


FAMILY = Family(
    "prediction_file",
    # The device is ignored: nothing is computed.
    load=lambda path, device: open_predictions(path),
    title="Predictions in a file",
    summary="Predictions that this or another program computed and stored.",
    recognises=has_predictions,
)
