"""The mask under which the predictions of a chosen file were made."""

from functools import lru_cache
from pathlib import Path

from omnimouse_model.errors import PredictionsFileError
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import Mask
from omnimouse_model.predict.prediction_file.file import open_arrays
from omnimouse_model.predict.prediction_file.metadata import Metadata
from omnimouse_model.predict.predictor import Needs


def mask_of_file(state: LiveState, needs: Needs | None) -> Mask | None:
    """Return the mask of the chosen file, if it is not the one on screen.

    None for other predictors, for a file without a mask, and for another recording.
    """
    session = state.session
    if needs is None or not needs.is_stored or session is None or state.mask is None:
        return None
    path = Path(state.predictor_name)
    try:
        metadata = _metadata(path, path.stat().st_mtime_ns)
    except (OSError, PredictionsFileError):
        return None  # the engine reports what is wrong with the file
    mask = metadata.mask
    is_of_session = (session.id, session.n_neurons) == (
        metadata.session,
        metadata.n_neurons,
    )
    return mask if is_of_session and mask != state.mask else None


# Views ask at every result; the metadata of a file do not change.
@lru_cache(maxsize=4)
def _metadata(path: Path, _changed_ns: int) -> Metadata:
    return Metadata.from_dict(path, open_arrays(path).metadata)
