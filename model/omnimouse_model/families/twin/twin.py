"""A digital twin: its files, and as a laboratory animal: any video in, rates of its units out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.families.twin import DEMO, RELEASED
from omnimouse_model.families.twin.network import TwinConfig, TwinNetwork, TwinOutput, TwinState
from omnimouse_model.predict.checkpoint_file import (
    UNSTORED,
    Checkpoint,
    Record,
    load_strictly,
    no_record,
)
from omnimouse_model.storage.tables import csv_rows
from omnimouse_model.storage.tensors import read_tensors
from omnimouse_model.storage.trees import Within, refused_as

# -- checkpoints of digital twins: one core, and the other parts of each session ------
# Weights are safetensors; a JSON file beside them has the config, the size of the frames
# and the sessions. Tensors of a session are named `sessions.<key>.<tensor>`; `mean` is
# the mean response of each neuron in the train tier, in units of the recording, of which
# the rates are multiples; NaN if it is not known.
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
        *,
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

    def trained(self, session: str, frozen: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the tensors that a transfer trains; see `FROZEN`."""
        fixed = FROZEN if frozen else ()
        part = self.core | self.part(session)
        return [v for k, v in part.items() if k != MEAN and not k.startswith(fixed)]

    def build(self, session: str) -> TwinNetwork:
        """Build the network of one session.

        Raises
        ------
        CheckpointError
            Tensors are missing, unexpected or of another shape; it names them. Or a mask
            does not leave out exactly each group itself.
        """
        own = {k: v for k, v in (self.core | self.part(session)).items() if k != MEAN}
        source = f"{self.source} (session {session})"
        net = load_strictly(lambda: TwinNetwork(self.config, self.sessions[session]), own, source)
        name = "core.recurrent.proj_x.0.mask"
        mask = net.state_dict().get(name)
        if mask is not None and not torch.equal(
            mask[:, :, 0, 0], ~torch.eye(len(mask), dtype=torch.bool)
        ):
            raise CheckpointError(f"{source}: {name} does not leave out the diagonal.")
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
    if path.is_dir():
        chosen = [_chosen_scan(path, scan) for scan in scans or ("",)]
        core = read_tensors(path / RELEASED)
        for session, number in chosen:
            key = f"{session}-{number}"
            source = f"{path} (scan {key})"
            own = read_tensors(path / f"params_{session}_{number}.pt")
            if both := sorted(core.keys() & own.keys()):
                raise CheckpointError(f"{source}: {both[0]} is in both files.")
            states[key] = own | core
            unit_ids[key] = _unit_ids(path, session, number, _rows_of(states[key], source))
    else:
        states[""] = read_tensors(path)
    rows = {key: _rows_of(state, str(path)) for key, state in states.items()}
    try:
        config = config_from_shapes(next(iter(states.values())))
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path} has no tensor {error} of a digital twin.") from error
    means = {key: torch.full((count,), torch.nan) for key, count in rows.items()}
    return TwinCheckpoint.of_networks(
        states, means, config=config, frame_size=FRAME_SIZE, source=str(path), unit_ids=unit_ids
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
    with refused_as(CheckpointError):
        rows = [*csv_rows(path, columns, _MAX_TABLE)]
    try:
        return [tuple(map(int, row)) for row in rows]
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
        numbered = (name.removeprefix(prefix) for name in shapes if name.startswith(prefix))
        return len({int(name.split(".")[0]) for name in numbered})

    block = "core.feedforward.blocks."
    blocks = range(count(block))
    first = [shapes[f"{block}{n}.convs.0.weights.0"] for n in blocks]
    recurrent, has_attention = ("core.recurrent.", "core.recurrent.conv.weights.0" in state)
    # Where groups are mixed, the maps come after.
    maps = int(f"{recurrent}proj_x.0.mask" in state)
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


# -- as a laboratory animal ------------------------------------------------------------
Array = np.ndarray | Tensor


class DigitalTwin:
    """Rates of one scan's units for any video, with the state from frame to frame.

    Examples
    --------
    >>> from omnimouse_model.families.twin.network import TwinConfig
    >>> from omnimouse_model.families.twin.network import TwinNetwork
    >>> sizes = TwinConfig(retina_height=16, retina_width=24)
    >>> twin = om.DigitalTwin(TwinNetwork(sizes, n_units=3))
    >>> video = np.full((4, 36, 64), 128, np.uint8)
    >>> twin.predict(video).shape, twin.stream(video[0]).shape
    ((4, 3), (3,))

    Parameters
    ----------
    net
        The network.
    unit_ids
        Unit of the recording in each column of the rates, if known.

    Attributes
    ----------
    state
        What the next frames continue; None before the first frame.
    """

    def __init__(self, net: TwinNetwork, unit_ids: tuple[int, ...] = ()) -> None:
        self.net = net.eval()
        self.unit_ids = unit_ids
        self.state: TwinState | None = None

    @classmethod
    def from_pretrained(
        cls, path: str | Path, scan: str | None = None, device: str = "cpu"
    ) -> "DigitalTwin":
        """Return the twin of a scan, from files of the release or of this project.

        Parameters
        ----------
        path
            Folder with `params_core.pt`, a complete state dict, a `.safetensors` file
            of this project, or "twin-demo".
        scan
            Session and scan, such as "4-7"; the session of a file of this project.

        Raises
        ------
        CheckpointError
            A file is missing, damaged or of another form, or does not have the session.
        """
        path = DEMO if str(path) == DEMO.stem else Path(path)
        is_own = path.suffix == DEMO.suffix
        found = TwinCheckpoint.read(path) if is_own else read_released(path, *filter(None, [scan]))
        if not is_own or (scan is None and len(found.sessions) == 1):
            (scan,) = found.sessions
        if scan is None or scan not in found.sessions:
            known = ", ".join(sorted(found.sessions)[:5])
            raise CheckpointError(f"{path} has the sessions {known}, not {scan!r}.")
        return cls(found.build(scan).to(device), found.unit_ids.get(scan, ()))

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.net.readout.position.mu.device

    def predict(
        self,
        stimuli: Array,
        perspectives: Array | None = None,
        modulations: Array | None = None,
        *,
        reset: bool = True,
        burnin: int = 0,
        units: Any = None,
    ) -> np.ndarray:
        """Return the rates (T, U), or (T, N, U) for several clips.

        Parameters
        ----------
        stimuli
            uint8 grey levels at 30 Hz: (T, H, W), (T, H, W, 1) or (T, N, H, W, 1).
        perspectives, modulations
            Z-scored pupil x and y, and pupil radius and running: (T, 2) or (T, N, 2).
            None and NaN stand for the mean of the training.
        reset
            Begin anew, or continue after the last frame.
        burnin
            Number of first frames that are left out of the result.
        units
            Columns to predict; all by default.

        Raises
        ------
        UnsupportedRequestError
            The stimuli are no uint8 grey levels, the inputs have different lengths, or
            a continuation has another number of clips.
        """
        if not 0 <= burnin < max(1, len(stimuli)):
            raise UnsupportedRequestError(
                f"burnin is {burnin}; 0 to {len(stimuli) - 1} frames of "
                f"{len(stimuli)} can be left out."
            )
        output = self.run(stimuli, perspectives, modulations, reset=reset, units=units)
        rates = output.rates[burnin:].cpu().numpy()
        is_single = all(
            x is None or x.ndim < n for x, n in ((stimuli, 5), (perspectives, 3), (modulations, 3))
        )
        return rates[:, 0] if is_single else rates

    @torch.inference_mode()
    def run(
        self,
        stimuli: Array,
        perspectives: Array | None = None,
        modulations: Array | None = None,
        *,
        stream: int | None = None,
        periphery: Literal["dark", "extend"] = "dark",
        reset: bool = True,
        units: Any = None,
        record: Record = no_record,
    ) -> TwinOutput:
        """Return logits and rates with all axes; see `predict` and `TwinOutput`.

        Parameters
        ----------
        stream
            Use one stream alone.
        periphery
            "dark" or "extend": luminance beyond the monitor.
        record
            Called with the name and value of intermediate maps.
        """
        if periphery not in ("dark", "extend"):
            raise UnsupportedRequestError(f"periphery is {periphery!r}, not dark or extend.")
        frames = self._frames(stimuli)
        pupil = self._behavior(perspectives, "perspectives", len(frames))
        behavior = self._behavior(modulations, "modulations", len(frames))
        given = [x.shape[1] for x in (frames, pupil, behavior) if x is not None]
        n_clips = max(given)
        if not {1, n_clips} >= set(given):
            raise UnsupportedRequestError(
                f"The inputs have {sorted(set(given))} clips; each needs 1 or the same."
            )
        state = None if reset else self.state
        if state is None:
            state = self.net.start(n_clips, stream)
        elif (state.n_clips, state.stream) != (n_clips, stream):
            raise UnsupportedRequestError(
                f"A continuation needs {state.n_clips} clips, stream {state.stream}, "
                f"not {n_clips} and {stream}: begin anew with reset=True."
            )
        self.state, state.periphery, state.record = state, periphery, record
        chosen = None
        if units is not None:
            chosen = torch.as_tensor(self._columns(units), device=self.device)
        return self.net(frames, pupil, behavior, state, chosen)

    def stream(
        self,
        frame: Array,
        perspective: Array | None = None,
        modulation: Array | None = None,
        units: Any = None,
    ) -> np.ndarray:
        """Return the rates (U,) of the frame (H, W) that follows the last one."""
        pupil, behavior = (None if x is None else x[None] for x in (perspective, modulation))
        return self.predict(frame[None], pupil, behavior, reset=self.state is None, units=units)[0]

    def barcode(self, units: Any = None) -> np.ndarray:
        """Return the functional barcode (U, 512) of units: their feature weights."""
        codes = self.net.barcodes().detach().cpu().numpy()
        return codes if units is None else codes[self._columns(units)]

    def readout_position(self, units: Any = None) -> np.ndarray:
        """Return where on the retina's maps units read: x and y from -1 to 1.

        y has the direction of the config's `position_sign`.
        """
        sign = np.array([1, self.net.config.position_sign], np.float32)
        positions: np.ndarray = self.net.positions().detach().cpu().numpy() * sign
        return positions if units is None else positions[self._columns(units)]

    def _columns(self, units: Any) -> np.ndarray:
        """Return the columns of units, checked."""
        columns = np.atleast_1d(np.asarray(units))
        n = self.net.n_units
        if columns.dtype.kind not in "iu" or not ((columns >= 0) & (columns < n)).all():
            raise UnsupportedRequestError(
                f"units are {units!r}; columns from 0 to {n - 1} expected."
            )
        return columns.astype(np.int64)

    def _frames(self, stimuli: Array) -> Tensor:
        """Return grey levels (T, N, colours, H, W) from 0 to 1."""
        frames = torch.as_tensor(stimuli)
        if frames.dtype != torch.uint8:
            raise UnsupportedRequestError(
                f"stimuli are {frames.dtype}, not uint8 grey levels from 0 to 255."
            )
        if frames.ndim == 3:
            frames = frames[..., None]
        if frames.ndim == 4:
            frames = frames[:, None]
        colours = self.net.config.colours
        if frames.ndim != 5 or frames.shape[-1] != colours or not len(frames):
            raise UnsupportedRequestError(
                f"stimuli have the shape {tuple(stimuli.shape)}, not (T, H, W), "
                f"(T, H, W, {colours}) or (T, N, H, W, {colours})."
            )
        frames = frames.to(self.device).permute(0, 1, 4, 2, 3)
        return frames.to(torch.float32) / 255

    def _behavior(self, values: Array | None, name: str, n_frames: int) -> Tensor | None:
        """Return behaviour (T, N, values) on the device."""
        if values is None:
            return None
        found = torch.as_tensor(values)
        wanted = {"perspectives": self.net.config.pupil}.get(name, self.net.config.behavior)
        if found.ndim == 2:
            found = found[:, None]
        if found.ndim != 3 or found.shape[2] != wanted or len(found) != n_frames:
            raise UnsupportedRequestError(
                f"{name} have the shape {tuple(values.shape)}, not ({n_frames}, "
                f"{wanted}) or ({n_frames}, N, {wanted})."
            )
        return found.to(self.device, torch.float32)
