"""Scores of models of spikes: bits per spike of held-out ones, decoded labels of trials.

For a label, such as the choice, the model gives features of each trial, of which all
spikes are visible. A multinomial logistic regression predicts the label; its L2 penalty is
that with the smallest log loss on the validation trials.

Source: Jiang et al. 2025; the average over bins is an assumption. Bits per spike have the
metric of the Neural Latents Benchmark. Spikes are held out in four ways:

    co-smoothing   each neuron from all others
    forward        windows of 10 bins from the onset on, each from all bins before it
    inter-region   the neurons of each region from all other regions
    intra-region   each neuron from the other neurons of its region

The file is long because the two scores share trials, masks and intervals.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from omnimouse_model.analysis.peri_event import conditions, event_windows
from omnimouse_model.data.session import Session
from omnimouse_model.errors import SessionFormatError, UnsupportedRequestError
from omnimouse_model.evaluation.results import interval_row, number_or_none
from omnimouse_model.evaluation.tier_windows import scored_starts
from omnimouse_model.metrics.information import LikelihoodSums, nlb_scores
from omnimouse_model.metrics.named import accuracy, accuracy_interval
from omnimouse_model.metrics.time_blocks import Estimate, jackknife, time_blocks
from omnimouse_model.predict.predictor import HeldOutPredictor, Predictor, of_family
from omnimouse_model.progress import Job, name_steps, shown_job
from omnimouse_model.storage.arrays.hdf5 import Hdf5, hdf5_to_write
from omnimouse_model.storage.byte_source import BlockFile

HeldOut = Literal["co-smoothing", "forward", "inter-region", "intra-region"]
HELD_OUT: Final[tuple[HeldOut, ...]] = get_args(HeldOut)
Counts = Float32[np.ndarray, "trial bin neuron"]


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutScore:
    """Bits per spike of one condition.

    Attributes
    ----------
    mean
        Mean over neurons with spikes, with its interval over trials.
    pooled
        All neurons together (co-bps, fp-bps), with its interval.
    per_neuron
        NaN for neurons without spikes in the evaluated bins, and without a region in
        conditions over regions; `mean` leaves them out.
    refusal
        Why there is no score; "" if there is one.
    """

    condition: HeldOut
    predictor: str
    session: str
    tier: str
    n_trials: int
    mean: Estimate
    pooled: Estimate
    per_neuron: Float[np.ndarray, " neuron"]
    refusal: str = ""

    @property
    def n_excluded(self) -> int:
        """Number of neurons without a score."""
        return int(np.isnan(self.per_neuron).sum())

    def row(self) -> dict[str, Any]:
        """Return the row of `--json`; a missing value is None."""
        mean, pooled = self.mean, self.pooled
        return {
            "name": "score",
            "unit": "bits per spike",
            "metric": "bits_per_spike",
            "predictor": self.predictor,
            "strategy": self.condition,
            "session": self.session,
            "tier": self.tier,
            "windows": self.n_trials,
            "n_neurons": len(self.per_neuron) - self.n_excluded,
            "n_excluded": self.n_excluded,
            "resampled": self.mean.unit,
            "refusal": self.refusal,
            **interval_row(mean.value, mean.low, mean.high),
            **interval_row(pooled.value, pooled.low, pooled.high, "pooled"),
        }


def score_held_out(
    model: Predictor,
    session: Session,
    conditions: Sequence[HeldOut] = HELD_OUT,
    *,
    tier: str = "test",
    max_trials: int | None = None,
    job: Job | None = None,
) -> list[HeldOutScore]:
    """Score a model on hidden spikes of a tier's trials; neural data transformers predict them.

    Examples
    --------
    >>> import torch
    >>> from omnimouse_model.families.ndt.network import Ndt, NdtConfig
    >>> from omnimouse_model.families.ndt.predictor import TRIALS, NdtPredictor
    >>> from omnimouse_model.simulate.spiking_laboratory import spiking_arrays
    >>> spiking = om.open_session(spiking_arrays())
    >>> sizes = NdtConfig(d_token=16, d_model=32, n_layers=1, d_inner=32)
    >>> net = Ndt(sizes, {spiking.id: spiking.n_neurons}).eval()
    >>> model = NdtPredictor("untrained", "", TRIALS, net, torch.device("cpu"))
    >>> (score,) = om.score_held_out(model, spiking, ["forward"])
    >>> score.n_trials, score.n_excluded, score.mean.value < 0.1
    (6, 0, True)

    Notes
    -----
    Intervals are those of a jackknife over blocks of trials; neurons are fixed. A
    condition that the recording does not allow has a refusal in place of a score.

    Parameters
    ----------
    max_trials
        Maximum number of trials, spread over the tier.
    job
        Progress and stop request; see `progress.Job`.

    Raises
    ------
    UnsupportedRequestError
        The model predicts no held-out spikes, or does not know the session.
    ValueError
        The tier has no trial.
    StoppedError
        `job.cancelled()` returned True.
    """
    held_out = checked_held_out(model, session)
    spec = held_out.needs.spec
    starts = scored_starts(session, tier, max_trials, spec)
    counts = trial_counts(session, held_out, starts)
    blocks = time_blocks(starts, spec.duration_s)
    scores = []
    with shown_job(job) as shown:
        for condition in conditions:
            about = (condition, held_out.predictor_id, session.id, tier, len(counts))
            try:
                of_condition = name_steps(shown, condition)
                rates, spikes = held_out.held_out_rates(condition, session, counts, of_condition)
            except UnsupportedRequestError as error:
                nothing = jackknife(float("nan"), [])
                silent = np.full(session.n_neurons, np.nan)
                scores.append(HeldOutScore(*about, nothing, nothing, silent, str(error)))
                continue
            found = _estimates(LikelihoodSums.of(rates, spikes), blocks)
            scores.append(HeldOutScore(*about, *found))
    return scores


def checked_held_out(model: Predictor, session: Session) -> HeldOutPredictor:
    """Return the model if it predicts held-out spikes and knows the session.

    Raises
    ------
    UnsupportedRequestError
        It does not.
    """
    if not ("held_out" in model.needs.methods and isinstance(model, HeldOutPredictor)):
        raise UnsupportedRequestError(
            f"{model.predictor_id} predicts no held-out spikes, as neural data transformers "
            "do. Other models are scored by strategies."
        )
    with of_family(model.predictor_id):
        model.prepare(session)
    return model


def trial_counts(session: Session, model: Predictor, starts: np.ndarray) -> Counts:
    """Return the counts of trials, NaN where they are unknown."""
    windows = (session.window(float(start), model.needs.spec) for start in starts)
    return np.stack([w.responses for w in windows]).astype(np.float32)


def _estimates(sums: LikelihoodSums, blocks: np.ndarray) -> tuple[Estimate, Estimate, np.ndarray]:
    """Return mean and pooled bits with their intervals over trials, and all bits."""
    left_out = [sums.of_trials(blocks != block) for block in np.unique(blocks)]
    own = sums.per_neuron()
    mean = jackknife(_mean(own), [_mean(rest.per_neuron()) for rest in left_out])
    pooled = jackknife(sums.pooled(), [rest.pooled() for rest in left_out])
    return mean, pooled, own


def _mean(bits: np.ndarray) -> float:
    known = bits[np.isfinite(bits)]
    return float(known.mean()) if len(known) else float("nan")


# -- files of the Neural Latents Benchmark: targets, and submissions of rates ---------
# Both are HDF5 files with one group per dataset, such as `mc_maze_20` (bins of 20 ms),
# as nlb_tools writes them:
#
#     eval_spikes_heldout                        spikes of held-out neurons (targets)
#     eval_spikes_heldin_forward, …_heldout_…    spikes of the bins after each trial
#     train_rates_heldin, train_rates_heldout    rates per bin (submissions)
#     eval_rates_heldin, eval_rates_heldout
#     eval_rates_heldin_forward, eval_rates_heldout_forward
#
# Arrays are (trial, bin, neuron).
Arrays = Mapping[str, np.ndarray]
RATES: Final = ("heldin", "heldout")
"""Kinds of rates of a submission, of train and evaluated trials."""
_TARGET: Final = "eval_spikes_heldout"
_FORWARD: Final = ("eval_spikes_heldin_forward", "eval_spikes_heldout_forward")
_MAX_BYTES: Final = 4 * 2**30


def read_nlb(path: str | Path) -> dict[str, dict[str, np.ndarray]]:
    """Read a file of targets or a submission: dataset -> its arrays by name.

    Values that are no numbers are left out.

    Raises
    ------
    SessionFormatError
        The file is missing, damaged, or has no group with arrays.
    """
    import h5py

    path = Path(path)
    file = Hdf5(BlockFile(path))
    found: dict[str, dict[str, np.ndarray]] = {}
    for item in list(file.objects()):
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "iufb":
            group, _, name = str(item.name).strip("/").rpartition("/")
            if group:
                values = file.table(str(item.name), _MAX_BYTES)
                found.setdefault(group, {})[name] = values
    if not found:
        raise SessionFormatError(
            path,
            "missing_data",
            f"{path.name} has no group with arrays; expected one per dataset, such as mc_maze_20",
        )
    return found


def write_submission(path: str | Path, datasets: Mapping[str, Arrays]) -> None:
    """Write rates as a submission; the file appears when it is complete.

    Parameters
    ----------
    datasets
        Dataset -> rates per bin by name: `train_rates_*` and `eval_rates_*` for
        "heldin" and "heldout" at least.

    Raises
    ------
    ValueError
        Rates are missing, not (trial, bin, neuron), negative or not finite; the
        message names the dataset and the array.

    Examples
    --------
    >>> from omnimouse_model.analysis.spike_scores import RATES, write_submission
    >>> names = [f"{t}_rates_{k}" for t in ("train", "eval") for k in RATES]
    >>> rates = {name: np.full((4, 10, 3), 0.2) for name in names}
    >>> write_submission("submission.h5", {"mc_maze_20": rates})
    """
    for dataset, arrays in datasets.items():
        wanted = [f"{tier}_rates_{kind}" for tier in ("train", "eval") for kind in RATES]
        for name in (*wanted, *arrays):
            if name not in arrays:
                raise ValueError(f"{dataset}: {name} is missing.")
            values = arrays[name]
            if values.ndim != 3:
                raise ValueError(
                    f"{dataset}: {name} is {values.shape}; expected (trial, bin, neuron)."
                )
            if not (np.isfinite(values) & (values >= 0)).all():
                raise ValueError(f"{dataset}: {name} has rates that are negative or not finite.")
    with hdf5_to_write(Path(path)) as file:
        for dataset, arrays in datasets.items():
            for name, values in arrays.items():
                file.create_dataset(f"{dataset}/{name}", data=values, compression="gzip")


def score_submission(target: str | Path, submission: str | Path) -> dict[str, dict[str, float]]:
    """Return co-bps, and fp-bps where the targets have it, of each dataset.

    Raises
    ------
    SessionFormatError
        A file cannot be read, or the submission lacks a dataset or an array, or an
        array has another shape than the target; the message names it.
    """
    submission = Path(submission)
    rates = read_nlb(submission)
    scores = {}
    for dataset, arrays in read_nlb(target).items():
        if _TARGET not in arrays:
            continue
        spikes: Arrays = {k: arrays[k] for k in (_TARGET, *_FORWARD) if k in arrays}
        own = rates.get(dataset)
        if own is None:
            raise _missing(submission, f"dataset {dataset}")
        for name, counts in spikes.items():
            _check(submission, dataset, own, name.replace("spikes", "rates"), counts)
        if "eval_rates_heldin" not in own:
            raise _missing(submission, f"{dataset}/eval_rates_heldin")
        scores[dataset] = nlb_scores(spikes, own)
    if not scores:
        target = Path(target)
        raise SessionFormatError(
            target, "missing_data", f"{target.name} has no dataset with {_TARGET}"
        )
    return scores


def _check(path: Path, dataset: str, arrays: Arrays, name: str, counts: np.ndarray) -> None:
    if name not in arrays:
        raise _missing(path, f"{dataset}/{name}")
    if arrays[name].shape != counts.shape:
        raise SessionFormatError(
            path,
            "shape",
            f"{path.name}: {dataset}/{name} is {arrays[name].shape}; the target is {counts.shape}",
        )


def _missing(path: Path, what: str) -> SessionFormatError:
    return SessionFormatError(path, "missing_data", f"{path.name} has no {what}")


PENALTIES: Final = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Candidate weights of the sum of squared coefficients, beside the mean log loss."""

