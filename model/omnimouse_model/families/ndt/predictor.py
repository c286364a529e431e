"""The neural data transformer as a predictor: spikes in, rates of hidden entries out.

Entries that a mask does not show enter as 0, whether they are targets or not. The
prompt is that of the scheme that the mask resembles (`masks.schemes.nearest_scheme`);
under "causal", a bin sees no later one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec, spec_from_dict
from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.ndt.checkpoint import NdtCheckpoint, read_ndt
from omnimouse_model.families.ndt.held_out_rates import rates_of, trial_features
from omnimouse_model.families.ndt.network import Ndt
from omnimouse_model.families.parts.network_predictor import NetworkPredictor
from omnimouse_model.masks import Mask
from omnimouse_model.masks.schemes import nearest_scheme
from omnimouse_model.predict.description import describe_weights, weights_hash
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.family import Description
from omnimouse_model.predict.predictor import Needs, check_known
from omnimouse_model.progress import QUIET, Cancelled, Job, never, stop_if

TRIALS = WindowSpec(
    duration_s=3.0,
    response_rate_hz=50.0,
    responses="count",
    align="trial",
    trial_offset_s=-0.5,
)
"""Trials of Jiang et al.: 150 bins of 20 ms, from 0.5 s before the onset."""
NEW_SESSION = (
    "Fine-tune it to this recording: omnimouse finetune, or om.finetune(predictor, session, out)."
)


@dataclass(slots=True, eq=False, repr=False)
class NdtPredictor(NetworkPredictor):
    """Rates of hidden spikes from visible ones.

    Parameters
    ----------
    spec
        Trials that it reads.
    net
        The network, with the stitchers of all its sessions.
    device
        Where it computes.
    checkpoint
        Returns the weights, from which a fine-tuning starts; None for a network that
        is still trained.
    """

    spec: WindowSpec
    net: Ndt
    device: torch.device
    checkpoint: Callable[[], NdtCheckpoint] | None = None

    @property
    def needs(self) -> Needs:
        """What it can see and predict, and which sessions it knows."""
        return Needs(
            spec=self.spec,
            sessions=frozenset(self.net.sessions),
            n_neurons=self.net.sessions,
            methods=frozenset({"embeddings", "held_out"}),
        )

    def prepare(self, session: Session) -> None:
        """Check that the model knows a session.

        Raises
        ------
        UnsupportedRequestError
            The session is unknown, or has another number of neurons.
        """
        check_known(self.name, self.net.sessions, session, NEW_SESSION)

    def embeddings(self, session: Session, cancelled: Cancelled = never) -> np.ndarray:
        """Return the readout weights of each neuron, float32 (P, d_model)."""
        stop_if(cancelled)
        self.prepare(session)
        weight = self.net.readouts[session.id].weight
        assert isinstance(weight, Tensor)
        return weight.detach().cpu().numpy()

    def held_out_rates(
        self, condition: str, session: Session, counts: np.ndarray, job: Job = QUIET
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return rates and spikes of hidden entries; see `HeldOutPredictor`."""
        return rates_of(condition, self.net, session, counts, self.spec, job)

    def trial_features(self, session: Session, counts: np.ndarray) -> np.ndarray:
        """Return the mean output of the third block, float64 (trial, d_model)."""
        return trial_features(self.net, session.id, counts)

    # -- parts ------------------------------------------------------------------------
    def _key(self, window: Window, mask: Mask) -> Any:
        # Hidden cells and targets are both 0: changing one into the other costs nothing.
        return np.packbits(mask.visible).tobytes(), _scheme_of(window.session, mask)

    def _rates(
        self, state: Tensor, window: Window, neurons: np.ndarray
    ) -> tuple[np.ndarray, Mapping[str, Any]]:
        chosen = torch.from_numpy(neurons).to(self.device)
        rates = self.net.read(state, window.session.id, chosen)[0].exp().cpu().numpy()
        if self.spec.responses != "count":
            return rates, {}
        rates = rates * np.float32(self.spec.response_rate_hz)
        return rates, {"scale": None, "units": "spikes/s"}

    def _states(
        self, requests: Sequence[tuple[Window, Mask]], cancelled: Cancelled
    ) -> Sequence[Tensor]:
        """Return the encoded bins (1, T, d_model) of windows of one session."""
        schemes = [_scheme_of(window.session, mask) for window, mask in requests]
        bins: dict[int, Tensor] = {}
        # The prompt is one per forward pass.
        for scheme in dict.fromkeys(schemes):
            members = [k for k, own in enumerate(schemes) if own == scheme]
            encoded = self._bins([requests[k] for k in members], scheme, cancelled)
            bins |= dict(zip(members, encoded.split(1), strict=True))
        return [bins[number] for number in range(len(requests))]

    @torch.inference_mode()
    def _bins(
        self, requests: Sequence[tuple[Window, Mask]], scheme: str, cancelled: Cancelled
    ) -> Tensor:
        """Return the encoded bins (B, T, d_model) of windows of one session."""
        seen = np.stack([visible_counts(window, mask) for window, mask in requests])
        recorded = np.stack([window.valid["responses"] for window, _ in requests])
        counts = torch.from_numpy(seen).to(self.device)
        is_real = None
        if not recorded.all():
            is_real = torch.from_numpy(recorded).to(self.device)
        tokens = self.net.encode(
            counts,
            requests[0][0].session.id,
            scheme,
            is_real=is_real,
            record=lambda name, value: stop_if(cancelled),
        )
        return tokens[:, tokens.shape[1] - counts.shape[1] :]


