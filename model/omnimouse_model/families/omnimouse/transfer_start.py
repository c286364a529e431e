"""Start values of a fine-tuning: the core of a model, and a new session."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.neuron_match import NeuronMatch
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.errors import StoppedError
from omnimouse_model.evaluation.tier_windows import spread_starts
from omnimouse_model.evaluation.train_windows import mean_rates
from omnimouse_model.families.omnimouse.checkpoint import Checkpoint
from omnimouse_model.families.omnimouse.config import Layout
from omnimouse_model.families.omnimouse.network import OmniMouse, set_mean_rates
from omnimouse_model.families.omnimouse.token_layout import layout_of
from omnimouse_model.families.omnimouse.tokens import batch_from_windows, layout_from_mask
from omnimouse_model.families.omnimouse.training_config import Streams
from omnimouse_model.masks import Mask
from omnimouse_model.progress import STARTING, Job
from omnimouse_model.training.sessions import TrainingSession

Trained = Literal["embeddings", "all"]
ANIMALS = "animal_params._animal_embeddings."


@dataclass(slots=True)
class StartValues:
    """Start values of a fine-tuning: the core of a model, and a new session.

    Attributes
    ----------
    shared
        Neurons that are also in a session of the model, which is the second one.
    animal
        Name of the session's animal in the net.
    animals
        session key -> animal, for the sessions of the model and the new one.
    base
        Weights from the checkpoint, without parameters of other sessions.
    """

    model: Checkpoint
    source: TrainingSession
    train: Trained
    seed: int
    device: torch.device
    job: Job
    shared: NeuronMatch | None = None
    animal: str = field(init=False)
    animals: dict[str, str] = field(init=False)
    base: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        model, key = self.model, self.source.key
        # The net uses animal vectors if the config says so, or if an animal has several
        # sessions (`OmniMouse.meta_vector`). If it did not use them so far, a second
        # session of an animal would switch them on and change all predictions: the new
        # session then counts as an animal of its own.
        uses_animals = len(model.animals) > len(set(model.animals.values()))
        animal = self.source.session.animal_id or key
        if not (model.config.always_use_animal_embeddings or uses_animals):
            animal = key
        self.animal = model.animals.get(key, animal)
        self.animals = model.animals | {key: self.animal}
        self.base = {
            name: value
            for name, value in model.state.items()
            if not name.startswith("sess_params.") or name.startswith(f"sess_params.{key}.")
        }

    def is_trained(self, name: str) -> bool:
        """Return True for new parameters, or for all with `train="all"`."""
        return self.train == "all" or name not in self.base

    def fill(self, net: OmniMouse) -> None:
        """Write the checkpoint's weights, and start values of new parameters."""
        # The net also has parameters that the checkpoint lacks: those of the session.
        net.load_state_dict(net.state_dict() | self.base)
        key = self.source.key
        if key in self.model.sessions:
            return
        # New vectors start at the mean of those with which the core was trained.
        state, meta = self.model.state, {}
        name = f"{ANIMALS}{self.animal}"
        if name not in state:
            meta[name] = _mean([v for k, v in state.items() if k.startswith(ANIMALS)])
        vector = _mean([state[f"sess_params.{k}._session_embedding"] for k in self.model.sessions])
        neurons = embeddings_of_correlated(
            self.model,
            self.source.session,
            self.source.starts,
            meta | {f"sess_params.{KEY}._session_embedding": vector},
            self.animal,
            device=self.device,
            seed=self.seed,
            job=self.job,
        )
        if self.shared is not None:
            # The same neurons: their vectors are known.
            own = state[f"sess_params.{self.shared.sessions[1]}._neuron_embeddings.weight"]
            neurons = neurons.clone()
            neurons[self.shared.first] = own[self.shared.second].to(neurons)
        prefix = f"sess_params.{key}"
        net.load_state_dict(
            net.state_dict()
            | meta
            | {f"{prefix}._session_embedding": vector}
            | {f"{prefix}._neuron_embeddings.weight": neurons}
        )
        set_mean_rates(net, key, mean_rates(self.source.session, OMNIMOUSE))


def _mean(vectors: list[Tensor]) -> Tensor:
    return torch.stack(vectors).mean(dim=0)


# -- initial embeddings of new neurons, from known neurons with correlated responses
# Key of the temporary session that contains the candidate neurons.
KEY = "candidates"
CANDIDATES = 1024
WINDOWS = 128
BATCH = 4
N_AVERAGED = 8
"""Number of known neurons that are averaged for one new neuron."""
# Target samples of the mask "test/video_behavior": the last second of a window.
SCORED = slice(30, 60)