FITTED_WITH: Final = ("train", "validation")
"""Tiers that fit the regression and choose its penalty."""


@dataclass(frozen=True, slots=True, eq=False)
class TrialDecoding:
    """Labels of the trials of a tier, decoded.

    Attributes
    ----------
    column, labels
        Column of the trial table, and its labels in the train trials.
    accuracy, interval
        Share of trials that are decoded correctly, and its 95 % interval over trials
        (`accuracy_interval`).
    balanced
        Mean of these shares over the labels.
    chance
        Share of the most frequent label of these trials.
    penalty
        The chosen L2 penalty.
    is_right
        Of each trial of the tier.
    """

    column: str
    labels: tuple[str, ...]
    predictor: str
    session: str
    tier: str
    accuracy: float
    interval: tuple[float, float]
    balanced: float
    chance: float
    penalty: float
    is_right: Bool[np.ndarray, " trial"]

    def row(self) -> dict[str, Any]:
        """Return the row of `--json`; a missing value is None."""
        low, high = self.interval
        return {
            "name": "decoded_label",
            "value": self.accuracy,
            "unit": "share of trials",
            "metric": "accuracy",
            "predictor": self.predictor,
            "strategy": "choice",
            "column": self.column,
            "labels": list(self.labels),
            "session": self.session,
            "tier": self.tier,
            "windows": len(self.is_right),
            "ci_low": number_or_none(low),
            "ci_high": number_or_none(high),
            "resampled": "trials",
            "balanced": self.balanced,
            "chance": self.chance,
            "penalty": self.penalty,
        }


