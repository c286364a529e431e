"""Checkpoints: ours round trip, official shards load strictly, hostile ones do not."""

import json
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.omnimouse import checkpoint as official
from omnimouse_model.families.omnimouse.checkpoint import read_checkpoint
from omnimouse_model.families.omnimouse.config import SIZES
from omnimouse_model.families.omnimouse.network import OmniMouse
from omnimouse_model.predict import checkpoint_file
from tests.hostile_pickles import CallingPickle
from tests.model.official_shards import ANIMALS, SESSIONS, SMALL, write_shards
from tests.model.small_net import save_checkpoint


@pytest.fixture
def released_size(monkeypatch):
    """Let the narrowed architecture be a released size."""
    monkeypatch.setattr(official, "SIZES", {"tiny": SMALL})


@pytest.fixture
def shards(net, tmp_path):
    return write_shards(net, tmp_path / "0-1000")


@contextmanager
def changed_shard(path: Path) -> Iterator[dict[str, Any]]:
    """What a shard holds, to be changed in place."""
    shard = torch.load(path, weights_only=False)
    yield shard
    torch.save(shard, path)


def same_weights(a: OmniMouse, b: OmniMouse) -> bool:
    left, right = a.state_dict(), b.state_dict()
    is_same = all(torch.equal(left[k], right[k]) for k in left.keys() & right.keys())
    return left.keys() == right.keys() and is_same


def test_ours_round_trips(net, tmp_path):
    path = save_checkpoint(tmp_path / "m", net, {"targets": "truth"})
    read = read_checkpoint(path)
    assert same_weights(read.build(), net)
    assert read.config == net.config
    assert read.sessions == SESSIONS
    assert read.card == {"targets": "truth"}
    assert read_checkpoint(tmp_path).source == str(path)
    assert not [f for f in tmp_path.iterdir() if f.name.startswith(".")]


def test_the_weights_are_written_last(net, tmp_path, monkeypatch):
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint_file, "write_safetensors", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path / "m", net)
    # Commands that never replace a checkpoint can then be repeated.
    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
@pytest.mark.usefixtures("released_size")
def test_official_shards_load_strictly(net, tmp_path, prefix):
    folder = write_shards(net, tmp_path / "0-1000", prefix)
    read = read_checkpoint(folder)
    assert same_weights(read.build(), net)
    assert read.sessions == SESSIONS
    assert read.animals == ANIMALS
    assert "local:global ratio (1, 1)" in read.assumed[0]
    assert read_checkpoint(folder / "rank_0.ckpt").sessions == SESSIONS


@pytest.mark.usefixtures("released_size")
def test_a_missing_shard_or_key_is_named(shards):
    (shards / "rank_1.ckpt").rename(shards / "rank_3.ckpt")
    with pytest.raises(CheckpointError, match=r"\[1, 2\]"):
        read_checkpoint(shards)
    (shards / "rank_3.ckpt").unlink()
    with pytest.raises(CheckpointError, match=r"missing \(sess_params.222-1-1"):
        read_checkpoint(shards).build()


@pytest.mark.usefixtures("released_size")
def test_a_wrong_shape_or_extra_key_is_named(shards):
    with changed_shard(shards / "rank_1.ckpt") as shard:
        shard["state_dict"]["sess_params.222-1-1._neuron_biases"] = torch.zeros(9, 1)
        shard["state_dict"]["sess_params.222-1-1._extra"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"_extra(.|\n)*\(9, 1\) for \(3, 1\)"):
        read_checkpoint(shards).build()


def test_weights_and_description_of_two_saves_are_no_pair(net, tmp_path):
    path = save_checkpoint(tmp_path / "m", net)
    older = path.with_suffix(".json").read_text()
    save_checkpoint(path, net)
    path.with_suffix(".json").write_text(older)
    with pytest.raises(CheckpointError, match="not saved together"):
        read_checkpoint(path)


