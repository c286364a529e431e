"""Errors that several rooms raise or catch; messages state problem and solution.

An error that only one room uses is defined there, for example `LinkEndedError` of a
predictor's process or `BrowserMissingError` of the screenshots.
"""

from linecache import getline
from pathlib import Path
from traceback import walk_tb
from unicodedata import category

MISSING_RATE = "missing_rate"
"""Code of the error for responses whose rate no file states: the user must state it."""

UNEXPECTED = "unexpected"
"""Code of the error for an exception that the reader did not expect: a bug."""


_LONGEST_MESSAGE = 2000


def bounded(message: str) -> str:
    """Return a message that no text of a file makes longer than a page, or lets do anything.

    Python and notebooks print it as it is: signs that control a terminal are replaced.
    """
    half = _LONGEST_MESSAGE // 2
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:half]} … {message[-half:]}"
    return without_controls(message, "\n")


def without_controls(text: str, kept: str = "") -> str:
    """Return a text with signs that control a terminal replaced, except those of `kept`.

    Spaces of all kinds stay: names of files have narrow ones.
    """
    if text.isprintable():  # a file can have a million texts
        return text
    return "".join(
        c if c.isprintable() or c in kept or category(c) == "Zs" else "\N{REPLACEMENT CHARACTER}"
        for c in text
    )


_FRONT_ENDS = "IPython", "ipykernel", "traitlets", "ipywidgets"
"""Packages between a cell and our code, also where the cell sets a trait of a widget."""


class ToldError(ValueError):
    """Base class of errors whose message says what to do: a notebook shows no code of ours."""

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows: the lines of the user that led here, and the message.

        `traceback.print_last()` still prints everything.
        """
        shown = []
        for frame, line in walk_tb(self.__traceback__):
            package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            if package.startswith("omnimouse_"):
                break
            if package not in _FRONT_ENDS:
                file = frame.f_code.co_filename
                is_cell = file.startswith("<") or "ipykernel_" in file
                place = "" if is_cell else f"{file}, "
                shown.append(f"{place}line {line}: {getline(file, line).strip()}")
        return [*shown, f"{type(self).__name__}: {self}"]


class SessionFormatError(ToldError):
    """A recording cannot be read.

    Parameters
    ----------
    path
        The file or folder at fault.
    code
        Kind of problem, for programs and tests; it does not change.
    message
        The problem: found and expected values.
    hint
        The solution.
    """

    def __init__(self, path: str | Path, code: str, message: str, hint: str = "") -> None:
        self.path = Path(path)
        self.code = code
        self.message = message = bounded(message)
        self.hint = hint
        super().__init__(f"{message} ({hint})" if hint else message)

    def __reduce__(self) -> tuple[type["SessionFormatError"], tuple[str, str, str, str]]:
        return type(self), (str(self.path), self.code, self.message, self.hint)


class _TextError(ToldError):
    """Base class of errors that may quote a file: the message is shortened, as plain text."""

    def __init__(self, message: object = "") -> None:
        super().__init__(bounded(str(message)))


class CheckpointError(_TextError):
    """A checkpoint is damaged, unsafe or of another model."""


class CodedError(ToldError):
    """An error with a code for programs and tests; can be pickled."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = bounded(message)
        super().__init__(self.message)

    def __reduce__(self) -> tuple[type["CodedError"], tuple[str, str]]:
        return type(self), (self.code, self.message)


class FetchError(CodedError):
    """A download from the model hub failed.

    Parameters
    ----------
    code
        "gated", "not_found", "offline", "interrupted", "damaged", "no_space",
        "missing_package", "exists" or "refused".
    message
        The problem and the solution.
    """


class ConnectError(CodedError):
    """A file names a server that the user has not allowed.

    Parameters
    ----------
    code
        The host, with its port if the address has one.
    message
        The file, the address, and how to allow the host.
    """


class MaskError(_TextError):
    """A mask, a strategy or a choice of neurons is not possible.

    The message names the rule, or what was found and what there is.
    """


class EmptyMaskError(MaskError, AssertionError):
    """The spans of a strategy do not fit, or it has no target.

    The official code raises AssertionError in these cases, hence the second base.
    """


class UnsupportedRequestError(_TextError):
    """A predictor cannot serve a request; the message gives the reason."""


class NotStoredError(UnsupportedRequestError):
    """A file of predictions has none of the requested ones; the message names both."""


class TimeRangeError(_TextError):
    """A time lies outside the recording; the message names the time and the range."""


class ResultsFileError(_TextError):
    """A file of results cannot be continued."""


class PredictionsFileError(CodedError):
    """A file of predictions cannot be read.

    Parameters
    ----------
    code
        "missing", "unfinished", "foreign", "newer", "field" or "array".
    message
        The problem and the solution.
    """


class AnalysisFileError(CodedError):
    """A saved analysis cannot be opened or written.

    Parameters
    ----------
    code
        "torn", "foreign", "newer", "field", "moved" or "unsaved".
    message
        The problem and the solution.
    """


class FinetuneError(CodedError):
    """A model cannot be fine-tuned on a session.

    Parameters
    ----------
    code
        "no_transfer", "known", "neurons", "session_id", "no_train", "too_short",
        "no_spikes", "no_score", "other_run", "processes", "busy" or
        "no_model_or_session".
    message
        The problem and the solution.
    """


class SettingError(_TextError):
    """A setting or an action is not possible now; the message says why."""


class ExportError(_TextError):
    """The displayed content cannot be exported in this form."""


class StoppedError(Exception):
    """A computation was cancelled; this is no fault."""


class WorkerError(RuntimeError):
    """The process of a predictor failed; the message states what happens next."""
