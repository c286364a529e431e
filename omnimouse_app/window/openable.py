"""Test whether OmniMouse can open a path."""

from pathlib import Path

from omnimouse_model.analysis.ranking.rank_table import SUFFIX as RANKING_SUFFIX
from omnimouse_model.data.open import is_session
from omnimouse_model.data.session_index import holds_sessions
from omnimouse_model.live.analysis_file import SUFFIX
from omnimouse_model.predict.prediction_file import has_predictions


def is_openable(path: str) -> bool:
    """Return True for a session, several, an analysis, a ranking, or predictions.

    Takes milliseconds, because it reads names and small files only.
    """
    if path.endswith((SUFFIX, RANKING_SUFFIX)) or has_predictions(Path(path)):
        return True
    return is_session(path) or holds_sessions(path)
