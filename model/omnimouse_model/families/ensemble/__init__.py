"""An ensemble: the mean of the rates of several predictors, its file, and its `Family`.

Members are usually several trainings (seeds) of one model. Rates are averaged and not
their logarithms, because the mean rate is what the members estimate; decoded behaviour
is averaged too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from reprlib import repr as shortened
from typing import Literal

import numpy as np

from omnimouse_model.data.session import Session, Window
from omnimouse_model.errors import CheckpointError
from omnimouse_model.masks import Mask
from omnimouse_model.own_families import REGISTRY
from omnimouse_model.predict.family import Family, later
from omnimouse_model.predict.predictor import (
    Encoded,
    Needs,
    Prediction,
    Predictor,
    Request,
    checked,
)
from omnimouse_model.progress import Cancelled, never
from omnimouse_model.storage.files import is_there, real_path
from omnimouse_model.storage.trees import decode, read_json, refused_as
from omnimouse_model.storage.write import write_json

# Members are of any family: the registry lies above.
_LOAD, _LOAD_MEMBER, _NAMES = (
    later(f"{REGISTRY}:{name}") for name in ("load_predictor", "load_member", "predictor_names")
)
SUFFIX = ".ensemble.json"
FORMAT = 1
MAX_MEMBERS = 32
MAX_DEPTH = 3
"""Nested ensembles; each is a member of the one before."""


@dataclass(slots=True, eq=False, repr=False, init=False)
class Ensemble(Predictor):
    """The mean of several predictors; a request that one refuses is refused.

    Examples
    --------
    >>> both = om.Ensemble(["mean", om.load_predictor("last")])
    >>> both.predictor_id.startswith("ensemble of 2")
    True

    Parameters
    ----------
    members
        Predictors, or their names or paths.

    Raises
    ------
    ValueError
        Fewer than two members, the same twice, or members of different specs.
    """

    members: tuple[Predictor, ...]
    predictor_id: str

    def __init__(self, members: Iterable[Predictor | str | Path]) -> None:
        is_one = isinstance(members, str) or not isinstance(members, Iterable)
        listed = [members] if is_one else members
        # A value of another type gets the error of `load_predictor`.
        self.members = tuple(m if isinstance(m, Predictor) else _LOAD(m) for m in listed)
        names = [member.predictor_id for member in self.members]
        if len(names) < 2 or len(set(names)) < len(names):
            raise ValueError(
                "An ensemble has two different members or more, found "
                f"{', '.join(names) or 'none'}."
            )
        if len({member.needs.spec for member in self.members}) > 1:
            raise ValueError(
                "The members of an ensemble read windows of one spec; those of "
                f"{', '.join(names)} differ."
            )
        # The hash of the members' ids stands for all their weights.
        digest = blake2b("\n".join(names).encode(), digest_size=4).hexdigest()
        self.predictor_id = f"ensemble of {len(names)} ({digest})"

    @property
    def needs(self) -> Needs:
        """Inputs that any member sees, and requests that all members serve."""
        needs = [member.needs for member in self.members]
        session_sets = [need.sessions for need in needs if need.sessions is not None]
        return replace(
            needs[0],
            sees_responses=any(need.sees_responses for need in needs),
            sees_video=any(need.sees_video for need in needs),
            sees_behavior=any(need.sees_behavior for need in needs),
            predicts_behavior=all(need.predicts_behavior for need in needs),
            predicts_responses=all(need.predicts_responses for need in needs),
            always_sees_video=any(need.always_sees_video for need in needs),
            withholds_video=all(need.withholds_video for need in needs),
            sessions=frozenset.intersection(*session_sets) if session_sets else None,
            # Vectors and states of different trainings have no mean.
            methods=frozenset(),
            fits=max(need.fits for need in needs),
        )

    def prepare(self, session: Session) -> None:
        """Prepare every member."""
        for member in self.members:
            member.prepare(session)

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        """Encode with every member."""
        states = tuple(member.encode(window, mask, cancelled) for member in self.members)
        return Encoded(window, mask, states)

    def decode(
        self, encoded: Encoded, neurons: np.ndarray | None = None, cancelled: Cancelled = never
    ) -> Prediction:
        """Return the mean of the members' predictions."""
        pairs = zip(self.members, encoded.state, strict=True)
        found = [member.decode(state, neurons, cancelled) for member, state in pairs]
        return self._mean((encoded.window, encoded.mask, neurons), found)

    def predict_many(
        self, requests: Iterable[Request], cancelled: Cancelled = never
    ) -> Iterator[Prediction]:
        """Yield the mean predictions of requests in order."""
        # Members batch requests, each in its own way, so each gets all of them.
        listed = list(requests)
        of_members = [member.predict_many(listed, cancelled) for member in self.members]
        for request, *predictions in zip(listed, *of_members, strict=True):
            yield self._mean(request, predictions)

    def _mean(self, request: Request, answers: Sequence[Prediction]) -> Prediction:
        window, mask, neurons = request
        predictions: list[Prediction] = []
        for member, answer in zip(self.members, answers, strict=True):
            asked = window, mask, neurons
            # Members that answer for other neurons than the first one have no mean with it.
            found = checked(member.predictor_id, asked, answer, is_whole=bool(predictions))
            predictions.append(found)
            # Members that choose the neurons themselves may order them differently.
            neurons = predictions[0].neurons
        decoded = [one.behavior for one in predictions if one.behavior is not None]
        remarks = dict.fromkeys(one.status for one in predictions if one.status != "ok")
        return replace(
            predictions[0],
            responses=_mean([one.responses for one in predictions]),
            # A member without decoded behaviour would be missing in the mean.
            behavior=_mean(decoded) if len(decoded) == len(predictions) else None,
            # A sample that one member could not compute has no mean.
            valid=np.logical_and.reduce([one.valid for one in predictions]),
            predictor_id=self.predictor_id,
            # Intervals of the members do not give an interval of their mean.
            band=None,
            status="; ".join(remarks) or "ok",
        )