def decode_trial_labels(
    model: Predictor, session: Session, column: str, *, tier: str = "test"
) -> TrialDecoding:
    """Decode a column of the trial table from the spikes of each trial.

    Examples
    --------
    >>> import torch
    >>> from omnimouse_model.families.ndt.network import Ndt, NdtConfig
    >>> from omnimouse_model.families.ndt.predictor import TRIALS, NdtPredictor
    >>> from omnimouse_model.simulate.spiking_laboratory import spiking_arrays
    >>> spiking = om.open_session(spiking_arrays())
    >>> sizes = NdtConfig(d_token=16, d_model=32, n_layers=1, d_inner=32)
    >>> net = Ndt(sizes, {spiking.id: spiking.n_neurons}).eval()
    >>> model = NdtPredictor("untrained", "", TRIALS, net, torch.device("cpu"))
    >>> found = om.decode_trial_labels(model, spiking, "stim_id")
    >>> found.labels, len(found.is_right)
    (('left', 'right'), 6)

    Notes
    -----
    Trials without a label are left out.

    Raises
    ------
    UnsupportedRequestError
        The model predicts no held-out spikes, or does not know the session; the
        column is none with a few labels; a tier has too few of them; or the regression
        itself is fitted with the tier ("train", "validation").
    """
    encoding = _Encoding(model, session, tier)
    known = conditions(session)
    if column not in known:
        raise UnsupportedRequestError(
            f"{session.id!r} has no trial column {column!r} with two or more labels; "
            f"it has {', '.join(known) or 'none'}."
        )
    return _decoding(encoding, column, known[column])


