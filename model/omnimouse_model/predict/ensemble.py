"""An ensemble: the mean of its members' rates, and a file that names them.

Members are several trainings (seeds) of a model. Rates are averaged, not their
logarithms; decoded behaviour too.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.errors import CheckpointError
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import (
    Encoded,
    Needs,
    Prediction,
    Predictor,
    Request,
)

SUFFIX = ".ensemble.json"
FORMAT = 1


@dataclass(slots=True, eq=False)
class Ensemble:
    """The mean of several predictors; what one refuses, all do.

    Raises
    ------
    ValueError
        Fewer than two members, the same twice, or members of different specs.
    """

    members: tuple[Predictor, ...]
    predictor_id: str = field(init=False)

    def __post_init__(self) -> None:
        names = [member.predictor_id for member in self.members]
        if len(names) < 2 or len(set(names)) < len(names):
            raise ValueError(
                "An ensemble has two different members or more, found "
                f"{', '.join(names) or 'none'}."
            )
        specs = {member.needs.spec for member in self.members}
        if len(specs) > 1:
            raise ValueError(
                "The members of an ensemble read windows of one spec; those of "
                f"{', '.join(names)} differ."
            )
        digest = blake2b("\n".join(names).encode(), digest_size=4).hexdigest()
        self.predictor_id = f"ensemble of {len(names)} ({digest})"

    @property
    def needs(self) -> Needs:
        """What all of them can serve, seen by any of them."""
        each = [member.needs for member in self.members]
        known = [need.sessions for need in each if need.sessions is not None]
        return replace(
            each[0],
            sees_responses=any(need.sees_responses for need in each),
            sees_video=any(need.sees_video for need in each),
            sees_behavior=any(need.sees_behavior for need in each),
            predicts_behavior=all(need.predicts_behavior for need in each),
            withholds_video=all(need.withholds_video for need in each),
            sessions=frozenset.intersection(*known) if known else None,
        )

    def prepare(self, session: Session) -> None:
        """Prepare every member."""
        for member in self.members:
            member.prepare(session)

    def encode(self, window: Window, mask: Mask) -> Encoded:
        """What each member makes of it."""
        each = tuple(member.encode(window, mask) for member in self.members)
        return Encoded(window, mask, each)

    def decode(self, encoded: Encoded, neurons: np.ndarray | None = None) -> Prediction:
        """The mean of what each member predicts."""
        pairs = zip(self.members, encoded.state, strict=True)
        return self._mean([member.decode(state, neurons) for member, state in pairs])

    def predict(
        self, window: Window, mask: Mask, neurons: np.ndarray | None = None
    ) -> Prediction:
        """`decode(encode(window, mask), neurons)`."""
        return self.decode(self.encode(window, mask), neurons)

    def predict_many(
        self,
        requests: Iterable[Request],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Prediction]:
        """Answer requests in order, each member in its own way, until cancelled."""
        asked = list(requests)
        answers = [member.predict_many(asked, cancelled) for member in self.members]
        for each in zip(*answers, strict=False):
            yield self._mean(each)

    def _mean(self, each: Sequence[Prediction]) -> Prediction:
        first = each[0]
        rates = np.asarray(
            np.mean([one.responses for one in each], axis=0, dtype=np.float64)
        )
        decoded = [one.behavior for one in each if one.behavior is not None]
        behavior = None
        if len(decoded) == len(each):
            mean = np.asarray(np.mean(decoded, axis=0, dtype=np.float64))
            behavior = mean.astype(np.float32)
        told = dict.fromkeys(one.status for one in each if one.status != "ok")
        return replace(
            first,
            responses=rates.astype(np.float32),
            behavior=behavior,
            predictor_id=self.predictor_id,
            status="; ".join(told) or "ok",
        )


def load_ensemble(path: Path, load: Callable[[str], Predictor]) -> Ensemble:
    """Read what `save_ensemble` wrote; `load` loads a member by its name or path.

    Raises
    ------
    CheckpointError
        It is no such file, or a member is gone or another than it was.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        version = facts["omnimouse_ensemble"]
        told = [(str(m["path"]), str(m["predictor_id"])) for m in facts["members"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is not an ensemble's file: {error!r}."
        ) from error
    if version != FORMAT:
        raise CheckpointError(
            f"{path} has format {version}, this version reads {FORMAT}."
        )
    members = tuple(load(name) for name, _ in told)
    for member, (name, known) in zip(members, told, strict=True):
        if member.predictor_id != known:
            raise CheckpointError(
                f"{name} is {member.predictor_id}, but {path.name} was made with "
                f"{known}: make the ensemble anew."
            )
    return Ensemble(members)
