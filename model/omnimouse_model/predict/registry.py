"""Build a predictor from a name, a checkpoint, an ensemble or the model hub."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from omnimouse_model.atomic import atomic_path
from omnimouse_model.data.hub.fetch_session import target_of
from omnimouse_model.data.hub.names import CHECKPOINTS, hub_place
from omnimouse_model.data.session import Session
from omnimouse_model.errors import CheckpointError, FetchError
from omnimouse_model.predict.ensemble import FORMAT as ENSEMBLE_FORMAT
from omnimouse_model.predict.ensemble import SUFFIX as ENSEMBLE_SUFFIX
from omnimouse_model.predict.ensemble import Ensemble, load_ensemble
from omnimouse_model.predict.families import NAIVE as NAIVE
from omnimouse_model.predict.families import builders, load_of_family
from omnimouse_model.predict.predictor import Predictor

Sessions = Sequence[Session] | None


def predictor_names() -> tuple[str, ...]:
    """Names that `load_predictor` knows on this machine; see also `hub_place`."""
    return tuple(builders())


def is_predictor(name: str) -> bool:
    """Whether a name is known, or a file or folder of that name is there."""
    if name in builders():
        return True
    try:
        return bool(name) and (Path(name).exists() or hub_place(name) is not None)
    except (FetchError, OSError):  # an address of the hub that is none, a long name
        return False


def must_be_fetched(name: str) -> bool:
    """Whether a name stands for what the hub has and this machine has not yet."""
    if name in builders():
        return False
    try:
        if not name or Path(name).exists():
            return False
        place = hub_place(name)
        return place is not None and not target_of(place, None).exists()
    except FetchError:  # an address that is none: fetching says why
        return True
    except OSError:  # a name too long for a path
        return False


def load_predictor(
    name_or_path: str | Path,
    sessions: Sessions = None,
    device: str = "auto",
) -> Predictor:
    """Build a predictor by name, or from a checkpoint file or folder.

    Parameters
    ----------
    name_or_path
        One of `predictor_names()`, a path (of an ensemble's file too), or what the
        model hub has: `omnimouse-5M` and its like, `hf://owner/name`; fetched the
        first time, see `fetch_checkpoint`.
    sessions
        Prepared at once where given; otherwise each on its first use.
    device
        "auto", "cpu", "cuda" or "mps".

    Examples
    --------
    >>> om.load_predictor("ridge", [session]).predictor_id
    'ridge'
    >>> om.load_predictor("demo").needs.sees_video
    True
    """
    predictor = _built(name_or_path, device)
    for session in sessions or ():
        predictor.prepare(session)
    return predictor


def _built(name_or_path: str | Path, device: str) -> Predictor:
    if str(name_or_path) in builders():
        return builders()[str(name_or_path)](device)
    path = Path(name_or_path)
    if not path.exists() and (place := hub_place(str(name_or_path))) is not None:
        from omnimouse_model.predict.omnimouse.hub_checkpoints import fetch_checkpoint

        path = fetch_checkpoint(str(place))
    if path.name.endswith(ENSEMBLE_SUFFIX) and path.is_file():
        return load_ensemble(path, partial(load_predictor, device=device))
    if path.exists():
        return load_of_family(path, device)
    raise CheckpointError(
        f"There is no predictor {str(name_or_path)!r}: no such file or folder, and the "
        f"names are {', '.join(builders())} and, from the model hub, "
        f"{', '.join(CHECKPOINTS)}."
    )


def load_in_process(
    name: str, session: Session | None, device: str = "auto"
) -> Predictor:
    """Build a predictor in this process; the live engine prepares the session."""
    return load_predictor(name, device=device)


def save_ensemble(
    path: str | Path, members: Sequence[str | Path], device: str = "auto"
) -> Path:
    """Write a file that stands for the mean of some predictors.

    It names each one's path (or name) and hash; `load_predictor` reads it and refuses
    it when a member is no longer what it was.

    Raises
    ------
    ValueError
        Fewer than two members, or a path that does not end in `.ensemble.json`.

    Examples
    --------
    >>> path = om.save_ensemble("both.ensemble.json", ["mean", "last"])
    >>> len(om.load_predictor(path).members)
    2
    """
    path = Path(path)
    if not path.name.endswith(ENSEMBLE_SUFFIX):
        raise ValueError(
            f"An ensemble's file ends in {ENSEMBLE_SUFFIX}, unlike {path.name}."
        )
    names = [_full_name(member) for member in members]
    found = Ensemble(tuple(load_predictor(name, device=device) for name in names))
    facts = {
        "omnimouse_ensemble": ENSEMBLE_FORMAT,
        "members": [
            {"path": name, "predictor_id": member.predictor_id}
            for name, member in zip(names, found.members, strict=True)
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return path


def _full_name(name: str | Path) -> str:
    return str(Path(name).resolve()) if Path(name).exists() else str(name)