def decode_every_label(
    model: Predictor, session: Session, *, tier: str = "test"
) -> dict[str, TrialDecoding | UnsupportedRequestError]:
    """Decode each column with a few labels; the trials are encoded once for all.

    A column that cannot be decoded has the error of `decode_trial_labels`.
    """
    columns = conditions(session)
    found: dict[str, TrialDecoding | UnsupportedRequestError] = {}
    try:
        encoding = _Encoding(model, session, tier)
    except UnsupportedRequestError as error:
        return dict.fromkeys(columns, error)
    for column, labels in columns.items():
        try:
            found[column] = _decoding(encoding, column, labels)
        except UnsupportedRequestError as error:
            found[column] = error
    return found


class _Encoding:
    """Encoder of the trials of a session; it encodes each tier once.

    Parameters
    ----------
    tier
        Tier whose labels are decoded.

    Raises
    ------
    UnsupportedRequestError
        The model predicts no held-out spikes, or does not know the session; or the
        regression itself is fitted with the tier.
    """

    def __init__(self, model: Predictor, session: Session, tier: str) -> None:
        self.model, self.session = checked_held_out(model, session), session
        if tier in FITTED_WITH:
            raise UnsupportedRequestError(
                "Labels are decoded with a regression that is fitted on the tier "
                f"'train' and a penalty chosen on 'validation': {tier!r} holds nothing "
                "back. Choose another tier, such as 'test'."
            )
        self.tier = tier
        self._encoded: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def labelled(self, labels: np.ndarray, tier: str) -> tuple[Tensor, np.ndarray]:
        """Return features and labels of the trials of a tier that have a label."""
        if tier not in self._encoded:
            self._encoded[tier] = self._encode(tier)
        trials, features = self._encoded[tier]
        has_label = labels[trials] != ""
        if not has_label.any():
            raise UnsupportedRequestError(
                f"No trial of tier {tier!r} of {self.session.id!r} has a label."
            )
        return torch.from_numpy(features[has_label]), labels[trials][has_label]

    def _encode(self, tier: str) -> tuple[np.ndarray, np.ndarray]:
        """Encode a tier: row numbers of its trials, and features (trial, d_model)."""
        trials, windows = event_windows(self.session, self.model.needs.spec, tier)
        starts = np.array([window.start_s for window in windows])
        if not len(starts):
            return trials, np.zeros((0, 0))
        counts = trial_counts(self.session, self.model, starts)
        return trials, self.model.trial_features(self.session, counts)


