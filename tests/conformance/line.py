"""One line of a report: the errors of a case in units of their tolerance."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor


@dataclass(slots=True)
class Line:
    """Errors of a case, in units of their tolerance.

    Attributes
    ----------
    ratios
        Value -> its largest error, divided by its tolerance.
    faults
        What is wrong otherwise, such as a shape.
    """

    name: str
    ratios: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(
        self, key: str, found: Any, expected: Any, atol: float = 1e-12, rtol: float = 0
    ) -> None:
        """Compare values as `numpy.isclose` does; gaps must be in the same places."""
        found, expected = (
            np.asarray(x.detach() if isinstance(x, Tensor) else x, np.float64)
            for x in (found, expected)
        )
        if found.shape != expected.shape:
            self.faults.append(f"{key}: {found.shape} for {expected.shape}")
            return
        known = np.isfinite(found)
        if not np.array_equal(known, np.isfinite(expected)):
            self.faults.append(f"{key}: not finite in other places")
            return
        error = np.abs(found - expected)[known]
        allowed = rtol * np.abs(expected[known]) + atol
        self.ratios[key] = float((error / allowed).max(initial=0.0))

    @property
    def is_good(self) -> bool:
        """Whether every value is within its tolerance."""
        return not self.faults and all(ratio <= 1 for ratio in self.ratios.values())

    def text(self) -> str:
        """Return the line of the report."""
        worst = max(self.ratios, key=lambda key: self.ratios[key], default="-")
        verdict = "ok  " if self.is_good else "FAIL"
        share = self.ratios.get(worst, 0.0)
        notes = "; ".join(self.faults)
        return (
            f"{verdict} {self.name:28s} {len(self.ratios):4d} values, largest error "
            f"{share:.3f} of its tolerance ({worst}) {notes}"
        ).rstrip()


def print_lines(lines: Iterable[Line]) -> int:
    """Print one line per case; return the number of cases out of tolerance."""
    is_good = []
    for line in lines:
        print(line.text(), flush=True)
        is_good.append(line.is_good)
    if not is_good:
        print("there are no cases")
        return 1
    n_wrong = is_good.count(False)
    print(f"{n_wrong} cases are out of tolerance" if n_wrong else "all cases agree")
    return n_wrong


def run(lines: Callable[..., Iterable[Line]], arguments: str = "DIR") -> None:
    """Compare the paths of the command line; exit with 1 if a case fails."""
    if len(sys.argv) - 1 != len(arguments.split()):
        name = Path(sys.argv[0]).stem
        sys.exit(f"usage: python -m tests.conformance.{name} {arguments}")
    sys.exit(print_lines(lines(*map(Path, sys.argv[1:]))) > 0)
