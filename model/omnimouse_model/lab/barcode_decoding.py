"""Decoding of a label of the neurons from what a model has learned of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from omnimouse_model.analysis.barcodes import PENALTIES, LearnedNeurons
from omnimouse_model.analysis.spike_scores import fit_logistic
from omnimouse_model.data.session import Session
from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.masks.neuron_table import known_values, table_columns
from omnimouse_model.metrics.fits import scipy_module
from omnimouse_model.progress import QUIET, Job, part_of, shows_progress

# -- decoding of a label, such as the area, from the barcodes of neurons
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


@shows_progress
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
                fit_logistic(x, y, 1e-9, len(names))(x), y, reduction="sum"
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


# -- decoding of a label of the neurons from what a model has learned of them
NEURONS_PER_PARAMETER = 10
"""Neurons that the control for depth needs per parameter of the barcodes."""


@dataclass(frozen=True, slots=True, eq=False)
class BarcodeDecoding:
    """How well barcodes predict a label, such as the area, beside a control.

    Attributes
    ----------
    label, n_neurons
        Column of the neuron table, and the number of neurons whose label is known.
    found, shuffled
        Decoding of the labels, and of shuffled labels.
    beyond_depth
        Test whether barcodes say more than the depth. None where depths are unknown,
        and for fewer than ten neurons per parameter: below, the test finds differences
        in noise.
    predictor_id, session_id
        The model and the recording.
    """

    label: str
    n_neurons: int
    found: LabelDecoding
    shuffled: LabelDecoding
    beyond_depth: LikelihoodRatio | None
    predictor_id: str
    session_id: str

    @property
    def chance(self) -> float:
        """Balanced accuracy of a guess."""
        return 1 / len(self.found.classes)

    @property
    def summary(self) -> str:
        """Balanced accuracy, beside that of shuffled labels and of a guess."""
        text = (
            f"{self.label} of {self.n_neurons:,} neurons: balanced accuracy "
            f"{100 * self.found.balanced_accuracy:z.0f} %, with shuffled labels "
            f"{100 * self.shuffled.balanced_accuracy:z.0f} %, chance {100 * self.chance:z.0f} %"
        )
        if self.beyond_depth is None:
            return text
        return f"{text}; beyond the depth: p = {self.beyond_depth.p_value:.2g}"


@shows_progress
def decode_barcodes(
    learned: LearnedNeurons,
    session: Session,
    label: str = "area",
    *,
    folds: int = 10,
    seed: int = 0,
    job: Job = QUIET,
) -> BarcodeDecoding:
    """Predict a label of each neuron from its barcode, by nested cross-validation.

    Parameters
    ----------
    learned
        The barcodes: `learned_neurons(predictor, session)`.
    label
        Column of the neuron table.
    folds
        Outer and inner folds.
    job
        Progress and stop request; see `progress.Job`.

    Raises
    ------
    UnsupportedRequestError
        The model has no barcodes.
    ValueError
        There is no such column, or too few neurons of a class.
    StoppedError
        `job.cancelled()` returned True.
    """
    columns = table_columns(session)
    if label not in columns:
        raise ValueError(f"No column {label!r}; there are {', '.join(columns)}.")
    if learned.barcodes is None:
        raise UnsupportedRequestError(f"{learned.predictor_id} has no barcodes.")
    labels = columns[label].astype(str)
    is_known = np.isin(labels, known_values(columns[label]))
    codes, labels = learned.barcodes[is_known], labels[is_known]
    shuffled = np.random.default_rng(seed).permutation(labels)

    def decoded(chosen: np.ndarray, before: float) -> LabelDecoding:
        return decode_label(
            codes,
            chosen,
            n_outer=folds,
            n_inner=folds,
            seed=seed,
            job=part_of(job, before, before + 0.5),
        )

    return BarcodeDecoding(
        label,
        len(labels),
        decoded(labels, 0.0),
        decoded(shuffled, 0.5),
        _beyond_depth(codes, columns["depth"][is_known], labels, label),
        learned.predictor_id,
        session.id,
    )


def _beyond_depth(
    codes: np.ndarray, depth: np.ndarray, labels: np.ndarray, label: str
) -> LikelihoodRatio | None:
    has_depth = np.isfinite(depth)
    codes, depth, labels = codes[has_depth], depth[has_depth], labels[has_depth]
    n_parameters = codes.shape[1] * (len(np.unique(labels)) - 1)
    is_possible = label != "depth" and len(np.unique(depth)) > 1 and n_parameters > 0
    if not is_possible or len(codes) < NEURONS_PER_PARAMETER * n_parameters:
        return None
    return beyond_covariate(codes, depth.astype(float), labels)
