"""environment.yml, constraints and wheel agree with pyproject.toml."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

CONDA_NAMES = {"torch": "pytorch", "huggingface-hub": "huggingface_hub"}

IN_CONDA = ("napari", "jupyter", "lab", "dask", "nwb", "hub", "analysis", "video", "train")


def tables(root: Path) -> tuple[list[str], dict[str, list[str]], list[list[str]]]:
    """Return the requirements of the project, its extras, and its dependency groups."""
    table = tomllib.loads((root / "pyproject.toml").read_text())
    project = table["project"]
    groups = [*table["dependency-groups"].values()]
    return project["dependencies"], project["optional-dependencies"], groups


def conda_requirements(root: Path) -> dict[str, Requirement]:
    always, extras, _ = tables(root)
    lines = [*always, *(line for extra in IN_CONDA for line in extras[extra])]
    items = [Requirement(line) for line in lines]
    return {CONDA_NAMES.get(item.name, item.name): item for item in items}


def all_requirements(root: Path) -> list[Requirement]:
    always, extras, groups = tables(root)
    every = [always, *extras.values(), *groups]
    items = [Requirement(line) for group in every for line in group]
    return [item for item in items if item.name != "omnimouse-app"]


@pytest.fixture
def conda(root):
    """Requirements of environment.yml by name; its last entry is this project."""
    entries = yaml.safe_load((root / "environment.yml").read_text())["dependencies"]
    assert entries[-1] == {"pip": ["--editable ."]}
    items = [Requirement(line) for line in entries if isinstance(line, str)]
    return {item.name: item for item in items}


def test_the_conda_environment_has_every_requirement_with_the_same_range(root, conda):
    for name, requirement in conda_requirements(root).items():
        assert name in conda, f"environment.yml has no {name}"
        assert conda[name].specifier == requirement.specifier, name


def test_the_conda_environment_names_the_extras_that_it_leaves_out(root):
    _, extras, _ = tables(root)
    comment = (root / "environment.yml").read_text().partition("\nname:")[0]
    left_out = {*extras} - {*IN_CONDA, "pyside6", "all"}
    assert {*re.findall(r"`(\w+)`", comment)} == left_out


def test_the_constraints_satisfy_every_range(root):
    lines = (root / "constraints.txt").read_text().splitlines()
    exact = dict(line.split("==") for line in lines if line and line[0] != "#")
    for requirement in all_requirements(root):
        assert requirement.specifier.contains(exact[requirement.name]), requirement


@pytest.mark.process
@pytest.mark.slow
def test_the_wheel_contains_the_javascript_files(root, tmp_path):
    make = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(make, cwd=root, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    static = "omnimouse_widgets/jupyter/static"
    in_wheel = {Path(name).name for name in zipfile.ZipFile(wheel).namelist()}
    in_source = {path.name for path in (root / "widgets" / static).iterdir()}
    assert {"common.js", "style.css"} <= in_source
    assert in_source <= in_wheel


def test_every_dependency_is_documented(root):
    page = (root / "docs" / "dependencies.md").read_text()
    for requirement in all_requirements(root):
        assert f"`{requirement.name}`" in page, requirement
