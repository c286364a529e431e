"""Recordings that are refused, and notes of those that are read."""

import os
from pathlib import Path
from typing import Any

import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import SessionFormatError


def check_refusal(source: Any, words: str | None = None, **reading: Any) -> SessionFormatError:
    """Check that opening fails with one line that matches; return the error."""
    with pytest.raises(SessionFormatError, match=words) as caught:
        open_session(source, **reading)
    assert "\n" not in str(caught.value)
    return caught.value


def left_out(source: Any, **reading: Any) -> str:
    """Open a recording and return its one warning about a part that was left out."""
    session = source if isinstance(source, Session) else open_session(source, **reading)
    found = [n.message for n in session.warnings if n.code == "left_out_stream"]
    assert len(found) == 1, found
    assert "\n" not in found[0]
    return found[0]


OTHER_USER = 54321


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a link that of another user: in fact as root, else in what `lstat` says."""
    if os.geteuid() == 0:
        os.lchown(path, OTHER_USER, -1)
        return
    real = os.lstat

    def lstat(place: Any, **options: Any) -> Any:
        info = real(place, **options)
        if Path(place).name != path.name:
            return info
        fields = list(info)
        fields[4] = OTHER_USER
        return os.stat_result(fields)

    monkeypatch.setattr(os, "lstat", lstat)


def notes_of(session: Session) -> dict[str, str]:
    """Messages of the warnings and assumptions of a session, by their codes."""
    return {n.code: n.message for n in (*session.warnings, *session.assumptions)}
