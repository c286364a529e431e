"""Peri-event averages: recorded and predicted responses around the onsets of trials.

Trials of a tier are read, and predicted under one mask, in windows around their onsets.
Averages are taken over the trials of a condition, such as a choice or a block: any
column of the trial table with a few labels.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Int64

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.evaluation.tier_windows import scored_starts
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.predict.predictor import Predictor, Request, in_window_units, predictions_of
from omnimouse_model.progress import stop_if

MAX_LABELS: Final = 16
"""Labels of a condition; a column with more of them is none."""
MAX_TRIALS: Final = 500
"""Most trials that are averaged; of more, they are spread evenly."""
BIN_S: Final = 0.06
"""Shortest bin of an average: the counts of shorter ones are joined."""
_BEFORE: Final = 0.25
"""Share of a window before the onset, where windows are not aligned to trials."""
_BATCH: Final = 8
_TIME_ERROR_S: Final = 1e-6
"""Rounding error of the time of a sample."""
_NO_CONDITION: Final = ("tier", "id", "valid_trial", "duration_s")
"""Columns that describe the recording and not the trial."""
_OF_EVERY_TABLE: Final = ("stim_id", "kind")


@dataclass(frozen=True, slots=True, eq=False)
class ConditionAverage:
    """Mean over the trials of one condition, with its standard error.

    Attributes
    ----------
    label, n_trials
        Label of the condition, and number of its trials.
    recorded, recorded_sem
        float (bin, neuron), in the units of `PeriEventResponses`.
    predicted, predicted_sem, n_predicted
        The same of the prediction, NaN where nothing was predicted, and the number of
        its trials.
    """

    label: str
    n_trials: int
    recorded: Float[np.ndarray, "bin neuron"]
    recorded_sem: Float[np.ndarray, "bin neuron"]
    predicted: Float[np.ndarray, "bin neuron"]
    predicted_sem: Float[np.ndarray, "bin neuron"]
    n_predicted: int


@dataclass(frozen=True, slots=True, eq=False)
class PeriEventResponses:
    """Responses of some neurons around the onsets of trials.

    Attributes
    ----------
    mask, tier
        Task of the predictions, and tier of the trials.
    trials
        Rows of the trial table.
    neurons
        Neurons, the last axis of the responses.
    time_s
        Samples relative to the onset.
    recorded, predicted
        Spikes/s for counts, else normalised; NaN where unknown.
    n_predicted
        Trials that are predicted so far, the first ones.
    """

    mask: Mask
    tier: str
    trials: Int64[np.ndarray, " trial"]
    neurons: Int64[np.ndarray, " neuron"]
    time_s: Float[np.ndarray, " sample"]
    recorded: Float32[np.ndarray, "trial sample neuron"]
    predicted: Float32[np.ndarray, "trial sample neuron"]
    n_predicted: int

    @property
    def is_complete(self) -> bool:
        """Whether all trials are predicted."""
        return self.n_predicted == len(self.trials)

    @property
    def n_joined(self) -> int:
        """Number of samples that are joined to a bin."""
        step_s = float(self.time_s[1] - self.time_s[0]) if len(self.time_s) > 1 else 1.0
        return max(1, round(BIN_S / step_s))

    @property
    def bin_s(self) -> Float[np.ndarray, " bin"]:
        """Mean time of each bin relative to the onset."""
        return self._joined(self.time_s[None, :, None])[0, :, 0]

    def of(self, neuron: int) -> "PeriEventResponses":
        """Return the responses of one neuron, which must be one of `neurons`."""
        own = self.neurons == neuron
        return replace(
            self,
            neurons=self.neurons[own],
            recorded=self.recorded[:, :, own],
            predicted=self.predicted[:, :, own],
        )

    def averages(self, labels: np.ndarray) -> tuple[ConditionAverage, ...]:
        """Return the averages over the trials of each label, sorted by label.

        Parameters
        ----------
        labels
            str: the label of each row of the trial table, "" for none; see
            `conditions`.
        """
        own = labels[self.trials]
        recorded, predicted = (self._joined(values) for values in (self.recorded, self.predicted))
        averages = []
        for label in sorted({*own.tolist()} - {""}):
            is_own = own == label
            n_predicted = int(is_own[: self.n_predicted].sum())
            averages.append(
                ConditionAverage(
                    label,
                    int(is_own.sum()),
                    *_mean_and_error(recorded[is_own]),
                    *_mean_and_error(predicted[is_own]),
                    n_predicted,
                )
            )
        return tuple(averages)

    def _joined(
        self, values: Float[np.ndarray, "trial sample neuron"]
    ) -> Float[np.ndarray, "trial bin neuron"]:
        """Return means in bins of `n_joined` samples, one of which begins at the onset.

        Samples at both ends that fill no bin are left out.
        """
        n = self.n_joined
        # Otherwise one bin would have samples from before and after the onset.
        values = values[:, int((self.time_s > -_TIME_ERROR_S).argmax()) % n :]
        n_bins = values.shape[1] // n
        parts = values[:, : n_bins * n].reshape(len(values), n_bins, n, values.shape[2])
        return np.asarray(parts.mean(axis=2))


class PeriEvent:
    """Computation of `PeriEventResponses`, which can be interrupted and continued.

    Parameters
    ----------
    predictor, session, mask
        Who predicts, and the task.
    neurons
        Neurons that are read and predicted, ascending.
    tier
        Tier of the trials.
    """

    def __init__(
        self,
        predictor: Predictor,
        session: Session,
        mask: Mask,
        neurons: Int64[np.ndarray, " neuron"],
        tier: str,
    ) -> None:
        self._predictor, self._mask = predictor, mask
        spec = predictor.needs.spec
        trials, self._windows = event_windows(session, spec, tier, MAX_TRIALS)
        shape = (len(trials), spec.n_samples, len(neurons))
        # Counts per bin become spikes/s.
        per_unit = spec.response_rate_hz if spec.responses == "count" else 1.0
        self._per_unit = np.float32(per_unit)
        nothing = np.full(shape, np.nan, np.float32)
        self._found = PeriEventResponses(
            mask, tier, trials, neurons, _time_s(spec), nothing, nothing.copy(), 0
        )
        # Without a target among the neurons, there is nothing to predict.
        self._is_asked = bool(scored_cells(mask)[:, neurons].any())
        self._n_read = self._n_done = 0

    @property
    def n_bytes(self) -> int:
        """Memory of the responses."""
        return self._found.recorded.nbytes + self._found.predicted.nbytes

    @property
    def responses(self) -> PeriEventResponses:
        """The recorded responses and the predictions so far."""
        # Copies: the arrays are filled while views read those of before.
        return replace(
            self._found,
            recorded=self._found.recorded.copy(),
            predicted=self._found.predicted.copy(),
            n_predicted=self._n_done if self._is_asked else self._n_read,
        )

    def refine(self, cancelled: Callable[[], bool]) -> Iterator[PeriEventResponses]:
        """Yield the recorded responses, then the predictions batch by batch of trials.

        Raises
        ------
        StoppedError
            `cancelled()` returned true; a later call continues.
        """
        while self._n_read < len(self._windows):
            stop_if(cancelled)
            self._read(self._n_read)
            self._n_read += 1
        yield self.responses
        while self._is_asked and self._n_done < len(self._windows):
            batch = self._windows[self._n_done : self._n_done + _BATCH]
            neurons = self._found.neurons
            asked = [(window.with_edits(()), self._mask, neurons) for window in batch]
            requests: list[Request] = list(asked)
            found = predictions_of(self._predictor, requests, cancelled)
            done = self._n_done
            for (window, _, _), prediction in zip(requests, found, strict=True):
                values = in_window_units(prediction, window) * self._per_unit
                valid = np.broadcast_to(prediction.valid, len(values))[:, None]
                columns = np.searchsorted(neurons, prediction.neurons)
                values = np.where(valid, values, np.nan)
                self._found.predicted[done][:, columns] = values
                done += 1
            self._n_done = done
            yield self.responses

    def _read(self, number: int) -> None:
        # A window keeps what it has read: a copy does, and is dropped.
        window = self._windows[number].with_edits(())
        values = window.responses[:, self._found.neurons] * self._per_unit
        is_valid = window.valid["responses"][:, None]
        self._found.recorded[number] = np.where(is_valid, values, np.nan)


def conditions(session: Session) -> Mapping[str, np.ndarray]:
    """Return the trial columns with a few labels: name -> str (trial,), "" for none.

    Each has two to `MAX_LABELS` labels.

    Examples
    --------
    >>> from omnimouse_model.analysis.peri_event import conditions
    >>> from omnimouse_model.simulate.spiking_laboratory import spiking_arrays
    >>> list(conditions(om.open_session(spiking_arrays())))
    ['stim_id']
    """
    found = {}
    columns = session.trials.columns
    # What the experimenter has named comes before fields of every table.
    for name in sorted(columns, key=lambda name: name in _OF_EVERY_TABLE):
        values = columns[name]
        if name in _NO_CONDITION:
            continue
        labels = np.array([_label(value) for value in values], str)
        if 2 <= len({*labels.tolist()} - {""}) <= MAX_LABELS:
            found[name] = labels
    return found


def event_windows(
    session: Session, spec: WindowSpec, tier: str, max_trials: int | None = None
) -> tuple[Int64[np.ndarray, " trial"], list[Window]]:
    """Return the trials of a tier whose windows can be read, and these windows.

    Windows that are aligned to trials are their own; others begin a quarter of their
    length before the onset, snapped to the grid of the session. Of more trials than
    `max_trials`, those returned are spread evenly; None returns all.
    """
    onsets = session.trials.t_on
    if spec.align == "trial":
        starts = scored_starts(session, tier, max_trials, spec)
        wanted = onsets + spec.trial_offset_s
        # Starts are rounded to samples, so the nearest onset is that of the window.
        trials = np.abs(wanted[None] - starts[:, None]).argmin(axis=1)
        return trials, [session.window(float(start), spec) for start in starts]
    names = session.named_tiers(tier)
    trials = np.flatnonzero(np.isin(session.trial_tiers, names))
    windows, kept = [], []
    for trial in trials.tolist():
        wanted_s = float(onsets[trial]) - _BEFORE * spec.duration_s
        window = session.nearest_window(wanted_s, spec)
        if abs(window.start_s - wanted_s) <= 1 / spec.response_rate_hz:
            windows.append(window)
            kept.append(trial)
    chosen = np.arange(len(kept))
    if max_trials is not None and len(kept) > max_trials:
        chosen = np.linspace(0, len(kept) - 1, max_trials).round().astype(int)
    return np.array(kept, np.int64)[chosen], [windows[i] for i in chosen]


def _time_s(spec: WindowSpec) -> np.ndarray:
    """Return the middles of bins of counts, and the times of other samples."""
    offset_s = spec.trial_offset_s if spec.align == "trial" else -_BEFORE * spec.duration_s
    half = 0.5 / spec.response_rate_hz if spec.responses == "count" else 0.0
    return np.asarray(spec.sample_times_s + offset_s + half)


def _label(value: object) -> str:
    # NaN is a missing value, too.
    if value is None or value != value:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _mean_and_error(
    values: Float[np.ndarray, "trial bin neuron"],
) -> tuple[Float[np.ndarray, "bin neuron"], Float[np.ndarray, "bin neuron"]]:
    """Return mean and standard error over the known trials; NaN with too few."""
    is_known = np.isfinite(values)
    count = is_known.sum(axis=0)
    total = np.where(is_known, values, 0).sum(axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        squared = np.where(is_known, (values - mean) ** 2, 0).sum(axis=0)
        error = np.sqrt(squared / (count - 1) / count)
    return mean, np.where(count > 1, error, np.nan)
