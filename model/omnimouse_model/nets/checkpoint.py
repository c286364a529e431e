"""Weights and configs on disk: where training and prediction meet.

Ours is safetensors beside a JSON of the config and what is known. Official
checkpoints are folders of `rank_<r>.ckpt` shards; they are read with torch's
restricted unpickler and an allow-list of numpy's array rebuilders, never anything
more (spec §16).
"""

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from omnimouse_model.errors import CheckpointError
from omnimouse_model.nets.omnimouse import SIZES, OmniMouse, OmniMouseConfig
from omnimouse_model.nets.video import HieraConfig

FORMAT = 1
COMPILED_PREFIX = "_orig_mod."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model on disk, read but not built.

    Attributes
    ----------
    config
        Architecture.
    state
        Parameter name -> tensor, without the compiler's prefix.
    sessions
        session key -> number of neurons.
    animals
        session key -> animal id.
    source
        Where it came from.
    assumed
        What the file does not say and was taken from the size table.
    card
        Free facts for people: training, targets, scores.
    """

    config: OmniMouseConfig
    state: dict[str, Tensor]
    sessions: dict[str, int]
    animals: dict[str, str]
    source: str
    assumed: tuple[str, ...] = ()
    card: dict[str, Any] | None = None

    def build(self) -> OmniMouse:
        """Build the net and load the weights strictly.

        Raises
        ------
        CheckpointError
            Names missing, unexpected and wrongly shaped entries.
        """
        with torch.device("meta"):
            net = OmniMouse(self.config, self.sessions, self.animals)
        expected = net.state_dict()
        missing = expected.keys() - self.state.keys()
        extra = self.state.keys() - expected.keys()
        wrong = [
            f"{key} {tuple(self.state[key].shape)} for {tuple(value.shape)}"
            for key, value in expected.items()
            if key in self.state and self.state[key].shape != value.shape
        ]
        if missing or extra or wrong:
            raise CheckpointError(
                f"{self.source} does not fit its config: {_some('missing', missing)}"
                f"{_some('unexpected', extra)}{_some('wrong shape', wrong)}"
                "Was it saved from another size or version?"
            )
        net.load_state_dict(self.state, strict=True, assign=True)
        return net.requires_grad_(True).eval()


def _some(word: str, names: Iterable[str]) -> str:
    listed = sorted(names)
    if not listed:
        return ""
    shown = ", ".join(listed[:4]) + (", …" if len(listed) > 4 else "")
    return f"{len(listed)} {word} ({shown}). "


# -- ours -------------------------------------------------------------------------


def save_checkpoint(
    path: str | Path, net: OmniMouse, card: dict[str, Any] | None = None
) -> Path:
    """Write `path` (.safetensors) and the JSON beside it, each atomically."""
    path = Path(path).with_suffix(".safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(state, temporary)
    sessions = {key: net.session(key).n_neurons for key in net.sess_params}
    facts = {
        "format": FORMAT,
        "config": asdict(net.config),
        "sessions": sessions,
        "animals": net.animals,
        "card": card or {},
    }
    with atomic_path(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    return path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary sibling that replaces `path` when the block succeeds."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    temporary.chmod(0o644)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_checkpoint(path: str | Path, size: str | None = None) -> Checkpoint:
    """Read a checkpoint: a .safetensors file of ours, or an official folder or shard.

    Parameters
    ----------
    path
        File or folder.
    size
        "1M" … "300M" where an official checkpoint's size cannot be told from its
        shapes.

    Raises
    ------
    CheckpointError
        Not found, not sound, or not safe to read.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"There is no checkpoint at {path}.")
    if path.is_dir():
        ours = sorted(path.glob("*.safetensors"))
        if ours:
            return _read_ours(ours[0])
    elif path.suffix in (".safetensors", ".json"):
        return _read_ours(path.with_suffix(".safetensors"))
    return read_official(path, size)


