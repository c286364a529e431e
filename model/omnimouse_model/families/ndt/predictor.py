"""The neural data transformer as a predictor, and its checkpoints.

Entries that a mask does not show enter as 0, whether they are targets or not. The
prompt is that of the scheme that the mask resembles (`masks.schemes.nearest_scheme`);
under "causal", a bin sees no later one.

The file is long because files, rates of windows and rates of single neurons belong to one
predictor.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.families.ndt.network import Ndt, NdtConfig
from omnimouse_model.families.parts.network_predictor import MaskedWindow, NetworkPredictor, Rates
from omnimouse_model.masks import Mask
from omnimouse_model.masks.schemes import nearest_scheme
from omnimouse_model.predict.checkpoint_file import (
    Checkpoint,
    checkpoint_file,
    load_strictly,
    read_about,
    read_checkpoint,
    weights_hash,
)
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.family import Description
from omnimouse_model.predict.predictor import Needs, Request, check_responses_shown
from omnimouse_model.progress import QUIET, Cancelled, Job, advance, never, stop_if
from omnimouse_model.storage.tensors import read_tensors
from omnimouse_model.storage.trees import decode, refused_as

TRIALS = WindowSpec(
    duration_s=3.0, response_rate_hz=50.0, responses="count", align="trial", trial_offset_s=-0.5
)
"""Trials of Jiang et al.: 150 bins of 20 ms, from 0.5 s before the onset."""


# -- checkpoints of neural data transformers: the shared part, and stitchers by session
# Weights are safetensors with the names of `Ndt`; a JSON file beside them has the config,
# the spec of the trials and the sessions, in the order of their embeddings. Weights of
# the public code load, too, where such a file names their sessions.
SESSION_TABLE = "encoder.embedder.embed_session.weight"
SCHEMES_OF = "schemes"
"""Key of the masking schemes of the training in the card; absent in older files."""
RATE_OF = "lr"
"""The same for its highest learning rate."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NdtCheckpoint(Checkpoint):
    """Content of an NDT checkpoint file: config, weights and sessions; no network is built yet.

    Attributes
    ----------
    sessions
        Session -> number of neurons, in the order of the session embeddings.
    spec
        Trials that it reads.
    """

    family = "ndt"
    prefixes = ("stitchers.", "readouts.")
    tables = (SESSION_TABLE,)
    config: NdtConfig
    spec: WindowSpec = TRIALS

    @classmethod
    def read(cls, path: Path) -> "NdtCheckpoint":
        """Read a checkpoint: weights of this project, or of the public code.

        Parameters
        ----------
        path
            A .safetensors file, or a .pt file with a state dict; a JSON file beside it
            names the sessions. Of public weights, it need not have the sizes.

        Raises
        ------
        CheckpointError
            A file is missing, damaged or of another form; the message names the field.
        """
        path = checkpoint_file(path)
        if path.suffix == ".safetensors":
            envelope = read_checkpoint(path, cls.family)
            state, about = envelope.tensors, envelope.about
        else:
            # Public weights do not name the file that describes them.
            state, about = read_tensors(path), read_about(path, cls.family)
        # Older files have an empty spec for the trials of Jiang et al.
        about = about | ({"spec": None} if about.get("spec") == {} else {})
        if not is_public(state):
            return cls.of(about, state, path)
        about, assumed = _with_sizes(about, state, str(path))
        found = cls.of(about, state, path)
        own = public_to_own(state, found.config, found.sessions, str(path))
        return replace(found, state=own, assumed=(*found.assumed, *assumed))

    def check(self) -> None:
        """Raise `CheckpointError` if the trials have more bins than the model."""
        limit, n_samples = self.config.n_bins, self.spec.n_samples
        if self.spec != TRIALS and n_samples > limit:
            raise CheckpointError(
                f"{self.source}: spec has {n_samples} bins; the model has at most {limit} (n_bins)."
            )

    def build(self) -> Ndt:
        """Build the network.

        Raises
        ------
        CheckpointError
            Tensors are missing, unexpected or of another shape; it names them.
        """
        return load_strictly(lambda: Ndt(self.config, self.sessions), self.state, self.source)


