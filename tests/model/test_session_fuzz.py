"""Damaged session folders: read, or refused with the one typed error; never worse."""

import json
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import SessionFormatError
from tests.model.experanto_folder import write_folder

ODD_VALUES = [
    *(None, True, -1, 0, 3, 10**30, 1e308, -0.5, float("nan"), float("inf")),
    *("", "abc", "../..", "\x00", [], [1, 2], [[]], {}, {"a": 1}),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound folder with every kind of file."""
    return write_folder(tmp_path_factory.mktemp("sound") / "s", n_neurons=3)


@pytest.mark.parametrize("seed", range(60))
def test_damage_is_refused_with_the_typed_error_or_harmless(
    sound: Path, tmp_path: Path, seed: int
) -> None:
    root, draw = tmp_path / "s", random.Random(seed)
    shutil.copytree(sound, root)
    if draw.random() < 0.5:
        damage_key(draw, root)
    for _ in range(draw.choice([0, 1, 2])):
        damage(draw, root)
    with suppress(SessionFormatError):
        session = open_session(root)
        session.window_starts("train", include_blanks=True)
        window = session.window(draw.uniform(0, 12))
        _ = window.responses, window.video, window.behavior, window.frames_u8
        session.overview(10)


def damage(draw: random.Random, root: Path) -> None:
    """Spoil one file of a folder."""
    path = draw.choice(sorted(p for p in root.rglob("*") if p.is_file()))
    data = bytearray(path.read_bytes())
    kind = draw.choice(["cut", "flip", "flip", "header", "grow", "garbage"])
    if kind == "cut":
        path.write_bytes(data[: draw.randrange(len(data) + 1)])
    elif kind == "grow":
        path.write_bytes(bytes(data) + draw.randbytes(draw.randrange(300)))
    elif kind == "garbage":
        path.write_bytes(draw.randbytes(draw.randrange(400)))
    elif kind == "header":
        for place in range(min(len(data), 128)):
            if draw.random() < 0.05:
                data[place] = draw.choice(b"0123456789(),'<>|fiuOVSb \n{}[]:")
        path.write_bytes(data)
    elif data:
        for _ in range(draw.choice([1, 8, 64])):
            data[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(data)


def damage_key(draw: random.Random, root: Path) -> None:
    """Give one key of a YAML or JSON file an odd value."""
    described = [p for p in root.rglob("*") if p.suffix in (".yml", ".json")]
    path = draw.choice(sorted(p for p in described if p.parent.name != "meta"))
    stored = yaml.safe_load(path.read_text())
    inner = stored
    if path.name == "combined_meta.json" and draw.random() < 0.9:
        inner = stored[draw.choice(sorted(stored))]
    inner[draw.choice(sorted(inner))] = draw.choice(ODD_VALUES)
    if path.suffix == ".yml":
        path.write_text(yaml.safe_dump(stored))
    else:
        path.write_text(json.dumps(stored))
