"""What the README shows works."""

import contextlib
import re

import numpy as np
import pytest

from omnimouse_app.cli import COMMANDS


@pytest.mark.slow
def test_the_examples_run(root):
    text = (root / "README.md").read_text()
    notebook, script = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(script, "README.md", "exec"), names)
    assert names["result"].responses.shape == (60, 500)
    exec(compile(notebook, "README.md", "exec"), names)
    with contextlib.closing(names["explorer"]) as explorer:
        assert np.isfinite(explorer.settled().scores).all()


@pytest.mark.slow
def test_the_page_on_masks_runs(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (root / "docs" / "masks.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile("\n".join(examples), "masks.md", "exec"), names)
    assert names["same"] == names["drawn"]


@pytest.mark.slow
def test_the_page_on_sweeps_runs(root):
    text = (root / "docs" / "sweeps.md").read_text()
    quick, _with_a_window = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(quick, "sweeps.md", "exec"), names)
    assert len(names["sweep"].curves()) == 2


@pytest.mark.parametrize("page", ["README.md", "docs/napari.md"])
def test_keys_are_called_as_in_the_table(root, page):
    from omnimouse_app.keys import all_keys

    known = {key for group in all_keys() for key in group.split(" ")}
    known |= {"Ctrl", "Alt", "Shift", "Ctrl+Shift+P"}  # napari's palette
    named = re.findall(r"`([^`\n]+)`", (root / page).read_text())
    keys = [word for word in named if re.fullmatch(KEY, word)]
    assert len(keys) > 8
    assert [key for key in keys if key not in known] == []


KEY = r"((Ctrl|Alt|Shift)\+?)*([A-Z0-9\[\],.?]|P(age|g)(Up|Down)|Space)?"


def test_every_page_is_reached_from_the_first(root):
    index = (root / "docs" / "index.md").read_text()
    for page in (root / "docs").glob("*.md"):
        assert page.name == "index.md" or f"({page.name})" in index, page.name


def test_every_command_is_in_the_readme(root):
    text = (root / "README.md").read_text()
    assert all(f"| `{name}" in text for name in COMMANDS)


@pytest.mark.parametrize(
    "page",
    ["README.md", "CONTRIBUTING.md", "docs/index.md", "docs/start.md", "docs/masks.md"],
)
def test_local_links_lead_somewhere(root, page):
    text = (root / page).read_text()
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert ((root / page).parent / link).exists(), link
