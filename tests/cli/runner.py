"""Commands of `omnimouse` that run in the process of a test."""

import json
from typing import Any

from click.testing import CliRunner, Result

from omnimouse_app.cli import group


def run_command(*words: object, text: str | None = None) -> Result:
    """Run `omnimouse` with these words, and this text as standard input."""
    return CliRunner().invoke(group, [str(word) for word in words], input=text)


def rows_of_command(*words: object) -> list[dict[str, Any]]:
    """Return the rows that a command prints with `--json`; it must not fail."""
    done = run_command(*words, "--json")
    assert done.exit_code == 0, done.stderr or repr(done.exception)
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return rows
