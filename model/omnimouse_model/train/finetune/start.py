"""Start values of a fine-tuning: the core of a model, and a new session."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from omnimouse_model.analysis.neuron_match import NeuronMatch
from omnimouse_model.nets.checkpoint import Checkpoint
from omnimouse_model.nets.omnimouse.initialisation import set_mean_rates
from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.predict.baselines.rules import mean_rates
from omnimouse_model.progress import Job
from omnimouse_model.train.batches import TrainingSession
from omnimouse_model.train.finetune.correlated_init import KEY, embeddings_of_correlated

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
        set_mean_rates(net, key, mean_rates(self.source.session))


def _mean(vectors: list[Tensor]) -> Tensor:
    return torch.stack(vectors).mean(dim=0)
