"""Checkpoints of digital twins: one core, and the other parts of each session.

Weights are safetensors; a JSON file beside them has the config, the size of the frames
and the sessions. Tensors of a session are named `sessions.<key>.<tensor>`; `mean` is
the mean response of each neuron in the train tier, in units of the recording, of which
the rates are multiples; NaN if it is not known.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import torch
from torch import Tensor

from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.twin import RELEASED
from omnimouse_model.families.twin.network import TwinConfig, TwinNetwork
from omnimouse_model.predict.checkpoint_file import (
    checkpoint_file,
    config_of,
    load_strictly,
    read_checkpoint,
    save_checkpoint,
    session_counts,
)
from omnimouse_model.storage.tables import csv_rows
from omnimouse_model.storage.tensors import read_tensors
from omnimouse_model.storage.trees import refused_as

FAMILY = "twin"
MEAN = "mean"
_COUNTS = ("streams", "gaze_layers", "state_layers", "block_layers")
"""Fields of which each unit is a layer or a copy."""


@dataclass(frozen=True, slots=True)
class TwinCheckpoint:
    """Twins that share a core, read from disk but not built.

    Attributes
    ----------
    config
        Sizes of the network.
    frame_size
        Height and width in pixels of the frames on which it was trained.
    core
        Tensors of the core, by name.
    sessions
        Session key -> tensors of the other parts, and `mean`.
    card
        Information for people: training, scores.
    """

    config: TwinConfig
    frame_size: tuple[int, int]
    core: Mapping[str, Tensor]
    sessions: Mapping[str, Mapping[str, Tensor]]
    source: str
    card: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        states: Mapping[str, Mapping[str, Tensor]],
        means: Mapping[str, Tensor],
        config: TwinConfig,
        frame_size: tuple[int, int],
        card: Mapping[str, Any] | None = None,
    ) -> "TwinCheckpoint":
        """Return the checkpoint of the networks of some sessions with one core.

        Parameters
        ----------
        states, means
            State dict of the network, and mean response of each neuron, by session.
        """
        core: dict[str, Tensor] = {}
        sessions: dict[str, dict[str, Tensor]] = {}
        for key, state in states.items():
            tensors = {name: value.detach().cpu() for name, value in state.items()}
            core |= {k: v for k, v in tensors.items() if k.startswith("core.")}
            own = {k: v for k, v in tensors.items() if k not in core}
            sessions[key] = own | {MEAN: means[key].to(torch.float32)}
        return cls(config, frame_size, core, sessions, "", card)

    def build(self, session: str) -> TwinNetwork:
        """Build the network of one session.

        Raises
        ------
        CheckpointError
            Tensors are missing, unexpected or of another shape; it names them.
        """
        own = {k: v for k, v in self.sessions[session].items() if k != MEAN}
        return load_strictly(
            lambda: TwinNetwork(self.config, self.n_units(session)),
            {**self.core, **own},
            f"{self.source} (session {session})",
        )

    def n_units(self, session: str) -> int:
        """Return the number of neurons of a session."""
        return len(self.sessions[session][MEAN])


def save_twins(path: Path, checkpoint: TwinCheckpoint) -> None:
    """Write a checkpoint to a file and its description."""
    tensors = dict(checkpoint.core)
    for key, own in checkpoint.sessions.items():
        tensors |= {f"sessions.{key}.{name}": value for name, value in own.items()}
    about = {
        "config": asdict(checkpoint.config),
        "frame_size": list(checkpoint.frame_size),
        "sessions": {key: checkpoint.n_units(key) for key in checkpoint.sessions},
        "card": dict(checkpoint.card or {}),
    }
    save_checkpoint(path, tensors, FAMILY, about)


def read_twins(path: Path) -> TwinCheckpoint:
    """Read a checkpoint of twins.

    Raises
    ------
    CheckpointError
        A file is missing, damaged or of another form; the message names the field.
    """
    path = checkpoint_file(path)
    described = path.with_suffix(".json")
    tensors, _, description, _ = read_checkpoint(path, FAMILY)
    core = {k: v for k, v in tensors.items() if k.startswith("core.")}
    sessions: dict[str, dict[str, Tensor]] = {}
    for key, count in session_counts(description, described).items():
        prefix = f"sessions.{key}."
        own = {
            name.removeprefix(prefix): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
        if MEAN not in own or own[MEAN].shape != (count,):
            raise CheckpointError(f"{path} has no {prefix}{MEAN} of {count} neurons.")
        sessions[key] = own
    return TwinCheckpoint(
        config_of(TwinConfig, description, described, _COUNTS),
        _frame_size_of(description, described),
        core,
        sessions,
        str(path),
        description.get("card"),
    )


def _frame_size_of(description: Mapping[str, Any], path: Path) -> tuple[int, int]:
    match description.get("frame_size"):
        case [int(height), int(width)] if 1 < height <= 4096 and 1 < width <= 4096:
            return height, width
    raise CheckpointError(
        f"{path}: frame_size is {shortened(description.get('frame_size'))}; expected "
        "height and width."
    )


# -- files of the released digital twin, read without executing code ------------------
# A folder of the release has `params_core.pt` with the shared core, one
# `params_{session}_{scan}.pt` per scan with everything else, `scans.csv` and `units.csv`.
# The training script of the release writes all tensors of one scan to one file instead.
_MAX_TABLE = 64 * 2**20
_SCAN = re.compile(r"(\d{1,4})[-_](\d{1,4})")


@dataclass(frozen=True, slots=True)
class ReleasedTwin:
    """Weights of one scan.

    Attributes
    ----------
    config
        Sizes, read from the shapes of the tensors.
    state
        Name -> tensor.
    source
        Path and scan, for messages.
    unit_ids
        Unit of each row of the readout in the recording, if `units.csv` is present.
    """

    config: TwinConfig
    state: Mapping[str, Tensor]
    source: str
    unit_ids: tuple[int, ...] = ()

    @property
    def n_units(self) -> int:
        """Number of units of the scan."""
        return len(self.state["readout.position.mu"])

    def build(self) -> TwinNetwork:
        """Build the network and load the weights strictly.

        Raises
        ------
        CheckpointError
            Tensors are missing, unexpected or of another shape; it names them.
        """
        net = load_strictly(lambda: TwinNetwork(self.config, self.n_units), self.state, self.source)
        _check_mask(net, self.source)
        return net


def read_released(path: str | Path, scan: str | None = None) -> ReleasedTwin:
    """Read one scan of a released folder, or a complete state dict.

    Sizes are those of the tensors' shapes, with strides, pools and nonlinearities of the
    release.

    Parameters
    ----------
    path
        Folder with `params_core.pt`, or a file with all tensors of one scan.
    scan
        Session and scan such as "4-7"; a folder needs it if it has several.

    Raises
    ------
    CheckpointError
        A file is missing, damaged or of another form; the message names it.
    """
    path = Path(path)
    unit_ids: tuple[int, ...] = ()
    if path.is_dir():
        session, number = _chosen_scan(path, scan)
        source = f"{path} (scan {session}-{number})"
        own = read_tensors(path / f"params_{session}_{number}.pt")
        core = read_tensors(path / RELEASED)
        if both := sorted(core.keys() & own.keys()):
            raise CheckpointError(f"{source}: {both[0]} is in both files.")
        state = core | own
        unit_ids = _unit_ids(path, session, number, _rows_of(state, source))
    else:
        source, state = str(path), read_tensors(path)
        _rows_of(state, source)
    try:
        config = config_from_shapes(state)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{source} has no tensor {error} of a digital twin.") from error
    return ReleasedTwin(config, state, source, unit_ids)


def scans(folder: Path) -> list[tuple[int, int]]:
    """Return session and scan of all files of a released folder, in order."""
    names = (path.stem.removeprefix("params_") for path in folder.glob("params_*.pt"))
    found = (_SCAN.fullmatch(name) for name in names)
    return sorted((int(m[1]), int(m[2])) for m in found if m)


def _chosen_scan(folder: Path, scan: str | None) -> tuple[int, int]:
    present = scans(folder)
    listed = ", ".join(f"{a}-{b}" for a, b in present) or "none"
    if scan is None and len(present) == 1:
        return present[0]
    match = _SCAN.fullmatch(scan or "")
    if match is None or (int(match[1]), int(match[2])) not in present:
        raise CheckpointError(
            f"{folder} has the scans {listed}; scan is {scan!r}. Name one of them."
        )
    return int(match[1]), int(match[2])


def _rows_of(state: Mapping[str, Tensor], source: str) -> int:
    """Return the number of units that all tensors of the readout have."""
    name = "readout.position.mu"
    if name not in state or state[name].ndim != 2:
        raise CheckpointError(f"{source} has no tensor {name} of shape (units, 2).")
    return len(state[name])


def _unit_ids(folder: Path, session: int, scan: int, n_units: int) -> tuple[int, ...]:
    """Return the unit of each row of the readout; check the number of units."""
    for row in _table(folder / "scans.csv", ("session", "scan_idx", "units")):
        if row[:2] == (session, scan) and row[2] != n_units:
            raise CheckpointError(
                f"{folder / 'scans.csv'} states {row[2]} units for scan "
                f"{session}-{scan}; its tensors have {n_units}."
            )
    path = folder / "units.csv"
    rows = _table(path, ("session", "scan_idx", "unit_id", "readout_id"))
    own = {row[3]: row[2] for row in rows if row[:2] == (session, scan)}
    if not own:
        return ()
    if sorted(own) != list(range(n_units)):
        raise CheckpointError(
            f"{path} has {len(own)} readouts for scan {session}-{scan}, not each of 0 "
            f"to {n_units - 1} once."
        )
    return tuple(own[number] for number in range(n_units))


def _table(path: Path, columns: tuple[str, ...]) -> list[tuple[int, ...]]:
    """Return columns of integers of a table; empty without the file."""
    if not path.exists():
        return []
    try:
        with refused_as(CheckpointError):
            return [tuple(map(int, row)) for row in csv_rows(path, columns, _MAX_TABLE)]
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(
            f"{path} needs integers in the columns {', '.join(columns)}; found {error}."
        ) from error


def config_from_shapes(state: Mapping[str, Tensor]) -> TwinConfig:
    """Return the sizes that the shapes of all tensors have.

    Strides, pools, nonlinearities and the unit leave no trace in shapes: they are those
    of the release.
    """
    shapes = {name: tuple(value.shape) for name, value in state.items()}

    def count(prefix: str) -> int:
        numbers = {
            int(name.removeprefix(prefix).split(".")[0])
            for name in shapes
            if name.startswith(prefix)
        }
        return len(numbers)

    block = "core.feedforward.blocks."
    blocks = range(count(block))
    first = [shapes[f"{block}{n}.convs.0.weights.0"] for n in blocks]
    recurrent, has_attention = (
        "core.recurrent.",
        "core.recurrent.conv.weights.0" in state,
    )
    is_mixed = f"{recurrent}proj_x.0.mask" in state
    maps = 1 if is_mixed else 0
    gate = shapes[f"{recurrent}proj_i.gains.0"]
    kernel = f"{recurrent}{'conv' if has_attention else 'proj_i'}.weights.0"
    height, width, _ = shapes["perspective.retina.grid"]
    return TwinConfig(
        colours=shapes["core.feedforward.inputs.0.weights.0"][1],
        pupil=shapes["perspective.mlp.linears.0.weights.0"][1],
        behavior=shapes["modulation.mlp.linears.0.weights.0"][1],
        streams=count("readout.feature.weights."),
        gaze_features=shapes["perspective.mlp.linears.0.weights.0"][0],
        gaze_layers=count("perspective.mlp.linears.") - 1,
        retina_height=height,
        retina_width=width,
        state_features=shapes["modulation.mlp.linears.0.weights.0"][0],
        state_layers=count("modulation.mlp.linears."),
        state_hidden=shapes["modulation.lstm.proj_i.weights.0"][0],
        input_spatial=shapes["core.feedforward.inputs.0.weights.0"][3],
        block_channels=tuple(shape[0] for shape in first),
        block_groups=tuple(shape[0] // shape[1] for shape in first),
        block_layers=tuple(count(f"{block}{n}.convs.") for n in blocks),
        block_temporals=tuple(shape[2] for shape in first),
        block_spatials=tuple(shape[3] for shape in first),
        block_pools=(*(2 for _ in blocks[1:]), 1),
        feedforward_channels=shapes["core.feedforward.out.weights.0"][0],
        core="cvt-lstm" if has_attention else "conv-lstm",
        recurrent_channels=shapes[f"{recurrent}proj_x.{maps}.weights.0"][0],
        hidden_channels=gate[0] * gate[1],
        common_channels=shapes[kernel][0] if has_attention else 0,
        out_channels=shapes[f"{recurrent}out.weights.0"][0],
        groups=gate[0],
        recurrent_spatial=shapes[kernel][3],
    )


def _check_mask(net: TwinNetwork, source: str) -> None:
    """Refuse a mask that does not leave out exactly each group itself."""
    name = "core.recurrent.proj_x.0.mask"
    mask = net.state_dict().get(name)
    if mask is not None and not torch.equal(
        mask[:, :, 0, 0], ~torch.eye(len(mask), dtype=torch.bool)
    ):
        raise CheckpointError(f"{source}: {name} does not leave out the diagonal.")
