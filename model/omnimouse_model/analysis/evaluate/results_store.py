"""A results store: what was asked, then one line per finished row, found by its key.

JSON lines, only ever added to: of context sweeps, of evaluations, of runs of a scaling
analysis. Several processes may add to one file at a time; each line is written alone
and whole. A writer that is killed leaves at most half a line, which the next one cuts
off and does again.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

from omnimouse_model.errors import ResultsFileError
from omnimouse_model.locking import locked

FORMAT = 1
Row = TypeVar("Row")
Plain = dict[str, Any]  # Any: whatever JSON holds
Definition = Mapping[str, Any]


def row_key(**facts: Any) -> str:
    """Hash of everything a row depends on; 24 hex digits."""
    text = json.dumps(facts, sort_keys=True)
    return blake2b(text.encode(), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Kind(Generic[Row]):
    """What a file holds rows of.

    Attributes
    ----------
    name, words
        In its header, and for people: "sweep", "a sweep".
    plain, parsed
        A row as JSON values, and back; `parsed` raises where it cannot be one.
    """

    name: str
    words: str
    plain: Callable[[Row], Plain]
    parsed: Callable[[Plain], Row]

    def line(self, key: str, row: Row) -> bytes:
        """One line of the file."""
        text = json.dumps({"key": key, **self.plain(row)}, allow_nan=False)
        return text.encode() + b"\n"

    def parsed_line(self, line: bytes) -> tuple[str, Row]:
        """Key and row of one line; raises where it is none, or only half of one."""
        if not line.endswith(b"\n"):
            raise ValueError("the line does not end")
        facts = json.loads(line)
        return str(facts.pop("key")), self.parsed(facts)

    def header(self, line: bytes) -> Plain:
        """Facts of a file's first line.

        Raises
        ------
        ValueError, KeyError, TypeError
            It is of another kind of file, or of another format.
        """
        if not line.endswith(b"\n"):
            raise ValueError("the line does not end")
        facts = json.loads(line)
        version = facts[f"omnimouse_{self.name}"]
        if version != FORMAT:
            raise ResultsFileError(
                f"it has format {version}, this version writes {FORMAT}"
            )
        return {**facts, "definition": dict(facts["definition"])}


@dataclass(slots=True)
class ResultsFile(Generic[Row]):
    """Finished rows on disk, by key.

    Parameters
    ----------
    kind
        Of which rows.
    path
        Made, with its folder, where it is not there.
    definition
        What is asked; a file of anything else is refused.
    about
        Notes for people and for who goes on with it; written once, never compared.

    Raises
    ------
    ResultsFileError
        Where the file is of something else, or damaged before its last line.
    """

    kind: Kind[Row]
    path: Path
    definition: Definition
    about: Definition = field(default_factory=dict)
    rows: dict[str, Row] = field(init=False, default_factory=dict)
    _read: int = field(init=False, default=0)
    _n_lines: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if not self.path.exists():
            self._create()
        self.refresh()

    def add(self, key: str, row: Row) -> None:
        """Write one row, if no one has; it is on disk when this returns."""
        with locked(self.path) as file:
            self._take(file)
            if key in self.rows:
                return
            line = self.kind.line(key, row)
            file.seek(0, os.SEEK_END)
            file.write(line)
            self._read += len(line)
            self._n_lines += 1
        self.rows[key] = row

    def refresh(self) -> None:
        """Take the rows that others have added."""
        with locked(self.path) as file:
            self._take(file)

    def _create(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        header: Plain = {f"omnimouse_{self.kind.name}": FORMAT}
        header |= {"definition": self.definition}
        header |= {"about": self.about} if self.about else {}
        handle, name = tempfile.mkstemp(
            dir=self.path.parent, prefix=f".{self.path.name}."
        )
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(header) + "\n")
        temporary = Path(name)
        try:
            temporary.chmod(0o644)
            # Unlike a replacement, a link never takes the place of another's file.
            with contextlib.suppress(FileExistsError):
                os.link(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)

    def _take(self, file: BinaryIO) -> None:
        """Read what is new; a half last line is cut off, its writer is gone."""
        file.seek(self._read)
        lines = file.read().splitlines(keepends=True)
        if self._read == 0:
            self._check(lines.pop(0) if lines else b"")
        for number, line in enumerate(lines, start=1):
            try:
                key, row = self.kind.parsed_line(line)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                if number < len(lines):
                    raise ResultsFileError(
                        f"Line {self._n_lines + 1} of {self.path} is damaged "
                        f"({error!r}). Take the line out, and it is computed again; or "
                        "give another path."
                    ) from error
                file.truncate(self._read)
                return
            self.rows.setdefault(key, row)
            self._read += len(line)
            self._n_lines += 1

    def _check(self, line: bytes) -> None:
        try:
            found = self.kind.header(line)["definition"]
        except ResultsFileError as error:
            raise ResultsFileError(
                f"{self.path} cannot be gone on with: {error}. Give another path."
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ResultsFileError(
                f"{self.path} is not the results file of {self.kind.words}. Give "
                "another path."
            ) from error
        self._compare(found)
        self._read, self._n_lines = len(line), 1

    def _compare(self, found: Plain) -> None:
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
                f"{self.path} holds another {self.kind.name}: {told}. Give another "
                "path, or ask what the file was made with to go on with it."
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def number(value: float | None) -> float:
    """A number as JSON holds it: None is NaN."""
    return float("nan") if value is None else float(value)