def _mean(arrays: Sequence[np.ndarray]) -> np.ndarray:
    # In float64: the mean then does not depend on the order of the members.
    mean = np.asarray(np.mean(arrays, axis=0, dtype=np.float64))
    return mean.astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Member:
    path: str
    predictor_id: str


@dataclass(frozen=True, slots=True)
class _Stored:
    """Content of the file."""

    omnimouse_ensemble: Literal[1]
    members: tuple[_Member, ...]


def load_ensemble(
    path: Path, load: Callable[[str], Predictor], *, above: tuple[tuple[int, int], ...] = ()
) -> Ensemble:
    """Load the ensemble in a file of `save_ensemble`.

    Parameters
    ----------
    load
        Loads a member by its name or absolute path.
    above
        Device and inode of the ensembles of which this one is a member.

    Raises
    ------
    CheckpointError
        The file is no ensemble, a member is missing, has changed, is outside the folder
        of the file, or contains the ensemble itself.
    ConnectError
        A member is on a server that is not allowed.
    """
    info = path.stat()
    above = (*above, (info.st_dev, info.st_ino))
    if above[-1] in above[:-1]:
        raise CheckpointError(f"{path} is a member of itself.")
    if len(above) > MAX_DEPTH:
        raise CheckpointError(f"{path}: ensembles of ensembles are {MAX_DEPTH} deep at most.")
    with refused_as(lambda why: CheckpointError(f"{path} is not an ensemble's file: {why}")):
        stored = decode(_Stored, read_json(path), path, is_open=True)
    listed = [(member.path, member.predictor_id) for member in stored.members]
    if len(dict(listed)) < 2:
        raise CheckpointError(
            f"{path}: members are {shortened(listed)}; expected at least two, all different."
        )
    if len(listed) > MAX_MEMBERS:
        raise CheckpointError(
            f"{path} has {len(listed):,} members; at most {MAX_MEMBERS} are averaged."
        )

    def member_of(name: str) -> Predictor:
        if (place := _place_inside(path, name)) is None:
            # Registries of families load this module, and the code of servers takes long.
            from omnimouse_model.data.hub.servers import check_connection

            check_connection(name, path)
            return load(name)
        if place.name.endswith(SUFFIX) and place.is_file():
            return load_ensemble(place, load, above=above)
        return load(str(place))

    try:
        members = tuple(member_of(name) for name, _ in listed)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: a member cannot be loaded: {error}") from error
    for member, (name, saved_id) in zip(members, listed, strict=True):
        # Scores of an ensemble name its members: other weights are another ensemble.
        if member.predictor_id != saved_id:
            raise CheckpointError(
                f"{name} is {member.predictor_id}, but {path.name} was made with "
                f"{shortened(saved_id)}: make the ensemble anew."
            )
    return Ensemble(members)


