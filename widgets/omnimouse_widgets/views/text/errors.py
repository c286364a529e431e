"""Text about an error that no view expects: a message, and details for a report."""

import traceback
from typing import Final

COPY: Final = "Copy details"
COPY_TIP: Final = "Copy the error and its traceback, for a report"
COPIED: Final = "copied"


def error_text(error: BaseException) -> str:
    """Return the message of an error, for the view that has it."""
    return f"Error in this view: {type(error).__name__}: {error}\nThe rest of OmniMouse goes on."


def error_details(error: BaseException) -> str:
    """Return an error with its traceback."""
    return "".join(traceback.format_exception(error))
