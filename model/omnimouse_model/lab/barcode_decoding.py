"""Decoding of a label of the neurons from what a model has learned of them."""

from dataclasses import dataclass

import numpy as np

from omnimouse_model.analysis.barcodes import LearnedNeurons
from omnimouse_model.data.session import Session
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.lab.label_decoding import (
    LabelDecoding,
    LikelihoodRatio,
    beyond_covariate,
    decode_label,
)
from omnimouse_model.masks.neuron_table import known_values, table_columns
from omnimouse_model.progress import QUIET, Job, part_of

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
