"""environment.yml promises what pyproject.toml requires."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import yaml
from packaging.requirements import Requirement

CONDA_NAMES = {"torch": "pytorch", "huggingface-hub": "huggingface_hub"}


def required(root: Path) -> dict[str, Requirement]:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"]]
    for extra in ("napari", "jupyter", "lab", "dask", "nwb", "hub", "analysis"):
        lines += extras[extra]
    found = [Requirement(line) for line in lines]
    return {CONDA_NAMES.get(item.name, item.name): item for item in found}


def everything(root: Path) -> list[Requirement]:
    table = tomllib.loads((root / "pyproject.toml").read_text())
    groups = [
        table["project"]["dependencies"],
        *table["project"]["optional-dependencies"].values(),
        *table["dependency-groups"].values(),
    ]
    found = [Requirement(line) for group in groups for line in group]
    return [item for item in found if item.name != "omnimouse-app"]


def in_conda(root: Path) -> dict[str, Requirement]:
    entries = yaml.safe_load((root / "environment.yml").read_text())["dependencies"]
    found = [Requirement(line) for line in entries if isinstance(line, str)]
    return {item.name: item for item in found}


def test_the_conda_environment_has_every_requirement_with_the_same_range(root):
    conda = in_conda(root)
    for name, requirement in required(root).items():
        assert name in conda, f"environment.yml has no {name}"
        assert conda[name].specifier == requirement.specifier, name


def test_the_conda_environment_ends_with_this_project(root):
    entries = yaml.safe_load((root / "environment.yml").read_text())["dependencies"]
    assert entries[-1] == {"pip": ["--editable ."]}


def test_the_constraints_satisfy_every_range(root):
    lines = (root / "constraints.txt").read_text().splitlines()
    exact = dict(line.split("==") for line in lines if line and line[0] != "#")
    for requirement in everything(root):
        assert requirement.specifier.contains(exact[requirement.name]), requirement


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
    for requirement in everything(root):
        assert f"`{requirement.name}`" in reasons, requirement
