"""Widget that shows its errors: refusals of user actions, and faults with details."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import anywidget
from traitlets import Dict, TraitError, Unicode

from omnimouse_model.errors import StoppedError, WorkerError
from omnimouse_widgets.views.text.errors import COPIED, COPY, COPY_TIP, error_details, error_text

logger = logging.getLogger(__name__)

REFUSALS: Final = (
    *(ValueError, TraitError, OSError, ModuleNotFoundError),
    *(WorkerError, StoppedError),
)
"""Errors whose message answers a user action; any other error is a fault."""


class ProblemWidget(anywidget.AnyWidget):
    """Widget whose page shows the latest error below its content.

    Attributes
    ----------
    problem
        Error message of the last user action, or "".
    """

    problem = Unicode("").tag(sync=True)
    # Details of a fault, with the texts of the button that copies them.
    _fault = Dict({}).tag(sync=True)

    @property
    def details(self) -> str:
        """The error in `problem` with its traceback if it is a fault, or ""."""
        return str(self._fault.get("details", ""))

    @contextmanager
    def showing_problems(self, *, is_passive: bool = False) -> Iterator[list[str]]:
        """Show errors of the `with` block in `problem` instead of raising them.

        A message handler has no caller that could report the error. A block that needs
        to know of an error appends to the yielded list as its last step.
        """
        try:
            yield []
        except Exception as error:
            logger.info("A message of the page failed.", exc_info=True)
            self.show_problem(error)
        else:
            if self.problem and not is_passive:
                self._fault, self.problem = {}, ""

    def show_problem(self, error: Exception) -> None:
        """Show an error of a user action; a fault with its details."""
        if isinstance(error, REFUSALS):
            self._fault, self.problem = {}, str(error) or type(error).__name__
        else:
            self.show_fault(error)

    def show_fault(self, error: Exception) -> None:
        """Show an error that nobody expects, with its details."""
        details = error_details(error)
        self._fault = {"details": details, "copy": COPY, "tip": COPY_TIP, "note": COPIED}
        self.problem = error_text(error)
