"""Masks as text: they come back whole, and broken text is refused by field."""

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import MaskError
from omnimouse_model.inference.mask_delta import is_same, mask_delta
from omnimouse_model.masks import Mask
from omnimouse_model.masks.strategies import strategy_names
from tests.model.random_masks import masks


def json_round_trip(mask: Mask) -> Mask:
    return Mask.from_dict(json.loads(json.dumps(mask.to_dict())))


@pytest.mark.slow
@settings(max_examples=40)
@given(masks(9))
@example(Mask.nothing(0))
def test_a_mask_comes_back_whole(mask):
    again = json_round_trip(mask)
    assert is_same(again, mask)
    assert again == mask


@given(st.sampled_from(strategy_names()), st.none() | st.integers(0, 99))
@settings(max_examples=30)
def test_a_strategy_comes_back_with_its_name_and_note(name, seed):
    mask = Mask.from_strategy(name, 300, seed)
    assert is_same(json_round_trip(mask), mask)


def test_a_person_can_read_it():
    mask = Mask.nothing(1000).show(range(500), slice(0, 30)).ask(range(100, 500))
    facts = mask.ask([700]).with_frames(slice(0, 30)).to_dict()
    assert facts["cells"] == {"30v 30h": "0-99", "30v 30t": "100-499", "30h 30t": "700"}
    assert facts["frames"] == "0-29"
    assert facts["attachment"]["values"]["order"] == "0-999"


def test_a_file_is_written_whole_and_read_back(tmp_path):
    path = tmp_path / "new" / "half.json"
    mask = Mask.from_strategy("population_1024_response_video_behavior", 40, seed=1)
    assert mask.save(path) == path
    assert is_same(Mask.load(path), mask)
    with pytest.raises(OSError, match="new"):
        mask.save(path.parent)  # a folder cannot be replaced
    assert [entry.name for entry in tmp_path.rglob("*")] == ["new", "half.json"]


OF_STRATEGY = Mask.from_strategy("population_1024_response_video_behavior", 8)
FACTS = OF_STRATEGY.to_dict()
LAYOUT = FACTS["attachment"]["values"]
# As version 1 had them: the fields of OmniMouse's layout among the others, and no spec.
FIRST = {k: v for k, v in FACTS.items() if k not in ("spec", "attachment")} | LAYOUT
FIRST |= {"version": 1}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"format": "omnimouse-analysis"}, "format: found 'omnimouse-analysis', expected"),
    ({"version": 4}, "version: found 4, expected 1 or 2 or 3"),
    ({"version": True}, "version: found True, expected 1"),
    ({"n_neurons": -1}, "n_neurons: found -1, expected a whole number 0..1000000"),
    ({"n_neurons": 10**9}, "n_neurons: found 1000000000"),
    ({"n_neurons": 8.0}, "n_neurons: found 8.0"),
    (
        {"n_neurons": 10**6, "spec": FACTS["spec"] | {"duration_s": 2000.0}, "frames": ""},
        "a whole number 0..4473",
    ),
    ({"cells": []}, "cells: found [], expected an object"),
    ({"cells": {"60v": 3}}, "cells['60v']: found 3, expected neurons such as"),
    ({"cells": {"61v": "0"}}, "cells: found '61v', expected runs of 60 samples"),
    ({"cells": {"30v 30x": "0"}}, "cells: found '30v 30x'"),
    ({"cells": {"": "0"}}, "cells: found ''"),
    ({"cells": {"60v": "0-8"}}, "cells['60v']: found '0-8', expected numbers 0..7"),
    ({"cells": {"60v": "0-9999999"}}, "cells['60v']: found '0-9999999'"),
    ({"cells": {"60v": "5-2"}}, "found '5-2'"),
    ({"cells": {"60v": "1,1"}}, "found '1,1'"),
    ({"cells": {"60v": "0-3", "60t": "3-4"}}, "found 'neuron 3 twice'"),
    ({"frames": "0-60"}, "frames: found '0-60', expected numbers 0..59"),
    ({"frames": None}, "frames: found None, expected text"),
    ({"behavior": "shown"}, "behavior: found 'shown', expected 'visible', 'target' or"),
    ({"attachment": 3}, "attachment: found 3, expected null, or an object of name"),
    ({"attachment": {"name": "omnimouse"}}, "attachment: found {'name': 'omnimouse'}"),
    ({"guarded": 1}, "guarded: found 1, expected true or false"),
    ({"name": 3}, "name: found 3, expected text"),
    ({"weight": 1.0}, "fields: found 'weight', expected only format"),
]


