import json
import logging
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

import pytest
from safetensors.torch import load_file, save_file

from omnimouse_model.errors import CheckpointError, SessionFormatError
from omnimouse_model.families.cebra.model import CebraCheckpoint
from omnimouse_model.families.dwiseneuro.network import DwiseCheckpoint
from omnimouse_model.families.latent_zig.network import ZigCheckpoint
from omnimouse_model.families.ndt import DEMO as NDT_DEMO
from omnimouse_model.families.ndt.predictor import NdtCheckpoint
from omnimouse_model.families.omnimouse import DEMO
from omnimouse_model.families.omnimouse.checkpoint import OmniMouseCheckpoint
from omnimouse_model.families.parts.clips import GrayLevels
from omnimouse_model.families.poyo_calcium.model import PoyoCheckpoint
from omnimouse_model.families.poyo_calcium.network import PoyoConfig
from omnimouse_model.families.sensorium_factorised.network import FactorisedCheckpoint
from omnimouse_model.families.twin import DEMO as TWIN_DEMO
from omnimouse_model.families.twin.twin import TwinCheckpoint
from omnimouse_model.storage.trees import decode

ALL = [
    OmniMouseCheckpoint,
    TwinCheckpoint,
    NdtCheckpoint,
    CebraCheckpoint,
    PoyoCheckpoint,
    FactorisedCheckpoint,
    ZigCheckpoint,
    DwiseCheckpoint,
]
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


@pytest.mark.parametrize("kind", ALL)
def test_every_size_in_a_config_has_a_limit(kind):
    config = get_type_hints(kind)["config"]
    assert not list(_without_limit(config, "config"))


def _without_limit(kind, name):
    """Whole numbers, and lists of them, of which a file can state any."""
    if kind is int:
        yield name
    if is_dataclass(kind):
        for field, of_field in get_type_hints(kind, include_extras=True).items():
            yield from _without_limit(of_field, f"{name}.{field}")
    elif get_origin(kind) in (tuple, list, Union, UnionType):
        for one in get_args(kind):
            yield from _without_limit(one, name)


@pytest.mark.parametrize("change", [{"std": 0}, {"std": -1}, {"mean": 1e308}, {"mean": -1}])
def test_gray_levels_that_no_training_has_are_refused(change):
    levels = {"mean": 110.0, "std": 40.0}
    assert decode(GrayLevels, levels, "m.json") == GrayLevels(**levels)
    with pytest.raises(SessionFormatError, match=f"m.json: {next(iter(change))}: found"):
        decode(GrayLevels, levels | change, "m.json")


def test_a_config_of_no_windows_names_its_file(tmp_path):
    config = PoyoConfig(rate_hz=0.5)
    PoyoCheckpoint(config=config, units={}, state={}).save(tmp_path / "small")
    with pytest.raises(CheckpointError, match=r"small\.json: config: .* 0\.5 samples"):
        PoyoCheckpoint.read(tmp_path / "small.safetensors")
