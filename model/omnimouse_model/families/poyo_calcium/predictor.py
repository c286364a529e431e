"""Calcium POYO+ as a predictor: behaviour decoded from visible responses.

Each visible response is a token, and hidden or missing ones are none, so that any mask
can be answered. Responses are not predicted, and behaviour is not read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.families.parts.network_predictor import NetworkPredictor
from omnimouse_model.families.poyo_calcium.checkpoint import (
    TITLE,
    PoyoCheckpoint,
    words_of,
)
from omnimouse_model.families.poyo_calcium.network import Item, PoyoNetwork
from omnimouse_model.masks import Mask
from omnimouse_model.predict.checkpoint_file import describe_weights, weights_hash
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.family import Description
from omnimouse_model.predict.predictor import (
    Needs,
    Request,
    check_request,
    check_responses_shown,
)
from omnimouse_model.progress import Cancelled, never, stop_if

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
        return describe_weights(
            TITLE,
            checkpoint.state,
            config,
            checkpoint.sessions,
            checkpoint.assumed,
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
