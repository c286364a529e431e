"""What a release says about itself: version, changes, the page on the package index."""

import re
import subprocess
from importlib.metadata import version as installed_version
from pathlib import Path

import pytest
import yaml

import hatch_build
import omnimouse_app

ROOT = Path(__file__).parents[1]


def git(folder, *arguments):
    names = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", folder, *names, *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def test_the_version_without_a_tag_is_the_newest_of_the_change_log_and_of_the_citation():
    versions = re.findall(r"^## (\d[\w.]*)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert versions[0] == hatch_build.FALLBACK
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == versions[0]


def test_an_unpacked_zip_has_the_fallback_and_an_unpacked_sdist_its_own_version(tmp_path):
    assert hatch_build.version(tmp_path) == hatch_build.FALLBACK
    (tmp_path / "PKG-INFO").write_text("Metadata-Version: 2.4\nName: x\nVersion: 7.1\n")
    assert hatch_build.version(tmp_path) == "7.1"


@pytest.mark.process
@pytest.mark.slow
def test_the_version_is_that_of_the_tag_and_says_how_many_commits_came_after_it(tmp_path):
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    assert hatch_build.version(tmp_path) == hatch_build.FALLBACK
    git(tmp_path, "tag", "v3.2.1")
    assert hatch_build.version(tmp_path) == "3.2.1"
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "second")
    assert re.fullmatch(r"3\.2\.1\.post1\+g[0-9a-f]{7,}", hatch_build.version(tmp_path))


def test_the_package_states_the_version_with_which_it_was_installed():
    assert omnimouse_app.__version__ == installed_version("omnimouse-app")


def test_links_and_pictures_of_the_index_page_are_absolute():
    page = (ROOT / "README.md").read_text("utf-8")
    text = hatch_build.absolute_links(page, "https://example.org/studio", "v1.0")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert len(links) > 20
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    assert (
        hatch_build.absolute_links("![a](b.png)", "https://example.org/studio", "v1.0")
        == "![a](https://example.org/studio/raw/v1.0/b.png)"
    )


def test_placeholders_of_addresses_are_in_one_place():
    pages = [*ROOT.glob("*.*"), *(ROOT / "docs").glob("*.md"), *(ROOT / ".github").rglob("*.*")]
    found = {page.name for page in pages if page.is_file() and "/OWNER/" in page.read_text("utf-8")}
    assert found == {"pyproject.toml"}
