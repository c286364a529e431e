"""Version and description of the package for its builds (pyproject.toml names both).

The version is that of the tag. Without one (a ZIP, a shallow clone, an archive of the
source) it is `FALLBACK`. On the package index, links of the README are absolute.
"""

import re
import subprocess
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

FALLBACK = "0.1.0"
"""The newest version in CHANGELOG.md; a test compares them."""
ROOT = Path(__file__).resolve().parent
# A target in parentheses that is neither an address nor a place on the same page.
RELATIVE_LINK = re.compile(r"(!?\[[^\[\]]*\]\()(?!https?:|#)([^()\s]+)\)")


def version(root: Path = ROOT) -> str:
    """Return the version of the source code in a folder.

    Parameters
    ----------
    root
        A clone: the version of its tag, with `.postN+commit` N commits after it. An
        unpacked sdist: the version that it was built with. Otherwise `FALLBACK`.
    """
    metadata = root / "PKG-INFO"
    if metadata.is_file():
        return str(HeaderParser().parsestr(metadata.read_text("utf-8"))["Version"])
    # The folder of an unpacked ZIP may lie inside the repository of something else.
    if not (root / ".git").exists():
        return FALLBACK
    command = ["git", "describe", "--tags", "--long", "--match", "v[0-9]*"]
    try:
        found = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return FALLBACK
    parts = re.fullmatch(r"v(.+)-(\d+)-(g[0-9a-f]+)", found.stdout.strip())
    if parts is None:
        return FALLBACK
    tag, n_commits, commit = parts.groups()
    return tag if n_commits == "0" else f"{tag}.post{n_commits}+{commit}"


def absolute_links(text: str, source: str, revision: str) -> str:
    """Return a page of the repository whose links and pictures work elsewhere.

    Parameters
    ----------
    text
        The page in Markdown, at the root of the repository.
    source
        Web address of the repository.
    revision
        Branch or tag that the links show.
    """

    def replaced(link: re.Match[str]) -> str:
        kind = "raw" if link[1].startswith("!") else "blob"
        return f"{link[1]}{source}/{kind}/{revision}/{link[2]})"

    return RELATIVE_LINK.sub(replaced, text)


class IndexPage(MetadataHookInterface):
    """Hook of hatchling that gives the package index the README with absolute links."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the description of the project."""
        root = Path(self.root)
        number = version(root)
        revision = "main" if "+" in number else f"v{number}"
        page = (root / "README.md").read_text("utf-8")
        text = absolute_links(page, metadata["urls"]["Source"], revision)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
