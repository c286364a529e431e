"""Checkpoints, as `omnimouse info` describes them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from omnimouse_model.nets.checkpoint import Checkpoint

MAX_SESSIONS = 12
"""Maximum number of sessions of a checkpoint that are listed."""


def checkpoint_row(path: Path) -> dict[str, Any]:
    """Read a checkpoint and return the `checkpoint` row of `--json`."""
    from omnimouse_model.predict.families import NDT_FAMILY, TWIN_FAMILY, family_of

    rows = {TWIN_FAMILY: _twin_row, NDT_FAMILY: _ndt_row}
    return rows.get(family_of(path), _omnimouse_row)(path)


def _omnimouse_row(path: Path) -> dict[str, Any]:
    from omnimouse_model.nets.checkpoint_formats import read_checkpoint

    checkpoint = read_checkpoint(path)
    return _row(checkpoint.state, checkpoint.config, checkpoint.source) | {
        "family": "omnimouse",
        "size": _size_name(checkpoint),
        "sessions": checkpoint.sessions,
        "assumptions": list(checkpoint.assumed),
        "context_part": sorted({name.split(".")[0] for name in checkpoint.context}),
    }


def _twin_row(path: Path) -> dict[str, Any]:
    from omnimouse_model.predict.twin.predictor import load_twin

    twin = load_twin(path, "cpu")
    assert twin.checkpoint is not None  # every loaded twin has one
    checkpoint = twin.checkpoint()
    state = dict(checkpoint.core)
    for key, own in checkpoint.sessions.items():
        state |= {f"{key}.{name}": value for name, value in own.items()}
    return _row(state, checkpoint.config, str(path)) | {
        "family": "twin",
        "frame_size": list(checkpoint.frame_size),
        "sessions": dict(twin.n_neurons),
        "card": dict(checkpoint.card or {}),
        "assumptions": [],
    }


def _ndt_row(path: Path) -> dict[str, Any]:
    from omnimouse_model.nets.ndt.checkpoint import read_ndt
    from omnimouse_model.predict.ndt.predictor import spec_of

    checkpoint = read_ndt(path)
    return _row(checkpoint.state, checkpoint.config, checkpoint.source) | {
        "family": "ndt",
        "spec": asdict(spec_of(checkpoint)),
        "sessions": dict(checkpoint.sessions),
        "card": dict(checkpoint.card or {}),
        "assumptions": list(checkpoint.assumed),
    }


def _row(state: "Mapping[str, Tensor]", config: Any, source: str) -> dict[str, Any]:
    return {
        "name": "checkpoint",
        "value": sum(tensor.numel() for tensor in state.values()),
        "unit": "parameters",
        "precision": _precision(state),
        "config": asdict(config),
        "source": source,
    }


def _size_name(checkpoint: "Checkpoint") -> str:
    from omnimouse_model.nets.omnimouse.config import SIZES

    # A checkpoint stores its config, not the name of its size.
    for name, config in SIZES.items():
        if config == checkpoint.config:
            return name
    return "custom"


def _precision(state: "Mapping[str, Tensor]") -> str:
    """Return the dtype of most numbers; counters and frequencies have their own."""
    counts: Counter[str] = Counter()
    for tensor in state.values():
        counts[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    return max(counts, key=counts.__getitem__, default="none")


def checkpoint_lines(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text lines of a checkpoint's row."""
    yield f"Checkpoint {row['source']}"
    lines = {"twin": _twin_lines, "ndt": _ndt_lines}
    yield from lines.get(row["family"], _omnimouse_lines)(row)
    neurons = sum(row["sessions"].values())
    yield f"  knows {len(row['sessions'])} sessions, {neurons:,} neurons"
    for name, count in list(row["sessions"].items())[:MAX_SESSIONS]:
        yield f"    {name}: {count:,} neurons"
    n_others = len(row["sessions"]) - MAX_SESSIONS
    if n_others > 0:
        yield f"    and {n_others} more"
    if row["assumptions"]:
        yield "Assumed"
        yield from (f"  - {message}" for message in row["assumptions"])
    yield "The complete config is in --json."


def _omnimouse_lines(row: Mapping[str, Any]) -> Iterator[str]:
    config = row["config"]
    size = f"size {row['size']}" if row["size"] != "custom" else "a size of its own"
    yield f"  {size}: {row['value']:,} parameters, {row['precision']}"
    yield (
        f"  {config['num_layers']} layers of width {config['d_model']}, {config['num_heads']} heads"
    )
    if row["context_part"]:
        yield f"  context part for {', '.join(row['context_part'])}"


def _twin_lines(row: Mapping[str, Any]) -> Iterator[str]:
    config = row["config"]
    height, width = row["frame_size"]
    yield f"  digital twin: {row['value']:,} numbers, {row['precision']}"
    yield (
        f"  {config['streams']} streams, {config['core']}, retina "
        f"{config['retina_height']} x {config['retina_width']}, frames of "
        f"{height} x {width} px"
    )


def _ndt_lines(row: Mapping[str, Any]) -> Iterator[str]:
    config, spec = row["config"], row["spec"]
    yield f"  neural data transformer: {row['value']:,} parameters, {row['precision']}"
    yield (f"  {config['n_layers']} layers of width {config['d_model']}, {config['n_heads']} heads")
    n_bins = round(spec["duration_s"] * spec["response_rate_hz"])
    yield f"  trials of {n_bins} bins, {1000 / spec['response_rate_hz']:g} ms each"
