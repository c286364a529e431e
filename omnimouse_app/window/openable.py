"""Test whether OmniMouse can open a path."""

from omnimouse_model.data.open import is_session
from omnimouse_model.data.session_index import holds_sessions
from omnimouse_model.live.analysis_file import SUFFIX


def is_openable(path: str) -> bool:
    """Return True if a path is a session, an analysis, or a folder of sessions.

    Takes milliseconds, because it reads names and small files only.
    """
    return path.endswith(SUFFIX) or is_session(path) or holds_sessions(path)
