"""The demo's sessions: generated once into the user's cache, from frozen seeds."""

from collections.abc import Callable
from pathlib import Path

from omnimouse_model.cache import cache_dir
from omnimouse_model.simulate.specs import DEMO_SHOWN, UNSEEN, VERSION, MouseSpec

CHECKPOINT = Path(__file__).parent / "demo.safetensors"
"""The shipped weights; `demo.json` beside them says what they are."""


def demo_session(progress: Callable[[float], None] | None = None) -> Path:
    """Folder of the shown session: 1,000 neurons the demo model knows, 12 new minutes.

    Generated in about 15 s when first asked for; `progress` gets the finished share.

    Examples
    --------
    >>> session = om.open_session(om.demo_session())
    >>> session.format, session.responses.rate_hz
    ('experanto', 30.0)
    """
    return _session(DEMO_SHOWN, progress)


def unseen_session(progress: Callable[[float], None] | None = None) -> Path:
    """Folder of a mouse that no model was trained on: 400 neurons, 12 minutes.

    Examples
    --------
    >>> om.open_session(om.unseen_session()).id
    '90009-1-1'
    """
    return _session(UNSEEN, progress)


def is_demo(folder: Path) -> bool:
    """Whether a session is one of those made here, and no recording of the user's."""
    return folder.is_relative_to(cache_dir() / "sessions")


def _session(spec: MouseSpec, progress: Callable[[float], None] | None) -> Path:
    # Generating needs more of the simulator than knowing where the result is.
    from omnimouse_model.simulate.write import write_session

    folder = cache_dir() / "sessions" / f"v{VERSION}" / spec.name
    return write_session(spec, folder, progress)
