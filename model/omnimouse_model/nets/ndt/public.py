"""Weights of neural data transformers with the names of the public code.

The public code keys stitchers by the number of neurons, so that two sessions of the
same size share one. Here each session has its own: such sessions get copies.
"""

from collections.abc import Mapping

from torch import Tensor

from omnimouse_model.errors import CheckpointError
from omnimouse_model.nets.ndt.network import Ndt, NdtConfig
from omnimouse_model.nets.strict import load_strictly

STITCHER = "encoder.stitcher.stitcher_dict."
READOUT = "stitch_decoder.stitch_decoder_dict."
UNUSED = ("decoder.0.weight", "decoder.0.bias")
"""A layer that the public code builds and never uses with stitchers."""
PROMPT, SESSION = "encoder.embedder.embed_prompt.", "encoder.embedder.embed_session."


EMBED, POSITION = "encoder.embedder.embed_spikes.", "encoder.embedder.embed_pos."


def is_public(state: Mapping[str, Tensor]) -> bool:
    """Return whether tensors have the names of the public code."""
    return any(name.startswith(STITCHER) for name in state)


def sizes_from_shapes(state: Mapping[str, Tensor]) -> dict[str, int | bool]:
    """Return the fields of `NdtConfig` that shapes of tensors tell.

    The number of heads is not among them.

    Raises
    ------
    KeyError
        A tensor is missing.
    """
    inner, d_token = state[f"{EMBED}weight"].shape
    n_bins, d_model = state[f"{POSITION}weight"].shape
    layers = {
        int(name.split(".")[2])
        for name in state
        if name.startswith("encoder.layers.") and name.split(".")[2].isdecimal()
    }
    return {
        "d_token": d_token,
        "mult": inner // d_token,
        "n_bins": n_bins,
        "d_model": d_model,
        "n_layers": len(layers),
        "d_inner": len(state["encoder.layers.0.mlp.up_proj.weight"]),
        "has_prompt": f"{PROMPT}weight" in state,
        "has_session": f"{SESSION}weight" in state,
    }


def from_public(
    state: Mapping[str, Tensor],
    config: NdtConfig,
    sessions: Mapping[str, int],
    source: str,
) -> Ndt:
    """Build a network from weights with public names.

    Parameters
    ----------
    sessions
        Session -> number of neurons, in the order of the session embeddings.
    source
        Name for messages.

    Raises
    ------
    CheckpointError
        Tensors are missing, unexpected or of another shape; it names them.
    """
    return load_strictly(
        lambda: Ndt(config, sessions),
        public_to_own(state, config, sessions, source),
        source,
    )


def public_to_own(
    state: Mapping[str, Tensor],
    config: NdtConfig,
    sessions: Mapping[str, int],
    source: str,
) -> dict[str, Tensor]:
    """Return the tensors with the names of `Ndt`."""
    own: dict[str, Tensor] = {}
    used = set(UNUSED)
    skipped = {PROMPT: not config.has_prompt, SESSION: not config.has_session}
    for name, value in state.items():
        if any(is_left and name.startswith(part) for part, is_left in skipped.items()):
            used.add(name)
        elif not name.startswith((STITCHER, READOUT)) and name not in UNUSED:
            own[name] = value
            used.add(name)
    for session, count in sessions.items():
        for public, mine in ((STITCHER, "stitchers"), (READOUT, "readouts")):
            for part in ("weight", "bias"):
                name = f"{public}{count}.{part}"
                if name not in state:
                    raise CheckpointError(
                        f"{source} has no {name}, for the {count} neurons of session {session!r}."
                    )
                own[f"{mine}.{session}.{part}"] = state[name].clone()
                used.add(name)
    unexpected = sorted(set(state) - used)
    if unexpected:
        raise CheckpointError(f"{source} has {unexpected[0]}, which belongs to no given session.")
    return own


def own_to_public(net: Ndt) -> dict[str, Tensor]:
    """Return the tensors of a network with public names.

    Raises
    ------
    CheckpointError
        Two sessions have the same number of neurons, and the public names one.
    """
    counts = list(net.sessions.values())
    if len(set(counts)) < len(counts):
        raise CheckpointError(
            "Two sessions have the same number of neurons: the public names have one "
            "stitcher for both."
        )
    public = {}
    for name, value in net.state_dict().items():
        kind, _, rest = name.partition(".")
        if kind in ("stitchers", "readouts"):
            session, _, part = rest.partition(".")
            prefix = STITCHER if kind == "stitchers" else READOUT
            name = f"{prefix}{net.sessions[session]}.{part}"
        public[name] = value
    return public
