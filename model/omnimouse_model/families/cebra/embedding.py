"""Embeddings of the package `cebra`, pairs for its loss, and nearest neighbours.

The networks, the loss and its steps are those of the package (extra `cebra`), which is
imported when a network is made. Pairs are drawn here: never across a pause, and each step
from a generator of its number, so that a run can be continued.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from omnimouse_model.data.window_spec import BehaviorSpec, WindowSpec
from omnimouse_model.extras import named_extras
from omnimouse_model.training.config import Count

_CHUNK = 2**22
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
        """Windows that the model reads."""
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


# -- recorded samples ------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Samples of one session, without those that were not recorded.

    Attributes
    ----------
    piece
        Number of the stretch without a pause to which each sample belongs, ascending.
    """

    responses: Float[np.ndarray, "time neuron"]
    behavior: Float[np.ndarray, "time channel"]
    piece: Int[np.ndarray, " time"]


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
    """Return the samples of a bank with the largest cosine, nearest first; of unit vectors."""
    count = min(count, len(bank))
    parts, stored = [], torch.from_numpy(bank)
    for query in np.array_split(queries, max(1, len(queries) * len(bank) // _CHUNK)):
        likeness = torch.from_numpy(query) @ stored.T
        parts.append(likeness.topk(count, dim=1).indices.numpy())
    return np.concatenate(parts)


# -- pairs -----------------------------------------------------------------------------
Batch = list[tuple[Tensor, Tensor, Tensor]]
"""Responses (B, neuron, reach) of references, positive and negative samples by session."""


@dataclass(slots=True, eq=False)
class Pairs:
    """Draws samples and partners whose behaviour differs as behaviour does in some time.

    As `cebra.distributions.MultisessionSampler`: a partner is the sample, of a session that
    is drawn, whose behaviour is nearest to that of the reference plus a recorded change.

    Parameters
    ----------
    sessions
        Recorded samples.
    reach
        As of `reach`: only samples are drawn whose reach lies in one piece.
    time_offset
        Samples of a change.
    """

    sessions: Sequence[Samples]
    reach: tuple[int, int]
    time_offset: int
    allowed: list[np.ndarray] = field(init=False)
    changes: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        left, right = self.reach
        self.allowed = [_inside(one.piece, left, right - 1) for one in self.sessions]
        offset = self.time_offset
        self.changes = np.concatenate(
            [
                (one.behavior[offset:] - one.behavior[:-offset])[
                    one.piece[offset:] == one.piece[:-offset]
                ]
                for one in self.sessions
            ]
        )

    def indices(
        self, size: int, rng: np.random.Generator
    ) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray], np.ndarray]:
        """Return references, positive and negative samples by session, and the order.

        Positive samples are mixed over sessions: that of reference k, counted over all
        sessions, is at `order[k]`.
        """
        references = [rng.choice(one, size) for one in self.allowed]
        negatives = [rng.choice(one, size) for one in self.allowed]
        pairs = zip(self.sessions, references, strict=True)
        wanted = np.concatenate([one.behavior[rows] for one, rows in pairs])
        wanted = wanted + self.changes[rng.integers(len(self.changes), size=len(wanted))]
        mixed = rng.permutation(len(wanted))
        parts = np.split(wanted[mixed], len(self.sessions))
        positives = [
            allowed[_closest(one.behavior[allowed], part)]
            for one, allowed, part in zip(self.sessions, self.allowed, parts, strict=True)
        ]
        return references, positives, negatives, np.argsort(mixed)

    def draw(self, size: int, rng: np.random.Generator) -> tuple[Batch, np.ndarray]:
        """Return the responses of a batch, and the order of its positive samples."""
        *kinds, order = self.indices(size, rng)
        near = np.arange(-self.reach[0], self.reach[1])
        batch = []
        for place, session in enumerate(self.sessions):
            rows = (session.responses[kind[place][:, None] + near] for kind in kinds)
            reference, positive, negative = (
                torch.from_numpy(one.transpose(0, 2, 1).copy()) for one in rows
            )
            batch.append((reference, positive, negative))
        return batch, order


def _inside(piece: np.ndarray, before: int, after: int) -> np.ndarray:
    """Return the samples with so many samples of their piece on both sides."""
    rows = np.arange(len(piece))
    first, last = np.searchsorted(piece, piece), np.searchsorted(piece, piece, "right") - 1
    return rows[(rows - before >= first) & (rows + after <= last)]


def _closest(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the row of `values` with the smallest distance to each wanted one."""
    square = (values**2).sum(axis=1)
    parts = np.array_split(wanted, max(1, len(wanted) * len(values) // _CHUNK))
    return np.concatenate([(square - 2 * part @ values.T).argmin(axis=1) for part in parts])


def new_solver(networks: nn.ModuleList, config: CebraConfig, lr: float) -> Any:
    """Return the solver of the package, whose `step` trains on a batch."""
    with named_extras():
        import cebra.models
        import cebra.solver
    loss = cebra.models.criterions.FixedCosineInfoNCE(temperature=config.temperature)
    optimizer = torch.optim.Adam(networks.parameters(), lr=lr)
    optimizer.register_step_pre_hook(_skip_if_not_finite)
    parts = {"model": networks, "criterion": loss, "optimizer": optimizer}
    return cebra.solver.init("multi-session", **parts, tqdm_on=False)


def _skip_if_not_finite(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Remove all gradients if one is not finite: Adam leaves weights without gradient alone."""
    gradients = [
        p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
    ]
    if not torch.stack(torch._foreach_norm(gradients)).isfinite().all():
        optimizer.zero_grad()


def solve(solver: Any, batch: Batch, order: np.ndarray) -> float:
    """Train on a batch, and return its loss; one with infinite gradients changes no weight."""
    import cebra.data

    index = torch.from_numpy(order)
    packed = [
        cebra.data.Batch(*parts, index=index.argsort(), index_reversed=index) for parts in batch
    ]
    return float(solver.step(packed)["total"])
