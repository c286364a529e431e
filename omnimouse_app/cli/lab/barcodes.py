"""`omnimouse lab barcodes`: a label of the neurons, from what a model has learned."""

from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.interrupt import exit_stopped, interruptible
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
    from omnimouse_model.analysis.barcodes import learned_neurons
    from omnimouse_model.errors import StoppedError
    from omnimouse_model.lab.barcode_decoding import decode_barcodes

    with interruptible() as stop, Progress() as line:
        job = stop.job(lambda done, of, _: line(done, of, "folds"))
        try:
            learned = learned_neurons(predictor, recording, job.cancelled)
            found = decode_barcodes(learned, recording, label, folds=folds, seed=seed, job=job)
        except StoppedError:
            exit_stopped("nothing was written.")
    rows: list[dict[str, Any]] = [
        {"name": "balanced_accuracy", "value": found.found.balanced_accuracy},
        {
            "name": "balanced_accuracy_shuffled",
            "value": found.shuffled.balanced_accuracy,
        },
        {"name": "chance", "value": found.chance},
    ]
    rows += [
        {"name": f"recall_{name}", "value": float(found.found.confusion[k, k])}
        for k, name in enumerate(found.found.classes)
    ]
    n = found.n_neurons
    rows = [row | {"unit": "share", "n": n} for row in rows]
    if found.beyond_depth is not None:
        p_value = found.beyond_depth.p_value
        rows.append({"name": "beyond_depth", "value": p_value, "unit": "p", "n": n})
    emit(
        [row | {"predictor": found.predictor_id} for row in rows],
        as_json=as_json,
        title=f"{label} from barcodes of {found.predictor_id}, {recording.id}",
        columns=COLUMNS,
    )
