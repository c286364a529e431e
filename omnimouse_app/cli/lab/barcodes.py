"""`omnimouse lab barcodes`: a label of the neurons, from what a model has learned."""

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.lab.experiment import COLUMNS, experiment_options
from omnimouse_app.cli.output import emit
from omnimouse_app.cli.progress import Progress

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session
    from omnimouse_model.predict.predictor import Predictor


@click.command("barcodes")
@click.option(
    "--label", default="area", show_default=True,
    help="Column of the neuron table, also one of --unit-tables.",
)  # fmt: skip
@click.option(
    "--folds", default=10, show_default=True, type=click.IntRange(min=2),
    help="Outer and inner folds.",
)  # fmt: skip
@experiment_options
def command(
    recording: "Session",
    predictor: "Predictor",
    label: str,
    folds: int,
    seed: int,
    as_json: bool,
) -> None:
    """Predict a LABEL of the neurons, such as the area, from what MODEL has learned.

    Nested cross-validation; with shuffled labels as control, and, where depths are
    known, a likelihood-ratio test of barcodes beyond the depth.
    """
    import numpy as np

    from omnimouse_model.analysis.barcodes import learned_neurons
    from omnimouse_model.lab.label_decoding import beyond_covariate, decode_label
    from omnimouse_model.masks.neuron_table import table_columns

    columns = table_columns(recording)
    if label not in columns:
        raise click.UsageError(f"No column {label!r}; there are {', '.join(columns)}.")
    codes = learned_neurons(predictor, recording).barcodes
    if codes is None:
        raise click.UsageError(f"{predictor.predictor_id} has no barcodes.")
    labels = columns[label].astype(str)
    is_known = (labels != "") & (labels != "nan")
    codes, labels = codes[is_known], labels[is_known]
    shuffled = np.random.default_rng(seed).permutation(labels)
    with Progress() as line:
        found, control = (
            decode_label(
                codes,
                chosen,
                n_outer=folds,
                n_inner=folds,
                seed=seed,
                progress=partial(line, text=text),
            )
            for chosen, text in ((labels, "folds"), (shuffled, "folds, shuffled"))
        )
    n = len(labels)
    rows: list[dict[str, Any]] = [
        {"name": "balanced_accuracy", "value": found.balanced_accuracy},
        {"name": "balanced_accuracy_shuffled", "value": control.balanced_accuracy},
        {"name": "chance", "value": 1 / len(found.classes)},
    ]
    rows += [
        {"name": f"recall_{name}", "value": float(found.confusion[k, k])}
        for k, name in enumerate(found.classes)
    ]
    rows = [row | {"unit": "share", "n": n} for row in rows]
    depth = columns["depth"][is_known].astype(float)
    if np.isfinite(depth).all() and len(np.unique(depth)) > 1:
        ratio = beyond_covariate(codes, depth, labels)
        rows.append(
            {"name": "beyond_depth", "value": ratio.p_value, "unit": "p", "n": n}
        )
    emit(
        [row | {"predictor": str(predictor.predictor_id)} for row in rows],
        as_json=as_json,
        title=f"{label} from barcodes of {predictor.predictor_id}, {recording.id}",
        columns=COLUMNS,
    )
