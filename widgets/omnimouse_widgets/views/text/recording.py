"""Texts about the open recording: its name, its contents, and the notes of its reader."""

from typing import Final

from omnimouse_model.data.session import Session
from omnimouse_model.display import channel_text
from omnimouse_model.simulate.demo import is_demo

NOTES_TIP: Final = "Show what is missing, unusual or assumed in this recording"


def name_of(session: Session) -> str:
    """Return the id of a session, and whether it is simulated."""
    return f"{session.id}, simulated" if is_demo(session.path) else session.id


def summary_of(session: Session) -> str:
    """Return e.g. `1,000 neurons · 12.0 min · video · behaviour`."""
    parts = [f"{session.n_neurons:,} neurons", session.recorded_text]
    parts.append("video" if session.stimulus is not None else "no video")
    parts.append("behaviour" if session.behavior_names else "no behaviour")
    return " · ".join(parts)


def channels_of(session: Session) -> str:
    """Return the behaviour channels and the minutes of every part of the recording."""
    minutes = [f"{tier} {length:z.1f} min" for tier, length in session.tiers().items()]
    behavior = ", ".join(map(channel_text, session.behavior_names)) or "none"
    return f"Behaviour: {behavior}\nParts (tiers): {', '.join(minutes)}"


def notes_of(session: Session) -> tuple[str, str]:
    """Return e.g. `3 notes`, and the notes as lines, warnings first; "" without any."""
    notes = (*session.warnings, *session.assumptions)
    if not notes:
        return "", ""
    title = f"{'⚠ ' if session.warnings else ''}{len(notes)} note{'s' * (len(notes) != 1)}"
    return title, "\n".join(f"• {note.message}" for note in notes)
