"""Progress of work that a script waits for."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from tqdm.std import tqdm

Progress = Callable[[int, int, str], None]
"""Function of finished and planned steps, and a description of the current one."""
DELAY_S = 1.0
"""Work that ends sooner shows no bar."""


def silent(done: int, total: int, step: str) -> None:
    """Show nothing."""


@contextmanager
def shown_progress(progress: Progress | None) -> Iterator[Progress]:
    """Yield the callback, or for None a bar on standard error, cleared at the end.

    Without a terminal, where a bar would fill a log or a saved notebook, nothing is
    shown.

    Examples
    --------
    >>> from omnimouse_model.progress import shown_progress
    >>> with shown_progress(None) as progress:
    ...     progress(1, 2, "first of two")
    """
    if progress is not None:
        yield progress
        return
    if not sys.stderr.isatty():
        yield silent
        return
    with tqdm(total=0, delay=DELAY_S, leave=False, unit="window") as bar:

        @cache  # set once, because the total does not change
        def set_total(total: int) -> None:
            bar.total = total

        def report(done: int, total: int, step: str) -> None:
            set_total(total)
            bar.set_description_str(step, refresh=False)
            bar.update(done - bar.n)

        yield report
