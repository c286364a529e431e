import contextlib
import re

import numpy as np
import pytest

from omnimouse_app.cli import COMMANDS


def examples(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)


def namespace_after(code, names=None):
    """Run code and return its global names."""
    names = {} if names is None else names
    exec(compile(code, "example", "exec"), names)
    return names


@pytest.mark.slow
def test_the_examples_run(root):
    notebook, script = examples(root / "README.md")
    names = namespace_after(script)
    assert names["result"].responses.shape == (60, 500)
    namespace_after(notebook, names)
    with contextlib.closing(names["explorer"]) as explorer:
        assert np.isfinite(explorer.settled().window_scores).all()


@pytest.mark.slow
def test_the_page_on_masks_runs(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = namespace_after("\n".join(examples(root / "docs" / "masks.md")))
    assert names["same"] == names["drawn"]


@pytest.mark.slow
def test_the_page_on_families_runs(root):
    code = "\n".join(examples(root / "docs" / "families.md"))
    assert namespace_after(code)["mask"].spec.n_samples == 150


@pytest.mark.slow
def test_the_page_on_spikes_runs(root):
    code = "\n".join(examples(root / "docs" / "spikes.md"))
    assert np.isfinite(namespace_after(code)["found"].responses).all()


def test_the_index_links_to_every_page(root):
    index = (root / "docs" / "index.md").read_text()
    pages = {page.name for page in (root / "docs").glob("*.md")} - {"index.md"}
    assert [page for page in pages if f"({page})" not in index] == []


def test_every_command_is_in_the_documentation(root):
    text = (root / "docs" / "commands.md").read_text()
    assert [name for name in COMMANDS if f"| `{name}" not in text] == []


def test_local_links_exist(root):
    pages = [
        root / "README.md",
        root / "CONTRIBUTING.md",
        *(root / "docs").glob("*.md"),
    ]
    # An unpacked sdist has no pictures.
    has_pictures = (root / "docs" / "images").is_dir()
    for page in pages:
        links = re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text())
        links = [link for link in links if has_pictures or not link.endswith(".png")]
        assert [link for link in links if not (page.parent / link).exists()] == [], page


def test_the_number_of_notebooks_is_that_of_the_folder(root):
    text = (root / "README.md").read_text("utf-8")
    paths = sorted(path.relative_to(root).as_posix() for path in root.glob("notebooks/*.ipynb"))
    assert re.findall(r"\((notebooks/\w+\.ipynb)\)", text) == paths
    number = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    assert f"{number[len(paths)]} example notebooks" in text
    assert f"{number[len(paths)].capitalize()} notebooks use" in text


def test_files_that_pages_name_exist(root):
    skipped = {".venv", ".git", "site"}
    files = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if not skipped & set(path.relative_to(root).parts)
    }
    missing = [
        f"{page.name}: {name}"
        for page in (root / "README.md", *(root / "docs").glob("*.md"))
        for name in re.findall(r"`([\w/]+\.py)`", page.read_text("utf-8"))
        if not any(f"/{file}".endswith(f"/{name}") for file in files)
    ]
    assert missing == []
