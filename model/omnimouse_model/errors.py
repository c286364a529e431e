"""The project's own errors: few, typed, and each says what to do."""

from pathlib import Path

MISSING_RATE = "missing_rate"
"""Code of the error for responses whose rate no file says: it must be given."""

UNEXPECTED = "unexpected"
"""Code of the error for what no reader foresaw: a fault of the reader, to be mended."""


class SessionFormatError(ValueError):
    """A recording that cannot be read as it stands.

    Parameters
    ----------
    path
        The file or folder at fault.
    code
        A short stable word for the kind of problem, for programs and tests.
    message
        What was found and what was expected.
    hint
        What the user can do about it.
    """

    def __init__(
        self, path: str | Path, code: str, message: str, hint: str = ""
    ) -> None:
        self.path = Path(path)
        self.code = code
        self.message = message
        self.hint = hint
        super().__init__(f"{message} ({hint})" if hint else message)

    def __reduce__(
        self,
    ) -> tuple[type["SessionFormatError"], tuple[str, str, str, str]]:
        return type(self), (str(self.path), self.code, self.message, self.hint)


class CheckpointError(ValueError):
    """A checkpoint that is not sound, not safe or not of the expected model."""


class CodedError(ValueError):
    """A fault with a code for programs and tests; travels between processes."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)

    def __reduce__(self) -> tuple[type["CodedError"], tuple[str, str]]:
        return type(self), (self.code, self.message)


class FetchError(CodedError):
    """Something that could not be fetched from the model hub.

    Parameters
    ----------
    code
        "gated", "not_found", "offline", "interrupted", "damaged", "no_space",
        "missing_package", "exists" or "refused", for programs and tests.
    message
        What happened, and what to do.
    """


class MaskError(ValueError):
    """A mask or strategy that breaks a rule of tokenisation; names the rule."""


class EmptyMaskError(MaskError, AssertionError):
    """A strategy whose spans do not fit, or that asks for nothing.

    The official code asserts these, hence the second base.
    """


class UnsupportedRequestError(ValueError):
    """A predictor was asked for what it cannot serve; the message gives the reason."""


class ResultsFileError(ValueError):
    """A file of results that cannot be gone on with; says why, and what to do."""


class AnalysisFileError(CodedError):
    """A saved analysis that cannot be opened or written as it stands.

    Parameters
    ----------
    code
        "torn", "foreign", "newer", "field", "moved" or "unsaved", for programs, tests.
    message
        What was found, and what to do.
    """


class FinetuneError(CodedError):
    """A model and a session that cannot be fine-tuned as asked.

    Parameters
    ----------
    code
        "no_transformer", "known", "neurons", "session_id", "no_train", "too_short",
        "no_score", "other_run" or "processes", for programs and tests.
    message
        What was found, and what to do.
    """


class ExportError(ValueError):
    """What is on screen cannot be exported so; says why, and what to do."""


class StoppedError(Exception):
    """A computation that ended early because it was told to; not a fault."""


class WorkerError(RuntimeError):
    """The predictor's process failed; the message says how, and what happens next."""
