"""Renew the figures of documents: run the command that each table names above itself.

    python docs/figures.py [FILE …]     by default every document of docs/ that has
                                        some, and every notebook

A table stands between `<!-- omnimouse … -->`, its command, and `<!-- end -->`.
A notebook is run completely, with the values of its cell tagged "parameters".
"""

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

Run = Callable[[str], str]


def renewals(text: str, run: Run) -> Iterator[str]:
    """The text with one table more renewed each time."""
    at = 0
    while found := MARKED.search(text, at):
        table = f"<!-- {found[1]} -->\n{run(found[1]).strip()}\n<!-- end -->"
        at = found.start() + len(table)
        text = text[: found.start()] + table + text[found.end() :]
        yield text


def run(command: str) -> str:
    """Run an `omnimouse` command of this environment; what it prints.

    Raises
    ------
    SystemExit
        It is not there, or it failed.
    """
    name, *arguments = shlex.split(command)
    program = shutil.which(name, path=str(Path(sys.executable).parent))
    if program is None:
        sys.exit(f"{name} is not in this environment: python3 tasks.py setup")
    print(f"==> {command}", file=sys.stderr)
    done = subprocess.run(
        [program, *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{command} failed (exit status {done.returncode}); its table stays")
    return done.stdout


def rerun(path: Path) -> None:
    """Run a notebook and keep its outputs.

    Raises
    ------
    SystemExit
        A cell failed; the notebook stays as it was.
    """
    command = [sys.executable, "-m", "tests.notebooks", path.name]
    if subprocess.run(command, cwd=DOCS.parent, check=False).returncode:
        sys.exit(f"{path} failed; its outputs stay")


def main(names: list[str]) -> None:
    """Renew the named documents, or all; a table is written when its command ends."""
    everything = [*sorted(DOCS.glob("*.md")), *sorted(NOTEBOOKS.glob("*.ipynb"))]
    for path in map(Path, names) if names else everything:
        if path.suffix == ".ipynb":
            rerun(path)
            continue
        text = path.read_text("utf-8")
        if not MARKED.search(text):
            if names:
                sys.exit(f"{path}: no <!-- omnimouse … --> above an <!-- end -->")
            continue
        for renewed in renewals(text, run):
            path.write_text(renewed, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
