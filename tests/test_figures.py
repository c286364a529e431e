"""The documents' tables: each names a command that exists, and takes what it prints."""

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


def test_what_a_command_prints_stands_between_its_marks(figures):
    text = (
        "a\n<!-- omnimouse x --y -->\n{}<!-- end -->\nb\n"
        "<!-- omnimouse z -->\n{}<!-- end -->\n"
    )
    answers = {"omnimouse x --y": "| 1 |\n", "omnimouse z": "| 2 |\n"}
    *_, found = figures.renewals(text.format("old\n", ""), answers.__getitem__)
    assert found == text.format(*answers.values())
    *_, again = figures.renewals(found, lambda _: "| 3 |")
    assert again.count("| 3 |") == 2


def test_every_table_of_the_documents_names_a_command_that_parses(figures, root):
    found = [
        command
        for path in (root / "docs").glob("*.md")
        for command in figures.MARKED.findall(path.read_text("utf-8"))
    ]
    assert len(found) >= 4
    for command in found:
        assert "--markdown" in command
        arguments = shlex.split(command)[1:]
        chosen = group
        while isinstance(chosen, click.Group):
            context = click.Context(chosen)
            _, chosen, arguments = chosen.resolve_command(context, arguments)
        chosen.make_context(command, arguments)
