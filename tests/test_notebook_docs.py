"""docs/notebooks.md contains the documented traits of every widget."""

import importlib.util
import re

import pytest

PARTS = (
    "ControlBar",
    "FineTune",
    "MaskPainter",
    "Raster",
    "VideoScrubber",
    "Traces",
    "BehaviorDecoder",
    "ContextSweep",
    "NeuronTable",
    "NeuronScores",
)


@pytest.fixture
def traits(root):
    spec = importlib.util.spec_from_file_location("traits", root / "docs/traits.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_agree_with_the_docstrings(traits):
    text = traits.PAGE.read_text("utf-8")
    assert set(re.findall(r"<!-- traits of (\w+) -->", text)) == set(PARTS)
    assert traits.updated(text) == text, "Run: python docs/traits.py"


def test_every_picture_of_the_page_exists(traits):
    text = traits.PAGE.read_text("utf-8")
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert pictures
    assert all((traits.PAGE.parent / picture).is_file() for picture in pictures)
