"""Bits per spike of held-out spikes on the trials of a tier, and files of the benchmark.

    co-smoothing   each neuron from all others
    forward        windows of 10 bins from the onset on, each from all bins before it
    inter-region   the neurons of each region from all other regions
    intra-region   each neuron from the other neurons of its region

Source: Jiang et al. 2025, with the metric of the Neural Latents Benchmark.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from jaxtyping import Float, Float32

from omnimouse_model.data.session import Session
from omnimouse_model.errors import SessionFormatError, UnsupportedRequestError
from omnimouse_model.evaluation.results import number_or_none
from omnimouse_model.evaluation.tier_windows import scored_starts
from omnimouse_model.metrics.information import LikelihoodSums, nlb_scores
from omnimouse_model.metrics.time_blocks import Estimate, jackknife, time_blocks
from omnimouse_model.predict.predictor import HeldOutPredictor, Predictor
from omnimouse_model.progress import CallbackJob, Job, shown_job
from omnimouse_model.storage.arrays.hdf5 import Hdf5, hdf5_to_write
from omnimouse_model.storage.byte_source import LocalFile

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
        numbers = {
            "value": self.mean.value,
            "ci_low": self.mean.low,
            "ci_high": self.mean.high,
            "pooled": self.pooled.value,
            "pooled_ci_low": self.pooled.low,
            "pooled_ci_high": self.pooled.high,
        }
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
        } | {name: number_or_none(value) for name, value in numbers.items()}


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

    Intervals are those of a jackknife over blocks of trials; neurons are fixed. A
    condition that the recording does not allow has a refusal in place of a score.

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
    with shown_job(job) as shown:
        return [
            _score(condition, held_out, session, counts, blocks, tier, shown)
            for condition in conditions
        ]


def _score(
    condition: HeldOut,
    model: HeldOutPredictor,
    session: Session,
    counts: Counts,
    blocks: np.ndarray,
    tier: str,
    job: Job,
) -> HeldOutScore:
    """Return the score of one condition, or its refusal."""
    named = CallbackJob(lambda done, of, _: job.progress(done, of, condition), job.cancelled)
    about = (condition, model.predictor_id, session.id, tier, len(counts))
    try:
        rates, spikes = model.held_out_rates(condition, session, counts, named)
    except UnsupportedRequestError as error:
        nothing = jackknife(float("nan"), [])
        silent = np.full(session.n_neurons, np.nan)
        return HeldOutScore(*about, nothing, nothing, silent, str(error))
    found = _estimates(LikelihoodSums.of(rates, spikes), blocks)
    return HeldOutScore(*about, *found)


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
    file = Hdf5(LocalFile(path))
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
    >>> from omnimouse_model.analysis.held_out_neurons import RATES, write_submission
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
