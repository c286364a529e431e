"""Recordings that are refused, and values and notes of those that are read."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
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


def bar(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    """Have a function of `os` deny paths that end with a text, or what is in "folder/"."""
    real = getattr(os, name)

    def barred(path: Any, *rest: Any, **options: Any) -> Any:
        if str(path).endswith(text) or (text.endswith("/") and text in str(path)):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *rest, **options)

    monkeypatch.setattr(os, name, barred)


def notes_of(session: Session) -> dict[str, str]:
    """Warnings and assumptions of a session by code, those of one code in one text."""
    found: dict[str, str] = {}
    for note in (*session.assumptions, *session.warnings):
        found[note.code] = " | ".join([*filter(None, [found.get(note.code)]), note.message])
    return found


def warning_of(session: Session, code: str) -> str:
    """Message of the one warning of a kind."""
    (message,) = [note.message for note in session.warnings if note.code == code]
    return message


def check_session(
    source: Any,
    values: dict[str, Any] | None = None,
    notes: dict[str, str | tuple[str, ...] | None] | None = None,
    **reading: Any,
) -> Session:
    """Check values of a session by name, such as "units.area", and words of its notes by code.

    A float is compared up to rounding. None stands for no note of that code.
    """
    session = source if isinstance(source, Session) else open_session(source, **reading)
    for name, expected in (values or {}).items():
        found: Any = session
        for part in name.split("."):
            found = found[part] if isinstance(found, Mapping) else getattr(found, part)
        found = found.tolist() if isinstance(found, np.ndarray) else found
        assert found == (pytest.approx(expected) if isinstance(expected, float) else expected), name
    told = notes_of(session)
    for code, words in (notes or {}).items():
        if words is None:
            assert code not in told, told[code]
            continue
        assert code in told, (code, told)
        for one in (words,) if isinstance(words, str) else words:
            assert one in told[code], (one, told[code])
    return session
