import ast
import importlib.util
import re
import shlex
from importlib import import_module
from pathlib import Path
from types import ModuleType

import click
import pytest

import omnimouse_widgets as widgets
from omnimouse_app.cli import group
from omnimouse_widgets.jupyter.transport.part import Part
from omnimouse_widgets.views.registry import PANELS

DOCS = Path(__file__).resolve().parent.parent / "docs"
FOLDERS = ("", "model/omnimouse_model", "widgets/omnimouse_widgets")


def script(name: str) -> ModuleType:
    """Return a script of the documentation as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["rooms", "traits", "panels"])
def test_generated_parts_of_a_page_agree_with_the_code(name):
    page = script(name)
    text = page.PAGE.read_text("utf-8")
    assert page.updated(text) == text, f"Run: python docs/{name}.py"
    if name == "rooms":
        assert set(page.MARKED.findall(text)) == {"graph", "rooms"}
    elif name == "panels":
        assert page.MARKED.findall(text) == ["panels"]
    else:
        parts = {n for n in dir(widgets) if issubclass(getattr(widgets, n), Part)}
        assert set(page.MARKED.findall(text)) == parts


def test_the_page_of_every_panel_has_its_heading():
    for panel in PANELS:
        page, _, heading = panel.page.partition("#")
        lines = (DOCS / page).read_text("utf-8").splitlines()
        titles = [line.lstrip("# ").lower() for line in lines if line.startswith("#")]
        # As MkDocs makes anchors of headings.
        anchors = [re.sub(r"[^\w\s-]", "", title).replace(" ", "-") for title in titles]
        assert heading in anchors, panel.page


def test_every_file_named_in_the_architecture_exists(root):
    own = (DOCS / "architecture.md").read_text("utf-8").partition("## All rooms")[0]
    named = set(re.findall(r"`([\w/]+(?:\.py|/))`", own))
    assert len(named) > 40
    folders = [root / folder for folder in FOLDERS]
    missing = [p for p in named if not any((one / p).exists() for one in folders)]
    assert missing == []


def test_every_entry_of_the_library_page_exists():
    page = (DOCS / "library.md").read_text("utf-8")
    entries = re.findall(
        r"^::: (.*)\n(?:    options:\n      members: \[(.*)\])?", page, re.MULTILINE
    )
    assert len(entries) == len(dict(entries)) > 20
    for module, members in entries:
        names = [name for name in members.split(", ") if name]
        assert not set(names) - set(dir(importlib.import_module(module))), module


def test_every_name_that_a_page_imports_exists():
    imports = [
        (page.name, line.module, one.name)
        for page in sorted(DOCS.glob("*.md"))
        for code in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        for line in ast.walk(ast.parse(code))
        if isinstance(line, ast.ImportFrom) and line.module.startswith("omnimouse_")
        for one in line.names
    ]
    assert imports
    gone = [each for each in imports if not hasattr(import_module(each[1]), each[2])]
    assert not gone


def test_the_output_of_a_command_replaces_its_table():
    text = "a\n<!-- omnimouse x --y -->\n{}<!-- end -->\nb\n<!-- omnimouse z -->\n{}<!-- end -->\n"
    outputs = {"omnimouse x --y": "| 1 |\n", "omnimouse z": "| 2 |\n"}
    *_, page = script("figures").updates(text.format("old\n", ""), outputs.__getitem__)
    assert page == text.format(*outputs.values())


def test_a_table_that_needs_a_checkout_is_left_without_one(monkeypatch):
    monkeypatch.delenv("CHECKOUT", raising=False)
    text = "<!-- omnimouse x CHECKOUT -->\nold\n<!-- end -->\n"
    assert list(script("figures").updates(text, str)) == []
    monkeypatch.setenv("CHECKOUT", "folder")
    assert len(list(script("figures").updates(text, str))) == 1


def test_every_table_of_the_documentation_names_a_valid_command():
    marked = script("figures").MARKED
    commands = [
        command for path in DOCS.glob("*.md") for command in marked.findall(path.read_text("utf-8"))
    ]
    assert len(commands) >= 4
    for command in commands:
        assert "--markdown" in command
        arguments = shlex.split(command)[1:]
        target = group
        while isinstance(target, click.Group):
            context = click.Context(target)
            _, target, arguments = target.resolve_command(context, arguments)
        target.make_context(command, arguments)


def test_lines_with_code_leave_out_comments_docstrings_and_blanks(tmp_path):
    module = tmp_path / "module.py"
    module.write_text(
        '"""What the module is.\n\nMore of it.\n"""\n'  # 1 to 4
        "import os  # a reason\n\n"  # 5, 6
        "# a comment\n"
        "LIMIT = (\n    1,\n)\n"  # 8 to 10
        '"""What the limit is."""\n'
        "def size():\n"
        '    """Return a text."""\n'
        '    return """one\ntwo"""\n'  # 14, 15
    )
    assert script("rooms").code_lines(module) == {5, 8, 9, 10, 12, 14, 15}
