"""docs/architecture.md agrees with the code."""

import importlib.util
import re

import pytest

FOLDERS = ("", "model/omnimouse_model", "widgets/omnimouse_widgets")


@pytest.fixture
def maps(root):
    spec = importlib.util.spec_from_file_location("rooms", root / "docs/rooms.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_both_maps_agree_with_the_code(maps):
    text = maps.PAGE.read_text("utf-8")
    assert set(maps.MARKED.findall(text)) == {"graph", "rooms"}
    assert maps.updated(text) == text, "Run: python docs/rooms.py"


def test_every_file_named_on_the_page_exists(maps, root):
    own = maps.PAGE.read_text("utf-8").partition("## All rooms")[0]
    named = set(re.findall(r"`([\w/]+(?:\.py|/))`", own))
    assert len(named) > 40
    missing = [
        path for path in named if not any((root / f / path).exists() for f in FOLDERS)
    ]
    assert missing == []
