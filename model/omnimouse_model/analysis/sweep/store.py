"""Conversion of the rows of context sweeps for a results store."""

from dataclasses import asdict

from omnimouse_model.analysis.evaluate.results import number_or_none
from omnimouse_model.analysis.evaluate.results_store import JsonRow, RowFormat, number
from omnimouse_model.analysis.sweep.contexts import Context
from omnimouse_model.analysis.sweep.table import SweepRow

# Fields that may be NaN, which JSON does not allow.
_NUMBERS = ("score", "ci_low", "ci_high", "ceiling")


def _plain(row: SweepRow) -> JsonRow:
    plain = asdict(row)
    for name in _NUMBERS:
        plain[name] = number_or_none(plain[name])
    plain["decoded"] = {k: number_or_none(v) for k, v in row.decoded.items()}
    return plain


def _parsed(facts: JsonRow) -> SweepRow:
    for name in _NUMBERS:
        facts[name] = number(facts[name])
    facts["decoded"] = {k: number(v) for k, v in facts["decoded"].items()}
    facts["context"] = Context(**facts["context"])
    return SweepRow(**facts)


SWEEP: RowFormat[SweepRow] = RowFormat("sweep", "a sweep", _plain, _parsed)