def _with_sizes(
    description: dict[str, Any], state: Mapping[str, Tensor], source: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the description with sizes of the tensors, and what is assumed."""
    with refused_as(CheckpointError):
        stated = decode(dict[str, Any], description.get("config") or {}, source, "config")
    try:
        sizes = sizes_from_shapes(state)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{source} has no tensor {error} of a neural data transformer."
        ) from error
    missing = {f.name for f in fields(NdtConfig)} - stated.keys() - sizes.keys()
    default, assumed = NdtConfig(), []
    if "n_heads" in missing:
        assumed.append(f"{default.n_heads} attention heads, which no tensor tells")
    if "leaks" in missing:
        assumed.append(
            "prepended tokens see no bins under the causal scheme, unlike in the "
            "public code (leaks: false)"
        )
    return description | {"config": sizes | stated}, tuple(assumed)


# -- weights of neural data transformers with the names of the public code
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
    layers = [k for k in state if k.startswith("encoder.layers.") and k.endswith(".ln1.weight")]
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


def public_to_own(
    state: Mapping[str, Tensor], config: NdtConfig, sessions: Mapping[str, int], source: str
) -> dict[str, Tensor]:
    """Return the tensors with the names of `Ndt`."""
    stitched = {name for name in state if name.startswith((STITCHER, READOUT))}
    embedded = {PROMPT: config.has_prompt, SESSION: config.has_session}
    left = (*UNUSED, *(part for part, is_used in embedded.items() if not is_used))
    own = {k: v for k, v in state.items() if k not in stitched and not k.startswith(left)}
    for session, count in sessions.items():
        for public, mine in ((STITCHER, "stitchers"), (READOUT, "readouts")):
            for part in ("weight", "bias"):
                name = f"{public}{count}.{part}"
                if name not in state:
                    raise CheckpointError(
                        f"{source} has no {name}, for the {count} neurons of session {session!r}."
                    )
                own[f"{mine}.{session}.{part}"] = state[name].clone()
                stitched.discard(name)
    if stitched:
        raise CheckpointError(f"{source} has {min(stitched)}, which belongs to no given session.")
    return own


# -- prediction ------------------------------------------------------------------------
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

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> "NdtPredictor":
        """Load a predictor from a checkpoint (`Family.load`).

        Raises
        ------
        CheckpointError
            A file is missing, damaged or of another form.
        """
        path = Path(path)
        checkpoint = NdtCheckpoint.read(path)
        net = checkpoint.build().requires_grad_(False).eval()
        place = resolve_device(device)
        return cls(
            path.stem,
            weights_hash(checkpoint.state),
            checkpoint.spec,
            net.to(place),
            place,
            lambda: checkpoint,
        )

    @staticmethod
    def describe(path: Path) -> Description:
        """Return what `omnimouse info` prints of a checkpoint (`Family.describe`)."""
        checkpoint = NdtCheckpoint.read(path)
        config, spec = checkpoint.config, checkpoint.spec
        return checkpoint.described(
            "neural data transformer",
            network=f"{config.n_layers} layers of width {config.d_model}, {config.n_heads} heads",
            trials=f"{spec.n_samples} bins, {1000 / spec.response_rate_hz:g} ms each",
            shared_parameters=sum(value.numel() for value in checkpoint.shared.values()),
        )

    @property
    def needs(self) -> Needs:
        """What it can see and predict, and which sessions it knows."""
        return Needs(
            spec=self.spec,
            sessions=frozenset(self.net.sessions),
            n_neurons=self.net.sessions,
            methods=frozenset({"embeddings", "held_out"}),
        )

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
        """Return rates and spikes of hidden entries; see `HeldOutPredictor`.

        Spikes are NaN where they are unknown; the network gets none there, as in training.
        "forward" has the bins of its windows alone: eleven windows from the onset on, as in
        the paper; shorter trials have fewer.
        """
        net, name = self.net, session.id
        spikes = torch.from_numpy(np.nan_to_num(counts)).to(self.device)
        if condition == "forward":
            onset, n_windows = _forward_bins(self.spec)
            rates = forward_windows(net, name, spikes, onset=onset, n_windows=n_windows)
            return rates, counts[:, onset : onset + n_windows * WINDOW]
        if condition == "co-smoothing":
            return one_neuron_out(net, name, spikes, job=job), counts
        if condition not in ("inter-region", "intra-region"):
            raise ValueError(f"There is no condition {condition!r}.")
        regions = _regions(condition, session)
        rates = predict_regions(net, name, spikes, regions, condition, job)
        # Neurons without a region are predicted by no condition over regions.
        return rates, np.where(np.array(regions) == "", np.float32("nan"), counts)

    @torch.inference_mode()
    def trial_features(self, session: Session, counts: np.ndarray) -> np.ndarray:
        """Return the mean over bins of the third block's output, float64 (trial, d_model).

        All spikes are visible; unknown counts are no spikes, as in training.
        """
        spikes = torch.from_numpy(np.nan_to_num(counts)).to(self.device)
        name = f"block.{min(BLOCK, self.net.config.n_layers) - 1}.out"
        parts = []
        for part in spikes.split(SEQUENCES):
            found: dict[str, Tensor] = {}
            # Every scheme but "causal" has attention between all bins.
            self.net.encode(part, session.id, "neuron", record=found.__setitem__)
            parts.append(found[name][:, -spikes.shape[1] :].mean(1).cpu().double())
        return torch.cat(parts).numpy()

    # -- parts ------------------------------------------------------------------------
    def _check(self, request: Request) -> None:
        NetworkPredictor._check(self, request)
        check_responses_shown(self.name, request[1])

    def _key(self, window: Window, mask: Mask) -> Any:
        # Hidden cells and targets are both 0: changing one into the other costs nothing.
        return np.packbits(mask.visible).tobytes(), _scheme_of(window.session, mask)

    def _rates(self, state: Tensor, window: Window, neurons: np.ndarray) -> Rates:
        chosen = torch.from_numpy(neurons).to(self.device)
        rates = self.net.read(state, window.session.id, chosen)[0].exp().cpu().numpy()
        if self.spec.responses != "count":
            return rates, {}
        rates = rates * np.float32(self.spec.response_rate_hz)
        return rates, {"scale": None, "units": "spikes/s"}

    def _states(self, requests: Sequence[MaskedWindow], cancelled: Cancelled) -> Sequence[Tensor]:
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
    def _bins(self, requests: Sequence[MaskedWindow], scheme: str, cancelled: Cancelled) -> Tensor:
        """Return the encoded bins (B, T, d_model) of windows of one session."""
        seen = np.stack([np.where(m.visible, w.responses, np.float32(0)) for w, m in requests])
        recorded = np.stack([window.valid["responses"] for window, _ in requests])
        # A response that is missing is not known, as if it were hidden.
        counts = torch.from_numpy(np.nan_to_num(seen, copy=False)).to(self.device)
        is_real = None if recorded.all() else torch.from_numpy(recorded).to(self.device)
        return self.net.encode(
            counts,
            requests[0][0].session.id,
            scheme,
            is_real=is_real,
            record=lambda name, value: stop_if(cancelled),
        )


def _scheme_of(session: Session, mask: Mask) -> str:
    area = session.units.area
    return nearest_scheme(mask.cells, None if area is None else area.tolist())


# -- rates of held-out entries: single neurons, windows of bins, regions --------------
# Each function hides entries of trials, predicts them, and returns the rates of the
# hidden entries, from which bits per spike follow. Many neurons are predicted in one
# batch.
#
# Source: Jiang et al. 2025 and the public code of Zhang et al. 2024.
Trials = Float32[Tensor, "trial bin neuron"]
ONSET, WINDOW, N_WINDOWS = 25, 10, 11
"""First bin, width and number of the windows of forward prediction (Jiang et al.)."""
SEQUENCES = 256
"""Trials that are predicted at once."""
BLOCK = 3
"""Block, counted from 1, whose output is a feature of trials; of fewer, the last one."""


def _forward_bins(spec: WindowSpec) -> tuple[int, int]:
    """Return the bin of the onset, and the number of windows from there on.

    Raises
    ------
    UnsupportedRequestError
        The trials have no window after the onset.
    """
    onset = round(-spec.trial_offset_s * spec.response_rate_hz)
    if onset < 0:
        raise UnsupportedRequestError(
            f"The model's trials begin {spec.trial_offset_s:g} s after the onset: "
            "there are no bins of the onset to predict from."
        )
    n_windows = min(N_WINDOWS, (spec.n_samples - onset) // WINDOW)
    if n_windows < 1:
        raise UnsupportedRequestError(
            f"The model's trials have {spec.n_samples - onset} bins from the onset "
            f"on; a window has {WINDOW}."
        )
    return onset, n_windows


def _regions(condition: str, session: Session) -> Sequence[str]:
    """Return the region of each neuron, "" where it is not known.

    Raises
    ------
    UnsupportedRequestError
        A condition over regions is not possible.
    """
    regions, names = session.units.region_of, session.units.regions
    if not names:
        raise UnsupportedRequestError("The recording does not state the region of its units.")
    if condition == "inter-region" and len(names) == 1:
        placed = "units with a region" if "" in regions else "units"
        raise UnsupportedRequestError(
            f"All {placed} are in {names[0]}: there is no other to predict from."
        )
    return regions


@torch.inference_mode()
def one_neuron_out(
    net: Ndt,
    session: str,
    spikes: Trials,
    neurons: np.ndarray | None = None,
    job: Job = QUIET,
    scheme: str = "neuron",
) -> np.ndarray:
    """Predict each neuron from all others (co-smoothing), float32 (trial, bin, neuron).

    The input without a neuron differs from that of the whole population only in the
    bins in which the neuron has spikes: only these are embedded again. In a trial
    without a spike of it, the rates are those of the whole population.
    `net` is in evaluation mode: in training, dropout adds noise to the rates.
    """
    neurons = np.arange(spikes.shape[-1]) if neurons is None else np.asarray(neurons)
    chosen = torch.from_numpy(neurons).to(spikes.device)
    n_bins = spikes.shape[1]
    tokens = net.embed(spikes, session, scheme)
    bins = torch.cat([net.mix(x, None) for x in tokens.split(SEQUENCES)])
    rates = net.read(bins[:, -n_bins:], session, chosen).exp()
    trials, columns = (spikes[..., chosen] != 0).any(1).nonzero(as_tuple=True)
    for first in range(0, len(trials), SEQUENCES):
        part = slice(first, first + SEQUENCES)
        trial, column = trials[part], columns[part]
        neuron, own = chosen[column], tokens[trial]
        row, at = spikes[trial, :, neuron].nonzero(as_tuple=True)
        others = spikes[trial[row], at]
        others.scatter_(1, neuron[row, None], 0)
        own[row, own.shape[1] - n_bins + at] = net.embed_bins(others, session, at)
        encoded = net.mix(own, None)[:, -n_bins:]
        rates[trial, :, column] = net.read_own(encoded, session, neuron).exp()
        advance(job, min(part.stop, len(trials)), len(trials))
    return rates.cpu().numpy()


def predict_regions(
    net: Ndt, session: str, spikes: Trials, regions: Sequence[str], condition: str, job: Job = QUIET
) -> np.ndarray:
    """Predict neurons from the other regions alone, or from the others of their own region.

    Neurons without a region ("") are hidden, and their rates are NaN.
    `net` is in evaluation mode: in training, dropout adds noise to the rates.

    Parameters
    ----------
    condition
        "inter-region" or "intra-region".
    """
    names = np.asarray(regions)
    rates = np.full(tuple(spikes.shape), np.nan, np.float32)
    for region in np.unique(names[names != ""]):
        inside = np.flatnonzero(names == region)
        if condition == "inter-region":
            seen = spikes.clone()
            seen[..., np.isin(names, (region, ""))] = 0
            rates[..., inside] = predicted_rates(net, session, seen, condition)[..., inside]
        else:
            seen = torch.zeros_like(spikes)
            seen[..., inside] = spikes[..., inside]
            rates[..., inside] = one_neuron_out(net, session, seen, inside, job, condition)
    return rates


def forward_windows(
    net: Ndt, session: str, spikes: Trials, *, onset: int = ONSET, n_windows: int = N_WINDOWS
) -> np.ndarray:
    """Predict consecutive windows of `WINDOW` bins, each from all bins before it.

    `net` is in evaluation mode: in training, dropout adds noise to the rates.

    Parameters
    ----------
    onset, n_windows
        First bin, and number of the windows.

    Returns
    -------
    float32 (trial, n_windows * WINDOW, neuron).

    Raises
    ------
    ValueError
        The trials end before the last window.
    """
    stop = onset + n_windows * WINDOW
    if stop > spikes.shape[1]:
        raise ValueError(f"The windows end at bin {stop}, trials at {spikes.shape[1]}.")
    parts = []
    for start in range(onset, stop, WINDOW):
        seen = spikes.clone()
        seen[:, start:] = 0
        found = predicted_rates(net, session, seen, "causal")
        parts.append(found[:, start : start + WINDOW])
    return np.concatenate(parts, axis=1)


@torch.inference_mode()
def predicted_rates(net: Ndt, session: str, seen: Trials, scheme: str) -> np.ndarray:
    """Return the rates per bin (trial, bin, neuron) of masked counts.

    `net` is in evaluation mode: in training, dropout adds noise to the rates.
    """
    parts = [net(part, session, scheme).exp().cpu().numpy() for part in seen.split(SEQUENCES)]
    return np.concatenate(parts)
