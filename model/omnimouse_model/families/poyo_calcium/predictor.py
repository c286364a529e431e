"""Calcium POYO+ as a predictor, and its checkpoints: behaviour from visible responses.

Each visible response is a token, and hidden or missing ones are none, so that any mask
can be answered. Responses are not predicted, and behaviour is not read.

Weights are safetensors with the public names; a JSON file beside them has the config and
the neurons of each session, in the order of their embeddings.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.families.parts.network_predictor import NetworkPredictor
from omnimouse_model.families.poyo_calcium.network import PADDING, Item, PoyoConfig, PoyoNetwork
from omnimouse_model.masks import Mask
from omnimouse_model.predict.checkpoint_file import (
    MAX_NEURONS,
    MAX_SESSIONS,
    UNSTORED,
    Checkpoint,
    load_strictly,
    weights_hash,
)
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.family import Description
from omnimouse_model.predict.predictor import (
    Needs,
    Request,
    check_request,
    check_responses_shown,
)
from omnimouse_model.progress import Cancelled, never, stop_if
from omnimouse_model.storage.trees import Within, decode, refused_as

FAMILY = "poyo_calcium"
TITLE = "calcium POYO+"
UNITS, SESSIONS = "unit_emb.weight", "session_emb.weight"
"""Tables with a row for each neuron and each session, after that of the padding."""
_PREFIX = "model."
"""Of the names in a file of PyTorch Lightning."""

Names = Annotated[tuple[str, ...], Within(1, MAX_NEURONS)]


# -- checkpoints -----------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True, eq=False)
class PoyoCheckpoint(Checkpoint):
    """A network with the neurons of its sessions, read but not built.

    Attributes
    ----------
    units
        Session -> names of its neurons; both in the order of their rows.
    """

    family = FAMILY
    prefixes = ()
    tables = (UNITS, SESSIONS)
    config: PoyoConfig
    units: Annotated[dict[str, Names], Within(0, MAX_SESSIONS)]
    sessions: dict[str, int] = field(default_factory=dict, metadata=UNSTORED)

    def __post_init__(self) -> None:
        # The class is frozen, and the numbers follow from the names.
        counts = {session: len(names) for session, names in self.units.items()}
        object.__setattr__(self, "sessions", counts)

    @classmethod
    def of(
        cls, about: Mapping[str, Any], state: Mapping[str, Tensor], path: Path
    ) -> "PoyoCheckpoint":
        """Return tensors with what the JSON file says, in our form or that of the public code."""
        if "units" not in about and "published" in about:
            state, about = _public(state, about, path.with_suffix(".json"))
        return super().of(about, state, path)

    def build(self) -> PoyoNetwork:
        """Build the network.

        Raises
        ------
        CheckpointError
            Tensors are missing, unexpected or of another shape; it names them.
        """
        return load_strictly(lambda: network_of(self.config, self.units), self.state, self.source)

    def trained(self, session: str, frozen: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the tensors that a fine-tuning trains: with a frozen core, the tables."""
        return [v for k, v in self.state.items() if not frozen or k in self.tables]

    def renamed(self, names: Mapping[str, str]) -> "PoyoCheckpoint":
        """Return the model with other keys of sessions."""
        return replace(self, units={names.get(key, key): own for key, own in self.units.items()})

    def joined(self, other: "PoyoCheckpoint") -> "PoyoCheckpoint":
        """Return the network with the sessions of another one of the same core, too."""
        # The first row is that of the padding.
        tables = {k: torch.cat([self.state[k], other.state[k][1:]]) for k in self.tables}
        return replace(other, units={**self.units, **other.units}, state={**self.state, **tables})


def network_of(config: PoyoConfig, units: Mapping[str, tuple[str, ...]]) -> PoyoNetwork:
    """Return a new network for the neurons of some sessions."""
    words = [word for session, names in units.items() for word in words_of(session, names)]
    return PoyoNetwork(config, [PADDING, *words], [PADDING, *units])


def words_of(session: str, names: Sequence[str]) -> list[str]:
    """Return the words of a session's neurons in the vocabulary, as in the public code."""
    return [f"{session}/{name}" for name in names]


