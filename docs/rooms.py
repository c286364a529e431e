"""Redraw the maps of docs/architecture.md from the code: import graph and rooms.

    python docs/rooms.py

A map stands between `<!-- NAME -->` and `<!-- end -->`. The graph shows which room
imports which, without the arrows that follow from others; the list takes each room's
sentence from the docstring of its folder.
"""

import ast
import re
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
SHARED = ("errors", "atomic", "cache", "locking", "parquet")
"""Modules that every room may use; their arrows would hide the others."""
MARKED = re.compile(r"<!-- (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def imports() -> dict[str, set[str]]:
    """Return the rooms that each room imports; a room is a child of a package."""
    graph = grimp.build_graph(
        *PACKAGES, exclude_type_checking_imports=True, cache_dir=None
    )
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
    """Yield the arrows that do not follow from longer ways (transitive reduction)."""
    below: dict[str, set[str]] = {}

    def reach(room: str) -> set[str]:
        if room not in below:
            below[room] = set().union(*({r} | reach(r) for r in rooms.get(room, ())))
        return below[room]

    for room in sorted(rooms):
        for target in sorted(rooms[room]):
            if not any(target in reach(other) for other in rooms[room] - {target}):
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
    """Return every folder and every top-level module with its sentence."""
    lines = ["| room | what is in it |", "| --- | --- |"]
    for package, folder in PACKAGES.items():
        for path in sorted([*folder.rglob("__init__.py"), *folder.glob("[!_]*.py")]):
            place = path.parent if path.name == "__init__.py" else path
            name = f"{package}/{place.relative_to(folder)}".removesuffix("/.")
            text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
            sentence = " ".join(text.partition("\n\n")[0].split())
            lines.append(f"| `{name}` | {sentence} |")
    return "\n".join(lines)


def renewed(text: str) -> str:
    """Return the page with both maps drawn anew."""
    maps = {"graph": graph, "rooms": rooms}

    def fill(found: re.Match[str]) -> str:
        return f"<!-- {found[1]} -->\n{maps[found[1]]()}\n<!-- end -->"

    return MARKED.sub(fill, text)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text("utf-8")), encoding="utf-8")
