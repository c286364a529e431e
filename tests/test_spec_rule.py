"""Inside the packages every call passes a window spec, and one place names the default."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("model/omnimouse_model", "widgets/omnimouse_widgets", "omnimouse_app")
HOME = "model/omnimouse_model/data/window_spec.py"
"""Defines OmniMouse's spec, and `default_spec` names it."""


def optional_specs(trees: dict[str, ast.Module]) -> dict[str, int]:
    """Return the functions whose `spec` may be left out, with its place among the arguments.

    By name alone; a spec is `WindowSpec | None = None`. A class has the name of its
    `__init__`.
    """
    found = {}
    for tree in trees.values():
        owners = {
            id(node): owner.name
            for owner in ast.walk(tree)
            if isinstance(owner, ast.ClassDef)
            for node in owner.body
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef):
                continue
            specs = [one for one in (*node.args.args, *node.args.kwonlyargs) if one.arg == "spec"]
            if not specs or ast.unparse(specs[0].annotation or node) != "WindowSpec | None":
                continue
            names = [one.arg for one in node.args.args]
            is_method = bool(names) and names[0] in ("self", "cls")
            # No place among the arguments is enough for a keyword.
            place = names.index("spec") if "spec" in names else 99
            name = owners[id(node)] if node.name == "__init__" else node.name
            found[name] = place - is_method
    return found


def calls_without_spec(tree: ast.Module, optional: dict[str, int]) -> list[str]:
    """Return `line: name` of each call that leaves out a spec."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        # `*arguments` and `**options` are taken to hold it.
        is_open = any(isinstance(one, ast.Starred) for one in node.args)
        named = {keyword.arg for keyword in node.keywords}
        # Signals and Qt's widgets have a method `window`, too.
        owner = ast.unparse(getattr(node.func, "value", node.func))
        if name == "window" and not owner.endswith("session"):
            continue
        is_given = is_open or bool(named & {"spec", None})
        if not is_given and len(node.args) <= optional.get(name, len(node.args) - 1):
            found.append(f"{node.lineno}: {name}")
    return found


def names_of_omnimouse(tree: ast.Module) -> list[str]:
    """Return the lines that name OmniMouse's spec."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute))
    return [
        f"{node.lineno}: OMNIMOUSE"
        for node in nodes
        if getattr(node, "attr", getattr(node, "id", "")) == "OMNIMOUSE"
    ]


TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
}


def test_every_call_inside_the_packages_passes_a_spec():
    optional = optional_specs(TREES)
    assert {"window", "nothing", "window_starts"} <= optional.keys()
    assert [
        f"{name}:{place}"
        for name, tree in TREES.items()
        for place in calls_without_spec(tree, optional)
    ] == []


def test_omnimouse_is_named_in_its_family_and_by_the_default_alone():
    names = [
        f"{name}:{place}"
        for name, tree in TREES.items()
        if name != HOME and "/families/omnimouse/" not in name
        for place in names_of_omnimouse(tree)
    ]
    assert names == []


@pytest.mark.parametrize(
    ("line", "is_found"),
    [
        ("session.window(2.0)", True),
        ("session.window(2.0, spec)", False),
        ("session.window(start_s=2.0, spec=spec)", False),
        ("session.window(*arguments)", False),
        ("other(2.0)", False),
    ],
)
def test_a_call_without_a_spec_is_found(line, is_found):
    source = "def window(self, start_s, spec: WindowSpec | None = None): ..."
    optional = optional_specs({"": ast.parse(source)})
    assert bool(calls_without_spec(ast.parse(line), optional)) == is_found
