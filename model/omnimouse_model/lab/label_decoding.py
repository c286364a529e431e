"""Decoding of a label, such as the area, from the barcodes of neurons.

Multinomial logistic regression with an L2 penalty in nested cross-validation: the inner
folds choose the penalty, and the outer folds predict every neuron once. Features are
standardised inside the folds. Classes have equal weights, as in the balanced accuracy.
Source: Wang et al. 2025.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from omnimouse_model.errors import StoppedError
from omnimouse_model.lab.decoding_cost import PENALTIES
from omnimouse_model.metrics.fits import scipy_module
from omnimouse_model.metrics.logistic import fit_logistic
from omnimouse_model.progress import QUIET, Job

_MAX_STEPS = 60


@dataclass(frozen=True, slots=True, eq=False)
class LabelDecoding:
    """Predictions of a label by nested cross-validation.

    Attributes
    ----------
    classes
        Names of the classes, sorted.
    predicted
        Class of each neuron, predicted by a fit without it.
    confusion
        Share of the neurons of each class (row) that are predicted as each class.
    balanced_accuracy
        Mean of the diagonal: chance is 1 / number of classes.
    """

    classes: tuple[str, ...]
    predicted: Int64[np.ndarray, " neuron"]
    confusion: Float[np.ndarray, "true predicted"]

    @property
    def balanced_accuracy(self) -> float:
        """Mean share of correct predictions over the classes."""
        return float(np.diag(self.confusion).mean())


def decode_label(
    features: Float[np.ndarray, "neuron d"],
    labels: np.ndarray,
    *,
    n_outer: int = 10,
    n_inner: int = 10,
    seed: int = 0,
    job: Job = QUIET,
) -> LabelDecoding:
    """Predict the label of each neuron from its features.

    Parameters
    ----------
    labels
        Texts or numbers (neuron,). Shuffle them for a control.
    n_outer, n_inner
        Folds; a class needs as many neurons as there are outer folds.
    job
        Progress and stop request; see `progress.Job`.

    Raises
    ------
    ValueError
        There are fewer than two classes, or a class has fewer neurons than folds.
    StoppedError
        `job.cancelled()` returned True.
    """
    names, target = np.unique(np.asarray(labels).astype(str), return_inverse=True)
    counts = np.bincount(target)
    if len(names) < 2 or counts.min() < n_outer:
        found = ", ".join(f"{n}: {c}" for n, c in zip(names, counts, strict=True))
        raise ValueError(
            f"Two classes with at least {n_outer} neurons each are needed; found {found or 'none'}."
        )
    generator = np.random.default_rng(seed)
    x = torch.from_numpy(np.asarray(features, np.float64))
    y = torch.from_numpy(target.reshape(-1))
    fold = _stratified(target, n_outer, generator)
    predicted = np.zeros(len(target), np.int64)
    for k in range(n_outer):
        if job.cancelled():
            raise StoppedError(f"Stopped after {k} of {n_outer} folds.")
        train, test = fold != k, fold == k
        inner = _stratified(target[train], n_inner, generator)
        penalty = _best_penalty(x[train], y[train], inner, len(names))
        logits = _balanced_fit(x[train], y[train], penalty, len(names))(x[test])
        predicted[test] = logits.argmax(1).numpy()
        job.progress(k + 1, n_outer)
    confusion = np.zeros((len(names), len(names)))
    np.add.at(confusion, (target, predicted), 1.0)
    confusion /= confusion.sum(axis=1, keepdims=True)
    return LabelDecoding(tuple(names.tolist()), predicted, confusion)


@dataclass(frozen=True, slots=True)
class LikelihoodRatio:
    """Result of a likelihood-ratio test of barcodes against a covariate alone.

    It tests whether barcodes and a covariate, such as the depth, predict a label better
    than the covariate does.

    Attributes
    ----------
    statistic, degrees
        Twice the difference of the log likelihoods, and of the numbers of parameters.
    p_value
        Of the statistic under a chi-squared distribution.
    """

    statistic: float
    degrees: int
    p_value: float


def beyond_covariate(
    features: Float[np.ndarray, "neuron d"],
    covariate: Float[np.ndarray, " neuron"],
    labels: np.ndarray,
) -> LikelihoodRatio:
    """Compare fits to all neurons with and without the features.

    The fits have no penalty but a negligible one that keeps them finite.
    """
    names, target = np.unique(np.asarray(labels).astype(str), return_inverse=True)
    y = torch.from_numpy(target.reshape(-1))
    alone = torch.from_numpy(np.asarray(covariate, np.float64)[:, None])
    both = torch.cat([alone, torch.from_numpy(np.asarray(features, np.float64))], 1)
    log_likelihood = [
        -float(
            torch.nn.functional.cross_entropy(
                fit_logistic(x, y, 1e-9, len(names))(x),
                y,
                reduction="sum",
            )
        )
        for x in (alone, both)
    ]
    statistic = 2 * (log_likelihood[1] - log_likelihood[0])
    degrees = features.shape[1] * (len(names) - 1)
    p_value = float(scipy_module("stats").chi2.sf(statistic, degrees))
    return LikelihoodRatio(statistic, degrees, p_value)


def _stratified(target: np.ndarray, n_folds: int, generator: np.random.Generator) -> np.ndarray:
    """Return the fold of each neuron; each class is spread over all folds."""
    fold = np.zeros(len(target), np.int64)
    first = 0
    for value in np.unique(target):
        own = generator.permutation(np.flatnonzero(target == value))
        # Where one class ends, the next goes on, so that folds have equal sizes.
        fold[own] = (first + np.arange(len(own))) % n_folds
        first += len(own)
    return fold


def _best_penalty(x: Tensor, y: Tensor, fold: np.ndarray, n_classes: int) -> float:
    """Return the penalty with the smallest log loss in the inner folds."""
    losses = np.zeros(len(PENALTIES))
    for k in range(fold.max() + 1):
        train, test = fold != k, fold == k
        for number, penalty in enumerate(PENALTIES):
            found = _balanced_fit(x[train], y[train], penalty, n_classes)(x[test])
            loss = torch.nn.functional.cross_entropy(
                found, y[test], _equal_weights(y, n_classes), reduction="sum"
            )
            losses[number] += float(loss)
    return PENALTIES[int(losses.argmin())]


def _equal_weights(y: Tensor, n_classes: int) -> Tensor:
    """Return weights with which all classes count equally."""
    counts = torch.bincount(y, minlength=n_classes).clamp(min=1)
    return len(y) / (n_classes * counts.to(torch.float64))


def _balanced_fit(
    x: Tensor, y: Tensor, penalty: float, n_classes: int
) -> Callable[[Tensor], Tensor]:
    """Fit a regression in which all classes count equally."""
    equal = _equal_weights(y, n_classes)
    return fit_logistic(x, y, penalty, n_classes, weights=equal, max_steps=_MAX_STEPS)