@pytest.mark.usefixtures("released_size")
@pytest.mark.parametrize(
    ("part", "value", "rank"),
    [
        ("state_dict", {3: torch.zeros(1)}, 1),
        ("state_dict", {"_orig_mod.rotary_emb.inv_freq": torch.zeros(0)}, 0),
        ("session_map", {"111-1-1": 5}, 1),
        ("session_map", {"111-1-1": {"animal_id": "111"}}, 1),
    ],
)
def test_a_malformed_shard_is_a_checkpoint_error(shards, part, value, rank):
    with changed_shard(shards / "rank_1.ckpt") as shard:
        shard[part] = value
    (shards / "rank_1.ckpt").rename(shards / f"rank_{rank}.ckpt")
    with pytest.raises(CheckpointError):
        read_checkpoint(shards).build()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"hidden_video": "blanked"}, "blanked"),
        ({"hiera": {"windows": "sptial"}}, "sptial"),
        # Each of these predicted NaN, failed at the first prediction, or never ended.
        ({"num_blocks": 10**6}, "num_blocks: found 1000000, expected 1 to 64"),
        ({"norm_eps": -1}, "norm_eps"),
        ({"softplus_beta": 0}, "softplus_beta"),
        ({"sample_rate_hz": -1}, "response_rate_hz is -1"),
        ({"sample_rate_hz": 1}, "60 samples at 1 Hz are no window"),
        ({"d_embedding": -1}, "d_embedding: found -1, expected 1 to 1,000,000"),
        ({"hiera": {"num_heads": 3}}, "heads that divide its width"),
        ({"hiera": {"mask_unit_size": [1, -1, 8]}}, "mask_unit_size.*found -1"),
        ({"hiera": {"mask_unit_size": [1, 1, 2]}}, "official windows of 4, 8"),
        ({"hiera": {"resolution": [34, 64], "mask_unit_size": [1, 1, 8]}}, "of 15x32"),
        (
            {"hiera": {"mask_unit_size": [1, 1, 32], "windows": "spatial"}},
            "spatial windows of even",
        ),
    ],
)
def test_a_config_outside_its_choices_is_refused(net, tmp_path, changes, word):
    path = save_checkpoint(tmp_path / "m", net)
    facts = json.loads(path.with_suffix(".json").read_text())
    hiera = facts["config"]["hiera"] | changes.pop("hiera", {})
    facts["config"] |= changes | {"hiera": hiera}
    path.with_suffix(".json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match=word):
        read_checkpoint(path).build()


@pytest.mark.parametrize(
    ("ratio", "layers"), [(None, "LLL"), ((1, 0), "LLL"), ((0, 1), "GGG"), ((1, 1), "LLG")]
)
def test_the_schedule_of_local_and_global_layers(ratio, layers):
    config = replace(SIZES["1M"], num_layers=3, local_to_global_ratio=ratio)
    assert "".join("L" if local else "G" for local in config.layer_is_local()) == layers


@pytest.mark.usefixtures("released_size")
def test_a_hostile_shard_is_refused_and_never_run(net, tmp_path):
    trace = tmp_path / "ran"
    hostile = CallingPickle(os.system, f"touch {trace}")
    folder = write_shards(net, tmp_path / "c", extras={"metrics": hostile})
    with pytest.raises(CheckpointError, match=r"unsafe: it asks for '\w+.system'"):
        read_checkpoint(folder)
    plain = tmp_path / "d"
    plain.mkdir()
    (plain / "rank_0.ckpt").write_bytes(pickle.dumps(hostile))
    with pytest.raises(CheckpointError, match="unsafe"):
        read_checkpoint(plain)
    assert not trace.exists()


def test_torn_and_foreign_files_are_refused(net, tmp_path):
    path = save_checkpoint(tmp_path / "m", net)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(path)
    facts = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(facts | {"format": 99}))
    with pytest.raises(CheckpointError, match="newer version"):
        read_checkpoint(path)
    path.with_suffix(".json").write_text(json.dumps(facts | {"family": "a" * 5000}))
    with pytest.raises(CheckpointError, match="of family") as caught:
        read_checkpoint(path)
    assert len(str(caught.value)) < 1000
    path.with_suffix(".json").unlink()
    with pytest.raises(CheckpointError, match="beside it"):
        read_checkpoint(path)
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "rank_0.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="unsafe"):
        read_checkpoint(folder)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "nowhere")


def test_no_released_size_is_guessed(shards):
    with pytest.raises(CheckpointError, match="none of the released sizes"):
        read_checkpoint(shards)


def test_a_session_can_take_another_name(net, tmp_path):
    read = read_checkpoint(save_checkpoint(tmp_path / "m", net))
    other = read.renamed({"111-1-1": "111-9-9"}).build()
    assert torch.equal(
        other.session("111-9-9")._neuron_biases[:5], net.session("111-1-1")._neuron_biases[:5]
    )
    assert other.animals["111-9-9"] == "111"
    with pytest.raises(CheckpointError, match="Cannot rename"):
        read.renamed({"111-1-1": "222-1-1"})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_what_is_no_plain_file_is_no_checkpoint(tmp_path):
    os.mkfifo(tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"x\.pt is not a plain file"):
        read_checkpoint(tmp_path / "x.pt")
