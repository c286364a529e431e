"""One line of a report: the errors of a case in units of their tolerance."""

from collections.abc import Iterable
from dataclasses import dataclass, field


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
    n_wrong = 0
    for line in lines:
        print(line.text(), flush=True)
        n_wrong += not line.is_good
    print(f"{n_wrong} cases are out of tolerance" if n_wrong else "all cases agree")
    return n_wrong
