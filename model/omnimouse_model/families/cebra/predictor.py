"""CEBRA: its networks, checkpoints, and the predictor of behaviour.

The networks are those of the package (extra `cebra`), which is imported when one is made.

Behaviour is that of the nearest neighbours in the training embedding. A sample is embedded
where all neurons are shown, because the networks read the whole population; others are not
decoded. Responses are not predicted, behaviour is not read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from omnimouse_model.data.session import Window
from omnimouse_model.data.window_spec import BehaviorSpec, WindowSpec
from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.extras import named_extras
from omnimouse_model.families.parts.network_predictor import NetworkPredictor
from omnimouse_model.masks import Mask
from omnimouse_model.predict.checkpoint_file import (
    Checkpoint,
    load_strictly,
    weights_hash,
)
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.family import Description
from omnimouse_model.predict.predictor import Needs, check_request
from omnimouse_model.progress import Cancelled, stop_if
from omnimouse_model.training.config import Count

FAMILY, TITLE = "cebra", "CEBRA"
_NETWORKS = "networks"
PARTS = ("bank", "labels", "mean")
"""Tensors of a session beside its network; see `Bank`."""
CHUNK = 2**22
"""Most distances that are computed at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CebraConfig:
    """Sizes of the networks and rule of the pairs; the defaults are the published ones.

    Attributes
    ----------
    architecture
        Name of a convolutional model of the package. The paper gives none.
    hidden, output
        Units of the inner layers, and of the embedding.
    temperature
        Of the loss, which compares by cosine.
    time_offset
        Samples whose change of behaviour is that between the samples of a pair.
    rate_hz, window_s, channels
        Samples per second of responses and behaviour, length of a window, and behaviour
        that is decoded.
    """

    architecture: str = "offset10-model"
    hidden: Count = 256
    output: Count = 128
    temperature: float = 1.0
    time_offset: Count = 5
    rate_hz: float = 20.0
    window_s: float = 2.0
    channels: tuple[str, ...] = ("pupil_size", "pupil_dsize", "pupil_x", "pupil_y", "running")

    @property
    def spec(self) -> WindowSpec:
        """Specification of the windows that the model reads."""
        behavior = BehaviorSpec(self.rate_hz, self.channels)
        return WindowSpec(self.window_s, self.rate_hz, behavior=behavior)


def new_networks(config: CebraConfig, n_neurons: Sequence[int]) -> nn.ModuleList:
    """Return a network of the package for each session.

    Raises
    ------
    ModuleNotFoundError
        The package is not installed; the message names the extra.
    ValueError
        The package has no such convolutional model.
    """
    with named_extras():
        import cebra.models
    known = cebra.models.get_options("offset*-model")
    if config.architecture not in known:
        raise ValueError(
            f"model.architecture is {config.architecture!r}; cebra has {', '.join(known)}"
        )
    sizes = {"num_units": config.hidden, "num_output": config.output}
    return nn.ModuleList(
        cebra.models.init(config.architecture, num_neurons=count, **sizes) for count in n_neurons
    )


def reach(network: Any) -> tuple[int, int]:  # the models of the package have no types
    """Return the samples before a sample, and from it on, that its embedding reads."""
    offset = network.get_offset()
    return offset.left, offset.right


@torch.inference_mode()
def embed(
    network: nn.Module, responses: Float[np.ndarray, "time neuron"], piece: Int[np.ndarray, " time"]
) -> Float[np.ndarray, "time dim"]:
    """Return the embedding of each sample; the first and last ones of a piece are repeated."""
    left, right = reach(network)
    device = next(network.parameters()).device
    found = []
    for values in np.split(responses, np.flatnonzero(np.diff(piece)) + 1):
        padded = np.pad(values.astype(np.float32), ((left, right - 1), (0, 0)), "edge")
        maps: Tensor = network.eval()(torch.from_numpy(padded.T[None].copy()).to(device))
        # Of a single sample, the package drops the axis of time.
        found.append(maps.reshape(maps.shape[1], -1).T.cpu().numpy())
    return np.concatenate(found)


