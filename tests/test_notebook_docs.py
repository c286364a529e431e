"""docs/notebooks.md says of every part what its class says, and leaves no trait out."""

import importlib.util
import inspect
import re

import anywidget
import pytest

import omnimouse_widgets

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
OF_ALL = {"problem", *anywidget.AnyWidget.class_traits()}


@pytest.fixture
def traits(root):
    spec = importlib.util.spec_from_file_location("traits", root / "docs/traits.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", PARTS)
def test_a_part_documents_every_trait_that_code_may_use_and_no_other(traits, name):
    part = getattr(omnimouse_widgets, name)
    public = {trait for trait in part.class_traits(sync=True) if trait[0] != "_"}
    documented = list(traits.documented(part))
    assert all(words for _, words in documented)
    told = {each for names, _ in documented for each in names}
    assert public - OF_ALL <= told
    source = inspect.getsource(part)
    assert all(hasattr(part, each) or f"self.{each} = " in source for each in told)


def test_the_page_has_every_part_as_its_class_has_it(traits):
    text = traits.PAGE.read_text("utf-8")
    assert set(re.findall(r"<!-- traits of (\w+) -->", text)) == set(PARTS)
    assert traits.renewed(text) == text, "Run: python docs/traits.py"


def test_every_picture_of_the_page_is_there(traits):
    text = traits.PAGE.read_text("utf-8")
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert pictures
    assert all((traits.PAGE.parent / picture).is_file() for picture in pictures)
