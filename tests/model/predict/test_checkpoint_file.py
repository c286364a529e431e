import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.ndt import DEMO as NDT_DEMO
from omnimouse_model.families.ndt.predictor import NdtCheckpoint
from omnimouse_model.families.omnimouse import DEMO
from omnimouse_model.families.omnimouse.checkpoint import OmniMouseCheckpoint
from omnimouse_model.families.twin import DEMO as TWIN_DEMO
from omnimouse_model.families.twin.twin import TwinCheckpoint

FAMILIES = pytest.mark.parametrize(
    ("shipped", "read"),
    [
        (DEMO, OmniMouseCheckpoint.read),
        (TWIN_DEMO, TwinCheckpoint.read),
        (NDT_DEMO, NdtCheckpoint.read),
    ],
    ids=["omnimouse", "twin", "ndt"],
)


def described(shipped: Path, folder: Path, **changes: object) -> Path:
    """Shipped weights beside a changed description; a field of None is left out."""
    path = folder / shipped.name
    path.symlink_to(shipped)
    stored = json.loads(shipped.with_suffix(".json").read_text("utf-8")) | changes
    kept = {name: value for name, value in stored.items() if value is not None}
    path.with_suffix(".json").write_text(json.dumps(kept), "utf-8")
    return path


@FAMILIES
def test_shipped_weights_and_descriptions_belong_together(shipped, read, caplog):
    read(shipped)
    assert not caplog.records


@FAMILIES
@pytest.mark.parametrize("pair", ["0" * 16, None, 5])
def test_weights_and_a_description_of_others_are_refused(shipped, read, pair, tmp_path):
    path = described(shipped, tmp_path, pair=pair)
    with pytest.raises(CheckpointError, match="not saved together"):
        read(path)


@FAMILIES
def test_files_from_before_this_check_open_with_a_note(
    shipped: Path, read: Callable[[Path], object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = described(shipped, tmp_path, pair=None)
    path.unlink()
    save_file(load_file(shipped), path)
    with caplog.at_level(logging.WARNING):
        read(path)
    assert "whether they belong together is not checked" in caplog.text


@FAMILIES
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {"more": 1}}, r"config.*: found 'more', expected only the fields"),
        ({"config": [1]}, r"config: found \[1\], expected an object of fields"),
        ({"sessions": {"a": "x"}}, r"sessions\.a: found 'x', expected a whole number"),
        ({"sessions": {"a": 10**9}}, r"sessions\.a: found 1000000000, expected 1 to"),
        ({"sessions": None}, "sessions: found (nothing|None), expected an object"),
        (
            {"sessions": {f"s{k}": 5 for k in range(10_001)}},
            "sessions: found .*, expected 0 to 10,000 values",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_file(shipped, read, changes, message, tmp_path):
    path = described(shipped, tmp_path, **changes)
    with pytest.raises(CheckpointError, match=rf"{path.stem}\.json: {message}"):
        read(path)
