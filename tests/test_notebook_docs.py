"""docs/notebooks.md says of every part what its class says, and leaves no trait out."""

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


def test_the_page_has_every_part_as_its_class_has_it(traits):
    text = traits.PAGE.read_text("utf-8")
    assert set(re.findall(r"<!-- traits of (\w+) -->", text)) == set(PARTS)
    assert traits.renewed(text) == text, "Run: python docs/traits.py"


def test_every_picture_of_the_page_is_there(traits):
    text = traits.PAGE.read_text("utf-8")
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert pictures
    assert all((traits.PAGE.parent / picture).is_file() for picture in pictures)
