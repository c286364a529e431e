"""The predictor of a file of predictions: it looks windows up and computes nothing."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from omnimouse_model.data.session import Session, Window
from omnimouse_model.display import HasSummary
from omnimouse_model.errors import NotStoredError, UnsupportedRequestError
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.predict.prediction_file.file import (
    PredictionsFile,
    Series,
)
from omnimouse_model.predict.predictor import (
    Encoded,
    Needs,
    Prediction,
    Predictor,
    check_request,
)
from omnimouse_model.progress import Cancelled, never


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """What a file holds for one window and mask.

    Attributes
    ----------
    responses
        float32 (n_samples, n_stored): NaN where nothing is stored.
    neurons
        int64 (n,): asked neurons with a stored value, ascending.
    valid
        bool (n_samples,).
    """

    responses: np.ndarray
    neurons: np.ndarray
    valid: np.ndarray
    behavior: np.ndarray | None
    remarks: tuple[str, ...]


@dataclass(slots=True, eq=False, repr=False)
class StoredPredictions(HasSummary, Predictor):
    """Predictions of a file: the asked mask chooses cells, and changes no value.

    A window that begins where a stored one begins gets the samples of that window. Any
    other window gets, for each of its samples, the nearest stored sample within half a
    sample; the first of several windows that have it.

    Attributes
    ----------
    file
        The open file, with its metadata and arrays.
    """

    file: PredictionsFile
    predictor_id: str = field(init=False)
    needs: Needs = field(init=False)
    _column: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        file, metadata = self.file, self.file.metadata
        name = metadata.predictor or "unknown predictor"
        self.predictor_id = f"{name} from {file.path.name} ({file.fingerprint[:8]})"
        self.needs = Needs(
            sees_responses=False,
            predicts_behavior=file.behavior is not None,
            spec=metadata.spec,
            sessions=frozenset({metadata.session}),
            n_neurons={metadata.session: metadata.n_neurons},
            is_stored=True,
        )
        self._column = np.full(metadata.n_neurons, -1, np.int64)
        self._column[file.neurons] = np.arange(len(file.neurons))

    def _facts(self) -> dict[str, str]:
        first, last = self.file.span_s
        return {
            "predictor": self.file.metadata.predictor or "unknown",
            "session": self.file.metadata.session,
            "neurons": f"{len(self.file.neurons):,}",
            "windows": f"{len(self.file.window_starts_s):,}",
            "span": f"{first:.1f} to {last:.1f} s",
            "file": str(self.file.path),
        }

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self.file.path

    def prepare(self, session: Session) -> None:
        """Check that the file is of this session."""
        metadata = self.file.metadata
        if (session.id, session.n_neurons) != (metadata.session, metadata.n_neurons):
            raise UnsupportedRequestError(
                f"{self.path} has predictions for session {metadata.session!r} of "
                f"{metadata.n_neurons:,} neurons, not for {session.id!r} of "
                f"{session.n_neurons:,}."
            )

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        """Look up a window."""
        self.prepare(window.session)
        check_request(self.predictor_id, self.needs, window, mask)
        # A constructed clip is not a time of the recording.
        if not isinstance(window, Window) or window.edits:
            raise UnsupportedRequestError(
                f"{self.path} has predictions for the recorded input only: they do not "
                "answer edits or constructed clips."
            )
        return Encoded(window, mask, self._find(window, mask))

    def decode(
        self,
        encoded: Encoded,
        neurons: np.ndarray | None = None,
        cancelled: Cancelled = never,
    ) -> Prediction:
        """Return the stored samples of those of the neurons that the file has."""
        window, mask, found = encoded.window, encoded.mask, encoded.state
        chosen = found.neurons
        if neurons is not None:
            asked = np.asarray(neurons, np.int64)
            chosen = asked[np.isin(asked, found.neurons)]
        cells = scored_cells(mask)[:, chosen]
        values = np.where(cells, found.responses[:, self._column[chosen]], np.nan)
        units = self.file.metadata.units
        is_scaled = units == "normalised"
        return Prediction(
            responses=values.astype(np.float32),
            neurons=chosen,
            behavior=found.behavior,
            mask_id=mask.mask_id,
            predictor_id=self.predictor_id,
            status="; ".join(found.remarks) or "ok",
            scale=window.session.response_scale[chosen] if is_scaled else None,
            units=units,
            times_s=window.sample_times_s,
            valid=found.valid,
        )

    # -- looking up -------------------------------------------------------------------
    def _find(self, window: Window, mask: Mask) -> _Found:
        file, spec = self.file, self.file.metadata.spec
        number = file.window_at(window.start_s)
        tolerance_s = 0.5 / spec.response_rate_hz
        rows = _rows(file.responses, window.sample_times_s, number, tolerance_s)
        responses = file.responses.read(rows)
        cells = scored_cells(mask)
        asked = np.flatnonzero(cells.any(axis=0))
        stored = asked[self._column[asked] >= 0]
        wanted = cells[:, stored]
        has_value = np.isfinite(responses[:, self._column[stored]])
        is_found = (wanted & has_value).any(axis=0)
        # Neurons without any value here were not asked when the file was written.
        stored, wanted = stored[is_found], wanted[:, is_found]
        valid = (has_value[:, is_found] | ~wanted).all(axis=1) & (rows >= 0)
        valid[rows >= 0] &= file.valid[rows[rows >= 0]]
        behavior = self._behavior(window, number) if mask.has_behavior_target else None
        if not len(stored) and behavior is None:
            raise self._nothing_at(window)
        remarks = self._remarks(window, mask, rows)
        if len(stored) < len(asked):
            remarks += (f"the file has {len(stored):,} of {len(asked):,} neurons",)
        return _Found(responses, stored, valid, behavior, remarks)

    def _behavior(self, window: Window, number: int) -> np.ndarray | None:
        """Return decoded behaviour of a window, None unless all of it is stored."""
        series, spec = self.file.behavior, self.file.metadata.spec.behavior
        if series is None or spec is None:
            return None
        times_s = window.start_s + np.arange(window.spec.n_behavior) / spec.rate_hz
        rows = _rows(series, times_s, number, 0.5 / spec.rate_hz)
        return None if (rows < 0).any() else series.read(rows)

    def _remarks(self, window: Window, mask: Mask, rows: np.ndarray) -> tuple[str, ...]:
        file, metadata = self.file, self.file.metadata
        remarks = list(metadata.remarks)
        if metadata.mask is None:
            remarks.append("from a file: this mask changes no prediction")
        elif metadata.mask.mask_id != mask.mask_id:
            name = metadata.mask.name or f"mask {metadata.mask.mask_id[:8]}"
            remarks.append(f"from a file, predicted under {name}, not under this mask")
        if metadata.fingerprint not in ("", window.session.fingerprint):
            remarks.append("predicted from another copy of this recording")
        windows = np.unique(file.responses.window[rows[rows >= 0]])
        if file.window_at(window.start_s) < 0 and (windows >= 0).any():
            remarks.append("joined from windows that begin at other times")
        return tuple(remarks)

    def _nothing_at(self, window: Window) -> NotStoredError:
        first_s, last_s = self.file.span_s
        tier = f", tier {self.file.metadata.tier}" if self.file.metadata.tier else ""
        return NotStoredError(
            f"{self.path} has no prediction of these targets from {window.start_s:.2f} "
            f"to {window.stop_s:.2f} s: it has {len(self.file.neurons):,} neurons and "
            f"windows between {first_s:.2f} and {last_s:.2f} s{tier}. Go to one of "
            "them."
        )


def _rows(series: Series, times_s: np.ndarray, number: int, tolerance_s: float) -> np.ndarray:
    # A file may state starts of windows without the window of each row.
    number = number if (series.window >= 0).any() else -1
    return series.rows_at(times_s, number, tolerance_s)
