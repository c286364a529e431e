"""`omnimouse evaluate --held-out`: hidden spikes, and decoded labels of trials."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import click

from omnimouse_app.cli.interrupt import interruptible
from omnimouse_app.cli.output import emit, interval, table
from omnimouse_app.cli.progress import Progress

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session
    from omnimouse_model.predict.predictor import Predictor

Row = dict[str, Any]
CHOICE: Final = "choice"
CONDITIONS: Final = (
    *("co-smoothing", "forward", "inter-region", "intra-region"),
    CHOICE,
)


def held_out_option(command: Any) -> Any:
    """Add `--held-out`, a condition that may be repeated."""
    return click.option(
        "--held-out",
        "held_out",
        multiple=True,
        type=click.Choice([*CONDITIONS, "all"]),
        help="Score a neural data transformer on hidden spikes, or on decoded labels "
        "of trials (choice), instead of strategies. May be repeated.",
    )(command)


def evaluate_spikes(
    held_out: Sequence[str],
    models: Sequence[str],
    sessions: "Sequence[Session]",
    tiers: Sequence[str],
    max_windows: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Score models, and print a table or rows."""
    from omnimouse_model.predict.registry import load_predictor

    asked = CONDITIONS if "all" in held_out else tuple(dict.fromkeys(held_out))
    rows: list[Row] = []
    with interruptible() as stop, Progress() as progress:
        predictors = [load_predictor(name, device=device) for name in models]
        for predictor, session, tier in product(predictors, sessions, tiers):
            # Decoded labels alone need no spikes of all trials.
            if {*asked} - {CHOICE}:
                rows += _bits(predictor, session, tier, asked, max_windows, progress, stop.check)
            if CHOICE in asked:
                rows += _choices(predictor, session, tier)
    emit(rows, as_json=as_json, text=_text(rows))
    if all(row["value"] is None for row in rows):
        raise click.ClickException("No score: every condition was refused.")


def _bits(
    predictor: "Predictor",
    session: "Session",
    tier: str,
    asked: Sequence[str],
    max_windows: int | None,
    progress: Progress,
    check: Any,
) -> list[Row]:
    """Return the rows of hidden spikes."""
    from omnimouse_model.analysis.spikes.held_out_scores import HELD_OUT, score_held_out
    from omnimouse_model.progress import CallbackJob

    def show(done: float, total: float, text: str) -> None:
        check()
        progress(done, total, text)

    conditions = [name for name in HELD_OUT if name in asked]
    scores = score_held_out(
        predictor,
        session,
        conditions,
        tier=tier,
        max_trials=max_windows,
        job=CallbackJob(show),
    )
    return [score.row() for score in scores]


def _choices(predictor: "Predictor", session: "Session", tier: str) -> list[Row]:
    """Return a row for every column with labels; its refusal where there is none."""
    from omnimouse_model.analysis.spikes.trial_labels import decode_every_label
    from omnimouse_model.errors import UnsupportedRequestError

    shared: Row = {"name": "decoded_label", "value": None, "strategy": CHOICE}
    shared |= {"predictor": predictor.predictor_id, "session": session.id}
    shared |= {"tier": tier, "unit": "share of trials"}
    decodings = decode_every_label(predictor, session, tier=tier)
    if not decodings:
        return [shared | {"refusal": "No column of the trials has a few labels."}]
    return [
        # Other columns can have labels in all tiers.
        shared | {"column": column, "refusal": str(decoding)}
        if isinstance(decoding, UnsupportedRequestError)
        else decoding.row()
        for column, decoding in decodings.items()
    ]


def _text(rows: Sequence[Row]) -> str:
    """Return tables of bits per spike and of decoded labels, and refusals."""
    blocks = []
    bits = [row for row in rows if row["name"] == "score"]
    if bits:
        blocks.append(
            "bits per spike over the mean rate of each neuron: mean over neurons with "
            "spikes, and of all neurons together; 95 % over trials"
        )
        blocks.append(table([_bits_cells(row) for row in bits]))
    decoded = [row for row in rows if row["name"] == "decoded_label"]
    if decoded:
        blocks.append(
            "decoded labels of trials: share of correct ones, 95 % over trials; chance "
            "is the share of the most frequent label"
        )
        blocks.append(table([_label_cells(row) for row in decoded]))
    refused = [row for row in rows if row.get("refusal")]
    blocks += [
        f"- {row['session']}, {row.get('column', row['strategy'])}: {row['refusal']}"
        for row in refused
    ]
    return "\n\n".join(blocks)


def _bits_cells(row: Row) -> Row:
    about = {k: row[k] for k in ("predictor", "session", "tier")}
    return about | {
        "condition": row["strategy"],
        "mean": row["value"],
        "interval": _interval(row, ""),
        "pooled": row["pooled"],
        "its interval": _interval(row, "pooled_"),
        "neurons": row["n_neurons"],
        "excluded": row["n_excluded"],
        "trials": row["windows"],
    }


def _label_cells(row: Row) -> Row:
    about = {k: row.get(k) for k in ("predictor", "session", "tier", "column")}
    return about | {
        "accuracy": row["value"],
        "interval": _interval(row, ""),
        "balanced": row.get("balanced"),
        "chance": row.get("chance"),
        "trials": row.get("windows"),
    }


def _interval(row: Row, prefix: str) -> str:
    low, high = row.get(f"{prefix}ci_low"), row.get(f"{prefix}ci_high")
    if low is not None and high is not None:
        return interval(low, high)
    return "–" if row["value"] is None else "too few trials for an interval"
