"""Conversion of the rows of context sweeps for a results store."""

from dataclasses import asdict, replace

from omnimouse_model.analysis.evaluate.results import number_or_none
from omnimouse_model.analysis.evaluate.results_store import JsonRow, RowFormat, number
from omnimouse_model.analysis.sweep.table import SweepRow
from omnimouse_model.storage.typed import decode

# Fields that may be NaN, which JSON does not allow.
_NUMBERS = ("score", "ci_low", "ci_high", "ceiling")


def _plain(row: SweepRow) -> JsonRow:
    plain = asdict(row)
    for name in _NUMBERS:
        plain[name] = number_or_none(plain[name])
    plain["decoded"] = {k: number_or_none(v) for k, v in row.decoded.items()}
    return plain


def _parsed(facts: JsonRow) -> SweepRow:
    numbers: JsonRow = {name: number(facts.pop(name)) for name in _NUMBERS}
    decoded = {k: number(v) for k, v in facts.pop("decoded").items()}
    return replace(decode(SweepRow, facts, "a row"), **numbers, decoded=decoded)


SWEEP: RowFormat[SweepRow] = RowFormat("sweep", "a sweep", _plain, _parsed)
