"""Panel *Files*: how the open recording is read, and what is exported.

Notebooks have it as a tab. In napari, the menus *Open…* and *File* open the same forms,
so that the main panel stays short.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from omnimouse_model.data.session import Session
from omnimouse_model.errors import MISSING_RATE, SessionFormatError
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.project.exports import Exports, MakeContent
from omnimouse_model.live.session_loader import SessionLoader
from omnimouse_model.live.state import LiveState
from omnimouse_widgets.views import record
from omnimouse_widgets.views.form import Form, setting

Maker = Callable[[str], MakeContent]
"""Returns what makes a file of a kind, from what is on screen."""
OPEN_AGAIN: Final = ("Open again", "Read the recording with these options")
SAVE: Final = ("Save…", "Save what is on screen to a file")
WRITING: Final = "Another file is being written"
STOP_TIP: Final = "Stop writing; an existing file is not changed"
NOT_SPIKES: Final = "This recording has no sorted spikes"
CONTENTS: Final = {
    "table": ("Table of neurons", "Position, area, state and score of each neuron", "neurons"),
    "arrays": ("Arrays of the window", "Recorded and predicted values, and the mask", "window"),
    "figure": ("Figure of traces", "Traces of the selected neurons on white", "traces"),
    "report": ("Report", "Task, scores, comparisons and script on one page", "report"),
}
"""Label, help and suggested name of what is exported."""
KINDS: Final = {
    "table": (("csv", "CSV"), ("parquet", "Parquet")),
    "arrays": (("npz", "NumPy"),),
    "figure": (("png", "PNG"), ("svg", "SVG")),
    "report": (("html", "HTML"),),
}
"""Ending and name of the kinds of files of each content."""


def _stored(name: str) -> Callable[[Session | None], Any]:
    """Return a function that reads an option with which the recording was opened."""
    return lambda session: None if session is None else session.options.get(name)


def _of_spikes(session: Session | None) -> str:
    return "" if session is not None and session.responses.has_events else NOT_SPIKES


def _series(session: Session | None) -> Sequence[tuple[Any, str, str]]:
    if session is None:
        return [("", "no recording is open", "")]
    choices = [(name, name, text) for name, text in session.series_choices.items()]
    return choices or [("", "one kind stored", "The files have one kind, so there is no choice")]


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """Facts that the files of a recording lack or state wrongly; see `ReadOptions`.

    The context is the open recording, or None.
    """

    series: str = setting(
        "Responses",
        "Kind of responses that is read",
        "",
        options=_series,
        initial=lambda session: "" if session is None else session.series,
    )
    rate_hz: float | None = setting(
        "Rate", "Samples of the responses per second", None, unit="Hz", low=0.1, high=1000.0,
        empty="from files", initial=_stored("rate_hz"),
    )  # fmt: skip
    recording_rate_hz: float | None = setting(
        "Recorded at",
        "Samples per second before the responses were upsampled",
        None,
        unit="Hz",
        low=0.1,
        high=1000.0,
        empty="as stored",
        initial=_stored("recording_rate_hz"),
    )
    cells_only: bool = setting(
        "Cells only",
        "Leave out regions that the files mark as no cells",
        True,
        initial=lambda session: session is None or session.options.get("cells_only", True),
    )
    unit_tables: str | None = setting(
        "Properties", "CSV file, or folder of them, with properties of the neurons by unit_id",
        None, empty="none", initial=_stored("unit_tables"),
    )  # fmt: skip
    quality: str | None = setting(
        "Quality", "Least quality label of a unit, or the text that it must be", None,
        empty="any", initial=_stored("quality"), refusal=_of_spikes,
    )  # fmt: skip
    min_rate_hz: float | None = setting(
        "Least rate", "Spikes per second that a unit must have", None, unit="spikes/s", low=0.0,
        empty="none", initial=_stored("min_rate_hz"), refusal=_of_spikes,
    )  # fmt: skip
    min_presence: float | None = setting(
        "Presence", "Share of the recording in which a unit must have spikes", None, low=0.0,
        high=1.0, empty="none", initial=_stored("min_presence"), refusal=_of_spikes,
    )  # fmt: skip
    trial_event: str | None = setting(
        "Trials begin",
        "Column of the trial table with the time at which each trial begins. Without one, "
        "stimOn_times of ALF folders that have it, else the stored start of the trial",
        None, empty="stimulus or start", initial=_stored("trial_event"), refusal=_of_spikes,
    )  # fmt: skip
    split_seed: int | None = setting(
        "Split", "Seed that divides the trials where no parts (tiers) are stored", None, low=0,
        empty="as stored", initial=_stored("split_seed"),
    )  # fmt: skip

    def options(self) -> dict[str, Any]:
        """Return the options of `open_session`, by name."""
        found = asdict(self) | {"series": self.series or None}
        with suppress(ValueError):  # a label
            found["quality"] = float(self.quality or "")
        return found


@dataclass(frozen=True, slots=True)
class RateSettings:
    """What is asked if the files of a recording do not say their rate."""

    rate_hz: float = setting(
        "Rate", "Sampling rate of the responses of each plane", 30.0, unit="Hz", low=0.1,
        high=1000.0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """What is exported, and the kind of its file; the context is the view."""

    content: str = setting(
        "Content",
        "What is exported, with the condition under which it was made",
        "table",
        options=lambda view: [(name, *CONTENTS[name][:2]) for name in view.makers],
    )
    kind: str = setting(
        "File",
        "Kind of the file",
        "csv",
        options=lambda view: [(*kind, "") for kind in KINDS[view.export.value("content")]],
    )


class FilesView(OfController):
    """Forms of the reader's options and of exports.

    Parameters
    ----------
    makers
        Further contents, which a front end draws -> function of the kind of file, which
        takes what is on screen and returns what makes the bytes.

    Attributes
    ----------
    reading, rate, export
        The forms.
    """

    name = "files"

    def __init__(
        self, state: LiveState, loader: SessionLoader, exports: Exports, makers: Mapping[str, Maker]
    ) -> None:
        self._state, self._loader, self._exports = state, loader, exports
        self.makers = {"table": exports.maker, "arrays": exports.maker, **makers}
        self.reading = Form(ReadSettings, lambda: state.session)
        self.rate = Form(RateSettings)
        self.export = Form(ExportSettings, lambda: self)

    def blocks(self) -> Sequence[record.Block]:
        """Return the record: options of the reader, missing rate, and exports."""
        session, opening = self._state.events.session, self._loader.changed
        return [
            record.Block(self._reading, [session, opening, self.reading.changed]),
            record.Block(self._asked, [opening, self.rate.changed]),
            record.Block(self._export, [session, self.export.changed, self._exports.changed]),
        ]

    # -- what the user does -----------------------------------------------------------
    @property
    def lacks_rate(self) -> bool:
        """Whether the latest opening failed because the files do not say their rate."""
        fault = self._loader.error
        return isinstance(fault, SessionFormatError) and fault.code == MISSING_RATE

    @property
    def fault(self) -> str:
        """Why the latest opening failed, "" if it did not."""
        fault, name = self._loader.error, self._loader.name
        if fault is None:
            return ""
        # Some exceptions have no message; a made recording has no name.
        reason = str(fault) or type(fault).__name__
        return ": ".join(filter(None, ("Not opened", name, reason)))

    def open_again(self) -> None:
        """Open the recording on screen with the options of the form."""
        self._loader.reopen(**self.reading.read().options())

    def open_at_rate(self) -> None:
        """Repeat the opening that failed, with the rate of the form."""
        self._loader.open_again(rate_hz=self.rate.read().rate_hz)

    def save(self) -> record.WriteFile:
        """Return the file to export, with its name and how it is written."""
        settings = self.export.read()
        # Of the moment of the press.
        make = self.makers[settings.content](settings.kind)
        name = f"{CONTENTS[settings.content][2]}.{settings.kind}"
        return record.WriteFile(name, lambda path: self._exports.write(path, make))

    # -- content ----------------------------------------------------------------------
    def _reading(self) -> Sequence[record.Item | record.Row]:
        session, loader = self._state.session, self._loader
        name = "" if session is None else f" of {session.id}"
        closed = record.NO_SESSION if session is None else ""
        return [
            record.Text("reader", f"Options of the reader{name}"),
            record.Settings("reading", self.reading, "open_again"),
            record.Row(
                "actions",
                (
                    record.Action("open_again", *OPEN_AGAIN, self.open_again,
                                  closed or self.reading.refusal),
                    record.Action("reset", "Reset", "Set the options with which it was read",
                                  self.reading.reset, closed),
                    record.Text("space", ""),
                ),
                wide="space"
            ),
            *([record.Progress("opening", loader.message, None)] if loader.is_busy else []),
            record.Text("fault", self.fault, "problem"),
        ]  # fmt: skip

    def _asked(self) -> Sequence[record.Item | record.Row]:
        if not self.lacks_rate:
            return []
        help_text = "Open the recording at this rate"
        return [
            record.Settings("rate", self.rate, "open_at_rate"),
            record.Action("open_at_rate", "Open at this rate", help_text, self.open_at_rate,
                          self.rate.refusal),
        ]  # fmt: skip

    def _export(self) -> Sequence[record.Item | record.Row]:
        exports, writing = self._exports, list[record.Item]()
        closed = record.NO_SESSION if self._state.session is None else ""
        stop = record.Action("stop", "Stop", STOP_TIP, exports.stop)
        fault = exports.error
        if exports.is_busy:
            writing = [record.Progress("writing", exports.message, exports.share), stop]
        return [
            record.Text("exports", "Export"),
            record.Settings("export", self.export, "save"),
            record.Action("save", *SAVE, self.save, closed or (WRITING if exports.is_busy else "")),
            *writing,
            record.Text("not_written", "" if fault is None else str(fault), "problem"),
        ]
