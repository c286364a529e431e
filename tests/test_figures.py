"""Tables of the documentation: each names a valid command and contains its output."""

import importlib.util
import shlex

import click
import pytest

from omnimouse_app.cli import group


@pytest.fixture
def figures(root):
    spec = importlib.util.spec_from_file_location("figures", root / "docs/figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_output_of_a_command_replaces_its_table(figures):
    text = (
        "a\n<!-- omnimouse x --y -->\n{}<!-- end -->\nb\n"
        "<!-- omnimouse z -->\n{}<!-- end -->\n"
    )
    outputs = {"omnimouse x --y": "| 1 |\n", "omnimouse z": "| 2 |\n"}
    *_, updated = figures.updates(text.format("old\n", ""), outputs.__getitem__)
    assert updated == text.format(*outputs.values())
    *_, again = figures.updates(updated, lambda _: "| 3 |")
    assert again.count("| 3 |") == 2


def test_every_table_of_the_documentation_names_a_valid_command(figures, root):
    commands = [
        command
        for path in (root / "docs").glob("*.md")
        for command in figures.MARKED.findall(path.read_text("utf-8"))
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
