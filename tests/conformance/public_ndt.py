"""Networks and weights of neural data transformers with the names of the public code."""

from collections.abc import Mapping

from torch import Tensor

from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.ndt.network import Ndt, NdtConfig
from omnimouse_model.families.ndt.predictor import READOUT, STITCHER, public_to_own
from omnimouse_model.predict.checkpoint_file import load_strictly


def from_public(
    state: Mapping[str, Tensor], config: NdtConfig, sessions: Mapping[str, int], source: str
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
        lambda: Ndt(config, sessions), public_to_own(state, config, sessions, source), source
    )


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
