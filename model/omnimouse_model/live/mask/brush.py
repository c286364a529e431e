"""Mask codes of the brush, and the active span of samples of each code."""

from omnimouse_model.masks import HIDDEN, N_SAMPLES, TARGET, VISIBLE

CODE_NAMES = {HIDDEN: "hidden", VISIBLE: "visible", TARGET: "target"}


class Spans:
    """Active span of every mask code: the user's last choice, or the default."""

    def __init__(self) -> None:
        # Targets default to the second half (1-2 s), as in most test strategies: the
        # first half remains as context.
        self._spans = {
            HIDDEN: (0, N_SAMPLES),
            VISIBLE: (0, N_SAMPLES),
            TARGET: (30, 60),
        }

    def of(self, code: int) -> tuple[int, int]:
        """Return the samples (start, stop) that a stroke with this code paints."""
        return self._spans[known_code(code)]

    def choose(self, code: int, start: int, stop: int) -> tuple[int, int]:
        """Set the span of a code; raise `ValueError` outside 0-60."""
        if not 0 <= start < stop <= N_SAMPLES:
            raise ValueError(
                f"The active span {start}-{stop} is not in 0-60; give start < stop."
            )
        self._spans[known_code(code)] = (int(start), int(stop))
        return self._spans[code]


def known_code(code: int) -> int:
    """Return `code`, or raise `ValueError` if it is not a mask code."""
    if code not in CODE_NAMES:
        raise ValueError(f"A code is 0 hidden, 1 visible or 2 target, not {code!r}.")
    return code
