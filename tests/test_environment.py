"""environment.yml promises what pyproject.toml requires."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

CONDA_NAMES = {"torch": "pytorch", "huggingface-hub": "huggingface_hub"}


IN_CONDA = ("napari", "jupyter", "lab", "dask", "nwb", "hub", "analysis")


def tables(root: Path) -> tuple[list[str], dict[str, list[str]], list[list[str]]]:
    """Requirements of the project, of its extras, and of its groups."""
    table = tomllib.loads((root / "pyproject.toml").read_text())
    project = table["project"]
    groups = [*table["dependency-groups"].values()]
    return project["dependencies"], project["optional-dependencies"], groups


def conda_requirements(root: Path) -> dict[str, Requirement]:
    always, extras, _ = tables(root)
    lines = [*always, *(line for extra in IN_CONDA for line in extras[extra])]
    found = [Requirement(line) for line in lines]
    return {CONDA_NAMES.get(item.name, item.name): item for item in found}


def all_requirements(root: Path) -> list[Requirement]:
    always, extras, groups = tables(root)
    every = [always, *extras.values(), *groups]
    found = [Requirement(line) for group in every for line in group]
    return [item for item in found if item.name != "omnimouse-app"]


@pytest.fixture
def conda(root):
    """What environment.yml installs; the last of it is this project."""
    entries = yaml.safe_load((root / "environment.yml").read_text())["dependencies"]
    assert entries[-1] == {"pip": ["--editable ."]}
    found = [Requirement(line) for line in entries if isinstance(line, str)]
    return {item.name: item for item in found}


def test_the_conda_environment_has_every_requirement_with_the_same_range(root, conda):
    for name, requirement in conda_requirements(root).items():
        assert name in conda, f"environment.yml has no {name}"
        assert conda[name].specifier == requirement.specifier, name


def test_the_constraints_satisfy_every_range(root):
    lines = (root / "constraints.txt").read_text().splitlines()
    exact = dict(line.split("==") for line in lines if line and line[0] != "#")
    for requirement in all_requirements(root):
        assert requirement.specifier.contains(exact[requirement.name]), requirement


@pytest.mark.process
@pytest.mark.slow
def test_the_wheel_holds_what_runs_in_the_page(root, tmp_path):
    make = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(make, cwd=root, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    static = "omnimouse_widgets/jupyter/static"
    held = {Path(name).name for name in zipfile.ZipFile(wheel).namelist()}
    made = {path.name for path in (root / "widgets" / static).iterdir()}
    assert {"common.js", "style.css"} <= made
    assert made <= held


def test_every_dependency_has_its_reason(root):
    reasons = (root / "docs" / "dependencies.md").read_text()
    for requirement in all_requirements(root):
        assert f"`{requirement.name}`" in reasons, requirement