# -- weights of the public code, from `omnimouse convert-weights` -----------------------
def _public(
    state: Mapping[str, Tensor], about: Mapping[str, Any], described: Path
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and description of published weights in our form.

    The file had both vocabularies, mappings from words to rows, beside its tensors. Sizes
    are those of the tensors where the description states none; it states the tasks.

    Raises
    ------
    CheckpointError
        A vocabulary, a tensor or the tasks are missing, or do not fit.
    """
    state = {name.removeprefix(_PREFIX): value for name, value in state.items()}
    with refused_as(CheckpointError):
        stated = decode(dict[str, Any], about.get("config") or {}, described, "config")
        found = decode(dict[str, Any], about["published"], described, "published")
        beside: Any = found.get("settings")
        for name in str(found.get("part", "")).split("."):
            beside = beside.get(name) if name and isinstance(beside, dict) else beside
        beside = decode(dict[str, Any], beside, described, "published.settings")
        beside = {name.removeprefix(_PREFIX): value for name, value in beside.items()}
        rows, session_rows = (
            decode(dict[str, int], beside.get(name), described, name)
            for name in ("unit_emb.vocab", "session_emb.vocab")
        )
    if "tasks" not in stated:
        raise CheckpointError(
            f"{described} has no config.tasks: name each task with its number, its size and "
            "the channels of recordings that its values are."
        )
    sessions = sorted(session_rows.keys() - {PADDING}, key=session_rows.__getitem__)
    units: dict[str, list[str]] = {name: [] for name in sessions}
    for word in sorted(rows.keys() - {PADDING}, key=rows.__getitem__):
        session, _, name = word.rpartition("/")
        if session not in units:
            raise CheckpointError(f"{described}: neuron {word[:80]!r} is of no session of it.")
        units[session].append(name)
    # A session without neurons cannot be decoded.
    kept = [0, *(session_rows[name] for name in units if units[name])]
    units = {name: names for name, names in units.items() if names}
    # The rows of the neurons, session after session.
    order = [0, *(rows[w] for name, names in units.items() for w in words_of(name, names))]
    try:
        state |= {UNITS: state[UNITS][order], SESSIONS: state[SESSIONS][kept]}
        config = _sizes_of(state) | stated
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{described}: the weights have no {error} of {TITLE}.") from error
    default = PoyoConfig()
    assumed = [
        f"{name} of {getattr(default, name):g}, which no tensor tells"
        for name in ("window_s", "step_s", "rate_hz")
        if name not in stated
    ]
    return state, {**about, "config": config, "units": units, "assumed": assumed}


def _sizes_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the fields of a config that tensors tell; `KeyError` for a missing tensor."""
    omega = state["rotary_emb.omega"]
    head, turned = 2 * len(omega), 2 * int(omega.count_nonzero())
    n_latents, width = state["latent_emb.weight"].shape
    return {
        "n_latents": n_latents,
        "width": width,
        "depth": len({name.split(".")[1] for name in state if name.startswith("proc_layers.")}),
        "head": head,
        "cross_heads": len(state["enc_atn.to_q.weight"]) // head,
        "self_heads": len(state["proc_layers.0.0.to_qkv.weight"]) // (3 * head),
        "turned": turned,
        "shortest_s": 2 * math.pi / float(omega[0]),
        "longest_s": 2 * math.pi / float(omega[turned // 2 - 1]),
        "mult": state["enc_ffn.1.net.3.weight"].shape[1] // width,
    }


# -- prediction ------------------------------------------------------------------------
_TOKENS = 60_000
"""Most tokens that are computed at once, unless one window has more."""


@dataclass(slots=True, eq=False, repr=False)
class PoyoPredictor(NetworkPredictor):
    """Behaviour of the sessions that a network knows, from their responses.

    Parameters
    ----------
    net
        The network, with the embeddings of all its sessions.
    units
        Session -> names of its neurons.
    device
        Where it computes.
    checkpoint
        Returns the weights, from which a fine-tuning starts; None for a network that
        is still trained.
    """

    net: PoyoNetwork
    units: Mapping[str, tuple[str, ...]]
    device: torch.device
    checkpoint: Callable[[], PoyoCheckpoint] | None = None

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> "PoyoPredictor":
        """Load a predictor from a checkpoint (`Family.load`).

        Raises
        ------
        CheckpointError
            A file is missing, damaged or of another form.
        """
        path, place = Path(path), resolve_device(device)
        checkpoint = PoyoCheckpoint.read(path)
        net = checkpoint.build().requires_grad_(False).to(place)
        digest = weights_hash(checkpoint.state)
        return cls(path.stem, digest, net, checkpoint.units, place, lambda: checkpoint)

    @staticmethod
    def describe(path: Path) -> Description:
        """Return what `omnimouse info` prints of a checkpoint (`Family.describe`)."""
        checkpoint = PoyoCheckpoint.read(path)
        config = checkpoint.config
        others = sorted(config.tasks.keys() - config.decoded.keys())
        return checkpoint.described(
            TITLE,
            network=f"{config.depth} layers of width {config.width}, {config.self_heads} heads",
            sees="responses",
            decodes=", ".join(config.decoded) or "nothing",
            **({"tasks without a channel": ", ".join(others)} if others else {}),
        )

    @property
    def needs(self) -> Needs:
        """What it can see and predict, and which sessions it knows."""
        return Needs(
            predicts_behavior=bool(self.net.config.decoded),
            predicts_responses=False,
            spec=self.net.config.spec,
            sessions=frozenset(self.units),
            n_neurons={session: len(names) for session, names in self.units.items()},
            methods=frozenset({"embeddings"}),
        )

    @torch.inference_mode()
    def embeddings(self, session: Session, cancelled: Cancelled = never) -> np.ndarray:
        """Return the embeddings of the neurons, float32 (P, d)."""
        stop_if(cancelled)
        self.prepare(session)
        rows = self.net.units.rows(words_of(session.id, self.units[session.id]))
        return self.net.unit_emb.weight[torch.from_numpy(rows)].cpu().numpy()

    # -- parts ------------------------------------------------------------------------
    def _check(self, request: Request) -> None:
        window, mask, _ = request
        if not self.net.config.decoded:
            raise UnsupportedRequestError(
                f"{self.name!r} decodes no channel of a recording: its tasks are "
                f"{', '.join(self.net.config.tasks)}."
            )
        check_request(self.predictor_id, self.needs, window, mask)
        check_responses_shown(self.name, mask)
        self.prepare(window.session)

    def _key(self, window: Window, mask: Mask) -> Any:
        return np.packbits(mask.visible).tobytes()

    def _states(
        self, requests: Sequence[tuple[Window, Mask]], cancelled: Cancelled
    ) -> Sequence[np.ndarray]:
        """Return the decoded behaviour (time, channel) of windows of one session."""
        config = self.net.config
        queries = dict.fromkeys(config.decoded, behavior_times_s(config.spec))
        items = [
            window_item(window, self.units[window.session.id], queries, mask.visible)
            for window, mask in requests
        ]
        # Items of a batch are padded to the longest one.
        size = max(1, _TOKENS // max(1, *(item.n_tokens for item in items)))
        decoded: list[np.ndarray] = []
        for start in range(0, len(items), size):
            stop_if(cancelled)
            decoded += self._decoded(items[start : start + size], cancelled)
        return decoded

    @torch.inference_mode()
    def _decoded(self, items: list[Item], cancelled: Cancelled) -> list[np.ndarray]:
        net, tokens = self.net, self.net.tokens(items).to(self.device)
        latents = net.encode(tokens, lambda _name, _value: stop_if(cancelled))
        answers = net.answers(net.decode(latents, tokens), tokens)
        columns = torch.cat([answers[name] for name in net.config.decoded], -1)
        found = columns.unflatten(0, (len(items), -1)).cpu().numpy()
        # Nothing is known of a window without any recorded response that is shown.
        empty = np.array([item.n_tokens == 0 for item in items])
        return list(np.where(empty[:, None, None], np.float32(np.nan), found))


def behavior_times_s(spec: WindowSpec) -> np.ndarray:
    """Return the times of the behaviour samples in a window, float64."""
    assert spec.behavior is not None  # requests without are refused
    return np.arange(spec.n_behavior) / spec.behavior.rate_hz


def window_item(
    window: Window,
    units: Sequence[str],
    queries: Mapping[str, np.ndarray],
    shown: np.ndarray | None = None,
) -> Item:
    """Return the responses of a window that are recorded, and shown if that is given."""
    responses, session = window.responses, window.session.id
    known = np.isfinite(responses) & window.valid["responses"][:, None]
    known = known if shown is None else known & shown
    times_s, is_whole = window.spec.sample_times_s, bool(known.all())
    words = words_of(session, units)
    return Item(session, words, responses, times_s, queries, None if is_whole else known)
