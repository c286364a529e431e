"""Results store: a JSON-lines file with a definition and one line per finished row.

It stores rows of context sweeps, evaluations and scaling analyses. The file is
append-only, and several processes may append to it at the same time; each writes one
line under a lock. A killed writer leaves at most a partial line, which the next writer
removes and whose row is computed again.
"""

import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

from omnimouse_model.errors import ResultsFileError
from omnimouse_model.storage.files import read_bytes
from omnimouse_model.storage.journal import JsonObject, json_line, parsed_line, whole_lines
from omnimouse_model.storage.trees import MAX_JSON_BYTES
from omnimouse_model.storage.write import create_bytes, locked, remove_left_over, writing

FORMAT = 1
Row = TypeVar("Row")
JsonRow = JsonObject
Definition = Mapping[str, Any]


def row_key(**inputs: Any) -> str:
    """Return a hash of everything that a row depends on; 24 hex digits."""
    # Sorted, so that the order of the keyword arguments does not matter.
    text = json.dumps(inputs, sort_keys=True)
    return blake2b(text.encode(), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class RowFormat(Generic[Row]):
    """Type of the rows of a file.

    Attributes
    ----------
    name, label
        Name in the header, and name with article for messages: "sweep", "a sweep".
    plain, parsed
        Conversion of a row to JSON values and back; `parsed` raises for invalid ones.
    """

    name: str
    label: str
    plain: Callable[[Row], JsonRow]
    parsed: Callable[[JsonRow], Row]

    def line(self, key: str, row: Row) -> bytes:
        """Return the line of a row, with a newline."""
        # NaN and infinity are not JSON; rows store None instead.
        return json_line({"key": key, **self.plain(row)})

    def parsed_line(self, line: bytes) -> tuple[str, Row]:
        """Return key and row of one line; raise if it is invalid or partial."""
        values = parsed_line(line)
        return str(values.pop("key")), self.parsed(values)

    def header(self, line: bytes) -> JsonRow:
        """Return the values in the first line of a file.

        Raises
        ------
        ValueError, KeyError, TypeError
            The line belongs to another kind of file or to another format.
        """
        values = parsed_line(line)
        version = values[f"omnimouse_{self.name}"]
        if version != FORMAT:
            raise ResultsFileError(f"it has format {version}, this version writes {FORMAT}")
        return {**values, "definition": dict(values["definition"])}

    def read(self, path: Path) -> tuple[JsonRow, list[Row]]:
        """Return header and rows of a file that other processes may write.

        Raises
        ------
        OSError, ValueError, KeyError, TypeError, AttributeError
            The file cannot be read; a partial last line is left out.
        """
        # Without a lock, so that reading never delays a writer.
        lines = io.BytesIO(read_bytes(path, MAX_JSON_BYTES))
        values = self.header(next(lines, b""))
        rows = dict(self.parsed_line(line) for line in lines if line.endswith(b"\n"))
        return values, list(rows.values())


@dataclass(slots=True)
class ResultsFile(Generic[Row]):
    """Finished rows in a file, by key.

    Parameters
    ----------
    kind
        Type of the rows.
    path
        File, created with its folder if it does not exist.
    definition
        Definition of the computation; a file with another definition is refused.
    about
        Notes, such as a name; written once and never compared.

    Raises
    ------
    ResultsFileError
        The file has another type or definition, or a damaged line before its last.
    """

    kind: RowFormat[Row]
    path: Path
    definition: Definition
    about: Definition = field(default_factory=dict)
    rows: dict[str, Row] = field(init=False, default_factory=dict)
    # Bytes and lines parsed so far: `_take` reads only what was appended since.
    _read: int = field(init=False, default=0)
    _n_lines: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Also if the file exists: a kill may have followed its creation.
        remove_left_over(self.path.parent)
        if not self.path.exists():
            header = {f"omnimouse_{self.kind.name}": FORMAT, "definition": self.definition}
            create_bytes(
                self.path, json_line(header | ({"about": self.about} if self.about else {}))
            )
        self.refresh()

    def add(self, key: str, row: Row) -> None:
        """Append one row unless its key exists; the row is on disk on return."""
        with writing(self.path), locked(self.path) as file:
            # Another process may have added this row meanwhile.
            self._read_appended(file)
            if key in self.rows:
                return
            line = self.kind.line(key, row)
            file.seek(0, os.SEEK_END)
            file.write(line)
            self._read += len(line)
            self._n_lines += 1
        self.rows[key] = row

    def refresh(self) -> None:
        """Read the rows that other processes have added."""
        with locked(self.path) as file:
            self._read_appended(file)

    def _read_appended(self, file: BinaryIO) -> None:
        """Read appended lines; remove an incomplete last line."""
        file.seek(self._read)
        lines = file.read().splitlines(keepends=True)
        if self._read == 0:
            self._check(lines.pop(0) if lines else b"")
        for number, line in enumerate(lines, start=1):
            try:
                key, row = self.kind.parsed_line(line)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                # A line of complete JSON was not cut by the end of its writer: a newer
                # version may have written it.
                if number < len(lines) or whole_lines(line)[0]:
                    raise ResultsFileError(
                        f"Line {self._n_lines + 1} of {self.path} is damaged, or a "
                        f"newer version wrote it ({repr(error)[:200]}). "
                        "Update OmniMouse Studio; or remove the line, and it is "
                        "computed again; or choose another path."
                    ) from error
                # The caller holds the lock, so the writer of a partial line has died.
                file.truncate(self._read)
                return
            self.rows.setdefault(key, row)
            self._read += len(line)
            self._n_lines += 1

    def _check(self, line: bytes) -> None:
        try:
            stored = self.kind.header(line)["definition"]
        except ResultsFileError as error:
            raise ResultsFileError(
                f"{self.path} cannot be continued: {error}. Choose another path."
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ResultsFileError(
                f"{self.path} is not the results file of {self.kind.label}. Choose another path."
            ) from error
        self._compare(stored)
        self._read, self._n_lines = len(line), 1

    def _compare(self, stored: JsonRow) -> None:
        # The round trip turns tuples into lists, as they are in the file.
        definition = parsed_line(json_line(self.definition))
        check_fits(self.path, stored, definition)
        differences = "; ".join(
            f"{name} {_short(stored.get(name))} in the file, {_short(definition.get(name))} here"
            for name in dict.fromkeys((*definition, *stored))
            if name != "fits" and (name not in definition or definition[name] != stored.get(name))
        )
        if differences:
            raise ResultsFileError(
                f"{self.path} holds another {self.kind.name}: {differences}. Choose "
                "another path, or the settings of the file to continue it."
            )


def check_fits(path: Path, stored: Definition, definition: Definition) -> None:
    """Refuse kept results of the same predictor with other fits; see `Needs.fits`.

    Raises
    ------
    ResultsFileError
        The message says what to do, which is not what helps where settings differ.
    """
    predictor = definition.get("predictor")
    before, now = stored.get("fits") or 0, definition.get("fits") or 0
    if predictor is None or stored.get("predictor") != predictor or before == now:
        return
    age = "an earlier" if before < now else "another"
    own = "" if predictor == "linear-gaussian" else f", which {predictor} used"
    raise ResultsFileError(
        f"{path} holds results of {age} fit of linear-gaussian{own}. "
        "Choose another file, or delete this one and run again."
    )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def number(value: int | float | None) -> float:
    """Return a float from its JSON value; None is NaN."""
    return float("nan") if value is None else float(value)