def _decoding(encoding: _Encoding, column: str, labels: np.ndarray) -> TrialDecoding:
    """Fit the regression of a column, and decode the labels of the tier."""
    model, session, tier = encoding.model, encoding.session, encoding.tier
    x, of_train = encoding.labelled(labels, "train")
    x_validation, of_validation = encoding.labelled(labels, "validation")
    x_test, true = encoding.labelled(labels, tier)
    names, y = np.unique(of_train, return_inverse=True)
    if len(names) < 2:
        raise UnsupportedRequestError(
            f"The train trials of {session.id!r} have the labels "
            f"{', '.join(names.tolist()) or '(none)'} in {column!r}; expected two."
        )
    target = torch.from_numpy(y.reshape(-1))
    # A label that no train trial has cannot be predicted, and tells no penalty.
    is_known = np.isin(of_validation, names)
    if not is_known.any():
        raise UnsupportedRequestError(
            f"{session.id!r} has no validation trial with a label in {column!r}, on "
            "which the penalty could be chosen."
        )
    held_out = torch.from_numpy(np.searchsorted(names, of_validation[is_known]))
    fits = {p: fit_logistic(x, target, p, len(names)) for p in PENALTIES}
    losses = {
        p: float(torch.nn.functional.cross_entropy(fit(x_validation[is_known]), held_out))
        for p, fit in fits.items()
    }
    penalty = min(PENALTIES, key=losses.__getitem__)
    chosen = names[fits[penalty](x_test).argmax(1).numpy()]
    right = chosen == true
    return TrialDecoding(
        column,
        tuple(names.tolist()),
        model.predictor_id,
        session.id,
        tier,
        accuracy(chosen, true, balanced=False).value,
        accuracy_interval(right),
        accuracy(chosen, true, balanced=True).value,
        float(np.unique(true, return_counts=True)[1].max() / len(true)),
        penalty,
        right,
    )


def fit_logistic(
    x: Tensor,
    y: Tensor,
    penalty: float,
    n_classes: int,
    *,
    weights: Tensor | None = None,
    max_steps: int = 500,
) -> Callable[[Tensor], Tensor]:
    """Fit a regression to standardised features; return a function to logits.

    Parameters
    ----------
    x, y
        float64 (sample, feature), and the class of each sample.
    penalty
        Weight of the sum of squared coefficients, beside the mean log loss.
    weights
        Weight of each class; equal by default.
    """
    mean, sd = x.mean(0), x.std(0, correction=0)
    sd = torch.where(sd > 0, sd, torch.ones_like(sd))
    z = (x - mean) / sd
    slopes = torch.zeros(x.shape[1], n_classes, dtype=torch.float64)
    bias = torch.zeros(n_classes, dtype=torch.float64)
    optimiser = torch.optim.LBFGS(
        [slopes.requires_grad_(), bias.requires_grad_()],
        max_iter=max_steps,
        line_search_fn="strong_wolfe",
        tolerance_change=1e-7,
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        value: Tensor = torch.nn.functional.cross_entropy(z @ slopes + bias, y, weights)
        value = value + penalty * (slopes**2).sum()
        torch.autograd.backward(value)
        return value

    optimiser.step(loss)
    w, b = slopes.detach(), bias.detach()
    return lambda other: (other - mean) / sd @ w + b
