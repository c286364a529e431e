"""Update the tables of the documentation with the output of their commands.

    python docs/figures.py [FILE …]     default: all pages of docs/ with tables, and
                                        all notebooks

A table is between `<!-- omnimouse … -->`, which contains its command, and
`<!-- end -->`. CHECKOUT in a command is a folder with the code of others, which the
environment variable of this name gives; without it, the table is left as it is. A
notebook is run with the values of its cell tagged "parameters".
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

DOCS = Path(__file__).parent
NOTEBOOKS = DOCS.parent / "notebooks"
MARKED = re.compile(r"<!-- (omnimouse [^\n]+) -->\n.*?<!-- end -->", re.DOTALL)

CHECKOUT = "CHECKOUT"
Run = Callable[[str], str]


def updates(text: str, run: Run) -> Iterator[str]:
    """Yield the text after the update of each table."""
    position = 0
    while match := MARKED.search(text, position):
        if CHECKOUT in match[1] and CHECKOUT not in os.environ:
            position = match.end()
            continue
        table = f"<!-- {match[1]} -->\n{run(match[1]).strip()}\n<!-- end -->"
        position = match.start() + len(table)
        text = text[: match.start()] + table + text[match.end() :]
        yield text


def run(command: str) -> str:
    """Run an `omnimouse` command of this environment and return its output.

    Raises
    ------
    SystemExit
        The command is not installed, or it failed.
    """
    name, *arguments = shlex.split(command)
    arguments = [os.environ[CHECKOUT] if a == CHECKOUT else a for a in arguments]
    program = shutil.which(name, path=str(Path(sys.executable).parent))
    if program is None:
        sys.exit(f"{name} is not installed: run python3 tasks.py setup")
    print(f"==> {command}", file=sys.stderr)
    process = subprocess.run([program, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if status := process.returncode:
        sys.exit(f"{command} failed (exit status {status}); its table is unchanged")
    return process.stdout


def rerun(path: Path) -> None:
    """Run a notebook and save its outputs.

    Raises
    ------
    SystemExit
        A cell failed; the notebook is unchanged.
    """
    command = [sys.executable, "-m", "tests.notebooks", path.name]
    if subprocess.run(command, cwd=DOCS.parent, check=False).returncode:
        sys.exit(f"{path} failed; its outputs are unchanged")


def main(names: list[str]) -> None:
    """Update the named files, or all; each table is written when its command ends."""
    all_files = [*sorted(DOCS.glob("*.md")), *sorted(NOTEBOOKS.glob("*.ipynb"))]
    for path in map(Path, names) if names else all_files:
        if path.suffix == ".ipynb":
            rerun(path)
            continue
        text = path.read_text("utf-8")
        if not MARKED.search(text):
            if names:
                sys.exit(f"{path} has no table between <!-- omnimouse … --> and <!-- end -->")
            continue
        for updated in updates(text, run):
            path.write_text(updated, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
