"""Renew the figures of documents: run the command that each table names above itself.

    python docs/figures.py [FILE …]     by default every document here that has some

A table stands between `<!-- omnimouse … -->`, its command, and `<!-- end -->`.
"""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

DOCS = Path(__file__).parent
MARKED = re.compile(r"<!-- (omnimouse [^\n]+) -->\n.*?<!-- end -->", re.DOTALL)

Run = Callable[[str], str]


def renewed(text: str, run: Run) -> str:
    """Put what each named command prints between its marks."""

    def fill(found: re.Match[str]) -> str:
        return f"<!-- {found[1]} -->\n{run(found[1]).strip()}\n<!-- end -->"

    return MARKED.sub(fill, text)


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
        sys.exit(f"{command} failed (exit status {done.returncode}); nothing changed")
    return done.stdout


def main(names: list[str]) -> None:
    """Renew the named documents, or all, each when its commands have run."""
    for path in map(Path, names) if names else sorted(DOCS.glob("*.md")):
        text = path.read_text("utf-8")
        if not MARKED.search(text):
            if names:
                sys.exit(f"{path}: no <!-- omnimouse … --> above an <!-- end -->")
            continue
        path.write_text(renewed(text, run), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
