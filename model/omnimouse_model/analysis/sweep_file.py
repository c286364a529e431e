"""The results file of a sweep: what was asked, then one line per finished row.

JSON lines, only ever added to. A run that is killed leaves at most half a line, which
the next run cuts off and does again.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from omnimouse_model.analysis.contexts import Context
from omnimouse_model.analysis.scores import number_or_none
from omnimouse_model.analysis.sweep_table import SweepRow
from omnimouse_model.atomic import atomic_path
from omnimouse_model.errors import ResultsFileError

FORMAT = 1
Definition = Mapping[str, Any]  # Any: whatever JSON holds


def row_key(**facts: Any) -> str:
    """Hash of everything a row depends on; 24 hex digits."""
    text = json.dumps(facts, sort_keys=True)
    return blake2b(text.encode(), digest_size=12).hexdigest()


@dataclass(slots=True)
class SweepFile:
    """Finished rows on disk, by key.

    Parameters
    ----------
    path
        Made, with its folder, where it is not there.
    definition
        What is asked; a file of anything else is refused.
    about
        Notes for people and for who goes on with it; written once, never compared.

    Raises
    ------
    ResultsFileError
        Where the file is of another sweep, or no results file, or damaged before its
        last line.
    """

    path: Path
    definition: Definition
    about: Definition = field(default_factory=dict)
    rows: dict[str, SweepRow] = field(init=False)

    def __post_init__(self) -> None:
        if self.path.exists():
            self.rows = self._read()
        else:
            self._create()
            self.rows = {}

    def add(self, key: str, row: SweepRow) -> None:
        """Write one row; it is on disk when this returns."""
        self.rows[key] = row
        line = json.dumps({"key": key, **_plain(row)}, allow_nan=False)
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(line + "\n")

    def _create(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        header = {"omnimouse_sweep": FORMAT, "definition": self.definition}
        header |= {"about": self.about} if self.about else {}
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(header) + "\n", encoding="utf-8")

    def _read(self) -> dict[str, SweepRow]:
        header, *lines = self.path.read_bytes().splitlines(keepends=True) or [b""]
        self._check(header)
        rows: dict[str, SweepRow] = {}
        for number, line in enumerate(lines, start=2):
            try:
                rows |= [parsed_row(line)]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                if number <= len(lines):
                    raise ResultsFileError(
                        f"Line {number} of {self.path} is damaged ({error!r}). Take "
                        "the line out, and it is computed again; or give another path."
                    ) from error
                self._cut(len(line))
        return rows

    def _cut(self, n_bytes: int) -> None:
        """Take the last bytes off: half a line."""
        with self.path.open("r+b") as file:
            file.truncate(self.path.stat().st_size - n_bytes)

    def _check(self, line: bytes) -> None:
        try:
            if not line.endswith(b"\n"):
                raise ValueError("the line does not end")
            header = json.loads(line)
            version, found = header["omnimouse_sweep"], dict(header["definition"])
        except (ValueError, KeyError, TypeError) as error:
            raise ResultsFileError(
                f"{self.path} is not the results file of a sweep. Give another path."
            ) from error
        if version != FORMAT:
            raise ResultsFileError(
                f"{self.path} has format {version}, this version writes {FORMAT}. "
                "Give another path."
            )
        asked = json.loads(json.dumps(self.definition))
        names = [name for name in asked if asked[name] != found.get(name)]
        names += [name for name in found if name not in asked]
        if names:
            told = "; ".join(
                f"{name} {_short(found.get(name))} there, {_short(asked.get(name))} "
                "asked"
                for name in names
            )
            raise ResultsFileError(
                f"{self.path} holds another sweep: {told}. Give another path, or ask "
                "what the file was made with to go on with it."
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _plain(row: SweepRow) -> dict[str, Any]:
    plain = asdict(row)
    for name in ("score", "ci_low", "ci_high", "ceiling"):
        plain[name] = number_or_none(plain[name])
    plain["decoded"] = {k: number_or_none(v) for k, v in row.decoded.items()}
    return plain


def parsed_row(line: bytes) -> tuple[str, SweepRow]:
    """Key and row of one line; raises where it is none, or only half of one."""
    if not line.endswith(b"\n"):
        raise ValueError("the line does not end")
    facts = json.loads(line)
    key = str(facts.pop("key"))
    for name in ("score", "ci_low", "ci_high", "ceiling"):
        facts[name] = _number(facts[name])
    facts["decoded"] = {k: _number(v) for k, v in facts["decoded"].items()}
    facts["context"] = Context(**facts["context"])
    return key, SweepRow(**facts)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
