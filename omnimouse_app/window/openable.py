"""Which paths OmniMouse opens: sessions, analyses, and folders of sessions."""

from omnimouse_model.data.open import is_session
from omnimouse_model.data.session_index import holds_sessions
from omnimouse_model.live.analysis_file import SUFFIX


def is_openable(path: str) -> bool:
    """Return whether a path is a session, an analysis, or a folder of sessions.

    Takes milliseconds: it looks at names and small files only.
    """
    return path.endswith(SUFFIX) or is_session(path) or holds_sessions(path)
