"""Save and resume a training run.

    RUN/last.json                  name of the folder with the last complete save
    RUN/state-00001200/rank_0.pt   weights, average and optimisers of one rank
    RUN/model.safetensors, .json   the weights of all ranks
    RUN/best.safetensors, .json    the same for the best validation score so far

Every file is written atomically, and `last.json` after all others. A run that is
killed at any time therefore resumes from the save that `last.json` names. State files
contain tensors and plain containers only, and are read with `weights_only=True`. All
ranks must share one file system.
"""

import logging
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnimouse_model.errors import CheckpointError
from omnimouse_model.predict.checkpoint_file import BEST as BEST
from omnimouse_model.predict.checkpoint_file import FINISHED as FINISHED
from omnimouse_model.predict.checkpoint_file import MODEL as MODEL
from omnimouse_model.storage.tensors import load_pickle, write_pickle
from omnimouse_model.storage.trees import read_or_set_aside, shown
from omnimouse_model.storage.write import write_json
from omnimouse_model.training.distributed import Team

log = logging.getLogger(__name__)
LAST = "last.json"
_STATE = "state-"


@dataclass(frozen=True, slots=True)
class _Last:
    """Content of `last.json`."""

    state: str

    def __post_init__(self) -> None:
        # A name, and no path that leads elsewhere.
        if not _is_state(self.state):
            raise ValueError(f"state: found {shown(self.state)}, expected {_STATE}00000000")


def _is_state(name: str) -> bool:
    return re.fullmatch(rf"{_STATE}[0-9]{{8,18}}", name) is not None


def last_state(out: Path) -> Path | None:
    """Return the folder of the last complete save of a run; None if there is none.

    Raises
    ------
    CheckpointError
        `last.json` is damaged, and no save proves that it is complete.
    """
    path = out / LAST
    if not path.exists():
        return None
    stored = read_or_set_aside(path, _Last)
    if stored is not None:
        return out / stored.state
    # The damaged file was set aside. A kill may have left a part of a newer save.
    states = [p for p in out.glob(f"{_STATE}*") if _is_state(p.name)]
    found = max(filter(_is_complete, states), default=None)
    if found is not None:
        write_json(path, {"state": found.name})  # for whoever asks next
    elif states:
        raise CheckpointError(
            f"{path} is damaged, and no save in {out} is complete: the same command again "
            f"trains from the start. {out / MODEL} is the result so far."
        )
    return found


def _is_complete(folder: Path) -> bool:
    """Whether the states of all ranks are in a folder, each of which is written as a whole."""
    files = rank_files(folder)
    try:
        return bool(files) and read_state(files[0]).get("ranks", 1) == len(files)
    except CheckpointError:
        return False


def saved_step(out: Path) -> int:
    """Return the step of the last complete save of a run; -1 if there is none."""
    folder = last_state(out)
    return -1 if folder is None else int(folder.name.removeprefix(_STATE))


def rank_files(folder: Path) -> list[Path]:
    """Return the state files of a save, in rank order."""
    # Built from the count, because names sort rank_10 before rank_2.
    count = len(list(folder.glob("rank_*.pt")))
    return [folder / f"rank_{rank}.pt" for rank in range(count)]


def read_state(path: Path) -> dict[str, Any]:
    """Read the state of one rank, on the CPU.

    Raises
    ------
    CheckpointError
        The file is missing or damaged.
    """
    try:
        state = load_pickle(path)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} Another --out trains from the start; "
            f"{path.parents[1] / MODEL} is the result so far."
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is no state of a run; found {type(state)}.")
    return state


# -- saving -------------------------------------------------------------------------


def write_state(
    out: Path, step: int, state: dict[str, Any], team: Team, write_result: Callable[[Path], None]
) -> None:
    """Write the state of each rank, and name it as the last save.

    Parameters
    ----------
    state
        Tensors and plain containers of this rank.
    write_result
        Writes the weights; the main rank calls it with the folder of the states, which
        are complete.
    """
    folder = out / f"{_STATE}{step:08d}"
    folder.mkdir(exist_ok=True)
    write_pickle(folder / f"rank_{team.rank}.pt", state)
    # The main rank may name this save only after all ranks have written their files.
    team.wait()
    if team.is_main:
        # Files of a larger team that was killed while it saved.
        for path in rank_files(folder)[team.size :]:
            path.unlink()
        write_result(folder)
        write_json(out / LAST, {"state": folder.name})
        for other in out.iterdir():
            if re.fullmatch(r"state-\d{8}", other.name) and other != folder:
                shutil.rmtree(other, ignore_errors=True)
    # No rank may begin the next save while the main rank removes old folders.
    team.wait()


def saved_state(out: Path, team: Team, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what this rank has saved last in a run; None for a new run.

    Parameters
    ----------
    wanted
        Settings that a run cannot change.

    Raises
    ------
    ValueError
        One of them differs; the message names it.
    """
    folder = last_state(out)
    if folder is None:
        return None
    # A rank without a file of its own reads the last one: a check of the number of
    # processes then reports that number instead of a missing file.
    saved = read_state(folder / f"rank_{min(team.rank, len(rank_files(folder)) - 1)}.pt")
    for name, value in wanted.items():
        # Saves of before lack what was added to the settings.
        if (found := saved.get(name, value)) != value:
            raise ValueError(f"{folder} was trained with {_difference(name, found, value)}")
    return saved


def _difference(name: str, saved: Any, wanted: Any) -> str:
    """Return what a save was trained with, what is given now, and what to do."""
    if name == "ranks":
        return (
            f"{saved} processes, these are {wanted}: the sessions are shared out otherwise. "
            f"Start it with {saved}."
        )
    if name in ("sessions", "animals") and isinstance(saved, dict):
        return (
            f"other {name}: {saved}; found {wanted}. Give the same ones in the same order, "
            "or another --out."
        )
    return f"another {name}: {saved}; found {wanted}. Use the same, or another --out."
