"""A digital twin as a laboratory animal: any video in, rates of its units out."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.families.twin import DEMO
from omnimouse_model.families.twin.checkpoint import TwinCheckpoint, read_released
from omnimouse_model.families.twin.network import TwinNetwork, TwinOutput, TwinState
from omnimouse_model.predict.checkpoint_file import Record, no_record

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
        periphery: str = "dark",
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
        self.state = state
        chosen = None
        if units is not None:
            chosen = torch.as_tensor(self._columns(units), device=self.device)
        output: TwinOutput = self.net(
            frames, pupil, behavior, state, periphery=periphery, units=chosen, record=record
        )
        return output

    def stream(
        self,
        frame: Array,
        perspective: Array | None = None,
        modulation: Array | None = None,
        units: Any = None,
    ) -> np.ndarray:
        """Return the rates (U,) of the frame (H, W) that follows the last one."""
        pupil, behavior = (None if x is None else x[None] for x in (perspective, modulation))
        rates = self.predict(frame[None], pupil, behavior, reset=self.state is None, units=units)
        one: np.ndarray = rates[0]
        return one

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