WRONG_LAYOUTS: list[tuple[dict[str, Any], str]] = [
    ({"order": "0-7,0"}, "order: found"),
    ({"order": [0, 1]}, "order: found [0, 1], expected text"),
    ({"cuts": [1.5]}, "cuts[0]: found 1.5, expected a whole number"),
    ({"cuts": [75]}, "Mask.cuts must be samples 0..59"),
    ({"context_span": [0]}, "context_span: found [0], expected a list of 2"),
    ({"context_span": [40, 20]}, "Mask.context_span (40, 20) is not in 0..60"),
    ({"query_phase": 5}, "Mask.query_phase must be 0..4, found 5"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_LAYOUTS)
def test_a_wrong_field_of_the_layout_is_named_in_every_version(change, message):
    attachment = {"name": "omnimouse", "values": LAYOUT | change}
    for values in (FIRST | change, FACTS | {"attachment": attachment}):
        with pytest.raises(MaskError, match=re.escape(message)):
            Mask.from_dict(values)


def test_masks_of_older_versions_are_read():
    assert is_same(Mask.from_dict(FIRST), OF_STRATEGY)
    with pytest.raises(MaskError, match="cuts: found None"):
        Mask.from_dict({k: v for k, v in FIRST.items() if k != "cuts"})
    spec = WindowSpec(2.0, 20.0, responses="count")
    other = Mask.nothing(3, spec).show([1])
    second = {k: v for k, v in other.to_dict().items() if k != "attachment"}
    assert is_same(Mask.from_dict(second | {"version": 2}), other)


def test_the_attachment_of_an_unknown_family_stays_as_it_was_read():
    attachment = {"name": "elsewhere", "values": {"lags": [1, {"deep": None}], "x": 0.1}}
    mask = Mask.from_dict(FACTS | {"attachment": attachment})
    changed = mask.show([0]).with_frames(True)
    for one in (mask, changed, json_round_trip(changed)):
        assert one.to_dict()["attachment"] == attachment
    back = mask_delta(OF_STRATEGY, mask)
    assert is_same(back.undo(mask), OF_STRATEGY)
    assert is_same(back.redo(OF_STRATEGY), mask)
    assert mask != OF_STRATEGY  # an attachment is part of the identity


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_wrong_field_is_named_with_what_was_found_and_expected(change, message):
    with pytest.raises(MaskError, match=re.escape(message)):
        Mask.from_dict(FACTS | change)


@pytest.mark.parametrize("field", sorted(FACTS.keys() - {"recording_rate_hz"}))
def test_a_missing_field_is_named(field):
    rest = {name: value for name, value in FACTS.items() if name != field}
    with pytest.raises(MaskError, match=f"mask's {field}: found None"):
        Mask.from_dict(rest)


def test_a_file_without_the_rate_of_the_recording_is_read():
    rest = {name: value for name, value in FACTS.items() if name != "recording_rate_hz"}
    assert Mask.from_dict(rest).recording_rate_hz == 8


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(st.sampled_from(sorted(FACTS)), json_values)
def test_any_value_in_any_field_is_read_or_refused(field, value):
    try:
        mask = Mask.from_dict(FACTS | {field: value})
    except MaskError:
        return
    assert is_same(json_round_trip(mask), mask)


@settings(max_examples=40)
@given(json_values)
def test_any_other_values_are_no_mask(value):
    with pytest.raises(MaskError, match="found"):
        Mask.from_dict(value)


BROKEN = [b"", b"{", b"[" * 100_000, b"\xff\xfe{}", b"null"]


@pytest.mark.parametrize("text", [*BROKEN, json.dumps(FACTS)[:-9].encode()])
def test_a_file_that_is_no_mask_is_named(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_bytes(text)
    with pytest.raises(MaskError, match=r"broken\.json: .*(found|not valid JSON)"):
        Mask.load(path)


@pytest.mark.slow
def test_a_large_population_takes_little_room(tmp_path):
    draw = np.random.default_rng(0)
    cells = draw.integers(0, 3, (60, 2000)).astype(np.uint8)
    mask = Mask.nothing(2000).with_cells(cells).with_attachment(order=draw.permutation(2000))
    path = mask.save(tmp_path / "noise.json")
    assert path.stat().st_size < 1_000_000
    assert is_same(Mask.load(path), mask)
