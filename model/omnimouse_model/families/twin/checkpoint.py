"""Checkpoints of digital twins: one core, and the other parts of each session.

Weights are safetensors; a JSON file beside them has the config, the size of the frames
and the sessions. Tensors of a session are named `sessions.<key>.<tensor>`; `mean` is
the mean response of each neuron in the train tier, in units of the recording, of which
the rates are multiples; NaN if it is not known.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.twin import RELEASED
from omnimouse_model.families.twin.network import TwinConfig, TwinNetwork
from omnimouse_model.predict.checkpoint_file import UNSTORED, Checkpoint, load_strictly
from omnimouse_model.storage.tables import csv_rows
from omnimouse_model.storage.tensors import read_tensors
from omnimouse_model.storage.trees import Within, refused_as

CORE, SESSIONS, MEAN = "core.", "sessions.", "mean"
FROZEN = ("core", "modulation.lstm")
"""Modules that a transfer does not train, as in the release."""
FRAME_SIZE = (144, 256)
"""Height and width in pixels of the frames of the released models."""
Side = Annotated[int, Within(2, 4096)]


@dataclass(frozen=True, kw_only=True, eq=False)
class TwinCheckpoint(Checkpoint):
    """Twins that share a core, read from disk but not built.

    Attributes
    ----------
    frame_size
        Height and width in pixels of the frames on which they were trained.
    unit_ids
        Unit of each row of the readout in the recording, where released files tell it.
    """

    family = "twin"
    prefixes = (SESSIONS,)
    config: TwinConfig
    frame_size: tuple[Side, Side]
    unit_ids: Mapping[str, tuple[int, ...]] = field(default_factory=dict, metadata=UNSTORED)

    def check(self) -> None:
        """Raise `CheckpointError` if a session has no mean response of each neuron."""
        for key, count in self.sessions.items():
            name = f"{SESSIONS}{key}.{MEAN}"
            if name not in self.state or self.state[name].shape != (count,):
                raise CheckpointError(f"{self.source} has no {name} of {count} neurons.")

    @classmethod
    def of_networks(
        cls,
        states: Mapping[str, Mapping[str, Tensor]],
        means: Mapping[str, Tensor],
        config: TwinConfig,
        frame_size: tuple[int, int],
        **fields: Any,
    ) -> "TwinCheckpoint":
        """Return the checkpoint of the networks of some sessions with one core.

        Parameters
        ----------
        states, means
            State dict of the network, and mean response of each neuron, by session.
        """
        state: dict[str, Tensor] = {}
        for key, tensors in states.items():
            own = {k: v.detach().cpu() for k, v in tensors.items()}
            own |= {MEAN: means[key].to(torch.float32)}
            state |= {
                k if k.startswith(CORE) else f"{SESSIONS}{key}.{k}": v for k, v in own.items()
            }
        sessions = {key: len(mean) for key, mean in means.items()}
        return cls(config=config, frame_size=frame_size, sessions=sessions, state=state, **fields)

    def part(self, session: str) -> dict[str, Tensor]:
        """Return the tensors of one session by their names in its network, and its mean."""
        start = f"{SESSIONS}{session}."
        return {k.removeprefix(start): v for k, v in self.own(session).items()}

    def trained(self, session: str, *, is_frozen: bool) -> list[Tensor]:
        """Return the tensors that a transfer trains; see `FROZEN`."""
        fixed = FROZEN if is_frozen else ()
        part = self.core | self.part(session)
        return [v for k, v in part.items() if k != MEAN and not k.startswith(fixed)]

    def build(self, session: str) -> TwinNetwork:
        """Build the network of one session.

        Raises
        ------
        CheckpointError
            Tensors are missing, unexpected or of another shape; it names them.
        """
        own = {k: v for k, v in (self.core | self.part(session)).items() if k != MEAN}
        source = f"{self.source} (session {session})"
        net = load_strictly(lambda: TwinNetwork(self.config, self.sessions[session]), own, source)
        _check_mask(net, source)
        return net


# -- files of the released digital twin, read without executing code ------------------
# A folder of the release has `params_core.pt` with the shared core, one
# `params_{session}_{scan}.pt` per scan with everything else, `scans.csv` and `units.csv`.
# The training script of the release writes all tensors of one scan to one file instead.
_MAX_TABLE = 64 * 2**20
_SCAN = re.compile(r"(\d{1,4})[-_](\d{1,4})")


def read_released(path: Path, *scans: str) -> TwinCheckpoint:
    """Read scans of a released folder, by default its only one, or a complete state dict.

    Sizes are those of the tensors' shapes, with strides, pools and nonlinearities of the
    release. The files do not state the mean responses, which are NaN.

    Parameters
    ----------
    path
        Folder with `params_core.pt`, or a file with all tensors of one scan.
    scans
        Session and scan such as "4-7"; a folder with several needs them.

    Raises
    ------
    CheckpointError
        A file is missing, damaged or of another form; the message names it.
    """
    states: dict[str, dict[str, Tensor]] = {}
    unit_ids: dict[str, tuple[int, ...]] = {}
    for scan in scans or ("",):
        key, source, found = "", str(path), read_tensors(path) if path.is_file() else {}
        if path.is_dir():
            session, number = _chosen_scan(path, scan)
            key = f"{session}-{number}"
            source = f"{path} (scan {key})"
            found = read_tensors(path / f"params_{session}_{number}.pt")
            core = read_tensors(path / RELEASED)
            if both := sorted(core.keys() & found.keys()):
                raise CheckpointError(f"{source}: {both[0]} is in both files.")
            found |= core
            unit_ids[key] = _unit_ids(path, session, number, _rows_of(found, source))
        _rows_of(found, source)
        states[key] = found
    try:
        config = config_from_shapes(next(iter(states.values())))
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path} has no tensor {error} of a digital twin.") from error
    means = {key: torch.full((_rows_of(state, key),), torch.nan) for key, state in states.items()}
    return TwinCheckpoint.of_networks(
        states, means, config, FRAME_SIZE, source=str(path), unit_ids=unit_ids
    )


def read_release(path: Path) -> TwinCheckpoint:
    """Read all scans of a released folder; see `read_released`."""
    keys = [f"{session}-{scan}" for session, scan in scans(path)]
    if not keys:
        raise CheckpointError(f"{path} has no params_<session>_<scan>.pt.")
    return read_released(path, *keys)


def scans(folder: Path) -> list[tuple[int, int]]:
    """Return session and scan of all files of a released folder, in order."""
    names = (path.stem.removeprefix("params_") for path in folder.glob("params_*.pt"))
    found = (_SCAN.fullmatch(name) for name in names)
    return sorted((int(m[1]), int(m[2])) for m in found if m)


def _chosen_scan(folder: Path, scan: str) -> tuple[int, int]:
    """Return session and scan of text such as "4-7"; "" stands for the only one."""
    present = scans(folder)
    if not scan and len(present) == 1:
        return present[0]
    match = _SCAN.fullmatch(scan)
    if match is None or (int(match[1]), int(match[2])) not in present:
        listed = ", ".join(f"{a}-{b}" for a, b in present) or "none"
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
    recurrent, has_attention = ("core.recurrent.", "core.recurrent.conv.weights.0" in state)
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
