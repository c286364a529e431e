"""Scores of the Neural Latents Benchmark (Pei et al. 2021).

Co-bps and fp-bps are bits per spike, pooled over held-out neurons, or over the bins
after a trial. Two more describe what the rates contain: the velocity of the hand, by
ridge regression, and the average over trials of each condition (PSTH).
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int64

from omnimouse_model.metrics.information import bits_per_spike

PENALTIES = np.logspace(-4, 0, 9)
"""Ridge penalties of which cross-validation chooses one."""
FOLDS = 5
Arrays = Mapping[str, np.ndarray]


def nlb_scores(
    target: Arrays,
    submission: Arrays,
    condition_of_trial: Int64[np.ndarray, " trial"] | None = None,
) -> dict[str, float]:
    """Return the scores of rates, with the names of the benchmark.

    Parameters
    ----------
    target
        Spikes and behaviour by the benchmark's names: `eval_spikes_heldout`
        (trial, bin, neuron); if given, `train_behavior` and `eval_behavior`
        (trial, bin, 2), `psth` (condition, bin, neuron), and the spikes
        `eval_spikes_heldin_forward` and `eval_spikes_heldout_forward`.
    submission
        Rates per bin: `train_rates_*` and `eval_rates_*` for `heldin`, `heldout`, and
        `heldin_forward` and `heldout_forward`.
    condition_of_trial
        Condition of each evaluated trial, an index of `psth`.

    Raises
    ------
    ValueError
        Rates are negative or not finite where there are spikes.
    """
    rates = _joined(submission, "eval_rates_heldin", "eval_rates_heldout")
    held_out = submission["eval_rates_heldout"]
    scores = {"co-bps": bits_per_spike(held_out, target["eval_spikes_heldout"]).value}
    if "train_behavior" in target:
        trained = _joined(submission, "train_rates_heldin", "train_rates_heldout")
        scores["vel R2"] = decoding_r2(
            _flat(trained),
            _flat(target["train_behavior"]),
            _flat(rates),
            _flat(target["eval_behavior"]),
        )
    if "psth" in target and condition_of_trial is not None:
        scores["psth R2"] = psth_r2(target["psth"], rates, condition_of_trial)
    if "eval_spikes_heldin_forward" in target:
        names = ("heldin_forward", "heldout_forward")
        scores["fp-bps"] = bits_per_spike(
            _joined(submission, *(f"eval_rates_{name}" for name in names)),
            _joined(target, *(f"eval_spikes_{name}" for name in names)),
        ).value
    return scores


def psth_r2(
    psth: Float[np.ndarray, "condition bin neuron"],
    rates: Float[np.ndarray, "trial bin neuron"],
    condition_of_trial: Int64[np.ndarray, " trial"],
) -> float:
    """Return R² of averages over trials, mean over neurons.

    Bins whose first neuron has no average are left out, as in the benchmark.
    """
    true, predicted = [], []
    for condition in np.unique(condition_of_trial):
        recorded = np.isfinite(psth[condition, :, 0])
        average = rates[condition_of_trial == condition].mean(axis=0)
        true.append(psth[condition][recorded])
        predicted.append(average[recorded])
    return r2(np.concatenate(true), np.concatenate(predicted))


def decoding_r2(
    train_rates: Float[np.ndarray, "sample neuron"],
    train_values: Float[np.ndarray, "sample channel"],
    rates: Float[np.ndarray, "other neuron"],
    values: Float[np.ndarray, "other channel"],
) -> float:
    """Return R² of a ridge regression, whose penalty is chosen by cross-validation.

    Samples whose first value is missing are left out.
    """
    train_rates, train_values = _recorded(train_rates, train_values)
    rates, values = _recorded(rates, values)
    folds = np.array_split(np.arange(len(train_rates)), FOLDS)
    scores = np.zeros(len(PENALTIES))
    for held_out in folds:
        fitted = np.ones(len(train_rates), bool)
        fitted[held_out] = False
        for k, penalty in enumerate(PENALTIES):
            found = _ridge(
                train_rates[fitted],
                train_values[fitted],
                train_rates[held_out],
                penalty,
            )
            scores[k] += r2(train_values[held_out], found)
    best = PENALTIES[int(np.argmax(scores))]
    return r2(values, _ridge(train_rates, train_values, rates, best))


def r2(true: np.ndarray, predicted: np.ndarray) -> float:
    """Return R² of columns, mean over columns; a constant column counts 1 or 0."""
    residual = ((true - predicted) ** 2).sum(axis=0)
    total = ((true - true.mean(axis=0)) ** 2).sum(axis=0)
    is_constant = total == 0
    share = residual / np.where(is_constant, 1.0, total)
    shares = np.where(is_constant, (residual > 0).astype(float), share)
    return float(np.mean(1 - shares))


def _ridge(
    inputs: np.ndarray, outputs: np.ndarray, others: np.ndarray, penalty: float
) -> np.ndarray:
    center, middle = inputs.mean(axis=0), outputs.mean(axis=0)
    x, y = inputs - center, outputs - middle
    gram = x.T @ x + penalty * np.eye(x.shape[1])
    predicted: np.ndarray = (others - center) @ np.linalg.solve(gram, x.T @ y) + middle
    return predicted


def _recorded(rates: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    is_recorded = np.isfinite(values[:, 0])
    return rates[is_recorded], values[is_recorded]


def _joined(arrays: Arrays, *names: str) -> np.ndarray:
    return np.concatenate([np.asarray(arrays[name], float) for name in names], axis=-1)


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, values.shape[-1])
