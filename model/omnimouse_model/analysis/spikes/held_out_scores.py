"""Bits per spike of held-out spikes, on the trials of a tier.

    co-smoothing   each neuron from all others
    forward        windows of 10 bins from the onset on, each from all bins before it
    inter-region   the neurons of each region from all other regions
    intra-region   each neuron from the other neurons of its region

Source: Jiang et al. 2025, with the metric of the Neural Latents Benchmark.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Float32

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.evaluation.results import number_or_none
from omnimouse_model.evaluation.tier_windows import scored_starts
from omnimouse_model.families.ndt.held_out_rates import (
    N_WINDOWS,
    WINDOW,
    forward_windows,
    inter_region,
    intra_region,
    one_neuron_out,
)
from omnimouse_model.families.ndt.predictor import NdtPredictor
from omnimouse_model.metrics.information import LikelihoodSums
from omnimouse_model.metrics.time_blocks import Estimate, jackknife, time_blocks
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import QUIET, CallbackJob, Job, shown_job

HeldOut = Literal["co-smoothing", "forward", "inter-region", "intra-region"]
HELD_OUT: Final[tuple[HeldOut, ...]] = get_args(HeldOut)
Counts = Float32[np.ndarray, "trial bin neuron"]
Scored = Float32[np.ndarray, "trial scored neuron"]


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
    """Score a neural data transformer on hidden spikes of a tier's trials.

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
        The model is no neural data transformer, or does not know the session.
    ValueError
        The tier has no trial.
    StoppedError
        `job.cancelled()` returned True.
    """
    ndt = checked_ndt(model, session)
    starts = scored_starts(session, tier, max_trials, ndt.spec)
    counts = trial_counts(session, ndt, starts)
    blocks = time_blocks(starts, ndt.spec.duration_s)
    with shown_job(job) as shown:
        return [
            _score(condition, ndt, session, counts, blocks, tier, shown) for condition in conditions
        ]


def _score(
    condition: HeldOut,
    model: NdtPredictor,
    session: Session,
    counts: Counts,
    blocks: np.ndarray,
    tier: str,
    job: Job,
) -> HeldOutScore:
    """Return the score of one condition, or its refusal."""
    named = CallbackJob(lambda done, of, _: job.progress(done, of, condition), job.cancelled)
    about = (condition, model.predictor_id, session.id, tier, len(counts))
    refusal = _refusal(condition, session, model.spec)
    if refusal:
        nothing = jackknife(float("nan"), [])
        silent = np.full(session.n_neurons, np.nan)
        return HeldOutScore(*about, nothing, nothing, silent, refusal)
    rates, spikes = held_out_rates(condition, model, session, counts, named)
    found = _estimates(LikelihoodSums.of(rates, spikes), blocks)
    return HeldOutScore(*about, *found)


def held_out_rates(
    condition: HeldOut,
    model: NdtPredictor,
    session: Session,
    counts: Counts,
    job: Job = QUIET,
) -> tuple[Scored, Scored]:
    """Return the rates per bin of the hidden entries, and their spikes.

    Spikes are NaN where they are unknown; the network gets none there, as in training.
    "forward" has the bins of its windows alone: eleven windows from the onset on, as in
    the paper; shorter trials have fewer.
    """
    spikes = torch.from_numpy(np.nan_to_num(counts)).to(model.device)
    if condition == "forward":
        onset, n_windows = _forward_bins(model.spec)
        rates = forward_windows(*(model.net, session.id, spikes), onset=onset, n_windows=n_windows)
        return rates, counts[:, onset : onset + n_windows * WINDOW]
    regions = session.units.region_of
    rates_of: dict[str, Callable[..., np.ndarray]] = {
        "co-smoothing": partial(one_neuron_out, job=job),
        "inter-region": partial(inter_region, regions=regions),
        "intra-region": partial(intra_region, regions=regions, job=job),
    }
    rates = rates_of[condition](model.net, session.id, spikes)
    # Neurons without a region are predicted by no condition over regions.
    if "region" in condition:
        counts = np.where(np.array(regions) == "", np.float32("nan"), counts)
    return rates, counts


def checked_ndt(model: Predictor, session: Session) -> NdtPredictor:
    """Return the model if it is a neural data transformer that knows the session.

    Raises
    ------
    UnsupportedRequestError
        It is not.
    """
    if not isinstance(model, NdtPredictor):
        raise UnsupportedRequestError(
            f"{model.predictor_id} is no neural data transformer: held-out spikes are "
            "scored of these alone. Other models are scored by strategies."
        )
    model.prepare(session)
    return model


def trial_counts(session: Session, model: NdtPredictor, starts: np.ndarray) -> Counts:
    """Return the counts of trials, NaN where they are unknown."""
    windows = (session.window(float(start), model.spec) for start in starts)
    return np.stack([w.responses for w in windows]).astype(np.float32)


def _forward_bins(spec: WindowSpec) -> tuple[int, int]:
    """Return the bin of the onset, and the number of windows from there on."""
    onset = round(-spec.trial_offset_s * spec.response_rate_hz)
    return onset, min(N_WINDOWS, (spec.n_samples - onset) // WINDOW)


def _refusal(condition: HeldOut, session: Session, spec: WindowSpec) -> str:
    """Return why a condition is not possible in a session, else ""."""
    if condition == "forward":
        onset, n_windows = _forward_bins(spec)
        if onset < 0:
            return (
                f"The model's trials begin {spec.trial_offset_s:g} s after the onset: "
                "there are no bins of the onset to predict from."
            )
        if n_windows < 1:
            return (
                f"The model's trials have {spec.n_samples - onset} bins from the onset "
                f"on; a window has {WINDOW}."
            )
    if "region" not in condition:
        return ""
    names = session.units.regions
    if not names:
        return "The recording does not state the region of its units."
    if condition == "inter-region" and len(names) == 1:
        placed = "units with a region" if "" in session.units.region_of else "units"
        return f"All {placed} are in {names[0]}: there is no other to predict from."
    return ""


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
