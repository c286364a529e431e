"""Check of recordings that are refused."""

from typing import Any

import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import SessionFormatError


def check_refusal(source: Any, words: str, **reading: Any) -> SessionFormatError:
    """Check that opening fails with a message that matches; return the error."""
    with pytest.raises(SessionFormatError, match=words) as caught:
        open_session(source, **reading)
    return caught.value
