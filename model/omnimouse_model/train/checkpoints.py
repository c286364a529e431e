"""Save and resume a training run.

    RUN/last.json                  name of the folder with the last complete save
    RUN/state-00001200/rank_0.pt   weights, average and optimisers of one rank
    RUN/model.safetensors, .json   the weights of all ranks (`nets.checkpoint`)
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

from torch import Tensor

from omnimouse_model.errors import CheckpointError
from omnimouse_model.nets.checkpoint import Checkpoint, save_checkpoint
from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.storage.state import read_or_set_aside
from omnimouse_model.storage.tensors import load_pickle, write_pickle
from omnimouse_model.storage.typed import shown
from omnimouse_model.storage.write import write_json
from omnimouse_model.train.config import Group, TrainConfig
from omnimouse_model.train.distributed import Team
from omnimouse_model.train.run import Run

log = logging.getLogger(__name__)
LAST = "last.json"
_STATE = "state-"
MODEL, BEST = "model.safetensors", "best.safetensors"
# Parameters with this prefix belong to the sessions of one rank. Animal vectors do not
# have it: with several ranks they are part of the core (`run.split_parameters`).
OWN = "sess_params."


@dataclass(frozen=True, slots=True)
class _Last:
    """Content of `last.json`."""

    state: str

    def __post_init__(self) -> None:
        # A name, and no path that leads elsewhere.
        if not re.fullmatch(rf"{_STATE}\d{{8,}}", self.state):
            raise ValueError(f"state: found {shown(self.state)}, expected {_STATE}00000000")


def last_state(out: Path) -> Path | None:
    """Return the folder of the last complete save of a run; None if there is none."""
    path = out / LAST
    if not path.exists():
        return None
    stored = read_or_set_aside(path, _Last)
    if stored is not None:
        return out / stored.state
    # The damaged file was set aside. The last save is complete, because files of a save
    # are removed only after the next one.
    return max(out.glob(f"{_STATE}*"), default=None)


def best_or_last(out: Path) -> Path:
    """Return the weights of the best validation of a run, else those of its last save.

    A run of few steps may have no score: constant predictions have no correlation.
    """
    best = out / BEST
    return best if best.exists() else out / MODEL


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
def save(run: Run, out: Path, team: Team) -> None:
    """Save the state of the run, and its result as a checkpoint.

    Every rank must call it: ranks wait for each other.
    """

    def write_result(folder: Path) -> None:
        _save_result(run, out, folder)

    write_state(out, run.step, _state(run, team), team, write_result)


def write_state(
    out: Path,
    step: int,
    state: dict[str, Any],
    team: Team,
    write_result: Callable[[Path], None],
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
        _remove_others(folder)
    # No rank may begin the next save while the main rank removes old folders.
    team.wait()


def state_of_rank(folder: Path, team: Team) -> dict[str, Any]:
    """Read the state that this rank has saved in a folder."""
    # A rank without a file of its own reads the last one: a check of the number of
    # processes then reports that number instead of a missing file.
    return read_state(folder / f"rank_{min(team.rank, len(rank_files(folder)) - 1)}.pt")


def check_saved(saved: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    """Check that a save belongs to this training.

    Raises
    ------
    ValueError
        A setting differs; the message names it.
    """
    for name, value in wanted.items():
        if saved.get(name) != value:
            raise ValueError(
                f"{folder} was trained with {name} {saved.get(name)}; found {value}. "
                "Use the same, or another --out."
            )


def _state(run: Run, team: Team) -> dict[str, Any]:
    """Return the state that one rank saves; only the main rank saves the core."""
    average = run.average
    return {
        "step": run.step,
        "seconds": run.seconds,
        "best": run.best,
        "ranks": team.size,
        "model": repr(run.net.config),
        "sessions": run.net.session_sizes,
        "animals": dict(run.net.animals),
        "net": _own_weights(run.net, team),
        "average": None if average is None else _own_weights(average, team),
        "core": run.optimisers["core"].state_dict() if team.is_main else None,
        "session": run.optimisers["session"].state_dict(),
    }


def _own_weights(net: OmniMouse, team: Team) -> dict[str, Tensor]:
    """Return the weights that this rank saves."""
    state = dict(net.state_dict())
    if team.is_main:
        return state
    return {name: value for name, value in state.items() if name.startswith(OWN)}


def _save_result(run: Run, out: Path, folder: Path) -> None:
    """Write the weights of all ranks, also as the best if this step is best."""
    net = run.result
    # Sessions of other ranks exist only in their state files, which are complete here.
    if len(run.counts) > len(net.sess_params):
        weights = dict(net.state_dict())
        for path in rank_files(folder)[1:]:
            state = read_state(path)
            weights |= state["average"] or state["net"]
        net = Checkpoint(net.config, weights, run.counts, net.animals, str(folder)).build()
    card = {"steps": run.step, "hours": round(run.seconds / 3600, 2)}
    save_checkpoint(out / MODEL, net, card)
    # (-inf, 0) is the value before the first validation, and 0 can be a valid step.
    if run.best[1] == run.step and run.best[0] > float("-inf"):
        save_checkpoint(out / BEST, net, card | {"validation": run.best[0]})


def _remove_others(folder: Path) -> None:
    """Remove older states."""
    for other in folder.parent.iterdir():
        if re.fullmatch(r"state-\d{8}", other.name) and other != folder:
            shutil.rmtree(other, ignore_errors=True)


# -- resuming -----------------------------------------------------------------------
def resume(run: Run, out: Path, config: TrainConfig, team: Team) -> bool:
    """Load the last save of a run into `run`; return False if there is none.

    Raises
    ------
    ValueError
        The save has another model config, other sessions or another number of ranks.
    """
    folder = last_state(out)
    if folder is None:
        return False
    state = state_of_rank(folder, team)
    _check(state, run, folder, team)
    main = state if team.is_main else read_state(folder / "rank_0.pt")
    run.net.load_state_dict(_joined(main, state, "net"))
    if run.average is not None:
        # The config may have turned averaging on only after this save.
        which = "average" if state["average"] else "net"
        run.average.load_state_dict(_joined(main, state, which))
    settings = {"core": config.core, "session": config.session}
    for name, saved in (("core", main["core"]), ("session", state["session"])):
        optimiser = run.optimisers[name]
        # load_state_dict also restores the saved settings; those of the config apply.
        optimiser.load_state_dict(saved)
        optimiser.param_groups[0] |= _now(settings[name])
    run.step, run.seconds = state["step"], state["seconds"]
    run.best = tuple(state["best"])
    log.info("resumed at step %d", run.step)
    return True


def _now(group: Group) -> dict[str, Any]:
    """Return the optimiser settings of the current config, without learning rate."""
    weight_decay = group.weight_decay
    return {"betas": group.betas, "eps": group.eps, "weight_decay": weight_decay}


def _joined(main: dict[str, Any], state: dict[str, Any], which: str) -> dict[str, Tensor]:
    """Return the weights of the main rank's core and of a rank's own sessions."""
    own: dict[str, Tensor] = state[which]
    core = {k: v for k, v in main[which].items() if not k.startswith(OWN)}
    return core | {k: v for k, v in own.items() if k.startswith(OWN)}


def _check(state: dict[str, Any], run: Run, folder: Path, team: Team) -> None:
    """Raise ValueError if a saved state does not belong to this run."""
    where = f"{folder} was trained with"
    if state["model"] != repr(run.net.config):
        raise ValueError(
            f"{where} another model config; use another --out, or take the config it "
            f"was trained with: {state['model']}"
        )
    if state["ranks"] != team.size:
        raise ValueError(
            f"{where} {state['ranks']} processes, these are {team.size}: the sessions "
            f"are shared out otherwise. Start it with {state['ranks']}."
        )
    sizes = run.net.session_sizes
    if state["sessions"] != sizes or state["animals"] != run.net.animals:
        raise ValueError(
            f"{where} other sessions: {sorted(state['sessions'])}; found "
            f"{sorted(sizes)}. Give the same ones in the same order, or another --out."
        )
