"""Redraw the maps of docs/architecture.md from the code: import graph and rooms.

    python docs/rooms.py
    python docs/rooms.py --lines     # print the lines with code of each room
    python docs/rooms.py --sample 0  # draw two modules per room, to guess what they hold

A map is between `<!-- NAME -->` and `<!-- end -->`. The graph shows the imports between
rooms, reduced to the arrows that do not follow from others. The list contains the first
sentence of the docstring of each folder.
"""

import argparse
import ast
import random
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = {
    "omnimouse_app": ROOT / "omnimouse_app",
    "omnimouse_widgets": ROOT / "widgets" / "omnimouse_widgets",
    "omnimouse_model": ROOT / "model" / "omnimouse_model",
}
SHARED = ("errors", "display", "own_families", "progress")
"""Modules that all rooms use; their arrows would make the graph unreadable."""
MARKED = re.compile(r"<!-- (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def imports() -> dict[str, set[str]]:
    """Return the rooms that each room imports; a room is a child of a package."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    rooms: dict[str, set[str]] = {}
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            first, second = _room(importer), _room(imported)
            if first and second and first != second:
                rooms.setdefault(first, set()).add(second)
    return rooms


def _room(module: str) -> str:
    package, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    if not name or name.startswith("_") or name in SHARED:
        return ""
    return f"{package}.{name}"


def reduced(rooms: dict[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Yield the arrows that no longer path implies (transitive reduction)."""
    imported: dict[str, set[str]] = {}

    def all_imports(room: str) -> set[str]:
        if room not in imported:
            direct = rooms.get(room, set())
            imported[room] = direct.union(*(all_imports(other) for other in direct))
        return imported[room]

    for room in sorted(rooms):
        for target in sorted(rooms[room]):
            others = rooms[room] - {target}
            if not any(target in all_imports(other) for other in others):
                yield room, target


def graph() -> str:
    """Return the import graph as a Mermaid drawing."""
    arrows = [*reduced(imports())]
    lines = ["```mermaid", "flowchart TD"]
    for package in PACKAGES:
        names = sorted({r for a in arrows for r in a if r.startswith(f"{package}.")})
        lines.append(f"  subgraph {package}")
        lines += [f"    {_key(name)}[{name.rpartition('.')[2]}]" for name in names]
        lines.append("  end")
    lines += [f"  {_key(first)} --> {_key(second)}" for first, second in arrows]
    return "\n".join([*lines, "```"])


def _key(room: str) -> str:
    return room.removeprefix("omnimouse_").replace(".", "_")


def rooms() -> str:
    """Return a table of all folders and top-level modules with their descriptions."""
    lines = ["| room | content |", "| --- | --- |"]
    for package, folder in PACKAGES.items():
        for path in sorted([*folder.rglob("__init__.py"), *folder.glob("[!_]*.py")]):
            room = path.parent if path.name == "__init__.py" else path
            name = f"{package}/{room.relative_to(folder)}".removesuffix("/.")
            text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
            sentence = " ".join(text.partition("\n\n")[0].split())
            lines.append(f"| `{name}` | {sentence} |")
    return "\n".join(lines)


def updated(text: str) -> str:
    """Return the page with both maps redrawn from the code."""
    maps = {"graph": graph, "rooms": rooms}

    def redraw(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{maps[match[1]]()}\n<!-- end -->"

    return MARKED.sub(redraw, text)


_WITHOUT_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def code_lines(path: Path) -> set[int]:
    """Return the numbers of the lines of a module that hold code.

    Imports count; blank lines, comments and docstrings do not.
    """
    lines: set[int] = set()
    with tokenize.open(path) as stream:
        for token in tokenize.generate_tokens(stream.readline):
            if token.type not in _WITHOUT_CODE:
                lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        # A text alone in a statement describes what is above it.
        text = node.value if isinstance(node, ast.Expr) else None
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            lines -= set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return lines


def line_table() -> Iterator[str]:
    """Yield a Markdown table of lines with code and imports: rooms, packages, tests."""
    yield "| room | modules | lines with code | of them imports |"
    yield "| --- | ---: | ---: | ---: |"
    total: Counter[str] = Counter()
    for package, folder in PACKAGES.items():
        by_room: dict[str, Counter[str]] = {}
        for path in sorted(folder.rglob("*.py")):
            part = path.relative_to(folder).parts[0].removesuffix(".py")
            by_room.setdefault(part, Counter()).update(_counts(path))
        for part, counts in sorted(by_room.items()):
            yield _row(f"`{package}/{part}`", counts)
            total.update(counts)
    yield _row("**the three packages**", total)
    tests: Counter[str] = Counter()
    for path in (ROOT / "tests").rglob("*.py"):
        tests.update(_counts(path))
    yield _row("`tests`", tests)


def _counts(path: Path) -> Counter[str]:
    code = code_lines(path)
    imports: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return Counter(modules=1, code=len(code), imports=len(imports & code))


def _row(name: str, counts: Counter[str]) -> str:
    numbers = (f"{counts[key]:,}" for key in ("modules", "code", "imports"))
    return f"| {name} | {' | '.join(numbers)} |"


def sample(seed: int) -> Iterator[str]:
    """Yield the paths of two random modules of each room.

    Somebody who has not read the code guesses from the path what a module holds, and then
    opens it. A name that misleads is a bad name.
    """
    draw = random.Random(seed)
    for package, folder in PACKAGES.items():
        by_room: dict[str, list[str]] = {}
        for path in sorted(folder.rglob("[!_]*.py")):
            part = path.relative_to(folder).parts[0]
            by_room.setdefault(part, []).append(f"{package}/{path.relative_to(folder)}")
        for _, modules in sorted(by_room.items()):
            yield from sorted(draw.sample(modules, min(2, len(modules))))


def main() -> None:
    """Redraw the maps, print the lines with code, or draw a sample of modules."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("--sample", type=int, metavar="SEED")
    asked = parser.parse_args()
    if asked.lines or asked.sample is not None:
        print("\n".join(line_table() if asked.lines else sample(asked.sample)))
        return
    PAGE.write_text(updated(PAGE.read_text("utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