def visible_counts(window: Window, mask: Mask) -> np.ndarray:
    """Return the responses of a window, float32 (T, P), 0 where they are hidden."""
    seen = np.where(mask.visible, window.responses, np.float32(0))
    # A response that is missing is not known, as if it were hidden.
    return np.asarray(np.nan_to_num(seen, copy=False), np.float32)


def _scheme_of(session: Session, mask: Mask) -> str:
    area = session.units.area
    return nearest_scheme(mask.cells, None if area is None else area.tolist())


def load_ndt(path: str | Path, device: str = "auto") -> NdtPredictor:
    """Load a predictor from a checkpoint.

    Raises
    ------
    CheckpointError
        A file is missing, damaged or of another form.
    """
    path = Path(path)
    checkpoint = read_ndt(path)
    net = checkpoint.build().requires_grad_(False).eval()
    place = resolve_device(device)
    return NdtPredictor(
        path.stem,
        weights_hash(dict(checkpoint.state)),
        spec_of(checkpoint),
        net.to(place),
        place,
        lambda: checkpoint,
    )


def spec_of(checkpoint: NdtCheckpoint) -> WindowSpec:
    """Return the trials that the model of a checkpoint reads.

    Raises
    ------
    CheckpointError
        The spec is none, or has more bins than the model.
    """
    if not checkpoint.spec:
        return TRIALS
    try:
        spec = spec_from_dict(checkpoint.spec)
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.source}: spec: {error}") from error
    limit = checkpoint.config.n_bins
    if spec.n_samples > limit:
        raise CheckpointError(
            f"{checkpoint.source}: spec has {spec.n_samples} bins; the model has "
            f"at most {limit} (n_bins)."
        )
    return spec


def describe_ndt(path: Path) -> Description:
    """Return what `omnimouse info` prints of a checkpoint."""
    checkpoint = read_ndt(path)
    config, spec = checkpoint.config, spec_of(checkpoint)
    bins = f"{spec.n_samples} bins, {1000 / spec.response_rate_hz:g} ms each"
    return describe_weights(
        "neural data transformer",
        checkpoint.state,
        config,
        checkpoint.sessions,
        checkpoint.assumed,
        network=f"{config.n_layers} layers of width {config.d_model}, {config.n_heads} heads",
        trials=bins,
        shared_parameters=sum(value.numel() for value in checkpoint.shared.values()),
    )
