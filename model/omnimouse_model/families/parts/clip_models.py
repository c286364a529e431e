"""Checkpoints and predictors of the networks that are built on the factorised core.

A family states in `ClipFamily` what differs: its network, its inputs and its rates.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.families.parts.network_predictor import NetworkPredictor
from omnimouse_model.families.parts.video_clips import (
    GrayLevels,
    Inputs,
    core_spec,
    read_window,
)
from omnimouse_model.masks import Mask
from omnimouse_model.predict.description import (
    describe_weights,
    load_strictly,
    read_checkpoint,
    save_checkpoint,
    session_counts,
    weights_hash,
)
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.family import Description
from omnimouse_model.predict.predictor import Needs, check_known
from omnimouse_model.progress import Cancelled, stop_if
from omnimouse_model.storage.typed import decode, refused_as


@dataclass(frozen=True, slots=True)
class ClipFamily:
    """What is a family's own.

    Attributes
    ----------
    name, title
        Key of the family, and its name for people.
    config
        Class of its configs.
    network
        (config, session -> number of neurons, session -> coordinates) -> network. It has
        `core`, `config` and `n_neurons`.
    state
        (network, session, inputs, visible responses (B, T', N), hidden ones NaN) -> what
        `rates` needs of B clips: a tensor, or several, with B items.
    rates
        (network, session, state, neurons) -> rates (B, T', n).
    reads_behavior, reads_responses
        Whether a config reads behaviour, and whether the family reads responses.
    """

    name: str
    title: str
    config: type
    network: Callable[..., nn.Module]
    state: Callable[[Any, str, Inputs, Tensor], tuple[Tensor | None, ...]]
    rates: Callable[[Any, str, tuple[Tensor | None, ...], Tensor | None], Tensor]
    reads_behavior: Callable[[Any], bool]
    reads_responses: bool = False

    def spec(self, config: Any) -> WindowSpec:
        """Return the spec of the windows that a network of this config reads."""
        return core_spec(config.core, reads_behavior=self.reads_behavior(config))

    def load(self, path: Path, device: str = "auto") -> "ClipPredictor":
        """Load a predictor from a checkpoint (`Family.load`).

        Raises
        ------
        CheckpointError
            A file is missing, damaged or of another form.
        """
        checkpoint = ClipCheckpoint.read(self, path)
        return checkpoint.predictor(
            path.stem, weights_hash(dict(checkpoint.state)), resolve_device(device)
        )

    def describe(self, path: Path) -> Description:
        """Return what `omnimouse info` prints of a checkpoint (`Family.describe`)."""
        return ClipCheckpoint.read(self, path).description


# -- checkpoints -----------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ClipCheckpoint:
    """A network with the facts that its weights do not have.

    Attributes
    ----------
    config, gray
        Sizes of the network, and how frames are normalised.
    n_neurons
        Session -> number of neurons.
    state
        Name -> tensor.
    card
        Information for people: training, scores.
    """

    family: ClipFamily
    config: Any
    gray: GrayLevels
    n_neurons: Mapping[str, int]
    state: Mapping[str, Tensor]
    card: Mapping[str, Any]

    def save(self, path: Path) -> None:
        """Write weights and description."""
        about = {
            "config": asdict(self.config),
            "gray": asdict(self.gray),
            "sessions": dict(self.n_neurons),
            "card": dict(self.card),
        }
        save_checkpoint(path, self.state, self.family.name, about)

    @classmethod
    def read(cls, family: ClipFamily, path: Path) -> "ClipCheckpoint":
        """Read a checkpoint.

        Raises
        ------
        CheckpointError
            A file is missing, damaged or of another form.
        """
        described = path.with_suffix(".json")
        tensors, _, description, _ = read_checkpoint(path, family.name)
        with refused_as(CheckpointError):
            config: Any = decode(family.config, description.get("config"), described, "config")
            gray = decode(GrayLevels, description.get("gray"), described, "gray")
        counts = session_counts(description, described)
        return cls(family, config, gray, counts, tensors, description.get("card") or {})

    @property
    def description(self) -> Description:
        """What `omnimouse info` prints."""
        core = self.config.core
        inputs = ["video"]
        if self.family.reads_behavior(self.config):
            inputs.append("behaviour")
        if self.family.reads_responses:
            inputs.append("responses")
        return describe_weights(
            self.family.title,
            self.state,
            self.config,
            self.n_neurons,
            network=f"{len(core.widths)} layers of {', '.join(map(str, core.widths))} channels",
            sees=" and ".join([", ".join(inputs[:-1])] * (len(inputs) > 1) + inputs[-1:]),
        )

    def predictor(self, name: str, weights: str, device: torch.device) -> "ClipPredictor":
        """Return the predictor of these weights."""
        build = partial(self.family.network, self.config, self.n_neurons)
        network = load_strictly(build, self.state, name)
        return ClipPredictor(name, weights, self.family, network.to(device), self.gray, device)


# -- prediction ------------------------------------------------------------------------
@dataclass(slots=True, eq=False, repr=False)
class ClipPredictor(NetworkPredictor):
    """Rates of the neurons of the sessions that a network knows, from their video.

    Parameters
    ----------
    network
        The network of all sessions, in evaluation mode.
    gray
        How frames are normalised.
    device
        Where it computes.
    """

    family: ClipFamily
    network: Any
    gray: GrayLevels
    device: torch.device

    @property
    def needs(self) -> Needs:
        """What it can see and predict, and which sessions it knows."""
        config = self.network.config
        return Needs(
            sees_responses=self.family.reads_responses,
            sees_video=True,
            sees_behavior=self.family.reads_behavior(config),
            spec=self.family.spec(config),
            sessions=frozenset(self.network.n_neurons),
            n_neurons=self.network.n_neurons,
        )

    def prepare(self, session: Session) -> None:
        """Check that the session is known and has video.

        Raises
        ------
        UnsupportedRequestError
            The session is unknown, has another number of neurons, or has no video.
        """
        solution = f"A new recording needs a training: omnimouse fit {self.family.name} SESSION."
        check_known(self.name, self.network.n_neurons, session, solution)
        if session.stimulus is None:
            raise UnsupportedRequestError(
                f"{self.name!r} needs video, which session {session.id} lacks."
            )
        self.network.to(self.device)

    # -- parts ------------------------------------------------------------------------
    @property
    def _size(self) -> int:
        return 4

    def _key(self, window: Window, mask: Mask) -> Any:
        responses = mask.visible.tobytes() if self.family.reads_responses else b""
        return mask.frames.tobytes(), mask.channel_modes, responses

    def _rates(
        self, state: Any, window: Window, neurons: np.ndarray
    ) -> tuple[np.ndarray, Mapping[str, Any]]:
        parts, valid = state
        chosen = torch.as_tensor(neurons, device=self.device)
        rates = self.family.rates(self.network, window.session.id, parts, chosen)[0]
        return np.where(valid[:, None], rates.cpu().numpy(), np.float32(np.nan)), {"valid": valid}

    @torch.inference_mode()
    def _states(
        self, requests: Sequence[tuple[Window, Mask]], cancelled: Cancelled
    ) -> Sequence[Any]:
        """Return what the family computes of windows, and their valid samples."""
        stop_if(cancelled)
        read = [read_window(window, mask, self.gray) for window, mask in requests]
        frames, behavior, valid = zip(*read, strict=True)
        has_behavior = behavior[0] is not None
        inputs = Inputs.of(
            np.stack(frames),
            np.stack([x for x in behavior if x is not None]) if has_behavior else None,
            self.network.config.core.channels,
        ).to(self.device)
        visible = torch.empty(len(requests), 0, 0)
        if self.family.reads_responses:
            shown = [np.where(m.visible, w.responses, np.nan) for w, m in requests]
            visible = torch.from_numpy(np.stack(shown)).float()
        session = requests[0][0].session.id
        state = self.family.state(self.network, session, inputs, visible.to(self.device))
        return [
            (tuple(None if part is None else part[n : n + 1] for part in state), ok)
            for n, ok in enumerate(valid)
        ]
