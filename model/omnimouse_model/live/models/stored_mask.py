"""The mask under which the predictions of a chosen file were made."""

from functools import lru_cache
from pathlib import Path

from omnimouse_model.errors import PredictionsFileError
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Needs
from omnimouse_model.predict.stored.arrays import open_arrays
from omnimouse_model.predict.stored.facts import Facts


def stored_mask(state: LiveState, needs: Needs | None) -> Mask | None:
    """Return the mask of the chosen file, if it is not the one on screen.

    None for other predictors, for a file without a mask, and for another recording.
    """
    session = state.session
    if needs is None or not needs.is_stored or session is None or state.mask is None:
        return None
    path = Path(state.predictor_name)
    try:
        facts = _facts(path, path.stat().st_mtime_ns)
    except (OSError, PredictionsFileError):
        return None  # the engine reports what is wrong with the file
    mask = facts.mask
    is_of_session = (session.id, session.n_neurons) == (facts.session, facts.n_neurons)
    return mask if is_of_session and mask != state.mask else None


# Views ask at every result; the facts of a file do not change.
@lru_cache(maxsize=4)
def _facts(path: Path, _changed_ns: int) -> Facts:
    return Facts.from_dict(path, open_arrays(path).facts)
