"""Mask codes of the brush, and the active span of samples of each code."""

from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE

CODE_NAMES = {HIDDEN: "hidden", VISIBLE: "visible", TARGET: "target"}


class ActiveSpans:
    """Active span of each code, as the user last chose it."""

    def __init__(self, n_samples: int) -> None:
        self._n_samples = n_samples
        self._spans = {
            HIDDEN: (0, n_samples),
            VISIBLE: (0, n_samples),
            TARGET: (n_samples // 2, n_samples),
        }

    def resize(self, n_samples: int) -> None:
        """Scale the spans to a window with another number of samples."""
        for code, (start, stop) in self._spans.items():
            first = start * n_samples // self._n_samples
            # At least one sample, also of a span that is shorter than a sample of the
            # new spec.
            last = max(first + 1, stop * n_samples // self._n_samples)
            self._spans[code] = (first, last)
        self._n_samples = n_samples

    def span_of(self, code: int) -> tuple[int, int]:
        """Return the samples (start, stop) that a stroke with this code paints."""
        return self._spans[checked_code(code)]

    def choose(self, code: int, start: int, stop: int) -> tuple[int, int]:
        """Set the span of a code; `ValueError` if it is not inside the window."""
        if not 0 <= start < stop <= self._n_samples:
            raise ValueError(
                f"The active span {start}-{stop} is not in 0-{self._n_samples}; give start < stop."
            )
        self._spans[checked_code(code)] = (int(start), int(stop))
        return self._spans[code]


def checked_code(code: int) -> int:
    """Return `code`, or raise `ValueError` if it is not a mask code."""
    if code not in CODE_NAMES:
        raise ValueError(f"A code is 0 hidden, 1 visible or 2 target, not {code!r}.")
    return code