def nearest(
    bank: Float[np.ndarray, "time dim"], queries: Float[np.ndarray, "query dim"], count: int
) -> Int[np.ndarray, "query count"]:
    """Return the bank samples with the largest cosine to each query, nearest first.

    The rows of both arrays are unit vectors.
    """
    count = min(count, len(bank))
    parts, stored = [], torch.from_numpy(bank)
    for query in np.array_split(queries, max(1, len(queries) * len(bank) // CHUNK)):
        likeness = torch.from_numpy(query) @ stored.T
        parts.append(likeness.topk(count, dim=1).indices.numpy())
    return np.concatenate(parts)


# -- prediction ------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Embedding of the train tier of one session, in which neighbours are sought.

    Attributes
    ----------
    bank
        float32 (time, dim): unit vectors.
    labels
        float32 (time, channel): z-scored behaviour of the same samples.
    mean
        float32 (neuron,): mean responses, in place of missing ones.
    """

    bank: np.ndarray
    labels: np.ndarray
    mean: np.ndarray

    def decoded(self, queries: np.ndarray, count: int) -> np.ndarray:
        """Return the mean behaviour of the nearest neighbours (query, channel)."""
        return np.asarray(self.labels[nearest(self.bank, queries, count)].mean(axis=1))

    def filled(self, responses: np.ndarray) -> np.ndarray:
        """Return responses with the mean of the neuron where one was not recorded."""
        return np.where(np.isfinite(responses), responses, self.mean).astype(np.float32)


@dataclass(slots=True, eq=False, repr=False)
class CebraPredictor(NetworkPredictor):
    """Behaviour of the sessions that the networks know, from the whole population.

    Parameters
    ----------
    net
        A network for each session, in the order of `banks`.
    banks
        Session -> its training embedding.
    neighbours
        Number of neighbours whose behaviour is averaged.
    """

    solution = f"Fit it to this recording: omnimouse fit {FAMILY} SESSION, or om.fit."
    net: nn.ModuleList
    config: CebraConfig
    banks: Mapping[str, Bank]
    neighbours: int

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> "CebraPredictor":
        """Load a predictor from a checkpoint (`Family.load`).

        Raises
        ------
        CheckpointError
            A file is missing, damaged or of another form.
        ModuleNotFoundError
            The package `cebra` is not installed.
        """
        found = CebraCheckpoint.read(Path(path))
        net = found.build().requires_grad_(False).to(resolve_device(device))
        digest = weights_hash(found.state)
        return cls(Path(path).stem, digest, net, found.config, found.banks, found.neighbours)

    @staticmethod
    def describe(path: Path) -> Description:
        """Return what `omnimouse info` prints of a checkpoint, without the package."""
        found = CebraCheckpoint.read(path)
        return replace(found, state=found.networks).described(
            TITLE,
            network=f"{found.config.architecture}, {found.config.output} dimensions",
            sees="responses of the whole population",
            decodes=", ".join(found.config.channels),
            neighbours=found.neighbours,
            training_samples=sum(len(bank.bank) for bank in found.banks.values()),
        )

    @property
    def needs(self) -> Needs:
        """What it can see and predict, and which sessions it knows."""
        return Needs(
            predicts_behavior=True,
            predicts_responses=False,
            spec=self.config.spec,
            sessions=frozenset(self.banks),
            n_neurons={session: len(bank.mean) for session, bank in self.banks.items()},
        )

    # -- parts ------------------------------------------------------------------------
    def _check(self, request: tuple[Window, Mask, np.ndarray | None]) -> None:
        window, mask, _ = request
        check_request(self.predictor_id, self.needs, window, mask)
        if not mask.visible.all(axis=1).any():
            raise UnsupportedRequestError(
                f"{self.name!r} reads the whole population: show all {mask.n_neurons:,} neurons "
                "at some samples."
            )
        self.prepare(window.session)

    def _key(self, window: Window, mask: Mask) -> Any:
        return mask.visible.all(axis=1).tobytes()

    def _states(
        self, requests: Sequence[tuple[Window, Mask]], cancelled: Cancelled
    ) -> Sequence[np.ndarray]:
        """Return the decoded behaviour (time, channel) of windows of one session."""
        session = requests[0][0].session.id
        network, bank = self.net[[*self.banks].index(session)], self.banks[session]
        found = []
        for window, mask in requests:
            stop_if(cancelled)
            # Nothing was recorded of the population in a pause.
            shown = mask.visible.all(axis=1) & window.valid["responses"]
            decoded = np.full((len(shown), len(self.config.channels)), np.nan, np.float32)
            if shown.any():
                # A new piece begins wherever samples between are hidden.
                rows = np.flatnonzero(shown)
                queries = embed(
                    network, bank.filled(window.responses[rows]), rows - np.arange(len(rows))
                )
                decoded[rows] = bank.decoded(queries, self.neighbours)
            found.append(decoded)
        return found


# -- checkpoints -----------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True, eq=False)
class CebraCheckpoint(Checkpoint):
    """What the files of a checkpoint hold, read but not built.

    Tensors of a session have its place in the order of the networks in their names.

    Attributes
    ----------
    neighbours
        Number of neighbours whose behaviour is averaged.
    """

    family = FAMILY
    prefixes = ()
    config: CebraConfig
    neighbours: Count

    @classmethod
    def of_networks(
        cls,
        networks: nn.ModuleList,
        config: CebraConfig,
        banks: Mapping[str, Bank],
        neighbours: int,
    ) -> "CebraCheckpoint":
        """Return networks with training embeddings; sessions are in the order of the networks."""
        state = {f"{_NETWORKS}.{name}": value for name, value in networks.state_dict().items()}
        for place, bank in enumerate(banks.values()):
            state |= {f"{part}.{place}": torch.from_numpy(getattr(bank, part)) for part in PARTS}
        sessions = {session: len(bank.mean) for session, bank in banks.items()}
        return cls(config=config, neighbours=neighbours, sessions=sessions, state=state)

    def check(self) -> None:
        """Raise `CheckpointError` without a session, or for an embedding that is none."""
        if not self.sessions:
            raise CheckpointError(f"{self.source} names no session.")
        for place, (session, count) in enumerate(self.sessions.items()):
            found = {part: self.state.get(f"{part}.{place}") for part in PARTS}
            shapes = {part: () if one is None else (*one.shape,) for part, one in found.items()}
            length = max(1, *shapes["bank"][:1])
            expected = {"bank": (length, self.config.output), "mean": (count,)}
            expected["labels"] = (length, len(self.config.channels))
            if shapes != expected:
                raise CheckpointError(
                    f"{self.source}: the embedding of session {session[:80]!r} has the shapes "
                    f"{shapes}, expected {expected}."
                )
            for part, one in found.items():
                # Of the precision in which it is used.
                if one is not None and not one.float().isfinite().all():
                    raise CheckpointError(
                        f"{self.source}: {part} of session {session[:80]!r} is not finite."
                    )

    @property
    def networks(self) -> dict[str, Tensor]:
        """Tensors of the networks."""
        return {k: v for k, v in self.state.items() if k.startswith(f"{_NETWORKS}.")}

    @property
    def banks(self) -> dict[str, Bank]:
        """Session -> its training embedding."""
        return {
            session: Bank(**{part: self.state[f"{part}.{place}"].float().numpy() for part in PARTS})
            for place, session in enumerate(self.sessions)
        }

    def build(self) -> nn.ModuleList:
        """Build the networks, which needs the package."""
        own = {k.removeprefix(f"{_NETWORKS}."): v for k, v in self.networks.items()}
        counts = [*self.sessions.values()]
        with named_extras():
            import cebra.models  # noqa: F401  # `load_strictly` would hide which extra is missing
        return load_strictly(lambda: new_networks(self.config, counts), own, self.source)