def embeddings_of_correlated(
    model: Checkpoint,
    session: Session,
    starts: np.ndarray,
    meta: dict[str, Tensor],
    animal: str,
    *,
    device: torch.device,
    seed: int,
    job: Job,
) -> Tensor:
    """Return initial embeddings (N, e) of a session's neurons.

    Parameters
    ----------
    model
        The model, with the sessions on which it was trained.
    starts
        Starts of the train windows, seconds on the session clock.
    meta
        Initial values of the vectors of the session and its animal, by parameter name,
        for a session with the key `KEY`.

    Raises
    ------
    StoppedError
        The job is cancelled.
    """
    net = _candidates(model, meta, animal, seed).to(device)
    streams = Streams.of(session, net.config.behavior_channels)
    count = net.session(KEY).n_neurons
    mask = streams.limit(Mask.from_strategy("test/video_behavior", count))
    layout = layout_from_mask(mask).to(device)
    predicted: list[np.ndarray] = []
    recorded: list[np.ndarray] = []
    chosen = spread_starts(starts, WINDOWS)
    for windows in _batches(session, chosen):
        if job.cancelled():
            raise StoppedError("stopped before the first step; nothing was saved.")
        job.progress(len(recorded) / len(chosen), 1.0, STARTING)
        predicted.append(_predict(net, windows, mask, layout))
        recorded += [w.filled_responses[SCORED] for w in windows]
    # (candidates, N): every known neuron with every new one.
    correlations = _correlations(np.concatenate(predicted), np.concatenate(recorded))
    best = np.argsort(-correlations, axis=0)[:N_AVERAGED]
    neighbours = net.session(KEY).neurons(torch.from_numpy(best).to(device))
    return neighbours.mean(dim=0).detach().cpu()


def _candidates(model: Checkpoint, meta: dict[str, Tensor], animal: str, seed: int) -> OmniMouse:
    """Return the model with random neurons of all its sessions as one session."""
    parts: dict[str, list[Tensor]] = {}
    for name in ("_neuron_embeddings.weight", "_neuron_biases"):
        parts[name] = [model.state[f"sess_params.{key}.{name}"] for key in model.sessions]
    total = sum(model.sessions.values())
    rows = np.random.default_rng(seed).permutation(total)[:CANDIDATES]
    candidates = {
        f"sess_params.{KEY}.{name}": torch.cat(values)[torch.from_numpy(rows)]
        for name, values in parts.items()
    }
    core = {k: v for k, v in model.state.items() if not k.startswith("sess_params.")}
    return Checkpoint(
        model.config,
        core | candidates | meta,
        {KEY: len(rows)},
        model.animals | {KEY: animal},
        model.source,
    ).build()


def _batches(session: Session, starts: np.ndarray) -> Iterator[list[Window]]:
    for first in range(0, len(starts), BATCH):
        yield [session.window(float(s), OMNIMOUSE) for s in starts[first : first + BATCH]]


@torch.inference_mode()
def _predict(net: OmniMouse, windows: list[Window], mask: Mask, layout: Layout) -> np.ndarray:
    """Return predicted rates of the scored samples (windows x 30, candidates)."""
    device = layout.query_neurons.device
    # The mask hides all responses, so their values do not matter.
    nothing = torch.zeros(60, mask.n_neurons, device=device)
    batch = batch_from_windows(
        windows,
        [mask] * len(windows),
        net.config,
        KEY,
        device,
        [nothing] * len(windows),
    )
    video = None
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        if not layout.video_missing:
            frames = torch.from_numpy(np.stack([w.video for w in windows]))[:, None]
            video = net.encode_video(frames.to(device), layout)
        context = net.encode(batch, layout, video)
        rates, _ = net.decode_responses(batch, layout, context)
    # Queries are sorted by sample, then by position: (B, 6 x N, 5) to (B, 6, 5, N).
    order = layout_of(mask).order
    blocks = rates.float().unflatten(1, (-1, len(order))).transpose(2, 3)
    in_order: np.ndarray = blocks.flatten(0, 2).cpu().numpy()
    # argsort inverts the permutation: from positions back to candidate indices.
    return in_order[:, np.argsort(order)]


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return correlations (p, q) of the columns of (n, p) with those of (n, q)."""
    # 1e-6: a constant neuron gets correlation 0 instead of NaN.
    a, b = ((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6) for x in (a, b))
    return np.asarray(a.T @ b / len(a))
