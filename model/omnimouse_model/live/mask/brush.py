"""What a stroke sets: a code, and the span of samples kept for each code."""

from omnimouse_model.masks import HIDDEN, N_SAMPLES, TARGET, VISIBLE

CODE_NAMES = {HIDDEN: "hidden", VISIBLE: "visible", TARGET: "target"}


class Spans:
    """The active span of every code; the user's last choice for it is kept."""

    def __init__(self) -> None:
        self._spans = {
            HIDDEN: (0, N_SAMPLES),
            VISIBLE: (0, N_SAMPLES),
            TARGET: (30, 60),
        }

    def of(self, code: int) -> tuple[int, int]:
        """Samples (start, stop) that a stroke with this code sets on the field."""
        return self._spans[known_code(code)]

    def choose(self, code: int, start: int, stop: int) -> tuple[int, int]:
        """Keep a span for a code; `ValueError` where it is not within 0-60."""
        if not 0 <= start < stop <= N_SAMPLES:
            raise ValueError(
                f"The active span {start}-{stop} is not in 0-60; give start < stop."
            )
        self._spans[known_code(code)] = (int(start), int(stop))
        return self._spans[code]


def known_code(code: int) -> int:
    """Return a mask code, or raise `ValueError` for what is none."""
    if code not in CODE_NAMES:
        raise ValueError(f"A code is 0 hidden, 1 visible or 2 target, not {code!r}.")
    return code
