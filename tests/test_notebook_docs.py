"""docs/notebooks.md says of every part what its class says, and leaves no trait out."""

import importlib.util
import inspect
import re

import anywidget
import pytest

import omnimouse_widgets
from omnimouse_widgets.jupyter.part import Part

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
def test_a_part_documents_every_trait_that_code_may_use(traits, name):
    part: type[Part] = getattr(omnimouse_widgets, name)
    public = {trait for trait in part.class_traits(sync=True) if trait[0] != "_"}
    told = {each for names, _ in traits.documented(part) for each in names}
    assert public - OF_ALL <= told


@pytest.mark.parametrize("name", PARTS)
def test_what_a_part_documents_is_there(traits, name):
    part: type[Part] = getattr(omnimouse_widgets, name)
    made = inspect.getsource(part)
    for names, words in traits.documented(part):
        assert words
        for each in names:
            assert hasattr(part, each) or f"self.{each} = " in made


def test_the_page_has_every_part_as_its_class_has_it(traits):
    text = traits.PAGE.read_text("utf-8")
    assert set(re.findall(r"<!-- traits of (\w+) -->", text)) == set(PARTS)
    assert traits.renewed(text) == text, "Run: python docs/traits.py"


def test_every_picture_of_the_page_is_there(traits):
    text = traits.PAGE.read_text("utf-8")
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert pictures
    assert all((traits.PAGE.parent / picture).is_file() for picture in pictures)