def _read_ours(path: Path) -> Checkpoint:
    facts_path = path.with_suffix(".json")
    if not facts_path.exists():
        raise CheckpointError(
            f"{path.name} has no {facts_path.name} beside it; the config is in there."
        )
    try:
        facts = json.loads(facts_path.read_text("utf-8"))
        version = facts["format"]
        config = config_from_dict(facts["config"])
        sessions = {str(k): int(v) for k, v in facts["sessions"].items()}
        animals = {str(k): str(v) for k, v in facts["animals"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{facts_path} is not a checkpoint description: {error!r}."
        ) from error
    if version > FORMAT:
        raise CheckpointError(
            f"{facts_path} was written by a newer version ({version} > {FORMAT}); "
            "update omnimouse-app."
        )
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    return Checkpoint(
        config=config,
        state=state,
        sessions=sessions,
        animals=animals,
        source=str(path),
        card=facts.get("card"),
    )


def config_from_dict(values: dict[str, Any]) -> OmniMouseConfig:
    """Rebuild a config from its JSON form; unknown fields are an error."""
    plain = {k: v for k, v in values.items() if k != "hiera"}
    hiera = typed_values(HieraConfig, values["hiera"])
    return OmniMouseConfig(
        hiera=HieraConfig(**hiera), **typed_values(OmniMouseConfig, plain)
    )


def typed_values(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """Values for a config, with JSON's lists and whole numbers in the right type.

    Raises
    ------
    TypeError
        A name that the config does not have.
    """
    unknown = sorted(values.keys() - {f.name for f in fields(kind)})
    if unknown:
        raise TypeError(f"{kind.__name__} has no field {', '.join(unknown)}")
    floats = {f.name for f in fields(kind) if f.type in (float, float | None)}
    return {
        name: float(value)
        if name in floats and isinstance(value, int)
        else _tuple(value)
        for name, value in values.items()
    }


def _tuple(value: Any) -> Any:  # Any: whatever JSON holds
    return tuple(value) if isinstance(value, list) else value


# -- official names ---------------------------------------------------------------

_OFFICIAL_NAMES = {
    "num_samples_per_s": "sample_rate_hz",
    "num_samples_per_block": "n_samples",
    "response_window_size_samples": "response_window_samples",
    "response_latent_window_size_samples": "response_latent_window_samples",
    "response_latent_window_stride_samples": "response_latent_stride_samples",
    "num_self_attends_per_block": "num_layers",
    "response_softplus_beta": "softplus_beta",
    "response_poisson_loss_eps": "poisson_eps",
    "response_loss_clamp_value": "response_loss_clamp",
    "behavior_loss_clamp_value": "behavior_loss_clamp",
    "num_behavior_samples_per_block": "n_behavior_samples",
}
_HIERA_NAMES = {
    "hiera_embed_dim": "embed_dim",
    "hiera_num_heads": "num_heads",
    "hiera_stages": "stages",
    "hiera_mask_unit_size": "mask_unit_size",
    "hiera_patch_kernel": "patch_kernel",
    "hiera_patch_stride": "patch_stride",
    "hiera_patch_padding": "patch_padding",
    "hiera_mlp_ratio": "mlp_ratio",
    "hiera_drop_path_rate": "drop_path_rate",
    "video_channels": "channels",
    "num_frames_per_block": "frames",
    "video_resolution": "resolution",
}
_FIXED = {
    "use_pre_norm": True,
    "use_qk_norm": True,
    "use_post_norm": False,
    "norm_type": "rms",
    "ffn_activation": "silu",
    "local_global_layout": "interleaved",
    "per_channel_behavior_readout": True,
    "hiera_q_pool": 1,
    "hiera_q_stride": (1, 2, 2),
    "hiera_sep_pos_embed": True,
}


def config_from_official(settings: dict[str, Any]) -> OmniMouseConfig:
    """Translate the official configuration's names (spec §2).

    Raises
    ------
    CheckpointError
        A setting that no released model uses.
    """
    for name, value in _FIXED.items():
        if name in settings and _tuple(settings[name]) != value:
            raise CheckpointError(
                f"{name} = {settings[name]!r} is not supported; released models use "
                f"{value!r}."
            )
    known = {f.name for f in fields(OmniMouseConfig)} - {"hiera"}
    plain, hiera = {}, {}
    for name, value in settings.items():
        if name in _HIERA_NAMES:
            hiera[_HIERA_NAMES[name]] = value
        elif _OFFICIAL_NAMES.get(name, name) in known:
            plain[_OFFICIAL_NAMES.get(name, name)] = value
    return config_from_dict(plain | {"hiera": hiera})


def _allowed_globals() -> list[Any]:
    """Numpy's array and dtype rebuilders, and nothing else (contract)."""
    multiarray = import_module("numpy._core.multiarray")
    rebuilders = [multiarray._reconstruct, multiarray.scalar, np.ndarray, np.dtype]
    old_names = [
        (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
        (multiarray.scalar, "numpy.core.multiarray.scalar"),
    ]
    kinds = "?bhilqBHILQefd"
    return [*rebuilders, *old_names, *(type(np.dtype(kind)) for kind in kinds)]


def _load_shard(path: Path) -> dict[str, Any]:
    try:
        with torch.serialization.safe_globals(_allowed_globals()):
            shard = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises many kinds for hostile and torn files
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        wanted = (
            f"it asks for {named.group(1)!r}, which a checkpoint does not need"
            if named
            else str(error).splitlines()[0]
        )
        raise CheckpointError(f"{path} was refused: {wanted}.") from error
    if not isinstance(shard, dict) or not isinstance(shard.get("state_dict"), dict):
        found = list(shard) if isinstance(shard, dict) else type(shard).__name__
        raise CheckpointError(f"{path} has no 'state_dict'; found {found}.")
    return shard


def official_shards(path: Path) -> list[Path]:
    """The `rank_*.ckpt` files of a checkpoint, in rank order, none missing."""
    if path.is_file():
        path = path.parent
    ranks = {
        int(match.group(1)): file
        for file in path.iterdir()
        if (match := re.fullmatch(r"rank_(\d+)\.ckpt", file.name))
    }
    if not ranks:
        raise CheckpointError(
            f"{path} holds no checkpoint. Looked for *.safetensors and rank_*.ckpt; "
            f"found {sorted(f.name for f in path.iterdir())[:6]}."
        )
    missing = sorted(set(range(max(ranks) + 1)) - ranks.keys())
    if missing:
        raise CheckpointError(
            f"{path}: shards {missing[:6]} are missing of {max(ranks) + 1}; "
            "fetch them again."
        )
    return [ranks[rank] for rank in sorted(ranks)]


def read_official(
    path: str | Path,
    size: str | None = None,
    sessions: Iterable[str] | None = None,
) -> Checkpoint:
    """Combine official shards (spec §16).

    Parameters
    ----------
    path
        Folder of `rank_*.ckpt`, or one of them.
    size
        Taken from the shapes when None.
    sessions
        Keep only these sessions' parameters; all by default.
    """
    shards = official_shards(Path(path))
    state: dict[str, Tensor] = {}
    session_map: dict[str, dict[str, Any]] = {}
    for file in shards:
        shard = _load_shard(file)
        for key, value in shard["state_dict"].items():
            _add_tensor(state, key, value, file)
        found = shard.get("session_map", {})
        if not isinstance(found, dict):
            raise CheckpointError(f"{file}: session_map is not a mapping.")
        session_map |= found
    wanted = set(sessions) if sessions is not None else set(session_map)
    unknown = wanted - session_map.keys()
    if unknown:
        raise CheckpointError(
            f"{path} does not know {sorted(unknown)[:4]}; it has "
            f"{len(session_map)} sessions, for example {sorted(session_map)[:3]}."
        )
    state = {k: v for k, v in state.items() if _belongs(k, wanted)}
    config, assumed = _infer_config(state, size, str(path))
    animals = {
        key: str(entry.get("animal_id") or animal_of(key))
        for key, entry in session_map.items()
    }
    checkpoint = Checkpoint(
        config=config,
        state=state,
        sessions={k: int(session_map[k]["n_neurons"]) for k in sorted(wanted)},
        animals=animals,
        source=str(path),
        assumed=assumed,
    )
    return checkpoint


def animal_of(session_key: str) -> str:
    """The animal of a session: the text before the first dash (spec §4)."""
    return session_key.split("-")[0]


def _add_tensor(state: dict[str, Tensor], key: str, value: Any, file: Path) -> None:
    name = key.removeprefix(COMPILED_PREFIX)
    if not isinstance(value, Tensor):
        raise CheckpointError(
            f"{file}: state_dict[{key!r}] is a {type(value).__name__}, not a tensor."
        )
    if name in state and name.startswith("sess_params."):
        raise CheckpointError(f"{file}: {name} is already in another shard.")
    state.setdefault(name, value)


def _belongs(key: str, sessions: set[str]) -> bool:
    if not key.startswith("sess_params."):
        return True
    return key.removeprefix("sess_params.").rsplit("._", 1)[0] in sessions


def _infer_config(
    state: dict[str, Tensor], size: str | None, source: str
) -> tuple[OmniMouseConfig, tuple[str, ...]]:
    """Find the released size whose shapes these are."""
    try:
        d = state["neuron_to_model_proj.weight"].shape[0]
        heads = d // (2 * len(state["rotary_emb.inv_freq"]))
    except KeyError as error:
        raise CheckpointError(
            f"{source} is not an OmniMouse checkpoint: it has no {error}."
        ) from error
    n_layers = len({k.split(".")[1] for k in state if k.startswith("proc.")})
    blocks = [k.split(".")[3] for k in state if k.startswith("hiera.backbone.blocks.")]
    n_blocks = len(set(blocks))
    pooling = [
        int(k.split(".")[3])
        for k in state
        if re.fullmatch(r"hiera\.backbone\.blocks\.\d+\.proj\.weight", k)
    ]
    first = pooling[0] if pooling else n_blocks
    shape = (d, heads, n_layers, (first, n_blocks - first))
    matches = {
        name: config
        for name, config in SIZES.items()
        if (config.d_model, config.num_heads, config.num_layers, config.hiera.stages)
        == shape
    }
    if size is not None:
        if size not in SIZES:
            raise CheckpointError(
                f"There is no size {size!r}; choose of {list(SIZES)}."
            )
        if size not in matches:
            raise CheckpointError(
                f"{source} is not {size}: its shapes say {sorted(matches) or shape}."
            )
        return SIZES[size], (f"size {size} as asked",)
    if len(matches) != 1:
        raise CheckpointError(
            f"{source} has width {d}, {heads} heads, {n_layers} layers and stages "
            f"{shape[3]}, which is no released size; name one of {list(SIZES)}."
        )
    (name, config), *_ = matches.items()
    ratio = config.local_to_global_ratio
    assumed = (
        f"local:global ratio {ratio}, softplus beta {config.softplus_beta}, skip "
        f"{config.skip_n_samples} and buffer {config.interpolation_buffer}: from the "
        f"table of released sizes ({name})",
    )
    groups = (
        state["response_latent_embedding._latent_embeddings.weight"].shape[0]
        - config.num_global_latents
    )
    embedding = state["neuron_to_model_proj.weight"].shape[1]
    return (
        replace(config, num_response_latent_groups=groups, d_embedding=embedding),
        assumed,
    )