def _place_inside(path: Path, name: str) -> Path | None:
    """Return the place of a member in the folder of an ensemble; None for a name.

    Raises
    ------
    CheckpointError
        It is a path out of the folder, also through a link.
    """
    folder = path.absolute().parent
    try:
        place = folder / name
        # Of a server of Windows, it is not even asked whether the file is there.
        is_near = place.drive == folder.drive
        is_there = is_near and place.exists()
        is_path = is_there or Path(name).is_absolute() or ".." in Path(name).parts
        is_inside = is_near and real_path(place).is_relative_to(real_path(folder))
    except (OSError, ValueError):  # no name of a file
        return None
    if is_path and not is_inside:
        raise CheckpointError(
            f"{path}: the member {shortened(name)} is outside the folder of the file. Put the "
            "members into that folder or below it, and make the ensemble anew."
        )
    return place if is_there else None


# -- writing ---------------------------------------------------------------------------
def save_ensemble(
    path: str | Path, members: Sequence[str | Path] | Mapping[str, Predictor], device: str = "auto"
) -> Path:
    """Write the file of an ensemble, the mean of some predictors.

    Examples
    --------
    >>> path = om.save_ensemble("both.ensemble.json", ["mean", "last"])
    >>> len(om.load_predictor(path).members)
    2

    Notes
    -----
    The file has the name of each member, or its path in the folder of the file, and its
    id; `load_predictor` refuses it if the weights of a member have changed.

    Parameters
    ----------
    members
        Names or paths, or the loaded predictors of them.

    Raises
    ------
    ValueError
        Fewer than two members, a path that does not end in `.ensemble.json`, or a member
        outside the folder of the file.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIX):
        raise ValueError(f"An ensemble's file ends in {SUFFIX}, unlike {path.name}.")
    names = [_member_name(path, str(member)) for member in members]
    # Loaded to check that the members fit together, and for the ids of their weights.
    if isinstance(members, Mapping):
        loaded = [*members.values()]
    else:
        loaded = [_LOAD(member, device=device) for member in members]
    pairs = zip(names, Ensemble(tuple(loaded)).members, strict=True)
    listed = [{"path": name, "predictor_id": member.predictor_id} for name, member in pairs]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"omnimouse_ensemble": FORMAT, "members": listed})
    return path


def _member_name(path: Path, member: str) -> str:
    """Return a registered name, or a path from the folder of an ensemble."""
    if member in _NAMES() or not is_there(member):
        return member
    folder, place = real_path(path.absolute().parent), real_path(member)
    if not place.is_relative_to(folder):
        raise ValueError(
            f"{member} is outside {folder}: an ensemble's file is in a folder that contains "
            "its members, so that both can be moved together."
        )
    return place.relative_to(folder).as_posix()


FAMILY = Family(
    "ensemble",
    title="Ensemble",
    summary="Mean of the rates of several predictors, such as trainings with other seeds.",
    recognises=lambda path: path.name.endswith(SUFFIX) and path.is_file(),
    load=lambda path, device: load_ensemble(path, partial(_LOAD_MEMBER, device=device)),
)
